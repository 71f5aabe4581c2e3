package stint_test

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

var planItems = flag.Int("plan.items", 100_000, "items of BenchmarkPlan")

// events yields n events that are all different, in ascending order.
func events(n int) iter.Seq[event] {
	return func(yield func(event) bool) {
		for i := range n {
			e := oneEvent
			e.ID = fmt.Sprintf("ZHVtbXktZXZlbnQt%018d", i)
			if !yield(e) {
				return
			}
		}
	}
}

// BenchmarkPlan: what does a planner cost beside EnqueueSeq? Both store the
// same items, in turn. of-seq is the planner's speed as a share of
// EnqueueSeq's, heap-MiB the most that was in use while it planned.
//
//	go test -run '^$' -bench Plan -benchtime 1x -plan.items 1000000
func BenchmarkPlan(b *testing.B) {
	n := *planItems
	var seq, plan time.Duration
	heap := uint64(0)
	m := &meter{b: b}
	for b.Loop() {
		q := benchQueue(b, nil)
		start := time.Now()
		stored, err := q.EnqueueSeq(context.Background(), func(yield func(stint.Args) bool) {
			for e := range events(n) {
				if !yield(e) {
					return
				}
			}
		})
		seq += time.Since(start)
		require.NoError(b, err)
		require.Equal(b, n, stored)

		q = benchQueue(b, nil)
		require.NoError(b, q.Pause(context.Background(), "items", "the benchmark"))
		err = stint.PeriodicBatch(q, "bench", never, func(context.Context, *stint.Planning[event]) iter.Seq2[event, error] {
			return func(yield func(event, error) bool) {
				i := 0
				for e := range events(n) {
					if i++; i%(n/10) == 0 {
						runtime.GC()
						var mem runtime.MemStats
						runtime.ReadMemStats(&mem)
						heap = max(heap, mem.HeapInuse)
					}
					if !yield(e, nil) {
						return
					}
				}
			}
		}, func(context.Context, *stint.Job[event]) error { return nil }, &stint.BatchPolicy{Items: &stint.Policy{Queue: "items"}})
		require.NoError(b, err)
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- q.Run(ctx) }()
		begin := time.Now()
		m.measure(q, n, func() {
			id, err := q.RunSchedule(context.Background(), "bench")
			require.NoError(b, err)
			for info := (stint.BatchInfo{Planning: true}); info.Planning; {
				time.Sleep(time.Millisecond)
				info = batch(b, q, id)
			}
		})
		plan += time.Since(begin)
		cancel()
		require.NoError(b, <-ran)
	}
	m.report()
	b.ReportMetric(seq.Seconds()/plan.Seconds(), "of-seq")
	b.ReportMetric(float64(heap)/(1<<20), "heap-MiB")
}
