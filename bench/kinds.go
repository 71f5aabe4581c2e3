package main

import (
	"context"
	"time"

	"github.com/stintq/stint"
)

// manyKinds: does it cost to have 1,000 kinds? A lane for each, all of them
// waiting at once.
var manyKinds = workload{
	name: "kinds", title: "Jobs of 1,000 kinds: enqueue in slices of 1000, drain with 100 workers",
	columns: []column{
		{mRate, "drained/s", perSecond}, {mJobs, "jobs", plain}, {"enqueued_per_s", "enqueued/s", perSecond}, {mAllocs, "allocs/job", plain},
		{mWritten, "written/job", bytesOf}, {mFsyncs, "fsyncs/job", plain},
	},
	subjects: stintOnly(measureKinds), cost: 3 * time.Second,
}

func measureKinds(ctx context.Context, b *bench, dir string) (out metrics, err error) {
	t := newTally()
	err = withStint(dir, flowWorkers, func(q *stint.Queue) error {
		kinds := handleKinds(q, t)
		start := time.Now()
		n, err := q.EnqueueSeq(ctx, func(yield func(stint.Args) bool) {
			for i := range b.size.load {
				if !yield(kinds[i%len(kinds)]) {
					return
				}
			}
		})
		if err != nil {
			return err
		}
		enqueued := time.Since(start)
		out, err = drainStint(ctx, q, t, n)
		if err == nil {
			out["enqueued_per_s"] = float64(n) / enqueued.Seconds()
		}
		return err
	})
	return out, err
}

// drainStint works off n jobs of a queue and measures that.
func drainStint(ctx context.Context, q *stint.Queue, t *tally, n int) (metrics, error) {
	t.expect(n)
	m := startMeter(stintInstance{q})
	start := time.Now()
	w := startWork(ctx, q.Run)
	end, err := w.wait(ctx, t)
	if stopping := w.stop(); err == nil {
		err = stopping
	}
	if err != nil {
		return nil, err
	}
	return m.stop(n, end.Sub(start)), nil
}

// A kind is a method of a type, so 1,000 kinds are 1,000 types: an Event
// with three digits as type parameters.
type kindOf[A, B, C digit] struct{ Event }

func (kindOf[A, B, C]) Kind() string {
	var a A
	var b B
	var c C
	return "event-" + string([]byte{'0' + a.digit(), '0' + b.digit(), '0' + c.digit()})
}

type digit interface{ digit() byte }

type (
	d0 struct{}
	d1 struct{}
	d2 struct{}
	d3 struct{}
	d4 struct{}
	d5 struct{}
	d6 struct{}
	d7 struct{}
	d8 struct{}
	d9 struct{}
)

func (d0) digit() byte { return 0 }
func (d1) digit() byte { return 1 }
func (d2) digit() byte { return 2 }
func (d3) digit() byte { return 3 }
func (d4) digit() byte { return 4 }
func (d5) digit() byte { return 5 }
func (d6) digit() byte { return 6 }
func (d7) digit() byte { return 7 }
func (d8) digit() byte { return 8 }
func (d9) digit() byte { return 9 }

// handleKinds registers the 1,000 handlers and returns args of each kind.
func handleKinds(q *stint.Queue, t *tally) []stint.Args {
	k := &kindSet{q: q, t: t}
	hundreds[d0](k)
	hundreds[d1](k)
	hundreds[d2](k)
	hundreds[d3](k)
	hundreds[d4](k)
	hundreds[d5](k)
	hundreds[d6](k)
	hundreds[d7](k)
	hundreds[d8](k)
	hundreds[d9](k)
	return k.args
}

type kindSet struct {
	q    *stint.Queue
	t    *tally
	args []stint.Args
}

func hundreds[A digit](k *kindSet) {
	tens[A, d0](k)
	tens[A, d1](k)
	tens[A, d2](k)
	tens[A, d3](k)
	tens[A, d4](k)
	tens[A, d5](k)
	tens[A, d6](k)
	tens[A, d7](k)
	tens[A, d8](k)
	tens[A, d9](k)
}

func tens[A, B digit](k *kindSet) {
	one[A, B, d0](k)
	one[A, B, d1](k)
	one[A, B, d2](k)
	one[A, B, d3](k)
	one[A, B, d4](k)
	one[A, B, d5](k)
	one[A, B, d6](k)
	one[A, B, d7](k)
	one[A, B, d8](k)
	one[A, B, d9](k)
}

func one[A, B, C digit](k *kindSet) {
	stint.Handle(k.q, func(context.Context, *stint.Job[kindOf[A, B, C]]) error { k.t.add(); return nil }, nil)
	k.args = append(k.args, kindOf[A, B, C]{oneEvent})
}
