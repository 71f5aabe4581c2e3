package stint

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// Moments of a compaction that a test cannot meet from outside.

func openSwapped(t *testing.T, path string) *Queue {
	t.Helper()
	if !lockIsOurs {
		t.Skip("an open file cannot be replaced here")
	}
	q, err := Open(path, &Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func touch(t *testing.T, q *Queue, name string) {
	t.Helper()
	require.NoError(t, q.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte(name)); return err }))
}

// Somebody puts an older copy into the file while it is being compacted: that
// is what must be left, and not a mixture of both.
func TestSwapLeavesAnOlderCopy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openSwapped(t, path)
	older, err := os.ReadFile(path)
	require.NoError(t, err)
	touch(t, q, "a")
	touch(t, q, "b")

	c := &compaction{q: q, old: q.store.cur.Load(), name: path + compactingSuffix}
	require.NoError(t, c.create())
	c.copy = &treeCopy{ctx: t.Context(), db: c.made.db}
	require.NoError(t, c.copyAll(func(Progress) {}))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(older, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.ErrorIs(t, c.swap(t.Context()), ErrFileGone)
	c.tidy()

	now, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, older, now[:len(older)])
	require.NoFileExists(t, path+compactingSuffix)
}

// A check whose transaction is of the file before the swap does not take the
// pages of the one after it for damage.
func TestCheckBesideASwap(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openSwapped(t, path)
	touch(t, q, "a")
	c := &checker{ctx: context.Background()}
	require.NoError(t, q.store.view(func(tx *bolt.Tx) error {
		before := q.store.cur.Load()
		require.NoError(t, c.structure(tx, before))
		require.NoError(t, q.Compact(t.Context(), nil))
		touch(t, q, "b")
		require.ErrorIs(t, c.structure(tx, q.store.cur.Load()), errOtherFile)
		require.ErrorIs(t, c.structure(tx, before), errOtherFile, "the name has changed, the store has not yet learned of it")
		return nil
	}))
	faults, err := q.Check(t.Context())
	require.NoError(t, err)
	require.Empty(t, faults)

	require.NoError(t, os.WriteFile(path+".other", []byte("another program's"), 0o600))
	require.NoError(t, os.Rename(path+".other", path))
	_, err = q.Check(t.Context())
	require.ErrorIs(t, err, ErrFileGone)
}
