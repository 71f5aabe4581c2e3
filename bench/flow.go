package main

import (
	"context"
	"fmt"
	"time"
)

// What goes through when 64 goroutines enqueue and 100 workers work at once?

const (
	flowName    = "flow"
	flowWorkers = 100
)

var enqueueAndWork = workload{
	name: flowName, title: "Enqueue from 64 goroutines and work with 100 workers at once",
	columns: rateColumns, floor: floorGroup, peer: true, cost: time.Second,
	subjects: func(b *bench) []subject {
		return append(each(b, func(ctx context.Context, s System, dir string) (metrics, error) {
			return b.flow(ctx, s, dir)
		}), groupFloor(b))
	},
}

// flow lets as many jobs through as the budget of time takes.
func (b *bench) flow(ctx context.Context, s System, dir string) (out metrics, err error) {
	t := newTally()
	err = with(ctx, s, dir, Options{Workers: flowWorkers, Handle: t.handle}, func(inst Instance) error {
		w := startWork(ctx, inst.Work)
		err := w.warm(ctx, inst, t)
		if err == nil {
			out, err = b.grow(flowName, s, func(n int) (metrics, time.Duration, error) {
				return flowOnce(ctx, inst, w, t, n)
			})
		}
		if stopping := w.stop(); err == nil {
			err = stopping
		}
		return err
	})
	return out, err
}

// flowOnce measures from the first Enqueue to the last of n jobs handled.
func flowOnce(ctx context.Context, inst Instance, w *workers, t *tally, n int) (metrics, time.Duration, error) {
	t.expect(n)
	m := startMeter(inst)
	start := time.Now()
	if _, err := inParallel(producers, forCount(ctx, n), func() error { return inst.Enqueue(ctx, oneEvent) }); err != nil {
		return nil, 0, fmt.Errorf("enqueue: %w", err)
	}
	end, err := w.wait(ctx, t)
	if err != nil {
		return nil, 0, err
	}
	took := end.Sub(start)
	return m.stop(n, took), took, nil
}
