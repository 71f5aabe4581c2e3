package stint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// What a careless or a hostile program does to a queue, where no other test of
// the subject does. Afterwards the queue works as if nothing had been.

// stillWorks runs one more job.
func stillWorks(t *testing.T, q *stint.Queue) {
	t.Helper()
	id := enqueue(t, q, probe{})
	synctest.Wait()
	_, err := q.Get(id)
	require.ErrorIs(t, err, stint.ErrNotFound, "it has run")
}

// abused is a queue at work, with a handler for probes.
func abused(t *testing.T, cfg *stint.Config) *stint.Queue {
	t.Helper()
	q := open(t, cfg)
	stint.Handle(q, func(context.Context, *stint.Job[probe]) error { return nil }, nil)
	return q
}

type probe struct{}

func (probe) Kind() string { return "probe" }

// panicking are args whose methods panic.
type panicking struct{ In string }

func (p panicking) Kind() string {
	if p.In == "Kind" {
		panic("no kind")
	}
	return "panicking"
}

func (p panicking) MarshalJSON() ([]byte, error) {
	if p.In == "MarshalJSON" {
		panic("no JSON")
	}
	return []byte("{}"), nil
}

// outcome is what a call of the program's own code comes to.
func outcome(fn func() error) (panicked any, err error) {
	defer func() { panicked = recover() }()
	return nil, fn()
}

func TestAbuseOfEnqueue(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Kind", "MarshalJSON"} {
		scenario(t, "args whose "+method+" panics harm nobody but their caller", func(t *testing.T) {
			q := abused(t, nil)
			run(t, q)
			bad := panicking{method}
			for name, call := range map[string]func() error{
				"Enqueue":    func() error { _, err := q.Enqueue(t.Context(), bad); return err },
				"EnqueueAll": func() error { _, err := q.EnqueueAll(t.Context(), []stint.Args{probe{}, bad}); return err },
				"EnqueueTx": func() error {
					return q.DB().Update(func(tx *bolt.Tx) error { _, err := q.EnqueueTx(tx, bad); return err })
				},
				"EnqueueSeq": func() error {
					_, err := q.EnqueueSeq(t.Context(), func(yield func(stint.Args) bool) { yield(bad) })
					return err
				},
				"EnqueueBatch": func() error {
					_, err := q.EnqueueBatch(t.Context(), func(yield func(stint.Args) bool) { yield(bad) }, nil)
					return err
				},
				"Periodic": func() error { return q.Periodic("bad", "@hourly", bad) },
			} {
				panicked, err := outcome(call)
				require.True(t, err != nil || panicked != nil, name)
				stillWorks(t, q)
			}
			require.Zero(t, q.Counts())
		})
	}

	scenario(t, "a transaction that panics around EnqueueTx stores nothing", func(t *testing.T) {
		q := abused(t, nil)
		run(t, q)
		panicked, _ := outcome(func() error {
			return q.DB().Update(func(tx *bolt.Tx) error {
				_, err := q.EnqueueTx(tx, note{})
				require.NoError(t, err)
				panic("the application's")
			})
		})
		require.Equal(t, "the application's", panicked)
		stillWorks(t, q)
		require.Zero(t, q.Counts())
	})

	scenario(t, "strange text in args, tags and names comes back as it was, or valid where it is shown", func(t *testing.T) {
		q := abused(t, nil)
		const strange = "a\x00b\u202ec<script>\u2028\U0001F4A9 \x7f"
		stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
			require.Equal(t, strange, job.Args.S)
			job.Logger().Info(strange+"\xff", "k\n", strange)
			return errors.New(strange + "\xff")
		}, nil)
		id := enqueue(t, q, other{strange}, stint.Tags(strange, "\xff"), stint.Unique(stint.ByKey("\xff\x00")))
		require.ErrorIs(t, q.Periodic(strange, "@hourly", probe{}), stint.ErrBadOption)
		require.NoError(t, q.Periodic("s", "@hourly", probe{}))
		require.NoError(t, q.PauseSchedule(t.Context(), "s", strange+"\xff"))
		require.NoError(t, q.Pause(t.Context(), "x", strange+"\xff"))
		run(t, q)
		synctest.Wait()
		info := get(t, q, id)
		require.Equal(t, []string{strange, "\xff"}, info.Tags)
		require.Equal(t, strange+"\uFFFD", info.Attempts[0].Error)
		require.True(t, utf8.ValidString(info.Attempts[0].Log))
		require.NoError(t, q.Cancel(t.Context(), id, strange+"\xff"))
		require.True(t, utf8.ValidString(get(t, q, id).Reason))
		schedules, err := q.Schedules()
		require.NoError(t, err)
		require.True(t, utf8.ValidString(schedules[0].PausedBy))
		_, err = json.Marshal([]any{info, schedules, q.Queues()})
		require.NoError(t, err)
	})

	scenario(t, "a hundred payloads of a MiB, each at the limit, are stored and run", func(t *testing.T) {
		q := abused(t, nil)
		var seen atomic.Int64
		stint.Handle(q, func(_ context.Context, job *stint.Job[blob]) error {
			seen.Add(int64(len(job.Args.S)))
			return nil
		}, nil)
		for range 100 {
			enqueue(t, q, blobOf(1<<20))
		}
		_, err := q.Enqueue(t.Context(), blobOf(1<<20+1))
		require.ErrorIs(t, err, stint.ErrArgsTooLarge)
		run(t, q)
		synctest.Wait()
		require.EqualValues(t, 100*(1<<20-8), seen.Load())
		stillWorks(t, q)
	})
}

// A call for each goroutine, all at once.
func TestAbuseByManyGoroutines(t *testing.T) {
	const n = manyGoroutines
	q := open(t, nil)
	var ids sync.Map
	var doubled, failed atomic.Int64
	var all sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-gate
			id, err := q.Enqueue(context.Background(), note{i})
			if err != nil {
				failed.Add(1)
			} else if _, twice := ids.LoadOrStore(id, true); twice {
				doubled.Add(1)
			}
		})
	}
	start := time.Now()
	close(gate)
	all.Wait()
	took := time.Since(start)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d goroutines in %v, %d MiB taken from the system, %d of stacks", n, took, m.Sys>>20, m.StackSys>>20)
	require.Zero(t, doubled.Load())
	require.Zero(t, failed.Load())
	require.Equal(t, n, q.Counts().Ready)
	require.Less(t, took, time.Minute)
}

func TestAbuseOfHandlers(t *testing.T) {
	t.Parallel()
	scenario(t, "an error of 100 MiB is cut, and so is one of 100 MiB of invalid bytes", func(t *testing.T) {
		q := abused(t, nil)
		huge := []string{strings.Repeat("€", 33<<20), strings.Repeat("\xff", 100<<20)}
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if job.Args.N == 2 {
				panic(huge[1])
			}
			return errors.New(huge[job.Args.N])
		}, nil)
		run(t, q)
		for n := range 3 {
			id := enqueue(t, q, note{n})
			synctest.Wait()
			info := get(t, q, id)
			require.LessOrEqual(t, len(info.Attempts[0].Error), 10_000)
			require.True(t, utf8.ValidString(info.Attempts[0].Error))
		}
		stillWorks(t, q)
	})

	scenario(t, "a result that is too large or no JSON is refused, and the job goes on", func(t *testing.T) {
		q := abused(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			require.ErrorIs(t, job.SetResult(strings.Repeat("x", 2<<20)), stint.ErrArgsTooLarge)
			require.Error(t, job.SetResult(math.NaN()))
			require.Error(t, job.SetResult(make(chan int)))
			return nil
		}, nil)
		run(t, q)
		enqueue(t, q, note{})
		stillWorks(t, q)
		require.Zero(t, q.Counts())
	})

	scenario(t, "a handler that fills its own queue with one worker is not in its own way", func(t *testing.T) {
		q := abused(t, &stint.Config{Workers: 1})
		var runs int
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			runs++
			for i := range min(job.Args.N, 3) {
				if _, err := q.Enqueue(ctx, note{job.Args.N - 1 - i}); err != nil {
					return err
				}
			}
			return nil
		}, nil)
		run(t, q)
		enqueue(t, q, note{6})
		stillWorks(t, q)
		require.Equal(t, 52, runs)
	})

	scenario(t, "a middleware that calls next twice, or with another context, runs the handler so and settles once", func(t *testing.T) {
		type key struct{}
		twice := func(ctx context.Context, _ *stint.Work, next func(context.Context) error) error {
			return errors.Join(next(ctx), next(context.WithValue(context.Background(), key{}, 2)))
		}
		q := abused(t, &stint.Config{WorkMiddleware: []stint.WorkMiddleware{twice}})
		var runs, marked int
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			if runs++; ctx.Value(key{}) != nil {
				marked++
			}
			return nil
		}, nil)
		run(t, q)
		enqueue(t, q, note{})
		synctest.Wait()
		require.Equal(t, []int{2, 1}, []int{runs, marked})
		require.EqualValues(t, 1, q.Stats().Processed)
	})

	scenario(t, "a handler that registers kinds and schedules, and enqueues them, while it runs", func(t *testing.T) {
		q := abused(t, nil)
		var ran atomic.Bool
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			stint.Handle(q, func(context.Context, *stint.Job[other]) error { ran.Store(true); return nil }, nil)
			_, err := q.Enqueue(ctx, other{})
			return errors.Join(err, q.Periodic("mine", "@hourly", probe{}), q.PauseSchedule(ctx, "mine", "me"), q.DeleteSchedule(ctx, "mine"))
		}, nil)
		run(t, q)
		enqueue(t, q, note{})
		synctest.Wait()
		require.True(t, ran.Load())
		require.Zero(t, q.Counts())
	})

	scenario(t, "a logger that panics, exits or asks the queue stops nothing", func(t *testing.T) {
		for _, how := range []string{"panics", "exits", "asks"} {
			l := &badLogger{how: how}
			q := abused(t, &stint.Config{Logger: slog.New(l)})
			l.q.Store(q)
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error { return stint.Kill(errOops) }, nil)
			run(t, q)
			for range 3 {
				enqueue(t, q, note{})
			}
			synctest.Wait()
			stillWorks(t, q)
			require.Equal(t, 3, q.Counts().Dead, how)
			require.NotZero(t, l.calls.Load())
		}
	})
}

// badLogger does in each line what no logger should.
type badLogger struct {
	how   string
	q     atomic.Pointer[stint.Queue]
	calls atomic.Int64
}

func (l *badLogger) Enabled(context.Context, slog.Level) bool { return true }
func (l *badLogger) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *badLogger) WithGroup(string) slog.Handler            { return l }
func (l *badLogger) Handle(context.Context, slog.Record) error {
	q := l.q.Load()
	if q == nil {
		return nil
	}
	switch l.calls.Add(1); l.how {
	case "panics":
		panic("the logger")
	case "exits":
		runtime.Goexit()
	}
	_ = q.Stats()
	_, _ = q.Enqueue(context.Background(), probe{})
	return nil
}

func TestAbuseOfRegistration(t *testing.T) {
	t.Parallel()
	scenario(t, "a nil handler is refused when it is registered, not when a job comes", func(t *testing.T) {
		q := abused(t, nil)
		panicked, _ := outcome(func() error { stint.Handle[note](q, nil, nil); return nil })
		require.NotNil(t, panicked)
		require.Contains(t, fmt.Sprint(panicked), "stint: ")
		require.ErrorIs(t, stint.PeriodicBatch(q, "x", "@daily", planNotes(1), nil, nil), stint.ErrConfig)
		require.ErrorIs(t, stint.PeriodicBatch[note](q, "x", "@daily", nil, noItem, nil), stint.ErrConfig)
		run(t, q)
		stillWorks(t, q)
	})

	scenario(t, "a nil context harms nobody but its caller", func(t *testing.T) {
		q := abused(t, nil)
		var none context.Context
		for name, call := range map[string]func() error{
			"Enqueue": func() error { _, err := q.Enqueue(none, probe{}); return err },
			"Pause":   func() error { return q.Pause(none, "x", "me") },
			"Check":   func() error { _, err := q.Check(none); return err },
			"Perform": func() error { return q.Perform(none, probe{}) },
		} {
			panicked, err := outcome(call)
			require.True(t, err == nil || panicked != nil, "%s: %v", name, err)
		}
		run(t, q)
		stillWorks(t, q)
	})
}
