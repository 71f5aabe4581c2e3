package stint_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cfg  stint.Config
		text string
	}{
		{"negative Workers", stint.Config{Workers: -1}, "Workers is -1"},
		{"MaxArgsSize beyond the hard limit", stint.Config{MaxArgsSize: 16<<20 + 1}, "MaxArgsSize is 16777217"},
		{"a queue without a name", stint.Config{Queues: map[string]stint.QueueConfig{"": {}}}, "Queues"},
		{"a queue with a bad name", stint.Config{Queues: map[string]stint.QueueConfig{"a b": {}}}, `"a b"`},
		{"a queue with negative workers", stint.Config{Queues: map[string]stint.QueueConfig{"a": {Workers: -1}}}, `"a"`},
		{"a queue with a negative weight", stint.Config{Queues: map[string]stint.QueueConfig{"a": {Weight: -1}}}, `"a"`},
	} {
		t.Run(c.name+" is an error, and no file is made", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			_, err := tryOpen(path, &c.cfg)
			require.ErrorIs(t, err, stint.ErrConfig)
			require.ErrorContains(t, err, c.text)
			require.True(t, strings.HasPrefix(err.Error(), "stint: "), "%v", err)
			_, err = os.Stat(path)
			require.ErrorIs(t, err, os.ErrNotExist)

			db, err := bolt.Open(filepath.Join(t.TempDir(), "app.db"), 0o600, nil)
			require.NoError(t, err)
			defer db.Close()
			_, err = stint.New(db, &c.cfg)
			require.ErrorIs(t, err, stint.ErrConfig)
			require.NoError(t, db.View(func(tx *bolt.Tx) error {
				require.Nil(t, tx.Bucket([]byte("stint")))
				return nil
			}))
		})
	}

	t.Run("nil, the zero value and all limits off are good", func(t *testing.T) {
		for _, cfg := range []*stint.Config{nil, {}, {
			MaxJobs: -1, MaxArgsSize: -1, MaxFileSize: -1, ShutdownTimeout: -1, KeepCompleted: -1, KeepDead: -1, MaxDead: -1, LockTimeout: -1,
		}, {Workers: 1, MaxJobs: 1, MaxArgsSize: 16 << 20, ShutdownTimeout: 1, KeepCompleted: 1, KeepDead: 1, MaxDead: 1, LockTimeout: 1,
			Queues: map[string]stint.QueueConfig{"a": {}, "b": {Workers: 1, Weight: 3}}}} {
			q, err := tryOpen(filepath.Join(t.TempDir(), "queue.db"), cfg)
			require.NoError(t, err)
			enqueue(t, q, note{})
			require.NoError(t, q.Close())
		}
	})

	scenario(t, "is copied: changing it later changes nothing", func(t *testing.T) {
		cfg := &stint.Config{MaxJobs: 1}
		q := open(t, cfg)
		cfg.MaxJobs = 100
		enqueue(t, q, note{})
		_, err := q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrQueueFull)
	})
}

func TestPolicyRefuses(t *testing.T) {
	t.Parallel()
	nothing := func(context.Context, *stint.Job[note]) error { return nil }
	for name, policy := range map[string]*stint.Policy{
		"negative MaxAttempts": {MaxAttempts: -1},
		"negative Concurrency": {Concurrency: -1},
		"negative Priority":    {Priority: -1},
		"Priority 5":           {Priority: 5},
		"a bad queue":          {Queue: "a b"},
	} {
		scenario(t, name, func(t *testing.T) {
			q := open(t, nil)
			require.Panics(t, func() { stint.Handle(q, nothing, policy) })
			stint.Handle(q, nothing, nil) // nothing was registered
		})
	}
}

func TestMaxAttemptsOption(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ask, want int }{{1, 1}, {3, 3}, {40, 40}} {
		scenario(t, stint.ID(c.ask).String()+" overrides the Policy", func(t *testing.T) {
			q := open(t, nil)
			seen := handle(q, func(_ context.Context, job *stint.Job[note]) error {
				require.Equal(t, c.want, job.MaxAttempts)
				return errRefused
			}, &stint.Policy{MaxAttempts: 5, Backoff: stint.Constant(time.Second)})
			run(t, q)
			id := enqueue(t, q, note{}, stint.MaxAttempts(c.ask))
			require.Equal(t, c.ask, get(t, q, id).MaxAttempts)
			time.Sleep(time.Hour)
			require.Len(t, seen.ids(), c.want)
		})
	}

	scenario(t, "a huge number stays a huge number", func(t *testing.T) {
		q := open(t, nil)
		one := 1 // 1<<32 is 0, which is the Policy's number, in 32 bits
		for _, n := range []int{math.MaxInt32, math.MaxInt, max(one<<(strconv.IntSize-32), math.MaxInt32), max(one<<(strconv.IntSize-32)+1, math.MaxInt32)} {
			require.GreaterOrEqual(t, get(t, q, enqueue(t, q, note{}, stint.MaxAttempts(n))).MaxAttempts, math.MaxInt32)
		}
	})
}

func TestTags(t *testing.T) {
	t.Parallel()
	scenario(t, "reach the handler, add up, and are each job's own", func(t *testing.T) {
		q := open(t, nil)
		var mu sync.Mutex
		got := map[int][]string{}
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			mu.Lock()
			defer mu.Unlock()
			got[job.Args.N] = job.Tags
			return nil
		}, nil)
		shared := make([]string, 1, 10)
		shared[0] = "a"
		opt := stint.Tags(shared...)
		_, err := q.EnqueueAll(t.Context(), []stint.Args{note{N: 1}, note{N: 2}}, opt, stint.Tags("b"), stint.Tags())
		require.NoError(t, err)
		enqueue(t, q, note{N: 3}, opt, stint.Tags("c", "a"))
		enqueue(t, q, note{N: 4})
		run(t, q)
		synctest.Wait()
		require.Equal(t, map[int][]string{1: {"a", "b"}, 2: {"a", "b"}, 3: {"a", "c", "a"}, 4: nil}, got)
	})
}
