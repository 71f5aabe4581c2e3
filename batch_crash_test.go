package stint_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var (
	batchItems = flag.Int("crash.batch.items", 2500, "items of the batch that is killed")
	batchKills = flag.Int("crash.batch.kills", 3, "kills of such batches, at least")
)

func init() {
	childModes["plan"] = childPlan
	childModes["enqueue-batch"] = childEnqueueBatch
}

// childPlan works a batch whose effects are counted, and starts it if it is
// not there. Its planner starts over in a new order, or goes on, as Log says.
func childPlan(args childArgs) {
	q := childOpen(args, &stint.Config{Workers: 50})
	plan := func(_ context.Context, p *stint.Planning[note]) noteSeq {
		order := rand.Perm(args.N)
		if args.Log == "goes on" {
			order = sequence(0, args.N)
			if p.After != nil {
				order = order[p.After.N+1:]
			}
		}
		return func(yield func(note, error) bool) {
			for _, n := range order {
				if n%100 == 0 {
					time.Sleep(time.Millisecond)
				}
				if !yield(note{N: n}, nil) {
					return
				}
			}
		}
	}
	each := func(_ context.Context, job *stint.Job[note]) error {
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		return job.Commit(func(tx *bolt.Tx) error { return increment(tx, []byte(strconv.Itoa(job.Args.N))) })
	}
	stint.Handle(q, func(_ context.Context, job *stint.Job[done]) error {
		return job.Commit(func(tx *bolt.Tx) error { return increment(tx, []byte("done")) })
	}, nil)
	must(stint.PeriodicBatch(q, "killed", never, plan, each, &stint.BatchPolicy{OnDone: done{}}))
	started := false
	for range q.Batches(0) {
		started = true
	}
	if !started {
		_, err := q.RunSchedule(context.Background(), "killed")
		must(err)
	}
	say("ready")
	go func() {
		for info := range q.Batches(0) {
			for ; ; time.Sleep(time.Millisecond) {
				if _, err := q.Get(info.ID); err != nil {
					say("planned")
					return
				}
			}
		}
	}()
	workUntilEmpty(childContext(), q)
}

// Whenever the process is killed: each item is stored and takes effect once,
// and OnDone comes once.
func TestKilledBatch(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"starts over", "goes on"} {
		t.Run("whose planner "+how, func(t *testing.T) {
			k := &killer{rng: seeded(t), startup: 20 * time.Millisecond, rate: 5_000}
			for kills := 0; kills < *batchKills; {
				kills += killBatch(t, how, k)
			}
		})
	}
}

// killBatch kills one batch now and then until it has ended.
func killBatch(t *testing.T, how string, k *killer) (kills int) {
	const aim = 5
	items := *batchItems
	path := filepath.Join(t.TempDir(), "queue.db")
	enqueueClosed(t, path)
	args := childArgs{Mode: "plan", File: path, Log: how, N: items}
	whilePlanned, counted := 0, 0
	var seen stint.StoredBatch
	look := func() {
		inspect(t, path, func(db *bolt.DB) {
			counts := counters(db)
			for key, n := range counts {
				require.Equal(t, 1, n, "after kill %d: %s", kills, key)
			}
			counted = len(counts)
			seen = stint.FirstBatch(db)
		})
	}
	for {
		c := startChild(t, args)
		if seen.PlannerCrashes == 2 {
			c.await("planned", 1) // one more kill, and the planner would be taken for the culprit
		}
		if c.endsWithin(k.moment(items+1-counted, aim-kills)) {
			c.succeeds()
			break
		}
		c.kill()
		kills++
		require.Less(t, kills, 200, "it does not come to an end")
		before := counted
		look()
		if seen.Planning {
			whilePlanned++
		}
		if worked := c.worked(); worked > 0 {
			k.startup = c.first.Sub(c.started)
			k.rate = min(max(k.rate/1.5, float64(counted-before)/worked.Seconds()), 100_000)
		}
	}
	look()
	if seen.Dead > 0 { // running alone when a kill came, and not for the first time
		q := openAt(t, path, nil)
		_, err := q.RetryAll(t.Context(), stint.Filter{State: stint.Dead})
		require.NoError(t, err)
		require.NoError(t, q.Close())
		startChild(t, args).succeeds()
		look()
	}
	t.Logf("%d items, %d kills, %d of them while it was planned; %d suspects were dead and revived", items, kills, whilePlanned, seen.Dead)
	require.Equal(t, items+1, counted)
	q := openAt(t, path, nil)
	info := batches(t, q)[0]
	require.Equal(t, []int{items, items}, []int{info.Planned, info.Done})
	require.Empty(t, info.PlanError)
	require.Zero(t, q.Counts())
	return kills
}

// childEnqueueBatch stores a batch without end.
func childEnqueueBatch(args childArgs) {
	q := childOpen(args, &stint.Config{})
	go func() { must(q.Run(context.Background())) }()
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		if job.Args.N%2 == 0 {
			return job.Commit(func(tx *bolt.Tx) error { return increment(tx, counterKey) })
		}
		return errors.New("later")
	}, hour)
	_, err := q.EnqueueBatch(context.Background(), func(yield func(stint.Args) bool) {
		for i := 0; yield(note{N: i}); i++ {
			if i%1000 == 0 {
				say("stored %d", i)
			}
		}
	}, &stint.BatchPolicy{OnDone: done{}})
	must(err)
}

func TestKilledEnqueueBatch(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	c := startChild(t, childArgs{Mode: "enqueue-batch", File: path})
	c.await("stored", 5)
	c.kill()
	bubble(t, func(t *testing.T) {
		q := openAt(t, path, nil)
		info := batches(t, q)[0]
		require.Contains(t, info.CancelledBy, "the process ended")
		require.False(t, info.Planning)
		told := ends(q)
		ran := 0
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { ran++; return nil }, nil)
		run(t, q)
		synctest.Wait()
		_, err := q.RetryAll(t.Context(), stint.Filter{State: stint.Retrying})
		require.NoError(t, err)
		synctest.Wait()
		require.Zero(t, ran)
		require.Empty(t, told())
		info = batch(t, q, info.ID)
		require.Equal(t, info.Planned, info.Done+info.Dead)
		require.GreaterOrEqual(t, info.Planned, 3000)
		require.NotZero(t, info.FinishedAt)
		require.Zero(t, info.OnDone)
		for job := range q.Jobs(stint.Filter{Batch: info.ID, Limit: 20}) {
			require.Contains(t, job.Reason, "the process ended before it returned")
		}
	})
}

// TestPlannerThatKillsTheProcess is taken for what it is after three times,
// and what follows happens while the file is being opened.
func TestPlannerThatKillsTheProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	planned(t, q, planNotes(10), noItem, nil)
	id := startBatch(t, q)
	item := enqueueBatch(t, q, between(0, 1)) + 1
	require.NoError(t, q.Close())
	for crash := range 3 {
		change(t, path, func(db *bolt.DB) error {
			running := binary.AppendVarint([]byte{1, 1}, int64(id)) // alone
			if crash == 0 {
				running = binary.AppendVarint(binary.AppendVarint([]byte{0, 2}, int64(id)), int64(item-id))
			}
			return stint.SetRunning(db, running)
		})
		q, err = tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		require.NoError(t, q.Close())
	}
	bubble(t, func(t *testing.T) {
		q := openAt(t, path, nil)
		info := batch(t, q, id)
		require.Contains(t, info.PlanError, "the process ended 3 times")
		require.NotZero(t, info.FinishedAt)
		told := ends(q)
		run(t, q)
		require.Len(t, told(), 1)
		schedules, err := q.Schedules()
		require.NoError(t, err)
		require.Equal(t, stint.Dead, schedules[0].Runs[0].State)
		info = batches(t, q)[0]
		require.Equal(t, []int{1, 1, 0}, []int{info.Planned, info.Failed, info.Done}, "the item was in flight at the first crash")
	})
}
