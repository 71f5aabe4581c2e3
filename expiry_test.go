package stint_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestExpiryAcrossADowntime(t *testing.T) {
	t.Parallel()
	scenario(t, "a job whose delay and expiry are both over when Run starts is dead, and nothing else", func(t *testing.T) {
		q := open(t, nil)
		handle(q, func(context.Context, *stint.Job[note]) error { panic("it has expired") }, nil)
		id := enqueue(t, q, note{}, stint.In(30*time.Millisecond), stint.ExpiresIn(10*time.Millisecond))
		time.Sleep(time.Second)
		run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Counts{Dead: 1}, q.Counts())
		require.Contains(t, get(t, q, id).Reason, "expired")
	})

	scenario(t, "a backlog that has expired is buried in steps", func(t *testing.T) {
		q := open(t, &stint.Config{MaxDead: -1})
		handle(q, func(context.Context, *stint.Job[note]) error { panic("it has expired") }, nil)
		const n = 5000
		_, err := q.EnqueueSeq(t.Context(), numbered(n, nil), stint.ExpiresIn(time.Minute))
		require.NoError(t, err)
		time.Sleep(time.Hour)
		before := lastTx(q.DB())
		run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Counts{Dead: n}, q.Counts())
		require.GreaterOrEqual(t, lastTx(q.DB())-before, 3)
	})
}

func TestExpiryOfAnInterruptedJob(t *testing.T) {
	t.Parallel()
	scenario(t, "a job that has begun in time does not expire when a shutdown interrupts it", func(t *testing.T) {
		q := open(t, nil)
		runs := 0
		handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			if runs++; runs == 1 {
				<-ctx.Done()
			}
			return context.Cause(ctx)
		}, &stint.Policy{Timeout: -1})
		id := enqueue(t, q, note{}, stint.ExpiresIn(time.Minute))
		stop := run(t, q)
		time.Sleep(time.Hour)
		require.NoError(t, stop())
		require.Equal(t, stint.Ready, get(t, q, id).State)
		require.Zero(t, get(t, q, id).ExpiresAt)

		time.Sleep(time.Hour)
		run(t, q)
		synctest.Wait()
		gone(t, q, id)
		require.Equal(t, 2, runs)
	})

	scenario(t, "nor when that comes before the expiry", func(t *testing.T) {
		q := open(t, nil)
		runs := 0
		handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			if runs++; runs == 1 {
				<-ctx.Done()
			}
			return context.Cause(ctx)
		}, nil)
		id := enqueue(t, q, note{}, stint.ExpiresIn(time.Hour))
		stop := run(t, q)
		synctest.Wait()
		require.NoError(t, stop())
		time.Sleep(2 * time.Hour)
		run(t, q)
		synctest.Wait()
		gone(t, q, id)
		require.Equal(t, 2, runs)
	})
}

// In real time, since the order of the listing is that of the deaths.
func TestRetryAllDoesNotMeetItsOwnJobsAgain(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	handle(q, func(context.Context, *stint.Job[note]) error { return stint.Kill(errRefused) }, nil)
	const n = 3000
	_, err := q.EnqueueSeq(t.Context(), numbered(n, nil))
	require.NoError(t, err)
	run(t, q)
	eventually(t, func() bool { return q.Counts().Dead == n }, "all are dead")
	retried, err := q.RetryAll(t.Context(), stint.Filter{State: stint.Dead, OldestFirst: true})
	require.NoError(t, err)
	require.Equal(t, n, retried)
	eventually(t, func() bool { return q.Counts().Dead == n }, "they are dead again")
}

func TestMiddlewareThatHidesTheEndOfTheContext(t *testing.T) {
	t.Parallel()
	hide := func(ctx context.Context, _ []*stint.NewJob, next func(context.Context) error) error {
		_ = next(ctx)
		return nil
	}
	q := open(t, &stint.Config{EnqueueMiddleware: []stint.EnqueueMiddleware{hide}})
	tx, err := q.DB().Begin(true) // the committer waits for it
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = q.Enqueue(ctx, note{N: 1})
	require.NoError(t, err, "as the middleware says")
	go func() { _ = tx.Rollback() }()
	_, err = q.Enqueue(t.Context(), note{N: 2})
	require.NoError(t, err)
	require.Equal(t, stint.Counts{Ready: 1, Parked: 1}, q.Counts())
}
