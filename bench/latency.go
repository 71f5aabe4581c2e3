package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// How long from the call of Enqueue to the start of the handler?

var latencyIdle = workload{
	name: "latency-idle", title: "From Enqueue to the start of the handler, idle queue",
	columns: latencyColumns, floor: floorSync, peer: true, cost: time.Second,
	subjects: func(b *bench) []subject { return append(each(b, b.idleLatency), syncFloor(b)) },
}

var latencyLoaded = workload{
	name: "latency-loaded", title: "From Enqueue to the start of the handler, at half of the throughput",
	columns: append([]column{latencyColumns[1], latencyColumns[0]}, column{"offered_per_s", "offered/s", perSecond}, latencyColumns[2]),
	floor:   floorSync, peer: true, cost: 2 * time.Second,
	subjects: func(b *bench) []subject { return append(each(b, b.loadedLatency), syncFloor(b)) },
}

// idleLatency enqueues a job when the one before has long been done with.
func (b *bench) idleLatency(ctx context.Context, s System, dir string) (out metrics, err error) {
	c := newClocked(b.size.samples)
	err = with(ctx, s, dir, Options{Workers: 10, Handle: c.handle}, func(inst Instance) error {
		w := startWork(ctx, inst.Work)
		const atLeast = 5
		more := forTime(ctx, b.size.sampling)
		err := c.enqueue(ctx, inst, 0) // the workers come up; it is no part of the result
		for i := 0; err == nil && i < c.size(); i++ {
			if err = c.wait(ctx, w, i+1); err != nil || i+1 == c.size() || i > atLeast && !more() {
				break
			}
			time.Sleep(5*time.Millisecond + 4*b.opt.delayed) // its completion is no part of the next wait
			err = c.enqueue(ctx, inst, i+1)
		}
		if stopping := w.stop(); err == nil {
			err = stopping
		}
		if list := c.waits(); len(list) > 1 {
			out = latencies(list[1:])
		}
		return err
	})
	return out, err
}

// loadedLatency measures the throughput, and then lets jobs arrive at half of
// it, whether or not the queue keeps up.
func (b *bench) loadedLatency(ctx context.Context, s System, dir string) (out metrics, err error) {
	sub, err := subdir(dir)
	if err != nil {
		return nil, err
	}
	before, err := b.flow(ctx, s, sub)
	if err != nil {
		return nil, err
	}
	if sub, err = subdir(dir); err != nil {
		return nil, err
	}
	rate := before[mRate] / 2
	c := newClocked(max(int(rate*b.size.budget.Seconds()), 20))
	err = with(ctx, s, sub, Options{Workers: flowWorkers, Handle: c.handle}, func(inst Instance) error {
		w := startWork(ctx, inst.Work)
		err := arrive(ctx, c.size(), rate, func(i int) error { return c.enqueue(ctx, inst, i) })
		if err == nil {
			err = c.wait(ctx, w, c.size())
		}
		if stopping := w.stop(); err == nil {
			err = stopping
		}
		out = latencies(c.waits())
		out["offered_per_s"] = rate
		return err
	})
	return out, err
}

// arrive calls fn n times at a rate, each in a goroutine of its own, and
// returns when all have returned.
func arrive(ctx context.Context, n int, rate float64, fn func(int) error) error {
	var (
		wg     sync.WaitGroup
		failed atomic.Pointer[error]
	)
	start := time.Now()
	for i := 0; i < n && ctx.Err() == nil && failed.Load() == nil; i++ {
		at := time.Duration(float64(i) / rate * float64(time.Second))
		if wait := at - time.Since(start); wait > 0 {
			time.Sleep(wait)
		}
		wg.Go(func() {
			if err := fn(i); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

// clocked knows of each job when it was enqueued and when it started.
type clocked struct {
	enqueued, started []atomic.Int64 // nanoseconds since epoch, 0: not yet
	epoch             time.Time
	done              atomic.Int64
	wake              chan struct{}
}

func newClocked(n int) *clocked {
	return &clocked{enqueued: make([]atomic.Int64, n), started: make([]atomic.Int64, n), epoch: time.Now(), wake: make(chan struct{}, 1)}
}

func (c *clocked) size() int { return len(c.enqueued) }

func (c *clocked) enqueue(ctx context.Context, inst Instance, i int) error {
	e := oneEvent
	e.ID = fmt.Sprintf("%034d", i)
	c.enqueued[i].Store(int64(time.Since(c.epoch)))
	if err := inst.Enqueue(ctx, e); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	return nil
}

func (c *clocked) handle(_ context.Context, e Event) error {
	now := int64(time.Since(c.epoch))
	i, err := strconv.Atoi(e.ID)
	if err != nil || i >= c.size() {
		return fmt.Errorf("the event %q is none of those that were enqueued", e.ID)
	}
	if c.started[i].CompareAndSwap(0, now) {
		c.done.Add(1)
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// wait returns when n jobs have started.
func (c *clocked) wait(ctx context.Context, w *workers, n int) error {
	for c.done.Load() < int64(n) {
		select {
		case <-c.wake:
		case <-w.ended:
			return fmt.Errorf("the workers stopped after %d of %d jobs: %w", c.done.Load(), n, w.err)
		case <-ctx.Done():
			return fmt.Errorf("%d of %d jobs have started: %w", c.done.Load(), n, context.Cause(ctx))
		}
	}
	return nil
}

// waits are the times between, of the jobs that have started.
func (c *clocked) waits() []time.Duration {
	var list []time.Duration
	for i := range c.started {
		if at := c.started[i].Load(); at != 0 {
			list = append(list, time.Duration(at-c.enqueued[i].Load()))
		}
	}
	return list
}
