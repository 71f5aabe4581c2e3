package stinttest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/stinttest"
)

// A program with its tests, as the README shows them.

type WelcomeEmail struct {
	UserID int64 `json:"user_id"`
}

func (WelcomeEmail) Kind() string { return "welcome_email" }

type Survey struct {
	UserID int64 `json:"user_id"`
}

func (Survey) Kind() string { return "survey" }

// outbox is a directory that mails are sent to.
type outbox string

// send sends a mail; one that has the key of another is the same.
func (o outbox) send(key, text string) error {
	f, err := os.OpenFile(filepath.Join(string(o), key), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// sent is the number of mails.
func (o outbox) sent() (int, error) {
	files, err := os.ReadDir(string(o))
	return len(files), err
}

func register(q *stint.Queue, mails outbox) {
	stint.Handle(q, func(_ context.Context, job *stint.Job[WelcomeEmail]) error {
		return mails.send(job.Key(), fmt.Sprint("Welcome, user ", job.Args.UserID))
	}, nil)
	stint.Handle(q, func(_ context.Context, job *stint.Job[Survey]) error {
		return mails.send(job.Key(), fmt.Sprint("How do you like it, user ", job.Args.UserID, "?"))
	}, nil)
}

func signUp(ctx context.Context, q *stint.Queue, user int64) error {
	_, err := q.Enqueue(ctx, WelcomeEmail{user})
	if err == nil {
		_, err = q.Enqueue(ctx, Survey{user}, stint.In(7*24*time.Hour))
	}
	return err
}

func openApp(dir string) (*stint.Queue, error) {
	mails := filepath.Join(dir, "outbox")
	if err := os.MkdirAll(mails, 0o700); err != nil {
		return nil, err
	}
	q, err := stint.Open(filepath.Join(dir, "app.db"), nil)
	if err == nil {
		register(q, outbox(mails))
	}
	return q, err
}

func TestSignUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time is virtual in here
		q := stinttest.New(t, nil) // closed, and its file checked, at the end of the test
		mails := outbox(t.TempDir())
		register(q, mails)

		require.NoError(t, signUp(t.Context(), q, 42))
		mail, _ := stinttest.RequireEnqueued[WelcomeEmail](t, q)
		require.EqualValues(t, 42, mail.UserID)

		info := stinttest.Work(t, q) // one job, the way Run works it
		require.Equal(t, stint.Completed, info.State)
		require.Equal(t, []Survey{{42}}, stinttest.Enqueued[Survey](t, q)) // which waits for a week

		stinttest.FastForward(t, q, 7*24*time.Hour)
		n, err := mails.sent()
		require.NoError(t, err)
		require.Equal(t, 2, n)
	})
}

func TestSignUpSurvives(t *testing.T) {
	stinttest.Survives(t, stinttest.Survival{
		Open:    openApp, // registers the handlers too
		Enqueue: func(q *stint.Queue) error { return signUp(context.Background(), q, 42) },
		Check: func(_ *stint.Queue, dir string) error {
			n, err := outbox(filepath.Join(dir, "outbox")).sent()
			if err == nil && n != 1 {
				err = fmt.Errorf("%d welcomes were sent", n)
			}
			return err
		},
	})
}
