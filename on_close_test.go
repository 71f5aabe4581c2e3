package stint_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestOnClose(t *testing.T) {
	t.Parallel()
	scenario(t, "is called in order, after the outcomes and before the file is let go of", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		var d diary
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			<-ctx.Done()
			return nil
		}, endless)
		enqueue(t, q, note{})
		waits := enqueue(t, q, other{})
		run(t, q)
		synctest.Wait()
		q.OnClose(func() {
			_, locked := stint.Open(path, &stint.Config{LockTimeout: -1})
			_, err := q.Get(waits)
			_, refused := q.Enqueue(t.Context(), note{})
			d.note("first: %d processed, %v %v %v", q.Stats().Processed, errors.Is(locked, stint.ErrLocked), err, errors.Is(refused, stint.ErrClosed))
			q.OnClose(func() { d.note("third") })
		})
		q.OnClose(func() { d.note("second") })
		require.Empty(t, d.read())
		require.NoError(t, q.Close())
		want := []string{"first: 1 processed, true <nil> true", "second", "third"}
		require.Equal(t, want, d.read())

		q.OnClose(func() { d.note("late") })
		require.Equal(t, append(want, "late"), d.read())
		require.NoError(t, q.Close())
		require.Len(t, d.read(), 4)
	})
	for how, leave := range map[string]func(){"panics": func() { panic(errOops) }, "exits": runtime.Goexit} {
		scenario(t, "one that "+how+" does not keep the file", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			q, err := tryOpen(path, &stint.Config{Logger: quiet})
			require.NoError(t, err)
			called := false
			q.OnClose(leave)
			q.OnClose(func() { called = true })
			done := make(chan error, 1)
			go func() {
				defer close(done)
				done <- q.Close()
			}()
			if err := <-done; how == "panics" {
				require.ErrorIs(t, err, errOops)
				require.ErrorIs(t, q.Close(), errOops)
				require.True(t, called)
			}
			again, err := tryOpen(path, &stint.Config{Logger: quiet, LockTimeout: -1})
			require.NoError(t, err)
			require.NoError(t, again.Close())
		})
	}
	scenario(t, "also if the file takes no more writes", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		called := 0
		q.OnClose(func() { called++ })
		require.NoError(t, os.Remove(path))
		_, err = q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrFileGone)
		require.Zero(t, called)
		require.ErrorIs(t, q.Close(), stint.ErrFileGone)
		require.Equal(t, 1, called)
	})
}
