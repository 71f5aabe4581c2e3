package stinttest_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
	"github.com/stintq/stint/stinttest"
)

type mail struct {
	To string `json:"to"`
}

func (mail) Kind() string { return "mail" }

type report struct{ N int }

func (report) Kind() string { return "report" }

var errDown = errors.New("smtp is down")

// enqueue stores a job.
func enqueue(t testing.TB, q *stint.Queue, args stint.Args, opts ...stint.Option) stint.ID {
	t.Helper()
	id, err := q.Enqueue(context.Background(), args, opts...)
	require.NoError(t, err)
	return id
}

// handle registers a handler that returns what fn does.
func handle[T stint.Args](q *stint.Queue, fn func(T) error, policy *stint.Policy) {
	stint.Handle(q, func(_ context.Context, job *stint.Job[T]) error { return fn(job.Args) }, policy)
}

func TestNew(t *testing.T) {
	t.Parallel()
	t.Run("keeps what it is told, and logs to the test", func(t *testing.T) {
		t.Parallel()
		var path string
		r := record(t, func(t testing.TB) {
			q := stinttest.New(t, &stint.Config{MaxJobs: 1})
			path = q.DB().Path()
			enqueue(t, q, mail{"ana"})
			_, err := q.Enqueue(t.Context(), mail{"eva"})
			require.ErrorIs(t, err, stint.ErrQueueFull)
		})
		require.False(t, r.Failed(), r.errors.String())
		faults, err := stint.CheckFile(path)
		require.NoError(t, err, "it is closed")
		require.Empty(t, faults)
	})
	t.Run("takes a queue that the test has closed", func(t *testing.T) {
		t.Parallel()
		r := record(t, func(t testing.TB) { require.NoError(t, stinttest.New(t, nil).Close()) })
		require.False(t, r.Failed(), r.errors.String())
	})
	t.Run("closes and checks within a bubble, with Run at work", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := stinttest.New(t, nil)
			handle(q, func(mail) error { return nil }, nil)
			enqueue(t, q, mail{"ana"}, stint.In(time.Hour))
			go func() { _ = q.Run(context.Background()) }()
			time.Sleep(2 * time.Hour)
			require.Zero(t, q.Counts())
		})
	})
	t.Run("fails the test for a config that makes no sense", func(t *testing.T) {
		t.Parallel()
		r := record(t, func(t testing.TB) { stinttest.New(t, &stint.Config{CompactAt: 2}) })
		require.Contains(t, r.errors.String(), "stinttest: the queue cannot be opened: stint: bad config")
	})
	for _, closed := range []bool{false, true} {
		t.Run(fmt.Sprintf("fails the test for a damaged file, closed %v", closed), func(t *testing.T) {
			t.Parallel()
			r := record(t, func(t testing.TB) {
				q := stinttest.New(t, nil)
				enqueue(t, q, mail{"ana"})
				require.NoError(t, q.Update(func(tx *bolt.Tx) error {
					jobs := tx.Bucket([]byte("stint")).Bucket([]byte("jobs"))
					k, _ := jobs.Cursor().First()
					return jobs.Delete(k)
				}))
				if closed {
					require.NoError(t, q.Close())
				}
			})
			require.Contains(t, r.errors.String(), "stinttest: the queue's file has a fault: ")
			require.Contains(t, r.errors.String(), "(job 1)")
		})
	}
}

func TestOwnQueue(t *testing.T) {
	t.Parallel()
	q, err := stint.Open(filepath.Join(t.TempDir(), "app.db"), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	handle(q, func(mail) error { return nil }, nil)
	enqueue(t, q, mail{"ana"})
	require.Equal(t, stint.Completed, stinttest.Work(t, q).State)
}
