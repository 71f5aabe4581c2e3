package stint_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// What becomes of suspects that are stopped, paused, cancelled or fail. A
// crash is a copy of the file at a moment at which nothing is being written:
// exactly what a killed process would leave.

// lives is a queue that crashes by being copied.
type lives struct {
	t       *testing.T
	path    string
	started chan stint.ID
	mu      sync.Mutex
	results map[stint.ID]error // what the handlers return; a missing one waits
	wake    chan struct{}
}

func newLives(t *testing.T, jobs int) (*lives, []stint.ID) {
	l := &lives{
		t: t, path: filepath.Join(t.TempDir(), "queue.db"),
		started: make(chan stint.ID, 100), results: map[stint.ID]error{}, wake: make(chan struct{}),
	}
	return l, enqueueClosed(t, l.path, notes(jobs)...)
}

// open starts a life with all workers it needs.
func (l *lives) open(cfg stint.Config) *stint.Queue {
	l.t.Helper()
	cfg.Logger = quiet
	cfg.ShutdownTimeout = 10 * time.Millisecond
	q, err := tryOpen(l.path, &cfg)
	require.NoError(l.t, err)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
		l.started <- job.ID
		for {
			l.mu.Lock()
			err, ok := l.results[job.ID]
			wake := l.wake
			l.mu.Unlock()
			if ok {
				return err
			}
			select {
			case <-wake:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}, &stint.Policy{Timeout: -1, Backoff: stint.Constant(time.Hour)})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _ = q.Run(ctx) }()
	l.t.Cleanup(func() {
		cancel()
		_ = q.Close()
	})
	return q
}

// let lets the handler of a job return.
func (l *lives) let(id stint.ID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results[id] = err
	close(l.wake)
	l.wake = make(chan struct{})
}

// crash goes on with what the file is now.
func (l *lives) crash() {
	l.t.Helper()
	l.drop()
	content, err := os.ReadFile(l.path)
	require.NoError(l.t, err)
	l.path = filepath.Join(l.t.TempDir(), "queue.db")
	require.NoError(l.t, os.WriteFile(l.path, content, 0o600))
	check(l.t, l.path)
}

// begun waits until n handlers have begun.
func (l *lives) begun(n int) (ids []stint.ID) {
	l.t.Helper()
	for range n {
		select {
		case id := <-l.started:
			ids = append(ids, id)
		case <-time.After(10 * time.Second):
			require.FailNow(l.t, "no handler begins", "%d of %d have", len(ids), n)
		}
	}
	slices.Sort(ids)
	return ids
}

// drop forgets which handlers have begun, after a moment for one too many.
func (l *lives) drop() {
	l.t.Helper()
	time.Sleep(10 * time.Millisecond)
	require.Empty(l.t, l.started, "more handlers have begun than should")
}

func (l *lives) info(q *stint.Queue, id stint.ID) stint.Info {
	l.t.Helper()
	info, err := q.Get(id)
	require.NoError(l.t, err)
	return info
}

// suspicious is a queue of n jobs of which all were running at two crashes.
func suspicious(t *testing.T, n int) (*lives, []stint.ID) {
	t.Helper()
	l, ids := newLives(t, n)
	for range 2 {
		l.open(stint.Config{})
		require.Equal(t, ids, l.begun(n))
		l.crash()
	}
	return l, ids
}

func TestSuspectsRunAlone(t *testing.T) {
	t.Parallel()
	l, ids := suspicious(t, 3)
	q := l.open(stint.Config{})
	late, err := q.Enqueue(t.Context(), note{N: 9})
	require.NoError(t, err)
	for _, id := range ids {
		require.Equal(t, []stint.ID{id}, l.begun(1), "the oldest first")
		l.drop()
		require.Equal(t, 1, q.Counts().Running)
		l.let(id, nil)
	}
	require.Equal(t, []stint.ID{late}, l.begun(1), "others after them")
}

// Alone, and the process ends: that one is dead, the others are not.
func TestSuspectDiesAloneOthersAreSpared(t *testing.T) {
	t.Parallel()
	l, ids := suspicious(t, 3)
	l.open(stint.Config{})
	l.begun(1)
	l.crash()
	q := l.open(stint.Config{})
	require.Equal(t, ids[1:2], l.begun(1))
	require.Equal(t, stint.Dead, l.info(q, ids[0]).State)
	require.Equal(t, 2, l.info(q, ids[2]).Crashes)
	require.NoError(t, q.Retry(t.Context(), ids[0]))
	require.Zero(t, l.info(q, ids[0]).Crashes, "Retry means a fresh start")
	l.drop()
	l.let(ids[1], nil)
	require.Equal(t, ids[2:], l.begun(1))
	l.let(ids[2], nil)
	require.Equal(t, ids[:1], l.begun(1))
}

// A suspect that was stopped in good order has not come through.
func TestInterruptedSuspectStaysASuspect(t *testing.T) {
	t.Parallel()
	l, ids := suspicious(t, 3)
	q := l.open(stint.Config{})
	l.begun(1)
	require.NoError(t, q.Close())
	check(t, l.path)

	q = l.open(stint.Config{})
	require.Equal(t, ids[:1], l.begun(1))
	l.drop()
	require.Equal(t, 2, l.info(q, ids[0]).Crashes, "stopping is no crash")
	l.crash()
	q = l.open(stint.Config{})
	l.begun(1)
	require.Equal(t, stint.Dead, l.info(q, ids[0]).State, "found out all the same")
}

// The same for Run that ends and begins again in one process.
func TestInterruptedSuspectInOneProcess(t *testing.T) {
	t.Parallel()
	l, ids := suspicious(t, 2)
	q, err := tryOpen(l.path, &stint.Config{Logger: quiet, ShutdownTimeout: 10 * time.Millisecond})
	require.NoError(t, err)
	started := make(chan stint.ID, 10)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
		started <- job.ID
		<-ctx.Done()
		return context.Cause(ctx)
	}, nil)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- q.Run(ctx) }()
		require.Equal(t, ids[0], receive(t, started))
		time.Sleep(5 * time.Millisecond)
		require.Empty(t, started, "it is alone")
		cancel()
		require.NoError(t, receive(t, ran))
	}
	require.NoError(t, q.Close())
	check(t, l.path)
}

// A job that was a suspect and then ran to an end, even a bad one, is not
// held to account for later crashes.
func TestSuspicionEndsWithAnAttempt(t *testing.T) {
	t.Parallel()
	l, ids := suspicious(t, 2)
	q := l.open(stint.Config{})
	l.begun(1)
	l.let(ids[0], os.ErrInvalid)
	require.Equal(t, ids[1:], l.begun(1))
	info := l.info(q, ids[0])
	require.Equal(t, stint.Retrying, info.State)
	require.Zero(t, info.Crashes)
	require.Equal(t, 1, info.Failures)
	require.Len(t, info.Attempts, 3, "two crashes and an error")
	l.let(ids[1], stint.Snooze(time.Hour))
	require.Eventually(t, func() bool { return l.info(q, ids[1]).State == stint.Scheduled }, 5*time.Second, time.Millisecond)
	require.Zero(t, l.info(q, ids[1]).Crashes)
	l.crash()
	q = l.open(stint.Config{})
	require.Equal(t, stint.Counts{Retrying: 1, Scheduled: 1}, q.Counts())
}

// Suspects that may not run hold nobody up.
func TestSuspectsThatMayNotRun(t *testing.T) {
	t.Parallel()
	t.Run("paused", func(t *testing.T) {
		l, ids := suspicious(t, 2)
		q, err := tryOpen(l.path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		require.NoError(t, q.Pause(t.Context(), "default", "me"))
		require.NoError(t, q.Close())
		q = l.open(stint.Config{})
		free, err := q.Enqueue(t.Context(), note{}, stint.OnQueue("free"))
		require.NoError(t, err)
		require.Equal(t, []stint.ID{free}, l.begun(1))
		l.drop()
		require.NoError(t, q.Resume(t.Context(), "default"))
		l.drop() // they wait until it is quiet
		l.let(free, nil)
		require.Equal(t, ids[:1], l.begun(1))
	})
	t.Run("killed, deleted", func(t *testing.T) {
		l, ids := suspicious(t, 4)
		q := l.open(stint.Config{})
		require.Equal(t, ids[:1], l.begun(1))
		require.NoError(t, q.Kill(t.Context(), ids[1], "no more"))
		require.NoError(t, q.Delete(t.Context(), ids[2]))
		require.NoError(t, q.Cancel(t.Context(), ids[0], "me"))
		require.Equal(t, ids[3:], l.begun(1))
		require.Equal(t, stint.Dead, l.info(q, ids[0]).State)
		l.crash()
		q = l.open(stint.Config{})
		require.Equal(t, stint.Counts{Dead: 3}, q.Counts())
	})
	t.Run("no handler", func(t *testing.T) {
		l, _ := suspicious(t, 2)
		q, err := tryOpen(l.path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		ran := make(chan bool, 1)
		stint.Handle(q, func(context.Context, *stint.Job[other]) error { ran <- true; return nil }, nil)
		run(t, q)
		_, err = q.Enqueue(t.Context(), other{})
		require.NoError(t, err)
		receive(t, ran)
		require.Eventually(t, func() bool { return q.Counts() == stint.Counts{Ready: 2, Parked: 2} }, 5*time.Second, time.Millisecond)
	})
}

// A suspect that waits for its turn alone holds others up, but not once it is
// dead or deleted, and after a Retry it is as innocent as any job.
func TestSuspectThatIsStoppedHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*stint.Queue, stint.ID) error{
		"killed":  func(q *stint.Queue, id stint.ID) error { return q.Kill(t.Context(), id, "enough") },
		"deleted": func(q *stint.Queue, id stint.ID) error { return q.Delete(t.Context(), id) },
	} {
		t.Run(name, func(t *testing.T) {
			l, ids := suspicious(t, 1)
			q, err := tryOpen(l.path, &stint.Config{Logger: quiet})
			require.NoError(t, err)
			require.NoError(t, q.Pause(t.Context(), "default", "Eve"))
			require.NoError(t, q.Close())

			q = l.open(stint.Config{})
			busy := enqueue(t, q, note{N: 7}, stint.OnQueue("side"))
			require.Equal(t, []stint.ID{busy}, l.begun(1))
			require.NoError(t, q.Resume(t.Context(), "default"))
			next := enqueue(t, q, note{N: 8}, stint.OnQueue("side"))
			l.drop()
			require.NoError(t, stop(q, ids[0]))
			require.Equal(t, []stint.ID{next}, l.begun(1))
			if name == "killed" {
				require.NoError(t, q.Retry(t.Context(), ids[0]))
				require.Equal(t, ids, l.begun(1), "beside the others")
			}
		})
	}
}

// A cancelled job is not run again only because the process died in between.
func TestCancelSurvivesACrash(t *testing.T) {
	t.Parallel()
	l, ids := newLives(t, 1)
	q := l.open(stint.Config{})
	l.begun(1)
	stubborn := make(chan struct{})
	defer close(stubborn)
	stint.Handle(q, func(context.Context, *stint.Job[other]) error {
		l.started <- 0
		<-stubborn
		return nil
	}, nil)
	id, err := q.Enqueue(t.Context(), other{})
	require.NoError(t, err)
	l.begun(1)
	require.NoError(t, q.Cancel(t.Context(), id, "ann"))
	l.crash()
	q = l.open(stint.Config{})
	require.Equal(t, ids, l.begun(1))
	info := l.info(q, id)
	require.Equal(t, stint.Dead, info.State)
	require.Contains(t, info.Reason, "cancelled by ann")
}

// What was claimed ahead of the workers goes back at a stop without a trace.
func TestClaimedAheadIsNoCrash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	ids := enqueueClosed(t, path, notes(3000)...)
	q, err := tryOpen(path, &stint.Config{Logger: quiet, Workers: 2})
	require.NoError(t, err)
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
	stop := run(t, q)
	for q.Stats().Processed < 500 {
		time.Sleep(100 * time.Microsecond)
	}
	require.NoError(t, stop())
	left := q.Counts()
	require.NoError(t, q.Close())
	check(t, path)
	q = openAt(t, path, nil)
	require.Equal(t, left.Ready, q.Counts().Ready)
	require.Zero(t, left.Running)
	for _, id := range ids {
		if info, err := q.Get(id); err == nil {
			require.Zero(t, info.Crashes)
			require.Empty(t, info.Attempts)
		}
	}
}

// The file forgets a suspect that was stopped, also while nothing runs.
func TestSuspectThatIsStoppedIsNoneAfterwards(t *testing.T) {
	t.Parallel()
	l, ids := suspicious(t, 1)
	q, err := tryOpen(l.path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, q.Kill(t.Context(), ids[0], "enough"))
	require.NoError(t, q.Retry(t.Context(), ids[0]))
	require.NoError(t, q.Close())

	q = l.open(stint.Config{})
	next := enqueue(t, q, note{N: 8})
	require.ElementsMatch(t, []stint.ID{ids[0], next}, l.begun(2), "beside each other")
}
