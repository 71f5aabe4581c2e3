package stint_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestTimeout(t *testing.T) {
	t.Parallel()
	scenario(t, "ends the context with its cause and fails the attempt", func(t *testing.T) {
		q := open(t, nil)
		var cause atomic.Value
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			deadline, ok := ctx.Deadline()
			if !ok || time.Until(deadline) != time.Minute {
				return stint.Kill(errors.New("the deadline does not show"))
			}
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			return ctx.Err()
		}, &stint.Policy{Timeout: time.Minute, Backoff: stint.Constant(time.Hour)})
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, stint.ErrTimeout, cause.Load())
		info := get(t, q, id)
		require.Equal(t, stint.Retrying, info.State)
		require.Equal(t, "stint: the attempt ran into its timeout after 1m0s: context canceled", info.Attempts[0].Error)
		require.Equal(t, time.Minute, info.Attempts[0].Duration)
	})
	scenario(t, "does not say so twice when the handler returns the cause", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, &stint.Policy{Timeout: time.Minute, Backoff: stint.Constant(time.Hour)})
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(2 * time.Minute)
		require.Equal(t, stint.ErrTimeout.Error(), get(t, q, id).Attempts[0].Error)
	})
	scenario(t, "is 25 seconds when nothing is said, and none when it is negative", func(t *testing.T) {
		q := open(t, nil)
		var took atomic.Int64
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			start := time.Now()
			<-ctx.Done()
			took.Store(int64(time.Since(start)))
			return stint.Kill(errOops)
		}, nil)
		var bounded atomic.Bool
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[other]) error {
			_, has := ctx.Deadline()
			select {
			case <-ctx.Done():
				has = true
			case <-time.After(1000 * time.Hour):
			}
			bounded.Store(has)
			return nil
		}, &stint.Policy{Timeout: -1})
		enqueue(t, q, note{})
		id := enqueue(t, q, other{})
		run(t, q)
		time.Sleep(1001 * time.Hour)
		require.Equal(t, 25*time.Second, time.Duration(took.Load()))
		require.False(t, bounded.Load())
		gone(t, q, id)
	})
	scenario(t, "each of many attempts has its own", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 50})
		var wrong atomic.Int32
		wait := func(ctx context.Context, limit time.Duration) error {
			start := time.Now()
			<-ctx.Done()
			if time.Since(start) != limit {
				wrong.Add(1)
			}
			return stint.Kill(errOops)
		}
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error { return wait(ctx, time.Minute) }, &stint.Policy{Timeout: time.Minute})
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[other]) error { return wait(ctx, time.Second) }, &stint.Policy{Timeout: time.Second})
		run(t, q)
		for i := range 40 {
			enqueue(t, q, note{i})
			time.Sleep(700 * time.Millisecond)
			enqueue(t, q, other{})
		}
		time.Sleep(time.Hour)
		require.Zero(t, wrong.Load())
		require.Equal(t, stint.Counts{Dead: 80}, q.Counts())
	})
	scenario(t, "of an attempt that was on time does not reach the next one", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		var cut atomic.Int32
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			time.Sleep(59 * time.Second)
			if ctx.Err() != nil {
				cut.Add(1)
			}
			return nil
		}, &stint.Policy{Timeout: time.Minute})
		for i := range 20 {
			enqueue(t, q, note{i})
		}
		run(t, q)
		time.Sleep(time.Hour)
		require.Zero(t, cut.Load())
		require.Zero(t, q.Counts())
	})
}

// deaf is a handler that ignores its context until it is told to return.
type deaf struct {
	mu      sync.Mutex
	runs    int
	answers chan error
}

func (d *deaf) handle(context.Context, *stint.Job[note]) error {
	d.mu.Lock()
	d.runs++
	d.mu.Unlock()
	return <-d.answers
}

func (d *deaf) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runs
}

func TestHandlerThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (*stint.Queue, *deaf, stint.ID) {
		q := open(t, &stint.Config{Workers: 1})
		d := &deaf{answers: make(chan error)}
		stint.Handle(q, d.handle, &stint.Policy{Timeout: time.Minute, Backoff: stint.Constant(time.Hour)})
		id := enqueue(t, q, note{})
		run(t, q)
		return q, d, id
	}
	scenario(t, "keeps its worker, is shown as stuck, and is not run beside itself", func(t *testing.T) {
		q, d, id := start(t)
		waiting := enqueue(t, q, note{1})
		time.Sleep(time.Minute + 9*time.Second)
		require.False(t, get(t, q, id).Stuck)
		time.Sleep(24 * time.Hour)
		info := get(t, q, id)
		require.Equal(t, stint.Running, info.State)
		require.True(t, info.Stuck)
		require.Equal(t, 1, q.Stats().Stuck)
		require.Equal(t, 1, d.count())
		require.Equal(t, stint.Ready, get(t, q, waiting).State, "the worker is not free")
		require.ErrorIs(t, q.Retry(t.Context(), id), stint.ErrRunning)
		require.ErrorIs(t, q.Delete(t.Context(), id), stint.ErrRunning)
		d.answers <- nil
		d.answers <- nil
		synctest.Wait()
		require.Zero(t, q.Stats().Stuck)
	})
	scenario(t, "is completed by a late nil", func(t *testing.T) {
		q, d, id := start(t)
		time.Sleep(time.Hour)
		d.answers <- nil
		synctest.Wait()
		gone(t, q, id)
		require.EqualValues(t, 1, q.Stats().Processed)
	})
	scenario(t, "is failed by a late error, which tells of the timeout", func(t *testing.T) {
		q, d, id := start(t)
		time.Sleep(time.Hour)
		d.answers <- errOops
		synctest.Wait()
		info := get(t, q, id)
		require.Equal(t, stint.Retrying, info.State)
		require.False(t, info.Stuck)
		require.Equal(t, "stint: the attempt ran into its timeout after 1m0s: oops", info.Attempts[0].Error)
		require.Equal(t, time.Hour, info.Attempts[0].Duration)
	})
}
