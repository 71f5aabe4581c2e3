package stint_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// resting is a queue whose only worker has done many jobs, has many more before
// it, and is busy for an hour.
func resting(t *testing.T, before func(q *stint.Queue, ids []stint.ID)) *stint.Queue {
	t.Helper()
	q := open(t, &stint.Config{Workers: 1, KeepCompleted: 24 * time.Hour})
	n := 0
	stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
		if n++; n%100 == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
			}
		}
		return nil
	}, &stint.Policy{Timeout: 2 * time.Hour})
	before(q, stock(t, q, 2000))
	run(t, q)
	return q
}

// While workers have enough to do, completions wait for more of them, but not
// for long, and not while somebody waits.
func TestGroupsRest(t *testing.T) {
	t.Parallel()
	scenario(t, "what is done is stored soon", func(t *testing.T) {
		q := resting(t, func(*stint.Queue, []stint.ID) {})
		for hour := range 5 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			require.EqualValues(t, 100*(hour+1)-1, q.Stats().Processed)
			time.Sleep(time.Hour - 10*time.Millisecond)
		}
	})
	scenario(t, "and as done when it was", func(t *testing.T) {
		start := time.Now()
		var all []stint.ID
		q := resting(t, func(_ *stint.Queue, ids []stint.ID) { all = ids })
		for hour := range 5 {
			time.Sleep(10 * time.Millisecond)
			info, err := q.Get(all[100*hour+98])
			require.NoError(t, err)
			require.Equal(t, time.Duration(hour)*time.Hour, info.FinishedAt.Sub(start))
			time.Sleep(time.Hour - 10*time.Millisecond)
		}
	})
	scenario(t, "a caller does not wait", func(t *testing.T) {
		q := resting(t, func(*stint.Queue, []stint.ID) {})
		for range 5 {
			start := time.Now()
			id := enqueue(t, q, other{})
			require.NoError(t, q.Delete(t.Context(), id))
			require.Zero(t, time.Since(start))
			time.Sleep(time.Hour + time.Millisecond)
		}
	})
	scenario(t, "nor does who waits for a job", func(t *testing.T) {
		var all sync.WaitGroup
		start := time.Now()
		resting(t, func(q *stint.Queue, ids []stint.ID) {
			for at, hours := range map[int]int{0: 0, 50: 0, 98: 0, 198: 1, 298: 2, 398: 3} {
				all.Go(func() {
					_, err := q.Wait(t.Context(), ids[at])
					assert.NoError(t, err)
					assert.Equal(t, time.Duration(hours)*time.Hour, time.Since(start))
				})
			}
			synctest.Wait()
		})
		all.Wait()
	})
}

// Where time stands still, no group waits for callers for ever.
func TestGroupsOfSlowFunctions(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 4})
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			return job.Commit(func(*bolt.Tx) error { time.Sleep(time.Second); return nil })
		}, nil)
		stock(t, q, 4)
		run(t, q)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 4, q.Stats().Processed)
	})
}

// A kind or a queue that has all the workers it may have waits for completions,
// so those do not wait for each other.
func TestGroupsBesideALimit(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"kind", "queue"} {
		scenario(t, "of a "+of, func(t *testing.T) {
			q := open(t, &stint.Config{Workers: 8, Queues: map[string]stint.QueueConfig{"narrow": {Workers: 1}}})
			policy := &stint.Policy{Queue: "narrow"}
			if of == "kind" {
				policy = &stint.Policy{Concurrency: 1, Priority: 1}
			}
			start := time.Now()
			var n atomic.Int32
			var took atomic.Int64
			stint.Handle(q, func(context.Context, *stint.Job[other]) error {
				if n.Add(1) == 200 {
					took.Store(int64(time.Since(start)))
				}
				return nil
			}, policy)
			stint.Handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(time.Millisecond); return nil }, nil)
			for range 200 {
				enqueue(t, q, other{})
			}
			stock(t, q, 20_000)
			run(t, q)
			time.Sleep(time.Minute)
			require.Positive(t, took.Load())
			require.Less(t, time.Duration(took.Load()), 300*time.Millisecond)
		})
	}
}
