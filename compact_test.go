package stint_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var shop = []byte("shop")

// ballast is content of so many MiB in a bucket of the application's.
func ballast(t testing.TB, q *stint.Queue, mib int) {
	t.Helper()
	for first := 0; first < mib; first += 8 {
		require.NoError(t, q.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("ballast"))
			for i := 0; i < min(8, mib-first)*64 && err == nil; i++ {
				err = b.Put(fmt.Appendf(nil, "%08d", first*64+i), make([]byte, 15<<10))
			}
			return err
		}))
	}
}

// bloat makes so many MiB of free space.
func bloat(t testing.TB, q *stint.Queue, mib int) {
	t.Helper()
	ballast(t, q, mib)
	require.NoError(t, q.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("ballast")) }))
}

// leftover is the file that a compaction makes.
func leftover(path string) string { return path + ".compacting" }

func TestCompactUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openAt(t, path, nil)
	mirror, err := bolt.Open(filepath.Join(t.TempDir(), "mirror.db"), 0o600, &bolt.Options{NoSync: true, Timeout: time.Second})
	require.NoError(t, err)
	defer mirror.Close()
	bloat(t, q, 16)

	const producers, followers = 8, 1
	var runs [producers + followers][10_000]atomic.Int32
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		runs[job.Args.N/10_000][job.Args.N%10_000].Add(1)
		return nil
	}, nil)
	stop := run(t, q)
	ended := make(chan struct{})
	var stored [producers + followers]int
	var all sync.WaitGroup
	for p := range producers {
		all.Go(func() {
			for n := 0; n < 10_000; n++ {
				select {
				case <-ended:
					return
				default:
				}
				_, err := q.Enqueue(context.Background(), note{N: p*10_000 + n})
				if err != nil {
					t.Errorf("Enqueue: %v", err)
					return
				}
				stored[p]++
			}
		})
	}
	all.Go(func() { // the application, which keeps a mirror
		ours, its := stint.NewTreeModel(1, 1, 1), stint.NewTreeModel(1, 1, 1)
		for n := 0; n < 10_000; n++ {
			select {
			case <-ended:
				return
			default:
			}
			err := q.Update(func(tx *bolt.Tx) error {
				if _, err := q.EnqueueTx(tx, note{N: producers*10_000 + n}); err != nil {
					return err
				}
				return ours.Change(tx, 10)
			})
			if err != nil {
				t.Errorf("Update: %v", err)
				return
			}
			stored[producers]++
			if err := mirror.Update(func(tx *bolt.Tx) error { return its.Change(tx, 10) }); err != nil {
				t.Errorf("mirror: %v", err)
				return
			}
		}
	})
	for i := range 4 {
		before := q.Stats()
		told := stint.Progress{}
		require.NoError(t, q.Compact(t.Context(), func(p stint.Progress) { told = p }))
		require.Equal(t, told.Total, told.Done)
		if i == 0 {
			require.Less(t, q.Stats().FileSize, before.FileSize)
		}
		time.Sleep(20 * time.Millisecond)
	}
	close(ended)
	all.Wait()
	eventually(t, func() bool { c := q.Counts(); return c.Ready+c.Running == 0 }, "the jobs")
	require.NoError(t, stop())
	for p := range stored {
		for n := range stored[p] {
			require.EqualValues(t, 1, runs[p][n].Load(), "producer %d, job %d of %d", p, n, stored[p])
		}
	}
	require.True(t, maps.Equal(stint.BucketsOf(t, mirror), stint.BucketsOf(t, q.DB())))
	require.NoFileExists(t, leftover(path))
	t.Logf("%v jobs were stored meanwhile", stored)
}

func TestCompactBesideReaders(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	require.NoError(t, q.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(shop)
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("old"))
	}))
	bloat(t, q, 4)
	inside, leave, left := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		left <- q.View(func(tx *bolt.Tx) error {
			close(inside)
			<-leave
			require.Equal(t, "old", string(tx.Bucket(shop).Get([]byte("k"))))
			return errors.New("mine")
		})
	}()
	<-inside
	old := q.DB()
	require.NoError(t, q.Compact(t.Context(), nil))
	require.NotSame(t, old, q.DB())
	require.NoError(t, q.Update(func(tx *bolt.Tx) error { return tx.Bucket(shop).Put([]byte("k"), []byte("new")) }))
	enqueue(t, q, note{N: 1})
	require.NoError(t, q.Compact(t.Context(), nil))
	for _, db := range []*bolt.DB{old} { // a pointer from before
		require.Error(t, db.Update(func(tx *bolt.Tx) error {
			_, err := q.EnqueueTx(tx, note{N: 2})
			require.ErrorIs(t, err, stint.ErrNotStint)
			return tx.Bucket(shop).Put([]byte("k"), []byte("lost"))
		}))
	}
	close(leave)
	require.EqualError(t, <-left, "mine")
	require.NoError(t, q.View(func(tx *bolt.Tx) error {
		require.Equal(t, "new", string(tx.Bucket(shop).Get([]byte("k"))))
		return nil
	}))
	require.Equal(t, 1, q.Counts().Ready)
	require.Panics(t, func() {
		_ = q.Update(func(tx *bolt.Tx) error {
			_ = tx.Bucket(shop).Put([]byte("k"), []byte("undone"))
			panic("boom")
		})
	})
	require.NoError(t, q.Update(func(tx *bolt.Tx) error {
		require.Equal(t, "new", string(tx.Bucket(shop).Get([]byte("k"))))
		return nil
	}))
}

func TestCompactGivenUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stop func(q *stint.Queue, cancel func())
		want error
	}{
		"the context ends": {func(_ *stint.Queue, cancel func()) { cancel() }, context.Canceled},
		"Close":            {func(q *stint.Queue, _ func()) { _ = q.Close() }, stint.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			q := openAt(t, path, nil)
			ballast(t, q, 12)
			before, err := os.Stat(path)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			first := true
			err = q.Compact(ctx, func(stint.Progress) {
				if first {
					first = false
					require.FileExists(t, leftover(path))
					c.stop(q, cancel)
				}
			})
			require.ErrorIs(t, err, c.want)
			require.NoFileExists(t, leftover(path))
			after, err := os.Stat(path)
			require.NoError(t, err)
			require.True(t, os.SameFile(before, after))
			if c.want != stint.ErrClosed {
				enqueue(t, q, note{})
				require.NoError(t, q.Compact(t.Context(), nil))
				require.Equal(t, 1, q.Counts().Ready)
			}
		})
	}
}

func TestCompactRefuses(t *testing.T) {
	t.Parallel()
	t.Run("a database of the application", func(t *testing.T) {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "app.db"), 0o600, &bolt.Options{NoSync: true, Timeout: time.Second})
		require.NoError(t, err)
		defer db.Close()
		q, err := stint.New(db, &stint.Config{Logger: quiet, CompactAt: 0.1})
		require.NoError(t, err)
		require.ErrorIs(t, q.Compact(t.Context(), nil), errors.ErrUnsupported)
		require.NoError(t, q.Close())
		require.ErrorIs(t, q.Update(func(*bolt.Tx) error { return nil }), stint.ErrClosed)
	})
	t.Run("a share that is none", func(t *testing.T) {
		_, err := tryOpen(filepath.Join(t.TempDir(), "queue.db"), &stint.Config{CompactAt: 1})
		require.ErrorIs(t, err, stint.ErrConfig)
	})
	t.Run("a file with two names", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		require.NoError(t, os.Link(path, path+".too"))
		require.ErrorContains(t, q.Compact(t.Context(), nil), "several names")
		require.NoError(t, os.Remove(path+".too"))
		require.NoError(t, q.Compact(t.Context(), nil))
	})
	t.Run("a directory in the way", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		require.NoError(t, os.Mkdir(leftover(path), 0o700))
		require.ErrorContains(t, q.Compact(t.Context(), nil), "in the way")
	})
	t.Run("a link in the way is not followed", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		target := filepath.Join(t.TempDir(), "precious")
		require.NoError(t, os.WriteFile(target, []byte("gold"), 0o600))
		require.NoError(t, os.Symlink(target, leftover(path)))
		require.NoError(t, q.Compact(t.Context(), nil))
		b, err := os.ReadFile(target)
		require.NoError(t, err)
		require.Equal(t, "gold", string(b))
	})
}

func TestCompactKeepsTheMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openAt(t, path, nil)
	require.NoError(t, os.Chmod(path, 0o640))
	require.NoError(t, q.Compact(t.Context(), nil))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o640, info.Mode().Perm())
	require.Equal(t, path, q.DB().Path())
	_, err = tryOpen(path, &stint.Config{Logger: quiet, LockTimeout: -1})
	require.ErrorIs(t, err, stint.ErrLocked)
}

func TestCompactAt(t *testing.T) {
	t.Parallel()
	t.Run("at Open", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		id := enqueue(t, q, note{N: 7})
		bloat(t, q, 24)
		large := q.Stats()
		require.Greater(t, large.FileFree, int64(20<<20))
		require.NoError(t, q.Close())
		log := &lockedBuffer{}
		q = openAt(t, path, &stint.Config{CompactAt: 0.5, Logger: textLog(log)})
		require.Contains(t, log.String(), "the file was compacted")
		s := q.Stats()
		require.Less(t, s.FileSize, int64(1<<20))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, info.Size(), s.FileSize)
		get(t, q, id)
	})
	t.Run("while Run works", func(t *testing.T) {
		log := &lockedBuffer{}
		q := open(t, &stint.Config{CompactAt: 0.5, Logger: textLog(log)})
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
		run(t, q)
		bloat(t, q, 24)
		enqueue(t, q, note{N: 1})
		eventually(t, func() bool { return q.Stats().FileSize < 1<<20 }, "the compaction")
		bloat(t, q, 24)
		for i := range 10 {
			enqueue(t, q, note{N: i})
		}
		eventually(t, func() bool { return q.Counts().Ready+q.Counts().Running == 0 }, "the jobs")
		require.Equal(t, 1, strings.Count(log.String(), "the file was compacted"), "not again within a minute")
	})
}

// --- Crashes.

func init() {
	childModes["compacting"] = childCompacting
	childModes["waiting"] = childWaiting
}

// childCompacting stores jobs and compacts until it is killed.
func childCompacting(args childArgs) {
	q := childOpen(args, &stint.Config{})
	say("ready")
	for p := range 3 {
		go func() {
			for n := 0; ; n++ {
				id, err := q.Enqueue(context.Background(), note{N: n})
				must(err)
				say("stored %d %d", id, p)
			}
		}()
	}
	for i := 0; ; i++ {
		must(q.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(shop)
			if err != nil {
				return err
			}
			_, err = b.NextSequence()
			return err
		}))
		must(q.Compact(context.Background(), nil))
		say("compacted")
	}
}

func TestKilledWhileCompacting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	random := seeded(t)
	q := openAt(t, path, nil)
	bloat(t, q, 8)
	ballast(t, q, 8) // so that it takes a while
	require.NoError(t, q.Close())
	known, left, done := map[string]bool{}, 0, 0
	for range *compactKills {
		c := startChild(t, childArgs{Mode: "compacting", File: path})
		c.await("compacted", 1)
		time.Sleep(time.Duration(random.IntN(60_000)) * time.Microsecond)
		c.kill()
		for _, line := range c.said("stored") {
			known[strings.Fields(line)[0]] = true
		}
		done += len(c.said("compacted"))
		if _, err := os.Lstat(leftover(path)); err == nil {
			left++
		}
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		require.NoFileExists(t, leftover(path))
		there := map[string]bool{}
		for info, err := range q.Jobs(stint.Filter{Kind: "note"}) {
			require.NoError(t, err)
			there[fmt.Sprint(uint64(info.ID))] = true
		}
		for id := range known {
			require.True(t, there[id], "job %s was stored", id)
		}
		require.NoError(t, q.Close())
		check(t, path)
	}
	t.Logf("%d kills: %d compactions done, %d cut short; %d jobs stored", *compactKills, done, left, len(known))
}

// childWaiting waits for the file and tells what is in it.
func childWaiting(args childArgs) {
	say("here")
	q := childOpen(args, &stint.Config{LockTimeout: time.Minute})
	say("jobs %d", q.Counts().Ready)
	must(q.Close())
}

func TestCompactBesideOneWhoWaits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openAt(t, path, nil)
	enqueue(t, q, note{N: 1})
	c := startChild(t, childArgs{Mode: "waiting", File: path})
	c.await("here", 1)
	time.Sleep(100 * time.Millisecond) // it has the old file open by now, or it does not matter
	require.NoError(t, q.Compact(t.Context(), nil))
	enqueue(t, q, note{N: 2})
	require.NoError(t, q.Compact(t.Context(), nil))
	require.False(t, c.endsWithin(150*time.Millisecond))
	require.Empty(t, c.said("jobs"))
	enqueue(t, q, note{N: 3})
	require.NoError(t, q.Close())
	require.Equal(t, "3", c.await("jobs", 1))
	c.succeeds()
}
