package stint_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Files that are not what they should be, and a database that goes away.

// One record that cannot be read does not stop the others.
func TestDamagedRecordIsSetAside(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	ids := enqueueClosed(t, path, notes(30)...)
	change(t, path, func(db *bolt.DB) error {
		require.NoError(t, stint.FlipByte(db, ids[7], 1)) // in the args
		return stint.FlipByte(db, ids[20], 20)            // among the fields
	})

	var log lockedBuffer
	q, err := tryOpen(path, &stint.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	var seen atomic.Int64
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		seen.Add(1)
		require.NotContains(t, []int{7, 20}, job.Args.N)
		return nil
	}, nil)
	_, err = q.Get(ids[7])
	require.Error(t, err)
	require.NotErrorIs(t, err, stint.ErrNotFound)
	run(t, q)
	require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 5*time.Second, time.Millisecond, "%v", q.Counts())
	require.EqualValues(t, 28, seen.Load())
	require.Equal(t, 2, q.Stats().Quarantined)
	require.EqualValues(t, 28, q.Stats().Processed)
	require.Contains(t, log.String(), "job_id="+ids[7].String())
	require.Contains(t, log.String(), "job_id="+ids[20].String())
	_, err = q.Get(ids[7])
	require.ErrorIs(t, err, stint.ErrNotFound)
	require.NoError(t, q.Close())

	inspect(t, path, func(db *bolt.DB) {
		aside := stint.Quarantine(db)
		require.Len(t, aside, 2)
		if os.Getenv(encryptVariable) == "" { // else it cannot be read
			require.Contains(t, string(aside[ids[20]]), `{"n":20}`, "as it was")
		}
	})
}

// The place of a job that cannot be read is not held for ever.
func TestDamagedRecordGivesUpItsPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	id, err := q.Enqueue(t.Context(), note{N: 1}, stint.Unique())
	require.NoError(t, err)
	waiting, err := q.Enqueue(t.Context(), note{N: 2}, stint.Unique(stint.WhileWaiting()), stint.ExpiresIn(time.Hour))
	require.NoError(t, err)
	require.NoError(t, q.Close())
	change(t, path, func(db *bolt.DB) error {
		require.NoError(t, stint.FlipByte(db, id, 0))
		return stint.FlipByte(db, waiting, 0)
	})

	q = openAt(t, path, nil)
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
	run(t, q)
	require.Eventually(t, func() bool { return q.Stats().Quarantined == 2 }, 5*time.Second, time.Millisecond)
	for n := 1; n <= 2; n++ {
		_, err = q.Enqueue(t.Context(), note{N: n}, stint.Unique())
		require.NoError(t, err)
	}
}

// A damaged job that was running, and one that waits for its time.
func TestDamagedRecordElsewhere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	running := enqueueClosed(t, path, note{N: 1})[0]
	c := startChild(t, childArgs{Mode: "sleep", File: path})
	c.await("running", 1)
	c.kill()
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	later, err := q.Enqueue(t.Context(), note{N: 2}, stint.In(time.Millisecond))
	require.NoError(t, err)
	dead, err := q.Enqueue(t.Context(), note{N: 3})
	require.NoError(t, err)
	require.NoError(t, q.Kill(t.Context(), dead, "why not"))
	expiring, err := q.Enqueue(t.Context(), note{N: 4}, stint.OnQueue("paused"), stint.ExpiresIn(time.Millisecond))
	require.NoError(t, err)
	require.NoError(t, q.Pause(t.Context(), "paused", "me"))
	require.NoError(t, q.Close())
	change(t, path, func(db *bolt.DB) error {
		for _, id := range []stint.ID{running, later, dead, expiring} {
			require.NoError(t, stint.FlipByte(db, id, 0))
		}
		return nil
	})

	q, err = tryOpen(path, &stint.Config{Logger: quiet, KeepDead: 10 * time.Millisecond})
	require.NoError(t, err)
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { panic("it runs") }, nil)
	run(t, q)
	require.Eventually(t, func() bool { return q.Stats().Quarantined == 2 && q.Counts().Dead == 0 }, 5*time.Second, time.Millisecond)
	_, err = q.Enqueue(t.Context(), other{})
	require.NoError(t, err)
	for _, err := range q.Jobs(stint.Filter{}) {
		require.NoError(t, err, "a listing passes over it")
	}
	require.NoError(t, q.Resume(t.Context(), "paused"))
	require.Eventually(t, func() bool { return q.Stats().Quarantined == 3 }, 5*time.Second, time.Millisecond)
	require.Equal(t, stint.Counts{Ready: 1, Parked: 1}, q.Counts())
	require.NoError(t, q.Close())
	check(t, path)
}

// Open refuses what it does not understand, and leaves it as it is.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(db *bolt.DB) error
		want   error
	}{
		"a newer format": {func(db *bolt.DB) error { return stint.SetFormat(db, 99) }, stint.ErrNewerFormat},
		"format 0":       {func(db *bolt.DB) error { return stint.SetFormat(db, 0) }, stint.ErrCorrupt},
		"a damaged list of running jobs": {func(db *bolt.DB) error {
			return stint.SetRunning(db, []byte{0, 3, 0x80, 0x80, 0x80})
		}, stint.ErrCorrupt},
		"a list that is cut short": {func(db *bolt.DB) error {
			return stint.SetRunning(db, []byte{0, 200, 1})
		}, stint.ErrCorrupt},
		"a list with an unknown mark": {func(db *bolt.DB) error {
			return stint.SetRunning(db, []byte{7, 1, 2, 0})
		}, stint.ErrCorrupt},
	}
	for _, name := range stint.BucketNames() {
		want := stint.ErrCorrupt
		if name == "meta" {
			want = stint.ErrNotStint
		}
		cases["no bucket "+name] = struct {
			change func(db *bolt.DB) error
			want   error
		}{func(db *bolt.DB) error { return stint.DropBucket(db, name) }, want}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			enqueueClosed(t, path, notes(5)...)
			change(t, path, c.change)
			refused(t, path, c.want)
		})
	}
	t.Run("a file of another program", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "foreign.db")
		change(t, path, func(db *bolt.DB) error {
			return db.Update(func(tx *bolt.Tx) error {
				_, err := tx.CreateBucket([]byte("theirs"))
				return err
			})
		})
		refused(t, path, stint.ErrNotStint)
	})
	t.Run("another program's bucket of our name", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "foreign.db")
		change(t, path, func(db *bolt.DB) error {
			return db.Update(func(tx *bolt.Tx) error {
				b, err := tx.CreateBucket([]byte("stint"))
				if err != nil {
					return err
				}
				return b.Put([]byte("meta"), []byte("theirs"))
			})
		})
		refused(t, path, stint.ErrNotStint)
	})
}

func refused(t *testing.T, path string, want error) {
	t.Helper()
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	for range 2 { // the second time shows that the lock was let go
		_, err = tryOpen(path, &stint.Config{Logger: quiet})
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, path)
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)

	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	defer db.Close()
	if want != stint.ErrNotStint { // New puts a queue beside other data
		_, err = stint.New(db, encrypted(&stint.Config{Logger: quiet}))
		require.ErrorIs(t, err, want)
	}
}

// The application closes its database while the queue is at work.
func TestDatabaseClosedUnderTheQueue(t *testing.T) {
	t.Parallel()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "app.db"), 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	require.NoError(t, err)
	q, err := stint.New(db, &stint.Config{Logger: quiet, Workers: 4})
	require.NoError(t, err)
	started, release := make(chan stint.ID, 100), make(chan struct{})
	results := make(chan error, 100)
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		started <- job.ID
		<-release
		switch job.Args.N {
		case 0:
			results <- job.Commit(func(*bolt.Tx) error { return nil })
		case 1:
			results <- q.DB().Update(job.CompleteTx)
		}
		return nil
	}, nil)
	_, err = q.EnqueueAll(t.Context(), notes(10))
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- q.Run(context.Background()) }()
	for range 4 {
		receive(t, started)
	}
	require.NoError(t, db.Close())

	_, err = q.Enqueue(t.Context(), note{})
	require.ErrorIs(t, err, stint.ErrClosed)
	_, err = q.Get(1)
	require.ErrorIs(t, err, stint.ErrClosed)
	for _, err := range q.Jobs(stint.Filter{}) {
		require.ErrorIs(t, err, stint.ErrClosed)
	}
	_, err = q.RetryAll(t.Context(), stint.Filter{Kind: "note"})
	require.ErrorIs(t, err, stint.ErrClosed)
	require.ErrorIs(t, q.Pause(t.Context(), "default", "me"), stint.ErrClosed)
	_ = q.Stats()
	_ = q.Queues()
	_ = q.Counts()
	close(release)
	require.ErrorIs(t, receive(t, ran), stint.ErrClosed, "Run ends")
	require.Error(t, receive(t, results))
	require.Error(t, receive(t, results))
	require.Len(t, started, 0, "nothing more begins")
	require.ErrorIs(t, q.Run(t.Context()), stint.ErrClosed)
	require.ErrorIs(t, q.Close(), stint.ErrClosed)
	_, err = q.Enqueue(t.Context(), note{})
	require.ErrorIs(t, err, stint.ErrClosed)
}

// The same with nothing at work: the next write finds out.
func TestDatabaseClosedUnderAnIdleQueue(t *testing.T) {
	t.Parallel()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "app.db"), 0o600, &bolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	q, err := stint.New(db, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
	ran := make(chan error, 1)
	go func() { ran <- q.Run(context.Background()) }()
	_, err = q.Enqueue(t.Context(), note{}, stint.In(time.Second))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.ErrorIs(t, receive(t, ran), stint.ErrClosed, "the due job found out")
	require.ErrorIs(t, q.Close(), stint.ErrClosed)
}
