package stint_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

type noteSeq = iter.Seq2[note, error]

type notePlan = func(context.Context, *stint.Planning[note]) noteSeq

// planNotes is a planner that starts over with each attempt.
func planNotes(n int) notePlan {
	return func(context.Context, *stint.Planning[note]) noteSeq { return notesUpTo(n) }
}

func notesUpTo(n int) noteSeq {
	return func(yield func(note, error) bool) {
		for i := range n {
			if !yield(note{i}, nil) {
				return
			}
		}
	}
}

func noItem(context.Context, *stint.Job[note]) error { return nil }

const never = "@every 87600h"

// planned registers a batch that is started by hand.
func planned(t testing.TB, q *stint.Queue, plan notePlan, each func(context.Context, *stint.Job[note]) error, policy *stint.BatchPolicy) {
	t.Helper()
	if policy == nil {
		policy = &stint.BatchPolicy{}
	}
	if policy.OnDone == nil {
		policy.OnDone = done{"plan"}
	}
	require.NoError(t, stint.PeriodicBatch(q, "nightly", never, plan, each, policy, stint.Overlap(stint.Allow)))
}

func startBatch(t testing.TB, q *stint.Queue) stint.ID {
	t.Helper()
	id, err := q.RunSchedule(context.Background(), "nightly")
	require.NoError(t, err)
	return id
}

// onceEach is a handler that counts the runs of each item.
func onceEach(runs *[10_000]atomic.Int32) func(context.Context, *stint.Job[note]) error {
	return func(_ context.Context, job *stint.Job[note]) error {
		runs[job.Args.N].Add(1)
		return nil
	}
}

func requireOnce(t *testing.T, runs *[10_000]atomic.Int32, n int) {
	t.Helper()
	wrong := map[int]int32{}
	for i := range runs {
		if got := runs[i].Load(); i < n && got != 1 || i >= n && got != 0 {
			wrong[i] = got
		}
	}
	require.Empty(t, wrong, "items and how often they ran")
}

func TestPeriodicBatch(t *testing.T) {
	t.Parallel()
	scenario(t, "plans its items each time, and one batch after the other", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		stop := make(chan bool)
		each := func(_ context.Context, job *stint.Job[note]) error {
			require.Empty(t, job.Schedule)
			if job.Args.N == 0 {
				<-stop
			}
			return nil
		}
		err := stint.PeriodicBatch(q, "hourly", "@hourly", func(_ context.Context, p *stint.Planning[note]) noteSeq {
			require.Equal(t, "hourly", p.Schedule)
			require.Equal(t, p.ID, p.BatchID)
			return notesUpTo(1500)
		}, each, &stint.BatchPolicy{OnDone: done{"hourly"}, Items: &stint.Policy{Timeout: -1}})
		require.NoError(t, err)
		run(t, q)
		start := time.Now()
		time.Sleep(150 * time.Minute) // the second run is skipped: the first is unfinished
		all := batches(t, q)
		require.Len(t, all, 1)
		require.Equal(t, []any{"hourly", "hourly", 1500, 1499, false}, []any{all[0].Name, all[0].Schedule, all[0].Planned, all[0].Done, all[0].Planning})
		require.True(t, all[0].ScheduledFor.Equal(start.Truncate(time.Hour).Add(time.Hour)))
		require.Empty(t, told())
		schedules, err := q.Schedules()
		require.NoError(t, err)
		require.Equal(t, stint.Ready, schedules[0].Runs[0].State)
		require.Equal(t, 1, schedules[0].Runs[1].Skipped)

		close(stop)
		require.Len(t, told(), 1)
		schedules, err = q.Schedules()
		require.NoError(t, err)
		require.Equal(t, stint.Completed, schedules[0].Runs[0].State)
		time.Sleep(time.Hour)
		require.Len(t, told(), 2)
		require.Equal(t, 1500, told()[1].Done)
	})
	scenario(t, "a run that waits starts when the batch has ended", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		each := func(ctx context.Context, job *stint.Job[note]) error {
			select {
			case <-time.After(100 * time.Minute):
			case <-ctx.Done():
			}
			return stint.Kill(errOops)
		}
		require.NoError(t, stint.PeriodicBatch(q, "hourly", "@hourly", planNotes(3), each,
			&stint.BatchPolicy{OnDone: done{}, Items: &stint.Policy{Timeout: -1}}, stint.Overlap(stint.QueueOne)))
		run(t, q)
		time.Sleep(170 * time.Minute) // begun after 60 minutes, ended after 160
		require.Len(t, told(), 1)
		require.Len(t, batches(t, q), 2)
		schedules, err := q.Schedules()
		require.NoError(t, err)
		require.Equal(t, stint.Completed, schedules[0].Runs[0].State)
		require.Equal(t, "3 of 3 items are dead", schedules[0].Runs[0].Reason)
	})
	scenario(t, "is refused as a whole for a bad schedule, and for a kind that is taken", func(t *testing.T) {
		q := open(t, nil)
		require.ErrorIs(t, stint.PeriodicBatch(q, "x", "nonsense", planNotes(1), noItem, nil), stint.ErrBadSpec)
		require.ErrorIs(t, stint.PeriodicBatch(q, "x", never, nil, noItem, nil), stint.ErrConfig)
		require.NoError(t, stint.PeriodicBatch(q, "x", never, planNotes(1), noItem, nil))
		require.ErrorContains(t, stint.PeriodicBatch(q, "y", never, planNotes(1), noItem, nil), "has a handler already")
	})
	scenario(t, "without items ends at once", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		planned(t, q, planNotes(0), noItem, nil)
		run(t, q)
		startBatch(t, q)
		require.Len(t, told(), 1)
		require.Zero(t, told()[0].Planned)
		schedules, err := q.Schedules()
		require.NoError(t, err)
		require.Equal(t, stint.Completed, schedules[0].Runs[0].State)
	})
	scenario(t, "has a timeout of an hour", func(t *testing.T) {
		q := open(t, nil)
		var attempts atomic.Int32
		planned(t, q, func(ctx context.Context, p *stint.Planning[note]) noteSeq {
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, time.Hour, time.Until(deadline))
			attempts.Add(1)
			return func(yield func(note, error) bool) { // it knows nothing of ctx
				for i := p.Stored; i < 90; i++ {
					time.Sleep(time.Minute)
					if !yield(note{i}, nil) {
						return
					}
				}
			}
		}, noItem, &stint.BatchPolicy{Planner: hour})
		run(t, q)
		id := startBatch(t, q)
		time.Sleep(62 * time.Minute)
		require.Equal(t, stint.Retrying, get(t, q, id).State)
		require.Contains(t, get(t, q, id).Attempts[0].Error, "timeout")
		time.Sleep(3 * time.Hour)
		require.EqualValues(t, 2, attempts.Load())
		require.Equal(t, 90, batch(t, q, id).Done)
		require.Zero(t, batch(t, q, id).Bad)
	})
	scenario(t, "Perform plans and stores nothing", func(t *testing.T) {
		q := open(t, nil)
		yielded := 0
		planned(t, q, func(_ context.Context, p *stint.Planning[note]) noteSeq {
			require.Nil(t, p.After)
			return func(yield func(note, error) bool) {
				for yielded = 0; yielded < 2500 && yield(note{yielded}, nil); yielded++ {
				}
			}
		}, noItem, nil)
		require.NoError(t, q.Perform(t.Context(), planJob{}))
		require.Equal(t, 2500, yielded)
		require.NoError(t, q.Perform(t.Context(), note{}))
		require.Zero(t, q.Counts())
		require.Empty(t, batches(t, q))
	})
	scenario(t, "its planner may be enqueued like any job", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		planned(t, q, planNotes(10), noItem, nil)
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			_, err := q.EnqueueTx(tx, planJob{})
			return err
		}))
		require.True(t, batches(t, q)[0].Planning)
		run(t, q)
		require.Len(t, told(), 1)
		require.Empty(t, told()[0].Schedule)
		require.Equal(t, 10, told()[0].Done)
	})
}

// planJob is the planner's job of the batch "nightly".
type planJob struct{}

func (planJob) Kind() string { return "plan/nightly" }

func TestPlannerAndMiddleware(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var groups []int
		var kinds []string
		q := open(t, &stint.Config{
			EnqueueMiddleware: []stint.EnqueueMiddleware{func(ctx context.Context, jobs []*stint.NewJob, next func(context.Context) error) error {
				groups = append(groups, len(jobs))
				for _, job := range jobs {
					job.Tags = append(job.Tags, "seen")
				}
				return next(ctx)
			}},
			WorkMiddleware: []stint.WorkMiddleware{func(ctx context.Context, w *stint.Work, next func(context.Context) error) error {
				kinds = append(kinds, w.Kind)
				return next(ctx)
			}},
			Workers: 1,
		})
		told := ends(q)
		planned(t, q, planNotes(2300), func(_ context.Context, job *stint.Job[note]) error {
			require.Equal(t, []string{"seen"}, job.Tags)
			return nil
		}, nil)
		run(t, q)
		startBatch(t, q)
		require.Len(t, told(), 1)
		require.Equal(t, []int{1000, 1000, 300}, groups)
		require.Equal(t, "plan/nightly", kinds[0])
		require.Len(t, kinds, 2302)
	})
}

func TestMiddlewareThatKeepsItemsBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, &stint.Config{EnqueueMiddleware: []stint.EnqueueMiddleware{
			func(ctx context.Context, jobs []*stint.NewJob, next func(context.Context) error) error {
				if len(jobs) == 1000 {
					return next(ctx)
				}
				return nil
			}}})
		info := batch(t, q, enqueueBatch(t, q, between(0, 1010)))
		require.Equal(t, 1000, info.Planned)
		require.False(t, info.Planning)
	})
}
