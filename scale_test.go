package stint_test

import (
	"context"
	"math"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// workersOf is what Queues says of a queue, and -1 if it is not known.
func workersOf(q *stint.Queue, queue string) int {
	for _, qi := range q.Queues() {
		if qi.Name == queue {
			return qi.Workers
		}
	}
	return -1
}

func TestSetWorkers(t *testing.T) {
	t.Parallel()
	// minutes is a queue with 40 jobs, each of a minute.
	minutes := func(t *testing.T, cfg *stint.Config, opts ...stint.Option) *stint.Queue {
		t.Helper()
		cfg.ShutdownTimeout = time.Hour
		q := open(t, cfg)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(time.Minute); return nil }, endless)
		for n := range 40 {
			enqueue(t, q, note{N: n}, opts...)
		}
		run(t, q)
		synctest.Wait()
		return q
	}
	set := func(t *testing.T, q *stint.Queue, queue string, n int) {
		t.Helper()
		begun := time.Now()
		require.NoError(t, q.SetWorkers(t.Context(), queue, n))
		require.Zero(t, time.Since(begun))
		synctest.Wait()
	}
	running := func(t *testing.T, q *stint.Queue, want int) {
		t.Helper()
		require.Equal(t, want, q.Counts().Running)
	}

	scenario(t, "more begin at once, fewer when those that run have ended", func(t *testing.T) {
		q := minutes(t, &stint.Config{Workers: 4})
		require.Equal(t, 4, q.Stats().Workers)
		running(t, q, 4)
		set(t, q, "", 6)
		running(t, q, 6)
		require.Equal(t, 6, q.Stats().Workers)
		set(t, q, "", 1)
		running(t, q, 6)
		time.Sleep(time.Minute)
		synctest.Wait()
		running(t, q, 1)
		require.EqualValues(t, 6, q.Stats().Processed)
		set(t, q, "", 0)
		running(t, q, 4)
		require.Equal(t, 4, q.Stats().Workers)
	})
	scenario(t, "without any bound", func(t *testing.T) {
		for _, workers := range []int{math.MaxInt, 4} {
			q := open(t, &stint.Config{Workers: workers})
			stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error { // so quick that more would be claimed ahead
				if job.Args.N == 0 {
					return nil
				}
				_, err := q.Enqueue(ctx, note{N: job.Args.N - 1})
				return err
			}, nil)
			if workers == 4 {
				set(t, q, "", math.MaxInt)
				set(t, q, "default", math.MaxInt)
			}
			run(t, q)
			for range 50 {
				enqueue(t, q, note{N: 20})
			}
			time.Sleep(time.Second)
			require.EqualValues(t, 50*21, q.Stats().Processed)
		}
	})
	scenario(t, "of one queue", func(t *testing.T) {
		q := minutes(t, &stint.Config{Workers: 8, Queues: map[string]stint.QueueConfig{"mail": {Workers: 3}}}, stint.OnQueue("mail"))
		require.Equal(t, 3, workersOf(q, "mail"))
		running(t, q, 3)
		set(t, q, "mail", 5)
		running(t, q, 5)
		require.Equal(t, 5, workersOf(q, "mail"))
		set(t, q, "mail", 2)
		running(t, q, 5)
		time.Sleep(time.Minute)
		synctest.Wait()
		running(t, q, 2)
		set(t, q, "mail", 0)
		running(t, q, 3)

		require.Equal(t, -1, workersOf(q, "new"))
		set(t, q, "new", 1)
		require.Equal(t, 1, workersOf(q, "new"))
		enqueue(t, q, note{}, stint.OnQueue("new"))
		enqueue(t, q, note{}, stint.OnQueue("new"))
		synctest.Wait()
		running(t, q, 4)
		set(t, q, "new", 0)
		running(t, q, 5)
		require.Zero(t, workersOf(q, "new"))
	})
	scenario(t, "holds for the next Run, and not for the next process", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, &stint.Config{ShutdownTimeout: 1})
		stint.Handle(q, blocks, endless)
		for n := range 20 {
			enqueue(t, q, note{N: n})
		}
		set(t, q, "", 3)
		set(t, q, "default", 2)
		for range 2 {
			w := begin(q)
			synctest.Wait()
			running(t, q, 2)
			w.end()
			require.NoError(t, <-w.result)
		}
		set(t, q, "default", 0)
		w := begin(q)
		synctest.Wait()
		running(t, q, 3)
		w.end()
		require.NoError(t, <-w.result)
		require.NoError(t, q.Close())

		q = openAt(t, path, &stint.Config{ShutdownTimeout: 1})
		require.Equal(t, 10, q.Stats().Workers)
		require.Zero(t, workersOf(q, "default"))
	})
	scenario(t, "gives back what was claimed ahead", func(t *testing.T) {
		for _, queue := range []string{"", "default"} {
			q := open(t, &stint.Config{Workers: 20, ShutdownTimeout: 1, Queues: map[string]stint.QueueConfig{"default": {Workers: 200}}})
			var slow atomic.Int32
			stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
				if job.Args.N >= 300 {
					slow.Add(1)
					<-ctx.Done()
				}
				return context.Cause(ctx)
			}, endless)
			stock(t, q, 600)
			stop := run(t, q)
			synctest.Wait()
			require.EqualValues(t, 20, slow.Load())
			set(t, q, queue, 5)
			running(t, q, 20)
			require.Equal(t, stint.Counts{Ready: 280, Running: 20}, q.Counts())
			require.NoError(t, stop())
		}
	})
	scenario(t, "workers that are too many take nothing more", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 10, ShutdownTimeout: 1})
		var active atomic.Int32
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			active.Add(1)
			defer active.Add(-1)
			switch n := job.Args.N; {
			case n < 5:
				time.Sleep(10 * time.Millisecond) // which lets others be claimed ahead
			case n < 10:
				time.Sleep(time.Minute)
			default:
				<-ctx.Done()
			}
			return context.Cause(ctx)
		}, endless)
		stock(t, q, 60)
		run(t, q)
		synctest.Wait()
		set(t, q, "", 2)
		require.EqualValues(t, 10, active.Load())
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.EqualValues(t, 2, active.Load())
	})
	scenario(t, "an idle queue stays idle", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		synctest.Wait()
		before := q.Stats()
		for _, queue := range []string{"", "default", "new"} {
			for _, n := range []int{1, 50, 0} {
				set(t, q, queue, n)
			}
		}
		after := q.Stats()
		require.Equal(t, before, after, "it writes nothing")
	})
	scenario(t, "refuses what makes no sense", func(t *testing.T) {
		q := open(t, nil)
		require.ErrorIs(t, q.SetWorkers(t.Context(), "", -1), stint.ErrBadOption)
		require.ErrorIs(t, q.SetWorkers(t.Context(), "mail", -1), stint.ErrBadOption)
		require.ErrorIs(t, q.SetWorkers(t.Context(), "no queue", 1), stint.ErrBadOption)
		ended, end := context.WithCancel(t.Context())
		end()
		require.ErrorIs(t, q.SetWorkers(ended, "", 1), context.Canceled)
		require.Equal(t, 10, q.Stats().Workers)
		require.Empty(t, q.Queues())
		require.NoError(t, q.Close())
		require.ErrorIs(t, q.SetWorkers(t.Context(), "", 1), stint.ErrClosed)
	})
}

// The number changes all the time while quick jobs run. Once a change has
// settled, no more run than it says.
func TestSetWorkersUnderLoad(t *testing.T) {
	t.Parallel()
	q := open(t, &stint.Config{Workers: 4})
	var all, mail, mostAll, mostMail atomic.Int64
	most := func(seen *atomic.Int64, n int64) {
		for old := seen.Load(); n > old && !seen.CompareAndSwap(old, n); old = seen.Load() {
		}
	}
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		most(&mostAll, all.Add(1))
		defer all.Add(-1)
		if job.Queue == "mail" {
			most(&mostMail, mail.Add(1))
			defer mail.Add(-1)
		}
		time.Sleep(100 * time.Microsecond)
		return nil
	}, nil)
	load := func() { // more than enough to do
		for _, queue := range []string{"mail", "default"} {
			_, err := q.EnqueueAll(t.Context(), notes(300), stint.OnQueue(queue))
			require.NoError(t, err)
		}
	}
	processed := func(more uint64) {
		t.Helper()
		until := q.Stats().Processed + more
		require.Eventually(t, func() bool { return q.Stats().Processed >= until }, 10*time.Second, time.Millisecond)
	}
	run(t, q)
	for round := range 8 {
		workers, ofMail := int64(1+round*5%12), int64(1+round*3%5)
		load()
		require.NoError(t, q.SetWorkers(t.Context(), "", int(workers)))
		require.NoError(t, q.SetWorkers(t.Context(), "mail", int(ofMail)))
		require.Eventually(t, func() bool { return all.Load() <= workers && mail.Load() <= ofMail }, 10*time.Second, 50*time.Microsecond)
		mostAll.Store(0)
		mostMail.Store(0)
		processed(150)
		require.LessOrEqual(t, mostAll.Load(), workers)
		require.LessOrEqual(t, mostMail.Load(), ofMail)
		require.NotZero(t, mostMail.Load())
	}
	require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 20*time.Second, time.Millisecond)
}
