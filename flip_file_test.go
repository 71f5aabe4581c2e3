package stint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// The files that the tests of damage damage.

// woundable is a file with everything in it, of some 300 KiB and with several
// levels of pages, in two states.
type woundable struct {
	killed []byte // as a process leaves it that dies while jobs are running
	closed []byte // as Close leaves it
}

// inMemory is a directory in memory, where there is one.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "stint-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func makeWoundable(t *testing.T) (w woundable) {
	t.Helper()
	path := filepath.Join(inMemory(t), "queue.db")
	bubble(t, func(t *testing.T) {
		cfg := &stint.Config{Logger: quiet, KeepCompleted: 24 * time.Hour, Workers: 4}
		q, err := tryOpen(path, cfg)
		require.NoError(t, err)
		newEverything(false).furnish(t, q)
		spread(t, q)
		w.killed, err = os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, q.Close())
		w.closed, err = os.ReadFile(path)
		require.NoError(t, err)
	})
	for _, content := range []*[]byte{&w.killed, &w.closed} {
		require.NoError(t, stint.Preflight(*content))
		*content = (*content)[:stint.UsedSize(*content)] // the rest is room to grow
		require.NoError(t, stint.Preflight(*content))
	}
	return w
}

// spread makes a furnished queue large: many lanes with long names, long
// payloads, and data of the application's own, whose long keys need several
// levels of pages.
func spread(t *testing.T, q *stint.Queue) {
	t.Helper()
	require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("application"))
		for i := range 24 {
			key := append(fmt.Appendf(nil, "%04d", i), make([]byte, 1000)...)
			require.NoError(t, b.Put(key, []byte("value")))
		}
		return err
	}))
	long := strings.Repeat("x", 100)
	for i := range 60 {
		kind := named{fmt.Sprintf("kind-%03d-%s", i, long)}
		enqueue(t, q, kind, stint.OnQueue(fmt.Sprintf("queue-%d-%s", i%7, long)), stint.Priority(1+i%4), stint.Tags("spread"))
	}
	for i := range 3 {
		enqueue(t, q, blobOf(5000+25_000*i), stint.OnQueue("payloads"))
	}
	var jobs []stint.Args
	for i := range 250 {
		jobs = append(jobs, note{1000 + i})
	}
	_, err := q.EnqueueAll(t.Context(), jobs, stint.OnQueue("bulk"), stint.In(200*time.Hour), stint.ExpiresIn(300*time.Hour))
	require.NoError(t, err)
	_, err = q.EnqueueAll(t.Context(), jobs[:120], stint.OnQueue("paused"), stint.Unique(stint.ForPeriod(500*time.Hour)))
	require.NoError(t, err)
}
