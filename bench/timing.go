package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stintq/stint"
)

// burst: many jobs in a moment, as webhooks come, while workers are busy.
var burst = workload{
	name: "burst", title: "A burst of 100,000 jobs/s, 50 workers with handlers of 10 ms",
	columns: []column{
		{mP99, "Enqueue p99", seconds}, {mP50, "Enqueue p50", seconds}, {mJobs, "jobs", plain},
		{"accepted_s", "all accepted", seconds}, {"done_s", "all done", seconds},
	},
	subjects: stintOnly(measureBurst), cost: 25 * time.Second,
}

func measureBurst(ctx context.Context, b *bench, dir string) (out metrics, err error) {
	const perSecond, workers, takes = 100_000, 50, 10 * time.Millisecond
	n := b.size.load
	t := newTally()
	err = withStint(dir, workers, func(q *stint.Queue) error {
		stint.Handle(q, func(context.Context, *stint.Job[Event]) error {
			time.Sleep(takes)
			t.add()
			return nil
		}, nil)
		w := startWork(ctx, q.Run)
		t.expect(n)
		took := make([]time.Duration, n)
		start := time.Now()
		err := arrive(ctx, n, perSecond, func(i int) error {
			called := time.Now()
			_, err := q.Enqueue(ctx, oneEvent)
			took[i] = time.Since(called)
			return err
		})
		accepted := time.Since(start)
		var end time.Time
		if err == nil {
			end, err = w.wait(ctx, t)
		}
		if stopping := w.stop(); err == nil {
			err = stopping
		}
		out = latencies(took)
		out["accepted_s"], out["done_s"] = accepted.Seconds(), end.Sub(start).Seconds()
		return err
	})
	return out, err
}

// withStint opens a queue in dir for fn and closes it afterwards.
func withStint(dir string, workers int, fn func(*stint.Queue) error) error {
	q, err := openStint(dir, workers)
	if err != nil {
		return err
	}
	err = fn(q)
	if closing := q.Close(); err == nil {
		err = closing
	}
	return err
}

// dueAtOnce: a newsletter of which every mail was scheduled for nine o'clock.
var dueAtOnce = workload{
	name: "due", title: "Many jobs due at the same instant, 100 workers",
	columns: []column{
		{mRate, "jobs/s", perSecond}, {mJobs, "jobs", plain}, {"first_s", "due to first start", seconds}, {"last_s", "due to last start", seconds},
	},
	subjects: stintOnly(measureDue), cost: 8 * time.Second,
}

func measureDue(ctx context.Context, b *bench, dir string) (out metrics, err error) {
	n := b.size.load
	t := newTally()
	first := make(chan time.Time, 1)
	err = withStint(dir, flowWorkers, func(q *stint.Queue) error {
		stint.Handle(q, func(context.Context, *stint.Job[Event]) error {
			if t.n.Load() == 0 {
				select {
				case first <- time.Now():
				default:
				}
			}
			t.add()
			return nil
		}, nil)
		// What is due must be stored before it is due.
		due := time.Now().Add(time.Second + time.Duration(n)*50*time.Microsecond)
		if _, err := q.EnqueueSeq(ctx, repeated(n), stint.At(due)); err != nil {
			return err
		}
		if late := time.Since(due); late > 0 {
			return fmt.Errorf("the jobs were stored %v after they were due; this disk is too slow for it", late)
		}
		t.expect(n)
		w := startWork(ctx, q.Run)
		last, err := w.wait(ctx, t)
		if stopping := w.stop(); err == nil {
			err = stopping
		}
		if err != nil {
			return err
		}
		out = metrics{
			mJobs: float64(n), mRate: float64(n) / last.Sub(due).Seconds(),
			"first_s": (<-first).Sub(due).Seconds(), "last_s": last.Sub(due).Seconds(),
		}
		return nil
	})
	return out, err
}

// repeated is the one event n times.
func repeated(n int) func(yield func(stint.Args) bool) {
	return func(yield func(stint.Args) bool) {
		for range n {
			if !yield(oneEvent) {
				return
			}
		}
	}
}

// manySchedules: how late are jobs of 1,000 schedules that fire every second?
var manySchedules = workload{
	name: "schedules", title: "1,000 schedules, each every second, 100 workers",
	columns:  []column{{mP99, "lateness p99", seconds}, {mP50, "lateness p50", seconds}, {mJobs, "runs", plain}, {"missed", "missed", plain}},
	subjects: stintOnly(measureSchedules), cost: 10 * time.Second,
}

func measureSchedules(ctx context.Context, b *bench, dir string) (out metrics, err error) {
	const schedules = 1000
	ticks := int(b.size.ticks / time.Second)
	late := make([]time.Duration, schedules*(ticks+30))
	var runs, missed atomic.Int64
	err = withStint(dir, flowWorkers, func(q *stint.Queue) error {
		stint.Handle(q, func(_ context.Context, job *stint.Job[Event]) error {
			if i := int(runs.Add(1)) - 1; i < len(late) {
				late[i] = time.Since(job.ScheduledFor)
			}
			missed.Add(int64(job.Missed))
			return nil
		}, nil)
		for i := range schedules {
			if err := q.Periodic(fmt.Sprintf("schedule-%d", i), "* * * * * *", oneEvent, stint.Overlap(stint.Allow)); err != nil {
				return err
			}
		}
		w := startWork(ctx, q.Run)
		select {
		case <-time.After(b.size.ticks):
		case <-w.ended:
		}
		return w.stop()
	})
	n := min(int(runs.Load()), len(late))
	if err == nil && n < schedules {
		err = fmt.Errorf("%d runs of %d schedules in %v", n, schedules, b.size.ticks)
	}
	out = latencies(slices.Clone(late[:n]))
	out["missed"] = float64(missed.Load())
	return out, err
}
