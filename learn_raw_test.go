package stint

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// LowerHistoryWrites lets the history of a database look as if it had been
// written so often.
func LowerHistoryWrites(db *bolt.DB, number uint64) error {
	return db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(rootBucket).Bucket(bucketNames[bucketHistory]).SetSequence(number)
	})
}

// ForgetHistory drops the minutes that no commit has written.
func ForgetHistory(q *Queue) {
	done := make(chan struct{})
	q.commit.post(func() {
		defer close(done)
		h := &q.history
		h.mu.Lock()
		defer h.mu.Unlock()
		h.present, h.past = nil, nil
	})
	<-done
}

// inLoop calls fn where the committer does, between two groups.
func inLoop(t *testing.T, fn func(c *committer)) {
	t.Helper()
	q, err := Open(filepath.Join(t.TempDir(), "queue.db"), &Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	done := make(chan struct{})
	q.commit.post(func() {
		defer close(done)
		fn(q.commit)
	})
	<-done
	require.NoError(t, q.Close())
}

// laneFor is a lane in memory and its row, with what a commit has changed.
func laneFor(c *committer, number uint32, kind string) (*lane, *laneRow) {
	row := &laneRow{id: number, key: laneKey{queue: "default", kind: kind, priority: 3}}
	row.n[totalProcessed], row.enqueued = 1, 1
	return c.laneOf(row), row
}

// Who sees that a job is done finds how long it took.
func TestTimesAreKnownBeforeCounts(t *testing.T) {
	t.Parallel()
	inLoop(t, func(c *committer) {
		ln, row := laneFor(c, 1, "note")
		took := sample{timing: timing{wait: time.Second, run: time.Second}, lane: ln}
		learned := -1
		c.learn(&txn{q: c.q, id: 1, own: true, rows: []*laneRow{row}, samples: []sample{took}}, func() {
			learned = c.q.stats.n
		})
		require.Equal(t, 1, learned)
	})
}

// A minute that is over is kept by nobody who has nothing to do any more.
func TestLanesLetGoOfMinutes(t *testing.T) {
	t.Parallel()
	inLoop(t, func(c *committer) {
		ln, row := laneFor(c, 1, "note")
		minute := stretches[0].long
		c.count(&txn{q: c.q, own: true, now: 5 * minute, rows: []*laneRow{row}})
		require.NotNil(t, ln.places.of)
		total := ln.places.total
		_, later := laneFor(c, 2, "other")
		c.count(&txn{q: c.q, own: true, now: 6 * minute, rows: []*laneRow{later}})
		require.Equal(t, places{total: total, waits: ln.places.waits}, ln.places)
		require.EqualValues(t, 1, total.completed)
		c.q.history.present, c.q.history.past = nil, nil // of lanes that the file has not
	})
}
