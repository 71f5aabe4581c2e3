package stint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestFullQueue(t *testing.T) {
	t.Parallel()
	scenario(t, "MaxJobs bounds the unfinished jobs", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 3, KeepCompleted: time.Hour, Workers: 1})
		gate := make(chan struct{})
		handle(q, func(context.Context, *stint.Job[note]) error { <-gate; return nil }, nil)
		full := func() {
			t.Helper()
			id, err := q.Enqueue(t.Context(), note{})
			require.ErrorIs(t, err, stint.ErrQueueFull)
			require.ErrorContains(t, err, "Config.MaxJobs")
			require.Zero(t, id)
		}
		first := enqueue(t, q, note{})
		enqueue(t, q, note{}, stint.In(time.Hour))
		_, err := q.EnqueueAll(t.Context(), []stint.Args{note{}, note{}})
		require.ErrorIs(t, err, stint.ErrQueueFull)
		require.ErrorContains(t, err, "args 1 of 2")
		require.Equal(t, stint.Counts{Ready: 1, Scheduled: 1}, q.Counts())

		third := enqueue(t, q, note{})
		full()
		run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Running, get(t, q, first).State)
		full()
		gate <- struct{}{}
		synctest.Wait()
		require.Equal(t, stint.Completed, get(t, q, first).State)
		enqueue(t, q, note{}, stint.In(time.Hour))
		full()
		require.NoError(t, q.Kill(t.Context(), third, "to make room")) // running: no room yet
		full()
		close(gate)
		synctest.Wait()
		enqueue(t, q, note{}, stint.In(time.Hour))
	})

	scenario(t, "deaths and deletions make room", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 2})
		a, b := enqueue(t, q, note{}), enqueue(t, q, note{})
		_, err := q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrQueueFull)
		require.NoError(t, q.Kill(t.Context(), a, "no"))
		require.NoError(t, q.Delete(t.Context(), b))
		enqueue(t, q, note{})
		enqueue(t, q, note{})
		_, err = q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrQueueFull)
	})

	scenario(t, "the bound holds after a restart", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		enqueue(t, q, note{})
		enqueue(t, q, other{}, stint.In(time.Hour))
		require.NoError(t, q.Close())
		q = openAt(t, path, &stint.Config{MaxJobs: 3})
		enqueue(t, q, note{})
		_, err := q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrQueueFull)
	})

	scenario(t, "what is there already is a duplicate also in a full queue", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 1})
		first := enqueue(t, q, note{}, stint.Unique())
		id, err := q.Enqueue(t.Context(), note{}, stint.Unique())
		require.ErrorIs(t, err, stint.ErrDuplicate)
		require.Equal(t, first, id)
	})

	// fillUp enqueues until the file takes no more.
	fillUp := func(t *testing.T, q *stint.Queue) (ids []stint.ID) {
		t.Helper()
		for {
			id, err := q.Enqueue(context.Background(), blobOf(20_000))
			if err != nil {
				require.ErrorIs(t, err, stint.ErrFileFull)
				require.ErrorContains(t, err, "Config.MaxFileSize")
				require.Equal(t, len(ids), q.Counts().Ready)
				return ids
			}
			ids = append(ids, id)
			require.Less(t, len(ids), 100)
		}
	}
	const limit = 512 << 10
	size := func(t *testing.T, q *stint.Queue) int64 {
		t.Helper()
		stat, err := os.Stat(q.DB().Path())
		require.NoError(t, err)
		return stat.Size()
	}

	t.Run("a full file takes no jobs, and those in it complete", func(t *testing.T) {
		q := open(t, &stint.Config{MaxFileSize: limit})
		stored := len(fillUp(t, q))
		require.Greater(t, stored, 10)
		_, err := q.EnqueueAll(t.Context(), []stint.Args{blobOf(20_000), blobOf(20_000)})
		require.ErrorIs(t, err, stint.ErrFileFull)
		require.LessOrEqual(t, size(t, q), int64(limit))

		var wg sync.WaitGroup
		wg.Add(stored)
		handle(q, func(context.Context, *stint.Job[blob]) error { wg.Done(); return nil }, nil)
		stop := run(t, q)
		wg.Wait()
		require.NoError(t, stop())
		require.Zero(t, q.Counts())
		require.LessOrEqual(t, size(t, q), int64(limit+limit/8))
		// A job of five pages needs five that lie together.
		require.GreaterOrEqual(t, len(fillUp(t, q)), stored/2)
		require.LessOrEqual(t, size(t, q), int64(limit+limit/8), "the bound holds again")
	})

	t.Run("and a person can make room in it", func(t *testing.T) {
		q := open(t, &stint.Config{MaxFileSize: limit})
		ids := fillUp(t, q)
		require.NoError(t, q.Pause(t.Context(), "default", "me"))
		require.NoError(t, q.Kill(t.Context(), ids[0], "to see whether it works"))
		require.NoError(t, q.Retry(t.Context(), ids[0]))
		n, err := q.DeleteAll(t.Context(), stint.Filter{Kind: "blob", Limit: 5})
		require.NoError(t, err)
		require.Equal(t, 5, n)
		for range 3 {
			enqueue(t, q, blobOf(20_000))
		}
		require.LessOrEqual(t, size(t, q), int64(limit+limit/8))
	})

	t.Run("jobs in it can fail, too", func(t *testing.T) {
		q := open(t, &stint.Config{MaxFileSize: limit})
		stored := len(fillUp(t, q))
		handle(q, func(context.Context, *stint.Job[blob]) error { return stint.Kill(errRefused) }, nil)
		run(t, q)
		require.Eventually(t, func() bool { return q.Counts().Dead == stored }, 10*time.Second, time.Millisecond)
	})
}

func TestClosedQueue(t *testing.T) {
	t.Parallel()
	scenario(t, "every call answers ErrClosed", func(t *testing.T) {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "app.db"), 0o600, nil)
		require.NoError(t, err)
		defer db.Close()
		q, err := stint.New(db, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		id := enqueue(t, q, note{})
		require.NoError(t, q.Close())
		require.NoError(t, q.Close())

		ctx := t.Context()
		_, one := q.Enqueue(ctx, note{})
		_, all := q.EnqueueAll(ctx, []stint.Args{note{}})
		_, seq := q.EnqueueSeq(ctx, numbered(3, nil))
		var tx error
		require.NoError(t, db.Update(func(btx *bolt.Tx) error {
			_, tx = q.EnqueueTx(btx, note{})
			return nil
		}))
		_, retried := q.RetryAll(ctx, stint.Filter{Kind: "note"})
		for name, err := range map[string]error{
			"Enqueue": one, "EnqueueAll": all, "EnqueueSeq": seq, "EnqueueTx": tx, "RetryAll": retried,
			"Retry": q.Retry(ctx, id), "Kill": q.Kill(ctx, id, ""), "Cancel": q.Cancel(ctx, id, ""), "Delete": q.Delete(ctx, id),
			"Pause": q.Pause(ctx, "default", ""), "Resume": q.Resume(ctx, "default"), "Run": q.Run(ctx),
		} {
			require.ErrorIs(t, err, stint.ErrClosed, name)
		}
		// The application's database is still open, and nothing was changed.
		require.Equal(t, stint.Ready, get(t, q, id).State)
		require.Empty(t, stint.CheckDB(db))
	})

	scenario(t, "reading a closed file too", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{})
		require.NoError(t, q.Close())
		_, err := q.Get(id)
		require.ErrorIs(t, err, stint.ErrClosed)
		for _, err := range q.Jobs(stint.Filter{}) {
			require.ErrorIs(t, err, stint.ErrClosed)
		}
		require.Equal(t, 1, q.Counts().Ready, "as of the last commit")
	})
}

func TestEnqueueWithAContextThatEnds(t *testing.T) {
	t.Parallel()
	scenario(t, "it has ended before", func(t *testing.T) {
		q := open(t, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the caller has gone home"))
		before := lastTx(q.DB())
		_, err := q.Enqueue(ctx, note{})
		require.ErrorContains(t, err, "the caller has gone home")
		_, err = q.EnqueueAll(ctx, []stint.Args{note{}, note{}})
		require.ErrorContains(t, err, "nothing was changed")
		require.Equal(t, before, lastTx(q.DB()))
		require.Zero(t, q.Counts())
	})

	// The lock of bbolt is a mutex, behind which virtual time stands still.
	t.Run("it ends while a transaction of the application holds the lock", func(t *testing.T) {
		q := open(t, nil)
		tx, err := q.DB().Begin(true)
		require.NoError(t, err)
		for _, enqueue := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := q.Enqueue(ctx, note{}); return err },
			func(ctx context.Context) error {
				_, err := q.EnqueueAll(ctx, []stint.Args{note{}, note{}})
				return err
			},
			func(ctx context.Context) error { return q.Pause(ctx, "default", "me") },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			start := time.Now()
			err := enqueue(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, time.Since(start), time.Second)
			cancel()
		}
		require.NoError(t, tx.Rollback())
		enqueue(t, q, other{}) // comes behind them
		require.Equal(t, stint.Counts{Ready: 1, Parked: 1}, q.Counts())
		require.False(t, q.Queues()[0].Paused)
	})

	t.Run("inside Update it ends with its context, not with a deadlock", func(t *testing.T) {
		q := open(t, nil)
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			_, err := q.Enqueue(ctx, note{})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return nil
		}))
		enqueue(t, q, other{})
		require.Equal(t, 1, q.Counts().Ready)
	})

	t.Run("a call that is dropped leaves no trace in the next", func(t *testing.T) {
		q := open(t, nil)
		for i := range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			id, err := q.Enqueue(ctx, note{N: i})
			if err == nil {
				require.JSONEq(t, fmt.Sprintf(`{"n":%d}`, i), string(get(t, q, id).Args))
				require.NoError(t, q.Delete(t.Context(), id))
			}
		}
		require.Zero(t, q.Counts())
	})
}
