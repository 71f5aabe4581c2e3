package stint_test

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// recount compares the counts with what listings find.
func recount(t *testing.T, q *stint.Queue) {
	t.Helper()
	counts, perQueue := q.Counts(), map[string]map[stint.State]int{}
	for _, s := range allStates {
		found := list(t, q, stint.Filter{State: s})
		require.Equal(t, len(found), countOf(counts, s), "%v", s)
		for _, info := range found {
			if perQueue[info.Queue] == nil {
				perQueue[info.Queue] = map[stint.State]int{}
			}
			perQueue[info.Queue][s]++
		}
	}
	for _, qi := range q.Queues() {
		for _, s := range allStates {
			require.Equal(t, perQueue[qi.Name][s], countOf(qi.Counts, s), "%s %v", qi.Name, s)
		}
		delete(perQueue, qi.Name)
	}
	require.Empty(t, perQueue)
	require.Equal(t, counts, q.Stats().Counts)
}

func TestCounts(t *testing.T) {
	t.Parallel()
	scenario(t, "follow each move, and are the same after a restart", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		cfg := &stint.Config{KeepCompleted: 48 * time.Hour, KeepDead: 48 * time.Hour}
		q := openAt(t, path, cfg)
		var release chan error
		handler := func(context.Context, *stint.Job[note]) error { return <-release }
		var stop func() error
		restart := func() {
			if stop != nil {
				require.NoError(t, stop())
				before := q.Counts()
				require.NoError(t, q.Close())
				q = openAt(t, path, cfg)
				before.Parked = before.Ready // no handler yet
				require.Equal(t, before, q.Counts())
			}
			release = make(chan error)
			handle(q, handler, &stint.Policy{Timeout: -1, Backoff: stint.Constant(time.Hour)})
			stop = run(t, q)
			synctest.Wait()
		}
		is := func(want stint.Counts) {
			t.Helper()
			synctest.Wait()
			require.Equal(t, want, q.Counts())
			recount(t, q)
		}
		restart()
		is(stint.Counts{})
		require.NoError(t, q.Pause(t.Context(), "stopped", "the test"))
		for i := range 4 {
			enqueue(t, q, note{N: i}, stint.OnQueue([]string{"a", "b"}[i%2]))
		}
		enqueue(t, q, note{N: 4}, stint.OnQueue("stopped"))
		is(stint.Counts{Ready: 1, Running: 4})
		enqueue(t, q, other{})
		is(stint.Counts{Ready: 2, Running: 4, Parked: 1})
		release <- nil
		is(stint.Counts{Ready: 2, Running: 3, Parked: 1, Completed: 1})
		release <- errRefused
		is(stint.Counts{Ready: 2, Running: 2, Parked: 1, Completed: 1, Retrying: 1})
		release <- stint.Snooze(time.Hour)
		is(stint.Counts{Ready: 2, Running: 1, Parked: 1, Completed: 1, Retrying: 1, Scheduled: 1})
		release <- stint.Kill(errRefused)
		is(stint.Counts{Ready: 2, Parked: 1, Completed: 1, Retrying: 1, Scheduled: 1, Dead: 1})
		restart()
		is(stint.Counts{Ready: 2, Parked: 1, Completed: 1, Retrying: 1, Scheduled: 1, Dead: 1})
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			_, err := q.EnqueueTx(tx, note{}, stint.OnQueue("c"), stint.In(time.Minute))
			return err
		}))
		is(stint.Counts{Ready: 2, Parked: 1, Completed: 1, Retrying: 1, Scheduled: 2, Dead: 1})
		time.Sleep(time.Minute)
		is(stint.Counts{Ready: 2, Parked: 1, Completed: 1, Retrying: 1, Scheduled: 1, Running: 1, Dead: 1})
		time.Sleep(time.Hour) // the retry and the snoozed one become due
		is(stint.Counts{Ready: 2, Parked: 1, Completed: 1, Running: 3, Dead: 1})
		require.NoError(t, q.Resume(t.Context(), "stopped"))
		is(stint.Counts{Ready: 1, Parked: 1, Completed: 1, Running: 4, Dead: 1})
		close(release)
		is(stint.Counts{Ready: 1, Parked: 1, Completed: 5, Dead: 1})
		restart()
		n, err := q.RetryAll(t.Context(), stint.Filter{Kind: "note"})
		require.NoError(t, err)
		require.Equal(t, 6, n)
		is(stint.Counts{Ready: 1, Parked: 1, Running: 6})
		close(release)
		is(stint.Counts{Ready: 1, Parked: 1, Completed: 6})
		time.Sleep(49 * time.Hour) // all that was kept is gone
		is(stint.Counts{Ready: 1, Parked: 1})
		restart()
		is(stint.Counts{Ready: 1, Parked: 1})
		close(release)

		s := q.Stats()
		require.EqualValues(t, 11, s.Processed)
		require.EqualValues(t, 2, s.Failed, "one failure and one kill; a snooze is none")
		require.EqualValues(t, 1, s.Died)
	})

	scenario(t, "CompleteTx takes a job out of them while its handler goes on", func(t *testing.T) {
		q := open(t, nil)
		release := make(chan struct{})
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			require.NoError(t, q.DB().Update(job.CompleteTx))
			<-release
			return nil
		}, nil)
		run(t, q)
		enqueue(t, q, note{})
		synctest.Wait()
		require.Zero(t, q.Counts())
		recount(t, q)
		close(release)
	})
}

func TestCountsWhileJobsMove(t *testing.T) {
	t.Parallel()
	// watched calls see with the counts, again and again, while n jobs run.
	watched := func(t *testing.T, work func(*stint.Queue, *stint.Job[note]) error, see func(c stint.Counts) bool) {
		t.Helper()
		q := open(t, &stint.Config{KeepCompleted: -1, Workers: 4})
		handle(q, func(_ context.Context, job *stint.Job[note]) error { return work(q, job) }, nil)
		run(t, q)
		const n = 400
		var wg sync.WaitGroup
		done := make(chan struct{})
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				c := q.Counts()
				if !see(c) || c != (stint.Counts{Ready: c.Ready, Running: c.Running, Completed: c.Completed}) {
					t.Errorf("%+v", c)
					return
				}
				for _, qi := range q.Queues() {
					if qi.Ready < 0 || qi.Running < 0 {
						t.Errorf("%+v", qi)
						return
					}
				}
				runtime.Gosched() // or nobody else gets the lock, with the race detector
			}
		})
		for i := range n {
			enqueue(t, q, note{N: i})
		}
		require.Eventually(t, func() bool { return q.Counts() == stint.Counts{Completed: n} }, 10*time.Second, time.Millisecond)
		close(done)
		wg.Wait()
	}

	t.Run("nobody ever sees a job twice, or less than none", func(t *testing.T) {
		last := 0
		watched(t, func(*stint.Queue, *stint.Job[note]) error { return nil }, func(c stint.Counts) bool {
			total := c.Ready + c.Running + c.Completed
			grows := total >= last && total <= 400
			last = total
			return grows && c.Ready >= 0 && c.Running >= 0
		})
	})

	t.Run("not even with CompleteTx, which they learn of a moment late", func(t *testing.T) {
		watched(t, func(q *stint.Queue, job *stint.Job[note]) error { return q.DB().Update(job.CompleteTx) }, func(c stint.Counts) bool {
			return c.Ready >= 0 && c.Running >= 0 && c.Completed <= 400
		})
	})
}

func TestStats(t *testing.T) {
	t.Parallel()
	scenario(t, "waits and times of the jobs that completed", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			time.Sleep(time.Duration(job.Args.N) * time.Second)
			return nil
		}, &stint.Policy{Timeout: -1})
		for i := 1; i <= 100; i++ {
			enqueue(t, q, note{N: i}, stint.In(time.Duration(i)*time.Hour))
		}
		run(t, q)
		time.Sleep(200 * time.Hour)
		s := q.Stats()
		require.EqualValues(t, 100, s.Processed)
		require.InDelta(t, 50, s.RunP50.Seconds(), 1.5)
		require.InDelta(t, 99, s.RunP99.Seconds(), 1.5)
		require.Zero(t, s.WaitP50)
		require.Zero(t, s.WaitP99, "the delay that was asked for is no wait")
		require.Zero(t, s.OldestWait)
	})

	scenario(t, "a job that waits for its turn waits", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(time.Minute); return nil }, &stint.Policy{Timeout: -1})
		run(t, q)
		for range 3 {
			enqueue(t, q, note{})
		}
		time.Sleep(90 * time.Second)
		require.Equal(t, 90*time.Second, q.Stats().OldestWait, "of the third; the second runs")
		require.Equal(t, 90*time.Second, q.Queues()[0].OldestWait)
		time.Sleep(time.Hour)
		require.Equal(t, 2*time.Minute, q.Stats().WaitP99)
		require.Equal(t, time.Minute, q.Stats().WaitP50)
	})

	t.Run("after more than a thousand samples", func(t *testing.T) {
		q := open(t, nil)
		var n atomic.Int64
		handle(q, func(context.Context, *stint.Job[note]) error { n.Add(1); return nil }, nil)
		_, err := q.EnqueueSeq(t.Context(), numbered(2100, nil))
		require.NoError(t, err)
		stop := run(t, q)
		require.Eventually(t, func() bool { return n.Load() == 2100 }, 10*time.Second, time.Millisecond)
		require.NoError(t, stop())
		s := q.Stats()
		require.EqualValues(t, 2100, s.Processed)
		require.Positive(t, s.WaitP50)
		require.GreaterOrEqual(t, s.WaitP99, s.WaitP50)
		require.GreaterOrEqual(t, s.RunP99, s.RunP50)
	})
}

func TestQueues(t *testing.T) {
	t.Parallel()
	scenario(t, "those of the Config and those that ever had a job, by name", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		cfg := &stint.Config{Queues: map[string]stint.QueueConfig{"mail": {Weight: 2}}}
		q := openAt(t, path, cfg)
		require.Equal(t, []stint.QueueInfo{{Name: "mail"}}, q.Queues())
		enqueue(t, q, note{})
		require.NoError(t, q.Delete(t.Context(), enqueue(t, q, note{}, stint.OnQueue("a"))))
		names := func() (names []string) {
			for _, qi := range q.Queues() {
				names = append(names, qi.Name)
			}
			return names
		}
		require.Equal(t, []string{"a", "default", "mail"}, names())
		require.NoError(t, q.Close())
		q = openAt(t, path, cfg)
		require.Equal(t, []string{"a", "default", "mail"}, names())
		time.Sleep(time.Hour)
		require.Equal(t, stint.QueueInfo{Name: "default", Counts: stint.Counts{Ready: 1, Parked: 1}, OldestWait: time.Hour}, q.Queues()[1])
	})
}

func TestPausedQueues(t *testing.T) {
	t.Parallel()
	scenario(t, "tell since when and by whom, also after a restart", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		since := time.Now()
		require.NoError(t, q.Pause(t.Context(), "low", "Eve"))
		enqueue(t, q, note{N: 1}, stint.OnQueue("low"))
		time.Sleep(time.Hour)
		require.NoError(t, q.Close())
		q = openAt(t, path, nil)
		low := q.Queues()[0]
		require.True(t, since.Equal(low.PausedSince))
		low.PausedSince = time.Time{}
		require.Equal(t, stint.QueueInfo{Name: "low", Counts: stint.Counts{Ready: 1, Parked: 1}, Paused: true, PausedBy: "Eve", OldestWait: time.Hour}, low)
		require.NoError(t, q.Resume(t.Context(), "low"))
		require.NoError(t, q.Close())
		low = openAt(t, path, nil).Queues()[0]
		require.Equal(t, stint.QueueInfo{Name: "low", Counts: stint.Counts{Ready: 1, Parked: 1}, OldestWait: time.Hour}, low)
	})

	scenario(t, "twice is once, and a name must be good", func(t *testing.T) {
		q := open(t, nil)
		for _, by := range []string{"a", "b"} {
			require.NoError(t, q.Pause(t.Context(), "q", by))
			require.Equal(t, by, q.Queues()[0].PausedBy)
		}
		require.NoError(t, q.Resume(t.Context(), "q"))
		require.NoError(t, q.Resume(t.Context(), "q"))
		require.ErrorIs(t, q.Pause(t.Context(), "no good", ""), stint.ErrBadOption)
		require.ErrorIs(t, q.Resume(t.Context(), ""), stint.ErrBadOption)
	})
}
