package stint_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// failing fails each attempt and counts them.
func failing(attempts *atomic.Int32) func(context.Context, *stint.Job[note]) error {
	return func(context.Context, *stint.Job[note]) error {
		attempts.Add(1)
		return errOops
	}
}

func TestAttempts(t *testing.T) {
	t.Parallel()
	scenario(t, "a job has as many as its Policy says", func(t *testing.T) {
		var attempts atomic.Int32
		q := open(t, nil)
		stint.Handle(q, failing(&attempts), &stint.Policy{MaxAttempts: 3, Backoff: stint.Constant(time.Minute)})
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(time.Hour)
		require.EqualValues(t, 3, attempts.Load())
		info := get(t, q, id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "oops", info.Reason)
		require.EqualValues(t, 3, q.Stats().Failed)
		require.EqualValues(t, 1, q.Stats().Died)
	})
	scenario(t, "the job's own MaxAttempts outweighs the Policy", func(t *testing.T) {
		for _, own := range []int{1, 2, 7} {
			var attempts atomic.Int32
			q := open(t, nil)
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				attempts.Add(1)
				return fmt.Errorf("%d of %d", job.Attempt, job.MaxAttempts)
			}, &stint.Policy{MaxAttempts: 4, Backoff: stint.Constant(time.Minute)})
			id := enqueue(t, q, note{}, stint.MaxAttempts(own))
			run(t, q)
			time.Sleep(time.Hour)
			require.EqualValues(t, own, attempts.Load())
			info := get(t, q, id)
			require.Equal(t, stint.Dead, info.State)
			require.Equal(t, fmt.Sprintf("%d of %d", own, own), info.Reason)
		}
	})
	scenario(t, "RetryAfter on the last attempt does not give another one", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return stint.RetryAfter(time.Second, errOops) },
			&stint.Policy{MaxAttempts: 2})
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(time.Minute)
		require.Equal(t, stint.Dead, get(t, q, id).State)
		require.Equal(t, 2, get(t, q, id).Failures)
	})
	scenario(t, "Snooze on the last attempt keeps it", func(t *testing.T) {
		q := open(t, nil)
		var runs atomic.Int32
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if runs.Add(1) == 2 {
				return stint.Snooze(time.Minute)
			}
			return fmt.Errorf("attempt %d", job.Attempt)
		}, &stint.Policy{MaxAttempts: 2, Backoff: stint.Constant(time.Minute)})
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(time.Hour)
		info := get(t, q, id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "attempt 2", info.Reason)
		require.Equal(t, 1, info.Snoozes)
		require.EqualValues(t, 3, runs.Load())
	})
	scenario(t, "Retry gives a dead job one more", func(t *testing.T) {
		var attempts atomic.Int32
		q := open(t, nil)
		stint.Handle(q, failing(&attempts), &stint.Policy{MaxAttempts: 1})
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		for n := 1; n <= 5; n++ {
			require.EqualValues(t, n, attempts.Load())
			require.Equal(t, stint.Dead, get(t, q, id).State)
			require.Equal(t, n, get(t, q, id).Failures)
			require.NoError(t, q.Retry(t.Context(), id))
			synctest.Wait()
		}
	})
	scenario(t, "the Backoff is asked with the number of the failure and the error", func(t *testing.T) {
		var asked diary
		q := open(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			return fmt.Errorf("try %d: %w", job.Attempt, errOops)
		},
			&stint.Policy{MaxAttempts: 4, Backoff: func(attempt int, err error) time.Duration {
				asked.note("%d %v %t", attempt, err, errors.Is(err, errOops))
				return time.Duration(attempt) * time.Minute
			}})
		id := enqueue(t, q, note{})
		start := time.Now()
		run(t, q)
		time.Sleep(time.Hour)
		require.Equal(t, []string{"1 try 1: oops true", "2 try 2: oops true", "3 try 3: oops true"}, asked.read())
		require.WithinDuration(t, start.Add(6*time.Minute), get(t, q, id).FinishedAt, time.Millisecond)
	})
}

func TestPolicyHoldsForWaitingJobs(t *testing.T) {
	t.Parallel()
	scenario(t, "a file that is opened with another policy", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		var attempts atomic.Int32
		q := openAt(t, path, nil)
		stint.Handle(q, failing(&attempts), &stint.Policy{MaxAttempts: 10, Backoff: stint.Constant(time.Hour)})
		retrying := enqueue(t, q, note{})
		stop := run(t, q)
		time.Sleep(150 * time.Minute)
		require.NoError(t, stop())
		require.Equal(t, 3, get(t, q, retrying).Failures)
		ready := enqueue(t, q, note{})
		require.NoError(t, q.Close())

		q = openAt(t, path, nil)
		stint.Handle(q, failing(&attempts), &stint.Policy{MaxAttempts: 2, Backoff: stint.Constant(time.Minute)})
		run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Retrying, get(t, q, retrying).State, "its wait was decided by the old policy")
		time.Sleep(2 * time.Hour)
		require.Equal(t, 4, get(t, q, retrying).Failures)
		require.Equal(t, stint.Dead, get(t, q, retrying).State)
		require.Equal(t, 2, get(t, q, ready).Failures)
		require.Equal(t, stint.Dead, get(t, q, ready).State)
	})
}

func TestDelays(t *testing.T) {
	t.Parallel()
	scenario(t, "jobs start when they are due, not before and not after", func(t *testing.T) {
		q := open(t, nil)
		start := time.Now()
		var late, early atomic.Int32
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			switch off := time.Since(start) - time.Duration(job.Args.N)*time.Second; {
			case off < 0:
				early.Add(1)
			case off > time.Millisecond:
				late.Add(1)
			}
			return nil
		}, nil)
		run(t, q)
		for i := range 200 {
			delay := (i * 7919) % 86_400
			enqueue(t, q, note{delay}, stint.In(time.Duration(delay)*time.Second))
		}
		time.Sleep(24 * time.Hour)
		require.Zero(t, q.Counts())
		require.Zero(t, early.Load())
		require.Zero(t, late.Load())
	})
	scenario(t, "5,000 that are due at the same moment all run", func(t *testing.T) {
		q := open(t, nil)
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { done.Add(1); return nil }, nil)
		var jobs []stint.Args
		for i := range 5000 {
			jobs = append(jobs, note{i})
		}
		_, err := q.EnqueueAll(t.Context(), jobs, stint.In(time.Hour))
		require.NoError(t, err)
		run(t, q)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 5000, done.Load())
		require.Zero(t, q.Counts())
	})
	scenario(t, "what became due while nothing worked runs when Run is called", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{}, stint.In(time.Minute))
		time.Sleep(time.Hour)
		require.Equal(t, stint.Scheduled, get(t, q, id).State)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
		run(t, q)
		synctest.Wait()
		gone(t, q, id)
	})
	scenario(t, "a commit that fails does not lose what was due in it", func(t *testing.T) {
		q := open(t, nil)
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { done.Add(1); return nil }, nil)
		enqueue(t, q, note{}, stint.In(time.Minute))
		q.DB().MaxSize = 64 << 10
		h := holder(t, q, 1)

		// The file must not grow any more, so the large job cannot be stored, and
		// the other one becomes due in the same transaction.
		refused := make(chan error, 1)
		go func() {
			_, err := q.Enqueue(context.Background(), other{S: string(make([]byte, 1<<17))})
			refused <- err
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		h.release()
		require.ErrorIs(t, <-refused, stint.ErrFileFull)
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, done.Load())
	})
}
