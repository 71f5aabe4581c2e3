package stint_test

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// What a long queue costs: the jobs are on disk, memory has a window of them.

var waitingJobs = flag.Int("crash.waiting", 50_000, "jobs of the memory test")

func init() { childModes["backlog"] = childBacklog }

// childBacklog opens a long queue, and then, as Log says, sits at its front
// with every worker busy, or works it off.
func childBacklog(args childArgs) {
	start := time.Now()
	q := childOpen(args, &stint.Config{Workers: 100, ShutdownTimeout: 50 * time.Millisecond})
	say("opened %v", time.Since(start).Round(10*time.Microsecond))
	var began atomic.Int64
	stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
		began.Add(1)
		if args.Log == "sit" {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}, nil)
	if args.Log == "drain" {
		start = time.Now()
		workUntilEmpty(childContext(), q)
		say("drained %v", time.Since(start).Round(time.Millisecond))
		say("resident %d", residentSet())
		return
	}
	ctx := childContext()
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	for began.Load() < 100 {
		time.Sleep(time.Millisecond)
	}
	say("heap %d", heapInUse())
	say("ready")
	must(<-ran)
	must(q.Close())
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// residentSet is the most memory the process ever had, in KiB, where the
// system tells.
func residentSet() (kb int) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "RssAnon: %d kB", &kb)
	}
	return kb
}

func TestMemoryOfALongQueue(t *testing.T) {
	jobs := *waitingJobs
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	start := time.Now()
	var many iter.Seq[stint.Args] = func(yield func(stint.Args) bool) {
		for i := range jobs {
			if !yield(note{N: i}) {
				return
			}
		}
	}
	stored, err := q.EnqueueSeq(t.Context(), many)
	require.NoError(t, err)
	require.Equal(t, jobs, stored)
	t.Logf("%d jobs stored in %v", jobs, time.Since(start).Round(time.Millisecond))
	require.NoError(t, q.Close())

	previous := "a clean stop"
	for _, end := range []string{"a clean stop", "a kill"} {
		c := startChild(t, childArgs{Mode: "backlog", File: path, Log: "sit"})
		c.await("ready", 1)
		var heap int
		_, err := fmt.Sscan(c.await("heap", 1), &heap)
		require.NoError(t, err)
		t.Logf("opened after %s in %s, heap in use %.1f MiB", previous, c.await("opened", 1), float64(heap)/(1<<20))
		require.Less(t, heap, 64<<20)
		if end == "a kill" {
			c.kill()
		} else {
			c.stop()
		}
		previous = end
	}
	c := startChild(t, childArgs{Mode: "backlog", File: path, Log: "drain"})
	c.succeeds()
	t.Logf("opened after %s in %s, drained in %s, resident %s KiB", previous, c.await("opened", 1), c.await("drained", 1), c.await("resident", 1))
	require.Zero(t, openAt(t, path, nil).Counts())
}
