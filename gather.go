package stint

import (
	"runtime"
	"time"
)

// How large a group becomes. A commit costs about the same whatever its size,
// so what waits a little may save much.
//
//  1. gather waits for callers. Those just answered are about to send their
//     next changes; if the next group began without them, two halves would take
//     turns, and each wait for the other's sync.
//  2. rest waits for completions. Nobody waits for theirs, so as long as there
//     is nothing else, and the workers have enough claimed jobs before them, the
//     group grows.
//
// An idle queue, and one with a single caller, waits for neither.

const (
	// gatherPart is the part of the last commit's time that gather takes at
	// most.
	gatherPart = 2

	// maxHurried is how many groups begin without it at most, when callers do
	// not come back time after time.
	maxHurried = 32

	// maxRest is how much later than it could be a completion is stored. More
	// would bring little: workers that do nothing else get through all they may
	// have before them in less.
	maxRest = 5 * time.Millisecond
)

// isAwaited says whether somebody waits for the end of a change.
func isAwaited(ch change) bool {
	e, ok := ch.(*execution)
	return !ok || e.effect != nil
}

// gather returns when those who were answered last are there again, beside
// those who have come since. It yields instead of sleeping: they are being
// woken right now, and a timer would be too coarse. Where they do not come back,
// the next groups do not wait for theirs: one at first, and twice as many each
// time.
func (c *committer) gather() {
	if c.answered <= 1 || c.hurried > 0 {
		c.hurried = max(c.hurried-1, 0)
		return
	}
	there := c.waiting()
	for until := time.Now().Add(c.lastTook / gatherPart); ; {
		runtime.Gosched()
		switch back := c.waiting() - there; {
		case back >= c.answered:
			c.deserted = 0
			return
		case time.Now().Before(until):
		case back < c.answered*3/4: // as many as come anyway
			c.deserted = min(2*c.deserted+1, maxHurried)
			c.hurried = c.deserted
			return
		default:
			return
		}
	}
}

// waiting is how many callers are there.
func (c *committer) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaited
}

// rest returns when somebody waits for the group, when half of what was claimed
// ahead has begun, or after maxRest.
func (c *committer) rest() {
	if c.runner == nil || c.ahead == 0 || len(c.kept) > 0 || c.q.waiters.number.Load() > 0 {
		return
	}
	select {
	case <-c.signal: // of what is there already
	default:
	}
	c.mu.Lock()
	c.resting = c.awaited == 0 && len(c.inbox) > 0 && len(c.notes) == 0
	resting := c.resting
	c.mu.Unlock()
	if !resting {
		return
	}
	if c.runner.warn(c.ahead / 2) {
		c.pause.Reset(maxRest)
		select {
		case <-c.signal:
		case <-c.pause.C:
		}
		c.pause.Stop()
		c.runner.warn(0)
	}
	c.mu.Lock()
	c.resting = false
	c.mu.Unlock()
}
