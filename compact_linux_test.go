package stint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// An Update whose sync fails is the last write, of the queue's as well.
func TestUpdateWhoseSyncFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := stint.Open(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	makeRoom(t, q)
	d := descriptorOf(t, path)
	d.leadTo(t, "/dev/null")
	write := func(tx *bolt.Tx) error { _, err := tx.CreateBucketIfNotExists(shop); return err }
	require.ErrorIs(t, q.Update(write), stint.ErrSyncFailed)
	d.restore(t)
	require.ErrorIs(t, q.Update(write), stint.ErrSyncFailed)
	_, err = q.Enqueue(t.Context(), note{})
	require.ErrorIs(t, err, stint.ErrSyncFailed)
	require.ErrorIs(t, q.Compact(t.Context(), nil), stint.ErrSyncFailed)
	require.NoFileExists(t, leftover(path))
	require.ErrorIs(t, q.Close(), stint.ErrSyncFailed)
}

// leave writes a file so that so much is left of the disk.
func leave(t *testing.T, path string, left int64) {
	t.Helper()
	var stat syscall.Statfs_t
	require.NoError(t, syscall.Statfs(filepath.Dir(path), &stat))
	require.NoError(t, os.WriteFile(path, make([]byte, int64(stat.Bavail)*int64(stat.Bsize)-left), 0o600))
}

// tight is content of so many MiB in full pages of three values each. The copy
// leaves room in its pages, has two in each, and takes half as much again.
func tight(t *testing.T, q *stint.Queue, mib int) {
	t.Helper()
	pageSize := q.DB().Info().PageSize
	value := make([]byte, pageSize/3-64)
	require.NoError(t, q.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(shop)
		if err != nil {
			return err
		}
		b.FillPercent = 1
		for i := range 3 * (mib << 20) / pageSize {
			if err := b.Put(fmt.Appendf(nil, "%08d", i), value); err != nil {
				return err
			}
		}
		return nil
	}))
}

// A disk without room for the new file: nothing is lost, and nobody else
// meets a full disk for it.
func TestCompactOnAFullDisk(t *testing.T) {
	dir := tmpfs(t, "128m")
	path := filepath.Join(dir, "queue.db")
	disk := filepath.Join(dir, "disk")
	q := openAt(t, path, nil)
	tight(t, q, 24)
	makeRoom(t, q)
	t.Run("known before", func(t *testing.T) {
		leave(t, disk, 20<<20)
		require.ErrorIs(t, q.Compact(t.Context(), func(stint.Progress) { t.Error("it began") }), syscall.ENOSPC)
		require.NoFileExists(t, leftover(path))
		enqueue(t, q, note{N: 1})
		require.NoError(t, os.Remove(disk))
	})
	// There is room for what the content takes now, but not for the copy. To
	// fill the disk from the progress function would be a race with the copy,
	// which does not wait for it.
	t.Run("in the middle", func(t *testing.T) {
		leave(t, disk, 31<<20)
		told := stint.Progress{}
		require.ErrorIs(t, q.Compact(t.Context(), func(p stint.Progress) { told = p }), syscall.ENOSPC)
		require.Positive(t, told.Done)
		require.Less(t, told.Done, told.Total)
		require.NoFileExists(t, leftover(path))
		require.NoError(t, os.Remove(disk))
		enqueue(t, q, note{N: 2})
	})
	require.NoError(t, q.Compact(t.Context(), nil))
	require.Equal(t, 2, q.Counts().Ready)
}
