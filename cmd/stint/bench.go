package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// bench measures what this disk makes of jobs, on a file of its own.
//
//  1. The disk's own speed: one page that is overwritten and synced, over and
//     over. Whatever is durable can do no better, but for sharing syncs.
//  2. Some goroutines store jobs that do nothing, each waiting for every one to
//     be on disk, while the workers work them.
//  3. It ends when all jobs are done.
type bench struct {
	dir                      string
	jobs, producers, workers int
	size                     int
}

// benchResult is what came of it.
type benchResult struct {
	Jobs        int     `json:"jobs"`
	Producers   int     `json:"producers"`
	Workers     int     `json:"workers"`
	ArgsBytes   int     `json:"args_bytes"`
	Seconds     float64 `json:"seconds"`
	JobsPerS    float64 `json:"jobs_per_second"` // stored and worked
	EnqueueS    float64 `json:"enqueued_per_second"`
	EnqueueP50  float64 `json:"enqueue_p50_seconds"`
	EnqueueP99  float64 `json:"enqueue_p99_seconds"`
	StartP50    float64 `json:"start_p50_seconds"` // from the call of Enqueue to the handler
	StartP99    float64 `json:"start_p99_seconds"`
	SyncsPerJob float64 `json:"syncs_per_job"`
	DiskSyncs   float64 `json:"disk_syncs_per_second"`
	DiskP50     float64 `json:"disk_sync_p50_seconds"`
	DiskP99     float64 `json:"disk_sync_p99_seconds"`
}

const (
	diskTime      = time.Second
	benchQuiet    = 20 * time.Millisecond // between two looks at how far it is
	syncsOfCommit = 2                     // bbolt syncs the pages, then the page that makes them valid
	pageBytes     = 4096
	pageCount     = 256
)

func (a *app) benchCommand() *cobra.Command {
	b := &bench{}
	cmd := &cobra.Command{
		Use: "bench [DIR]", Short: "Measure how many jobs this disk takes", Args: cobra.MaximumNArgs(1),
		Long: `Measure how many jobs are stored and worked per second on a temporary file in DIR
(this directory by default), how long that takes, and how many syncs a job costs,
beside the number of syncs that the disk does by itself. The file is deleted.`,
		Example: "  stint bench /var/lib/app\n  stint bench --jobs 100000 --producers 64 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			b.dir = "."
			if len(args) == 1 {
				b.dir = args[0]
			}
			return a.bench(cmd.Context(), b)
		},
	}
	f := cmd.Flags()
	f.IntVar(&b.jobs, "jobs", 10_000, "how many jobs")
	f.IntVar(&b.producers, "producers", 32, "how many goroutines store them")
	f.IntVar(&b.workers, "workers", 10, "how many jobs run at once")
	f.IntVar(&b.size, "size", 100, "the `bytes` of a job's args")
	return cmd
}

func (a *app) bench(ctx context.Context, b *bench) (err error) {
	if min(b.jobs, b.producers, b.workers) < 1 || b.size < 0 || b.size > 1<<20 {
		return usage("--jobs, --producers and --workers must be 1 or more, and --size from 0 to 1 MiB")
	}
	dir, err := os.MkdirTemp(b.dir, ".stint-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &benchResult{Jobs: b.jobs, Producers: b.producers, Workers: b.workers, ArgsBytes: b.size}
	if err := r.disk(ctx, dir); err != nil {
		return err
	}
	if err := b.run(ctx, a, filepath.Join(dir, "bench.db"), r); err != nil {
		return err
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return show(a, raw, func(r benchResult) []fact {
		return []fact{
			{"jobs", fmt.Sprintf("%s with %s of args, %d producers, %d workers", number(r.Jobs), size(int64(r.ArgsBytes)), r.Producers, r.Workers)},
			{"stored and worked", number(int(r.JobsPerS)) + " jobs/s"},
			{"stored", number(int(r.EnqueueS)) + " jobs/s"},
			{"enqueue", fmt.Sprintf("%s median, %s p99", seconds(r.EnqueueP50), seconds(r.EnqueueP99))},
			{"until it starts", fmt.Sprintf("%s median, %s p99", seconds(r.StartP50), seconds(r.StartP99))},
			{"syncs per job", fmt.Sprintf("%.3g", r.SyncsPerJob)},
			{"this disk", fmt.Sprintf("%s syncs/s, %s median, %s p99", number(int(r.DiskSyncs)), seconds(r.DiskP50), seconds(r.DiskP99))},
		}
	}, func(r benchResult) string { return fmt.Sprintf("%.0f", r.JobsPerS) })
}

// disk measures syncs of one page.
func (r *benchResult) disk(ctx context.Context, dir string) error {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(make([]byte, pageBytes*pageCount)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	var took []time.Duration
	page := make([]byte, pageBytes)
	begin := time.Now()
	for time.Since(begin) < diskTime && ctx.Err() == nil {
		start := time.Now()
		if _, err := f.WriteAt(page, int64(len(took)%pageCount)*pageBytes); err != nil {
			return err
		}
		if err := datasync(f); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	r.DiskSyncs = float64(len(took)) / time.Since(begin).Seconds()
	r.DiskP50, r.DiskP99 = quantile(took, 0.5), quantile(took, 0.99)
	return ctx.Err()
}

// benchArgs are of a job that does nothing.
type benchArgs struct {
	At   time.Time `json:"at"`
	Data string    `json:"data"`
}

func (benchArgs) Kind() string { return "bench" }

func (b *bench) run(ctx context.Context, a *app, path string, r *benchResult) (err error) {
	q, err := stint.Open(path, &stint.Config{Workers: b.workers, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	var begun, done atomic.Int64
	finished := make(chan struct{})
	waits := make([]time.Duration, b.jobs)
	stint.Handle(q, func(_ context.Context, job *stint.Job[benchArgs]) error {
		waits[begun.Add(1)-1] = time.Since(job.Args.At)
		if done.Add(1) == int64(b.jobs) { // all of waits is written
			close(finished)
		}
		return nil
	}, nil)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var working sync.WaitGroup
	working.Go(func() {
		if err := q.Run(ctx); err != nil && ctx.Err() == nil {
			stop(err)
		}
	})
	defer working.Wait()
	defer stop(nil)
	start := time.Now()
	enqueues, err := b.produce(ctx, q)
	if err != nil {
		return err
	}
	r.EnqueueS = float64(b.jobs) / time.Since(start).Seconds()
	bar := a.startProgress("bench", false)
	defer bar.end()
	for waiting := true; waiting; {
		bar.show(wire.Progress{Done: int(done.Load()), Total: b.jobs})
		select {
		case <-finished:
			waiting = false
		case <-time.After(benchQuiet):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	r.Seconds = time.Since(start).Seconds()
	r.JobsPerS = float64(b.jobs) / r.Seconds
	r.EnqueueP50, r.EnqueueP99 = quantile(enqueues, 0.5), quantile(enqueues, 0.99)
	r.StartP50, r.StartP99 = quantile(waits, 0.5), quantile(waits, 0.99)
	r.SyncsPerJob = float64(q.Metrics().CommitTime.Count()*syncsOfCommit) / float64(b.jobs)
	return nil
}

// produce stores all jobs and answers how long each call took.
func (b *bench) produce(ctx context.Context, q *stint.Queue) ([]time.Duration, error) {
	var next atomic.Int64
	took := make([]time.Duration, b.jobs)
	failed := make([]error, b.producers)
	data := strings.Repeat("x", b.size)
	var group sync.WaitGroup
	for p := range b.producers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.jobs); i = next.Add(1) - 1 {
				start := time.Now()
				if _, failed[p] = q.Enqueue(ctx, benchArgs{At: start, Data: data}); failed[p] != nil {
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	group.Wait()
	return took, cmp.Or(failed...)
}

// quantile is in seconds.
func quantile(list []time.Duration, p float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return list[min(len(list)-1, int(p*float64(len(list))))].Seconds()
}
