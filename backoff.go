package stint

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long a job waits after a failed attempt: attempt is 1
// after the first failure, err is what the handler returned. A negative
// result means at once. It may be called from several goroutines; if it
// panics, Polynomial takes its place.
type Backoff func(attempt int, err error) time.Duration

// maxDelay keeps every formula far from overflow: 100 years.
const maxDelay = 100 * 365 * 24 * time.Hour

// Polynomial is the default Backoff, the one of Sidekiq: with n counting
// failures from 0 it waits n⁴ + 15 seconds and a random part below 10·(n+1)
// seconds. From the first attempt to the 25th that makes 16 to 17 days; the
// 25 waits of Sidekiq, which retries once more, make 20.
func Polynomial(attempt int, _ error) time.Duration {
	n := min(max(attempt, 1)-1, 200) // 200⁴ s are 50 years
	delay := time.Duration(n*n*n*n+15) * time.Second
	return delay + rand.N(time.Duration(n+1)*10*time.Second)
}

// Exponential waits base, 2·base, 4·base … up to limit, each less a random
// part of up to a tenth.
func Exponential(base, limit time.Duration) Backoff {
	return func(attempt int, _ error) time.Duration {
		if base <= 0 {
			return 0
		}
		delay := min(max(limit, 0), maxDelay)
		if doublings := max(attempt, 1) - 1; doublings < 62 && base < delay>>doublings {
			delay = base << doublings
		}
		if tenth := delay / 10; tenth > 0 {
			delay -= rand.N(tenth)
		}
		return delay
	}
}

// Constant waits d each time.
func Constant(d time.Duration) Backoff {
	return func(int, error) time.Duration { return d }
}

// delayAfter asks a Backoff, and does not trust it.
func delayAfter(b Backoff, attempt int, err error) (delay time.Duration) {
	defer func() {
		if recover() != nil {
			delay = Polynomial(attempt, err)
		}
	}()
	return min(max(b(attempt, err), 0), maxDelay)
}
