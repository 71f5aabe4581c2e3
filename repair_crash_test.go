package stint_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// A repair that is killed, and a check of a large file.

func init() {
	childModes["repair"] = func(args childArgs) {
		say("ready")
		_, err := stint.RepairFile(args.File)
		must(err)
		say("repaired")
	}
}

var repairKills = flag.Int("repair.kills", 5, "how often a repair is killed")

// A repair that is killed anywhere is begun anew.
func TestRepairIsKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	q.DB().NoSync = true
	const jobs = 40_000
	n, err := q.EnqueueSeq(t.Context(), func(yield func(stint.Args) bool) {
		for n := range jobs {
			if !yield(note{N: n}) {
				return
			}
		}
	}, stint.In(time.Hour))
	require.NoError(t, err)
	require.Equal(t, jobs, n)
	require.NoError(t, q.Close())
	change(t, path, func(db *bolt.DB) error { return stint.Raw(db, func(r *stint.RawFile) { r.EmptyIndexes() }) })
	damaged, err := os.ReadFile(path)
	require.NoError(t, err)

	random := seeded(t)
	for range *repairKills {
		c := startChild(t, childArgs{Mode: "repair", File: path})
		c.await("ready", 1)
		if c.endsWithin(time.Duration(random.IntN(400)) * time.Millisecond) {
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
		}
		c.kill()
	}
	_, err = stint.RepairFile(path)
	require.NoError(t, err)
	check(t, path)
	q = openAt(t, path, nil)
	require.Equal(t, stint.Counts{Scheduled: jobs}, q.Counts())
	copies, err := filepath.Glob(path + ".before-repair*")
	require.NoError(t, err)
	require.NotEmpty(t, copies)
}

// Check of a large file: go test -run '^$' -bench CheckFile -benchtime 1x
func BenchmarkCheckFile(b *testing.B) {
	path := filepath.Join(b.TempDir(), "queue.db")
	q, err := tryOpen(path, &stint.Config{Logger: quiet, MaxJobs: 2_000_000})
	require.NoError(b, err)
	q.DB().NoSync = true
	const jobs = 1_000_000
	_, err = q.EnqueueSeq(context.Background(), func(yield func(stint.Args) bool) {
		for n := range jobs {
			if !yield(note{N: n}) {
				return
			}
		}
	})
	require.NoError(b, err)
	require.NoError(b, q.Close())
	runtime.GC()
	b.ReportAllocs()
	var most uint64
	for b.Loop() {
		stop := watchHeap(&most)
		faults, err := stint.CheckFile(path)
		stop()
		require.NoError(b, err)
		require.Empty(b, faults)
	}
	b.ReportMetric(float64(most)/(1<<20), "heap-MiB")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/check")
}

// watchHeap keeps the most that the heap has had.
func watchHeap(most *uint64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			*most = max(*most, m.HeapInuse)
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() { close(done); <-ended }
}
