package stint_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Long jobs whose process is killed again and again. The defaults are small;
// for a long run:
//
//	go test -run TestKilledLongJob -resume.items 100000 -resume.kills 200 -timeout 1h .

var (
	resumeItems = flag.Int("resume.items", 10_000, "items of a long job that is killed, 20 to a commit; a tenth of that one by one")
	resumeKills = flag.Int("resume.kills", 20, "kills of a long job; fewer of the one that commits one by one, and of steps")
)

func init() {
	childModes["iterate"] = childIterate
	childModes["steps"] = childSteps
}

// childIterate counts each item of a long job in the file. The job's N is how
// many items share a commit, the child's N how many there are.
func childIterate(args childArgs) {
	q := childOpen(args, &stint.Config{})
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
		next := 0
		if _, err := job.Resume(&next); err != nil {
			return err
		}
		for next < args.N {
			end := min(next+job.Args.N, args.N)
			err := job.CommitProgress(func(tx *bolt.Tx) (err error) {
				for i := next; i < end; i++ {
					err = errors.Join(err, increment(tx, []byte(strconv.Itoa(i))))
				}
				return err
			}, end)
			if err != nil {
				return err
			}
			next = end
		}
		return job.SetResult(next)
	}, &stint.Policy{Timeout: time.Second}) // so that slices are among what is killed
	say("ready")
	workUntilEmpty(childContext(), q)
}

// killing starts children of a mode, kills so many at random moments and lets
// the next one come to its end. After each it calls look, which returns how
// much is done, and revives the job if the file takes it for the culprit.
func killing(t *testing.T, args childArgs, id stint.ID, wanted, all int, rate float64, look func(c *child, q *stint.Queue, info stint.Info) (done int)) {
	t.Helper()
	k := &killer{rng: seeded(t), startup: 20 * time.Millisecond, rate: rate}
	kills, revived, done := 0, 0, 0
	begin := time.Now()
	for {
		c := startChild(t, args)
		switch {
		case kills == wanted:
			c.succeeds()
		case c.endsWithin(k.moment(all-done, wanted-kills)):
			require.FailNow(t, "all was done before it was killed often enough", "%d kills", kills)
		default:
			c.kill()
			kills++
		}
		check(t, args.File)
		q, err := tryOpen(args.File, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		q.DB().NoSync = true
		info, err := q.Get(id)
		require.NoError(t, err)
		before := done
		done = look(c, q, info)
		require.GreaterOrEqual(t, done, before)
		if info.State == stint.Dead { // it runs alone, and at every kill
			require.NoError(t, q.Retry(t.Context(), id))
			revived++
		}
		require.NoError(t, q.Close())
		if info.State == stint.Completed {
			require.Equal(t, all, done)
			break
		}
		if worked := c.worked(); worked > 0 {
			k.startup = c.first.Sub(c.started)
			k.rate = max(k.rate, float64(done-before)/worked.Seconds())
		}
	}
	t.Logf("%d kills in %v; %d times the job was dead and revived", kills, time.Since(begin).Round(time.Millisecond), revived)
	require.Equal(t, wanted, kills)
}

func TestKilledLongJobDoesEachItemOnce(t *testing.T) {
	t.Parallel()
	for group, items := range map[int]int{20: *resumeItems, 1: *resumeItems / 10} {
		t.Run(fmt.Sprintf("%d items, %d to a commit", items, group), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			id := enqueueClosed(t, path, note{N: group})[0]
			kills := *resumeKills
			if group == 1 {
				kills = (kills + 1) / 2
			}
			killing(t, childArgs{Mode: "iterate", File: path, N: items}, id, kills, items, float64(2500*group+5000), func(_ *child, q *stint.Queue, info stint.Info) int {
				next, _ := strconv.Atoi(string(info.Checkpoint))
				counted := counters(q.DB())
				require.Len(t, counted, next, "as many items as the cursor says")
				for i := range next {
					require.Equal(t, 1, counted[strconv.Itoa(i)], "item %d", i)
				}
				require.Zero(t, info.Failures+info.Snoozes)
				if info.State == stint.Completed {
					require.Equal(t, strconv.Itoa(items), string(info.Result))
				}
				return next
			})
		})
	}
}

const stepsOfChild = 60

// childSteps runs a job of steps, each of which counts itself in the file and
// keeps a number.
func childSteps(args childArgs) {
	q := childOpen(args, &stint.Config{})
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
		for i := range stepsOfChild {
			var kept uint64
			name := strconv.Itoa(i)
			err := job.Step(ctx, name, func(context.Context) error {
				kept = rand.Uint64()
				if err := q.DB().Update(func(tx *bolt.Tx) error { return increment(tx, []byte(name)) }); err != nil {
					return err
				}
				time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
				return nil
			}, &kept)
			if err != nil {
				return err
			}
			say("done %s %d", name, kept)
		}
		return job.SetResult("all")
	}, nil)
	say("ready")
	workUntilEmpty(childContext(), q)
}

// A step whose end somebody has heard of is not run again and keeps its
// value. One that was running at a kill may be.
func TestKilledStepsRunOnceWhenFinished(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	id := enqueueClosed(t, path, note{})[0]
	finished, kept := map[string]int{}, map[string]string{}
	lives := 0
	hear := func(c *child) {
		for _, line := range c.said("done") {
			var name, value string
			_, err := fmt.Sscan(line, &name, &value)
			require.NoError(t, err)
			if before, heard := kept[name]; heard {
				require.Equal(t, before, value, "step %s", name)
			}
			kept[name] = value
		}
	}
	killing(t, childArgs{Mode: "steps", File: path}, id, (*resumeKills+1)/2, stepsOfChild, 300, func(c *child, q *stint.Queue, info stint.Info) int {
		lives++
		hear(c)
		counted := counters(q.DB())
		for name := range kept {
			require.Contains(t, info.Steps, name, "its end was on disk")
		}
		for _, name := range info.Steps {
			if before := finished[name]; before > 0 {
				require.Equal(t, before, counted[name], "step %s was finished", name)
			}
			require.Positive(t, counted[name])
			finished[name] = counted[name]
		}
		return len(info.Steps)
	})
	runs := 0
	for _, n := range finished {
		runs += n
	}
	require.LessOrEqual(t, runs, stepsOfChild+lives)
	require.Len(t, finished, stepsOfChild)
}
