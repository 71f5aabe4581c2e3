package stint_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// The file is deleted, moved, replaced, cut short or overwritten while a queue
// is at work on it.

func init() {
	childModes["losing"] = childLosing
}

// losses are what may be done to a file. older is a copy from before.
var losses = map[string]func(path, older string) error{
	"deleted":              func(path, _ string) error { return os.Remove(path) },
	"moved away":           func(path, _ string) error { return os.Rename(path, path+".away") },
	"moved with directory": func(path, _ string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".away") },
	"replaced by a copy":   func(path, older string) error { return os.Rename(older, path) },
	"cut to nothing":       func(path, _ string) error { return os.Truncate(path, 0) },
	"cut to one byte":      func(path, _ string) error { return os.Truncate(path, 1) },
	"cut to the head":      func(path, _ string) error { return os.Truncate(path, 2*4096) },
	"cut by its last page": func(path, _ string) error { return cutLastPage(path) },
	"overwritten":          func(path, older string) error { return overwrite(path, older, os.O_TRUNC) },
	"overwritten in place": func(path, older string) error { return overwrite(path, older, 0) },
}

// cutLastPage takes away the last page that is in use.
func cutLastPage(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	used := int64(0)
	for page := range int64(2) { // the number of pages is 40 bytes into a meta page
		var b [8]byte
		if _, err := f.ReadAt(b[:], page*4096+16+40); err != nil {
			return err
		}
		n := int64(0)
		for i := 7; i >= 0; i-- {
			n = n<<8 | int64(b[i])
		}
		used = max(used, n*4096)
	}
	return os.Truncate(path, used-4096)
}

func overwrite(path, older string, flag int) error {
	from, err := os.Open(older)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|flag, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	_, err = io.Copy(to, from)
	return err
}

// lost is a file in a directory of its own, and an older copy of it.
func lost(t *testing.T) (path, older string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dir")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path, older = filepath.Join(dir, "queue.db"), filepath.Join(dir, "older.db")
	enqueueClosed(t, path, notes(10)...)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(older, data, 0o600))
	return path, older
}

// From the first change on that follows, everybody is told.
func TestFileGone(t *testing.T) {
	t.Parallel()
	for what, lose := range losses {
		t.Run(what, func(t *testing.T) {
			path, older := lost(t)
			q, err := tryOpen(path, &stint.Config{Logger: quiet})
			require.NoError(t, err)
			loseUnder(t, q, func() error { return lose(path, older) })
		})
		t.Run(what+", the application's own database", func(t *testing.T) {
			path, older := lost(t)
			db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
			require.NoError(t, err)
			q, err := stint.New(db, encrypted(&stint.Config{Logger: quiet}))
			require.NoError(t, err)
			loseUnder(t, q, func() error { return lose(path, older) })
			require.NoError(t, db.Close())
		})
	}
}

func loseUnder(t *testing.T, q *stint.Queue, lose func() error) {
	t.Helper()
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { return errOops }, hour)
	ran := make(chan error, 1)
	go func() { ran <- q.Run(context.Background()) }()
	for range 20 {
		_, err := q.Enqueue(t.Context(), other{S: "before"})
		require.NoError(t, err)
	}
	eventually(t, func() bool { return q.Counts().Retrying == 10 }, "an idle queue")
	require.NoError(t, lose())
	_, err := q.Enqueue(t.Context(), other{S: "after"})
	require.ErrorIs(t, err, stint.ErrFileGone)
	require.ErrorContains(t, err, "queue.db")
	require.ErrorIs(t, q.Pause(t.Context(), "default", "me"), stint.ErrFileGone)
	require.ErrorIs(t, receive(t, ran), stint.ErrFileGone)
	require.ErrorIs(t, q.Run(t.Context()), stint.ErrFileGone)
	require.ErrorIs(t, q.Close(), stint.ErrFileGone)
}

// A transaction of the application's finds out as well, and so does a job that
// becomes due.
func TestFileGoneIsFoundByOthers(t *testing.T) {
	t.Parallel()
	t.Run("EnqueueTx", func(t *testing.T) {
		path, _ := lost(t)
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		err = q.DB().Update(func(tx *bolt.Tx) error {
			_, err := q.EnqueueTx(tx, note{})
			return err
		})
		require.ErrorIs(t, err, stint.ErrFileGone)
		require.ErrorIs(t, q.Run(t.Context()), stint.ErrFileGone)
		require.ErrorIs(t, q.Close(), stint.ErrFileGone)
	})
	t.Run("a job that becomes due", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { panic("it ran") }, nil)
		_, err = q.Enqueue(t.Context(), note{}, stint.In(30*time.Millisecond))
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		require.ErrorIs(t, q.Run(t.Context()), stint.ErrFileGone)
		require.ErrorIs(t, q.Close(), stint.ErrFileGone)
	})
}

// After the file is back in its place everything is there.
func TestFileMovedAwayAndBack(t *testing.T) {
	t.Parallel()
	path, _ := lost(t)
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, os.Rename(path, path+".away"))
	_, err = q.Enqueue(t.Context(), note{})
	require.ErrorIs(t, err, stint.ErrFileGone)
	require.ErrorIs(t, q.Close(), stint.ErrFileGone)
	require.NoError(t, os.Rename(path+".away", path))
	q = openAt(t, path, nil)
	require.Equal(t, 10, q.Counts().Ready)
	enqueue(t, q, note{})
}

// What only looks like it is no reason to stop.
func TestFileNotGone(t *testing.T) {
	t.Parallel()
	path, older := lost(t)
	link := filepath.Join(filepath.Dir(path), "link.db")
	require.NoError(t, os.Symlink(path, link))
	q, err := tryOpen(link, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	for what, do := range map[string]func() error{
		"a link led to it":      func() error { return os.Remove(link) },
		"it has another name":   func() error { return os.Link(path, path+".name") },
		"it was touched":        func() error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) },
		"its mode has changed":  func() error { return os.Chmod(path, 0o400) },
		"it is longer":          func() error { return os.Truncate(path, 8<<20) },
		"files beside it went":  func() error { return os.Remove(older) },
		"the application wrote": func() error { return fillBucket(q.DB(), 4<<20) },
		"it is in use":          func() error { f, err := os.Open(path); return errors.Join(err, f.Close()) },
	} {
		require.NoError(t, do(), what)
		_, err := q.Enqueue(t.Context(), note{})
		require.NoError(t, err, what)
	}
	require.NoError(t, q.Close())
	check(t, path)

	path = filepath.Join(t.TempDir(), "app.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	require.NoError(t, os.Remove(path)) // a trick of some: nothing can be found again, and nobody wants to
	q, err = stint.New(db, encrypted(&stint.Config{Logger: quiet}))
	require.NoError(t, err)
	enqueue(t, q, note{})
	require.NoError(t, q.Close())
	require.NoError(t, db.Close())
}

// fillBucket lets the file grow by a transaction that is not the queue's.
func fillBucket(db *bolt.DB, size int) error {
	return db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("app"))
		if err != nil {
			return err
		}
		return b.Put([]byte("large"), make([]byte, size))
	})
}

// The same in the middle of everything: the process lives, and once one caller
// was told, nobody is told that something was stored.
func TestFileGoneUnderLoad(t *testing.T) {
	rounds := 1
	if *allFaults {
		rounds = 50
	}
	// What cuts the file is left out: see fileWatch.
	for _, what := range []string{"deleted", "moved away", "moved with directory", "replaced by a copy"} {
		lose := losses[what]
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for round := range rounds {
				path, older := lost(t)
				c := startChild(t, childArgs{Mode: "losing", File: path})
				c.await("stored", 50+round)
				c.await("done", 20)
				require.NoError(t, lose(path, older))
				c.await("gone", 1)
				require.Zero(t, c.wait(), "%.2000s", c.stderr.String())
				require.Empty(t, c.said("late"))
				require.Empty(t, c.said("strange"))
				require.Len(t, c.said("run gone"), 1)
				require.Len(t, c.said("close gone"), 1)
			}
		})
	}
}

// childLosing works until the file is gone.
func childLosing(args childArgs) {
	q := childOpen(args, &stint.Config{Logger: quiet, Workers: 4, ShutdownTimeout: time.Second})
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		if job.Args.N%2 == 0 {
			say("done")
			return nil
		}
		return job.Commit(func(tx *bolt.Tx) error { return increment(tx, counterKey) })
	}, nil)
	var known atomic.Bool
	told := func(err error) bool {
		if !errors.Is(err, stint.ErrFileGone) && !errors.Is(err, stint.ErrCorrupt) {
			say("strange %v", err)
		}
		return !known.Swap(true)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if told(q.Run(context.Background())) {
			say("gone")
		}
		say("run gone")
	})
	for range 3 {
		wg.Go(func() {
			for n, left := 0, 10; left > 0; n++ {
				before := known.Load()
				switch _, err := q.Enqueue(context.Background(), note{N: n}); {
				case err == nil && before:
					say("late")
				case err == nil:
					say("stored")
				default:
					left--
					if told(err) {
						say("gone")
					}
				}
			}
		})
		wg.Go(func() {
			for !known.Load() { // readers must not get stuck either
				for range q.Jobs(stint.Filter{Limit: 10}) {
				}
				_ = q.Stats()
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	wg.Wait()
	if err := q.Close(); err == nil || told(err) {
		say("strange %v", err)
	}
	say("close gone")
}
