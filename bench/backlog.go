package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/stintq/stint"
)

// Is the queue slower, or larger in memory, when very much waits? A file with
// a backlog and an empty one take the same jobs in turn.

const (
	mOpen         = "open_s"
	mHeap         = "heap_bytes"
	mEnqueueRatio = "enqueue_of_empty"
	mDrainRatio   = "drain_of_empty"
)

var (
	backlogMillion = backlogOf("backlog", "A backlog of 1,000,000 jobs", 1_000_000, 30*time.Second)
	backlogHuge    = backlogOf("backlog-huge", "A backlog of 10,000,000 jobs", 10_000_000, 4*time.Minute)
)

func backlogOf(name, title string, n int, cost time.Duration) workload {
	return workload{
		name: name, title: title + ", beside an empty file",
		columns: []column{
			{mDrainRatio, "drain of empty", share}, {mEnqueueRatio, "enqueue of empty", share},
			{mRate, "drained/s", perSecond}, {"enqueued_per_s", "enqueued/s", perSecond}, {"filled_per_s", "filled/s", perSecond},
			{mOpen, "open", seconds}, {mHeap, "heap in use", bytesOf}, {"file_bytes", "file", bytesOf},
		},
		subjects: stintOnly(func(ctx context.Context, b *bench, dir string) (metrics, error) {
			return b.backlog(ctx, dir, n)
		}),
		cost: cost, once: true,
	}
}

func (b *bench) backlog(ctx context.Context, dir string, n int) (metrics, error) {
	out := metrics{mJobs: float64(n)}
	large, err := b.openBacklog(ctx, dir, n, out)
	if err != nil {
		return nil, err
	}
	defer large.q.Close()
	sub, err := subdir(dir)
	if err != nil {
		return nil, err
	}
	empty, err := newBacklogFile(sub)
	if err != nil {
		return nil, err
	}
	defer empty.q.Close()
	for i := range b.size.turns {
		pair := []*backlogFile{empty, large}
		if i%2 == 1 {
			pair[0], pair[1] = large, empty
		}
		for _, f := range pair {
			if err := f.turn(ctx, b.size.part); err != nil {
				return nil, err
			}
		}
	}
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	out[mHeap] = max(out[mHeap], float64(mem.HeapInuse))
	out[mEnqueueRatio] = medianRatio(large.enqueued, empty.enqueued)
	out[mDrainRatio] = medianRatio(large.drained, empty.drained)
	out["enqueued_per_s"], out[mRate] = median(large.enqueued), median(large.drained)
	return out, nil
}

// openBacklog makes a file with n jobs, closes it, and opens it again.
func (b *bench) openBacklog(ctx context.Context, dir string, n int, out metrics) (*backlogFile, error) {
	err := withStint(dir, flowWorkers, func(q *stint.Queue) error {
		start := time.Now()
		_, err := q.EnqueueSeq(ctx, repeated(n))
		out["filled_per_s"] = float64(n) / time.Since(start).Seconds()
		return err
	})
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(dir, "queue.db"))
	if err != nil {
		return nil, err
	}
	out["file_bytes"] = float64(info.Size())
	start := time.Now()
	f, err := newBacklogFile(dir)
	if err != nil {
		return nil, err
	}
	out[mOpen] = time.Since(start).Seconds()
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	out[mHeap] = float64(mem.HeapInuse)
	return f, nil
}

// backlogFile is one of the two, with its speeds by turn.
type backlogFile struct {
	q                 *stint.Queue
	t                 *tally
	enqueued, drained []float64
}

func newBacklogFile(dir string) (*backlogFile, error) {
	q, err := openStint(dir, flowWorkers)
	if err != nil {
		return nil, err
	}
	f := &backlogFile{q: q, t: newTally()}
	stint.Handle(q, func(context.Context, *stint.Job[Event]) error { f.t.add(); return nil }, nil)
	return f, nil
}

// turn adds n jobs from 64 goroutines and works off as many.
func (f *backlogFile) turn(ctx context.Context, n int) error {
	start := time.Now()
	if _, err := inParallel(producers, forCount(ctx, n), func() error {
		_, err := f.q.Enqueue(ctx, oneEvent)
		return err
	}); err != nil {
		return err
	}
	f.enqueued = append(f.enqueued, float64(n)/time.Since(start).Seconds())
	m, err := drainStint(ctx, f.q, f.t, n)
	if err != nil {
		return err
	}
	f.drained = append(f.drained, m[mRate])
	return nil
}

// medianRatio is that of a by b, turn by turn.
func medianRatio(a, b []float64) float64 {
	list := make([]float64, len(a))
	for i := range a {
		list[i] = a[i] / b[i]
	}
	return median(list)
}
