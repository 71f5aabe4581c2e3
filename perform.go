package stint

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Perform runs the handler for args here and now, with its timeout and
// middleware, and stores nothing: for tests, and for work that may be lost.
// The handler sees a job with the id 0, and what it puts by, such as steps and
// checkpoints, stays in memory. It returns what the handler returns; a panic is
// an error.
func (q *Queue) Perform(ctx context.Context, args Args) error {
	if isNil(args) {
		return errNilArgs
	}
	if ctx == nil {
		panic("stint: Perform was called with a nil context; pass context.Background()")
	}
	h := q.handlerOf(args.Kind())
	if h == nil {
		return fmt.Errorf("%w: %q; register one with Handle", ErrUnknownKind, args.Kind())
	}
	b, err := appendArgs(nil, args)
	if err != nil {
		return err
	}
	e := h.newExecution(q)
	e.inline, e.place = true, -1
	e.rec = record{kind: h.kind, queue: h.policy.Queue, priority: uint8(h.policy.Priority), created: micros(time.Now()), args: json.RawMessage(b)}
	e.started.Store(time.Now().UnixNano())
	var deadline time.Time
	if h.policy.Timeout != forever {
		deadline = time.Now().Add(h.policy.Timeout)
		timer := time.AfterFunc(h.policy.Timeout, func() { e.stop(ErrTimeout) })
		defer timer.Stop()
	}
	e.begins(ctx, deadline)
	defer e.ctx.end(nil)
	return e.call(&e.ctx)
}
