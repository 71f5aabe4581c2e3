package stint

import "errors"

// What becomes of the changes of a group: they are answered, kept for the next
// attempt, or refused with all that follow.

// answer tells everybody of a group how it ended: with err or else with the
// result of its own change, which holds only if the group was committed.
func (c *committer) answer(group []change, err error) {
	c.there = c.waiting() // before the first of them can be back
	for i, ch := range group {
		switch own := c.results[i]; {
		case errors.Is(own, errLeft):
		case own != nil && err == nil:
			ch.end(own)
		default:
			ch.end(err)
		}
	}
}

// divide parts a group, and leaves the results of the others for answer.
func (c *committer) divide(group []change, wanted func(change) bool) (them, others []change) {
	var results []error
	for i, ch := range group {
		if wanted(ch) {
			them = append(them, ch)
			continue
		}
		others = append(others, ch)
		results = append(results, c.results[i])
	}
	c.results = results
	return them, others
}

// keep saves completions that could not be committed for the next attempt.
func (c *committer) keep(completions []change, err error) {
	c.kept = append(c.kept, completions...)
	if c.stopping {
		c.fail(err)
		c.results = make([]error, len(c.kept))
		c.answer(c.kept, err)
		c.kept = nil
		return
	}
	if c.retryIn == 0 {
		c.q.log.Warn("stint: the file cannot be written, and what is finished cannot be recorded; trying again", "finished_jobs", len(completions), "error", err)
	}
	c.retryIn = min(max(2*c.retryIn, firstRetry), lastRetry)
}

// fail stops the store for good.
func (c *committer) fail(err error) {
	c.q.store.broken.CompareAndSwap(nil, &err)
	if c.failed {
		return
	}
	c.failed = true
	c.retryIn = 0 // what was kept is answered at once
	c.q.log.Error("stint: the queue takes no more writes", "error", err)
	c.q.waiters.close(err)
	if c.runner != nil {
		c.runner.abort()
	}
}

func isUndo(err error) bool {
	_, is := errors.AsType[undo](err)
	return is
}

func unwrapUndo(err error) error {
	if u := (undo{}); errors.As(err, &u) {
		return u.error
	}
	return err
}
