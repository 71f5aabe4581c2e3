package stint_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	scenario(t, "asks for a Run that is not about to end", func(t *testing.T) {
		q := open(t, &stint.Config{ShutdownTimeout: time.Minute})
		stint.Handle(q, blocks, endless)
		require.EqualError(t, q.Health(), "stint: no Run works the queue; call Queue.Run")
		enqueue(t, q, note{})
		w := begin(q)
		synctest.Wait()
		require.NoError(t, q.Health())
		w.end()
		synctest.Wait()
		require.ErrorContains(t, q.Health(), "Run is about to end")
		require.NoError(t, <-w.result)
		require.ErrorContains(t, q.Health(), "no Run works the queue")
		require.NoError(t, q.Close())
		require.ErrorIs(t, q.Health(), stint.ErrClosed)
	})
	scenario(t, "asks for commits that end, also by Goexit", func(t *testing.T) {
		q := open(t, nil)
		var result error
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			result = job.Commit(func(*bolt.Tx) error {
				time.Sleep(30 * time.Second)
				if job.Args.N == 1 {
					runtime.Goexit()
				}
				return nil
			})
			time.Sleep(time.Minute) // so that no other commit comes
			return nil
		}, endless)
		for n := range 2 {
			run := run(t, q)
			enqueue(t, q, note{N: n})
			synctest.Wait()
			time.Sleep(10 * time.Second)
			require.NoError(t, q.Health())
			time.Sleep(2 * time.Second)
			require.EqualError(t, q.Health(), "stint: a commit has been under way for 12s; look at the disk, and for a transaction that does not end")
			time.Sleep(30 * time.Second)
			synctest.Wait()
			require.Equal(t, n == 1, result != nil)
			require.NoError(t, q.Health())
			time.Sleep(time.Hour)
			require.NoError(t, q.Health())
			require.NoError(t, run())
		}
	})
	scenario(t, "tells why the file takes no more writes", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		w := begin(q)
		defer w.end()
		synctest.Wait()
		require.NoError(t, os.Remove(path))
		require.NoError(t, q.Health(), "nobody has found out yet")
		_, err = q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrFileGone)
		require.ErrorIs(t, <-w.result, stint.ErrFileGone)
		require.Equal(t, err.Error(), q.Health().Error())
		require.ErrorIs(t, q.Health(), stint.ErrFileGone)
		require.ErrorIs(t, q.Close(), stint.ErrFileGone)
		require.ErrorIs(t, q.Health(), stint.ErrFileGone)
		require.ErrorIs(t, q.Health(), stint.ErrClosed)
	})
}
