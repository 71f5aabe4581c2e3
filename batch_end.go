package stint

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The end of a batch, and what is left of it.
//
//  1. A batch ends in the transaction in which it is sealed and none of its
//     items is unfinished: whichever of the two comes last, and whoever's
//     transaction it is. Its OnDone job is inserted there, so it comes once.
//  2. sweep forgets the finished items that the planning had to know of, some
//     in each group.
//  3. pruneBatches forgets batches that ended long ago, with the ranges of
//     their items.
//  4. loadBatches finds at Open what the process before has left: batches of
//     an EnqueueBatch that did not return are cancelled.

const (
	keepBatches = 30 * 24 * time.Hour
	maxBatches  = 1000      // that have ended
	lookAgainIn = time.Hour // at those that could not be forgotten
)

// endBatch ends a batch that is over.
func (t *txn) endBatch(row *batchRow) error {
	if row.ended != 0 || !row.sealed() || row.live() > 0 {
		return nil
	}
	row.dirty = true
	row.ended = t.now
	made := t.batchMade(row.id)
	if made.onDone != nil && !row.is(batchTakenBack) {
		if err := t.insertOnDone(row, made.onDone); err != nil {
			return err
		}
	}
	if err := t.put(bucketBatches, appendEnded(t.key[:0], row.ended, row.id), nil); err != nil {
		return err
	}
	t.endedBatches++
	t.pruneAfter(t.now, keepBatches)
	if made.origin == nil {
		return nil
	}
	as, note := t.batchOutcome(row)
	return t.endRun(made.origin, row.id, as, note)
}

// insertOnDone is not refused by Config.MaxJobs, as nobody could be told.
func (t *txn) insertOnDone(row *batchRow, d *onDone) error {
	args, ok := t.vault.decrypt(bucketBatches, appendBatch(nil, row.id, batchMadeOf), d.args)
	if !ok {
		return t.lostOnDone(row, d)
	}
	p := &pending{sure: true, rec: record{
		state: Ready, priority: d.priority, created: t.now, queue: d.queue, kind: d.kind, args: args,
		batch: row.id, role: batchEnd,
	}}
	p.encode(t.vault)
	if err := t.insert(p); err != nil {
		return err
	}
	row.end = p.id
	return nil
}

// lostOnDone tells of args that somebody has changed in an encrypted file.
func (t *txn) lostOnDone(row *batchRow, d *onDone) error {
	t.reports = append(t.reports, report{level: slog.LevelError, text: "stint: the args of a batch's OnDone job are damaged, so it is not enqueued; enqueue it by hand", attrs: []any{"batch_id", row.id, "kind", d.kind}})
	t.batchNotes(row).add("OnDone was not enqueued: its args are damaged")
	return t.putBatchNotes(row)
}

// batchOutcome is what the history of a schedule says about a run. Dead items
// alone do not make it a dead one.
func (t *txn) batchOutcome(row *batchRow) (as State, note string) {
	if row.n.dead > 0 {
		note = fmt.Sprintf("%d of %d items are dead", row.n.dead, row.n.planned)
	}
	switch notes := t.batchNotes(row); {
	case row.is(batchCancelled):
		return Dead, "cancelled by " + notes.cancelledBy
	case row.is(batchPlanFailed):
		return Dead, "not planned to the end: " + notes.planError
	}
	return Completed, note
}

// batchOpen says whether a batch of this id exists and is not finished.
func (t *txn) batchOpen(id uint64) bool {
	row := t.batch(id)
	return row != nil && row.ended == 0
}

// sweep forgets finished items of a batch that is planned.
func (c *committer) sweep(t *txn) error {
	for len(c.sweeping) > 0 {
		row := t.batch(c.sweeping[0])
		if row != nil && row.n.marked > 0 && !row.remembers() {
			return t.sweepItems(row)
		}
		c.sweeping = c.sweeping[1:] // the last transaction has swept it
	}
	return nil
}

func (t *txn) sweepItems(row *batchRow) error {
	prefix := appendBatchOfItem(nil, row.id)
	keys := t.keysWith(bucketItems, prefix, perGroup)
	for _, key := range keys {
		if err := t.delete(bucketItems, key); err != nil {
			return err
		}
	}
	row.dirty = true
	row.n.marked -= int64(len(keys))
	if len(keys) < perGroup {
		row.n.marked = 0
	}
	return nil
}

// keysWith copies up to limit keys that begin with a prefix.
func (t *txn) keysWith(name bucketName, prefix []byte, limit int) (keys [][]byte) {
	cur := t.cursor(name)
	for k, _ := cur.Seek(prefix); bytes.HasPrefix(k, prefix) && len(keys) < limit; k, _ = cur.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	return keys
}

// pruneBatches forgets ended batches that are too old or too many.
func (c *committer) pruneBatches(t *txn) error {
	removed := 0
	oldest := t.keysWith(bucketBatches, []byte{batchEnded}, perGroup)
	for _, key := range oldest {
		at, id := int64(keyID(key[1:])), keyID(key[9:])
		if at+keepBatches.Microseconds() > t.now && c.endedBatches+t.endedBatches <= maxBatches {
			t.pruneAfter(at, keepBatches)
			return nil
		}
		if row := t.batch(id); row != nil && (row.live() > 0 || row.n.marked > 0 || t.unfinishedJob(row.end)) {
			continue // sweep needs the row as well
		}
		n, err := t.forgetBatch(key, id, perGroup-removed)
		if err != nil {
			return err
		}
		if removed += n; removed >= perGroup {
			break
		}
	}
	switch {
	case removed > 0:
		t.nextPrune = t.now // there may be more
	case len(oldest) > 0:
		t.pruneAfter(t.now, lookAgainIn)
	}
	return nil
}

func (t *txn) unfinishedJob(id uint64) bool {
	if id == 0 {
		return false
	}
	j, err := t.find(id)
	return err == nil && unfinished(j.state)
}

// forgetBatch removes up to limit keys of a batch, the ranges first.
func (t *txn) forgetBatch(ended []byte, id uint64, limit int) (removed int, err error) {
	keys := t.keysWith(bucketBatches, appendID(nil, id), limit)
	if len(keys) == limit {
		keys = slices.DeleteFunc(keys, func(k []byte) bool { return len(k) < len(appendRange(nil, 0, 0)) })
	} else {
		keys = append(keys, ended)
		t.endedBatches--
		t.rememberBatch(id, nil)
	}
	for _, key := range keys {
		if err := t.delete(bucketBatches, key); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// loadBatches reads what the committer has to know of the batches, and
// returns those that an EnqueueBatch has left unsealed.
func (q *Queue) loadBatches(tx *bolt.Tx) (torn []uint64, err error) {
	c := q.commit
	err = walkBatches(tx.Bucket(rootBucket).Bucket(bucketNames[bucketBatches]), func(row *batchRow) {
		if row.ended != 0 {
			c.endedBatches++
		}
		if row.n.marked > 0 && !row.remembers() {
			c.sweeping = append(c.sweeping, row.id)
		}
		if row.is(batchByHand) && !row.sealed() {
			torn = append(torn, row.id)
		}
	})
	return torn, err
}

// learnBatches takes over what a committed transaction has changed.
func (c *committer) learnBatches(t *txn) {
	if c.endedBatches += t.endedBatches; c.endedBatches > maxBatches && t.endedBatches > 0 {
		c.nextPrune = 1
	}
	for _, id := range t.sweeps {
		if !slices.Contains(c.sweeping, id) {
			c.sweeping = append(c.sweeping, id)
		}
	}
}
