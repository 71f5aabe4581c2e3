package stint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// What the queue shows, compared with the model of TestSimulation.

func (s *simulation) compare() {
	s.compareJobs()
	if len(s.faults) > 0 {
		return
	}
	s.compareCounts()
	s.compareSchedules()
	s.compareBatches()
	s.compareEffects()
	faults, err := s.q.Check(context.Background())
	if err != nil {
		s.fault("Check: %v", err)
	}
	for _, fault := range faults {
		s.fault("the file: %+v", fault)
	}
}

// same notes a difference.
func same[T comparable](s *simulation, got, want T, format string, args ...any) {
	if got != want {
		s.fault("%s: %v, should be %v", fmt.Sprintf(format, args...), got, want)
	}
}

func sameTime(s *simulation, got, want time.Time, format string, args ...any) {
	if !got.Equal(want) {
		s.fault("%s: %v, should be %v", fmt.Sprintf(format, args...), got.UTC(), want)
	}
}

func (s *simulation) compareJobs() {
	seen := map[*simJob]bool{}
	last := stint.ID(1 << 62)
	for info, err := range s.q.Jobs(stint.Filter{}) {
		if err != nil {
			s.fault("Jobs: %v", err)
			return
		}
		if info.ID >= last {
			s.fault("Jobs lists %d behind %d", info.ID, last)
		}
		last = info.ID
		var body simBody
		_ = json.Unmarshal(info.Args, &body)
		j := s.m.job(info.ID)
		if j == nil {
			j = s.m.bind(info.ID, info.Kind, body, info.Schedule, info.ScheduledFor.UTC(), info.BatchID)
		}
		if j == nil {
			s.fault("job %d, %s, %v, should not be there", info.ID, info.Kind, info.State)
			continue
		}
		seen[j] = true
		s.compareJob(j, info, body)
	}
	for _, j := range s.m.jobs {
		if !seen[j] {
			s.fault("job %d, %s %+v, should be there and be %v", j.id, j.kind, j.body, j.state)
		}
	}
}

func (s *simulation) compareJob(j *simJob, info stint.Info, body simBody) {
	same(s, info.State, j.state, "state of job %d at %v", j.id, s.m.now)
	same(s, body, j.body, "args of job %d", j.id)
	type flat struct {
		kind, queue, tags, schedule, steps, cursor     string
		priority, attempts, failures, snoozes, crashes int
		missed                                         int
		parked, result                                 bool
		batch                                          stint.ID
	}
	want := flat{
		j.kind, j.queue, j.tag, j.schedule, strings.Join(j.steps, " "), "", j.priority, j.maxAttempts, j.failures, j.snoozes, j.crashes,
		j.missed, j.state == stint.Ready && !s.m.kinds[j.kind].handled, j.state == stint.Completed && j.result, 0,
	}
	if j.cursor > 0 {
		want.cursor = fmt.Sprint(j.cursor)
	}
	if j.batch != nil {
		want.batch = j.batch.id
	}
	got := flat{
		info.Kind, info.Queue, strings.Join(info.Tags, " "), info.Schedule, strings.Join(info.Steps, " "), string(info.Checkpoint),
		info.Priority, info.MaxAttempts, info.Failures, info.Snoozes, info.Crashes, info.Missed, info.Parked, len(info.Result) > 0, info.BatchID,
	}
	if j.state == stint.Completed {
		got.crashes, want.crashes = 0, 0 // it does not matter any more whether they were forgiven
	}
	if got != want {
		s.fault("job %d, %v:\n%+v, should be\n%+v", j.id, j.state, got, want)
	}
	sameTime(s, info.EnqueuedAt, j.created, "enqueueing of job %d", j.id)
	sameTime(s, info.FinishedAt, j.finished, "end of job %d", j.id)
	sameTime(s, info.StartedAt, j.started, "start of job %d", j.id)
	sameTime(s, info.ScheduledFor, j.scheduledFor, "occurrence of job %d", j.id)
	if j.state == stint.Scheduled || j.state == stint.Retrying {
		sameTime(s, info.RunAt, j.runAt, "due time of job %d", j.id)
	}
	if j.state == stint.Dead && !strings.HasPrefix(info.Reason, j.reason) {
		s.fault("job %d is dead as %q, should be %q", j.id, info.Reason, j.reason)
	}
	s.compareAttempts(j, info.Attempts)
}

func (s *simulation) compareAttempts(j *simJob, got []stint.Attempt) {
	want := j.attempts[max(0, len(j.attempts)-10):]
	if len(got) != len(want) {
		s.fault("job %d has %d attempts in its history, should have %d", j.id, len(got), len(want))
		return
	}
	for i, a := range got {
		if a.Number != want[i].number || !strings.Contains(a.Error, want[i].text) {
			s.fault("attempt of job %d: %d %q, should be %+v", j.id, a.Number, a.Error, want[i])
		}
	}
}

// bind finds the job that an id belongs to, of those that the queue has made
// by itself: of a schedule, a batch or a handler.
func (m *simModel) bind(id stint.ID, kind string, body simBody, schedule string, scheduledFor time.Time, batch stint.ID) *simJob {
	for _, j := range m.jobs {
		known := j.batch != nil && j.role != "planner" && j.batch.id != 0 && j.batch.id != batch
		if j.id == 0 && j.kind == kind && j.body == body && j.schedule == schedule && j.scheduledFor.Equal(scheduledFor) && !known {
			j.id = id
			if j.role == "planner" {
				j.batch.id = id
			}
			return j
		}
	}
	return nil
}

func (s *simulation) compareCounts() {
	want := stint.Counts{}
	byQueue := map[string]stint.Counts{}
	for _, j := range s.m.jobs {
		one := stint.Counts{}
		switch j.state {
		case stint.Ready:
			one.Ready = 1
		case stint.Scheduled:
			one.Scheduled = 1
		case stint.Retrying:
			one.Retrying = 1
		case stint.Running:
			one.Running = 1
		case stint.Completed:
			one.Completed = 1
		case stint.Dead:
			one.Dead = 1
		}
		if one.Ready == 1 && !s.m.kinds[j.kind].handled {
			one.Parked = 1
		}
		want, byQueue[j.queue] = simSum(want, one), simSum(byQueue[j.queue], one)
	}
	same(s, s.q.Counts(), want, "Counts")
	processed, failed := 0, 0
	for _, info := range s.q.Queues() {
		same(s, info.Counts, byQueue[info.Name], "counts of queue %s", info.Name)
		q := s.m.queues[info.Name]
		if q == nil {
			q = &simQueue{}
		}
		same(s, int(info.Processed), q.processed, "jobs completed in queue %s", info.Name)
		same(s, int(info.Failed), q.failed, "attempts failed in queue %s", info.Name)
		same(s, info.Paused, q.paused, "pause of queue %s", info.Name)
		same(s, info.PausedBy, q.by, "who paused queue %s", info.Name)
		sameTime(s, info.PausedSince, q.since, "pause of queue %s", info.Name)
		delete(byQueue, info.Name)
		processed, failed = processed+q.processed, failed+q.failed
	}
	same(s, len(byQueue), 0, "queues that are not listed")
	stats := s.q.Stats()
	same(s, [3]int{int(stats.Processed), int(stats.Failed), int(stats.Died)}, [3]int{processed, failed, s.m.died}, "processed, failed, died")
}

func simSum(a, b stint.Counts) stint.Counts {
	return stint.Counts{
		Ready: a.Ready + b.Ready, Scheduled: a.Scheduled + b.Scheduled, Retrying: a.Retrying + b.Retrying,
		Running: a.Running + b.Running, Completed: a.Completed + b.Completed, Dead: a.Dead + b.Dead, Parked: a.Parked + b.Parked,
	}
}

func (s *simulation) compareSchedules() {
	list, err := s.q.Schedules()
	if err != nil || len(list) != len(s.m.schedules) {
		s.fault("%d schedules, should be %d: %v", len(list), len(s.m.schedules), err)
		return
	}
	for _, info := range list {
		want := s.m.schedules[info.Name]
		if want == nil {
			s.fault("schedule %q should not be there", info.Name)
			continue
		}
		next := want.next
		if !want.registered || !want.pausedAt.IsZero() {
			next = time.Time{}
		}
		sameTime(s, info.Next, next, "next time of schedule %s", want.name)
		sameTime(s, info.Last, want.ran, "last time of schedule %s", want.name)
		sameTime(s, info.PausedSince, want.pausedAt, "pause of schedule %s", want.name)
		same(s, info.PausedBy, want.by, "who paused schedule %s", want.name)
		same(s, info.Orphaned, !want.registered, "orphaned schedule %s", want.name)
		same(s, info.Waiting, len(want.waiting), "runs that wait of schedule %s", want.name)
		same(s, len(info.Runs), len(want.runs), "entries in the history of schedule %s", want.name)
		for i := range min(len(info.Runs), len(want.runs)) {
			s.compareRun(want.name, info.Runs[i], want.runs[i])
		}
	}
}

func (s *simulation) compareRun(name string, got stint.ScheduleRun, want simRun) {
	sameTime(s, got.At, want.at, "run of schedule %s", name)
	same(s, got.State, want.state, "run of schedule %s at %v", name, want.at)
	same(s, [2]int{got.Missed, got.Skipped}, [2]int{want.missed, want.skipped}, "missed and skipped by schedule %s at %v", name, want.at)
	if want.job != nil && want.job.id != 0 {
		same(s, got.Job, want.job.id, "job of schedule %s at %v", name, want.at)
	}
	if !strings.HasPrefix(got.Reason, want.reason()) {
		s.fault("schedule %s at %v: %q, should be %q", name, want.at, got.Reason, want.reason())
	}
}

func (s *simulation) compareBatches() {
	seen := map[*simBatch]bool{}
	for info, err := range s.q.Batches(0) {
		i := slices.IndexFunc(s.m.batches, func(b *simBatch) bool { return b.id == info.ID })
		if err != nil || i < 0 {
			s.fault("batch %d should not be there (%v)", info.ID, err)
			return
		}
		seen[s.m.batches[i]] = true
		s.compareBatch(s.m.batches[i], info)
	}
	for _, b := range slices.Clone(s.m.batches) {
		if seen[b] {
			continue
		}
		if !s.m.mayForget(b) {
			s.fault("batch %d should be there", b.id)
		}
		s.m.forget(b)
	}
}

func (s *simulation) compareBatch(b *simBatch, info stint.BatchInfo) {
	got := [...]int{info.Planned, info.Done, info.Dead, info.Removed, info.Failed, info.Skipped, info.Bad}
	want := [...]int{b.planned, b.done, b.dead, b.removed, b.failed, b.skipped, b.bad}
	same(s, got, want, "planned, done, dead, removed, failed, skipped, bad of batch %d", b.id)
	same(s, info.Name, b.name, "name of batch %d", b.id)
	same(s, info.Planning, b.sealed.IsZero(), "planning of batch %d", b.id)
	same(s, info.PlanError != "", b.planFailed, "failed planning of batch %d", b.id)
	same(s, info.CancelledBy, b.cancelled, "who cancelled batch %d", b.id)
	sameTime(s, info.StartedAt, b.started, "start of batch %d", b.id)
	sameTime(s, info.PlannedAt, b.sealed, "planning of batch %d", b.id)
	sameTime(s, info.FinishedAt, b.ended, "end of batch %d", b.id)
	sameTime(s, info.ScheduledFor, b.scheduledFor, "occurrence of batch %d", b.id)
	same(s, info.OnDone != 0, b.end != nil, "OnDone of batch %d", b.id)
	if b.end != nil && b.end.id != 0 {
		same(s, info.OnDone, b.end.id, "OnDone of batch %d", b.id)
	}
}

func (s *simulation) compareEffects() {
	found := map[string]int{}
	_ = s.q.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket([]byte(simEffects)); b != nil {
			return b.ForEach(func(k, v []byte) error {
				found[string(k)] = len(v)
				return nil
			})
		}
		return nil
	})
	if !maps.Equal(found, s.m.effects) {
		s.fault("effects: %v, should be %v", found, s.m.effects)
	}
}

// copyFile copies the live file to s.path, as it is between two commits.
func (s *simulation) copyFile(from string) error {
	return s.q.View(func(*bolt.Tx) error {
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return os.WriteFile(s.path, b, 0o600)
	})
}
