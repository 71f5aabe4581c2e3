package stint_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// What is different when a file is not the one that it was.

func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	scenario(t, "keeps the keys of its jobs and gives none of them again", func(t *testing.T) {
		keysOf := func(q *stint.Queue) map[stint.ID]string {
			keys := map[stint.ID]string{}
			var mu sync.Mutex
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				mu.Lock()
				defer mu.Unlock()
				keys[job.ID] = job.Key()
				return nil
			}, nil)
			run(t, q)
			time.Sleep(time.Second) // the copy gives its ids later than the other one did
			synctest.Wait()
			require.Zero(t, q.Counts())
			return keys
		}
		q := open(t, nil)
		before := enqueue(t, q, note{N: 1})
		var backup bytes.Buffer
		_, err := q.Backup(t.Context(), &backup)
		require.NoError(t, err)
		since := enqueue(t, q, note{N: 2})
		first := keysOf(q)

		path := filepath.Join(t.TempDir(), "restored.db")
		require.NoError(t, os.WriteFile(path, backup.Bytes(), 0o600))
		restored := openAt(t, path, nil)
		again := enqueue(t, restored, note{N: 3})
		require.Equal(t, since, again, "the copy knows nothing of the other one")
		second := keysOf(restored)
		require.Equal(t, first[before], second[before])
		require.NotEqual(t, first[since], second[again])
	})
}

func TestEmptyFileIsNewWithAWarning(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	var log lockedBuffer
	openAt(t, path, &stint.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.Contains(t, log.String(), "the file is empty")
}

func TestDeleteOfAQuarantinedRecord(t *testing.T) {
	t.Parallel()
	scenario(t, "removes it, and other verbs say where it is", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{N: 1})
		require.NoError(t, stint.FlipByte(q.DB(), id, 0))
		_, err := q.Repair(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, q.Stats().Quarantined)
		err = q.Retry(t.Context(), id)
		require.ErrorIs(t, err, stint.ErrNotFound)
		require.ErrorContains(t, err, "quarantine")
		require.NoError(t, q.Delete(t.Context(), id))
		require.Zero(t, q.Stats().Quarantined)
		for range q.Quarantined() {
			require.Fail(t, "it is still there")
		}
		require.ErrorIs(t, q.Delete(t.Context(), id), stint.ErrNotFound)
	})
}

func TestFileGoneIsSaidByAll(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(string) error{
		"deleted": os.Remove,
		"cut":     func(path string) error { return os.Truncate(path, 0) },
		"replaced": func(path string) error {
			content, err := os.ReadFile(path)
			if err == nil {
				err = os.Remove(path)
			}
			if err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			q, err := stint.Open(path, &stint.Config{Logger: quiet})
			require.NoError(t, err)
			enqueue(t, q, note{N: 1})
			require.NoError(t, harm(path))
			ctx := t.Context()
			require.ErrorIs(t, q.Compact(ctx, nil), stint.ErrFileGone)
			_, err = q.Repair(ctx)
			require.ErrorIs(t, err, stint.ErrFileGone)
			_, err = q.Check(ctx)
			require.ErrorIs(t, err, stint.ErrFileGone)
			_, err = q.Enqueue(ctx, note{N: 2})
			require.ErrorIs(t, err, stint.ErrFileGone)
			_ = q.Close()
			require.False(t, strings.Contains(err.Error(), "close the queue"), "Backup may still save it")
		})
	}
}

// A bucket of one entry whose count has lost its only bit looks like an empty
// one.
func TestLostCountOfASmallBucket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openAt(t, path, nil)
	require.NoError(t, q.Pause(t.Context(), "mail", "me"))
	require.NoError(t, q.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	header := make([]byte, 16) // page 0, a leaf, one element, no overflow
	binary.NativeEndian.PutUint16(header[8:], 2)
	binary.NativeEndian.PutUint16(header[10:], 1)
	found := 0
	for at := 0; ; at += len(header) {
		next := bytes.Index(whole[at:], header)
		if next < 0 {
			break
		}
		at += next
		damaged := bytes.Clone(whole)
		binary.NativeEndian.PutUint16(damaged[at+10:], 0)
		other := filepath.Join(t.TempDir(), "damaged.db")
		require.NoError(t, os.WriteFile(other, damaged, 0o600))
		damage, err := stint.Open(other, &stint.Config{Logger: quiet})
		if errors.Is(err, stint.ErrCorrupt) {
			found++
			continue
		}
		require.NoError(t, err) // a page that is free
		require.True(t, damage.Queues()[0].Paused)
		require.NoError(t, damage.Close())
	}
	require.NotZero(t, found)
}
