package stint

import (
	"context"
	"fmt"
	"sync/atomic"
)

// ticket is how a caller waits for its change, and may leave while the change
// has not been looked at. A change embeds it.
type ticket struct {
	state atomic.Int32 // waiting, applied or left
	done  chan struct{}
	err   error
}

const (
	ticketWaiting = iota
	ticketApplied
	ticketLeft
)

// reset makes the ticket good for one more change.
func (w *ticket) reset() {
	if w.done == nil {
		w.done = make(chan struct{}, 1)
	}
	w.state.Store(ticketWaiting)
	w.err = nil
}

// begin is where a caller whose context has ended drops out; behind it the
// commit decides.
func (w *ticket) begin() bool {
	return w.state.CompareAndSwap(ticketWaiting, ticketApplied) || w.state.Load() == ticketApplied
}

func (w *ticket) end(err error) {
	w.err = err
	w.done <- struct{}{}
}

// submit hands a change over and waits for its commit, or for the end of ctx
// while the change has not begun.
func (q *Queue) submit(ctx context.Context, ch change, w *ticket) error {
	if err := q.handOver(ctx, ch); err != nil {
		return err
	}
	return w.await(ctx)
}

// handOver and await are the halves of submit.
func (q *Queue) handOver(ctx context.Context, ch change) error {
	if ctx.Err() != nil {
		return fmt.Errorf("stint: nothing was changed: %w", context.Cause(ctx))
	}
	if !q.commit.add(ch) {
		return fmt.Errorf("%w: nothing was changed", ErrClosed)
	}
	return nil
}

func (w *ticket) await(ctx context.Context) error {
	if ctx.Done() == nil {
		<-w.done
		return w.err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if w.state.CompareAndSwap(ticketWaiting, ticketLeft) {
			return fmt.Errorf("stint: nothing was changed: %w", context.Cause(ctx))
		}
		<-w.done
	}
	return w.err
}
