package stint_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Random jobs, verbs, transactions, waits and restarts; after each step the
// counts, the listings and the file have to agree.
func TestRandomLife(t *testing.T) {
	t.Parallel()
	scenario(t, "counts, listings and file agree at every step", func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		life(t, rand.New(rand.NewPCG(seed, 0)), 600)
	})
}

func life(t *testing.T, rnd *rand.Rand, steps int) {
	path := filepath.Join(t.TempDir(), "queue.db")
	cfg := &stint.Config{KeepCompleted: 3 * time.Hour, KeepDead: 5 * time.Hour, MaxDead: 20, Workers: 3}
	var q *stint.Queue
	var stop func() error
	reopen := func() {
		if q != nil {
			require.NoError(t, q.Close())
			require.NoError(t, stop())
		}
		q = openAt(t, path, cfg)
		handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			switch job.Args.N % 8 {
			case 0:
				return errRefused
			case 1:
				return stint.Kill(errRefused)
			case 2:
				if job.Attempt == 1 && job.Args.N%16 == 2 {
					return stint.RetryAfter(time.Minute, errRefused)
				}
			case 3:
				return job.Commit(func(tx *bolt.Tx) error {
					_, err := q.EnqueueTx(tx, other{}, stint.In(time.Minute), stint.ExpiresIn(time.Hour))
					return err
				})
			case 4:
				return q.DB().Update(job.CompleteTx)
			case 5:
				select {
				case <-time.After(10 * time.Minute):
				case <-ctx.Done():
					return ctx.Err()
				}
			case 6:
				if job.EnqueuedAt.Add(time.Hour).After(time.Now()) {
					return stint.Snooze(20 * time.Minute)
				}
			}
			return nil
		}, &stint.Policy{MaxAttempts: 3, Backoff: stint.Constant(30 * time.Minute), Timeout: time.Hour})
		stop = run(t, q)
		synctest.Wait()
	}
	option := func() (opts []stint.Option) {
		opts = append(opts, stint.OnQueue([]string{"a", "b", "c"}[rnd.IntN(3)]), stint.Priority(1+rnd.IntN(4)))
		if rnd.IntN(3) == 0 {
			opts = append(opts, stint.In(time.Duration(rnd.IntN(120))*time.Minute))
		}
		if rnd.IntN(4) == 0 {
			opts = append(opts, stint.ExpiresIn(time.Duration(1+rnd.IntN(120))*time.Minute))
		}
		switch rnd.IntN(6) {
		case 0:
			opts = append(opts, stint.Unique())
		case 1:
			opts = append(opts, stint.Unique(stint.WhileWaiting()))
		case 2:
			opts = append(opts, stint.Unique(stint.ForPeriod(time.Duration(1+rnd.IntN(180))*time.Minute)))
		}
		return opts
	}
	args := func() stint.Args {
		if rnd.IntN(10) == 0 {
			return other{}
		}
		return note{N: rnd.IntN(40)}
	}
	some := func() stint.ID {
		all := list(t, q, stint.Filter{})
		if len(all) == 0 {
			return 1
		}
		return all[rnd.IntN(len(all))].ID
	}
	fine := func(err error, allowed ...error) {
		t.Helper()
		if err != nil && !slices.ContainsFunc(allowed, func(a error) bool { return errors.Is(err, a) }) {
			require.NoError(t, err)
		}
	}
	ctx := context.Background()
	reopen()
	for range steps {
		switch rnd.IntN(16) {
		case 0, 1, 2, 3:
			_, err := q.Enqueue(ctx, args(), option()...)
			fine(err, stint.ErrDuplicate)
		case 4:
			_, err := q.EnqueueAll(ctx, []stint.Args{args(), args(), args()}, option()...)
			fine(err, stint.ErrDuplicate)
		case 5, 6:
			rollback := rnd.IntN(2) == 0
			err := q.DB().Update(func(tx *bolt.Tx) error {
				for range 3 {
					_, err := q.EnqueueTx(tx, args(), option()...)
					fine(err, stint.ErrDuplicate)
				}
				if rollback {
					return errRefused
				}
				return nil
			})
			fine(err, errRefused)
		case 7:
			fine(q.Retry(ctx, some()), stint.ErrNotFound, stint.ErrRunning, stint.ErrDuplicate)
		case 8:
			fine(q.Kill(ctx, some(), "enough"), stint.ErrNotFound)
		case 9:
			fine(q.Cancel(ctx, some(), "Eve"), stint.ErrNotFound)
		case 10:
			fine(q.Delete(ctx, some()), stint.ErrNotFound, stint.ErrRunning)
		case 11:
			_, err := q.RetryAll(ctx, stint.Filter{State: allStates[rnd.IntN(6)], Queue: "a"})
			fine(err)
		case 12:
			queue := []string{"a", "b", "c"}[rnd.IntN(3)]
			if rnd.IntN(2) == 0 {
				fine(q.Pause(ctx, queue, "Eve"))
			} else {
				fine(q.Resume(ctx, queue))
			}
		case 13, 14:
			time.Sleep(time.Duration(rnd.IntN(60)) * time.Minute)
		case 15:
			if rnd.IntN(4) == 0 {
				reopen()
			}
		}
		synctest.Wait()
		recount(t, q)
		require.Empty(t, stint.CheckDB(q.DB()))
		require.LessOrEqual(t, q.Counts().Dead, cfg.MaxDead)
	}
}
