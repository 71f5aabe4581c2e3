package stint

import (
	"context"
	"sync"
	"time"
)

// jobContext is the context of an attempt: it ends with a cause, and shows its
// deadline without a timer of its own; the runner has one for all. What makes
// it end is made when somebody first asks, as many handlers are done before
// they have waited for anything.
type jobContext struct {
	base     context.Context // nil until the attempt begins
	deadline time.Time

	mu     sync.Mutex
	inner  context.Context // nil until somebody asks
	cancel context.CancelCauseFunc
	ended  bool
	cause  error // of the end; nil is context.Canceled
}

func (c *jobContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }
func (c *jobContext) Done() <-chan struct{}       { return c.whole().Done() }
func (c *jobContext) Value(key any) any           { return c.whole().Value(key) }

func (c *jobContext) Err() error {
	c.mu.Lock()
	untouched := c.inner == nil && !c.ended
	c.mu.Unlock()
	if untouched {
		return c.base.Err()
	}
	return c.whole().Err()
}

// whole is the context that does all but the deadline.
func (c *jobContext) whole() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		base := c.base
		if c.ended {
			base = context.WithoutCancel(base) // what ended later is not the cause
		}
		if c.inner, c.cancel = context.WithCancelCause(base); c.ended {
			c.cancel(c.cause)
		}
	}
	return c.inner
}

// end ends it. The first cause stays.
func (c *jobContext) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended, c.cause = true, cause
	if c.cancel != nil {
		c.cancel(cause)
	}
}
