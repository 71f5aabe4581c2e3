package stint_test

import (
	"context"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// What is left when the process is killed. SIGKILL loses what is in memory
// and nothing of what was handed to the operating system, so these tests are
// about the order of things: a claim before its handler, a commit before its
// answer.

var (
	crashJobs  = flag.Int("crash.jobs", 5000, "jobs of the kill loop")
	crashKills = flag.Int("crash.kills", 8, "kills of the kill loop, at least")
)

func init() {
	childModes["count"] = childCount
	childModes["sleep"] = childSleep
	childModes["die-after-commit"] = childDieAfterCommit
	childModes["enqueue"] = childEnqueue
	childModes["outbox"] = childOutbox
}

var (
	counterBucket = []byte("counters")
	counterKey    = []byte("jobs")
)

// increment is the effect that must happen exactly once: n = n + 1.
func increment(tx *bolt.Tx, key []byte) error {
	b, err := tx.CreateBucketIfNotExists(counterBucket)
	if err != nil {
		return err
	}
	n := uint64(0)
	if v := b.Get(key); v != nil {
		n = binary.BigEndian.Uint64(v)
	}
	return b.Put(key, binary.BigEndian.AppendUint64(nil, n+1))
}

// counters reads what increment wrote.
func counters(db *bolt.DB) map[string]int {
	found := map[string]int{}
	_ = db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(counterBucket); b != nil {
			return b.ForEach(func(k, v []byte) error {
				found[string(k)] = int(binary.BigEndian.Uint64(v))
				return nil
			})
		}
		return nil
	})
	return found
}

// enqueueClosed stores jobs in a file and closes it.
func enqueueClosed(t testing.TB, path string, jobs ...stint.Args) []stint.ID {
	t.Helper()
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	var ids []stint.ID
	for group := range slices.Chunk(jobs, 1000) {
		some, err := q.EnqueueAll(t.Context(), group)
		require.NoError(t, err)
		ids = append(ids, some...)
	}
	require.NoError(t, q.Close())
	return ids
}

func notes(n int) (jobs []stint.Args) {
	for i := range n {
		jobs = append(jobs, note{N: i})
	}
	return jobs
}

// inspect checks a closed file and lets fn read it.
func inspect(t testing.TB, path string, fn func(db *bolt.DB)) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: time.Second})
	require.NoError(t, err)
	defer stint.LetGo()
	defer db.Close()
	require.Empty(t, stint.CheckDB(db))
	if fn != nil {
		fn(db)
	}
}

// change writes into a closed file without stint.
func change(t testing.TB, path string, fn func(db *bolt.DB) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	require.NoError(t, fn(db))
	require.NoError(t, db.Close())
}

func childCount(args childArgs) {
	q := childOpen(args, &stint.Config{Workers: 100})
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
		return job.Commit(func(tx *bolt.Tx) error { return increment(tx, counterKey) })
	}, nil)
	say("ready")
	workUntilEmpty(childContext(), q)
}

// killer chooses the moments of kills so that as many as are asked for come
// before the work is done, at any speed of the machine.
type killer struct {
	rng     *rand.Rand
	startup time.Duration // from the start of a child to its "ready"
	rate    float64       // jobs in a second, at best: suspects run alone and are slower
}

// moment is how long to let the next child live.
func (k *killer) moment(left, kills int) time.Duration {
	span := time.Duration(float64(left) / float64(kills+1) / k.rate * float64(time.Second))
	if kills <= 0 { // enough; each further one comes later, so that the work gets done
		span = time.Duration(float64(left)/k.rate*float64(time.Second)) << min(1-kills, 10)
		span = max(span, time.Duration(1-kills)*50*time.Millisecond) // also for the last job's end
	}
	span = min(max(span, time.Millisecond), 20*time.Second)
	if k.rng.IntN(4) == 0 {
		return time.Duration(k.rng.Int64N(int64(k.startup + time.Millisecond))) // while it opens
	}
	return k.startup + time.Duration(k.rng.Int64N(int64(span)))
}

// The counter is n = n + 1 in a bucket of the application, with job.Commit.
// After any kill, what is counted and what is still stored add up to all
// jobs; in the end everything is counted once.
func TestKillLoopCountsEachJobOnce(t *testing.T) {
	t.Parallel()
	jobs := *crashJobs
	path := filepath.Join(t.TempDir(), "queue.db")
	enqueueClosed(t, path, notes(jobs)...)

	k := &killer{rng: seeded(t), startup: 20 * time.Millisecond, rate: 50_000}
	kills, counted, died, most := 0, 0, 0, 0
	begin := time.Now()
	look := func() (dead int) {
		inspect(t, path, func(db *bolt.DB) {
			var unfinished int
			counted = counters(db)[string(counterKey)]
			unfinished, dead = stint.StoredJobs(db)
			require.Equal(t, jobs, counted+unfinished+dead, "after kill %d: %d counted, %d unfinished, %d dead", kills, counted, unfinished, dead)
			most = max(most, len(stint.RunningJobs(db)))
		})
		return dead
	}
	for {
		c := startChild(t, childArgs{Mode: "count", File: path})
		if c.endsWithin(k.moment(jobs-counted, *crashKills-kills)) {
			c.succeeds()
			break
		}
		c.kill()
		kills++
		require.Less(t, kills, 20**crashKills+jobs/10, "it does not come to an end")
		before := counted
		look()
		if worked := c.worked(); worked > 0 {
			k.startup = c.first.Sub(c.started)
			// What was counted before "ready" came through would make it boundless.
			k.rate = min(max(k.rate, float64(counted-before)/worked.Seconds()), 100_000)
		}
	}
	if died = look(); died > 0 {
		// Running alone when the kill came, and not for the first time: the
		// file cannot know that it was not their doing.
		q := openAt(t, path, nil)
		n, err := q.RetryAll(t.Context(), stint.Filter{State: stint.Dead})
		require.NoError(t, err)
		require.Equal(t, died, n)
		require.NoError(t, q.Close())
		startChild(t, childArgs{Mode: "count", File: path}).succeeds()
		look()
	}
	t.Logf("%d jobs, %d kills in %v, up to %d running at a kill; %d suspects were dead and revived",
		jobs, kills, time.Since(begin).Round(time.Millisecond), most, died)
	require.Equal(t, jobs, counted)
	require.GreaterOrEqual(t, kills, *crashKills)
	require.Zero(t, openAt(t, path, nil).Counts())
}

func childSleep(args childArgs) {
	q := childOpen(args, &stint.Config{ShutdownTimeout: 50 * time.Millisecond})
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
		say("running %d", job.ID)
		<-ctx.Done()
		return context.Cause(ctx)
	}, &stint.Policy{Timeout: -1})
	say("ready")
	must(q.Run(childContext()))
	must(q.Close())
}

// A job that was running when the process was killed is ready as soon as the
// file is open again, not after some lease.
func TestKilledJobIsReadyAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	id := enqueueClosed(t, path, note{N: 7})[0]
	c := startChild(t, childArgs{Mode: "sleep", File: path})
	require.Equal(t, id.String(), c.await("running", 1))
	c.kill()
	inspect(t, path, func(db *bolt.DB) { require.Equal(t, []uint64{uint64(id)}, stint.RunningJobs(db)) })

	start := time.Now()
	q := openAt(t, path, nil)
	t.Logf("Open after the kill took %v", time.Since(start).Round(10*time.Microsecond))
	info, err := q.Get(id)
	require.NoError(t, err)
	require.Equal(t, stint.Ready, info.State)
	require.Equal(t, 1, info.Crashes)
	require.Zero(t, info.Failures)
	require.Len(t, info.Attempts, 1)
	require.Equal(t, 1, info.Attempts[0].Number)
	require.Contains(t, info.Attempts[0].Error, "the process ended while the job was running")

	attempts := make(chan int, 10)
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		attempts <- job.Attempt
		return nil
	}, nil)
	run(t, q)
	require.Equal(t, 1, receive(t, attempts), "a crash costs no attempt")
	require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 5*time.Second, time.Millisecond)
	require.Empty(t, attempts)
}

// SIGTERM, or whatever ends Run's context, is no crash.
func TestGracefulStopIsNoCrash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	ids := enqueueClosed(t, path, notes(30)...)
	c := startChild(t, childArgs{Mode: "sleep", File: path})
	c.await("running", 10)
	if runtime.GOOS == "windows" {
		c.stop()
	} else {
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
		c.succeeds()
	}
	inspect(t, path, func(db *bolt.DB) { require.Empty(t, stint.RunningJobs(db)) })
	q := openAt(t, path, nil)
	require.Equal(t, 30, q.Counts().Ready)
	for _, id := range ids {
		info, err := q.Get(id)
		require.NoError(t, err)
		require.Equal(t, stint.Ready, info.State)
		require.Zero(t, info.Crashes)
		require.Empty(t, info.Attempts)
	}
}

// childDieAfterCommit kills itself at the first moment at which a job's effect
// is committed, in three ways by turns.
func childDieAfterCommit(args childArgs) {
	q := childOpen(args, &stint.Config{Workers: 1})
	effect := func(job *stint.Job[note]) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return increment(tx, []byte(strconv.Itoa(job.Args.N))) }
	}
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		var err error
		switch job.Args.N % 3 {
		case 0: // the handler knows of the commit, the queue has not heard of the handler
			err = q.DB().Update(func(tx *bolt.Tx) error {
				must(effect(job)(tx))
				return job.CompleteTx(tx)
			})
		case 1: // before anything of the queue's hears of the commit
			err = q.DB().Update(func(tx *bolt.Tx) error {
				tx.OnCommit(killMyself)
				must(effect(job)(tx))
				return job.CompleteTx(tx)
			})
		case 2:
			err = job.Commit(effect(job))
		}
		must(err)
		killMyself()
		return nil
	}, nil)
	say("ready")
	workUntilEmpty(childContext(), q)
}

func TestCrashRightAfterCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	const jobs = 12
	enqueueClosed(t, path, notes(jobs)...)
	deaths := 0
	for {
		c := startChild(t, childArgs{Mode: "die-after-commit", File: path})
		if code := c.wait(); code == 0 {
			break
		}
		c.await("ready", 1)
		deaths++
		require.LessOrEqual(t, deaths, jobs, "a job ran twice")
		inspect(t, path, func(db *bolt.DB) {
			unfinished, dead := stint.StoredJobs(db)
			require.Equal(t, jobs-deaths, unfinished)
			require.Zero(t, dead)
		})
	}
	require.Equal(t, jobs, deaths)
	inspect(t, path, func(db *bolt.DB) {
		require.Len(t, counters(db), jobs)
		for key, n := range counters(db) {
			require.Equal(t, 1, n, "job %s", key)
		}
	})
}

// childEnqueue stores jobs from several goroutines and says each id it is
// given.
func childEnqueue(args childArgs) {
	q := childOpen(args, &stint.Config{})
	say("ready")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id, err := q.Enqueue(context.Background(), note{N: i})
				must(err)
				say("stored %d", id)
			}
		})
	}
	wg.Wait()
}

// When Enqueue has returned nil, the job is in the file.
func TestAcknowledgedJobsSurviveKills(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	rng := seeded(t)
	var acknowledged []string
	const lives = 5
	for range lives {
		c := startChild(t, childArgs{Mode: "enqueue", File: path})
		c.await("stored", 200)
		time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond)
		c.kill()
		acknowledged = append(acknowledged, c.said("stored")...)
		check(t, path)
	}
	q := openAt(t, path, nil)
	for _, text := range acknowledged {
		id, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		_, err = q.Get(stint.ID(id))
		require.NoError(t, err)
	}
	unanswered := q.Counts().Ready - len(acknowledged)
	t.Logf("%d jobs in %d lives, and %d whose callers had no answer yet", len(acknowledged), lives, unanswered)
	require.GreaterOrEqual(t, unanswered, 0)
	require.LessOrEqual(t, unanswered, lives*4)
}

var outboxBucket = []byte("outbox")

// childOutbox saves a record and enqueues its job in one transaction of the
// application, while workers complete jobs together with a mark in the record.
func childOutbox(args childArgs) {
	q := childOpen(args, &stint.Config{})
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		mark := func(tx *bolt.Tx) error { return increment(tx, []byte(strconv.Itoa(job.Args.N))) }
		if job.Args.N%2 == 0 {
			return job.Commit(mark)
		}
		return q.DB().Update(func(tx *bolt.Tx) error {
			if err := mark(tx); err != nil {
				return err
			}
			return job.CompleteTx(tx)
		})
	}, nil)
	say("ready")
	if args.N == 0 {
		workUntilEmpty(childContext(), q)
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { must(q.Run(context.Background())) })
	for range 3 {
		wg.Go(func() {
			for {
				must(q.DB().Update(func(tx *bolt.Tx) error { return saveRecord(q, tx) }))
				say("saved")
			}
		})
	}
	wg.Wait()
}

func saveRecord(q *stint.Queue, tx *bolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists(outboxBucket)
	if err != nil {
		return err
	}
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	var opts []stint.Option
	if n%5 == 0 {
		opts = append(opts, stint.In(time.Duration(n%50)*time.Millisecond))
	}
	id, err := q.EnqueueTx(tx, note{N: int(n)}, opts...)
	if err != nil {
		return err
	}
	return b.Put([]byte(strconv.Itoa(int(n))), []byte(id.String()))
}

// The record of the application and its job are there both or neither, and
// the job's effect happens once, whenever the process is killed.
func TestRecordAndJobAreOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	rng := seeded(t)
	saved := 0
	for range 6 {
		c := startChild(t, childArgs{Mode: "outbox", File: path, N: 1})
		c.await("saved", 50)
		time.Sleep(time.Duration(rng.IntN(30_000)) * time.Microsecond)
		c.kill()
		saved += len(c.said("saved"))

		records, done := map[string]string{}, map[string]int{}
		unfinished := 0
		inspect(t, path, func(db *bolt.DB) {
			done = counters(db)
			unfinished, _ = stint.StoredJobs(db)
			_ = db.View(func(tx *bolt.Tx) error {
				return tx.Bucket(outboxBucket).ForEach(func(k, v []byte) error {
					records[string(k)] = string(v)
					return nil
				})
			})
		})
		require.GreaterOrEqual(t, len(records), saved)
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		stored := map[string]string{}
		for info, err := range q.Jobs(stint.Filter{Kind: "note"}) {
			require.NoError(t, err)
			stored[strings.Trim(string(info.Args), `{"n:}`)] = info.ID.String()
		}
		require.NoError(t, q.Close())
		require.Len(t, stored, unfinished)
		for n, id := range records {
			waits, is := stored[n]
			require.NotEqual(t, is, done[n] == 1, "record %s: its job is either stored or done, done %d times", n, done[n])
			require.LessOrEqual(t, done[n], 1)
			require.True(t, !is || waits == id, "record %s names its job", n)
		}
		require.Len(t, records, len(stored)+len(done), "no job is without its record")
	}

	// What a kill has left is done in the end. Who was running alone at one is
	// dead, see TestKillLoopCountsEachJobOnce.
	startChild(t, childArgs{Mode: "outbox", File: path}).succeeds()
	q := openAt(t, path, nil)
	revived, err := q.RetryAll(t.Context(), stint.Filter{State: stint.Dead})
	require.NoError(t, err)
	require.NoError(t, q.Close())
	startChild(t, childArgs{Mode: "outbox", File: path}).succeeds()
	inspect(t, path, func(db *bolt.DB) {
		t.Logf("%d records, %d dead suspects revived", len(counters(db)), revived)
		for n, times := range counters(db) {
			require.Equal(t, 1, times, "record %s", n)
		}
		unfinished, dead := stint.StoredJobs(db)
		require.Zero(t, unfinished+dead)
	})
}
