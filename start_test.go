package stint_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func startsOf(t testing.TB, q *stint.Queue) []stint.Start {
	t.Helper()
	list, err := q.Starts()
	require.NoError(t, err)
	return list
}

func TestStarts(t *testing.T) {
	t.Parallel()
	scenario(t, "tell who worked the file, and how that ended", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		require.Empty(t, startsOf(t, q))
		began := time.Now()
		stop := run(t, q)
		synctest.Wait()
		commits := lastTx(q.DB())
		host, err := os.Hostname()
		require.NoError(t, err)
		list := startsOf(t, q)
		require.Len(t, list, 1)
		require.True(t, began.Equal(list[0].At))
		require.Zero(t, list[0].Ended)
		require.False(t, list[0].Crashed)
		require.Equal(t, os.Getpid(), list[0].PID)
		require.Equal(t, host, list[0].Host)
		require.NotEmpty(t, list[0].Version)
		time.Sleep(time.Hour)
		require.Equal(t, commits, lastTx(q.DB()), "it makes no commit")
		require.NoError(t, stop())
		require.True(t, began.Add(time.Hour).Equal(startsOf(t, q)[0].Ended))
		require.True(t, stint.StartsToWrite(q))
		require.NoError(t, q.Close())

		q = openAt(t, path, nil)
		list = startsOf(t, q)
		require.Len(t, list, 1)
		require.True(t, began.Add(time.Hour).Equal(list[0].Ended))
		require.False(t, list[0].Crashed)
		require.Equal(t, host, list[0].Host)
	})

	scenario(t, "tell of a crash, and what was recovered", func(t *testing.T) {
		q := open(t, nil)
		release := make(chan struct{})
		handle(q, func(context.Context, *stint.Job[note]) error { <-release; return nil }, &stint.Policy{Timeout: -1})
		run(t, q)
		enqueue(t, q, note{})
		enqueue(t, q, note{})
		synctest.Wait()
		time.Sleep(time.Minute)
		require.False(t, stint.StartsToWrite(q), "the first commit has written it")
		path := crashed(t, q)
		close(release)

		q = openAt(t, path, nil)
		list := startsOf(t, q)
		require.Len(t, list, 1)
		require.True(t, list[0].Crashed)
		require.Zero(t, list[0].Ended)
		require.EqualValues(t, 2, q.Metrics().Recovered)
		for range 2 {
			require.NoError(t, run(t, q)())
		}
		list = startsOf(t, q)
		require.Len(t, list, 3)
		require.Equal(t, []int{0, 2, 0}, []int{list[0].Recovered, list[1].Recovered, list[2].Recovered}, "the newest first")
		require.False(t, list[0].Crashed || list[1].Crashed)
		require.True(t, list[2].Crashed)
	})

	scenario(t, "are 50", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		for i := range 4 {
			q := openAt(t, path, nil)
			for j := range 20 {
				stop := run(t, q)
				if j%3 == 0 {
					enqueue(t, q, note{}) // a commit
				}
				require.NoError(t, stop())
			}
			require.Len(t, startsOf(t, q), min(20*(i+1), 50), "also of one moment")
			require.NoError(t, q.Close())
			time.Sleep(time.Hour)
		}
		q := openAt(t, path, nil)
		list := startsOf(t, q)
		require.Len(t, list, 50)
		for i, s := range list {
			require.False(t, s.Crashed)
			require.True(t, i == 0 || !list[i-1].At.Before(s.At))
		}
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	scenario(t, "count each outcome", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 4})
		require.Empty(t, q.Metrics().Kinds)
		handler := func(ctx context.Context, job *stint.Job[note]) error {
			time.Sleep(time.Second)
			switch job.Args.N {
			case 1:
				return errRefused
			case 2:
				return stint.Snooze(time.Hour)
			case 3:
				return stint.Kill(errRefused)
			case 4:
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		handle(q, handler, &stint.Policy{Timeout: -1, Backoff: stint.Constant(24 * time.Hour)})
		waits := enqueue(t, q, note{}, stint.In(time.Hour))
		require.NoError(t, q.Kill(t.Context(), waits, "enough"))
		enqueue(t, q, note{}, stint.In(time.Minute), stint.ExpiresIn(time.Second))
		stop := run(t, q)
		for range 3 {
			enqueue(t, q, note{0})
		}
		for n := 1; n <= 3; n++ {
			enqueue(t, q, note{n})
		}
		enqueue(t, q, note{0}, stint.OnQueue("a"))
		time.Sleep(30 * time.Second)
		cancelled := enqueue(t, q, note{4})
		synctest.Wait()
		require.NoError(t, q.Cancel(t.Context(), cancelled, "somebody"))
		time.Sleep(time.Minute)
		enqueue(t, q, note{4})
		synctest.Wait()
		require.NoError(t, stop()) // interrupts it

		m := q.Metrics()
		require.Len(t, m.Kinds, 2)
		require.Equal(t, []string{"a", "default"}, []string{m.Kinds[0].Queue, m.Kinds[1].Queue})
		got := m.Kinds[1]
		require.EqualValues(t, 8, got.Run.Count())
		require.Greater(t, got.Run.Quantile(0.1), 0.5)
		got.Run = stint.Histogram{}
		require.Equal(t, stint.KindMetrics{Queue: "default", Kind: "note", Enqueued: 10, Completed: 3, Failed: 1, Snoozed: 1, Interrupted: 1, Cancelled: 2, Died: 2}, got)
		require.Len(t, m.Queues, 2)
		require.EqualValues(t, 8, m.Queues[1].Wait.Count())
		require.NotZero(t, m.CommitTime.Count())
		require.Equal(t, m.CommitTime.Count(), m.CommitJobs.Count())
		require.GreaterOrEqual(t, m.CommitJobs.Sum, 10.0)

		s := q.Stats()
		require.EqualValues(t, 4, s.Processed)
		require.EqualValues(t, 4, s.Died)
	})

	scenario(t, "count what transactions of the application do, once they are committed", func(t *testing.T) {
		q := open(t, nil)
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			tx, err := q.DB().Begin(true)
			require.NoError(t, err)
			require.NoError(t, job.CompleteTx(tx))
			require.NoError(t, tx.Rollback())
			return q.Update(job.CompleteTx)
		}, nil)
		run(t, q)
		enqueue(t, q, note{})
		synctest.Wait()
		k := q.Metrics().Kinds[0]
		require.EqualValues(t, 1, k.Enqueued)
		require.EqualValues(t, 1, k.Completed)
		require.EqualValues(t, 1, k.Run.Count())
	})
}

func TestKinds(t *testing.T) {
	t.Parallel()
	scenario(t, "are those that have jobs or a handler", func(t *testing.T) {
		began := time.Now()
		q := open(t, &stint.Config{Workers: 3})
		s := q.Stats()
		require.Equal(t, 3, s.Workers)
		require.False(t, s.Working)
		require.True(t, began.Equal(s.OpenedAt))
		release := make(chan error)
		handle(q, func(context.Context, *stint.Job[note]) error { return <-release }, &stint.Policy{MaxAttempts: 7, Timeout: -1})
		handle[piece](q, nil, nil)
		stop := run(t, q)
		synctest.Wait()
		require.True(t, q.Stats().Working)
		enqueue(t, q, note{}, stint.OnQueue("a"))
		enqueue(t, q, note{}, stint.OnQueue("b"), stint.Priority(1))
		enqueue(t, q, other{})
		synctest.Wait()
		release <- nil
		synctest.Wait()
		kinds := q.Kinds()
		require.Len(t, kinds, 3)
		require.Equal(t, "note", kinds[0].Name)
		require.Equal(t, stint.Counts{Running: 1}, kinds[0].Counts)
		require.EqualValues(t, 1, kinds[0].Processed)
		require.True(t, kinds[0].Handled)
		require.Equal(t, 7, kinds[0].Policy.MaxAttempts)
		require.Equal(t, "default", kinds[0].Policy.Queue)
		require.Equal(t, "other", kinds[1].Name)
		require.Equal(t, stint.Counts{Ready: 1, Parked: 1}, kinds[1].Counts)
		require.False(t, kinds[1].Handled)
		require.Equal(t, "piece", kinds[2].Name)
		release <- stint.Kill(errRefused)
		synctest.Wait()
		kinds = q.Kinds()
		require.EqualValues(t, 1, kinds[0].Died)
		require.EqualValues(t, 1, kinds[0].Failed)
		require.NoError(t, stop())
		require.False(t, q.Stats().Working)
	})
}

// A process that was killed has left a start without an end, and its successor
// says what it found.
func TestStartOfKilledProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	enqueueClosed(t, path, note{N: 7})
	first := startChild(t, childArgs{Mode: "sleep", File: path})
	first.await("running", 1)
	first.kill()
	second := startChild(t, childArgs{Mode: "sleep", File: path})
	second.await("running", 1)
	second.stop()

	list := startsOf(t, openAt(t, path, nil))
	require.Len(t, list, 2)
	require.Equal(t, []int{second.cmd.Process.Pid, first.cmd.Process.Pid}, []int{list[0].PID, list[1].PID})
	require.Equal(t, []int{1, 0}, []int{list[0].Recovered, list[1].Recovered})
	require.True(t, list[1].Crashed)
	require.Zero(t, list[1].Ended)
	require.False(t, list[0].Crashed)
	require.False(t, list[0].Ended.Before(list[0].At))
}
