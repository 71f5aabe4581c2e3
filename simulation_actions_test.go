package stint_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/stintq/stint"
)

// What TestSimulation does to a queue, and to the model.

// simActions are the actions and how often they come, of 128. Those that a
// shrunk sequence should rather consist of stand first.
var simActions = []struct {
	name  string
	often int
	do    func(*simulation, *rapid.T)
}{
	{"enqueue at once", 9, func(s *simulation, rt *rapid.T) { s.enqueue(rt, simOptions{}) }},
	{"enqueue", 6, func(s *simulation, rt *rapid.T) { s.enqueue(rt, s.options(rt)) }},
	{"enqueue unique", 6, func(s *simulation, rt *rapid.T) { s.enqueue(rt, s.unique(rt, "done", "waiting", "period")) }},
	{"enqueue to fold", 6, func(s *simulation, rt *rapid.T) {
		s.enqueue(rt, s.unique(rt, "replace", "debounce", "merge", "done"))
	}},
	{"enqueue all", 3, (*simulation).enqueueAll},
	{"enqueue sequence", 2, (*simulation).enqueueSeq},
	{"enqueue in tx", 6, (*simulation).enqueueTx},
	{"enqueue batch", 6, (*simulation).enqueueBatch},
	{"sleep briefly", 7, func(s *simulation, rt *rapid.T) { s.sleep(rt, time.Minute, 10*time.Minute) }},
	{"sleep", 7, func(s *simulation, rt *rapid.T) { s.sleep(rt, time.Hour, 9*time.Hour) }},
	{"sleep for days", 1, func(s *simulation, rt *rapid.T) { s.sleep(rt, 24*time.Hour, 72*time.Hour) }},
	{"retry", 3, func(s *simulation, rt *rapid.T) { s.verb(rt, "retry") }},
	{"retry an ended", 4, func(s *simulation, rt *rapid.T) { s.verb(rt, "retry", stint.Dead, stint.Completed) }},
	{"kill", 3, func(s *simulation, rt *rapid.T) { s.verb(rt, "kill") }},
	{"kill running", 3, func(s *simulation, rt *rapid.T) { s.verb(rt, "kill", stint.Running) }},
	{"cancel", 3, func(s *simulation, rt *rapid.T) { s.verb(rt, "cancel") }},
	{"delete", 3, func(s *simulation, rt *rapid.T) { s.verb(rt, "delete") }},
	{"move", 4, func(s *simulation, rt *rapid.T) {
		s.verb(rt, pick(rt, "to", "move to mail", "move to slow", "move to default"))
	}},
	{"verb on all", 4, (*simulation).verbAll},
	{"pause queue", 3, (*simulation).pauseQueue},
	{"resume queue", 4, (*simulation).resumeQueue},
	{"schedule", 6, (*simulation).schedule},
	{"pause schedule", 2, (*simulation).pauseSchedule},
	{"resume schedule", 3, (*simulation).resumeSchedule},
	{"run schedule", 3, (*simulation).runSchedule},
	{"backfill", 2, (*simulation).backfill},
	{"delete schedule", 1, (*simulation).deleteSchedule},
	{"cancel batch", 2, (*simulation).cancelBatch},
	{"end or begin Run", 4, (*simulation).endRun},
	{"close and reopen", 3, (*simulation).reopen},
	{"crash", 5, func(s *simulation, rt *rapid.T) {
		s.crash(rt, s.config(rt), s.downtime(rt))
		s.start()
	}},
	{"crash, and no Run", 1, func(s *simulation, rt *rapid.T) { s.crash(rt, s.config(rt), 0) }},
	{"compact", 2, (*simulation).compact},
	{"go back to a backup", 1, (*simulation).backup},
}

// simNames draws names of actions. rapid prefers small numbers, and so would
// take the first actions far too often; its bits are fair.
var simNames = rapid.Custom(func(rt *rapid.T) string {
	n := 0
	for range 7 {
		n <<= 1
		if rapid.Bool().Draw(rt, "bit") {
			n++
		}
	}
	for _, a := range simActions {
		if n -= a.often; n < 0 {
			return a.name
		}
	}
	return simActions[0].name
})

func (s *simulation) act(rt *rapid.T, name string) {
	for _, a := range simActions {
		if a.name == name {
			a.do(s, rt)
		}
	}
}

func pick[T any](rt *rapid.T, label string, of ...T) T { return rapid.SampledFrom(of).Draw(rt, label) }

func (s *simulation) kind(rt *rapid.T) string {
	return pick(rt, "kind", "alpha", "alpha", "beta", "gamma")
}

func (s *simulation) body(rt *rapid.T) simBody {
	return simBody{N: rapid.IntRange(0, 2).Draw(rt, "n"), S: rapid.IntRange(0, len(simScripts)-1).Draw(rt, "script")}
}

func (s *simulation) options(rt *rapid.T) simOptions {
	return simOptions{
		queue:    pick(rt, "queue", "", "", "slow", "mail"),
		priority: pick(rt, "priority", 0, 0, 1, 4),
		in:       pick(rt, "in", 0, 10*time.Minute, time.Hour, 30*time.Hour),
		expires:  pick(rt, "expires", 0, 0, 5*time.Minute, time.Hour, 26*time.Hour),
		attempts: pick(rt, "attempts", 0, 0, 1, 2),
		tag:      pick(rt, "tag", "", "blue"),
	}
}

func (s *simulation) unique(rt *rapid.T, modes ...string) simOptions {
	o := simOptions{unique: pick(rt, "unique", modes...), key: pick(rt, "key", "", "a", "b")}
	if o.unique == "period" {
		o.period = pick(rt, "period", 10*time.Minute, 2*time.Hour, 40*time.Hour)
	}
	if o.unique != "debounce" {
		o.in = pick(rt, "in", 0, 0, 15*time.Minute)
	}
	o.queue = pick(rt, "queue", "", "mail")
	if o.folds() || o.key != "" {
		o.expires = pick(rt, "expires", 0, 0, 20*time.Minute)
	}
	return o
}

// uniqueKind is a kind that goes with the options: Merge is of alpha.
func (s *simulation) kindFor(rt *rapid.T, o simOptions) string {
	if o.unique != "" {
		return "alpha"
	}
	return s.kind(rt)
}

// simExpect compares an error with the model's.
func simExpect(rt *rapid.T, got, want error, what string) {
	if errors.Is(want, errSimPassed) {
		want = nil
	}
	if !errors.Is(got, want) {
		rt.Fatalf("%s: %v, should be %v", what, got, want)
	}
}

// created gives a job of the model its id.
func (s *simulation) created(rt *rapid.T, j *simJob, id stint.ID) {
	if j.id == 0 && s.m.job(id) == nil && id > 0 {
		j.id = id
	}
	if j.id != id {
		rt.Fatalf("the id is %d, should be %d", id, j.id)
	}
}

func (s *simulation) enqueue(rt *rapid.T, o simOptions) {
	kind, body := s.kindFor(rt, o), s.body(rt)
	id, err := s.q.Enqueue(context.Background(), simArgs(kind, body), o.options()...)
	j, want := s.m.enqueue(kind, body, o)
	simExpect(rt, err, want, "Enqueue")
	s.created(rt, j, id)
}

func (s *simulation) bodies(rt *rapid.T, most int) (bodies []simBody) {
	for range rapid.IntRange(1, most).Draw(rt, "jobs") {
		bodies = append(bodies, s.body(rt))
	}
	return bodies
}

func (s *simulation) enqueueAll(rt *rapid.T) {
	o := s.unique(rt, "", "done", "waiting", "period", "replace")
	kind, bodies := s.kindFor(rt, o), s.bodies(rt, 4)
	var args []stint.Args
	for _, body := range bodies {
		args = append(args, simArgs(kind, body))
	}
	ids, err := s.q.EnqueueAll(context.Background(), args, o.options()...)
	before := s.m.save()
	var jobs []*simJob
	var want error
	for _, body := range bodies {
		var j *simJob
		if j, want = s.m.enqueue(kind, body, o); want != nil {
			break
		}
		jobs = append(jobs, j)
	}
	simExpect(rt, err, want, "EnqueueAll")
	if want != nil {
		s.m.restore(before)
		return
	}
	for i, j := range jobs {
		s.created(rt, j, ids[i])
	}
}

func (s *simulation) enqueueSeq(rt *rapid.T) {
	o := s.unique(rt, "", "done", "merge")
	kind, bodies := s.kindFor(rt, o), s.bodies(rt, 4)
	n, err := s.q.EnqueueSeq(context.Background(), func(yield func(stint.Args) bool) {
		for _, body := range bodies {
			if !yield(simArgs(kind, body)) {
				return
			}
		}
	}, o.options()...)
	want := 0
	for _, body := range bodies {
		if _, err := s.m.enqueue(kind, body, o); err == nil {
			want++
		}
	}
	if err != nil || n != want {
		rt.Fatalf("EnqueueSeq: %d, %v, should be %d", n, err, want)
	}
}

// enqueueTx enqueues several jobs in a transaction, and may take it back.
func (s *simulation) enqueueTx(rt *rapid.T) {
	bodies, undo := s.bodies(rt, 3), rapid.Bool().Draw(rt, "undo")
	before := s.m.save()
	var ids []stint.ID
	var jobs []*simJob
	err := s.q.Update(func(tx *bolt.Tx) error {
		for _, body := range bodies {
			o := s.unique(rt, "", "done", "waiting", "period", "replace", "debounce", "merge")
			kind := s.kindFor(rt, o)
			id, err := s.q.EnqueueTx(tx, simArgs(kind, body), o.options()...)
			j, want := s.m.enqueue(kind, body, o)
			simExpect(rt, err, want, "EnqueueTx")
			ids, jobs = append(ids, id), append(jobs, j)
		}
		key := fmt.Sprint("in tx ", len(s.m.effects))
		s.m.effects[key]++
		if err := simEffect(tx, key); err != nil || !undo {
			return err
		}
		return errSim
	})
	if undo {
		require.ErrorIs(rt, err, errSim)
		s.m.restore(before)
		return
	}
	require.NoError(rt, err)
	for i, j := range jobs {
		s.created(rt, j, ids[i])
	}
}

// some is a job in one of the states, or in any.
func (s *simulation) some(rt *rapid.T, states ...stint.State) *simJob {
	var of []*simJob
	for _, j := range s.m.jobs {
		if j.id != 0 && (len(states) == 0 || slices.Contains(states, j.state)) {
			of = append(of, j)
		}
	}
	if len(of) == 0 {
		rt.Skip("no such job")
	}
	return of[rapid.IntRange(0, len(of)-1).Draw(rt, "job")]
}

// apply is a verb on one job of the model.
func (m *simModel) apply(verb string, j *simJob) error {
	switch verb {
	case "retry":
		return m.retry(j)
	case "kill":
		return m.stop(j, "enough")
	case "cancel":
		return m.stop(j, "cancelled by Eve")
	case "delete":
		return m.delete(j)
	}
	return m.move(j, strings.TrimPrefix(verb, "move to "))
}

func (s *simulation) verb(rt *rapid.T, verb string, states ...stint.State) {
	j, ctx := s.some(rt, states...), context.Background()
	if verb == "retry" && s.m.twins(j) || (verb == "retry" || strings.HasPrefix(verb, "move")) && s.m.doomed(j) {
		rt.Skip("not for the model")
	}
	id, do := j.id, map[string]func() error{
		"retry":  func() error { return s.q.Retry(ctx, j.id) },
		"kill":   func() error { return s.q.Kill(ctx, j.id, "enough") },
		"cancel": func() error { return s.q.Cancel(ctx, j.id, "Eve") },
		"delete": func() error { return s.q.Delete(ctx, j.id) },

		"move to mail":    func() error { return s.q.Move(ctx, j.id, "mail") },
		"move to slow":    func() error { return s.q.Move(ctx, j.id, "slow") },
		"move to default": func() error { return s.q.Move(ctx, j.id, "default") },
	}
	simExpect(rt, do[verb](), s.m.apply(verb, j), fmt.Sprintf("%s of job %d", verb, id))
}

// twins says whether to retry the jobs would make two equal items that are both
// unfinished. Retry allows it, but the file has one entry for the two: when
// the one that has it ends, equal items are let in again.
func (m *simModel) twins(jobs ...*simJob) bool {
	seen := map[string]*simJob{}
	for _, j := range append(slices.Clone(m.jobs), jobs...) {
		if key := simArgsKey(j.kind, j.body); j.role == "item" && (simUnfinished(j.state) || slices.Contains(jobs, j)) {
			if seen[key] != nil && seen[key] != j {
				return true
			}
			seen[key] = j
		}
	}
	return false
}

// doomed says whether one is an item of a cancelled batch. With few workers,
// now or after the next crash, the model cannot say when its turn to start, and
// so to die, would come.
func (m *simModel) doomed(jobs ...*simJob) bool {
	return slices.ContainsFunc(jobs, func(j *simJob) bool {
		return j.role == "item" && j.batch.cancelled != "" && j.batch.ended.IsZero()
	})
}

// verbAll is a verb on all that match a filter.
func (s *simulation) verbAll(rt *rapid.T) {
	f := stint.Filter{
		State: pick(rt, "state", 0, stint.Ready, stint.Scheduled, stint.Retrying, stint.Running, stint.Completed, stint.Dead),
		Queue: pick(rt, "queue", "", "default", "slow"),
		Kind:  pick(rt, "kind", "", "alpha", simItemKind),
		Tag:   pick(rt, "tag", "", "", "blue"),
	}
	verb, ctx := pick(rt, "verb", "retry", "retry", "kill", "cancel", "delete", "move to mail"), context.Background()
	if verb == "retry" && s.m.twins(s.m.jobs...) || (verb == "retry" || verb == "move to mail") && s.m.doomed(s.m.jobs...) {
		rt.Skip("not for the model")
	}
	var n int
	var err error
	switch verb {
	case "retry":
		n, err = s.q.RetryAll(ctx, f)
	case "kill":
		n, err = s.q.KillAll(ctx, f, "enough")
	case "cancel":
		n, err = s.q.CancelAll(ctx, f, "Eve")
	case "delete":
		n, err = s.q.DeleteAll(ctx, f)
	case "move to mail":
		n, err = s.q.MoveAll(ctx, f, "mail")
	}
	if f.State == 0 && f.Queue == "" && f.Kind == "" && f.Tag == "" {
		simExpect(rt, err, stint.ErrBadFilter, verb)
		return
	}
	require.NoError(rt, err)
	if want := s.m.applyAll(verb, f); n != want {
		rt.Fatalf("%s of all %+v: %d, should be %d", verb, f, n, want)
	}
}

func (m *simModel) applyAll(verb string, f stint.Filter) (n int) {
	var matching []*simJob
	for _, j := range m.jobs {
		if (f.State == 0 || f.State == j.state) && (f.Queue == "" || f.Queue == j.queue) && (f.Kind == "" || f.Kind == j.kind) && (f.Tag == "" || f.Tag == j.tag) {
			matching = append(matching, j)
		}
	}
	slices.SortFunc(matching, func(a, b *simJob) int { // newest first
		if f.State == stint.Completed || f.State == stint.Dead {
			return cmp.Or(b.finished.Compare(a.finished), cmp.Compare(b.id, a.id))
		}
		if f.State == stint.Scheduled || f.State == stint.Retrying {
			return cmp.Or(b.runAt.Compare(a.runAt), cmp.Compare(b.id, a.id))
		}
		return cmp.Compare(b.id, a.id)
	})
	for _, j := range matching {
		if j.state != 0 && m.apply(verb, j) == nil { // the end of one may have pushed out another
			n++
		}
	}
	return n
}

func (s *simulation) pauseQueue(rt *rapid.T) {
	name := pick(rt, "queue", "default", "slow", "mail")
	require.NoError(rt, s.q.Pause(context.Background(), name, "Eve"))
	q := s.m.queue(name)
	q.paused, q.by, q.since = true, "Eve", s.m.now
}

func (s *simulation) resumeQueue(rt *rapid.T) {
	name := pick(rt, "queue", "default", "slow", "mail")
	require.NoError(rt, s.q.Resume(context.Background(), name))
	q := s.m.queue(name)
	q.paused, q.by, q.since = false, "", time.Time{}
}
