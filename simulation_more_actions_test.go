package stint_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stintq/stint"
)

// More of what TestSimulation does: schedules, batches, and the ends of
// processes.

func (s *simulation) sleep(rt *rapid.T, least, most time.Duration) {
	time.Sleep(time.Duration(rapid.Int64Range(int64(least/time.Minute), int64(most/time.Minute)).Draw(rt, "minutes")) * time.Minute)
}

func (s *simulation) downtime(rt *rapid.T) time.Duration {
	return pick(rt, "downtime", 0, 0, time.Minute, 3*time.Hour, 50*time.Hour, 40*24*time.Hour)
}

func (s *simulation) config(rt *rapid.T) simConfig {
	return simConfigs[rapid.IntRange(0, len(simConfigs)-1).Draw(rt, "config")]
}

// endRun ends Run, or calls it again.
func (s *simulation) endRun(rt *rapid.T) {
	if !s.m.running {
		s.start()
		return
	}
	s.stop(rt, func() error {
		s.stopRun()
		return <-s.ended
	})
}

func (s *simulation) reopen(rt *rapid.T) {
	s.stop(rt, s.q.Close)
	s.q = nil
	time.Sleep(s.downtime(rt))
	c := s.config(rt)
	s.m.now = simNow()
	s.m.forgetProgram()
	s.open(rt, c)
	if rapid.IntRange(0, 3).Draw(rt, "run") > 0 {
		s.start()
	}
}

func (s *simulation) compact(rt *rapid.T) {
	require.NoError(rt, s.q.Compact(context.Background(), nil))
	s.q.DB().NoSync = true
}

// backup goes on with a backup, as after a crash.
func (s *simulation) backup(rt *rapid.T) {
	old := s.path
	s.path = s.newPath()
	f, err := os.Create(s.path)
	require.NoError(rt, err)
	_, err = s.q.Backup(context.Background(), f)
	require.NoError(rt, errors.Join(err, f.Close()))
	s.goOn(rt, old, s.config(rt), s.downtime(rt))
	s.start()
}

// schedule registers a schedule, or changes it.
func (s *simulation) schedule(rt *rapid.T) {
	s.register(rt, simSchedule{
		name: pick(rt, "schedule", "a", "b"), kind: pick(rt, "kind", "alpha", "gamma"), spec: pick(rt, "spec", simSpecs...),
		body:    simBody{N: 50, S: rapid.IntRange(0, len(simScripts)-1).Draw(rt, "script")},
		missed:  pick(rt, "missed", simMissed{}, simMissed{max: -1}, simMissed{5, 3 * time.Hour}, simMissed{3, 100 * time.Hour}),
		overlap: pick(rt, "overlap", stint.SkipIfRunning, stint.Allow, stint.QueueOne),
		wanted:  rapid.IntRange(0, 3).Draw(rt, "wanted") > 0,
	})
}

func (s *simulation) register(rt *rapid.T, def simSchedule) {
	err := s.q.Periodic(def.name, def.spec.text, simArgs(def.kind, def.body), stint.InZone("UTC"), stint.Missed(def.missed.policy()), stint.Overlap(def.overlap))
	require.NoError(rt, err)
	s.m.register(def)
}

func (s *simulation) someSchedule(rt *rapid.T) *simSchedule {
	return s.m.schedules[pick(rt, "schedule", simSorted(s.m.schedules)...)]
}

func (s *simulation) pauseSchedule(rt *rapid.T) {
	sched := s.someSchedule(rt)
	require.NoError(rt, s.q.PauseSchedule(context.Background(), sched.name, "Eve"))
	if sched.pausedAt.IsZero() {
		sched.pausedAt, sched.by = s.m.now, "Eve"
	}
}

func (s *simulation) resumeSchedule(rt *rapid.T) {
	sched := s.someSchedule(rt)
	require.NoError(rt, s.q.ResumeSchedule(context.Background(), sched.name))
	s.m.resumeSchedule(sched)
}

func (s *simulation) runSchedule(rt *rapid.T) {
	sched := s.someSchedule(rt)
	id, err := s.q.RunSchedule(context.Background(), sched.name)
	want := s.m.runNow(sched)
	simExpect(rt, err, want, "RunSchedule")
	if want == nil {
		s.created(rt, sched.job, id)
		if b := s.m.batchOf(sched.job); b != nil {
			b.id = id
		}
	}
}

func (s *simulation) backfill(rt *rapid.T) {
	sched := s.someSchedule(rt)
	if sched.spec.every {
		rt.Skip("counts from its registration")
	}
	from := s.m.now.Add(-time.Duration(rapid.IntRange(0, 50).Draw(rt, "from")) * 10 * time.Minute)
	to := from.Add(time.Duration(rapid.IntRange(-1, 12).Draw(rt, "to")) * 10 * time.Minute)
	n, err := s.q.Backfill(context.Background(), sched.name, from, to)
	wanted, want := s.m.backfill(sched, from, to)
	simExpect(rt, err, want, "Backfill")
	if n != wanted {
		rt.Fatalf("Backfill of %s from %v to %v: %d, should be %d", sched.name, from, to, n, wanted)
	}
}

func (s *simulation) deleteSchedule(rt *rapid.T) {
	name := pick(rt, "schedule", "a", "b")
	err := s.q.DeleteSchedule(context.Background(), name)
	if s.m.schedules[name] == nil {
		simExpect(rt, err, stint.ErrNoSchedule, "DeleteSchedule")
		return
	}
	require.NoError(rt, err)
	s.m.deleteSchedule(name)
}

func (s *simulation) enqueueBatch(rt *rapid.T) {
	b := &simBatch{name: "made", repeat: rapid.IntRange(0, 3).Draw(rt, "repeat") == 0, onDone: rapid.Bool().Draw(rt, "on done")}
	o := simOptions{in: pick(rt, "in", 0, 0, 20*time.Minute), attempts: pick(rt, "attempts", 0, 1)}
	var bodies []simBody
	if rapid.IntRange(0, 7).Draw(rt, "empty") > 0 {
		bodies = s.bodies(rt, 5)
	}
	policy := &stint.BatchPolicy{Name: b.name, Repeat: b.repeat, Options: o.options()}
	if b.onDone {
		policy.OnDone = simDone{}
	}
	id, err := s.q.EnqueueBatch(context.Background(), func(yield func(stint.Args) bool) {
		for _, body := range bodies {
			if !yield(simItem{body}) {
				return
			}
		}
	}, policy)
	require.NoError(rt, err)
	s.m.makeBatch(b)
	b.id = id
	for _, body := range bodies {
		s.m.item(b, simItemKind, body, o)
	}
	s.m.seal(b)
}

func (s *simulation) cancelBatch(rt *rapid.T) {
	if len(s.m.batches) == 0 {
		rt.Skip("no batch")
	}
	b := s.m.batches[rapid.IntRange(0, len(s.m.batches)-1).Draw(rt, "batch")]
	require.NoError(rt, s.q.CancelBatch(context.Background(), b.id, "Eve"))
	s.m.cancelBatch(b, "Eve")
}

// simSaved is the model before a transaction that may be taken back.
type simSaved struct {
	jobs    []*simJob
	values  []simJob
	places  map[string]simPlace
	queues  map[string]simQueue
	items   map[string]*simJob
	effects map[string]int
	batches []simBatch
	died    int
	scheds  map[string]simSchedule
}

func (m *simModel) save() simSaved {
	saved := simSaved{
		jobs: slices.Clone(m.jobs), places: maps.Clone(m.places), queues: map[string]simQueue{}, items: maps.Clone(m.items),
		effects: maps.Clone(m.effects), died: m.died, scheds: map[string]simSchedule{},
	}
	for _, j := range m.jobs {
		saved.values = append(saved.values, *j)
	}
	for _, b := range m.batches {
		saved.batches = append(saved.batches, *b)
	}
	for name, q := range m.queues {
		saved.queues[name] = *q
	}
	for name, s := range m.schedules {
		one := *s
		one.runs = slices.Clone(s.runs)
		saved.scheds[name] = one
	}
	return saved
}

func (m *simModel) restore(saved simSaved) {
	m.jobs, m.places, m.items, m.effects, m.died = saved.jobs, saved.places, saved.items, saved.effects, saved.died
	for i, j := range m.jobs {
		*j = saved.values[i]
	}
	m.batches = m.batches[:len(saved.batches)]
	for i, b := range m.batches {
		*b = saved.batches[i]
	}
	clear(m.queues)
	for name, q := range saved.queues {
		m.queues[name] = &q
	}
	for name, s := range saved.scheds {
		*m.schedules[name] = s
	}
}
