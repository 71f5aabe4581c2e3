package stint_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// A timer that came again and again would keep the ten years from passing at
// once.
func TestIdleQueueDoesNothing(t *testing.T) {
	for _, had := range []string{"nothing yet", "some jobs", "a timeout", "a parked job"} {
		scenario(t, "for ten years, after "+had, func(t *testing.T) {
			before := runtime.NumGoroutine()
			q := open(t, nil)
			var done atomic.Int32
			stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
				if had == "a timeout" {
					<-ctx.Done()
					time.Sleep(time.Minute)
				}
				done.Add(1)
				return nil
			}, nil)
			run(t, q)
			switch had {
			case "a parked job":
				enqueue(t, q, other{})
			case "nothing yet":
			default:
				stock(t, q, 100)
				time.Sleep(time.Hour)
				require.EqualValues(t, 100, done.Load())
			}
			synctest.Wait()
			require.LessOrEqual(t, runtime.NumGoroutine()-before, 6)

			commits, wakeups := lastTx(q.DB()), q.Stats().Wakeups
			time.Sleep(10 * 365 * 24 * time.Hour)
			synctest.Wait()
			require.Equal(t, commits, lastTx(q.DB()))
			require.Equal(t, wakeups, q.Stats().Wakeups)
		})
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return 0 // not on this system
		}
		return len(entries)
	}
	path := filepath.Join(t.TempDir(), "queue.db")
	once := func() {
		q, err := tryOpen(path, &stint.Config{Logger: quiet, Workers: 4})
		require.NoError(t, err)
		worked := make(chan struct{}, 20)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			worked <- struct{}{}
			if job.Args.N%2 == 0 {
				runtime.Goexit()
			}
			return stint.Kill(errOops)
		}, hour)
		sub := q.Subscribe(0)
		w := begin(q)
		for i := range 4 {
			enqueue(t, q, note{i})
		}
		for range 4 {
			<-worked
		}
		if q.Counts().Dead%2 == 0 { // once by Close, once by its context
			w.end()
		}
		require.NoError(t, q.Close())
		require.NoError(t, <-w.result)
		w.end()
		for range sub.C { // is closed
		}
	}
	once()
	goroutines, files := runtime.NumGoroutine(), descriptors()
	for range 200 {
		once()
	}
	// A goroutine that has done its work may still be on its way out.
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
	require.LessOrEqual(t, descriptors(), files)
	check(t, path)
}
