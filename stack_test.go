package stint_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// The names of these functions are what is looked for in stacks.

func stackedHandler(ctx context.Context, job *stint.Job[note]) error {
	var wg sync.WaitGroup
	for range job.Args.N {
		wg.Go(func() { stackedChild(ctx) })
	}
	<-ctx.Done()
	wg.Wait()
	return nil
}

func stackedChild(ctx context.Context) {
	done := make(chan struct{})
	go stackedGrandchild(ctx, done)
	<-done
}

func stackedGrandchild(ctx context.Context, done chan struct{}) {
	<-ctx.Done()
	close(done)
}

func stackedSibling(ctx context.Context, _ *stint.Job[other]) error {
	<-ctx.Done()
	return nil
}

// stacked is a queue at work on one job with n children, with others beside it.
func stacked(t *testing.T, n int) (q *stint.Queue, id, sibling stint.ID) {
	t.Helper()
	q = open(t, &stint.Config{ShutdownTimeout: 1})
	stint.Handle(q, stackedHandler, endless)
	stint.Handle(q, stackedSibling, endless)
	id = enqueue(t, q, note{N: n}, stint.Priority(1)) // its worker starts those of the others
	for range 3 {
		sibling = enqueue(t, q, other{})
	}
	run(t, q)
	synctest.Wait()
	return q, id, sibling
}

func TestStack(t *testing.T) {
	t.Parallel()
	scenario(t, "shows the handler and all that it has started, and nobody else", func(t *testing.T) {
		q, id, sibling := stacked(t, 2)
		stack, err := q.Stack(id)
		require.NoError(t, err)
		require.Regexp(t, `^goroutine \d+ \[`, stack)
		first, rest, _ := strings.Cut(stack, "\n\n")
		require.Contains(t, first, "stint_test.stackedHandler(")
		require.Equal(t, 2, strings.Count(rest, "stint_test.stackedChild("))
		require.Equal(t, 2, strings.Count(rest, "stint_test.stackedGrandchild("))
		require.Equal(t, 5, strings.Count(stack, "goroutine ")-strings.Count(stack, " in goroutine "))
		require.NotContains(t, stack, "stackedSibling")

		stack, err = q.Stack(sibling)
		require.NoError(t, err)
		require.Contains(t, stack, "stint_test.stackedSibling(")
		require.NotContains(t, stack, "\n\n")
	})
	scenario(t, "is bounded", func(t *testing.T) {
		q, id, _ := stacked(t, 1000)
		stack, err := q.Stack(id)
		require.NoError(t, err)
		require.LessOrEqual(t, len(stack), 64<<10)
		require.Greater(t, len(stack), 60<<10)
	})
	scenario(t, "is of jobs at work alone", func(t *testing.T) {
		q, id, _ := stacked(t, 0)
		none := func(id stint.ID) {
			t.Helper()
			_, err := q.Stack(id)
			require.ErrorIs(t, err, stint.ErrNotRunning)
		}
		none(0)
		none(99)
		none(enqueue(t, q, note{}, stint.In(time.Hour)))
		require.NoError(t, q.Cancel(t.Context(), id, "the test"))
		synctest.Wait()
		none(id)
	})
	scenario(t, "also if Run has given up on it", func(t *testing.T) {
		q := open(t, &stint.Config{ShutdownTimeout: 1})
		release := make(chan struct{})
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { <-release; return nil }, endless)
		id := enqueue(t, q, note{})
		w := begin(q)
		synctest.Wait()
		w.end()
		require.ErrorContains(t, <-w.result, "still run")
		stack, err := q.Stack(id)
		require.NoError(t, err)
		require.Contains(t, stack, "stack_test.go")
		close(release)
		synctest.Wait()
		_, err = q.Stack(id)
		require.ErrorIs(t, err, stint.ErrNotRunning)
	})
	scenario(t, "nor once it has returned, though that is not recorded yet", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(time.Second); return nil }, endless)
		stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
			return job.Commit(func(*bolt.Tx) error { time.Sleep(10 * time.Second); return nil })
		}, endless)
		id := enqueue(t, q, note{})
		enqueue(t, q, other{})
		run(t, q)
		time.Sleep(5 * time.Second)
		require.Equal(t, stint.Running, get(t, q, id).State)
		_, err := q.Stack(id)
		require.ErrorIs(t, err, stint.ErrNotRunning)
	})
	scenario(t, "not of Perform", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			_, err := q.Stack(job.ID)
			return err
		}, nil)
		require.ErrorIs(t, q.Perform(t.Context(), note{}), stint.ErrNotRunning)
	})
	t.Run("while jobs come and go", func(t *testing.T) {
		q := open(t, nil)
		handle[note](q, nil, nil)
		run(t, q)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 100 {
					id := enqueue(t, q, note{})
					for range 3 {
						if _, err := q.Stack(id); err != nil {
							require.ErrorIs(t, err, stint.ErrNotRunning)
						}
					}
				}
			})
		}
		wg.Wait()
	})
}
