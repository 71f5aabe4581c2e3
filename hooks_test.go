package stint_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// diary collects what happened, from any goroutine.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf(format, args...))
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.entries...)
}

// kills fails each job for good.
func kills(context.Context, *stint.Job[note]) error { return stint.Kill(errOops) }

func TestOnDeath(t *testing.T) {
	t.Parallel()
	scenario(t, "is called once for each death, after it is on disk", func(t *testing.T) {
		var deaths diary
		var q *stint.Queue
		q = open(t, &stint.Config{OnDeath: func(info stint.Info) {
			stored, err := q.Get(info.ID)
			deaths.note("%d %v %v %s %v", info.ID, info.State, stored.State, info.Reason, err)
		}})
		stint.Handle(q, kills, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		want := fmt.Sprintf("%d dead dead oops <nil>", id)
		require.Equal(t, []string{want}, deaths.read())

		require.NoError(t, q.Retry(t.Context(), id))
		synctest.Wait()
		require.Equal(t, []string{want, want}, deaths.read(), "a second death is a second call")
	})
	scenario(t, "is called for each way to die", func(t *testing.T) {
		var reasons diary
		q := open(t, &stint.Config{OnDeath: func(info stint.Info) { reasons.note("%d %s", info.ID, info.Reason) }})
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return errOops }, &stint.Policy{MaxAttempts: 1})
		killed := enqueue(t, q, other{})
		cancelled := enqueue(t, q, other{}, stint.In(time.Hour))
		expired := enqueue(t, q, other{}, stint.ExpiresIn(time.Minute))
		failed := enqueue(t, q, note{})
		require.NoError(t, q.Kill(t.Context(), killed, "no longer wanted"))
		require.NoError(t, q.Cancel(t.Context(), cancelled, "eva"))
		run(t, q)
		time.Sleep(2 * time.Minute)
		got := reasons.read()
		require.Len(t, got, 4)
		require.Contains(t, got, fmt.Sprintf("%d no longer wanted", killed))
		require.Contains(t, got, fmt.Sprintf("%d cancelled by eva", cancelled))
		require.Contains(t, got, fmt.Sprintf("%d oops", failed))
		require.Contains(t, got[3], fmt.Sprintf("%d expired", expired))
	})
	for how, leave := range map[string]func(){"panics": func() { panic("hook") }, "exits": runtime.Goexit} {
		scenario(t, "goes on with the next death when it "+how, func(t *testing.T) {
			var calls atomic.Int32
			q := open(t, &stint.Config{OnDeath: func(stint.Info) {
				calls.Add(1)
				leave()
			}})
			stint.Handle(q, kills, nil)
			for i := range 20 {
				enqueue(t, q, note{i})
			}
			run(t, q)
			synctest.Wait()
			require.EqualValues(t, 20, calls.Load())
			enqueue(t, q, note{})
			synctest.Wait()
			require.EqualValues(t, 21, calls.Load())
		})
	}
	scenario(t, "may use the queue", func(t *testing.T) {
		var q *stint.Queue
		var failures diary
		q = open(t, &stint.Config{OnDeath: func(info stint.Info) {
			ctx := context.Background()
			_, enqueued := q.Enqueue(ctx, other{S: info.ID.String()})
			paused := q.Pause(ctx, "elsewhere", "hook")
			deleted := q.Delete(ctx, info.ID)
			_ = q.Counts()
			_ = q.Stats()
			if err := errors.Join(enqueued, paused, deleted); err != nil {
				failures.note("%v", err)
			}
		}})
		stint.Handle(q, kills, nil)
		var told atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[other]) error { told.Add(1); return nil }, nil)
		for i := range 50 {
			enqueue(t, q, note{i})
		}
		run(t, q)
		synctest.Wait()
		require.Empty(t, failures.read())
		require.EqualValues(t, 50, told.Load())
		require.Zero(t, q.Counts())
	})
}

func TestWorkMiddleware(t *testing.T) {
	t.Parallel()
	around := func(d *diary, name string) stint.WorkMiddleware {
		return func(ctx context.Context, job *stint.Work, next func(context.Context) error) error {
			d.note("%s in %s %d", name, job.Kind, job.Attempt)
			defer d.note("%s out", name)
			return next(ctx)
		}
	}
	scenario(t, "runs around each attempt, the first outermost", func(t *testing.T) {
		var d diary
		q := open(t, &stint.Config{WorkMiddleware: []stint.WorkMiddleware{around(&d, "a"), around(&d, "b")}})
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			d.note("handler")
			if job.Attempt == 1 {
				return errOops
			}
			return nil
		}, hour)
		enqueue(t, q, note{})
		run(t, q)
		time.Sleep(2 * time.Hour)
		require.Equal(t, []string{
			"a in note 1", "b in note 1", "handler", "b out", "a out",
			"a in note 2", "b in note 2", "handler", "b out", "a out",
		}, d.read())
	})
	scenario(t, "passes its context on", func(t *testing.T) {
		type key struct{}
		var seen atomic.Value
		q := open(t, &stint.Config{WorkMiddleware: []stint.WorkMiddleware{
			func(ctx context.Context, _ *stint.Work, next func(context.Context) error) error {
				return next(context.WithValue(ctx, key{}, "traced"))
			}}})
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error { seen.Store(ctx.Value(key{})); return nil }, nil)
		enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		require.Equal(t, "traced", seen.Load())
	})

	results := map[string]struct {
		middleware stint.WorkMiddleware
		handler    error
		state      stint.State // 0: gone
		text       string
	}{
		"a panic in it is a failed attempt": {
			middleware: func(context.Context, *stint.Work, func(context.Context) error) error { panic("middle") },
			state:      stint.Retrying, text: "panic: middle",
		},
		"it may swallow an error": {
			middleware: func(ctx context.Context, _ *stint.Work, next func(context.Context) error) error {
				_ = next(ctx)
				return nil
			},
			handler: errOops,
		},
		"it may wrap an error without losing what it orders": {
			middleware: func(ctx context.Context, _ *stint.Work, next func(context.Context) error) error {
				return fmt.Errorf("seen: %w", next(ctx))
			},
			handler: stint.Kill(errOops), state: stint.Dead, text: "seen: oops",
		},
		"it may fail what the handler has done": {
			middleware: func(ctx context.Context, _ *stint.Work, next func(context.Context) error) error {
				return errors.Join(next(ctx), errors.New("rejected"))
			},
			state: stint.Retrying, text: "rejected",
		},
		"it may keep the handler from being called": {
			middleware: func(context.Context, *stint.Work, func(context.Context) error) error {
				return stint.Kill(errors.New("not today"))
			},
			state: stint.Dead, text: "not today",
		},
	}
	for sentence, c := range results {
		scenario(t, sentence, func(t *testing.T) {
			q := open(t, &stint.Config{WorkMiddleware: []stint.WorkMiddleware{c.middleware}})
			stint.Handle(q, func(context.Context, *stint.Job[note]) error { return c.handler }, hour)
			id := enqueue(t, q, note{})
			run(t, q)
			synctest.Wait()
			if c.state == 0 {
				gone(t, q, id)
				return
			}
			require.Equal(t, c.state, get(t, q, id).State)
			require.Equal(t, c.text, get(t, q, id).Attempts[0].Error)
		})
	}
}
