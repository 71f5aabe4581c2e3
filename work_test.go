package stint_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// scenario is a subtest in virtual time.
func scenario(t *testing.T, sentence string, fn func(t *testing.T)) {
	t.Helper()
	t.Run(sentence, func(t *testing.T) { bubble(t, fn) })
}

// enqueue stores a job that the test takes for granted.
func enqueue(t testing.TB, q *stint.Queue, args stint.Args, opts ...stint.Option) stint.ID {
	t.Helper()
	id, err := q.Enqueue(context.Background(), args, opts...)
	require.NoError(t, err)
	return id
}

// get describes a job that must be there.
func get(t testing.TB, q *stint.Queue, id stint.ID) stint.Info {
	t.Helper()
	info, err := q.Get(id)
	require.NoError(t, err)
	return info
}

// gone says that a job is not stored any more.
func gone(t testing.TB, q *stint.Queue, id stint.ID) {
	t.Helper()
	_, err := q.Get(id)
	require.ErrorIs(t, err, stint.ErrNotFound)
}

// hour is a policy whose retries are easy to wait for.
var hour = &stint.Policy{Backoff: stint.Constant(time.Hour)}

// anyKind is of whatever kind it says, so that a test can have a thousand.
type anyKind struct{ K string }

var kindOfZero atomic.Value

func (a anyKind) Kind() string {
	if a.K == "" {
		return kindOfZero.Load().(string)
	}
	return a.K
}

// handleKind registers a handler for one of the kinds of anyKind.
func handleKind(q *stint.Queue, kind string, fn func(context.Context, *stint.Job[anyKind]) error, policy *stint.Policy) {
	kindOfZero.Store(kind)
	stint.Handle(q, fn, policy)
}

// after is what a first attempt that returns err, or panics or exits, leaves
// of its job.
func after(t *testing.T, handle func() error) (q *stint.Queue, id stint.ID) {
	t.Helper()
	q = open(t, nil)
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { return handle() }, hour)
	id = enqueue(t, q, note{})
	run(t, q)
	synctest.Wait()
	return q, id
}

var errOops = errors.New("oops")

func TestResults(t *testing.T) {
	t.Parallel()
	scenario(t, "nil completes the job", func(t *testing.T) {
		q, id := after(t, func() error { return nil })
		gone(t, q, id)
		require.Zero(t, q.Counts())
		require.EqualValues(t, 1, q.Stats().Processed)
	})
	scenario(t, "an error makes it wait for its backoff", func(t *testing.T) {
		q, id := after(t, func() error { return errOops })
		info := get(t, q, id)
		require.Equal(t, stint.Retrying, info.State)
		require.Equal(t, 1, info.Failures)
		require.True(t, info.RunAt.Equal(time.Now().Add(time.Hour)), "%v", info.RunAt)
		require.Len(t, info.Attempts, 1)
		require.Equal(t, 1, info.Attempts[0].Number)
		require.Equal(t, "oops", info.Attempts[0].Error)
		require.Empty(t, info.Attempts[0].Stack)
		require.Equal(t, stint.Counts{Retrying: 1}, q.Counts())
		require.EqualValues(t, 1, q.Stats().Failed)
	})

	wrappings := map[string]func(error) error{
		"bare":          func(err error) error { return err },
		"wrapped":       func(err error) error { return fmt.Errorf("while sending: %w", err) },
		"wrapped twice": func(err error) error { return fmt.Errorf("worker: %w", fmt.Errorf("while sending: %w", err)) },
		"joined":        func(err error) error { return errors.Join(errors.New("closing too"), err) },
	}
	for how, wrap := range wrappings {
		scenario(t, "Kill, "+how+", makes it dead at once with the error as the reason", func(t *testing.T) {
			q, id := after(t, func() error { return wrap(stint.Kill(errOops)) })
			info := get(t, q, id)
			require.Equal(t, stint.Dead, info.State)
			require.Equal(t, wrap(errOops).Error(), info.Reason)
			require.Equal(t, 1, info.Failures)
			require.True(t, info.FinishedAt.Equal(time.Now()))
			require.Equal(t, stint.Counts{Dead: 1}, q.Counts())
		})
		scenario(t, "Snooze, "+how+", runs it again later and costs no attempt", func(t *testing.T) {
			q, id := after(t, func() error { return wrap(stint.Snooze(10 * time.Minute)) })
			for snoozes := 1; snoozes <= 30; snoozes++ { // more often than there are attempts
				info := get(t, q, id)
				require.Equal(t, stint.Scheduled, info.State)
				require.Equal(t, snoozes, info.Snoozes)
				require.Zero(t, info.Failures)
				require.Empty(t, info.Attempts)
				require.True(t, info.RunAt.Equal(time.Now().Add(10*time.Minute)))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
			}
			require.Zero(t, q.Stats().Failed)
		})
		scenario(t, "RetryAfter, "+how+", fails the attempt and replaces the backoff", func(t *testing.T) {
			q, id := after(t, func() error { return wrap(stint.RetryAfter(7*time.Minute, errOops)) })
			info := get(t, q, id)
			require.Equal(t, stint.Retrying, info.State)
			require.Equal(t, 1, info.Failures)
			require.True(t, info.RunAt.Equal(time.Now().Add(7*time.Minute)))
			require.Equal(t, wrap(errOops).Error(), info.Attempts[0].Error)
		})
	}

	scenario(t, "Kill and RetryAfter without an error say that no reason was given", func(t *testing.T) {
		q, id := after(t, func() error { return stint.Kill(nil) })
		require.Contains(t, get(t, q, id).Reason, "no reason given")
	})
	scenario(t, "a Snooze into the past runs it again at once", func(t *testing.T) {
		var n atomic.Int32
		q, id := after(t, func() error {
			if n.Add(1) < 5 {
				return stint.Snooze(-time.Hour)
			}
			return nil
		})
		gone(t, q, id)
		require.EqualValues(t, 5, n.Load())
	})
	scenario(t, "a Snooze for ever does not overflow", func(t *testing.T) {
		q, id := after(t, func() error { return stint.Snooze(1<<63 - 1) })
		require.Equal(t, stint.Scheduled, get(t, q, id).State)
		require.Greater(t, get(t, q, id).RunAt.Year(), 2200)
	})
}

// nilError fails as a typed nil pointer does whose method looks into it.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// nilWrapper is one that errors.As cannot even walk.
type nilWrapper struct{ err error }

func (e *nilWrapper) Error() string { return e.err.Error() }
func (e *nilWrapper) Unwrap() error { return e.err }

func TestPanics(t *testing.T) {
	t.Parallel()
	scenario(t, "a panic is a failed attempt with a stack", func(t *testing.T) {
		q, id := after(t, func() error { panic("boom") })
		info := get(t, q, id)
		require.Equal(t, stint.Retrying, info.State)
		require.Equal(t, "panic: boom", info.Attempts[0].Error)
		require.Contains(t, info.Attempts[0].Stack, "work_test.go")
	})
	scenario(t, "a panic with an error can be told by the backoff", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { panic(fmt.Errorf("deep: %w", errOops)) },
			&stint.Policy{Backoff: func(_ int, err error) time.Duration {
				if errors.Is(err, errOops) {
					return time.Hour
				}
				return time.Minute
			}})
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		require.True(t, get(t, q, id).RunAt.Equal(time.Now().Add(time.Hour)))
		require.Equal(t, "panic: deep: oops", get(t, q, id).Attempts[0].Error)
	})
	scenario(t, "panic(nil) is a failed attempt too", func(t *testing.T) {
		q, id := after(t, func() error { panic(nil) })
		require.Equal(t, stint.Retrying, get(t, q, id).State)
		require.Contains(t, get(t, q, id).Attempts[0].Error, "panic")
	})
	scenario(t, "the stack kept of a deep panic is bounded", func(t *testing.T) {
		var deep func(n int) int
		deep = func(n int) int {
			if n == 0 {
				panic(strings.Repeat("x", 20_000))
			}
			return deep(n-1) + 1
		}
		q, id := after(t, func() error { deep(5000); return nil })
		attempt := get(t, q, id).Attempts[0]
		require.LessOrEqual(t, len(attempt.Stack), 8192)
		require.Len(t, attempt.Error, 10_000)
	})
	scenario(t, "a panicking Backoff is replaced by the default one", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return errOops },
			&stint.Policy{Backoff: func(int, error) time.Duration { panic("backoff") }})
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		wait := time.Until(get(t, q, id).RunAt)
		require.GreaterOrEqual(t, wait, 15*time.Second)
		require.Less(t, wait, 26*time.Second)
	})
	for what, err := range map[string]error{"Error": (*nilError)(nil), "Unwrap": (*nilWrapper)(nil)} {
		scenario(t, "a typed nil error whose "+what+" panics fails the attempt and harms nothing else", func(t *testing.T) {
			q, id := after(t, func() error { return err })
			info := get(t, q, id)
			require.Equal(t, stint.Retrying, info.State)
			require.Contains(t, info.Attempts[0].Error, "panic")
			enqueue(t, q, other{})
		})
	}
	scenario(t, "an error whose text asks the queue something does not stop it", func(t *testing.T) {
		var q *stint.Queue
		q, id := after(t, func() error { return askingError{&q} })
		require.Equal(t, "stored another", get(t, q, id).Attempts[0].Error)
	})
}

// askingError enqueues while it is rendered, as a tracing error type might.
type askingError struct{ q **stint.Queue }

func (e askingError) Error() string {
	q := *e.q
	if q == nil {
		return "stored another"
	}
	if _, err := q.Enqueue(context.Background(), other{}); err != nil {
		return err.Error()
	}
	return "stored another"
}

func TestGoexit(t *testing.T) {
	t.Parallel()
	scenario(t, "runtime.Goexit is a failed attempt that says so", func(t *testing.T) {
		q, id := after(t, func() error { runtime.Goexit(); return nil })
		info := get(t, q, id)
		require.Equal(t, stint.Retrying, info.State)
		require.Contains(t, info.Attempts[0].Error, "runtime.Goexit")
	})
	scenario(t, "the only worker goes on with the jobs that wait", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		var done atomic.Int32
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if job.Args.N%2 == 0 {
				runtime.Goexit()
			}
			done.Add(1)
			return nil
		}, hour)
		for i := range 100 {
			enqueue(t, q, note{i})
		}
		stop := run(t, q)
		synctest.Wait()
		require.EqualValues(t, 50, done.Load())
		require.Equal(t, stint.Counts{Retrying: 50}, q.Counts())
		require.NoError(t, stop(), "Run ends although goroutines of workers were lost")
	})
	scenario(t, "the last handler of a shutdown may exit too", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			time.Sleep(time.Minute)
			runtime.Goexit()
			return nil
		}, &stint.Policy{Timeout: -1, Backoff: stint.Constant(time.Hour)})
		id := enqueue(t, q, note{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { time.Sleep(50 * time.Second); cancel() }()
		require.NoError(t, q.Run(ctx))
		require.Equal(t, stint.Retrying, get(t, q, id).State)
	})
}

func TestHistory(t *testing.T) {
	t.Parallel()
	scenario(t, "keeps the last ten attempts", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			time.Sleep(time.Duration(job.Attempt) * time.Second)
			return fmt.Errorf("failure %d", job.Attempt)
		}, &stint.Policy{MaxAttempts: 15, Backoff: stint.Constant(time.Hour)})
		id := enqueue(t, q, note{})
		start := time.Now()
		run(t, q)
		time.Sleep(24 * time.Hour)
		info := get(t, q, id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, 15, info.Failures)
		require.Len(t, info.Attempts, 10)
		for i, a := range info.Attempts {
			number := i + 6
			require.Equal(t, number, a.Number)
			require.Equal(t, fmt.Sprintf("failure %d", number), a.Error)
			require.Equal(t, time.Duration(number)*time.Second, a.Duration)
			begun := start.Add(time.Duration(number-1)*time.Hour + time.Duration(number*(number-1)/2)*time.Second)
			require.WithinDuration(t, begun, a.StartedAt, time.Millisecond)
		}
	})
	scenario(t, "cuts an error to 10,000 bytes at the border of a rune", func(t *testing.T) {
		text := "x" + strings.Repeat("é", 6000) // the border falls into a rune
		q, id := after(t, func() error { return stint.Kill(errors.New(text)) })
		info := get(t, q, id)
		require.Len(t, info.Attempts[0].Error, 9_999)
		require.True(t, strings.HasPrefix(text, info.Attempts[0].Error))
		require.Equal(t, info.Attempts[0].Error, info.Reason)
	})
	scenario(t, "makes invalid UTF-8 readable and stays within its bounds", func(t *testing.T) {
		q, id := after(t, func() error { return errors.New("a\xffb" + strings.Repeat("\xff", 20_000)) })
		text := get(t, q, id).Attempts[0].Error
		require.True(t, utf8.ValidString(text))
		require.True(t, strings.HasPrefix(text, "a\uFFFDb\uFFFD"))
		require.LessOrEqual(t, len(text), 10_000)
	})
}

// wrongNote is a note whose program has changed the type of N meanwhile.
type wrongNote struct {
	N []string `json:"n"`
}

func (wrongNote) Kind() string { return "note" }

func TestArgsThatNoLongerFit(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[wrongNote]) error { return nil }, hour)
		id := enqueue(t, q, note{N: 7})
		fine := enqueue(t, q, wrongNote{[]string{"x"}})
		run(t, q)
		synctest.Wait()
		info := get(t, q, id)
		require.Equal(t, stint.Retrying, info.State)
		require.Equal(t, 1, info.Failures)
		require.Contains(t, info.Attempts[0].Error, "wrongNote")
		gone(t, q, fine)
	})
}

func TestKindsWithoutHandler(t *testing.T) {
	t.Parallel()
	scenario(t, "are parked and cost no attempt", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(time.Hour)
		require.Equal(t, stint.Counts{Ready: 1, Parked: 1}, q.Counts())
		info := get(t, q, id)
		require.Equal(t, stint.Ready, info.State)
		require.True(t, info.Parked)
		require.Zero(t, info.Failures)
		require.Empty(t, info.Attempts)
	})
	scenario(t, "go on as soon as Handle is called while Run works", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		for i := range 20 {
			enqueue(t, q, note{i})
		}
		synctest.Wait()
		require.Equal(t, 20, q.Counts().Parked)
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { done.Add(1); return nil }, nil)
		synctest.Wait()
		require.EqualValues(t, 20, done.Load())
		require.Zero(t, q.Counts())
	})
	scenario(t, "do not block the others behind them", func(t *testing.T) {
		q := open(t, nil)
		var parked []stint.Args
		for i := range 3000 {
			parked = append(parked, note{i})
		}
		_, err := q.EnqueueAll(t.Context(), parked, stint.Priority(1))
		require.NoError(t, err)
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[other]) error { done.Add(1); return nil }, nil)
		for range 10 {
			enqueue(t, q, other{}, stint.Priority(4))
		}
		run(t, q)
		synctest.Wait()
		require.EqualValues(t, 10, done.Load())
		require.Equal(t, stint.Counts{Ready: 3000, Parked: 3000}, q.Counts())
	})
}
