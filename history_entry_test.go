package stint

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// HistoryEntries is how many entries of each length a database has.
func HistoryEntries(db *bolt.DB) (n [len(stretches)]int) {
	_ = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(rootBucket).Bucket(bucketNames[bucketHistory]).ForEach(func(k, _ []byte) error {
			n[k[0]-stretches[0].code]++
			return nil
		})
	})
	return n
}

// StartsToWrite says whether the file lacks a Start of this process, or its end.
func StartsToWrite(q *Queue) bool { return q.starts.changed() }

func someActivity(rnd *rand.Rand, names int) *activity {
	a := newActivity(0)
	for i := range names {
		k := a.kind(fmt.Sprint("kind ", i))
		for j := range k.n {
			k.n[j] = rnd.Uint64N(1 << rnd.UintN(64))
		}
		for range rnd.IntN(50) {
			d := time.Duration(rnd.Uint64N(1 << rnd.UintN(60)))
			k.run.add(classOf(d), d.Seconds())
		}
		q := a.queue(fmt.Sprint("queue ", i))
		q.ready = rnd.Uint64N(1000)
		q.wait.add(classOf(time.Second), 1)
	}
	return a
}

func TestClassOfDuration(t *testing.T) {
	t.Parallel()
	for i, bound := range durationBounds {
		at := time.Duration(math.Round(bound * 1e9))
		require.Equal(t, i, classOf(at), "a bound is in its class")
		require.Equal(t, i, classOf(at-1))
		require.Equal(t, i+1, classOf(at+1))
	}
	require.Equal(t, 0, classOf(-time.Hour))
	require.Equal(t, durationClasses, classOf(math.MaxInt64))
	var s sizes
	for n := range 5001 {
		s.add(n)
	}
	require.Equal(t, []uint64{2, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 904}, s.histogram().Counts)
	require.EqualValues(t, 4096, sizeBounds[len(sizeBounds)-1])
}

func TestActivityNamesAreBounded(t *testing.T) {
	t.Parallel()
	a := newActivity(0)
	for i := range 100 {
		a.kind(fmt.Sprint(i)).n[countEnqueued]++
		a.queue(fmt.Sprint(i)).ready++
	}
	all := newActivity(0)
	all.kind("seen before").n[countEnqueued]++
	all.merge(a)
	for _, one := range []*activity{a, all} {
		require.Len(t, one.kinds, activityNames+1)
		require.Len(t, one.queues, activityNames+1)
		n := uint64(0)
		for _, k := range one.kinds {
			n += k.n[countEnqueued]
		}
		require.EqualValues(t, 100+len(all.kinds)-len(one.kinds)+map[bool]int{true: 1}[one == all], n)
	}
	require.EqualValues(t, 36, a.kinds[""].n[countEnqueued])
	require.EqualValues(t, 36, a.queues[""].ready)
	read, ok := decodeActivity(0, all.encode())
	require.True(t, ok, "the rest counts as a name more")
	require.Equal(t, all, read)
}

func TestActivityTellsWhatWaitsAtItsEnd(t *testing.T) {
	t.Parallel()
	all, later := newActivity(0), newActivity(0)
	all.queue("a").ready, all.queue("b").ready = 3, 4
	later.queue("a").ready = 5
	all.merge(later)
	require.EqualValues(t, 5, all.queues["a"].ready)
	require.EqualValues(t, 0, all.queues["b"].ready)
}

func FuzzActivity(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, names := range []int{0, 1, 3, activityNames} {
		f.Add(someActivity(rnd, names).encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := decodeActivity(60e6, b)
		if !ok {
			return
		}
		again, ok := decodeActivity(60e6, a.encode())
		require.True(t, ok)
		for name, k := range a.kinds { // what is empty is left out
			if *k == (kindActivity{}) {
				delete(a.kinds, name)
			}
		}
		for name, q := range a.queues {
			if *q == (queueActivity{}) {
				delete(a.queues, name)
			}
		}
		require.Equal(t, a, again)
		a.merge(again)
		a.period(&stretches[0])
	})
}

func TestActivityComesBackAsItWas(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		a := someActivity(rnd, rnd.IntN(activityNames))
		b := a.encode()
		read, ok := decodeActivity(0, b)
		require.True(t, ok)
		for name, k := range a.kinds {
			if *k == (kindActivity{}) {
				delete(a.kinds, name)
			}
		}
		require.Equal(t, a, read)
		for n := range len(b) {
			_, ok := decodeActivity(0, b[:n])
			require.False(t, ok && n > 0, "cut at %d", n)
		}
	}
}

func FuzzStart(f *testing.F) {
	at := time.UnixMicro(1 << 50)
	for _, s := range []Start{{At: at}, {At: at, Ended: at.Add(time.Hour), Recovered: 7, PID: 99, Host: "host", Version: "v1.2.3 abc"}} {
		f.Add(s.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		key := appendID(nil, 7)
		s, err := decodeStart(key, sealValue(key, b))
		if err != nil {
			return
		}
		again, err := decodeStart(key, sealValue(key, s.encode()))
		require.NoError(t, err)
		require.Equal(t, s, again)
		_, err = decodeStart(appendID(nil, 8), sealValue(key, b))
		require.ErrorIs(t, err, ErrCorrupt, "the checksum covers the key")
	})
}

// idleQueue is a queue whose committer is the test.
func idleQueue(t *testing.T) *Queue {
	q, err := Open(t.TempDir()+"/queue.db", nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	q.commit.close()
	return q
}

// does is a transaction of the committer at a time, of n jobs. It fails where
// undo is set.
func does(t *testing.T, q *Queue, at time.Time, n int, undo error) {
	t.Helper()
	var done *txn
	err := q.store.update(func(tx *bolt.Tx) (err error) {
		if done, err = q.newTxn(tx); err != nil {
			return err
		}
		done.own, done.now, done.wrote = true, micros(at), true
		row, err := done.row(laneKey{"queue", "kind", 1})
		require.NoError(t, err)
		row.enqueued, row.dirty = n, true
		if err := done.flush(); err != nil {
			return err
		}
		if err := q.commit.writeHistory(done); err != nil {
			return err
		}
		return undo
	})
	require.Equal(t, undo, err)
	if err != nil {
		q.commit.rollback()
		return
	}
	q.commit.learn(done, func() {})
}

// total is what History tells of all time, in steps of each length.
func total(t *testing.T, q *Queue, all ...time.Duration) (n int) {
	t.Helper()
	for i, step := range all {
		periods, err := q.History(step, time.Time{})
		require.NoError(t, err)
		sum := 0
		for _, p := range periods {
			sum += int(p.Enqueued)
		}
		if i > 0 {
			require.Equal(t, n, sum, "in steps of %v", step)
		}
		n = sum
	}
	return n
}

// However the clock jumps, everything is counted once, with work that has a
// bound.
func TestHistoryWhileTheClockJumps(t *testing.T) {
	t.Parallel()
	q := idleQueue(t)
	rnd := rand.New(rand.NewPCG(5, 6))
	now, want := time.Now(), 0
	for i := range 400 {
		var undo error
		if rnd.IntN(5) == 0 {
			undo = errNothingToDo
		}
		// Within what is kept of minutes, so that all of it is told.
		at := now.Add(time.Duration(rnd.Int64N(int64(100*time.Minute))) - 50*time.Minute)
		if rnd.IntN(2) == 0 {
			at = now.Add(time.Duration(i) * time.Second)
		}
		n := rnd.IntN(4)
		does(t, q, at, n, undo)
		if undo == nil {
			want += n
		}
		require.Equal(t, want, total(t, q, time.Minute, 10*time.Minute, 24*time.Hour))
		require.LessOrEqual(t, len(q.history.past), 1)
	}
	entries := HistoryEntries(q.store.db())
	require.LessOrEqual(t, entries[0], 181)
	require.LessOrEqual(t, entries[1], 20)

	far := now.AddDate(50, 0, 0)
	for i := range 300 { // a clock that is wrong by ever more
		does(t, q, far.AddDate(0, i, 0), 1, nil)
	}
	for i := range 10 {
		does(t, q, now.Add(time.Duration(i)*time.Minute), 1, nil)
	}
	entries = HistoryEntries(q.store.db())
	require.LessOrEqual(t, entries[0], 242, "what is in the far future is dropped in time")
	require.LessOrEqual(t, entries[2], 362)
}

// A reader whose view is older than the last write, or has it while memory has
// not learned it yet, counts everything once.
func TestHistoryOfAnyView(t *testing.T) {
	t.Parallel()
	q := idleQueue(t)
	now := time.Now().Add(-10 * time.Minute)
	sum := func(writes uint64, file map[int64]*activity) (n int, ok bool) {
		found := map[int64]*activity{}
		for start, a := range file {
			found[start] = newActivity(start)
			found[start].merge(a)
		}
		ok = q.history.addTo(found, &stretches[2], 0, writes, nil)
		for _, a := range found {
			for _, k := range a.kinds {
				n += int(k.n[countEnqueued])
			}
		}
		return n, ok
	}
	view := func() (writes uint64, file map[int64]*activity) {
		file = map[int64]*activity{}
		require.NoError(t, q.store.view(func(tx *bolt.Tx) error {
			b := newReader(q, tx).bucket(bucketHistory)
			writes = b.Sequence()
			require.Empty(t, readActivities(b, &stretches[2], 0, file))
			return nil
		}))
		return writes, file
	}
	is := func(want int) {
		t.Helper()
		n, ok := sum(view())
		require.True(t, ok)
		require.Equal(t, want, n)
	}
	does(t, q, now, 1, nil)
	is(1)
	w0, f0 := view()
	does(t, q, now.Add(time.Minute), 2, nil)
	is(3)
	n, ok := sum(w0, f0)
	require.True(t, ok)
	require.Equal(t, 3, n, "what the old view lacks is still in memory")

	// Committed, and not learned yet.
	var done *txn
	require.NoError(t, q.store.update(func(tx *bolt.Tx) (err error) {
		if done, err = q.newTxn(tx); err != nil {
			return err
		}
		done.own, done.now = true, micros(now.Add(2*time.Minute))
		return q.commit.writeHistory(done)
	}))
	is(3)
	q.commit.learn(done, func() {})
	is(3)
	_, ok = sum(w0, f0)
	require.False(t, ok, "an older one is told to look again")
}

// Where the file takes no history, memory keeps it within a bound.
func TestHistoryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	q := idleQueue(t)
	now := time.Now().Add(-100 * time.Minute)
	for i := range 100 {
		a := q.commit.activityAt(micros(now.Add(time.Duration(i) * time.Minute)))
		a.kind("kind").n[countEnqueued]++
	}
	require.Len(t, q.history.past, maxPast)
	require.Equal(t, 100, total(t, q, time.Minute, 10*time.Minute, 24*time.Hour))
}

// Of 2000 jobs in a commit each is counted in a few places.
func BenchmarkCountAttempt(b *testing.B) {
	q := &Queue{}
	ln := &lane{key: laneKey{"queue", "kind", 1}}
	now := newActivity(0)
	s := sample{timing{5 * time.Millisecond, 80 * time.Microsecond}, ln, attemptCompleted}
	b.ReportAllocs()
	for b.Loop() {
		ln.counting(q, now).countAttempt(&s)
	}
}
