package stint_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Transactions of the application beside the committer's. bbolt lets the next
// writer in before it calls the functions given to OnCommit, so the committer
// may see in the file what it has not been told yet.

// late makes whatever the queue does after the commit of tx wait for fn, as
// long as no EnqueueTx came before.
func late(tx *bolt.Tx, fn func()) { tx.OnCommit(fn) }

func TestJobSeenBeforeItIsAnnouncedRunsOnce(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	started := make(chan int, 100)
	release := make(chan struct{})
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
		started <- job.Args.N
		<-release
		return nil
	}, nil)
	run(t, q)
	require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
		late(tx, func() {
			// The first job of the lane makes the committer read the lane from
			// the file, where it finds the other one as well.
			_, err := q.Enqueue(t.Context(), note{N: 2})
			require.NoError(t, err)
			require.ElementsMatch(t, []int{1, 2}, []int{receive(t, started), receive(t, started)})
		})
		_, err := q.EnqueueTx(tx, note{N: 1})
		return err
	}))
	_, err := q.Enqueue(t.Context(), note{N: 3}) // a group after the announcement
	require.NoError(t, err)
	require.Equal(t, 3, receive(t, started))
	close(release)
	require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 5*time.Second, time.Millisecond, "%v", q.Counts())
	require.Empty(t, started, "no job ran twice")
}

func TestDueJobOfALaneNotYetAnnounced(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	ran := make(chan string, 100)
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { ran <- "note"; return nil }, nil)
	stint.Handle(q, func(context.Context, *stint.Job[other]) error { ran <- "other"; return nil }, nil)
	run(t, q)
	require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
		late(tx, func() {
			time.Sleep(2 * time.Millisecond)
			_, err := q.Enqueue(t.Context(), note{}, stint.In(time.Millisecond))
			require.NoError(t, err)
			require.ElementsMatch(t, []string{"note", "other"}, []string{receive(t, ran), receive(t, ran)})
		})
		_, err := q.EnqueueTx(tx, other{}, stint.In(time.Millisecond))
		return err
	}))
	require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 5*time.Second, time.Millisecond)
}

// The same without a helping hand: many transactions, quick handlers, all ways
// to complete a job.
func TestForeignTransactionsUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openAt(t, path, nil)
	const writers, each = 4, 150
	var runs [writers * each]atomic.Int32
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		n := job.Args.N
		runs[n].Add(1)
		mark := func(tx *bolt.Tx) error { return increment(tx, []byte(strconv.Itoa(n))) }
		switch n % 3 {
		case 0:
			return job.Commit(mark)
		case 1:
			return q.DB().Update(func(tx *bolt.Tx) error {
				if err := mark(tx); err != nil {
					return err
				}
				return job.CompleteTx(tx)
			})
		}
		return nil
	}, nil)
	stop := run(t, q)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				err := q.DB().Update(func(tx *bolt.Tx) error {
					var opts []stint.Option
					if i%10 == 0 {
						opts = append(opts, stint.In(time.Millisecond), stint.OnQueue("q"+strconv.Itoa(i)))
					}
					_, err := q.EnqueueTx(tx, note{N: w*each + i}, opts...)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 10*time.Second, time.Millisecond)
	require.NoError(t, stop())
	for n := range runs {
		require.EqualValues(t, 1, runs[n].Load(), "job %d", n)
	}
	for n, times := range counters(q.DB()) {
		require.Equal(t, 1, times, "job %s", n)
	}
}

// Completing twice in one transaction must not count twice.
func TestCompleteTxTwice(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	handled := make(chan error, 10)
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		handled <- q.DB().Update(func(tx *bolt.Tx) error {
			require.NoError(t, job.CompleteTx(tx))
			require.ErrorIs(t, job.CompleteTx(tx), stint.ErrNotRunning)
			return nil
		})
		require.ErrorIs(t, job.Commit(func(*bolt.Tx) error { return nil }), stint.ErrNotRunning)
		require.ErrorIs(t, job.CompleteTx(nil), stint.ErrNotRunning)
		return nil
	}, nil)
	// A transaction that is rolled back has completed nothing.
	stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
		err := q.DB().Update(func(tx *bolt.Tx) error {
			require.NoError(t, job.CompleteTx(tx))
			return errRolledBack
		})
		require.ErrorIs(t, err, errRolledBack)
		handled <- q.DB().Update(job.CompleteTx)
		return nil
	}, nil)
	for range 3 {
		_, err := q.Enqueue(t.Context(), note{})
		require.NoError(t, err)
		_, err = q.Enqueue(t.Context(), other{})
		require.NoError(t, err)
	}
	run(t, q)
	for range 6 {
		require.NoError(t, receive(t, handled))
	}
	require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 5*time.Second, time.Millisecond, "%v", q.Counts())
	require.EqualValues(t, 6, q.Stats().Processed)
}

var errRolledBack = errors.New("rolled back")
