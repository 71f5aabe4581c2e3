package stint_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// What a worker has is another matter than what waits.
func TestFoldAndRuns(t *testing.T) {
	t.Parallel()
	scenario(t, "a running job is not changed: one more waits, and takes the rest", func(t *testing.T) {
		q := open(t, nil)
		release := make(chan error)
		var ran []int
		handle(q, func(_ context.Context, job *stint.Job[opens]) error {
			err := <-release
			ran = append(ran, job.Args.N)
			return err
		}, &stint.Policy{Concurrency: 1, Timeout: -1, Backoff: stint.Constant(time.Hour)})
		run(t, q)
		first := enqueue(t, q, opens{N: 1}, merge)
		synctest.Wait()
		second := enqueue(t, q, opens{N: 10}, merge)
		require.NotEqual(t, first, second)
		for _, family := range families[:4] {
			for _, id := range family.enqueue(t, q, []stint.Args{opens{N: 10}}, merge) {
				require.Equal(t, second, id)
			}
		}
		waits(t, q, first, stint.Running, `{"n":1}`)
		waits(t, q, second, stint.Ready, `{"n":50}`)
		release <- errRefused
		synctest.Wait()
		waits(t, q, first, stint.Retrying, `{"n":1}`)
		waits(t, q, second, stint.Running, `{"n":50}`)
		third := enqueue(t, q, opens{N: 100}, merge)
		require.NotContains(t, []stint.ID{first, second}, third, "the one that failed has lost the place")
		close(release)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Equal(t, []int{1, 50, 100, 1}, ran)
	})

	for name, end := range map[string]error{"its retry": errRefused, "its snooze": stint.Snooze(time.Hour)} {
		scenario(t, "a job that waits for "+name+" takes the args, and keeps its time and history", func(t *testing.T) {
			q := open(t, nil)
			var ran []int
			handle(q, func(_ context.Context, job *stint.Job[opens]) error {
				if ran = append(ran, job.Args.N); len(ran) == 1 {
					return end
				}
				return nil
			}, hour)
			run(t, q)
			id := enqueue(t, q, opens{N: 1}, merge)
			synctest.Wait()
			before := get(t, q, id)
			require.Equal(t, id, enqueue(t, q, opens{N: 10}, merge))
			require.Equal(t, id, enqueue(t, q, opens{N: 100}, stint.Unique(stint.Debounce(time.Second, time.Minute))))
			after := get(t, q, id)
			before.Args = after.Args
			require.Equal(t, before, after)
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			require.Equal(t, []int{1, 100}, ran)
		})
	}

	scenario(t, "its own next job, enqueued by Commit and CompleteTx, is another one", func(t *testing.T) {
		q := open(t, nil)
		var ran []int
		handle(q, func(_ context.Context, job *stint.Job[opens]) error {
			ran = append(ran, job.Args.N)
			follow := func(tx *bolt.Tx) error {
				if job.Args.N >= 4 {
					return nil
				}
				_, err := q.EnqueueTx(tx, opens{N: job.Args.N + 1}, merge)
				return err
			}
			if job.Args.N%2 == 0 {
				return job.Commit(follow)
			}
			return q.DB().Update(func(tx *bolt.Tx) error { return errors.Join(follow(tx), job.CompleteTx(tx)) })
		}, nil)
		run(t, q)
		enqueue(t, q, opens{N: 1}, merge)
		synctest.Wait()
		require.Equal(t, []int{1, 2, 3, 4}, ran)
		require.Zero(t, q.Counts())
	})

	scenario(t, "a job that will not run any more takes nothing with it", func(t *testing.T) {
		q := open(t, nil) // without Run nothing expires by itself
		expired := enqueue(t, q, opens{N: 1}, merge, stint.ExpiresIn(time.Minute))
		kept := enqueue(t, q, note{N: 1}, stint.Unique(stint.Replace()), stint.ExpiresIn(time.Hour))
		time.Sleep(2 * time.Minute)
		next := enqueue(t, q, opens{N: 10}, merge)
		require.NotEqual(t, expired, next)
		waits(t, q, expired, stint.Dead, `{"n":1}`)
		require.Contains(t, get(t, q, expired).Reason, "expired")
		waits(t, q, next, stint.Ready, `{"n":10}`)

		require.Equal(t, kept, enqueue(t, q, note{N: 2}, stint.Unique(stint.Replace())))
		run(t, q)
		time.Sleep(time.Hour)
		waits(t, q, kept, stint.Dead, `{"n":2}`)
	})

	scenario(t, "one that was claimed ahead, cancelled and given back, neither", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			time.Sleep(time.Duration(job.Args.N) * time.Minute)
			return nil
		}, &stint.Policy{Timeout: -1})
		handle[opens](q, nil, nil)
		enqueue(t, q, note{N: 0})
		enqueue(t, q, note{N: 1})
		cancelled := enqueue(t, q, opens{N: 1}, merge)
		run(t, q)
		synctest.Wait()
		waits(t, q, cancelled, stint.Running, `{"n":1}`)
		require.NoError(t, q.Cancel(t.Context(), cancelled, "me"))
		require.NoError(t, q.Pause(t.Context(), "default", "me"))
		waits(t, q, cancelled, stint.Ready, `{"n":1}`)
		next := enqueue(t, q, opens{N: 10}, merge)
		require.NotEqual(t, cancelled, next)
		waits(t, q, cancelled, stint.Dead, `{"n":1}`)
		waits(t, q, next, stint.Ready, `{"n":10}`)
		time.Sleep(time.Hour)
	})

	scenario(t, "one that was claimed ahead counts as running until it is given back", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			time.Sleep(time.Duration(job.Args.N) * time.Minute)
			return nil
		}, &stint.Policy{Timeout: -1})
		enqueue(t, q, note{N: 0})
		enqueue(t, q, note{N: 1})
		var ran []int
		handle(q, func(_ context.Context, job *stint.Job[opens]) error { ran = append(ran, job.Args.N); return nil }, nil)
		first := enqueue(t, q, opens{N: 1}, merge)
		keyed := stint.Unique(stint.Merge(add), stint.ByKey("k"))
		other := enqueue(t, q, opens{N: 5}, keyed)
		run(t, q)
		synctest.Wait()
		waits(t, q, first, stint.Running, `{"n":1}`)
		second := enqueue(t, q, opens{N: 10}, merge)
		require.NotEqual(t, first, second)
		require.NoError(t, q.Pause(t.Context(), "default", "me"))
		require.Equal(t, second, enqueue(t, q, opens{N: 10}, merge))
		require.Equal(t, other, enqueue(t, q, opens{N: 50}, keyed))
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []int{1, 55, 20}, ran)
	})

	scenario(t, "a dead job whose place is taken cannot be retried", func(t *testing.T) {
		q := open(t, nil)
		dead := enqueue(t, q, opens{N: 1}, merge)
		require.NoError(t, q.Kill(t.Context(), dead, "no"))
		heir := enqueue(t, q, opens{N: 10}, merge)
		require.NotEqual(t, dead, heir)
		require.ErrorIs(t, q.Retry(t.Context(), dead), stint.ErrDuplicate)
		require.NoError(t, q.Delete(t.Context(), heir))
		require.NoError(t, q.Retry(t.Context(), dead))
		require.Equal(t, dead, enqueue(t, q, opens{N: 10}, merge))
		waits(t, q, dead, stint.Ready, `{"n":11}`)
	})
}

func TestFoldMeetsOtherModes(t *testing.T) {
	t.Parallel()
	replace := stint.Unique(stint.Replace(), stint.ByKey("k"))
	for name, mode := range map[string]stint.UniqueOption{"until it is done": stint.ByKey("k"), "for a period": stint.ForPeriod(time.Hour)} {
		scenario(t, "a job that holds the place "+name+": folded into while it waits, and else a duplicate", func(t *testing.T) {
			q := open(t, nil)
			id := enqueue(t, q, note{N: 1}, stint.Unique(stint.ByKey("k"), mode))
			require.Equal(t, id, enqueue(t, q, note{N: 2}, replace))
			waits(t, q, id, stint.Ready, `{"n":2}`)
			handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(time.Minute); return nil }, &stint.Policy{Timeout: -1})
			run(t, q)
			synctest.Wait()
			duplicate(t, q, id, note{N: 3}, replace)
			require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
				got, err := q.EnqueueTx(tx, note{N: 3}, replace)
				require.ErrorIs(t, err, stint.ErrDuplicate)
				require.Equal(t, id, got)
				return nil
			}))
			waits(t, q, id, stint.Running, `{"n":2}`)
			time.Sleep(30 * time.Minute)
			if name == "for a period" {
				duplicate(t, q, id, note{N: 4}, replace)
			}
			time.Sleep(30 * time.Minute)
			require.NotEqual(t, id, enqueue(t, q, note{N: 5}, replace))
			time.Sleep(time.Hour)
		})
	}

	scenario(t, "one that folds is a duplicate for who does not", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{N: 1}, replace)
		duplicate(t, q, id, note{N: 2}, stint.Unique(stint.ByKey("k")))
		duplicate(t, q, id, note{N: 2}, stint.Unique(stint.ByKey("k"), stint.WhileWaiting()))
		waits(t, q, id, stint.Ready, `{"n":1}`)
	})

	scenario(t, "an item of a batch is not folded into: its args are what it is known by", func(t *testing.T) {
		q := open(t, nil)
		for key, mode := range map[string]stint.UniqueOption{"k": stint.WhileWaiting(), "l": stint.ByKey("l")} {
			item := note{N: len(key)}
			batch, err := q.EnqueueBatch(t.Context(), slices.Values([]stint.Args{item}), &stint.BatchPolicy{Repeat: true, Options: []stint.Option{stint.Unique(stint.ByKey(key), mode)}})
			require.NoError(t, err)
			id, err := q.Enqueue(t.Context(), note{N: 7}, stint.Unique(stint.ByKey(key), stint.Replace()))
			waits(t, q, batch+1, stint.Ready, `{"n":1}`)
			if key == "l" {
				require.ErrorIs(t, err, stint.ErrDuplicate)
				require.Equal(t, batch+1, id)
				continue
			}
			require.NoError(t, err)
			require.Greater(t, id, batch+1)
		}
	})

	scenario(t, "a job that cannot be read is left as it is, and loses the place", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		damaged := enqueue(t, q, note{N: 1}, replace)
		require.NoError(t, q.Close())
		var before []byte
		record := func(db *bolt.DB, bucket string) (raw []byte) {
			require.NoError(t, db.View(func(tx *bolt.Tx) error {
				raw = append(raw, tx.Bucket([]byte("stint")).Bucket([]byte(bucket)).Get([]byte{0, 0, 0, 0, 0, 0, 0, byte(damaged)})...)
				return nil
			}))
			return raw
		}
		change(t, path, func(db *bolt.DB) error {
			err := stint.FlipByte(db, damaged, 0)
			before = record(db, "jobs")
			return err
		})
		q = openAt(t, path, nil)
		next := enqueue(t, q, note{N: 2}, replace)
		require.Equal(t, next, enqueue(t, q, note{N: 3}, replace))
		require.NotEqual(t, damaged, next)
		require.Equal(t, before, record(q.DB(), "jobs"))
		seen := handle[note](q, nil, nil)
		run(t, q)
		synctest.Wait()
		require.Equal(t, []stint.ID{next}, seen.ids())
		require.Equal(t, before, stint.Quarantine(q.DB())[damaged])
	})
}
