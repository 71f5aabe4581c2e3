package stint

import (
	"cmp"
	"log/slog"
	"math"
	"time"
)

// The prune gate: what time does to jobs. It runs at the end of each group
// while Run is working, on a bounded number of jobs at a time, and only looks
// when something is due.
//
//  1. promote makes delayed and retrying jobs ready when their time has come,
//     lets jobs expire that have not started, and frees unique places whose
//     period is over.
//  2. prune removes completed and dead jobs that were kept long enough.
//     Batches that have ended, and what their planning had to know, go with
//     them (batch_end.go).
//  3. bury makes a job dead and keeps the dead set within Config.MaxDead.

// perGroup bounds what one group promotes and prunes.
const perGroup = 1000

// promote handles the entries of the due bucket up to now.
func (c *committer) promote(t *txn) error {
	if t.nextDue != 0 && (c.nextDue == 0 || t.nextDue < c.nextDue) {
		c.nextDue = t.nextDue
	}
	if c.nextDue == 0 || c.nextDue > t.now {
		return nil
	}
	due, next := t.firstKeys(bucketDue, t.now, perGroup)
	c.nextDue, t.nextDue = next, 0 // the end of a run may add entries
	for _, e := range due {
		if err := t.fireDue(e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

// entry is a copied key and value.
type entry struct{ key, value []byte }

// firstKeys copies up to limit entries of a bucket led by a time of at most
// until, and tells the time of the entry that follows, or 0. They are copied
// since deleting would move the cursor.
func (t *txn) firstKeys(name bucketName, until int64, limit int) (entries []entry, next int64) {
	cur := t.cursor(name)
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		at := int64(keyID(k))
		if at > until || len(entries) == limit {
			return entries, at
		}
		entries = append(entries, entry{append([]byte(nil), k...), append([]byte(nil), v...)})
	}
	return entries, 0
}

func (t *txn) fireDue(key, value []byte) error {
	if k, _ := t.cursor(bucketDue).Seek(key); string(k) != string(key) {
		return nil // an entry before it has ended the job
	}
	at := int64(keyID(key))
	switch key[len(key)-1] {
	case dueDelay:
		row, err := t.rowByID(uint32(keyID(append(make([]byte, 4, 8), value[1:]...))))
		if err != nil {
			return err
		}
		j := &stored{id: keyID(key[8:]), row: row, state: State(value[0]), at: at}
		return t.move(j, Ready, 0)
	case dueExpiry:
		if err := t.delete(bucketDue, key); err != nil {
			return err
		}
		return t.expire(keyID(key[8:]))
	default:
		if err := t.delete(bucketDue, key); err != nil {
			return err
		}
		place := key[8 : 8+placeSize]
		if mode, _, until, ok := t.place(place); ok && mode == forPeriod && until <= t.now {
			return t.delete(bucketPlaces, place)
		}
		return nil
	}
}

// expire ends a job that has not started in time.
func (t *txn) expire(id uint64) error {
	j, err := t.find(id)
	if err != nil {
		return nil // gone, or unreadable, which its claim will find out
	}
	if j.state == Running || j.rec.began() || !unfinished(j.state) {
		return nil
	}
	j.rec.reason = "expired: it had not started by " + fromMicros(j.rec.expires).UTC().Format(time.RFC3339)
	return t.bury(j)
}

// began says whether an attempt has left its mark.
func (r *record) began() bool {
	return r.failures != 0 || r.snoozes != 0 || r.crashes != 0 || r.stash != nil
}

// buryCancelled ends a job that was cancelled while it ran, in an attempt that
// had no end.
func (t *txn) buryCancelled(id uint64) error {
	j, err := t.find(id)
	if err != nil {
		return err
	}
	j.rec.reason = j.rec.whyCancelled()
	j.row.cancelled++
	return t.bury(j)
}

// whyCancelled does not tell of whom a locked record knows it.
func (r *record) whyCancelled() string {
	if r.locked() {
		return "cancelled while it was running"
	}
	return r.cancelled
}

// prune removes kept jobs that are old enough.
func (c *committer) prune(t *txn) error {
	if t.nextPrune != 0 && (c.nextPrune == 0 || t.nextPrune < c.nextPrune) {
		c.nextPrune = t.nextPrune
	}
	if c.nextPrune == 0 || c.nextPrune > t.now {
		return nil
	}
	c.nextPrune, t.nextPrune = 0, 0
	for _, kept := range []struct {
		name  bucketName
		state State
		keep  time.Duration
	}{{bucketDone, Completed, cmp.Or(t.q.cfg.KeepCompleted, resultKept)}, {bucketDead, Dead, t.q.cfg.KeepDead}} {
		old, next := t.firstKeys(kept.name, t.now-kept.keep.Microseconds(), perGroup)
		if err := t.removeKept(old, kept.state); err != nil {
			return err
		}
		if next != 0 {
			t.pruneAfter(next, kept.keep)
		}
	}
	if err := c.pruneBatches(t); err != nil {
		return err
	}
	c.nextPrune, t.nextPrune = t.nextPrune, 0
	return nil
}

func (t *txn) removeKept(old []entry, state State) error {
	for _, e := range old {
		row, err := t.rowByID(uint32(keyID(append(make([]byte, 4, 8), e.value...))))
		if err != nil {
			return err
		}
		j := &stored{id: keyID(e.key[8:]), row: row, state: state, at: int64(keyID(e.key))}
		if err := t.move(j, gone, 0); err != nil {
			return err
		}
	}
	return nil
}

// pruneAfter lets prune look when a job that ended at has been kept for keep.
func (t *txn) pruneAfter(at int64, keep time.Duration) {
	if keep == forever || at > math.MaxInt64-keep.Microseconds() {
		return
	}
	at += keep.Microseconds()
	if t.nextPrune == 0 || at < t.nextPrune {
		t.nextPrune = at
	}
}

// bury makes a job dead; the reason is in its record.
func (t *txn) bury(j *stored) error {
	if err := t.move(j, Dead, t.now); err != nil {
		return err
	}
	info := j.info()
	t.reports = append(t.reports, report{level: slog.LevelError, text: "stint: a job is dead and will not run again", info: info, death: true})
	t.pruneAfter(t.now, t.q.cfg.KeepDead)

	surplus := min(t.deadJobs()-t.q.cfg.MaxDead, perGroup-t.trimmed)
	if surplus <= 0 {
		return nil
	}
	t.trimmed += surplus
	oldest, _ := t.firstKeys(bucketDead, math.MaxInt64, surplus)
	return t.removeKept(oldest, Dead)
}
