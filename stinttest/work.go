package stinttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/hook"
)

// Work works exactly one job, that which Run would take first, and returns
// what has become of it, whether or not it is kept: Completed, or Retrying,
// Scheduled or Dead with the handler's error as the last of Info.Attempts.
// Jobs that have become due since the queue was last worked are ready too. The
// test fails if no job is, and the message says why not.
//
// Config.OnDeath has been called when it returns.
func Work(t testing.TB, q *stint.Queue) stint.Info {
	t.Helper()
	var ended []stint.Info
	began := try(t, q, &hook.Trial[stint.Info]{Attempts: 1, Ended: func(info stint.Info) { ended = append(ended, info) }})
	if len(began) == 0 {
		t.Fatalf("stinttest: no job is ready; %s", describe(q))
	}
	if len(ended) != 0 {
		return ended[0]
	}
	info, err := q.Get(stint.ID(began[0]))
	if err != nil {
		t.Fatalf("stinttest: what became of job %d cannot be said: %v", began[0], err)
	}
	return info
}

// maxDrained is more than a test means, and few enough to be told of soon.
const maxDrained = 100_000

// Drain works until no job is ready or running, those included that handlers
// and Config.OnDeath enqueue, and returns how many attempts were made. It does
// not wait for what is not due yet, retries and delays; see FastForward. The
// jobs run side by side, as many as Config allows: with Workers 1 they run one
// after the other.
//
// The test fails after 100,000 attempts, since then jobs seem to enqueue
// themselves for ever.
func Drain(t testing.TB, q *stint.Queue) (attempts int) {
	t.Helper()
	return drain(t, q, maxDrained)
}

func drain(t testing.TB, q *stint.Queue, limit int) int {
	t.Helper()
	n := len(try(t, q, &hook.Trial[stint.Info]{Attempts: limit}))
	if c := q.Counts(); n >= limit && c.Ready > c.Parked {
		t.Fatalf("stinttest: after %d attempts there are still jobs to work; %s", n, describe(q))
	}
	return n
}

// try runs a queue until a trial ends.
func try(t testing.TB, q *stint.Queue, trial *hook.Trial[stint.Info]) (began []uint64) {
	t.Helper()
	switch err := q.Run(trial.In(context.Background())); {
	case errors.Is(err, stint.ErrRunning):
		t.Fatalf("stinttest: Run is working the queue already; let it end first, or do without it")
	case err != nil:
		t.Fatalf("stinttest: working the queue: %v", err)
	}
	return trial.Began
}

// FastForward lets d of virtual time pass with the queue at work: delayed jobs
// and retries come due, schedules fire, each at its time. It returns when all
// that was due by then is done. It needs a bubble of testing/synctest in which
// the queue was opened, and fails the test outside of one:
//
//	synctest.Test(t, func(t *testing.T) {
//		q := stinttest.New(t, nil)
//		…
//		stinttest.FastForward(t, q, 24*time.Hour)
//	})
//
// A handler that still sleeps at the end is told to stop, as by the end of
// Run's context. If Run is working the queue already, only the time passes.
func FastForward(t testing.TB, q *stint.Queue, d time.Duration) {
	t.Helper()
	if !inBubble() {
		t.Fatalf("stinttest: FastForward needs virtual time: call it inside synctest.Test, and open the queue in there too")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var err error
	var running sync.WaitGroup
	running.Go(func() { err = q.Run(ctx) })
	time.Sleep(d)
	synctest.Wait()
	cancel()
	running.Wait()
	if err != nil && !errors.Is(err, stint.ErrRunning) {
		t.Fatalf("stinttest: working the queue: %v", err)
	}
}

// inBubble says whether this goroutine is in a bubble of testing/synctest.
// There is no other way to ask: outside, Wait panics.
func inBubble() (inside bool) {
	defer func() {
		if recover() != nil {
			inside = false
		}
	}()
	synctest.Wait()
	return true
}
