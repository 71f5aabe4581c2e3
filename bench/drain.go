package main

import (
	"context"
	"strconv"
	"time"
)

// How fast do workers get through jobs that wait and do nothing?

func drainName(workers int) string { return "drain-" + strconv.Itoa(workers) }

func drainWith(n int) workload {
	w := workload{
		name: drainName(n), title: "Drain jobs that do nothing with " + strconv.Itoa(n) + " workers",
		columns: rateColumns, floor: floorPutDelete(slice), peer: true, cost: time.Second,
	}
	w.subjects = func(b *bench) []subject {
		list := each(b, func(ctx context.Context, s System, dir string) (metrics, error) { return b.drain(ctx, s, dir, n) })
		if n == 10 {
			list = append(list, putDeleteFloor(b, 16))
		} else {
			list = append(list, putDeleteFloor(b, 256))
		}
		return append(list, putDeleteFloor(b, slice))
	}
	return w
}

// drain works off as many jobs as the budget of time takes.
func (b *bench) drain(ctx context.Context, s System, dir string, workers int) (metrics, error) {
	return b.grow(drainName(workers), s, func(n int) (metrics, time.Duration, error) {
		sub, err := subdir(dir)
		if err != nil {
			return nil, 0, err
		}
		return drainOnce(ctx, s, sub, workers, n)
	})
}

// drainOnce measures from the start of the workers to the last of n jobs.
func drainOnce(ctx context.Context, s System, dir string, workers, n int) (out metrics, took time.Duration, err error) {
	t := newTally()
	err = with(ctx, s, dir, Options{Workers: workers, Handle: t.handle}, func(inst Instance) error {
		if err := fill(ctx, inst, n); err != nil {
			return err
		}
		t.expect(n)
		m := startMeter(inst)
		start := time.Now()
		w := startWork(ctx, inst.Work)
		end, err := w.wait(ctx, t)
		if stopping := w.stop(); err == nil {
			err = stopping
		}
		took = end.Sub(start)
		out = m.stop(n, took)
		return err
	})
	return out, took, err
}
