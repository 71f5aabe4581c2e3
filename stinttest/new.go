package stinttest

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stintq/stint"
)

// New opens a queue in a new file, which is removed after the test. nil is a
// good cfg; without a Logger what is logged goes to the test's own output. It
// does not wait for the disk: what the test writes survives the process, but
// not a power cut.
//
// When the test ends the queue is closed, and the test fails if its file has
// faults, as [stint.Queue.Check] finds them, or if the end of a job could not
// be recorded. In a bubble of testing/synctest, call it with the bubble's t.
func New(t testing.TB, cfg *stint.Config) *stint.Queue {
	t.Helper()
	with := stint.Config{}
	if cfg != nil {
		with = *cfg
	}
	if with.Logger == nil {
		with.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := stint.Open(path, &with)
	if err != nil {
		t.Fatalf("stinttest: the queue cannot be opened: %v", err)
	}
	q.DB().NoSync = true // nothing is under way yet
	t.Cleanup(func() {
		t.Helper()
		mustBeSound(t, q, path)
		if err := q.Close(); err != nil {
			t.Errorf("stinttest: closing the queue: %v", err)
		}
	})
	return q
}

// mustBeSound fails the test if the queue's file has faults, also when the
// test has closed the queue.
func mustBeSound(t testing.TB, q *stint.Queue, path string) {
	t.Helper()
	faults, err := q.Check(context.Background())
	if errors.Is(err, stint.ErrClosed) {
		faults, err = stint.CheckFile(path)
	}
	if err != nil {
		t.Errorf("stinttest: the queue's file cannot be checked: %v", err)
	}
	for _, fault := range faults {
		t.Errorf("stinttest: the queue's file has a fault: %s (job %d)", fault.Text, fault.Job)
	}
}
