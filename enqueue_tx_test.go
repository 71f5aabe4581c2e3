package stint_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var (
	ordersBucket = []byte("orders")
	errRefused   = errors.New("refused")
)

func TestEnqueueTx(t *testing.T) {
	t.Parallel()
	scenario(t, "the job exists when the transaction commits, not before", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		synctest.Wait()
		tx, err := q.DB().Begin(true)
		require.NoError(t, err)
		id, err := q.EnqueueTx(tx, note{N: 1})
		require.NoError(t, err)
		_, err = q.Get(id)
		require.ErrorIs(t, err, stint.ErrNotFound)
		time.Sleep(time.Hour)
		require.Zero(t, q.Counts())
		require.Empty(t, seen.ids())

		require.NoError(t, tx.Commit())
		synctest.Wait()
		require.Equal(t, []stint.ID{id}, seen.ids())
		require.Zero(t, q.Counts())
	})

	scenario(t, "the commit wakes an idle worker, which starts after one more", func(t *testing.T) {
		q := open(t, nil)
		started := 0
		handle(q, func(context.Context, *stint.Job[note]) error { started = lastTx(q.DB()); return nil }, nil)
		run(t, q)
		for range 3 { // with the lane new, and with it known
			synctest.Wait()
			var its int
			require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
				its = tx.ID()
				_, err := q.EnqueueTx(tx, note{})
				return err
			}))
			synctest.Wait()
			require.Equal(t, its+1, started)
		}
	})

	scenario(t, "a rollback leaves nothing and wakes nobody", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 1})
		seen := handle[note](q, nil, nil)
		run(t, q)
		synctest.Wait()
		before := lastTx(q.DB())
		for range 3 {
			var id stint.ID
			require.ErrorIs(t, q.DB().Update(func(tx *bolt.Tx) error {
				var err error
				id, err = q.EnqueueTx(tx, note{}, stint.Unique(), stint.ExpiresIn(time.Minute))
				require.NoError(t, err)
				return errRefused
			}), errRefused)
			time.Sleep(time.Hour)
			gone(t, q, id)
		}
		require.Equal(t, before, lastTx(q.DB()))
		require.Empty(t, seen.ids())
		require.Zero(t, q.Counts())
		require.Empty(t, q.Queues())
		enqueue(t, q, note{}, stint.Unique())
		synctest.Wait()
		require.Len(t, seen.ids(), 1)
	})

	scenario(t, "several in one transaction", func(t *testing.T) {
		q := open(t, nil)
		notes, others := handle[note](q, nil, nil), handle[other](q, nil, nil)
		run(t, q)
		var ids []stint.ID
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			for i := range 300 {
				var args stint.Args = note{N: i}
				if i%3 == 0 {
					args = other{}
				}
				id, err := q.EnqueueTx(tx, args, stint.Priority(1+i%4))
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return nil
		}))
		for i, id := range ids {
			require.Equal(t, ids[0]+stint.ID(i), id)
		}
		synctest.Wait()
		require.ElementsMatch(t, ids, append(notes.ids(), others.ids()...))
		require.Zero(t, q.Counts())
		require.EqualValues(t, 300, q.Stats().Processed)
	})

	scenario(t, "a delayed one runs at its time", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		synctest.Wait()
		begin := time.Now()
		var id stint.ID
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) (err error) {
			id, err = q.EnqueueTx(tx, note{}, stint.In(7*time.Minute))
			return err
		}))
		time.Sleep(7*time.Minute - 1)
		require.Equal(t, stint.Scheduled, get(t, q, id).State)
		time.Sleep(time.Second)
		require.Equal(t, 7*time.Minute, seen.at(t, id).Sub(begin))
	})

	scenario(t, "commits with the application's data or not at all", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "app.db")
		db, err := bolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		q, err := stint.New(db, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		save := func(name string, failure error) error {
			return db.Update(func(tx *bolt.Tx) error {
				orders, err := tx.CreateBucketIfNotExists(ordersBucket)
				if err != nil {
					return err
				}
				if err := orders.Put([]byte(name), []byte("paid")); err != nil {
					return err
				}
				if _, err := q.EnqueueTx(tx, other{S: name}); err != nil {
					return err
				}
				if err := orders.Put([]byte(name), []byte("paid and noted")); err != nil {
					return err
				}
				return failure
			})
		}
		require.NoError(t, save("a", nil))
		require.ErrorIs(t, save("b", errRefused), errRefused)
		require.NoError(t, save("c", nil))
		require.NoError(t, q.Close())
		require.NoError(t, db.Close())

		db, err = bolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		defer db.Close()
		q, err = stint.New(db, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		defer q.Close()
		require.NoError(t, db.View(func(tx *bolt.Tx) error {
			require.Equal(t, "paid and noted", string(tx.Bucket(ordersBucket).Get([]byte("a"))))
			require.Nil(t, tx.Bucket(ordersBucket).Get([]byte("b")))
			return nil
		}))
		var stored []string
		for info, err := range q.Jobs(stint.Filter{OldestFirst: true}) {
			require.NoError(t, err)
			stored = append(stored, string(info.Args))
		}
		require.Equal(t, []string{`{"S":"a"}`, `{"S":"c"}`}, stored)
		require.Empty(t, stint.CheckDB(db))
	})

	scenario(t, "a refusal leaves the transaction as it was", func(t *testing.T) {
		q := open(t, nil)
		first := enqueue(t, q, note{}, stint.Unique())
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			_, err := q.EnqueueTx(tx, note{N: 1})
			require.NoError(t, err)
			id, err := q.EnqueueTx(tx, note{}, stint.Unique())
			require.ErrorIs(t, err, stint.ErrDuplicate)
			require.Equal(t, first, id)
			_, err = q.EnqueueTx(tx, blobOf(2<<20))
			require.ErrorIs(t, err, stint.ErrArgsTooLarge)
			_, err = q.EnqueueTx(tx, note{N: 2})
			require.NoError(t, err)
			return nil
		}))
		synctest.Wait()
		require.Equal(t, 3, q.Counts().Ready)
	})

	scenario(t, "jobs of the transaction itself are duplicates, too", func(t *testing.T) {
		q := open(t, nil)
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			first, err := q.EnqueueTx(tx, note{}, stint.Unique())
			require.NoError(t, err)
			id, err := q.EnqueueTx(tx, note{}, stint.Unique())
			require.ErrorIs(t, err, stint.ErrDuplicate)
			require.Equal(t, first, id)
			return nil
		}))
	})

	scenario(t, "MaxJobs counts those of the transaction", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 3})
		enqueue(t, q, note{})
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			for range 2 {
				_, err := q.EnqueueTx(tx, note{}, stint.In(time.Hour))
				require.NoError(t, err)
			}
			for range 2 {
				_, err := q.EnqueueTx(tx, note{})
				require.ErrorIs(t, err, stint.ErrQueueFull)
			}
			return nil
		}))
		synctest.Wait()
		require.Equal(t, stint.Counts{Ready: 1, Scheduled: 2, Parked: 1}, q.Counts())
	})

	scenario(t, "not in a transaction of another database, a read-only or a finished one", func(t *testing.T) {
		q := open(t, nil)
		db, err := bolt.Open(filepath.Join(t.TempDir(), "other.db"), 0o600, nil)
		require.NoError(t, err)
		defer db.Close()
		refused := func(tx *bolt.Tx) error {
			_, err := q.EnqueueTx(tx, note{})
			require.ErrorIs(t, err, stint.ErrNotStint)
			require.ErrorContains(t, err, "Queue.DB")
			return nil
		}
		require.NoError(t, db.Update(refused))
		require.NoError(t, q.DB().View(refused))
		require.NoError(t, refused(nil))
		finished, err := q.DB().Begin(true)
		require.NoError(t, err)
		require.NoError(t, finished.Commit())
		require.NoError(t, refused(finished))
		require.Zero(t, q.Counts())
	})

	scenario(t, "inside Commit it belongs to the job's completion", func(t *testing.T) {
		q := open(t, nil)
		followers := handle[other](q, nil, nil)
		tries := 0
		leader := handle(q, func(_ context.Context, job *stint.Job[note]) error {
			return job.Commit(func(tx *bolt.Tx) error {
				if _, err := q.EnqueueTx(tx, other{}); err != nil {
					return err
				}
				if tries++; tries < 3 {
					return errRefused
				}
				return nil
			})
		}, hour)
		run(t, q)
		enqueue(t, q, note{})
		time.Sleep(90 * time.Minute)
		require.Empty(t, followers.ids())
		time.Sleep(time.Hour)
		require.Len(t, leader.ids(), 3)
		require.Len(t, followers.ids(), 1)
		require.Zero(t, q.Counts())
	})
}
