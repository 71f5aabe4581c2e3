package stint_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// working is a Run that the test ends and waits for.
type working struct {
	end    context.CancelFunc
	result chan error
}

func begin(q *stint.Queue) working {
	ctx, cancel := context.WithCancel(context.Background())
	w := working{cancel, make(chan error, 1)}
	go func() { w.result <- q.Run(ctx) }()
	return w
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	scenario(t, "at once when nothing runs", func(t *testing.T) {
		q := open(t, nil)
		w := begin(q)
		synctest.Wait()
		begun := time.Now()
		w.end()
		require.NoError(t, <-w.result)
		require.Zero(t, time.Since(begun))
	})
	scenario(t, "at once when its context has ended before", func(t *testing.T) {
		q := open(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, q.Run(ctx))
	})
	scenario(t, "when the running handlers have finished, and starts no others", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 3})
		var begun, done atomic.Int32
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			begun.Add(1)
			time.Sleep(20 * time.Second)
			if ctx.Err() == nil {
				done.Add(1)
			}
			return nil
		}, nil)
		for i := range 10 {
			enqueue(t, q, note{i})
		}
		w := begin(q)
		time.Sleep(time.Second)
		w.end()
		before := time.Now()
		require.NoError(t, <-w.result)
		require.Equal(t, 19*time.Second, time.Since(before))
		require.EqualValues(t, 3, begun.Load())
		require.EqualValues(t, 3, done.Load())
		require.Equal(t, stint.Counts{Ready: 7}, q.Counts())
	})
	scenario(t, "interrupting handlers after ShutdownTimeout, which costs them nothing", func(t *testing.T) {
		q := open(t, &stint.Config{ShutdownTimeout: time.Minute})
		var cause atomic.Value
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			if job.Args.N == 1 {
				return stint.RetryAfter(time.Hour, ctx.Err())
			}
			return fmt.Errorf("could not: %w", ctx.Err())
		}, &stint.Policy{Timeout: -1, MaxAttempts: 1})
		ids := []stint.ID{enqueue(t, q, note{0}), enqueue(t, q, note{1})}
		w := begin(q)
		time.Sleep(time.Hour)
		w.end()
		begun := time.Now()
		require.NoError(t, <-w.result)
		require.Equal(t, time.Minute, time.Since(begun))
		require.Equal(t, stint.ErrShutdown, cause.Load())
		for _, id := range ids {
			info := get(t, q, id)
			require.Equal(t, stint.Ready, info.State)
			require.Zero(t, info.Failures)
			require.Zero(t, info.Snoozes)
			require.Zero(t, info.Crashes)
			require.Empty(t, info.Attempts)
		}
		require.Equal(t, stint.Counts{Ready: 2}, q.Counts())
		require.Zero(t, q.Stats().Failed)
	})
	results := map[string]struct {
		result error
		state  stint.State // 0: gone
	}{
		"returns nil":    {nil, 0},
		"returns Kill":   {stint.Kill(errOops), stint.Dead},
		"returns Snooze": {stint.Snooze(time.Hour), stint.Scheduled},
	}
	for what, c := range results {
		scenario(t, "and what an interrupted handler that "+what+" says, counts", func(t *testing.T) {
			q := open(t, &stint.Config{ShutdownTimeout: time.Minute})
			stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error { <-ctx.Done(); return c.result }, &stint.Policy{Timeout: -1})
			id := enqueue(t, q, note{})
			w := begin(q)
			time.Sleep(time.Hour)
			w.end()
			require.NoError(t, <-w.result)
			if c.state == 0 {
				gone(t, q, id)
				return
			}
			require.Equal(t, c.state, get(t, q, id).State)
		})
	}
	scenario(t, "and a timeout before the interruption is a failure all the same", func(t *testing.T) {
		q := open(t, &stint.Config{ShutdownTimeout: time.Minute})
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			time.Sleep(61 * time.Second)
			return ctx.Err()
		}, &stint.Policy{Timeout: time.Second, Backoff: stint.Constant(time.Hour)})
		id := enqueue(t, q, note{})
		w := begin(q)
		synctest.Wait()
		w.end()
		require.NoError(t, <-w.result)
		require.Equal(t, 1, get(t, q, id).Failures)
	})
	scenario(t, "and what handlers enqueue during the drain is stored", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			time.Sleep(10 * time.Second)
			if _, err := q.Enqueue(ctx, other{S: "plain"}); err != nil {
				return err
			}
			return job.Commit(func(tx *bolt.Tx) error { _, err := q.EnqueueTx(tx, other{S: "tx"}); return err })
		}, nil)
		id := enqueue(t, q, note{})
		w := begin(q)
		synctest.Wait()
		w.end()
		require.NoError(t, <-w.result)
		gone(t, q, id)
		require.Equal(t, 2, q.Counts().Ready)
	})
}

func TestRunAgain(t *testing.T) {
	t.Parallel()
	scenario(t, "beside a Run is refused", func(t *testing.T) {
		q := open(t, nil)
		w := begin(q)
		synctest.Wait()
		require.ErrorIs(t, q.Run(t.Context()), stint.ErrRunning)
		w.end()
		require.NoError(t, <-w.result)
	})
	scenario(t, "after a Run goes on where that stopped", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[note]) error {
			time.Sleep(time.Second)
			done.Add(1)
			return nil
		}, nil)
		for i := range 100 {
			enqueue(t, q, note{i})
		}
		for range 10 {
			w := begin(q)
			time.Sleep(9500 * time.Millisecond)
			w.end()
			require.NoError(t, <-w.result)
		}
		require.EqualValues(t, 100, done.Load())
		require.Zero(t, q.Counts())
	})
	scenario(t, "after Close is refused", func(t *testing.T) {
		q := open(t, nil)
		require.NoError(t, q.Close())
		require.ErrorIs(t, q.Run(t.Context()), stint.ErrClosed)
	})
}
