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
	// most, and never more than maxRest. maxTurns bounds it where time stands
	// still, as it does in a bubble of testing/synctest.
	gatherPart = 2
	maxTurns   = 2000

	// maxHurried is how many groups begin without it at most, when callers do
	// not come back time after time.
	maxHurried = 32

	// maxRest is how much later than it could be a completion is stored. More
	// would bring little: workers that do nothing else get through all they may
	// have before them in less.
	maxRest  = 5 * time.Millisecond
	restStep = time.Millisecond
)

// isAwaited says whether somebody waits for the end of a change.
func isAwaited(ch change) bool {
	switch ch := ch.(type) {
	case *execution:
		return ch.effect != nil || !ch.patient
	case *keeper:
		return false // a checkpoint
	}
	return true
}

// isPatient says whether nothing follows from the outcome that others could be
// waiting for: another attempt, the end of a batch or of a scheduled run, a
// worker that a limit of its kind or queue takes from other jobs.
func (e *execution) isPatient() bool {
	return e.outcome.to == Completed && e.rec.role == 0 && e.rec.origin == nil && e.handler.policy.Concurrency == 0 && !e.lane.queue.limited.Load()
}

// gather returns when those who were answered last are there again, beside
// those who came before their answer. It yields instead of sleeping: they are
// being woken right now, and a timer would be too coarse. Where they do not come
// back, the next groups do not wait for theirs: one at first, and twice as many
// each time.
func (c *committer) gather() {
	if c.hurried > 0 || c.answered <= 1 || len(c.kept) > 0 || c.stopping || c.failure() != nil {
		c.hurried = max(c.hurried-1, 0)
		return
	}
	until := time.Now().Add(min(c.lastTook/gatherPart, maxRest))
	for turns := 0; ; turns++ {
		runtime.Gosched()
		switch back := c.waiting() - c.there; {
		case back >= c.answered:
			c.deserted = 0
			return
		case turns < maxTurns && time.Now().Before(until):
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
// ahead has begun, when no more completions come, or after maxRest.
func (c *committer) rest() {
	c.stalled = false
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
		c.restUntilCalled()
		c.runner.warn(0)
	}
	c.mu.Lock()
	c.resting = false
	c.mu.Unlock()
}

// restUntilCalled also returns when nothing comes any more. Then the workers
// are busy with longer jobs, and what was claimed ahead is to be given back.
func (c *committer) restUntilCalled() {
	for range maxRest / restStep {
		had := c.size()
		c.pause.Reset(restStep)
		select {
		case <-c.signal:
			c.pause.Stop()
			return
		case <-c.pause.C:
		}
		if c.stalled = c.size() == had; c.stalled {
			return
		}
	}
}

// size is how many changes are in the inbox.
func (c *committer) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.inbox)
}
