package main

import (
	"context"
	"fmt"
	"time"
)

// How fast are jobs accepted, while nobody works?

var enqueueOne = workload{
	name: "enqueue-1", title: "Enqueue one by one from 1 goroutine",
	columns: rateColumns, floor: floorPut, peer: true,
	subjects: func(b *bench) []subject {
		return append(each(b, b.enqueueFrom(1)), putFloor(b, 1))
	},
}

var enqueueParallel = workload{
	name: "enqueue-64", title: "Enqueue from 64 goroutines",
	columns: rateColumns, floor: floorGroup, peer: true,
	subjects: func(b *bench) []subject {
		return append(each(b, b.enqueueFrom(producers)), groupFloor(b))
	},
}

var enqueueMany = workload{
	name: "enqueue-many", title: "Enqueue in slices of 1000",
	columns: rateColumns, floor: floorPuts, peer: true,
	subjects: func(b *bench) []subject {
		return append(each(b, b.enqueueSlices), putFloor(b, slice))
	},
}

// enqueueFrom enqueues one by one from some goroutines.
func (b *bench) enqueueFrom(goroutines int) func(context.Context, System, string) (metrics, error) {
	return func(ctx context.Context, s System, dir string) (metrics, error) {
		return b.enqueueFor(ctx, s, dir, func(inst Instance, more func() bool) (int, error) {
			return inParallel(goroutines, more, func() error { return inst.Enqueue(ctx, oneEvent) })
		})
	}
}

func (b *bench) enqueueSlices(ctx context.Context, s System, dir string) (metrics, error) {
	return b.enqueueFor(ctx, s, dir, func(inst Instance, more func() bool) (n int, err error) {
		list := make([]Event, slice)
		for i := range list {
			list[i] = oneEvent
		}
		for more() {
			if err := inst.EnqueueMany(ctx, list); err != nil {
				return n, err
			}
			n += slice
		}
		return n, nil
	})
}

// enqueueFor measures what a queue takes during the budget of time.
func (b *bench) enqueueFor(ctx context.Context, s System, dir string, fn func(inst Instance, more func() bool) (int, error)) (out metrics, err error) {
	unused := func(context.Context, Event) error { return nil }
	err = with(ctx, s, dir, Options{Workers: 1, Handle: unused}, func(inst Instance) error {
		if err := inst.Enqueue(ctx, oneEvent); err != nil { // connections and plans are made
			return fmt.Errorf("enqueue: %w", err)
		}
		m := startMeter(inst)
		start := time.Now()
		n, err := fn(inst, forTime(ctx, b.size.budget))
		if err != nil {
			return fmt.Errorf("enqueue: %w", err)
		}
		out = m.stop(n, time.Since(start))
		return ctx.Err()
	})
	return out, err
}
