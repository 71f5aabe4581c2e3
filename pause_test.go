package stint_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestPause(t *testing.T) {
	t.Parallel()
	scenario(t, "lets running jobs go on and starts no others until Resume", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 3})
		var begun, done atomic.Int32
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			begun.Add(1)
			time.Sleep(10 * time.Second)
			done.Add(1)
			return ctx.Err()
		}, nil)
		stock(t, q, 9)
		run(t, q)
		time.Sleep(5 * time.Second)
		require.NoError(t, q.Pause(t.Context(), "default", "eva"))
		time.Sleep(time.Hour)
		require.EqualValues(t, 3, begun.Load())
		require.EqualValues(t, 3, done.Load())
		require.Equal(t, stint.Counts{Ready: 6}, q.Counts())
		info := q.Queues()[0]
		require.True(t, info.Paused)
		require.Equal(t, "eva", info.PausedBy)
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Minute)
		require.EqualValues(t, 9, done.Load())
	})
	scenario(t, "before Run holds, and is remembered by the file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		require.NoError(t, q.Pause(t.Context(), "default", "eva"))
		stock(t, q, 5)
		require.NoError(t, q.Close())

		q = openAt(t, path, nil)
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { done.Add(1); return nil }, nil)
		enqueue(t, q, note{}, stint.OnQueue("elsewhere"))
		run(t, q)
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, done.Load())
		require.NoError(t, q.Resume(t.Context(), "default"))
		synctest.Wait()
		require.EqualValues(t, 6, done.Load())
	})
	scenario(t, "gives back what was claimed ahead", func(t *testing.T) {
		q, ids, slowRuns := claimedAhead(t)
		require.NoError(t, q.Pause(t.Context(), "default", "eva"))
		synctest.Wait()
		require.Equal(t, stint.Counts{Running: 1, Ready: 9}, q.Counts())
		require.Equal(t, stint.Ready, get(t, q, ids[1]).State)
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, slowRuns.Load())
		require.NoError(t, q.Delete(t.Context(), ids[1]))
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Hour)
		require.EqualValues(t, 9, slowRuns.Load())
		require.Zero(t, q.Counts())
	})
	scenario(t, "of one queue leaves the others alone", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(time.Second); done.Add(1); return nil }, nil)
		stock(t, q, 20, stint.OnQueue("a"))
		stock(t, q, 20, stint.OnQueue("b"))
		run(t, q)
		time.Sleep(4500 * time.Millisecond)
		require.NoError(t, q.Pause(t.Context(), "a", "eva"))
		time.Sleep(time.Hour)
		require.Equal(t, 17, q.Counts().Ready)
		require.NoError(t, q.Resume(t.Context(), "a"))
		time.Sleep(time.Hour)
		require.EqualValues(t, 40, done.Load())
	})
	scenario(t, "holds for delayed jobs and retries that become due", func(t *testing.T) {
		q := open(t, nil)
		var runs atomic.Int32
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			runs.Add(1)
			if job.Attempt == 1 {
				return errOops
			}
			return nil
		}, &stint.Policy{Backoff: stint.Constant(time.Minute)})
		enqueue(t, q, note{})
		enqueue(t, q, note{}, stint.In(time.Minute))
		run(t, q)
		synctest.Wait()
		require.NoError(t, q.Pause(t.Context(), "default", "eva"))
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, runs.Load())
		require.Equal(t, stint.Counts{Ready: 2}, q.Counts())
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Hour)
		require.EqualValues(t, 4, runs.Load())
	})

	// In real time: quick handlers, claimed ahead by the hundred, and a job
	// counts as started when the queue says so.
	t.Run("has stopped everything when it returns", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 4})
		var mu sync.Mutex
		started := map[stint.ID]bool{}
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			mu.Lock()
			defer mu.Unlock()
			started[job.ID] = true
			return nil
		}, nil)
		ids := stock(t, q, 5000)
		run(t, q)
		isStarted := func(id stint.ID) bool {
			mu.Lock()
			defer mu.Unlock()
			return started[id]
		}
		for round := range 20 {
			require.Eventually(t, func() bool { return isStarted(ids[round*200]) }, 10*time.Second, 100*time.Microsecond)
			require.NoError(t, q.Pause(t.Context(), "default", "eva"))
			mayStart := map[stint.ID]bool{}
			for info, err := range q.Jobs(stint.Filter{State: stint.Running}) {
				require.NoError(t, err)
				if !info.StartedAt.IsZero() {
					mayStart[info.ID] = true
				}
			}
			require.LessOrEqual(t, len(mayStart), 5000)
			mu.Lock()
			for id := range started {
				mayStart[id] = true
			}
			mu.Unlock()
			// A job that goes round the other way proves that the workers are free.
			passed := make(chan struct{})
			if round == 0 {
				stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error { close(passedOf(job.Args.S)); return nil }, nil)
			}
			key := string(rune('a' + round))
			passing.Store(key, passed)
			enqueue(t, q, other{S: key}, stint.OnQueue("open"))
			<-passed
			mu.Lock()
			for id := range started {
				if !mayStart[id] {
					t.Errorf("round %d: job %d started after Pause had returned", round, id)
				}
			}
			mu.Unlock()
			require.NoError(t, q.Resume(t.Context(), "default"))
		}
		require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 10*time.Second, time.Millisecond)
	})
}

var passing sync.Map

func passedOf(key string) chan struct{} {
	ch, _ := passing.Load(key)
	return ch.(chan struct{})
}
