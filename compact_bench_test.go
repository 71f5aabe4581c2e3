package stint_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var compactMiB = flag.Int("compact.mib", 200, "size of the file in BenchmarkCompact and BenchmarkBackup")

// sized is a queue whose file has so many MiB, free of which is free.
func sized(b *testing.B, cfg *stint.Config, free float64) *stint.Queue {
	q := benchQueue(b, cfg)
	q.DB().NoSync = true
	live := int(float64(*compactMiB) * (1 - free) * 64)
	for first := 0; first < live; first += 512 { // values of 1 KiB, 16 to a step
		require.NoError(b, q.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists(shop)
			for i := first * 15; i < (first+min(512, live-first))*15 && err == nil; i++ {
				err = bucket.Put(fmt.Appendf(nil, "%08d", i), make([]byte, 1<<10))
			}
			return err
		}))
	}
	bloat(b, q, int(float64(*compactMiB)*free))
	q.DB().NoSync = false
	require.NoError(b, q.DB().Sync())
	return q
}

// BenchmarkCompact: what does a compaction do to those who use the queue
// meanwhile? The file has 90 % free space; 8 producers enqueue and 8 workers
// work with real syncs. The stall is the longest Enqueue, before and during
// the compaction.
//
//	go test -run '^$' -bench Compact -benchtime 1x
func BenchmarkCompact(b *testing.B) {
	for b.Loop() {
		q := sized(b, &stint.Config{Workers: 8}, 0.9)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
		run(b, q)
		var longest, calls atomic.Int64
		ctx, cancel := context.WithCancel(b.Context())
		var producers sync.WaitGroup
		for p := range 8 {
			producers.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					began := time.Now()
					if _, err := q.Enqueue(context.Background(), note{N: p<<20 + n}); err != nil {
						b.Errorf("Enqueue: %v", err)
						return
					}
					calls.Add(1)
					for took := int64(time.Since(began)); ; {
						if seen := longest.Load(); took <= seen || longest.CompareAndSwap(seen, took) {
							break
						}
					}
				}
			})
		}
		time.Sleep(2 * time.Second)
		before, usual, rate := q.Stats(), longest.Swap(0), calls.Swap(0)/2
		took := timed(func() { require.NoError(b, q.Compact(b.Context(), nil)) })
		stall, meanwhile := longest.Load(), calls.Load()
		after := q.Stats()
		cancel()
		producers.Wait()
		b.Logf("file: %d MiB before, %d MiB free; %d MiB after", before.FileSize>>20, before.FileFree>>20, after.FileSize>>20)
		b.Logf("took %v; longest Enqueue %v during it, %v in the 2 s before; %d enqueued meanwhile, %d a second before; no error",
			took.Round(time.Millisecond), time.Duration(stall).Round(100*time.Microsecond), time.Duration(usual).Round(100*time.Microsecond), meanwhile, rate)
	}
}

// BenchmarkBackup compares the two ways to copy a file of which half is free:
// all pages, as Backup does, and the live content, as Compact does.
//
//	go test -run '^$' -bench Backup -benchtime 1x
func BenchmarkBackup(b *testing.B) {
	for b.Loop() {
		q := sized(b, nil, 0.5)
		size := q.Stats().FileSize
		f, err := os.CreateTemp(b.TempDir(), "")
		require.NoError(b, err)
		defer f.Close()
		file := timed(func() { _, err = q.Backup(b.Context(), f) })
		require.NoError(b, err)
		stream := timed(func() { _, err = q.Backup(b.Context(), struct{ io.Writer }{&bytes.Buffer{}}) })
		require.NoError(b, err)
		live := timed(func() { require.NoError(b, q.Compact(b.Context(), nil)) })
		b.Logf("%d MiB: all pages to a file %v, to memory %v; the live %d MiB %v", size>>20,
			file.Round(time.Millisecond), stream.Round(time.Millisecond), q.Stats().FileSize>>20, live.Round(time.Millisecond))
	}
}
