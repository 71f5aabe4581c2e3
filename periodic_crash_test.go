package stint_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"iter"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var (
	periodicKills = flag.Int("crash.schedules", 6, "SIGKILLs of the daemon with schedules")
	periodicItems = flag.Int("crash.items", 500, "items in each batch of that daemon")
)

// tick is the job of a schedule that fires each second, and element an item of
// the batches beside it.
type tick struct{}

func (tick) Kind() string { return "tick" }

type element struct{ N int }

func (element) Kind() string { return "element" }

type total struct{}

func (total) Kind() string { return "total" }

// effectKey names an effect: which and of what, so that a second one of the
// same is seen.
func effectKey(what byte, owner, n uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{what}, owner), n)
}

// childDaemon has a schedule that fires each second, all of whose occurrences
// are to be run, and a batch every three seconds, whose runs may not overlap.
func childDaemon(args childArgs) {
	q := openDaemon(args)
	say("ready")
	must(q.Run(childContext()))
	must(q.Close())
}

// childDaemonEnd works off what the daemon has left.
func childDaemonEnd(args childArgs) {
	q := openDaemon(args)
	say("ready")
	workUntilEmpty(childContext(), q)
}

func init() { childModes["daemon"], childModes["daemon end"] = childDaemon, childDaemonEnd }

func openDaemon(args childArgs) *stint.Queue {
	q := childOpen(args, &stint.Config{Workers: 50})
	stint.Handle(q, func(_ context.Context, job *stint.Job[tick]) error {
		return job.Commit(func(tx *bolt.Tx) error {
			return increment(tx, effectKey('t', 0, uint64(job.ScheduledFor.Unix())))
		})
	}, nil)
	stint.Handle(q, func(_ context.Context, job *stint.Job[total]) error {
		totals, err := job.Batch()
		if err != nil {
			return err
		}
		if totals.Planned != args.N || totals.Done != args.N {
			return stint.Kill(fmt.Errorf("the totals are wrong: %+v", totals))
		}
		return job.Commit(func(tx *bolt.Tx) error { return increment(tx, effectKey('d', uint64(totals.ID), 0)) })
	}, nil)
	must(q.Periodic("ticks", "* * * * * *", tick{}, stint.Missed(stint.All(1000, time.Hour)), stint.Overlap(stint.Allow)))
	must(stint.PeriodicBatch(q, "elements", "*/3 * * * * *",
		func(context.Context, *stint.Planning[element]) iter.Seq2[element, error] {
			return func(yield func(element, error) bool) {
				for i := range args.N {
					if !yield(element{i}, nil) {
						return
					}
				}
			}
		},
		func(_ context.Context, job *stint.Job[element]) error {
			return job.Commit(func(tx *bolt.Tx) error {
				return increment(tx, effectKey('e', uint64(job.BatchID), uint64(job.Args.N)))
			})
		},
		&stint.BatchPolicy{OnDone: total{}}))
	return q
}

// A daemon that dies at random moments loses and doubles no occurrence, no
// item of a batch, and no end of one.
func TestKilledDaemonKeepsItsSchedules(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	rng := seeded(t)
	args := childArgs{Mode: "daemon", File: path, N: *periodicItems}
	for range *periodicKills {
		c := startChild(t, args)
		require.False(t, c.endsWithin(time.Duration(rng.Int64N(int64(1500*time.Millisecond)))))
		c.kill()
		inspect(t, path, nil)
	}
	c := startChild(t, args)
	require.False(t, c.endsWithin(5*time.Second))
	c.stop()

	// What is still under way is worked off, so that the sums are final.
	q := openAt(t, path, nil)
	_, err := q.RetryAll(t.Context(), stint.Filter{State: stint.Dead}) // suspects
	require.NoError(t, err)
	for _, s := range []string{"ticks", "elements"} {
		require.NoError(t, q.PauseSchedule(t.Context(), s, "the test"))
	}
	require.NoError(t, q.Close())
	startChild(t, childArgs{Mode: "daemon end", File: path, N: *periodicItems}).succeeds()

	inspect(t, path, func(db *bolt.DB) {
		effects := counters(db)
		first, last, ticks, batches, items := uint64(0), uint64(0), 0, 0, 0
		for key, n := range effects {
			require.Len(t, key, 17)
			owner, number := binary.BigEndian.Uint64([]byte(key)[1:]), binary.BigEndian.Uint64([]byte(key)[9:])
			require.Equal(t, 1, n, "%c %d %d", key[0], owner, number)
			switch key[0] {
			case 't':
				ticks++
				if first == 0 || number < first {
					first = number
				}
				last = max(last, number)
			case 'e':
				items++
			case 'd':
				batches++
			}
		}
		require.EqualValues(t, last-first+1, ticks, "each second has one tick")
		require.Equal(t, batches*args.N, items, "each batch is complete")
		require.Greater(t, batches, 1)
		t.Logf("%d kills: %d seconds, each with one tick; %d batches of %d items, each item once and each end once", *periodicKills, ticks, batches, args.N)
	})
}
