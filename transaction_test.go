package stint_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Close comes while a function of Update is at work: it waits, and what the
// function writes is stored.
func TestCloseDuringUpdate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	closed := make(chan error, 1)
	require.NoError(t, q.Update(func(tx *bolt.Tx) error {
		go func() { closed <- q.Close() }()
		eventually(t, func() bool {
			_, err := q.EnqueueTx(tx, note{})
			return errors.Is(err, stint.ErrClosed)
		}, "Close")
		b, err := tx.CreateBucket(shop)
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("v"))
	}))
	require.NoError(t, <-closed)
	require.NoError(t, openAt(t, path, nil).View(func(tx *bolt.Tx) error {
		require.Equal(t, "v", string(tx.Bucket(shop).Get([]byte("k"))))
		return nil
	}))
}

// Config.MaxFileSize holds for Update too, also behind a transaction of the
// queue that was let go beyond it.
func TestUpdateOfAFullFile(t *testing.T) {
	t.Parallel()
	q := open(t, &stint.Config{MaxFileSize: 512 << 10})
	var err error
	for n := 0; err == nil; n++ {
		require.Less(t, n, 100)
		_, err = q.Enqueue(context.Background(), blobOf(20_000))
	}
	require.ErrorIs(t, err, stint.ErrFileFull)
	require.ErrorIs(t, q.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(shop)
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), make([]byte, 1<<20))
	}), stint.ErrFileFull)
	require.NoError(t, q.View(func(tx *bolt.Tx) error {
		require.Nil(t, tx.Bucket(shop))
		return nil
	}))
}
