package stint_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// duplicate says that a job is refused, because of holder.
func duplicate(t testing.TB, q *stint.Queue, holder stint.ID, args stint.Args, opts ...stint.Option) {
	t.Helper()
	id, err := q.Enqueue(context.Background(), args, opts...)
	require.ErrorIs(t, err, stint.ErrDuplicate)
	require.Equal(t, holder, id, "it names the job in the place")
}

func TestUniqueUntilDone(t *testing.T) {
	t.Parallel()
	scenario(t, "equal are kind and args, whatever else differs", func(t *testing.T) {
		q := open(t, nil)
		first := enqueue(t, q, note{N: 1}, stint.Unique())
		duplicate(t, q, first, note{N: 1}, stint.Unique())
		duplicate(t, q, first, &note{N: 1}, stint.Unique(), stint.OnQueue("low"), stint.Priority(1), stint.In(time.Hour), stint.Tags("x"))
		enqueue(t, q, note{N: 2}, stint.Unique())
		enqueue(t, q, other{S: "1"}, stint.Unique())
		enqueue(t, q, note{N: 1}) // does not ask
		require.Equal(t, 4, q.Counts().Ready)
	})

	scenario(t, "a key takes the place of the args, within the kind", func(t *testing.T) {
		q := open(t, nil)
		first := enqueue(t, q, note{N: 1}, stint.Unique(stint.ByKey("k")))
		duplicate(t, q, first, note{N: 2}, stint.Unique(stint.ByKey("k")))
		enqueue(t, q, note{N: 1}, stint.Unique(stint.ByKey("l")))
		enqueue(t, q, other{}, stint.Unique(stint.ByKey("k")))
		enqueue(t, q, note{N: 1}, stint.Unique()) // args are no key
		enqueue(t, q, note{N: 3}, stint.Unique(stint.ByKey(`{"n":1}`)))
		empty := enqueue(t, q, note{N: 4}, stint.Unique(stint.ByKey("")))
		duplicate(t, q, empty, note{N: 5}, stint.Unique(stint.ByKey("")))
		long := strings.Repeat("long", 50_000)
		far := enqueue(t, q, note{N: 6}, stint.Unique(stint.ByKey(long)))
		duplicate(t, q, far, note{N: 7}, stint.Unique(stint.ByKey(long)))
	})

	scenario(t, "kind and key do not run into each other", func(t *testing.T) {
		q := open(t, nil)
		enqueue(t, q, named{"ab"}, stint.Unique(stint.ByKey("c")))
		enqueue(t, q, named{"a"}, stint.Unique(stint.ByKey("bc")))
		enqueue(t, q, named{"abk"}, stint.Unique(stint.ByKey("c")))
	})

	for _, c := range []struct {
		name string
		end  func(t *testing.T, q *stint.Queue, id stint.ID)
	}{
		{"completion", func(t *testing.T, q *stint.Queue, id stint.ID) {
			handle[note](q, nil, nil)
		}},
		{"death by its handler", func(t *testing.T, q *stint.Queue, id stint.ID) {
			handle(q, func(context.Context, *stint.Job[note]) error { return stint.Kill(errRefused) }, nil)
		}},
		{"death after its last attempt", func(t *testing.T, q *stint.Queue, id stint.ID) {
			handle(q, func(context.Context, *stint.Job[note]) error { return errRefused }, &stint.Policy{MaxAttempts: 2, Backoff: stint.Constant(time.Second)})
			time.Sleep(time.Minute)
		}},
		{"Commit", func(t *testing.T, q *stint.Queue, id stint.ID) {
			handle(q, func(_ context.Context, job *stint.Job[note]) error {
				return job.Commit(func(*bolt.Tx) error { return nil })
			}, nil)
		}},
		{"CompleteTx", func(t *testing.T, q *stint.Queue, id stint.ID) {
			handle(q, func(_ context.Context, job *stint.Job[note]) error { return q.DB().Update(job.CompleteTx) }, nil)
		}},
		{"Kill", func(t *testing.T, q *stint.Queue, id stint.ID) {
			require.NoError(t, q.Kill(t.Context(), id, "no"))
		}},
		{"Cancel", func(t *testing.T, q *stint.Queue, id stint.ID) {
			require.NoError(t, q.Cancel(t.Context(), id, "me"))
		}},
		{"Cancel while it runs", func(t *testing.T, q *stint.Queue, id stint.ID) {
			handle(q, func(ctx context.Context, _ *stint.Job[note]) error { <-ctx.Done(); return ctx.Err() }, nil)
			synctest.Wait()
			duplicate(t, q, id, note{}, stint.Unique())
			require.NoError(t, q.Cancel(t.Context(), id, "me"))
		}},
		{"Delete", func(t *testing.T, q *stint.Queue, id stint.ID) {
			require.NoError(t, q.Delete(t.Context(), id))
		}},
		{"DeleteAll", func(t *testing.T, q *stint.Queue, id stint.ID) {
			n, err := q.DeleteAll(t.Context(), stint.Filter{Kind: "note"})
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}},
		{"expiry", func(t *testing.T, q *stint.Queue, id stint.ID) {
			time.Sleep(2 * time.Hour)
		}},
	} {
		for _, keep := range []time.Duration{0, time.Hour} {
			name := "freed by " + c.name
			if keep > 0 {
				name += ", while the ended job is kept"
			}
			scenario(t, name, func(t *testing.T) {
				q := open(t, &stint.Config{KeepCompleted: keep})
				run(t, q)
				id := enqueue(t, q, note{}, stint.Unique(), stint.ExpiresIn(time.Hour))
				duplicate(t, q, id, note{}, stint.Unique())
				c.end(t, q, id)
				synctest.Wait()
				// Delayed, as the handler would end it, too.
				next := enqueue(t, q, note{}, stint.Unique(), stint.In(time.Hour))
				duplicate(t, q, next, note{}, stint.Unique())
			})
		}
	}

	scenario(t, "held while it is scheduled, runs and waits for its retry", func(t *testing.T) {
		q := open(t, nil)
		release := make(chan error)
		handle(q, func(context.Context, *stint.Job[note]) error { return <-release }, hour)
		run(t, q)
		id := enqueue(t, q, note{}, stint.Unique(), stint.In(time.Minute))
		held := func(want stint.State) {
			t.Helper()
			synctest.Wait()
			require.Equal(t, want, get(t, q, id).State)
			duplicate(t, q, id, note{}, stint.Unique())
			require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
				holder, err := q.EnqueueTx(tx, note{}, stint.Unique())
				require.ErrorIs(t, err, stint.ErrDuplicate)
				require.Equal(t, id, holder)
				return nil
			}))
		}
		held(stint.Scheduled)
		time.Sleep(time.Minute)
		held(stint.Running)
		release <- errRefused
		held(stint.Retrying)
		time.Sleep(time.Hour)
		held(stint.Running)
		release <- stint.Snooze(time.Hour)
		held(stint.Scheduled)
		time.Sleep(time.Hour)
		held(stint.Running)
		release <- nil
		synctest.Wait()
		enqueue(t, q, note{}, stint.Unique(), stint.In(time.Hour))
	})

	scenario(t, "freed in the transaction that ends the job", func(t *testing.T) {
		// The place is free for a follower that the ending transaction itself
		// enqueues, and taken again if that is rolled back.
		q := open(t, nil)
		var followers []stint.ID
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if len(followers) > 0 {
				return nil
			}
			for _, failure := range []error{errRefused, nil} {
				err := q.DB().Update(func(tx *bolt.Tx) error {
					_, err := q.EnqueueTx(tx, note{}, stint.Unique())
					require.ErrorIs(t, err, stint.ErrDuplicate)
					require.NoError(t, job.CompleteTx(tx))
					id, err := q.EnqueueTx(tx, note{}, stint.Unique())
					require.NoError(t, err)
					if failure == nil {
						followers = append(followers, id)
					}
					return failure
				})
				require.ErrorIs(t, err, failure)
				if failure != nil {
					duplicate(t, q, job.ID, note{}, stint.Unique())
				}
			}
			return nil
		}, nil)
		run(t, q)
		enqueue(t, q, note{}, stint.Unique())
		synctest.Wait()
		require.Len(t, followers, 1)
		require.EqualValues(t, 2, q.Stats().Processed)
		require.Zero(t, q.Counts())
	})

	scenario(t, "held across a restart", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		id := enqueue(t, q, note{}, stint.Unique())
		later := enqueue(t, q, note{N: 2}, stint.Unique(stint.ForPeriod(time.Hour)))
		waiting := enqueue(t, q, note{N: 3}, stint.Unique(stint.WhileWaiting()))
		require.NoError(t, q.Close())
		q = openAt(t, path, nil)
		duplicate(t, q, id, note{}, stint.Unique())
		duplicate(t, q, later, note{N: 2}, stint.Unique())
		duplicate(t, q, waiting, note{N: 3}, stint.Unique())
		require.NoError(t, q.Kill(t.Context(), id, "no"))
		require.NoError(t, q.Close())
		enqueue(t, openAt(t, path, nil), note{}, stint.Unique())
	})

	scenario(t, "a dead job whose place is taken cannot be retried", func(t *testing.T) {
		q := open(t, nil)
		dead := enqueue(t, q, note{}, stint.Unique())
		require.NoError(t, q.Kill(t.Context(), dead, "no"))
		heir := enqueue(t, q, note{}, stint.Unique())
		err := q.Retry(t.Context(), dead)
		require.ErrorIs(t, err, stint.ErrDuplicate)
		require.ErrorContains(t, err, heir.String())
		require.Equal(t, stint.Dead, get(t, q, dead).State)
		n, err := q.RetryAll(t.Context(), stint.Filter{State: stint.Dead})
		require.NoError(t, err)
		require.Zero(t, n)

		require.NoError(t, q.Delete(t.Context(), dead)) // does not free the heir's place
		duplicate(t, q, heir, note{}, stint.Unique())
		require.NoError(t, q.Kill(t.Context(), heir, "no"))
		require.NoError(t, q.Retry(t.Context(), heir))
		duplicate(t, q, heir, note{}, stint.Unique())
	})

	scenario(t, "of two dead ones RetryAll brings back one", func(t *testing.T) {
		q := open(t, nil)
		for range 2 {
			require.NoError(t, q.Kill(t.Context(), enqueue(t, q, note{}, stint.Unique()), "no"))
		}
		n, err := q.RetryAll(t.Context(), stint.Filter{Kind: "note"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, stint.Counts{Ready: 1, Parked: 1, Dead: 1}, q.Counts())
	})
}

func TestUniqueJobThatCannotBeRead(t *testing.T) {
	t.Parallel()
	scenario(t, "does not hold its place for ever", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		damaged := enqueue(t, q, note{}, stint.Unique(), stint.ExpiresIn(time.Hour))
		fine := enqueue(t, q, note{N: 1}, stint.Unique(), stint.ExpiresIn(time.Hour))
		require.NoError(t, q.Close())
		change(t, path, func(db *bolt.DB) error { return stint.FlipByte(db, damaged, 0) })

		q = openAt(t, path, nil)
		seen := handle[note](q, nil, nil)
		require.NoError(t, q.Pause(t.Context(), "low", "me"))
		duplicate(t, q, damaged, note{}, stint.Unique(), stint.OnQueue("low"))
		run(t, q)
		synctest.Wait()
		require.Equal(t, []stint.ID{fine}, seen.ids())
		require.Equal(t, 1, q.Stats().Quarantined)
		enqueue(t, q, note{}, stint.Unique(), stint.OnQueue("low"))
	})
}

func TestUniqueWhileWaiting(t *testing.T) {
	t.Parallel()
	waiting := stint.Unique(stint.WhileWaiting())

	scenario(t, "a running job does not hold the place: one runs, one waits", func(t *testing.T) {
		q := open(t, nil)
		release := make(chan error)
		seen := handle(q, func(context.Context, *stint.Job[note]) error { return <-release }, hour)
		first := enqueue(t, q, note{}, waiting)
		duplicate(t, q, first, note{}, waiting)
		run(t, q)
		synctest.Wait()
		require.Equal(t, []stint.ID{first}, seen.ids())
		require.NoError(t, q.Pause(t.Context(), "default", "me")) // or the next would run beside it
		second := enqueue(t, q, note{}, waiting)
		duplicate(t, q, second, note{}, waiting)
		release <- nil // does not free the second one's place
		synctest.Wait()
		duplicate(t, q, second, note{}, waiting)
		require.NoError(t, q.Resume(t.Context(), "default"))
		synctest.Wait()
		require.NoError(t, q.Pause(t.Context(), "default", "me"))
		third := enqueue(t, q, note{}, waiting)
		release <- nil
		synctest.Wait()
		duplicate(t, q, third, note{}, waiting)
		require.Equal(t, stint.Counts{Ready: 1}, q.Counts())
		close(release)
	})

	scenario(t, "the same in transactions of the application", func(t *testing.T) {
		q := open(t, nil)
		release := make(chan error)
		handle(q, func(context.Context, *stint.Job[note]) error { return <-release }, &stint.Policy{Concurrency: 1, Timeout: -1})
		run(t, q)
		enqueue(t, q, note{}, waiting)
		synctest.Wait()
		var second stint.ID
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) (err error) {
			second, err = q.EnqueueTx(tx, note{}, waiting)
			require.NoError(t, err)
			id, err := q.EnqueueTx(tx, note{}, waiting)
			require.ErrorIs(t, err, stint.ErrDuplicate)
			require.Equal(t, second, id)
			return nil
		}))
		duplicate(t, q, second, note{}, waiting)
		close(release)
		synctest.Wait()
		require.Zero(t, q.Counts())
	})

	scenario(t, "one that failed waits again, and holds the place if nobody took it", func(t *testing.T) {
		q := open(t, nil)
		handle(q, func(context.Context, *stint.Job[note]) error { return errRefused }, hour)
		run(t, q)
		id := enqueue(t, q, note{}, waiting)
		synctest.Wait()
		require.Equal(t, stint.Retrying, get(t, q, id).State)
		duplicate(t, q, id, note{}, waiting)
		require.NoError(t, q.Kill(t.Context(), id, "no"))
		next := enqueue(t, q, note{}, waiting, stint.In(time.Minute))
		duplicate(t, q, next, note{}, waiting)
	})

	scenario(t, "should it fail beside one that waits, there are two, and the end of either is its own", func(t *testing.T) {
		q := open(t, nil)
		release := make(chan error)
		handle(q, func(context.Context, *stint.Job[note]) error { return <-release }, hour)
		run(t, q)
		first := enqueue(t, q, note{}, waiting)
		synctest.Wait()
		second := enqueue(t, q, note{}, waiting, stint.In(24*time.Hour))
		release <- errRefused
		synctest.Wait()
		require.Equal(t, stint.Retrying, get(t, q, first).State)
		duplicate(t, q, second, note{}, waiting)
		require.NoError(t, q.Delete(t.Context(), first))
		duplicate(t, q, second, note{}, waiting)
		require.NoError(t, q.Delete(t.Context(), second))
		enqueue(t, q, note{}, waiting, stint.In(time.Hour))
	})

	scenario(t, "a hundred enqueues during one run are one more run", func(t *testing.T) {
		q := open(t, nil)
		var runs atomic.Int32
		handle(q, func(context.Context, *stint.Job[note]) error {
			runs.Add(1)
			time.Sleep(10 * time.Second)
			return nil
		}, &stint.Policy{Concurrency: 1})
		run(t, q)
		stored := 0
		for range 100 {
			if _, err := q.Enqueue(t.Context(), note{}, waiting); err == nil {
				stored++
			} else {
				require.ErrorIs(t, err, stint.ErrDuplicate)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		require.Equal(t, 2, stored)
		require.EqualValues(t, 2, runs.Load())
	})
}

func TestUniqueForPeriod(t *testing.T) {
	t.Parallel()
	daily := stint.Unique(stint.ForPeriod(24 * time.Hour))

	for _, keep := range []time.Duration{0, time.Minute, -1} {
		scenario(t, "kept after completion, freed by its end; completed jobs kept for "+keep.String(), func(t *testing.T) {
			q := open(t, &stint.Config{KeepCompleted: keep})
			seen := handle[note](q, nil, nil)
			run(t, q)
			id := enqueue(t, q, note{}, daily)
			synctest.Wait()
			require.Equal(t, []stint.ID{id}, seen.ids())
			duplicate(t, q, id, note{}, daily)
			time.Sleep(24*time.Hour - time.Microsecond)
			duplicate(t, q, id, note{}, daily)
			time.Sleep(time.Microsecond)
			next := enqueue(t, q, note{}, daily)
			time.Sleep(23 * time.Hour)
			duplicate(t, q, next, note{}, daily)
			time.Sleep(2 * time.Hour)
			enqueue(t, q, note{}, daily)
		})
	}

	scenario(t, "its end needs no Run", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{}, daily)
		time.Sleep(24 * time.Hour)
		next := enqueue(t, q, note{}, daily)
		require.NotEqual(t, id, next)
		require.NoError(t, q.Delete(t.Context(), id)) // does not free the next one's
		duplicate(t, q, next, note{}, daily)
	})

	scenario(t, "a job that outlives its period does not take the place with it", func(t *testing.T) {
		q := open(t, nil)
		handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(48 * time.Hour); return nil }, &stint.Policy{Timeout: -1})
		run(t, q)
		enqueue(t, q, note{}, daily)
		time.Sleep(25 * time.Hour)
		second := enqueue(t, q, note{}, daily, stint.In(72*time.Hour))
		time.Sleep(24*time.Hour - time.Minute)
		duplicate(t, q, second, note{}, daily)
		time.Sleep(time.Minute)
		enqueue(t, q, note{}, daily, stint.In(72*time.Hour))
	})

	for _, c := range []struct {
		name string
		free func(*stint.Queue, stint.ID) error
	}{
		{"Delete", func(q *stint.Queue, id stint.ID) error { return q.Delete(context.Background(), id) }},
		{"Kill", func(q *stint.Queue, id stint.ID) error { return q.Kill(context.Background(), id, "no") }},
		{"Cancel", func(q *stint.Queue, id stint.ID) error { return q.Cancel(context.Background(), id, "me") }},
	} {
		scenario(t, "freed early by "+c.name, func(t *testing.T) {
			q := open(t, nil)
			run(t, q)
			id := enqueue(t, q, note{}, daily)
			time.Sleep(time.Hour)
			require.NoError(t, c.free(q, id))
			next := enqueue(t, q, note{}, daily)
			// Its period is its own, not the rest of the first.
			time.Sleep(23*time.Hour + time.Minute)
			duplicate(t, q, next, note{}, daily)
		})
	}

	scenario(t, "freed early by the death of the job", func(t *testing.T) {
		q := open(t, nil)
		handle(q, func(context.Context, *stint.Job[note]) error { return stint.Kill(errRefused) }, nil)
		run(t, q)
		id := enqueue(t, q, note{}, daily)
		synctest.Wait()
		require.Equal(t, stint.Dead, get(t, q, id).State)
		enqueue(t, q, note{}, daily)
	})

	scenario(t, "freed early by Delete of the completed job that is kept", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: -1})
		handle[note](q, nil, nil)
		run(t, q)
		id := enqueue(t, q, note{}, daily)
		synctest.Wait()
		duplicate(t, q, id, note{}, daily)
		require.NoError(t, q.Delete(t.Context(), id))
		enqueue(t, q, note{}, daily)
	})

	scenario(t, "Retry of its own completed or dead job is no duplicate", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: -1})
		result := error(nil)
		seen := handle(q, func(context.Context, *stint.Job[note]) error { return result }, nil)
		run(t, q)
		id := enqueue(t, q, note{}, daily)
		synctest.Wait()
		require.NoError(t, q.Retry(t.Context(), id))
		synctest.Wait()
		duplicate(t, q, id, note{}, daily)
		result = stint.Kill(errRefused)
		require.NoError(t, q.Retry(t.Context(), id))
		synctest.Wait()
		require.Equal(t, stint.Dead, get(t, q, id).State)
		result = nil
		require.NoError(t, q.Retry(t.Context(), id))
		synctest.Wait()
		require.Len(t, seen.ids(), 4)
		duplicate(t, q, id, note{}, daily) // of what is left of the period
		time.Sleep(25 * time.Hour)
		require.NoError(t, q.Retry(t.Context(), id)) // after it
		synctest.Wait()
		enqueue(t, q, note{}, daily)
	})

	scenario(t, "across a restart", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		handle[note](q, nil, nil)
		stop := run(t, q)
		id := enqueue(t, q, note{}, daily)
		synctest.Wait()
		require.NoError(t, stop())
		require.NoError(t, q.Close())
		time.Sleep(23 * time.Hour)
		q = openAt(t, path, nil)
		run(t, q)
		duplicate(t, q, id, note{}, daily)
		time.Sleep(2 * time.Hour)
		require.NoError(t, q.DB().View(func(tx *bolt.Tx) error {
			require.Zero(t, tx.Bucket([]byte("stint")).Bucket([]byte("places")).Stats().KeyN, "nothing is left of it")
			require.Zero(t, tx.Bucket([]byte("stint")).Bucket([]byte("due")).Stats().KeyN)
			return nil
		}))
		enqueue(t, q, note{}, daily)
	})

	scenario(t, "two periods of one place that end at the same time", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		id := enqueue(t, q, note{}, stint.Unique(stint.ForPeriod(2*time.Hour)))
		time.Sleep(time.Hour)
		require.NoError(t, q.Kill(t.Context(), id, "no"))
		next := enqueue(t, q, note{}, stint.Unique(stint.ForPeriod(time.Hour)))
		duplicate(t, q, next, note{}, daily)
		time.Sleep(time.Hour)
		enqueue(t, q, note{}, daily)
	})
}

func TestUniqueUnderContention(t *testing.T) {
	t.Parallel()
	t.Run("of 20,000 equal jobs one is stored", func(t *testing.T) {
		q := open(t, nil)
		var stored atomic.Int64
		var holder atomic.Uint64
		var wg sync.WaitGroup
		duplicates := make([]map[stint.ID]int, 100)
		for g := range 100 {
			duplicates[g] = map[stint.ID]int{}
			wg.Go(func() {
				for i := range 200 {
					id, err := q.Enqueue(context.Background(), note{N: g*1000 + i}, stint.Unique(stint.ByKey("the one")))
					switch {
					case err == nil:
						stored.Add(1)
						holder.Store(uint64(id))
					case errors.Is(err, stint.ErrDuplicate):
						duplicates[g][id]++
					default:
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, stored.Load())
		total := 0
		for _, ids := range duplicates {
			for id, n := range ids {
				require.Equal(t, stint.ID(holder.Load()), id)
				total += n
			}
		}
		require.Equal(t, 100*200-1, total)
		require.Equal(t, 1, q.Counts().Ready)
	})

	t.Run("while it runs, never two at the same time", func(t *testing.T) {
		q := open(t, nil)
		var now, most, runs, stored atomic.Int64
		handle(q, func(context.Context, *stint.Job[note]) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			runs.Add(1)
			now.Add(-1)
			return nil
		}, nil)
		stop := run(t, q)
		var wg sync.WaitGroup
		for g := range 20 {
			wg.Go(func() {
				for range 50 {
					var err error
					if g%4 == 0 {
						err = q.DB().Update(func(tx *bolt.Tx) error {
							_, err := q.EnqueueTx(tx, note{}, stint.Unique())
							return err
						})
					} else {
						_, err = q.Enqueue(context.Background(), note{}, stint.Unique())
					}
					if err == nil {
						stored.Add(1)
					} else if !errors.Is(err, stint.ErrDuplicate) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 10*time.Second, time.Millisecond)
		require.NoError(t, stop())
		require.EqualValues(t, 1, most.Load())
		require.Equal(t, stored.Load(), runs.Load())
	})
}
