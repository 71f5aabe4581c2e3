package stint_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// The last item may end in any way and in anybody's transaction.
func TestLastItemOfABatch(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	ways := map[string]func(t *testing.T, q *stint.Queue, job *stint.Job[note]) error{
		"completed": func(*testing.T, *stint.Queue, *stint.Job[note]) error { return nil },
		"dead":      func(*testing.T, *stint.Queue, *stint.Job[note]) error { return stint.Kill(errOops) },
		"completed by Commit": func(_ *testing.T, _ *stint.Queue, job *stint.Job[note]) error {
			return job.Commit(func(tx *bolt.Tx) error { return increment(tx, counterKey) })
		},
		"completed by CompleteTx, after a rollback": func(t *testing.T, q *stint.Queue, job *stint.Job[note]) error {
			require.ErrorIs(t, q.DB().Update(func(tx *bolt.Tx) error {
				require.NoError(t, job.CompleteTx(tx))
				return errOops
			}), errOops)
			require.Zero(t, batch(t, q, job.BatchID).FinishedAt)
			require.NoError(t, q.DB().Update(job.CompleteTx))
			require.NotZero(t, batch(t, q, job.BatchID).FinishedAt)
			return nil
		},
		"completed by the Commit of another job's transaction": func(t *testing.T, q *stint.Queue, job *stint.Job[note]) error {
			return job.Commit(func(tx *bolt.Tx) error {
				_, err := q.EnqueueTx(tx, other{"follow-up"})
				return err
			})
		},
		"cancelled while it runs": func(t *testing.T, q *stint.Queue, job *stint.Job[note]) error {
			require.NoError(t, q.Cancel(ctx, job.ID, "ops"))
			return errOops
		},
		"out of attempts": func(*testing.T, *stint.Queue, *stint.Job[note]) error { return errOops },
		"deleted while it waits for a retry": func(t *testing.T, q *stint.Queue, job *stint.Job[note]) error {
			time.AfterFunc(time.Minute, func() {
				if err := q.Delete(ctx, job.ID); err != nil {
					panic(err)
				}
			})
			return errOops
		},
		"killed while it waits for a retry": func(t *testing.T, q *stint.Queue, job *stint.Job[note]) error {
			time.AfterFunc(time.Minute, func() {
				if err := q.Kill(ctx, job.ID, "enough"); err != nil {
					panic(err)
				}
			})
			return errOops
		},
	}
	for way, end := range ways {
		for _, keep := range []time.Duration{0, time.Hour} {
			scenario(t, fmt.Sprintf("%s, completed jobs kept for %v", way, keep), func(t *testing.T) {
				q := open(t, &stint.Config{KeepCompleted: keep})
				told := ends(q)
				stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
					if job.Args.N < 19 {
						return nil
					}
					time.Sleep(time.Second)
					return end(t, q, job)
				}, &stint.Policy{MaxAttempts: 2, Backoff: stint.Constant(time.Hour)})
				id := enqueueBatch(t, q, between(0, 20))
				run(t, q)
				time.Sleep(time.Millisecond)
				require.Equal(t, 19, batch(t, q, id).Done)
				time.Sleep(3 * time.Hour)
				require.Len(t, told(), 1)
				info := batch(t, q, id)
				require.Equal(t, 20, info.Done+info.Dead+info.Removed)
				require.Equal(t, strings.Contains(way, "deleted"), info.Removed == 1)
				require.Equal(t, strings.HasPrefix(way, "completed"), info.Done == 20)
			})
		}
	}
	scenario(t, "expired", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		_, err := q.EnqueueBatch(t.Context(), between(0, 3), &stint.BatchPolicy{OnDone: done{}, Options: []stint.Option{stint.ExpiresIn(time.Hour)}})
		require.NoError(t, err)
		run(t, q)
		time.Sleep(2 * time.Hour)
		require.Equal(t, 3, told()[0].Dead)
	})
	scenario(t, "in a group that is applied again, as another's Commit spoils it", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 50})
		told := ends(q)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			time.Sleep(time.Second) // all at once
			if job.Args.N%3 != 0 {
				return nil
			}
			calls := 0
			err := job.Commit(func(*bolt.Tx) error { calls++; return errOops })
			require.ErrorIs(t, err, errOops)
			return job.Commit(func(*bolt.Tx) error { return nil })
		}, nil)
		id := enqueueBatch(t, q, between(0, 50))
		run(t, q)
		time.Sleep(time.Minute)
		require.Len(t, told(), 1)
		require.Equal(t, 50, batch(t, q, id).Done)
	})
	scenario(t, "retried after the end changes the totals, and OnDone does not come again", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		broken := true
		stint.Handle(q, func(context.Context, *stint.Job[note]) error {
			if broken {
				return stint.Kill(errOops)
			}
			return nil
		}, &stint.Policy{Concurrency: 1})
		id := enqueueBatch(t, q, between(0, 10))
		run(t, q)
		require.Equal(t, 10, told()[0].Dead)
		broken = false
		n, err := q.RetryAll(t.Context(), stint.Filter{Batch: id})
		require.NoError(t, err)
		require.Equal(t, 10, n)
		require.Len(t, told(), 1)
		info := batch(t, q, id)
		require.Equal(t, []int{10, 0}, []int{info.Done, info.Dead})
	})
}

func TestItemWithAnUnreadableRecord(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/queue.db"
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	enqueueBatch(t, q, between(100, 110)) // others beside it
	id := enqueueBatch(t, q, between(0, 3))
	var items []stint.ID
	for info := range q.Jobs(stint.Filter{Batch: id}) {
		items = append(items, info.ID)
	}
	require.NoError(t, q.Close())
	change(t, path, func(db *bolt.DB) error { return stint.FlipByte(db, items[1], 1) })

	bubble(t, func(t *testing.T) {
		q := openAt(t, path, nil)
		told := ends(q)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
		run(t, q)
		require.Len(t, told(), 2)
		info := batch(t, q, id)
		require.Equal(t, []int{3, 2, 1}, []int{info.Planned, info.Done, info.Removed})
		require.Equal(t, 1, batch(t, q, enqueueBatch(t, q, slices.Values([]stint.Args{note{1}}))).Planned)
	})
}

func TestBatchesThatHaveEnded(t *testing.T) {
	t.Parallel()
	scenario(t, "are kept for 30 days", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
		run(t, q)
		id := enqueueBatch(t, q, between(0, 2000))
		require.Len(t, told(), 1)
		time.Sleep(29 * 24 * time.Hour)
		open := enqueueBatch(t, q, slices.Values([]stint.Args{other{"parked"}}))
		batch(t, q, id)
		time.Sleep(2 * 24 * time.Hour)
		_, err := q.Batch(id)
		require.ErrorIs(t, err, stint.ErrNotFound)
		require.Equal(t, open, batches(t, q)[0].ID)
		require.Len(t, batches(t, q), 1)
	})
	scenario(t, "stay while OnDone has not ended, or an item was retried", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		first := enqueueBatch(t, q, between(0, 0))
		second := enqueueBatch(t, q, between(0, 1))
		_, err := q.KillAll(t.Context(), stint.Filter{Batch: second}, "")
		require.NoError(t, err)
		require.NoError(t, q.Kill(t.Context(), batch(t, q, second).OnDone, ""))
		_, err = q.RetryAll(t.Context(), stint.Filter{Batch: second})
		require.NoError(t, err)
		time.Sleep(40 * 24 * time.Hour)
		batch(t, q, first)
		batch(t, q, second)
		require.NoError(t, q.Delete(t.Context(), batch(t, q, first).OnDone))
		_, err = q.KillAll(t.Context(), stint.Filter{Batch: second}, "")
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		require.Empty(t, batches(t, q))
		_, err = q.RetryAll(t.Context(), stint.Filter{State: stint.Dead}) // whose batches are forgotten
		require.NoError(t, err)
	})
	scenario(t, "without Run, and long ago, take along what their planning had to remember", func(t *testing.T) {
		q := open(t, nil)
		planned(t, q, func(context.Context, *stint.Planning[note]) noteSeq {
			return func(yield func(note, error) bool) {
				_ = yield(note{0}, nil) && yield(note{1}, nil) && yield(note{}, stint.Kill(errOops))
			}
		}, func(_ context.Context, job *stint.Job[note]) error {
			return map[int]error{1: errOops}[job.Args.N]
		}, &stint.BatchPolicy{Items: hour})
		stop := run(t, q)
		id := startBatch(t, q)
		synctest.Wait()
		require.NoError(t, stop())
		require.Equal(t, 2, stint.StoredItems(q.DB()), "one that is finished, one that is not")
		_, err := q.KillAll(t.Context(), stint.Filter{Batch: id}, "enough")
		require.NoError(t, err)
		require.NoError(t, q.Kill(t.Context(), batch(t, q, id).OnDone, "enough"))

		time.Sleep(31 * 24 * time.Hour)
		run(t, q)
		time.Sleep(2 * time.Hour)
		require.Empty(t, batches(t, q))
		require.Zero(t, stint.StoredItems(q.DB()))
	})
	scenario(t, "are no more than 1000", func(t *testing.T) {
		q := open(t, nil)
		planned(t, q, planNotes(0), noItem, nil)
		ends(q)
		ids, err := q.EnqueueAll(t.Context(), slices.Repeat([]stint.Args{planJob{}}, 1005))
		require.NoError(t, err)
		run(t, q)
		time.Sleep(2 * time.Hour)
		all := batches(t, q)
		require.Len(t, all, 1000)
		for i := range 900 {
			require.Equal(t, ids[1004-i], all[i].ID, "the newest stay")
		}
		n := 0
		for info, err := range q.Batches(all[100].ID) {
			require.NoError(t, err)
			require.Equal(t, all[101+n].ID, info.ID)
			if n++; n == 150 {
				break
			}
		}
	})
}
