// Command idle shows what a queue costs a device that has nothing to do: it
// works off 1,000 jobs, waits, and prints what the process has used meanwhile.
//
//	cd bench && go run ./idle -for 1m
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/stintq/stint"
)

type reading struct{ Sensor, Value int }

func (reading) Kind() string { return "reading" }

func main() {
	wait := flag.Duration("for", time.Minute, "how long to be idle")
	flag.Parse()
	if err := run(*wait); err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

func run(wait time.Duration) error {
	dir, err := os.MkdirTemp("", "stint-idle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	q, err := stint.Open(filepath.Join(dir, "queue.db"), nil)
	if err != nil {
		return err
	}
	defer q.Close()
	stint.Handle(q, func(context.Context, *stint.Job[reading]) error { return nil }, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	for i := range 1000 {
		if _, err := q.Enqueue(ctx, reading{i, i}); err != nil {
			return err
		}
	}
	_, err = q.Enqueue(ctx, reading{}, stint.In(24*time.Hour)) // something to wait for
	if err != nil {
		return err
	}
	for q.Counts().Ready+q.Counts().Running > 0 {
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	runtime.GC() // what the first has finalized

	fired, switches := q.Stats().Wakeups, contextSwitches()
	time.Sleep(wait)
	after := contextSwitches()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	fmt.Printf("idle for %v with a job due in 24 hours\n", wait)
	fmt.Printf("  heap in use          %.1f MiB\n", float64(mem.HeapInuse)/(1<<20))
	fmt.Printf("  goroutines           %d, this program's own two among them\n", runtime.NumGoroutine())
	fmt.Printf("  timer wake-ups       %d\n", q.Stats().Wakeups-fired)
	fmt.Printf("  times on a processor %s (of all threads, Go's own watch of its scheduler among them)\n", less(after, switches))
	cancel()
	return <-ended
}

// contextSwitches is how often the threads of the process gave up a processor
// by themselves, which is how often they had one; -1 where the system does not
// tell.
func contextSwitches() (sum int) {
	found := false
	_ = filepath.WalkDir("/proc/self/task", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "status" {
			return nil
		}
		status, _ := os.ReadFile(path)
		for line := range strings.Lines(string(status)) {
			n := 0
			if k, _ := fmt.Sscanf(line, "voluntary_ctxt_switches: %d", &n); k == 1 {
				sum, found = sum+n, true
			}
		}
		return nil
	})
	if !found {
		return -1
	}
	return sum
}

func less(after, before int) string {
	if after < 0 || before < 0 {
		return "unknown"
	}
	return fmt.Sprint(after - before)
}
