package stint_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var (
	backups      = flag.Int("backups", 4, "backups that TestBackupUnderLoad makes")
	compactKills = flag.Int("compact.kills", 5, "processes that TestKilledWhileCompacting kills")
)

func textLog(b *lockedBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error { return nil }, nil)
	run(t, q)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := q.Enqueue(context.Background(), note{N: i}); err != nil {
				t.Errorf("Enqueue: %v", err)
				return
			}
		}
	}()
	dir := t.TempDir()
	for i := range *backups {
		kept := enqueue(t, q, other{S: "x"})
		path := filepath.Join(dir, "backup.db")
		f, err := os.Create(path)
		require.NoError(t, err)
		var w io.Writer = f
		if i%2 == 1 {
			w = struct{ io.Writer }{f} // not seen as a file
		}
		n, err := q.Backup(t.Context(), w)
		require.NoError(t, err)
		info, err := f.Stat()
		require.NoError(t, err)
		require.Equal(t, info.Size(), n)
		require.NoError(t, f.Close())
		check(t, path)
		again, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		get(t, again, kept)
		waiting := 0
		for _, err := range again.Jobs(stint.Filter{Kind: "other"}) {
			require.NoError(t, err)
			waiting++
		}
		require.Equal(t, i+1, waiting)
		require.NoError(t, again.Close())
		check(t, path)
	}
	cancel()
	<-done
}

// slowWriter writes nothing until it is let go.
type slowWriter struct {
	began chan struct{}
	let   chan struct{}
	b     bytes.Buffer
}

func (w *slowWriter) Write(b []byte) (int, error) {
	if w.b.Len() == 0 {
		close(w.began)
		<-w.let
	}
	return w.b.Write(b)
}

func TestBackupToASlowWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openAt(t, path, nil)
	enqueue(t, q, note{N: 1})
	w := &slowWriter{began: make(chan struct{}), let: make(chan struct{})}
	result := make(chan error)
	go func() {
		_, err := q.Backup(context.Background(), w)
		result <- err
	}()
	<-w.began
	require.Zero(t, q.DB().Stats().OpenTxN, "no transaction is open")
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "the temporary file has no name")
	enqueue(t, q, note{N: 2})
	require.NoError(t, q.Compact(t.Context(), nil))
	close(w.let)
	require.NoError(t, <-result)

	copied := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(copied, w.b.Bytes(), 0o600))
	again := openAt(t, copied, nil)
	require.Equal(t, 1, again.Counts().Ready)
}

func TestBackupRefusals(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openAt(t, path, nil)
	enqueue(t, q, note{N: 1})
	t.Run("into itself", func(t *testing.T) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		defer f.Close()
		_, err = q.Backup(t.Context(), f)
		require.ErrorContains(t, err, "overwrite the queue's own file")
		require.NotContains(t, err.Error(), "throw it away")
	})
	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := q.Backup(ctx, io.Discard)
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("a writer that fails", func(t *testing.T) {
		r, w := io.Pipe()
		boom := errors.New("boom")
		require.NoError(t, r.CloseWithError(boom))
		_, err := q.Backup(t.Context(), w)
		require.ErrorIs(t, err, boom)
	})
	get(t, q, 1)
}

func TestBackupOfAnApplicationsDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, Timeout: time.Second})
	require.NoError(t, err)
	defer db.Close()
	q, err := stint.New(db, encrypted(&stint.Config{Logger: quiet}))
	require.NoError(t, err)
	defer q.Close()
	enqueue(t, q, note{N: 1})
	require.NoError(t, q.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(shop); return err }))
	s := q.Stats()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), s.FileSize)
	require.Positive(t, s.FileFree)
	var b bytes.Buffer
	n, err := q.Backup(t.Context(), &b)
	require.NoError(t, err)
	require.EqualValues(t, b.Len(), n)
	copied := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(copied, b.Bytes(), 0o600))
	again := openAt(t, copied, nil)
	require.Equal(t, 1, again.Counts().Ready)
	require.NoError(t, again.View(func(tx *bolt.Tx) error {
		require.NotNil(t, tx.Bucket(shop))
		return nil
	}))
}
