package stint_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// A large file that was stopped cleanly: Open is quick, and what it leaves is
// looked at while the queue works.

const leafJobs = 1500

// makeLarge makes such a file, as far as Open is concerned.
func makeLarge(t testing.TB) (path string) {
	t.Helper()
	t.Cleanup(stint.SetQuickAbove(16 << 10))
	path = filepath.Join(inMemory(t), "queue.db")
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	var jobs []stint.Args
	for i := range leafJobs {
		size := 100
		if i%30 == 0 {
			size = 7000
		}
		jobs = append(jobs, blobOf(size))
	}
	_, err = q.EnqueueAll(t.Context(), jobs)
	require.NoError(t, err)
	require.NoError(t, q.Close())
	return path
}

// hide takes the last record off a leaf in the middle, as a flipped bit can.
func hide(t testing.TB, path string) (page int) {
	t.Helper()
	pages := stint.JobPages(t, path)
	page = pages[len(pages)/2]
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[page*pageSize+10]--
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return page
}

func TestDamagedLeafStopsTheQueue(t *testing.T) {
	path := makeLarge(t)
	page := hide(t, path)
	var log lockedBuffer
	q, err := tryOpen(path, &stint.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	eventually(t, func() bool {
		_, err := q.Enqueue(t.Context(), note{1})
		return errors.Is(err, stint.ErrCorrupt)
	}, "the queue goes on")
	eventually(t, func() bool { return strings.Contains(log.String(), "level=ERROR") }, "nothing is logged")
	require.Contains(t, log.String(), "page "+itoa(page))
	require.Contains(t, log.String(), "restore a backup")
	require.ErrorIs(t, q.Run(t.Context()), stint.ErrCorrupt)
	require.ErrorIs(t, q.Compact(t.Context(), nil), stint.ErrCorrupt)
	require.ErrorIs(t, q.Export(t.Context(), &bytes.Buffer{}, nil), stint.ErrCorrupt)
	require.ErrorIs(t, q.Close(), stint.ErrCorrupt)

	_, err = tryOpen(path, &stint.Config{Logger: quiet})
	require.ErrorIs(t, err, stint.ErrCorrupt)
	require.ErrorContains(t, err, "page "+itoa(page))
}

// Nothing else than a clean stop lets Open leave a page for later.
func TestCleanStopIsVoid(t *testing.T) {
	refused := func(t *testing.T, path string) {
		t.Helper()
		hide(t, path)
		_, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.ErrorIs(t, err, stint.ErrCorrupt)
	}
	t.Run("after a crash", func(t *testing.T) {
		path := makeLarge(t)
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		enqueue(t, q, note{1})
		killed, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, q.Close())
		require.NoError(t, os.WriteFile(path, killed, 0o600))
		refused(t, path)
	})
	t.Run("after a commit of another program", func(t *testing.T) {
		path := makeLarge(t)
		db, err := bolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }))
		require.NoError(t, db.Close())
		refused(t, path)
	})
	t.Run("in a backup", func(t *testing.T) {
		path := makeLarge(t)
		q := openAt(t, path, nil)
		var copied bytes.Buffer
		_, err := q.Backup(t.Context(), &copied)
		require.NoError(t, err)
		path = filepath.Join(t.TempDir(), "copied.db")
		require.NoError(t, os.WriteFile(path, copied.Bytes(), 0o600))
		refused(t, path)
	})
	t.Run("for CheckFile, RepairFile and Rekey", func(t *testing.T) {
		path := makeLarge(t)
		faults, err := stint.CheckFile(path)
		require.NoError(t, err)
		require.Empty(t, faults)
		hide(t, path)
		faults, err = stint.CheckFile(path)
		require.NoError(t, err)
		require.Len(t, faults, 1)
		faults, err = stint.RepairFile(path)
		require.NoError(t, err)
		require.Len(t, faults, 1)
		require.False(t, faults[0].Repaired)
		require.ErrorIs(t, stint.Rekey(path, nil, nil, nil), stint.ErrCorrupt)
	})
}

// The queue is worked off while its pages are looked at, and after that nothing
// is left of the check: no goroutine, no timer, no list of free pages.
func TestLargeFileIsWorkedOff(t *testing.T) {
	path := makeLarge(t)
	scenario(t, "at once", func(t *testing.T) {
		q := openAt(t, path, &stint.Config{Workers: 4})
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[blob]) error { done.Add(1); return nil }, nil)
		run(t, q)
		time.Sleep(time.Hour)
		require.EqualValues(t, leafJobs, done.Load())
		require.False(t, stint.LeavesLeft(q))
		require.True(t, q.DB().NoFreelistSync)
		commits := lastTx(q.DB())
		time.Sleep(365 * 24 * time.Hour)
		require.Equal(t, commits, lastTx(q.DB()))
	})
}

func TestLargeFileIsCompacted(t *testing.T) {
	path := makeLarge(t)
	q := openAt(t, path, nil)
	require.NoError(t, q.Compact(t.Context(), nil))
	require.False(t, stint.LeavesLeft(q))
	require.Equal(t, leafJobs, q.Counts().Ready)
}
