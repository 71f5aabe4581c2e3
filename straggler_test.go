package stint_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// straggling is a queue whose Run has ended although a handler still works on
// the job id; it returns what is sent to answer.
func straggling(t *testing.T) (q *stint.Queue, id stint.ID, answer chan error, runs *atomic.Int32) {
	q = open(t, &stint.Config{ShutdownTimeout: time.Minute, Workers: 2})
	answer, runs = make(chan error), &atomic.Int32{}
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { runs.Add(1); return <-answer }, &stint.Policy{Timeout: -1})
	id = enqueue(t, q, note{})
	w := begin(q)
	synctest.Wait()
	w.end()
	require.ErrorContains(t, <-w.result, fmt.Sprintf("note %d", id))
	return q, id, answer, runs
}

func TestStragglers(t *testing.T) {
	t.Parallel()
	scenario(t, "are shown as running, and not run beside themselves by a second Run", func(t *testing.T) {
		q, id, answer, runs := straggling(t)
		require.Equal(t, stint.Running, get(t, q, id).State)
		require.Equal(t, stint.Counts{Running: 1}, q.Counts())
		run(t, q)
		time.Sleep(24 * time.Hour)
		require.EqualValues(t, 1, runs.Load())
		require.ErrorIs(t, q.Delete(t.Context(), id), stint.ErrRunning)
		answer <- nil
		synctest.Wait()
		gone(t, q, id)
		require.Zero(t, q.Counts())
		require.EqualValues(t, 1, q.Stats().Processed)
	})
	for _, second := range []bool{false, true} {
		with := ", without a Run"
		if second {
			with = ", with a second Run"
		}
		scenario(t, "complete with a late nil"+with, func(t *testing.T) {
			q, id, answer, _ := straggling(t)
			if second {
				run(t, q)
			}
			answer <- nil
			synctest.Wait()
			gone(t, q, id)
			require.Zero(t, q.Counts())
		})
		scenario(t, "are ready again after a late error"+with, func(t *testing.T) {
			q, id, answer, runs := straggling(t)
			if second {
				run(t, q)
			}
			answer <- errOops
			synctest.Wait()
			if second {
				require.EqualValues(t, 2, runs.Load(), "it runs again")
				answer <- nil
				synctest.Wait()
				gone(t, q, id)
				return
			}
			info := get(t, q, id)
			require.Equal(t, stint.Ready, info.State)
			require.Zero(t, info.Failures)
			require.Equal(t, stint.Counts{Ready: 1}, q.Counts())
			require.NoError(t, q.Delete(t.Context(), id))
		})
	}
	scenario(t, "can be cancelled", func(t *testing.T) {
		q, id, answer, _ := straggling(t)
		require.NoError(t, q.Cancel(t.Context(), id, "eva"))
		answer <- errOops
		synctest.Wait()
		require.Equal(t, stint.Dead, get(t, q, id).State)
		require.Equal(t, "cancelled by eva", get(t, q, id).Reason)
	})
	scenario(t, "cannot complete their job after Close, when somebody else may have it", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "app.db")
		db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
		require.NoError(t, err)
		first, err := stint.New(db, &stint.Config{Logger: quiet, ShutdownTimeout: time.Minute})
		require.NoError(t, err)
		answers := make(chan error, 2)
		reopened := make(chan struct{})
		stint.Handle(first, func(_ context.Context, job *stint.Job[note]) error {
			<-reopened
			answers <- job.Commit(count("late"))
			answers <- db.Update(job.CompleteTx)
			return nil
		}, &stint.Policy{Timeout: -1})
		id := enqueue(t, first, note{})
		w := begin(first)
		synctest.Wait()
		require.NoError(t, first.Close())
		require.ErrorContains(t, <-w.result, "still run")

		second, err := stint.New(db, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		stint.Handle(second, func(_ context.Context, job *stint.Job[note]) error { return job.Commit(count("in time")) }, nil)
		w = begin(second)
		synctest.Wait()
		close(reopened)
		require.ErrorIs(t, <-answers, stint.ErrClosed)
		require.ErrorIs(t, <-answers, stint.ErrClosed)
		gone(t, second, id)
		require.Equal(t, map[string]int{"in time": 1}, counters(db))
		require.NoError(t, second.Close())
		require.NoError(t, <-w.result)
		require.NoError(t, db.Close())
		check(t, path)
	})
	scenario(t, "take no worker from a second Run", func(t *testing.T) {
		q, _, answer, _ := straggling(t)
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[other]) error { done.Add(1); return nil }, nil)
		for range 10 {
			enqueue(t, q, other{})
		}
		run(t, q)
		synctest.Wait()
		require.EqualValues(t, 10, done.Load())
		answer <- nil
		synctest.Wait()
		require.Zero(t, q.Counts())
	})
}
