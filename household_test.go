package stint_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// A queue that has everything in it that a file can hold: jobs in every state,
// schedules, batches in all their stages, places, a record in quarantine.

// piece is an item of the batches.
type piece struct{ P int }

func (piece) Kind() string { return "piece" }

// finale is the OnDone job of the batches.
type finale struct{ Of string }

func (finale) Kind() string { return "finale" }

// household is what the handlers do and have done.
type household struct {
	mu   sync.Mutex
	calm bool // each handler only completes its job

	ran   map[stint.ID]int // by job
	fired map[string][]time.Time
	ended []string // of the OnDone jobs
}

func newEverything(calm bool) *household {
	return &household{calm: calm, ran: map[stint.ID]int{}, fired: map[string][]time.Time{}}
}

func (e *household) saw(w *stint.Work) (calm bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ran[w.ID]++
	if w.Schedule != "" && w.Attempt == 1 && e.ran[w.ID] == 1 {
		e.fired[w.Schedule] = append(e.fired[w.Schedule], w.ScheduledFor.UTC())
	}
	return e.calm
}

// register is what the program does at each start.
func (e *household) register(t testing.TB, q *stint.Queue) {
	policy := &stint.Policy{Backoff: stint.Constant(24 * time.Hour), Timeout: -1}
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
		if e.saw(&job.Work) {
			return nil
		}
		return e.note(ctx, job)
	}, policy)
	stint.Handle(q, func(_ context.Context, job *stint.Job[finale]) error {
		e.saw(&job.Work)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ended = append(e.ended, job.Args.Of)
		return nil
	}, nil)
	if e.calm {
		stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error { e.saw(&job.Work); return nil }, nil)
	}
	utc := stint.InZone("UTC")
	require.NoError(t, stint.PeriodicBatch(q, "nightly", "0 1 * * *", e.plan, e.piece,
		&stint.BatchPolicy{Items: policy, OnDone: finale{"nightly"}}, utc))
	require.NoError(t, q.Periodic("tick", "*/30 * * * *", note{20}, utc, stint.Missed(stint.All(1000, 1000*time.Hour)), stint.Overlap(stint.Allow), stint.Tags("by", "tick")))
	require.NoError(t, q.Periodic("slow", "*/20 * * * *", note{4}, utc, stint.Overlap(stint.QueueOne), stint.Jitter(time.Minute)))
	require.NoError(t, q.Periodic("still", "@every 1h", note{21}, stint.Until(time.Now().AddDate(1, 0, 0).Truncate(24*time.Hour))))
}

func (e *household) note(ctx context.Context, job *stint.Job[note]) error {
	switch job.Args.N {
	case 2:
		job.Logger().Info("no luck")
		return fmt.Errorf("no <luck>\n with %q", "ünï")
	case 3:
		return stint.Kill(errOops)
	case 4:
		<-ctx.Done()
		return ctx.Err()
	case 10:
		if err := job.Step(ctx, "fetch", func(context.Context) error { return nil }); err != nil {
			return err
		}
		if err := job.Checkpoint(ctx, map[string]int{"row": 17}); err != nil {
			return err
		}
		job.Progress(17, 40, "rows")
		return stint.Snooze(12 * time.Hour)
	case 11:
		return job.SetResult([]int{1, 2, 3})
	}
	return nil
}

func (e *household) piece(_ context.Context, job *stint.Job[piece]) error {
	if e.saw(&job.Work) {
		return nil
	}
	switch job.Args.P % 10 {
	case 2:
		return stint.Kill(errOops)
	case 3:
		return errOops
	}
	return nil
}

// plan yields the same items each time, and while not calm never comes to its
// end.
func (e *household) plan(ctx context.Context, job *stint.Planning[piece]) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		for p := 1; p <= 5; p++ {
			if !yield(piece{p}, nil) {
				return
			}
		}
		if !e.saw(&job.Work) {
			<-ctx.Done()
			yield(piece{}, ctx.Err())
		}
	}
}

// furnish fills a queue. It takes some two hours of the bubble's time, and
// returns while a job and a planner are running.
func (e *household) furnish(t *testing.T, q *stint.Queue) (stop func() error) {
	t.Helper()
	e.register(t, q)
	enqueueBatch := func(name string, opts []stint.Option, pieces ...int) stint.ID {
		id, err := q.EnqueueBatch(t.Context(), func(yield func(stint.Args) bool) {
			for _, p := range pieces {
				if !yield(piece{p}) {
					return
				}
			}
		}, &stint.BatchPolicy{Name: name, OnDone: finale{name}, Options: opts})
		require.NoError(t, err)
		return id
	}
	require.NoError(t, q.PauseSchedule(t.Context(), "still", "an <operator>"))
	require.NoError(t, q.Pause(t.Context(), "paused", "somebody"))
	stop = run(t, q)

	for _, n := range []int{1, 2, 3, 10, 11} {
		enqueue(t, q, note{n}, stint.Tags("a tag", fmt.Sprint(n)), stint.Priority(1+n%4))
	}
	enqueue(t, q, note{5}, stint.In(24*time.Hour))
	enqueue(t, q, note{5}, stint.In(30*time.Minute), stint.OnQueue("paused"))
	enqueue(t, q, note{6}, stint.OnQueue("paused"), stint.MaxAttempts(3))
	enqueue(t, q, note{7}, stint.Unique(stint.ForPeriod(48*time.Hour)))
	enqueue(t, q, other{"<&>\u2028"}, stint.Unique(), stint.ExpiresIn(72*time.Hour))
	enqueue(t, q, other{"waiting"}, stint.Unique(stint.WhileWaiting()))
	enqueue(t, q, other{"period"}, stint.Unique(stint.ForPeriod(48*time.Hour)))
	enqueueBatch("done", nil, 201, 204)
	enqueueBatch("open", nil, 101, 102, 103, 104)
	cancelled := enqueueBatch("cancelled", []stint.Option{stint.In(24 * time.Hour)}, 301, 305)
	require.NoError(t, q.CancelBatch(t.Context(), cancelled, "somebody"))
	require.NoError(t, q.Delete(t.Context(), enqueue(t, q, other{"deleted"})))
	require.NoError(t, stint.FlipByte(q.DB(), enqueue(t, q, note{8}, stint.In(30*time.Minute)), 0))
	time.Sleep(2*time.Hour + 5*time.Minute)
	synctest.Wait()
	return stop
}

// times are from, from + step … up to the last before to.
func times(from, to time.Time, step time.Duration) (list []time.Time) {
	for at := from; at.Before(to); at = at.Add(step) {
		list = append(list, at.UTC())
	}
	return list
}

// worksOff lets a queue that was furnished do what is left, and compares it
// with what was there: before is what had happened.
func worksOff(t *testing.T, q *stint.Queue, before *household) {
	t.Helper()
	start := time.Now()
	var left []stint.ID
	for info, err := range q.Jobs(stint.Filter{}) {
		require.NoError(t, err)
		if info.State != stint.Completed && info.State != stint.Dead {
			left = append(left, info.ID)
		}
	}
	require.NotEmpty(t, left)

	e := newEverything(true)
	e.register(t, q)
	for _, info := range q.Queues() {
		require.NoError(t, q.Resume(t.Context(), info.Name))
	}
	_, err := q.Enqueue(t.Context(), other{"<&>\u2028"}, stint.Unique())
	require.ErrorIs(t, err, stint.ErrDuplicate, "its place is held")
	_, err = q.Enqueue(t.Context(), other{"waiting"}, stint.Unique(stint.WhileWaiting()))
	require.ErrorIs(t, err, stint.ErrDuplicate, "its place is held")
	_, err = q.Enqueue(t.Context(), note{7}, stint.Unique(stint.ForPeriod(48*time.Hour)))
	require.ErrorIs(t, err, stint.ErrDuplicate, "the period outlives its job")

	stop := run(t, q)
	time.Sleep(54 * time.Hour)
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range left {
		require.Equal(t, 1, e.ran[id], "job %d", id)
	}
	slices.Sort(e.ended)
	require.Equal(t, []string{"nightly", "nightly", "open"}, e.ended, "that of the first night and, as it lasts until the second, that of the third")

	all := append(slices.Clone(before.fired["tick"]), e.fired["tick"]...)
	slices.SortFunc(all, time.Time.Compare)
	require.Equal(t, times(all[0], start.Add(54*time.Hour+time.Second), 30*time.Minute), all, "each occurrence once")
	require.Zero(t, q.Counts().Ready+q.Counts().Running+q.Counts().Retrying)
	_ = stop
}
