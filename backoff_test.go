package stint_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

const day = 24 * time.Hour

func TestPolynomial(t *testing.T) {
	t.Parallel()
	t.Run("n⁴ + 15 seconds and a random part below 10·(n+1)", func(t *testing.T) {
		for n := range 25 {
			least := time.Duration(n*n*n*n+15) * time.Second
			spread := time.Duration(n+1) * 10 * time.Second
			lowest, highest := time.Duration(math.MaxInt64), time.Duration(0)
			for range 1000 {
				d := stint.Polynomial(n+1, errRefused)
				require.GreaterOrEqual(t, d, least)
				require.Less(t, d, least+spread)
				lowest, highest = min(lowest, d), max(highest, d)
			}
			require.Less(t, lowest, least+spread/20, "all of the random part is used")
			require.Greater(t, highest, least+spread*19/20)
		}
	})

	t.Run("25 waits are 20 days, the 24 between 25 attempts 16 to 17", func(t *testing.T) {
		var total, last time.Duration
		for attempt := 1; attempt <= 25; attempt++ {
			last = stint.Polynomial(attempt, nil)
			total += last
		}
		require.InDelta(t, 20.4, total.Hours()/24, 0.1)
		require.InDelta(t, 16.6, (total-last).Hours()/24, 0.1)
	})

	t.Run("no attempt is too large, too small or overflows", func(t *testing.T) {
		for _, attempt := range []int{0, -1, -1000, math.MinInt, math.MinInt32} {
			d := stint.Polynomial(attempt, nil)
			require.GreaterOrEqual(t, d, 15*time.Second, "%d", attempt)
			require.Less(t, d, 25*time.Second, "%d", attempt)
		}
		for _, attempt := range []int{200, 201, 10_000, math.MaxInt16, math.MaxInt32, math.MaxInt} {
			d := stint.Polynomial(attempt, nil)
			require.Greater(t, d, 49*365*day, "%d", attempt)
			require.Less(t, d, 52*365*day, "%d", attempt)
		}
	})
}

func TestExponential(t *testing.T) {
	t.Parallel()
	bounds := func(t *testing.T, b stint.Backoff, attempt int, want time.Duration) {
		t.Helper()
		for range 200 {
			d := b(attempt, errRefused)
			require.LessOrEqual(t, d, want, "%d", attempt)
			require.GreaterOrEqual(t, d, want-want/10, "%d", attempt)
		}
	}

	t.Run("doubles up to the limit, less up to a tenth", func(t *testing.T) {
		b := stint.Exponential(time.Second, time.Hour)
		for attempt := 1; attempt <= 12; attempt++ {
			bounds(t, b, attempt, time.Second<<(attempt-1))
		}
		for _, attempt := range []int{13, 14, 62, 63, 64, 65, 1000, math.MaxInt} {
			bounds(t, b, attempt, time.Hour)
		}
		for _, attempt := range []int{0, -1, math.MinInt} {
			bounds(t, b, attempt, time.Second)
		}
	})

	t.Run("strange bounds", func(t *testing.T) {
		bounds(t, stint.Exponential(time.Hour, time.Minute), 1, time.Minute)
		bounds(t, stint.Exponential(time.Minute, time.Minute), 5, time.Minute)
		for _, attempt := range []int{0, 1, 2, 20, 37, 61, 62, 63, 64, 70} {
			bounds(t, stint.Exponential(0, time.Minute), attempt, 0)
			bounds(t, stint.Exponential(-time.Second, time.Minute), attempt, 0)
			bounds(t, stint.Exponential(time.Second, 0), attempt, 0)
			bounds(t, stint.Exponential(time.Second, -1), attempt, 0)
			d := stint.Exponential(1, math.MaxInt64)(attempt, nil)
			require.GreaterOrEqual(t, d, time.Duration(0))
			require.LessOrEqual(t, d, 101*365*day)
		}
		bounds(t, stint.Exponential(3, 100), 2, 6)
	})
}

func TestConstant(t *testing.T) {
	t.Parallel()
	for _, attempt := range []int{math.MinInt, 0, 1, 25, math.MaxInt} {
		require.Equal(t, time.Minute, stint.Constant(time.Minute)(attempt, nil))
	}
}

func TestBackoffOfAPolicy(t *testing.T) {
	t.Parallel()
	scenario(t, "is asked with the number of the failure and what the handler returned", func(t *testing.T) {
		q := open(t, nil)
		var asked []string
		handle(q, func(_ context.Context, job *stint.Job[note]) error { return fmt.Errorf("no %d", job.Attempt) },
			&stint.Policy{MaxAttempts: 4, Backoff: func(attempt int, err error) time.Duration {
				asked = append(asked, fmt.Sprint(attempt, " ", err))
				return time.Duration(attempt) * time.Minute
			}})
		run(t, q)
		begin := time.Now()
		id := enqueue(t, q, note{})
		time.Sleep(day)
		synctest.Wait()
		require.Equal(t, []string{"1 no 1", "2 no 2", "3 no 3"}, asked)
		require.Equal(t, 6*time.Minute, get(t, q, id).FinishedAt.Sub(begin))
	})

	for _, c := range []struct {
		name           string
		b              stint.Backoff
		least, atLeast time.Duration // the wait lies between
	}{
		{"none means Polynomial", nil, 15 * time.Second, 25 * time.Second},
		{"one that panics is replaced by Polynomial", func(int, error) time.Duration { panic("oops") }, 15 * time.Second, 25 * time.Second},
		{"zero means at once", func(int, error) time.Duration { return 0 }, 0, 0},
		{"negative means at once", func(int, error) time.Duration { return math.MinInt64 }, 0, 0},
		{"too long means a hundred years", func(int, error) time.Duration { return math.MaxInt64 }, 36_500 * day, 36_500 * day},
		{"Constant", stint.Constant(time.Minute), time.Minute, time.Minute},
		{"Exponential", stint.Exponential(time.Minute, time.Hour), 54 * time.Second, time.Minute},
		{"Polynomial", stint.Polynomial, 15 * time.Second, 25 * time.Second},
	} {
		scenario(t, c.name, func(t *testing.T) {
			q := open(t, nil)
			seen := handle(q, func(_ context.Context, job *stint.Job[note]) error {
				if job.Attempt == 1 {
					return errRefused
				}
				return nil
			}, &stint.Policy{Backoff: c.b})
			run(t, q)
			id := enqueue(t, q, note{})
			synctest.Wait()
			if c.atLeast > 0 {
				info := get(t, q, id)
				require.Equal(t, stint.Retrying, info.State)
				wait := time.Until(info.RunAt)
				require.GreaterOrEqual(t, wait, c.least)
				require.LessOrEqual(t, wait, c.atLeast+time.Microsecond)
			}
			time.Sleep(c.atLeast + time.Second)
			require.Len(t, seen.ids(), 2)
			require.Zero(t, q.Counts())
		})
	}

	scenario(t, "one may look at the error", func(t *testing.T) {
		q := open(t, nil)
		results := []error{errRefused, errors.New("other"), nil}
		seen := handle(q, func(_ context.Context, job *stint.Job[note]) error { return results[job.Attempt-1] },
			&stint.Policy{Backoff: func(_ int, err error) time.Duration {
				if errors.Is(err, errRefused) {
					return time.Hour
				}
				return time.Minute
			}})
		run(t, q)
		begin := time.Now()
		enqueue(t, q, note{})
		time.Sleep(day)
		synctest.Wait()
		require.Len(t, seen.list, 3)
		require.Equal(t, 61*time.Minute, seen.list[2].at.Sub(begin))
	})
}
