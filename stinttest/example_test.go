package stinttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/stinttest"
)

// exampleT stands for the *testing.T of a test, which an example has not.
type exampleT struct {
	testing.TB
	dir string
	end []func()
}

func newExampleT() *exampleT {
	dir, err := os.MkdirTemp("", "stint")
	if err != nil {
		panic(err)
	}
	return &exampleT{dir: dir}
}

// close is what happens when a test ends.
func (t *exampleT) close() {
	for i := len(t.end) - 1; i >= 0; i-- {
		t.end[i]()
	}
	os.RemoveAll(t.dir)
}

func (t *exampleT) Helper()                           {}
func (t *exampleT) TempDir() string                   { return t.dir }
func (t *exampleT) Cleanup(fn func())                 { t.end = append(t.end, fn) }
func (t *exampleT) Output() io.Writer                 { return io.Discard }
func (t *exampleT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (t *exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func Example() {
	t := newExampleT() // in a test: its *testing.T
	defer t.close()

	q := stinttest.New(t, nil)
	stint.Handle(q, func(_ context.Context, job *stint.Job[WelcomeEmail]) error {
		if job.Args.UserID == 0 {
			return stint.Kill(errors.New("no such user"))
		}
		return nil
	}, nil)
	q.Enqueue(context.Background(), WelcomeEmail{UserID: 42})
	q.Enqueue(context.Background(), WelcomeEmail{UserID: 0})

	fmt.Println(stinttest.Enqueued[WelcomeEmail](t, q))
	mail, info := stinttest.RequireEnqueued(t, q, func(mail WelcomeEmail, _ stint.Info) bool { return mail.UserID == 42 })
	fmt.Println(mail.UserID, info.State, info.Queue)

	fmt.Println(stinttest.Work(t, q).State)
	info = stinttest.Work(t, q)
	fmt.Println(info.State, "as there is", info.Reason)
	stinttest.RequireNotEnqueued[WelcomeEmail](t, q)
	// Output:
	// [{42} {0}]
	// 42 ready default
	// completed
	// dead as there is no such user
}

func ExampleDrain() {
	t := newExampleT() // in a test: its *testing.T
	defer t.close()

	q := stinttest.New(t, nil)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[WelcomeEmail]) error {
		_, err := q.Enqueue(ctx, Survey{job.Args.UserID})
		return err
	}, nil)
	stint.Handle(q, func(_ context.Context, job *stint.Job[Survey]) error {
		fmt.Println("How do you like it, user", job.Args.UserID)
		return nil
	}, nil)
	q.Enqueue(context.Background(), WelcomeEmail{UserID: 42})

	fmt.Println(stinttest.Drain(t, q), "jobs")
	// Output:
	// How do you like it, user 42
	// 2 jobs
}

func ExampleFastForward() {
	var t *testing.T // of the test
	synctest.Test(t, func(t *testing.T) {
		q := stinttest.New(t, nil)
		nights := 0
		stint.Handle(q, func(context.Context, *stint.Job[Survey]) error { nights++; return nil }, nil)
		if err := q.Periodic("nightly", "0 3 * * *", Survey{}); err != nil {
			t.Fatal(err)
		}
		stinttest.FastForward(t, q, 365*24*time.Hour)
		if nights != 365 {
			t.Errorf("it ran %d times in a year", nights)
		}
	})
}

func ExampleSurvives() {
	var t *testing.T // of the test
	stinttest.Survives(t, stinttest.Survival{
		Open:    openApp, // opens app.db in a directory and registers the handlers
		Enqueue: func(q *stint.Queue) error { return signUp(context.Background(), q, 42) },
		Check: func(q *stint.Queue, dir string) error {
			if n := q.Counts().Dead; n != 0 {
				return fmt.Errorf("%d jobs are dead", n)
			}
			return nil // and what the handlers did in dir or elsewhere is right
		},
	})
}
