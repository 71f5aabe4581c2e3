package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// What workloads are made of: goroutines that enqueue, and workers whose jobs
// are counted.

// forTime is true until the time is over.
func forTime(ctx context.Context, d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return time.Now().Before(end) && ctx.Err() == nil }
}

// forCount is true n times.
func forCount(ctx context.Context, n int) func() bool {
	var left atomic.Int64
	left.Store(int64(n))
	return func() bool { return left.Add(-1) >= 0 && ctx.Err() == nil }
}

// inParallel calls fn from many goroutines while more is true, and returns
// how often. After an error they stop.
func inParallel(goroutines int, more func() bool, fn func() error) (int, error) {
	var (
		wg     sync.WaitGroup
		calls  atomic.Int64
		failed atomic.Pointer[error]
	)
	for range goroutines {
		wg.Go(func() {
			n := int64(0)
			for failed.Load() == nil && more() {
				if err := fn(); err != nil {
					failed.CompareAndSwap(nil, &err)
					break
				}
				n++
			}
			calls.Add(n)
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return int(calls.Load()), *err
	}
	return int(calls.Load()), nil
}

// with opens a queue for fn and closes it afterwards.
func with(ctx context.Context, s System, dir string, opt Options, fn func(Instance) error) error {
	inst, err := s.Open(ctx, dir, opt)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = fn(inst)
	if closing := inst.Close(); closing != nil {
		err = errors.Join(err, fmt.Errorf("close: %w", closing))
	}
	return err
}

// fill stores n jobs in slices.
func fill(ctx context.Context, inst Instance, n int) error {
	list := make([]Event, min(n, slice))
	for i := range list {
		list[i] = oneEvent
	}
	for ; n > 0; n -= len(list) {
		if err := inst.EnqueueMany(ctx, list[:min(n, len(list))]); err != nil {
			return fmt.Errorf("enqueue many: %w", err)
		}
	}
	return nil
}

// grow finds how many jobs of a system the budget of time takes, and measures
// those. It begins with a few, as some systems do a thousandth of what others
// do. More are taken also when the time is used up but hardly depends on the
// number: then it was spent in waiting for a poll. In later rounds the number
// is known.
func (b *bench) grow(what string, s System, measure func(n int) (metrics, time.Duration, error)) (metrics, error) {
	key := what + " " + s.Name()
	if n := b.jobs[key]; n > 0 {
		m, _, err := measure(n)
		return m, err
	}
	const first, factor = 100, 5
	limit := 2*b.size.budget + 2*time.Second
	before := time.Duration(0)
	for n := first; ; n = min(n*factor, b.size.jobs) {
		m, took, err := measure(n)
		if err != nil {
			return nil, err
		}
		waits := before == 0 || took < 3*before
		if n >= b.size.jobs || took > limit || took > b.size.budget/2 && !waits {
			b.jobs[key] = n
			return m, nil
		}
		before = took
	}
}

// tally counts jobs that were handled and tells when a number is reached.
type tally struct {
	n, target atomic.Int64
	reached   chan time.Time
}

func newTally() *tally { return &tally{reached: make(chan time.Time, 1)} }

// expect sets the number to n more than were handled so far.
func (t *tally) expect(n int) { t.target.Store(t.n.Load() + int64(n)) }

func (t *tally) handle(context.Context, Event) error {
	t.add()
	return nil
}

func (t *tally) add() {
	if t.n.Add(1) == t.target.Load() {
		t.reached <- time.Now()
	}
}

// workers are a queue's, at work in the background.
type workers struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

func startWork(ctx context.Context, work func(context.Context) error) *workers {
	ctx, cancel := context.WithCancel(ctx)
	w := &workers{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.err = work(ctx)
	}()
	return w
}

// stop ends the workers and waits for them.
func (w *workers) stop() error {
	w.cancel()
	<-w.ended
	if w.err != nil && !errors.Is(w.err, context.Canceled) {
		return fmt.Errorf("work: %w", w.err)
	}
	return nil
}

// wait returns when the tally has reached its number.
func (w *workers) wait(ctx context.Context, t *tally) (time.Time, error) {
	select {
	case at := <-t.reached:
		return at, nil
	case <-w.ended:
		return time.Time{}, fmt.Errorf("the workers stopped after %d of %d jobs: %w", t.n.Load(), t.target.Load(), w.err)
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("%d of %d jobs were handled: %w", t.n.Load(), t.target.Load(), context.Cause(ctx))
	}
}

// warm stores one job and waits for it, so that workers are there.
func (w *workers) warm(ctx context.Context, inst Instance, t *tally) error {
	t.expect(1)
	if err := inst.Enqueue(ctx, oneEvent); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	_, err := w.wait(ctx, t)
	return err
}
