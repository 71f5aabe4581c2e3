package stint

import (
	"cmp"
	"context"
	"fmt"
)

// SetWorkers changes how many handlers of a queue may run at the same time,
// or, with an empty name, Config.Workers. It holds until the process ends, and
// for each Run; 0 goes back to what the Config says. It returns when it holds:
// more begin at once, and none begins while too many run. What runs already is
// let finish.
//
// A queue that there has not been is known from then on. ErrBadOption if n is
// negative (Pause stops a queue) or the queue's name is not valid.
func (q *Queue) SetWorkers(ctx context.Context, queue string, n int) error {
	if n < 0 {
		return fmt.Errorf("%w: SetWorkers got %d; 0 is what the Config says, and Pause stops a queue", ErrBadOption, n)
	}
	if queue != "" {
		if err := checkName("queue", queue); err != nil {
			return fmt.Errorf("%w: %w", ErrBadOption, err)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stint: nothing was changed: %w", context.Cause(ctx))
	}
	var w ticket
	w.reset()
	q.commit.post(func() {
		if w.begin() {
			q.commit.scale(queue, n)
		}
		w.end(nil)
	})
	return q.awaitNote(ctx, &w)
}

// awaitNote is await for what was posted, which a closed queue never comes to.
func (q *Queue) awaitNote(ctx context.Context, w *ticket) error {
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		if w.state.CompareAndSwap(ticketWaiting, ticketLeft) {
			return fmt.Errorf("stint: nothing was changed: %w", context.Cause(ctx))
		}
		<-w.done
		return nil
	case <-q.commit.done:
	}
	select {
	case <-w.done:
		return nil
	default:
		return fmt.Errorf("%w: nothing was changed", ErrClosed)
	}
}

// scale is called by the loop between two groups. Nothing is claimed here: the
// loop looks for work next.
func (c *committer) scale(queue string, n int) {
	if queue == "" {
		c.scaleAll(cmp.Or(n, c.q.cfg.Workers))
		return
	}
	qs := c.queueOf(queue)
	c.q.mu.Lock()
	qs.setLimit(cmp.Or(n, c.q.cfg.Queues[queue].Workers))
	c.q.mu.Unlock()
	if c.runner != nil && qs.busy > qs.limit {
		c.giveBack(c.runner.withdrawOf(qs, qs.busy-qs.limit))
	}
}

// scaleAll gives back all that was claimed ahead if the workers become fewer.
func (c *committer) scaleAll(n int) {
	c.q.mu.Lock()
	before := c.workers
	n = min(n, maxWorkers)
	c.workers = n
	c.q.mu.Unlock()
	if c.runner == nil {
		return
	}
	c.runner.resize(n)
	if n < before {
		c.ahead = 0
		c.giveBack(c.runner.withdraw(len(c.running) - n))
	}
}
