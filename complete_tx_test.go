package stint_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestJobIsCompletedOnce(t *testing.T) {
	t.Parallel()
	commit := func(_ *stint.Queue, job *stint.Work) error { return job.Commit(count("effect")) }
	completeTx := func(q *stint.Queue, job *stint.Work) error {
		return q.DB().Update(func(tx *bolt.Tx) error {
			return errors.Join(count("effect")(tx), job.CompleteTx(tx))
		})
	}
	inside := func(_ *stint.Queue, job *stint.Work) error {
		return job.Commit(func(tx *bolt.Tx) error { return errors.Join(count("effect")(tx), job.CompleteTx(tx)) })
	}
	ways := map[string]func(*stint.Queue, *stint.Work) error{"Commit": commit, "CompleteTx": completeTx, "CompleteTx inside Commit": inside}
	for first, complete := range ways {
		for second, again := range ways {
			scenario(t, second+" after "+first+" is refused", func(t *testing.T) {
				q := open(t, nil)
				var errs [2]error
				stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
					errs[0] = complete(q, &job.Work)
					errs[1] = again(q, &job.Work)
					return errs[1]
				}, nil)
				id := enqueue(t, q, note{})
				run(t, q)
				synctest.Wait()
				require.NoError(t, errs[0])
				require.ErrorIs(t, errs[1], stint.ErrNotRunning)
				gone(t, q, id)
				require.Equal(t, map[string]int{"effect": 1}, counters(q.DB()))
				require.Zero(t, q.Counts())
			})
		}
		for what, result := range map[string]error{"nil": nil, "an error": errOops} {
			scenario(t, first+" after the handler returned "+what+" is refused", func(t *testing.T) {
				q := open(t, nil)
				kept := make(chan *stint.Work, 1)
				stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error { kept <- &job.Work; return result }, hour)
				enqueue(t, q, note{})
				run(t, q)
				synctest.Wait()
				before := q.Counts()
				require.ErrorIs(t, complete(q, <-kept), stint.ErrNotRunning)
				require.Empty(t, counters(q.DB()))
				require.Equal(t, before, q.Counts())
			})
		}
	}
	scenario(t, "Commit inside the function of Commit is refused", func(t *testing.T) {
		q := open(t, nil)
		var inner error
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			return job.Commit(func(*bolt.Tx) error {
				inner = job.Commit(count("effect"))
				return nil
			})
		}, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		require.ErrorIs(t, inner, stint.ErrNotRunning)
		gone(t, q, id)
		require.Empty(t, counters(q.DB()))
	})
	scenario(t, "a Commit that another goroutine has under way is waited for", func(t *testing.T) {
		q := open(t, nil)
		proceed := make(chan struct{})
		result := make(chan error, 1)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			<-proceed
			go func() { result <- job.Commit(count("effect")) }()
			synctestYield()
			return errOops
		}, hour)
		id := enqueue(t, q, note{})
		h := holder(t, q, 1)
		close(proceed)
		synctest.Wait()
		h.release()
		synctest.Wait()
		if err := <-result; err != nil { // the handler was quicker
			require.ErrorIs(t, err, stint.ErrNotRunning)
			require.Equal(t, stint.Retrying, get(t, q, id).State)
			return
		}
		gone(t, q, id)
		require.Equal(t, map[string]int{"effect": 1}, counters(q.DB()))
	})
}

// synctestYield gives other goroutines of the bubble the time they need.
func synctestYield() { time.Sleep(time.Nanosecond) }

func TestCompleteTx(t *testing.T) {
	t.Parallel()
	for _, keep := range []time.Duration{0, time.Hour} {
		with := fmt.Sprintf(", with KeepCompleted %v", keep)
		isCompleted := func(t *testing.T, q *stint.Queue, id stint.ID) {
			t.Helper()
			if keep == 0 {
				gone(t, q, id)
				require.Zero(t, q.Counts())
				return
			}
			require.Equal(t, stint.Completed, get(t, q, id).State)
			require.Equal(t, stint.Counts{Completed: 1}, q.Counts())
		}
		scenario(t, "completes the job with the transaction, whatever the handler returns"+with, func(t *testing.T) {
			q := open(t, &stint.Config{KeepCompleted: keep})
			done, proceed := make(chan error), make(chan struct{})
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				done <- q.DB().Update(func(tx *bolt.Tx) error { return errors.Join(count("effect")(tx), job.CompleteTx(tx)) })
				<-proceed
				return errOops
			}, hour)
			id := enqueue(t, q, note{})
			run(t, q)
			require.NoError(t, <-done)
			synctest.Wait()
			isCompleted(t, q, id)
			require.EqualValues(t, 1, q.Stats().Processed)
			close(proceed)
			synctest.Wait()
			isCompleted(t, q, id)
			require.EqualValues(t, 1, q.Stats().Processed)
			require.Equal(t, map[string]int{"effect": 1}, counters(q.DB()))
		})
		scenario(t, "of a transaction that is rolled back leaves the decision to the result"+with, func(t *testing.T) {
			q := open(t, &stint.Config{KeepCompleted: keep})
			var runs atomic.Int32
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				err := q.DB().Update(func(tx *bolt.Tx) error {
					return errors.Join(count("effect")(tx), job.CompleteTx(tx), errRolledBack)
				})
				if runs.Add(1) == 1 {
					return err
				}
				return nil
			}, hour)
			id := enqueue(t, q, note{})
			run(t, q)
			synctest.Wait()
			info := get(t, q, id)
			require.Equal(t, stint.Retrying, info.State)
			require.Equal(t, errRolledBack.Error(), info.Attempts[0].Error)
			require.Equal(t, stint.Counts{Retrying: 1}, q.Counts())
			time.Sleep(time.Hour)
			synctest.Wait()
			isCompleted(t, q, id)
			require.Empty(t, counters(q.DB()))
		})
		scenario(t, "is known even if an OnCommit of the application panics before ours"+with, func(t *testing.T) {
			q := open(t, &stint.Config{KeepCompleted: keep})
			var runs atomic.Int32
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				runs.Add(1)
				return q.DB().Update(func(tx *bolt.Tx) error {
					tx.OnCommit(func() { panic("of the application") })
					return errors.Join(count("effect")(tx), job.CompleteTx(tx))
				})
			}, hour)
			id := enqueue(t, q, note{})
			run(t, q)
			time.Sleep(24 * time.Hour)
			require.EqualValues(t, 1, runs.Load())
			require.Equal(t, map[string]int{"effect": 1}, counters(q.DB()))
			isCompleted(t, q, id)
		})
	}
	scenario(t, "and a Retry while the handler goes on is refused, not forgotten", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: time.Hour})
		var runs atomic.Int32
		proceed := make(chan struct{})
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			runs.Add(1)
			err := q.DB().Update(job.CompleteTx)
			<-proceed
			return err
		}, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Completed, get(t, q, id).State)
		require.ErrorIs(t, q.Retry(t.Context(), id), stint.ErrRunning)
		close(proceed)
		synctest.Wait()
		require.EqualValues(t, 1, runs.Load())
		require.NoError(t, q.Retry(t.Context(), id))
		synctest.Wait()
		require.EqualValues(t, 2, runs.Load())
	})
	scenario(t, "refuses transactions that are not the queue's", func(t *testing.T) {
		q, elsewhere := open(t, nil), open(t, nil)
		errs := make(chan error, 4)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			_ = elsewhere.DB().Update(func(tx *bolt.Tx) error { errs <- job.CompleteTx(tx); return nil })
			_ = q.DB().View(func(tx *bolt.Tx) error { errs <- job.CompleteTx(tx); return nil })
			var old *bolt.Tx
			_ = q.DB().Update(func(tx *bolt.Tx) error { old = tx; return nil })
			errs <- job.CompleteTx(old)
			errs <- job.CompleteTx(nil)
			return nil
		}, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		for range 4 {
			require.ErrorIs(t, <-errs, stint.ErrNotStint)
		}
		synctest.Wait()
		gone(t, q, id)
	})
}

func TestOnCommitThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	for how, leave := range map[string]func(){"panics": func() { panic("of the application") }, "exits": runtime.Goexit} {
		scenario(t, "that "+how+" undoes and doubles nothing", func(t *testing.T) {
			q := open(t, nil)
			var left atomic.Int32
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				return job.Commit(func(tx *bolt.Tx) error {
					tx.OnCommit(func() {
						if left.Add(1) < 100 { // or an endless loop would keep the test from failing
							leave()
						}
					})
					_, err := q.EnqueueTx(tx, other{}, stint.In(time.Hour))
					return errors.Join(err, count("effect")(tx))
				})
			}, hour)
			run(t, q)
			for n := range 3 {
				enqueue(t, q, note{n})
			}
			synctest.Wait()
			require.Equal(t, map[string]int{"effect": 3}, counters(q.DB()))
			require.Equal(t, stint.Counts{Scheduled: 3}, q.Counts())
			require.LessOrEqual(t, left.Load(), int32(3))
		})
	}
}
