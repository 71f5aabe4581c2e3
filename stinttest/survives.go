package stinttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Survives answers whether the effects of handlers come once, whatever
// happens to the process.
//
//  1. A new directory: Open, Enqueue, and the queue is closed.
//  2. The test binary starts itself again as a process that opens the queue
//     and works it, and kills itself before or after its nth commit
//     (victim.go).
//  3. The test's own process opens what is left, works it to the end, and
//     calls Check.
//  4. So for each n, until the process comes through.
//
// The first time nothing is killed: what fails then has nothing to do with
// kills.

// Survival is what [Survives] needs to know. An error of any of its functions
// fails the test.
type Survival struct {
	// Open opens the queue of a program that has its files in dir and
	// registers the handlers, as each start of the program does. It is called
	// in other processes too, so what the jobs do must depend on nothing of
	// the test's memory. It must not Run the queue. The queue is closed by
	// Survives, and so is its database.
	Open func(dir string) (*stint.Queue, error)

	// Enqueue stores the jobs that are to survive, in a new directory.
	Enqueue func(q *stint.Queue) error

	// Check looks, when all jobs have been worked, at what they have left in
	// the queue's file, in dir and in the world.
	Check func(q *stint.Queue, dir string) error

	// MaxKills bounds the kills; 200 by default. There are two to a commit,
	// and a job takes two commits or so.
	MaxKills int
}

// Survives checks that jobs do what they should even if the process is killed
// while they run: before each commit, when all has been done and nothing is
// written, and after each, when all is on disk and nobody has been told. It
// counts the commits of the queue and of [stint.Queue.Update].
//
// Each time it begins with a new directory and new jobs, and works them in a
// process of its own that kills itself. The next process, that of the test,
// opens the same files and works to the end. It does not wait for backoffs,
// but leaves alone what is delayed. Then it calls Check.
//
// A handler with an effect outside its Commit does not pass, unless it makes
// the effect safe to repeat, say with [stint.Work.Key]:
//
//	stinttest.Survives(t, stinttest.Survival{
//		Open:    func(dir string) (*stint.Queue, error) { return openShop(dir) },
//		Enqueue: func(q *stint.Queue) error { _, err := q.Enqueue(ctx, Charge{Order: 1}); return err },
//		Check:   func(q *stint.Queue, dir string) error { return chargedOnce(dir) },
//	})
//
// The processes are the test binary itself, which runs this test, and its
// parents if it is a subtest, up to this call: what stands before it happens in
// each of them. A kill in the middle of a handler, between two of its effects,
// is not tried. When it ends because of MaxKills, the test's log says so. With
// -short nothing is killed.
func Survives(t testing.TB, s Survival) {
	t.Helper()
	call := callOf(t)
	if v := victimHere(); v != nil {
		if v.Test == t.Name() && v.Call == call {
			v.live(t, s)
		}
		return // another call is meant
	}
	limit := s.MaxKills
	if limit == 0 {
		limit = 200
	}
	if s.Open == nil || s.Enqueue == nil || s.Check == nil {
		t.Fatalf("stinttest: Survives needs Open, Enqueue and Check")
	}
	root := t.TempDir()
	s.round(t, filepath.Join(root, "whole"), "without any kill", nil)
	if testing.Short() {
		t.Logf("stinttest: nothing was killed, as of -short")
		return
	}
	for n := range limit {
		v := &victim{Test: t.Name(), Call: call, Dir: filepath.Join(root, fmt.Sprint(n)), Commit: 1 + n/2, After: n%2 == 1}
		if killed := s.round(t, v.Dir, v.String(), v); !killed {
			return
		}
	}
	t.Logf("stinttest: cut after %d kills, at commit %d; raise Survival.MaxKills, or enqueue less", limit, (limit+1)/2)
}

var (
	callsMutex sync.Mutex
	calls      = map[string]int{} // of Survives, by the names of the tests that run
)

// callOf numbers the calls of a test, the same in each process.
func callOf(t testing.TB) int {
	name := t.Name()
	callsMutex.Lock()
	defer callsMutex.Unlock()
	if calls[name]++; calls[name] == 1 {
		t.Cleanup(func() { // with -count it runs again
			callsMutex.Lock()
			defer callsMutex.Unlock()
			delete(calls, name)
		})
	}
	return calls[name]
}

// round is one life of the jobs, from Enqueue to Check. It reports whether the
// victim, if there was one, was killed.
func (s *Survival) round(t testing.TB, dir, when string, v *victim) (killed bool) {
	t.Helper()
	failed := t.Failed()
	defer func() {
		if t.Failed() != failed { // often in the words of the user's functions
			t.Logf("stinttest: that was %s", when)
		}
	}()
	app := filepath.Join(dir, "app")
	if err := os.MkdirAll(app, 0o700); err != nil {
		t.Fatalf("stinttest: %v", err)
	}
	q := s.open(t, app)
	if err := s.Enqueue(q); err != nil {
		t.Fatalf("stinttest: Enqueue fails: %v", err)
	}
	closeAll(t, q)
	if v != nil {
		killed = v.start(t)
	}

	q = s.open(t, app)
	finish(t, q)
	if err := s.Check(q, app); err != nil {
		t.Errorf("stinttest: the jobs do not survive: %v; %s", err, describe(q))
	}
	mustBeSound(t, q, q.DB().Path())
	closeAll(t, q)
	if t.Failed() != failed {
		t.FailNow() // the next kills would only say the same
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatalf("stinttest: %v", err)
	}
	return killed
}

// open opens a queue that does not wait for the disk: a kill loses nothing
// that was written.
func (s *Survival) open(t testing.TB, dir string) *stint.Queue {
	t.Helper()
	q, err := s.Open(dir)
	if err == nil {
		err = q.Update(func(*bbolt.Tx) error { // or a commit could be under way
			q.DB().NoSync = true
			return nil
		})
	}
	if err != nil {
		t.Fatalf("stinttest: Open fails: %v", err)
	}
	return q
}

// finish works until nothing is left but what is delayed, parked or paused. A
// retry does not wait for its backoff.
func finish(t testing.TB, q *stint.Queue) {
	t.Helper()
	for {
		drain(t, q, maxDrained)
		n, err := q.RetryAll(context.Background(), stint.Filter{State: stint.Retrying})
		if err != nil {
			t.Fatalf("stinttest: retrying: %v", err)
		}
		if n == 0 {
			return
		}
	}
}

// closeAll closes the queue, and its database, which stint.New leaves open.
func closeAll(t testing.TB, q *stint.Queue) {
	t.Helper()
	if err := errors.Join(q.Close(), q.DB().Close()); err != nil {
		t.Fatalf("stinttest: closing the queue: %v", err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
