package stint_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestClose(t *testing.T) {
	t.Parallel()
	scenario(t, "ends Run like its context, and both return nil", func(t *testing.T) {
		q := open(t, nil)
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[note]) error {
			time.Sleep(10 * time.Second)
			done.Add(1)
			return nil
		}, nil)
		enqueue(t, q, note{})
		w := begin(q)
		synctest.Wait()
		require.NoError(t, q.Close())
		require.NoError(t, <-w.result)
		require.EqualValues(t, 1, done.Load())
	})
	scenario(t, "twice, also at the same time, returns the same", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		synctest.Wait()
		results := make(chan error, 10)
		for range cap(results) {
			go func() { results <- q.Close() }()
		}
		for range cap(results) {
			require.NoError(t, <-results)
		}
		require.NoError(t, q.Close())
	})
	scenario(t, "refuses everything afterwards", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, kills, nil)
		sub := q.Subscribe(1)
		require.NoError(t, q.Close())
		ctx := t.Context()
		_, enqueued := q.Enqueue(ctx, note{})
		_, enqueuedAll := q.EnqueueAll(ctx, []stint.Args{note{}})
		_, got := q.Get(1)
		_, retriedAll := q.RetryAll(ctx, stint.Filter{State: stint.Dead})
		for _, err := range []error{
			enqueued, enqueuedAll, got, retriedAll,
			q.Retry(ctx, 1), q.Kill(ctx, 1, ""), q.Cancel(ctx, 1, ""), q.Delete(ctx, 1), q.Pause(ctx, "default", ""), q.Resume(ctx, "default"),
		} {
			require.ErrorIs(t, err, stint.ErrClosed)
		}
		for _, err := range q.Jobs(stint.Filter{}) {
			require.ErrorIs(t, err, stint.ErrClosed)
		}
		_, open := <-sub.C
		require.False(t, open)
		require.Zero(t, q.Counts())
		require.Zero(t, q.Stats().OldestWait)
		require.Empty(t, q.Queues())
	})
	scenario(t, "gives claimed jobs back that have not begun", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, &stint.Config{Workers: 1})
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if job.Args.N > 100 {
				time.Sleep(10 * time.Second)
			}
			return nil
		}, nil)
		for i := range 200 {
			enqueue(t, q, note{i + 1})
		}
		run(t, q)
		synctest.Wait()
		require.Equal(t, 100, q.Counts().Ready+q.Counts().Running)
		require.Greater(t, q.Counts().Running, 1, "some were claimed ahead")
		require.NoError(t, q.Close())

		q = openAt(t, path, nil)
		require.Equal(t, 99, q.Counts().Ready)
		for info, err := range q.Jobs(stint.Filter{}) {
			require.NoError(t, err)
			require.Equal(t, stint.Ready, info.State)
			require.Zero(t, info.Crashes)
			require.Empty(t, info.Attempts)
		}
	})
	scenario(t, "inside a handler gives that one up and returns", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, &stint.Config{ShutdownTimeout: time.Minute})
		closed := make(chan error, 1)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error {
			closed <- q.Close()
			return nil
		}, nil)
		id := enqueue(t, q, note{})
		w := begin(q)
		begun := time.Now()
		require.NoError(t, <-closed)
		require.LessOrEqual(t, time.Since(begun), 2*time.Minute)
		require.ErrorContains(t, <-w.result, "still run")
		synctest.Wait()

		q = openAt(t, path, nil)
		require.Equal(t, stint.Ready, get(t, q, id).State, "its end could not be recorded")
		require.Zero(t, get(t, q, id).Crashes)
	})
	t.Run("while callers enqueue tells each of them the truth", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		const callers = 8
		stored := make(chan int, callers)
		for range callers {
			go func() {
				for n := 0; ; n++ {
					if _, err := q.Enqueue(context.Background(), note{n}); err != nil {
						if !errors.Is(err, stint.ErrClosed) {
							t.Error(err)
						}
						stored <- n
						return
					}
				}
			}()
		}
		for q.Counts().Ready < 50 {
			runtime.Gosched()
		}
		require.NoError(t, q.Close())
		want := 0
		for range callers {
			want += <-stored
		}
		q = openAt(t, path, nil)
		require.Equal(t, want, q.Counts().Ready)
	})
}
