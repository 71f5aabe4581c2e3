package stint_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestCancelOfARunningJob(t *testing.T) {
	t.Parallel()
	// waits runs one job that returns what answer says when its context ends.
	waits := func(t *testing.T, answer func(context.Context) error) (*stint.Queue, stint.ID) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			<-ctx.Done()
			return answer(ctx)
		}, hour)
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		return q, id
	}
	scenario(t, "ends its context with the cause, and it is dead by whom", func(t *testing.T) {
		var cause atomic.Value
		q, id := waits(t, func(ctx context.Context) error { cause.Store(context.Cause(ctx)); return ctx.Err() })
		require.NoError(t, q.Cancel(t.Context(), id, "eva"))
		synctest.Wait()
		require.ErrorIs(t, cause.Load().(error), stint.ErrCancelled)
		info := get(t, q, id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "cancelled by eva", info.Reason)
		require.Equal(t, stint.Counts{Dead: 1}, q.Counts())
	})
	scenario(t, "Kill does so with its reason", func(t *testing.T) {
		var cause atomic.Value
		q, id := waits(t, func(ctx context.Context) error { cause.Store(context.Cause(ctx)); return errOops })
		require.NoError(t, q.Kill(t.Context(), id, "wrong customer"))
		synctest.Wait()
		require.ErrorIs(t, cause.Load().(error), stint.ErrCancelled)
		require.Equal(t, stint.Dead, get(t, q, id).State)
		require.Equal(t, "wrong customer", get(t, q, id).Reason)
	})
	for what, err := range map[string]error{"Snooze": stint.Snooze(time.Hour), "RetryAfter": stint.RetryAfter(time.Hour, errOops)} {
		scenario(t, "is not put off by "+what, func(t *testing.T) {
			q, id := waits(t, func(context.Context) error { return err })
			require.NoError(t, q.Cancel(t.Context(), id, "eva"))
			synctest.Wait()
			require.Equal(t, stint.Dead, get(t, q, id).State)
		})
	}
	scenario(t, "a handler that completes all the same is completed", func(t *testing.T) {
		q, id := waits(t, func(context.Context) error { return nil })
		require.NoError(t, q.Cancel(t.Context(), id, "eva"))
		synctest.Wait()
		gone(t, q, id)
		require.Zero(t, q.Counts())
	})
	scenario(t, "outweighs a timeout that came before", func(t *testing.T) {
		q := open(t, nil)
		var cause atomic.Value
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			time.Sleep(time.Minute)
			cause.Store(context.Cause(ctx))
			return ctx.Err()
		}, &stint.Policy{Timeout: 10 * time.Second, Backoff: stint.Constant(time.Hour)})
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(20 * time.Second)
		require.NoError(t, q.Cancel(t.Context(), id, "eva"))
		time.Sleep(time.Minute)
		require.Equal(t, stint.ErrTimeout, cause.Load(), "the first cause stays in the context")
		require.Equal(t, stint.Dead, get(t, q, id).State)
		require.Equal(t, "cancelled by eva", get(t, q, id).Reason)
	})
	scenario(t, "can be taken back with Retry once it is dead", func(t *testing.T) {
		var n atomic.Int32
		q, id := waits(t, func(ctx context.Context) error {
			if n.Add(1) == 1 {
				return ctx.Err()
			}
			return nil
		})
		require.NoError(t, q.Cancel(t.Context(), id, "eva"))
		synctest.Wait()
		require.NoError(t, q.Retry(t.Context(), id))
		time.Sleep(time.Minute) // it runs into its timeout, and then returns nil
		gone(t, q, id)
	})
}

func TestCancelBeforeItBegins(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"ready", "scheduled"} {
		scenario(t, "a "+state+" job is dead at once", func(t *testing.T) {
			q := open(t, nil)
			var opts []stint.Option
			if state == "scheduled" {
				opts = append(opts, stint.In(time.Minute))
			}
			var runs atomic.Int32
			stint.Handle(q, func(context.Context, *stint.Job[note]) error { runs.Add(1); return nil }, nil)
			id := enqueue(t, q, note{}, opts...)
			require.Equal(t, state, get(t, q, id).State.String())
			require.NoError(t, q.Cancel(t.Context(), id, "eva"))
			require.Equal(t, stint.Dead, get(t, q, id).State)
			require.Zero(t, get(t, q, id).Failures)
			run(t, q)
			time.Sleep(time.Hour)
			require.Zero(t, runs.Load())
		})
	}
	scenario(t, "a job that was claimed ahead never starts", func(t *testing.T) {
		q, ids, runs := claimedAhead(t)
		require.NoError(t, q.Cancel(t.Context(), ids[1], "eva"))
		time.Sleep(time.Hour)
		require.Equal(t, stint.Dead, get(t, q, ids[1]).State)
		require.Equal(t, "cancelled by eva", get(t, q, ids[1]).Reason)
		require.EqualValues(t, 9, runs.Load())
	})
	scenario(t, "nor when it is given back before its turn", func(t *testing.T) {
		q, ids, runs := claimedAhead(t)
		require.NoError(t, q.Cancel(t.Context(), ids[1], "eva"))
		require.NoError(t, q.Pause(t.Context(), "default", "eva"))
		time.Sleep(time.Hour)
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Hour)
		require.Equal(t, stint.Dead, get(t, q, ids[1]).State)
		require.EqualValues(t, 9, runs.Load())
	})
}

// claimedAhead has one worker at work on a slow job, and the next ones claimed
// behind it, because the jobs before it were quick.
func claimedAhead(t *testing.T) (q *stint.Queue, ids []stint.ID, slowRuns *atomic.Int32) {
	q = open(t, &stint.Config{Workers: 1})
	slowRuns = &atomic.Int32{}
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		if job.Args.N > 0 {
			slowRuns.Add(1)
			time.Sleep(time.Minute)
		}
		return nil
	}, &stint.Policy{Timeout: -1})
	enqueue(t, q, note{0})
	for i := range 10 {
		ids = append(ids, enqueue(t, q, note{i + 1}))
	}
	run(t, q)
	synctest.Wait()
	require.Equal(t, stint.Running, get(t, q, ids[1]).State, "claimed ahead")
	require.Zero(t, get(t, q, ids[1]).StartedAt)
	return q, ids, slowRuns
}

// The committer is kept busy, so that the order in which things reach it is
// known.
func TestCancelThatCrossesTheEndOfTheAttempt(t *testing.T) {
	t.Parallel()
	type start struct {
		q       *stint.Queue
		id      stint.ID
		release chan struct{} // lets the handler return
		answer  chan error    // of Cancel
	}
	running := func(t *testing.T, result error) start {
		s := start{q: open(t, nil), release: make(chan struct{}), answer: make(chan error, 1)}
		stint.Handle(s.q, func(context.Context, *stint.Job[note]) error { <-s.release; return result }, hour)
		s.id = enqueue(t, s.q, note{})
		return s
	}
	cancel := func(s start) {
		go func() { s.answer <- s.q.Cancel(context.Background(), s.id, "eva") }()
		synctest.Wait()
	}
	isDead := func(t *testing.T, s start) {
		synctest.Wait()
		require.NoError(t, <-s.answer)
		info := get(t, s.q, s.id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "cancelled by eva", info.Reason)
	}
	results := map[string]error{
		"an error": errOops, "Snooze": stint.Snooze(time.Hour), "RetryAfter": stint.RetryAfter(time.Hour, errOops),
	}
	for what, result := range results {
		scenario(t, "is not lost when "+what+" follows it in the same group", func(t *testing.T) {
			s := running(t, result)
			h := holder(t, s.q, 1)
			cancel(s)
			close(s.release)
			synctest.Wait()
			h.release()
			isDead(t, s)
		})
		scenario(t, "is not lost when "+what+" comes while it is being stored", func(t *testing.T) {
			s := running(t, result)
			h := holder(t, s.q, 2)
			cancel(s)
			h.release() // and the next group, with the cancellation, is held
			synctest.Wait()
			close(s.release)
			synctest.Wait()
			h.release()
			isDead(t, s)
		})
	}
	scenario(t, "finds what follows from an error before it in the same group", func(t *testing.T) {
		s := running(t, errOops)
		h := holder(t, s.q, 1)
		close(s.release)
		synctest.Wait()
		cancel(s)
		h.release()
		isDead(t, s)
	})
}

// held keeps the committer inside a transaction.
type held struct{ gates chan chan struct{} }

// holder works the queue and returns when the committer is held in the first
// of n groups that follow each other. Each release lets it go on to the next.
// Kind "other" is taken by it.
func holder(t *testing.T, q *stint.Queue, n int) *held {
	h := &held{gates: make(chan chan struct{}, n)}
	waiting := make(chan struct{})
	stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
		if job.Args.S != "" {
			<-waiting // commits when the first one holds the committer already
		}
		entered := false
		return job.Commit(func(*bolt.Tx) error {
			if entered {
				return nil // the group is applied again
			}
			entered = true
			gate := make(chan struct{})
			h.gates <- gate
			<-gate
			return nil
		})
	}, &stint.Policy{Timeout: -1})
	for i := range n {
		enqueue(t, q, other{S: strings.Repeat("x", i)})
	}
	run(t, q)
	synctest.Wait()
	close(waiting)
	synctest.Wait()
	require.Len(t, h.gates, 1)
	return h
}

func (h *held) release() { close(<-h.gates) }
