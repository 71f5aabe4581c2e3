package stint_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// done is the job at the end of a batch.
type done struct{ Of string }

func (done) Kind() string { return "done" }

// between yields the notes from first up to but not including end.
func between(first, end int) iter.Seq[stint.Args] {
	return func(yield func(stint.Args) bool) {
		for i := first; i < end; i++ {
			if !yield(note{i}) {
				return
			}
		}
	}
}

// ends registers a handler for done, and returns what it has been told.
func ends(q *stint.Queue) func() []stint.BatchInfo {
	var mu sync.Mutex
	var told []stint.BatchInfo
	var failed atomic.Bool
	stint.Handle(q, func(_ context.Context, job *stint.Job[done]) error {
		info, err := job.Batch()
		if err != nil || info.ID != job.BatchID || info.OnDone != job.ID {
			failed.Store(true)
		}
		mu.Lock()
		defer mu.Unlock()
		told = append(told, info)
		return err
	}, nil)
	return func() []stint.BatchInfo {
		synctest.Wait()
		if failed.Load() {
			panic("Work.Batch is not the batch of the job")
		}
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(told)
	}
}

func batch(t testing.TB, q *stint.Queue, id stint.ID) stint.BatchInfo {
	t.Helper()
	info, err := q.Batch(id)
	require.NoError(t, err)
	return info
}

// enqueueBatch stores a batch whose end enqueues done.
func enqueueBatch(t testing.TB, q *stint.Queue, items iter.Seq[stint.Args]) stint.ID {
	t.Helper()
	id, err := q.EnqueueBatch(t.Context(), items, &stint.BatchPolicy{Name: "by hand", OnDone: done{"it"}})
	require.NoError(t, err)
	return id
}

func TestEnqueueBatch(t *testing.T) {
	t.Parallel()
	scenario(t, "the end of the last item enqueues OnDone, which knows the totals", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			info, err := job.Batch()
			require.NoError(t, err)
			require.Equal(t, 2500, info.Planned)
			switch {
			case job.Args.N%1000 == 7:
				return stint.Kill(errOops)
			case job.Args.N == 8 && job.Attempt < 3:
				return errOops
			}
			return nil
		}, hour)
		start := time.Now()
		id := enqueueBatch(t, q, between(0, 2500))
		require.Equal(t, stint.BatchInfo{ID: id, Name: "by hand", Planned: 2500, StartedAt: start, PlannedAt: start}, sameClock(batch(t, q, id)))
		run(t, q)
		synctest.Wait()
		info := batch(t, q, id)
		require.Equal(t, []int{2496, 3, 4}, []int{info.Done, info.Dead, info.Failed})
		require.Zero(t, info.FinishedAt)
		require.Empty(t, told(), "one item waits for its retry")

		time.Sleep(3 * time.Hour)
		require.Len(t, told(), 1)
		info = batch(t, q, id)
		require.Equal(t, info, told()[0])
		require.Equal(t, []int{2497, 3, 5}, []int{info.Done, info.Dead, info.Failed})
		require.True(t, info.FinishedAt.Equal(start.Add(2*time.Hour)))
	})
	scenario(t, "an empty batch ends at once", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		run(t, q)
		id := enqueueBatch(t, q, between(0, 0))
		require.Len(t, told(), 1)
		require.Equal(t, id, told()[0].ID)
		require.False(t, batch(t, q, id).FinishedAt.IsZero())
	})
	scenario(t, "items run while the rest is being stored, and OnDone waits for that", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		var ran atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { ran.Add(1); return nil }, nil)
		run(t, q)
		enqueueBatch(t, q, func(yield func(stint.Args) bool) {
			for args := range between(0, 1000) {
				yield(args)
			}
			synctest.Wait()
			require.EqualValues(t, 1000, ran.Load())
			yield(note{1000})
			time.Sleep(time.Minute)
			yield(note{1001}) // what has waited for a second is stored
			synctest.Wait()
			require.EqualValues(t, 1002, ran.Load())
			require.Empty(t, told())
			for info, err := range q.Batches(0) {
				require.NoError(t, err)
				require.True(t, info.Planning)
				require.Equal(t, 1002, info.Done)
			}
		})
		require.Len(t, told(), 1)
	})
	scenario(t, "OnDone runs as the policy of its kind says, and Config.MaxJobs does not refuse it", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 10})
		stint.Handle(q, func(context.Context, *stint.Job[done]) error { return nil }, &stint.Policy{Queue: "ends", Priority: 4})
		for i := range 10 {
			enqueue(t, q, other{fmt.Sprint(i)})
		}
		id := enqueueBatch(t, q, between(0, 0))
		require.Equal(t, 11, q.Counts().Ready)
		end := get(t, q, batch(t, q, id).OnDone)
		require.Equal(t, "ends", end.Queue)
		require.Equal(t, 4, end.Priority)
		require.Equal(t, id, end.BatchID)
		require.JSONEq(t, `{"Of":"it"}`, string(end.Args))
	})
	scenario(t, "items may be of many kinds, and options hold for all", func(t *testing.T) {
		q := open(t, nil)
		id, err := q.EnqueueBatch(t.Context(), slices.Values([]stint.Args{note{1}, other{"a"}}),
			&stint.BatchPolicy{Options: []stint.Option{stint.OnQueue("x"), stint.Tags("y"), stint.In(time.Hour)}})
		require.NoError(t, err)
		for info := range q.Jobs(stint.Filter{Batch: id}) {
			require.Equal(t, "x", info.Queue)
			require.Equal(t, []string{"y"}, info.Tags)
			require.Equal(t, stint.Scheduled, info.State)
			require.Equal(t, id, info.BatchID)
		}
		require.Equal(t, 2, batch(t, q, id).Planned)
	})
	scenario(t, "what a policy gets wrong is said before anything is stored", func(t *testing.T) {
		q := open(t, &stint.Config{MaxArgsSize: 100})
		for _, c := range []struct {
			policy stint.BatchPolicy
			want   error
		}{
			{stint.BatchPolicy{Options: []stint.Option{stint.Priority(7)}}, stint.ErrBadOption},
			{stint.BatchPolicy{Options: []stint.Option{stint.Unique(stint.Replace())}}, stint.ErrBadOption},
			{stint.BatchPolicy{OnDone: done{strings.Repeat("x", 200)}}, stint.ErrArgsTooLarge},
			{stint.BatchPolicy{OnDone: (*pointerDone)(nil)}, stint.ErrBadArgs},
		} {
			_, err := q.EnqueueBatch(t.Context(), between(0, 1), &c.policy)
			require.ErrorIs(t, err, c.want)
			err = stint.PeriodicBatch(q, "x", "@daily", planNotes(1), noItem, &c.policy)
			require.ErrorIs(t, err, c.want)
		}
		require.Empty(t, batches(t, q))
		require.Zero(t, q.Counts())
	})
}

type pointerDone struct{}

func (*pointerDone) Kind() string { return "pointer" }

// sameClock makes times of the file comparable with those of the test.
func sameClock(info stint.BatchInfo) stint.BatchInfo {
	for _, at := range []*time.Time{&info.StartedAt, &info.PlannedAt, &info.FinishedAt, &info.ScheduledFor} {
		if !at.IsZero() {
			*at = time.Now().Add(-time.Since(*at))
		}
	}
	return info
}

func batches(t testing.TB, q *stint.Queue) (all []stint.BatchInfo) {
	t.Helper()
	for info, err := range q.Batches(0) {
		require.NoError(t, err)
		all = append(all, info)
	}
	return all
}

// notesThen yields n notes, and when those that are stored have begun the rest.
func notesThen(n int, then func(yield func(stint.Args) bool)) iter.Seq[stint.Args] {
	return func(yield func(stint.Args) bool) {
		for args := range between(0, n) {
			if !yield(args) {
				return
			}
		}
		synctest.Wait()
		then(yield)
	}
}

func TestBatchTakenBack(t *testing.T) {
	t.Parallel()
	var ctx context.Context
	var cancel context.CancelCauseFunc
	cases := []struct {
		name string
		then func(yield func(stint.Args) bool)
		want error
		says string
	}{
		{"args that are no JSON", func(yield func(stint.Args) bool) { yield(badArgs{}) }, stint.ErrBadArgs, "cannot be written as JSON"},
		{"no args", func(yield func(stint.Args) bool) { yield(nil) }, stint.ErrBadArgs, "nil"},
		{"a full queue", func(yield func(stint.Args) bool) {
			for args := range between(2500, 10_000) {
				if !yield(args) {
					return
				}
			}
		}, stint.ErrQueueFull, "full"},
		{"a context that ends", func(yield func(stint.Args) bool) { cancel(errOops); yield(note{-1}) }, errOops, "oops"},
		{"a panic", func(func(stint.Args) bool) { panic("over") }, nil, "did not come to their end"},
	}
	for _, c := range cases {
		scenario(t, c.name+" takes it back", func(t *testing.T) {
			ctx, cancel = context.WithCancelCause(t.Context())
			q := open(t, &stint.Config{MaxJobs: 4000, Workers: 3})
			told := ends(q)
			stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
				if job.Args.N < 5 {
					return nil
				}
				<-ctx.Done()
				return context.Cause(ctx)
			}, nil)
			run(t, q)
			func() {
				defer func() { require.Equal(t, c.want == nil, recover() != nil) }()
				id, err := q.EnqueueBatch(ctx, notesThen(2500, c.then), &stint.BatchPolicy{OnDone: done{}})
				require.ErrorIs(t, err, c.want)
				require.Zero(t, id)
			}()
			require.Empty(t, told())
			all := batches(t, q)
			require.Len(t, all, 1)
			info := all[0]
			require.Contains(t, info.CancelledBy, c.says)
			require.Equal(t, 5, info.Done)
			require.Equal(t, info.Planned, info.Done+info.Dead)
			require.GreaterOrEqual(t, info.Planned, 2000)
			require.False(t, info.FinishedAt.IsZero())
			require.Zero(t, info.OnDone)
			for job := range q.Jobs(stint.Filter{Batch: info.ID, Limit: 10}) {
				require.Equal(t, stint.Dead, job.State)
				require.Contains(t, job.Reason, "cancelled by EnqueueBatch")
			}
			require.Equal(t, stint.Counts{Dead: info.Dead}, q.Counts())
		})
	}
	scenario(t, "a full file takes it back", func(t *testing.T) {
		q := open(t, &stint.Config{MaxFileSize: 512 << 10})
		_, err := q.EnqueueBatch(t.Context(), between(0, 100_000), &stint.BatchPolicy{OnDone: done{}})
		require.ErrorIs(t, err, stint.ErrFileFull)
		info := batches(t, q)[0]
		require.Positive(t, info.Planned)
		require.Equal(t, info.Planned, info.Dead)
		require.Equal(t, stint.Counts{Dead: info.Dead}, q.Counts())
	})
	scenario(t, "so does CancelBatch while it is being stored", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		run(t, q)
		_, err := q.EnqueueBatch(t.Context(), notesThen(2500, func(yield func(stint.Args) bool) {
			require.NoError(t, q.CancelBatch(t.Context(), batches(t, q)[0].ID, "ops"))
			yield(note{-1})
		}), &stint.BatchPolicy{OnDone: done{}})
		require.ErrorIs(t, err, stint.ErrCancelled)
		require.Empty(t, told())
		require.Equal(t, "ops", batches(t, q)[0].CancelledBy)
	})
}
