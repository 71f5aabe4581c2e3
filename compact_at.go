package stint

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Config.CompactAt: when a file is compacted without being asked.
//
//  1. After each commit, while Run works, the committer looks at the share of
//     free space. That is a lock and a system call.
//  2. If it is too large, a goroutine of the queue compacts. No other does so
//     until it has ended, and a while longer.
//  3. Where it did not help, nothing is done until much more is free.

const (
	// compactMin is how much must be free at least: a small file is not worth
	// the trouble.
	compactMin = 16 << 20

	// compactPause is the least time between two compactions, and compactRest
	// the share of time between them, in lengths of the last one.
	compactPause = time.Minute
	compactRest  = 20

	// compactRetry is how long it takes after a failure.
	compactRetry = 10 * time.Minute
)

// compactions is what the committer knows of them.
type compactions struct {
	busy atomic.Bool
	last atomic.Pointer[lastCompaction]
}

type lastCompaction struct {
	next time.Time // not before
	left int64     // bytes that were free after it
}

// compactAtOpen is for the file as the last process left it. A failure is
// logged only: the queue works as well without it.
func (q *Queue) compactAtOpen() {
	if q.wantsCompaction() {
		q.compactNow()
	}
}

// considerCompaction is called after each commit.
func (c *committer) considerCompaction() {
	q := c.q
	if q.cfg.CompactAt <= 0 || c.runner == nil || c.compactions.busy.Load() || !q.wantsCompaction() {
		return
	}
	c.compactions.busy.Store(true)
	q.background.Go(func() {
		defer c.compactions.busy.Store(false)
		q.compactNow()
	})
}

func (q *Queue) wantsCompaction() bool {
	if q.cfg.CompactAt <= 0 || !q.store.owned || !lockIsOurs {
		return false
	}
	last := q.commit.compactions.last.Load()
	if last != nil && time.Now().Before(last.next) {
		return false
	}
	size, free := q.store.fileSize()
	least := int64(compactMin)
	if last != nil {
		least = max(least, 2*last.left)
	}
	return free >= least && float64(free) > q.cfg.CompactAt*float64(size)
}

func (q *Queue) compactNow() {
	began := time.Now()
	err := q.Compact(context.Background(), nil)
	pause := max(compactPause, compactRest*time.Since(began))
	if err != nil {
		pause = compactRetry
		if !errors.Is(err, ErrClosed) {
			q.log.Warn("stint: the file could not be compacted, the queue goes on with it", "error", err, "retry_in", pause)
		}
	}
	_, left := q.store.fileSize()
	if err != nil {
		left /= 2 // no need for more to be free, the time is enough
	}
	q.commit.compactions.last.Store(&lastCompaction{next: time.Now().Add(pause), left: left})
}
