package stint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func init() { childModes["writes"] = childWrites }

// childWrites says what Stats has counted and what the kernel has, over the
// same work.
func childWrites(args childArgs) {
	q := childOpen(args, &stint.Config{Workers: 10})
	before, kernel := q.Stats(), bytesWritten()
	for range 100 {
		_, err := q.Enqueue(childContext(), note{})
		must(err)
	}
	must(q.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucketIfNotExists([]byte("own")); return err }))
	after := q.Stats()
	say("written %d %d %d %d", after.BytesWritten-before.BytesWritten, bytesWritten()-kernel, after.Syncs-before.Syncs, after.PagesWritten-before.PagesWritten)
	must(q.Close())
}

// bytesWritten is what the process has given to the system's write calls.
func bytesWritten() (n uint64) {
	stats, err := os.ReadFile("/proc/self/io")
	must(err)
	for line := range strings.Lines(string(stats)) {
		_, _ = fmt.Sscanf(line, "wchar: %d", &n)
	}
	return n
}

// What Stats says of writes is what the kernel has seen.
func TestStatsOfWrites(t *testing.T) {
	t.Parallel()
	c := startChild(t, childArgs{Mode: "writes", File: filepath.Join(t.TempDir(), "queue.db")})
	c.succeeds()
	var bytes, kernel, syncs, pages uint64
	_, err := fmt.Sscan(c.await("written", 1), &bytes, &kernel, &syncs, &pages)
	require.NoError(t, err)
	require.Equal(t, kernel, bytes)
	require.EqualValues(t, 2*101, syncs)
	require.EqualValues(t, bytes, pages*uint64(os.Getpagesize()))
}

func TestStatsOfWritesBeyondACompaction(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	require.Zero(t, q.Stats().PagesWritten)
	stock(t, q, 1000)
	before := q.Stats()
	require.NotZero(t, before.Syncs)
	require.NoError(t, q.Compact(t.Context(), nil))
	compacted := q.Stats()
	require.Equal(t, before.Syncs, compacted.Syncs)
	require.Equal(t, before.BytesWritten, compacted.BytesWritten)
	enqueue(t, q, note{})
	after := q.Stats()
	require.Equal(t, before.Syncs+2, after.Syncs)
	require.Greater(t, after.PagesWritten, before.PagesWritten)
	require.Less(t, after.PagesWritten, before.PagesWritten+20)
}
