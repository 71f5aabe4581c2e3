package stint

import (
	"bytes"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// What happens to the jobs that were running when the process died.
//
//  1. The lock of the file proves that the process is dead, so at Open every
//     job the file names as running is an orphan, at once. Its place in the
//     ready index was never given up: it is first in line again.
//  2. In flight at one crash: it runs again as usual.
//  3. In flight at two: it is a suspect. Suspects run alone, one at a time,
//     with nothing beside them, so that the next crash has one culprit.
//  4. Alone and crashed again: it is dead, with the reason.
//  5. A suspect that comes through is innocent and its count is forgotten. So
//     is that of a long job that gets on: it has finished a step or moved its
//     checkpoint since the crash, which then was not at the place where it is.
//
// The file does not tell a crash from a kill by somebody outside. Who kills
// the process three times at the wrong moments can make an innocent job look
// guilty; it is in the dead set then, and Retry runs it again.

// suspectAfter is the number of crashes that make a suspect.
const suspectAfter = 2

// caution is how long after a crash nothing is claimed beyond the workers: if
// the process dies again at once, fewer jobs are found in flight.
const caution = 5 * time.Second

// recoverOrphans is called once, before anything else is written.
func (q *Queue) recoverOrphans() error {
	var value []byte
	var listed bool
	var torn []uint64 // batches
	err := q.store.view(func(tx *bolt.Tx) (err error) {
		list := sealedIn(tx.Bucket(rootBucket).Bucket(bucketNames[bucketMeta]), keyRunning)
		listed, value = list != nil, append(value, list...)
		torn, err = q.loadBatches(tx)
		return err
	})
	if err != nil || listed && len(value) <= 2 && len(torn) == 0 { // nothing ran
		return err
	}
	alone, running, suspects, ok := decodeRunning(value)
	if !ok {
		return fmt.Errorf("%w: the list of running jobs in %s makes no sense; restore a backup", ErrCorrupt, q.store.db().Path())
	}

	var t *txn
	found := map[uint64]laneKey{}
	err = q.store.update(func(tx *bolt.Tx) error {
		if t, err = q.newTxn(tx); err != nil {
			return err
		}
		clear(found)
		for _, id := range running {
			if err := t.orphan(id, alone, found); err != nil {
				return err
			}
		}
		for _, id := range suspects {
			if j, err := t.find(id); err == nil && unfinished(j.state) {
				found[id] = j.row.key
			}
		}
		for _, id := range torn {
			if err := t.cancelBatch(t.batch(id), "EnqueueBatch, as the process ended before it returned", true); err != nil {
				return err
			}
		}
		for id, key := range found {
			row, err := t.row(key)
			if err != nil {
				return err
			}
			q.commit.suspects[id] = q.commit.laneOf(row)
		}
		if err := t.putSealed(bucketMeta, keyRunning, q.commit.encodeRunning()); err != nil {
			return err
		}
		return t.flush()
	})
	if err != nil {
		return storeError(err)
	}
	q.commit.cautiousUntil = t.now + caution.Microseconds()
	q.metrics.recovered, q.starts.recovered = len(running), len(running)
	q.commit.learn(t, func() { q.suspects = found })
	q.log.Info("stint: the last process did not stop cleanly; its running jobs are ready again", "jobs", len(running), "suspects", len(found), "unfinished_batches", len(torn))
	return nil
}

// orphan notes the crash in one job's record and decides what follows.
func (t *txn) orphan(id uint64, alone bool, suspects map[uint64]laneKey) error {
	j, err := t.find(id)
	if err != nil || j.state != Ready {
		return nil // it was completed by CompleteTx, or cannot be read, which its claim will find out
	}
	j.state = Running
	j.rec.crashes++
	if !j.rec.locked() {
		what := fmt.Sprintf("the process ended while the job was running (crash %d)", j.rec.crashes)
		j.rec.addAttempt(Attempt{Number: int(j.rec.failures) + 1, StartedAt: time.Now(), Error: what})
	}
	t.attemptFailed(j.rec)
	switch {
	case j.rec.cancelled != "":
		j.rec.reason = j.rec.whyCancelled()
		j.row.cancelled++
		return t.bury(j)
	case alone && j.rec.crashes > suspectAfter:
		j.rec.reason = fmt.Sprintf("the process ended %d times while the job was running, the last time while nothing else was", j.rec.crashes)
		return t.bury(j)
	case j.rec.crashes >= suspectAfter:
		suspects[id] = j.row.key
	}
	return t.rewrite(j)
}

// suspectWaits says whether a suspect could be claimed now.
func (c *committer) suspectWaits() bool {
	return len(c.suspects) > 0 && c.runner != nil && !c.crowded() && c.nextSuspect() != 0
}

// crowded says whether anything runs that would blur a crash. A stuck handler
// is not waited for: it might never end.
func (c *committer) crowded() bool {
	for _, e := range c.running {
		if !e.stuck.Load() {
			return true
		}
	}
	return false
}

// nextSuspect is the oldest suspect that may run, or 0.
func (c *committer) nextSuspect() (oldest uint64) {
	for id, ln := range c.suspects {
		if c.claimed[id] == nil && ln.queue.pause.since == 0 && c.allowed(ln) && (oldest == 0 || id < oldest) {
			oldest = id
		}
	}
	return oldest
}

// clearSuspect forgets a suspect, until the group is rolled back.
func (c *committer) clearSuspect(id uint64) {
	if c.suspects[id] == nil {
		return
	}
	c.runningChanged = true // the file lists suspects beside what runs
	c.noteSuspect(id)
	delete(c.suspects, id)
}

// noteSuspect remembers for a rollback what a suspect was before the group.
func (c *committer) noteSuspect(id uint64) {
	if c.cleared == nil {
		c.cleared = map[uint64]*lane{}
	}
	if c.cleared[id] == nil {
		c.cleared[id] = c.suspects[id]
	}
}

// maxForgiven bounds how often getting on clears a job. A handler that starts
// from the beginning each time gets on each time, and would kill the process
// for ever.
const maxForgiven = 100

// forgive forgets the crashes of a job that has put by more than it had
// before, and reports whether there were any.
func (r *record) forgive(before *stash) bool {
	after := r.stash
	if after == nil {
		return false
	}
	if before == nil {
		before = &stash{}
	}
	after.forgiven = before.forgiven
	if r.crashes == 0 {
		return false
	}
	if len(after.steps) == len(before.steps) && bytes.Equal(after.cursor, before.cursor) || after.forgiven == maxForgiven {
		return false
	}
	r.crashes = 0
	after.forgiven++
	return true
}

// releaseAlone lets others run beside a suspect that was cleared while it ran.
// A rollback takes it back.
func (c *committer) releaseAlone(e *execution) {
	if c.alone == e {
		c.alone = nil
		c.runningChanged = true
	}
}

// claimSuspect claims the next suspect, alone. While one may run, it holds
// all other claims back.
func (c *committer) claimSuspect(t *txn) (held bool, err error) {
	for {
		id := c.nextSuspect()
		if id == 0 {
			return false, nil
		}
		if c.crowded() {
			return true, nil
		}
		e, err := c.take(t, c.suspects[id], id)
		if err != nil {
			return true, err
		}
		if e != nil {
			c.alone = e
			return true, nil
		}
		c.clearSuspect(id) // gone, or delayed and innocent enough
	}
}
