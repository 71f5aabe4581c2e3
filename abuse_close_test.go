package stint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Extremes in each field of Config: refused as ErrConfig, or it works.
func TestAbuseOfConfig(t *testing.T) {
	t.Parallel()
	kind := reflect.TypeFor[stint.Config]()
	for i := range kind.NumField() {
		field := kind.Field(i)
		if k := field.Type.Kind(); k != reflect.Int && k != reflect.Int64 && k != reflect.Float64 {
			continue
		}
		for _, n := range []int64{math.MinInt64, -1, 0, 1, 100_000, math.MaxInt64} {
			scenario(t, fmt.Sprintf("%s of %d", field.Name, n), func(t *testing.T) {
				cfg := &stint.Config{Logger: quiet}
				if value := reflect.ValueOf(cfg).Elem().Field(i); value.CanInt() {
					value.SetInt(n)
				} else {
					value.SetFloat(float64(n))
				}
				if field.Name == "Workers" && n > 100_000 {
					t.Skip("as many goroutines as it says")
				}
				q, err := tryOpen(filepath.Join(t.TempDir(), "queue.db"), cfg)
				if err != nil {
					require.ErrorIs(t, err, stint.ErrConfig)
					return
				}
				q.DB().NoSync = true
				stint.Handle(q, func(context.Context, *stint.Job[probe]) error { return nil }, nil)
				stop := run(t, q)
				_, err = q.Enqueue(t.Context(), probe{})
				limited := errors.Is(err, stint.ErrArgsTooLarge) || errors.Is(err, stint.ErrFileFull) || errors.Is(err, stint.ErrQueueFull)
				require.True(t, err == nil || limited, "%v", err)
				time.Sleep(time.Hour)
				synctest.Wait()
				require.NoError(t, q.Close())
				require.NoError(t, stop())
			})
		}
	}
}

// Close amid everything that can be under way: what was stored is stored,
// every call returns, and nothing is left behind.
func TestAbuseByClose(t *testing.T) {
	t.Parallel()
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		path := filepath.Join(t.TempDir(), "queue.db")
		q, err := tryOpen(path, &stint.Config{Logger: quiet, Workers: 4, ShutdownTimeout: 50 * time.Millisecond})
		require.NoError(t, err)
		q.DB().NoSync = true
		var stored, ran atomic.Int64
		stint.Handle(q, func(ctx context.Context, job *stint.Job[probe]) error {
			ran.Add(1)
			_, _ = q.Enqueue(ctx, other{})
			return job.Commit(func(*bolt.Tx) error { return nil })
		}, nil)
		require.NoError(t, stint.PeriodicBatch(q, "plan", "@every 1s", planNotes(3000), func(context.Context, *stint.Job[note]) error { return nil }, nil, stint.Overlap(stint.Allow)))
		var all sync.WaitGroup
		ctx := context.Background()
		loop := func(do func() error) {
			all.Go(func() {
				for do() == nil {
					runtime.Gosched()
				}
			})
		}
		all.Go(func() { _ = q.Run(ctx) })
		for range 4 {
			loop(func() error {
				id, err := q.Enqueue(ctx, other{}, stint.In(time.Hour))
				if err == nil {
					stored.Add(1)
					_, err = q.Get(id)
				}
				return err
			})
		}
		loop(func() error { _, err := q.EnqueueSeq(ctx, between(0, 1500)); return err })
		loop(func() error { _, err := q.EnqueueBatch(ctx, between(0, 1500), nil); return err })
		loop(func() error {
			for _, err := range q.Jobs(stint.Filter{}) {
				if err != nil {
					return err
				}
			}
			_, err := q.Schedules()
			return err
		})
		loop(func() error { _, err := q.RunSchedule(ctx, "plan"); time.Sleep(time.Millisecond); return err })
		loop(func() error {
			id, err := q.Enqueue(ctx, probe{})
			if err != nil {
				return err
			}
			_, err = q.Wait(ctx, id)
			if errors.Is(err, stint.ErrNotFound) {
				return nil
			}
			return err
		})
		loop(func() error {
			return q.DB().Update(func(tx *bolt.Tx) error { _, err := q.EnqueueTx(tx, other{}); return err })
		})
		sub := q.Subscribe(10)
		all.Go(func() {
			for range sub.C {
			}
		})
		time.Sleep(time.Duration(round) * 2 * time.Millisecond)
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- q.Close() }()
		}
		require.NoError(t, receive(t, closed))
		require.NoError(t, receive(t, closed))
		all.Wait()
		check(t, path)
		require.NoError(t, reopened(t, path, int(stored.Load())))
	}
}

// reopened counts what others has of delayed jobs after a restart.
func reopened(t *testing.T, path string, want int) error {
	t.Helper()
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	if err != nil {
		return err
	}
	if got := q.Counts().Scheduled; got < want {
		return fmt.Errorf("%d of %d jobs that were acknowledged are stored", got, want)
	}
	return q.Close()
}

// The log of a job may be used by a goroutine that outlives its attempt, and
// by a handler that writes more than there is room for.
func TestAbuseOfTheLog(t *testing.T) {
	t.Parallel()
	scenario(t, "gigantic lines are cut, and do not stop the job", func(t *testing.T) {
		q := abused(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			for range 3 {
				job.Logger().Info(string(bytes.Repeat([]byte{0xff}, 1<<20)), "value", strings.Repeat("\x00", 1<<18))
			}
			return errOops
		}, nil)
		run(t, q)
		id := enqueue(t, q, note{})
		stillWorks(t, q)
		require.LessOrEqual(t, len(get(t, q, id).Attempts[0].Log), 16<<10)
	})
}
