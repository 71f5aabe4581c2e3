package stint_test

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

var planItems = flag.Int("plan.items", 100_000, "items of BenchmarkPlan")

// events yields events that are all different, in ascending order.
func events(first, end int) iter.Seq[event] {
	return func(yield func(event) bool) {
		for i := first; i < end; i++ {
			e := oneEvent
			e.ID = fmt.Sprintf("ZHVtbXktZXZlbnQt%018d", i)
			if !yield(e) {
				return
			}
		}
	}
}

// BenchmarkPlan: what does a planner cost beside EnqueueSeq? Both store the
// same items, a tenth of them in turn. of-seq is the planner's speed as a
// share of EnqueueSeq's, heap-MiB the most that was in use meanwhile;
// allocs/job is of both.
//
//	go test -run '^$' -bench Plan -benchtime 1x -plan.items 1000000
func BenchmarkPlan(b *testing.B) {
	n := *planItems
	var seq time.Duration
	heap := uint64(0)
	m := &meter{b: b}
	for b.Loop() {
		beside, q := benchQueue(b, nil), benchQueue(b, nil)
		require.NoError(b, q.Pause(context.Background(), "items", "the benchmark"))
		var inTurn time.Duration
		plan := func(context.Context, *stint.Planning[event]) iter.Seq2[event, error] {
			return func(yield func(event, error) bool) {
				for first := 0; first < n; first += n / 10 {
					took := timed(func() {
						_, err := beside.EnqueueSeq(context.Background(), asArgs(events(first, first+n/10)))
						require.NoError(b, err)
					})
					inTurn += took + timed(func() { heap = max(heap, heapInUse()) })
					seq += took
					for e := range events(first, first+n/10) {
						if !yield(e, nil) {
							return
						}
					}
				}
			}
		}
		each := func(context.Context, *stint.Job[event]) error { return nil }
		require.NoError(b, stint.PeriodicBatch(q, "bench", never, plan, each, &stint.BatchPolicy{Items: &stint.Policy{Queue: "items"}}))
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- q.Run(ctx) }()
		m.measure(q, n, func() {
			id, err := q.RunSchedule(context.Background(), "bench")
			require.NoError(b, err)
			for batch(b, q, id).Planning {
				time.Sleep(time.Millisecond)
			}
			require.Equal(b, n, batch(b, q, id).Planned)
		})
		m.ours -= inTurn
		cancel()
		require.NoError(b, <-ran)
	}
	m.report()
	b.ReportMetric(seq.Seconds()/m.ours.Seconds(), "of-seq")
	b.ReportMetric(float64(heap)/(1<<20), "heap-MiB")
}

func timed(fn func()) time.Duration {
	start := time.Now()
	fn()
	return time.Since(start)
}

func asArgs(events iter.Seq[event]) iter.Seq[stint.Args] {
	return func(yield func(stint.Args) bool) {
		for e := range events {
			if !yield(e) {
				return
			}
		}
	}
}
