package stint

import (
	"errors"
	"fmt"
	"slices"
)

// Items: the jobs of a batch.
//
//  1. A portion carries up to 1000 of them to the committer. It stores them,
//     their range of ids, the batch's totals and how far the planner has come
//     in one transaction, and with the last of them seals the batch.
//  2. An item whose kind and args equal those of an unfinished item of any
//     batch is passed over. The items bucket knows the unfinished ones. While
//     a batch is being planned it knows the finished ones of that batch too,
//     so that a planner that starts over, after a crash or a failure, neither
//     loses nor doubles one, in whatever order it yields them.
//  3. When an item ends, in whatever transaction, move tells its batch
//     (batchMember). The totals are gathered over the transaction and written
//     once.
//  4. The transaction in which the last item of a sealed batch ends is the end
//     of the batch, and enqueues its OnDone job.

// portion is a part of a batch on its way into the file.
type portion struct {
	batch   uint64
	planner bool     // bad items are passed over, and a full queue keeps what it has got
	bad     int      // items that the planner could not make
	errors  []string // of the first of them
	seal    bool     // it is the last one

	// Set by apply.
	applied bool
	full    error // the queue was full
}

// spoil counts a bad item.
func (p *portion) spoil(err error) {
	p.bad++
	if len(p.errors) < maxBatchErrors {
		p.errors = append(p.errors, textOf(err))
	}
}

// textOf is the text of an error of any make.
func textOf(err error) (text string) {
	defer func() {
		if value := recover(); value != nil {
			text = fmt.Sprintf("panic in a method of the error, a %T: %v", err, value)
		}
	}()
	return cut(err.Error(), maxBatchError)
}

// errPassedOver: an equal item is there.
var errPassedOver = fmt.Errorf("%w: in a batch", ErrDuplicate)

func (p *portion) apply(t *txn, jobs []pending) error {
	p.applied, p.full = true, nil
	row := t.batch(p.batch)
	if err := t.refuses(row, p.batch); err != nil {
		return err
	}
	row.dirty = true
	row.n.bad += int64(p.bad)
	bad := p.errors
	first, stored := uint64(0), 0
	var reached []byte
	values := make([]byte, 0, 8*len(jobs))
	for i := range jobs {
		job := &jobs[i]
		if job.bad != nil {
			row.n.bad++
			bad = append(bad[:len(bad):len(bad)], cut(job.bad.Error(), maxBatchError))
			continue
		}
		err := t.insertItem(row, job, values[8*i:8*i])
		switch {
		case err == nil:
			if stored++; first == 0 {
				first = job.id
			}
		case errors.Is(err, ErrDuplicate):
			row.n.skipped++
		case errors.Is(err, ErrQueueFull) && p.planner:
			p.full = err
		default:
			return undo{err}
		}
		if p.full != nil {
			break
		}
		reached = job.rec.args
	}
	return t.notePortion(row, p, first, stored, reached, bad)
}

// refuses says why a batch takes no items any more, or nil.
func (t *txn) refuses(row *batchRow, id uint64) error {
	switch {
	case row == nil:
		return fmt.Errorf("%w: batch %d", ErrNotFound, id)
	case row.is(batchCancelled):
		return fmt.Errorf("%w: batch %d, by %s", ErrCancelled, id, t.batchNotes(row).cancelledBy)
	case row.sealed():
		return fmt.Errorf("%w: the planning of batch %d is over", ErrNotRunning, id)
	}
	return nil
}

// notePortion writes what the items of a portion change in their batch.
func (t *txn) notePortion(row *batchRow, p *portion, first uint64, stored int, reached []byte, bad []string) error {
	if stored > 0 {
		row.n.planned += int64(stored)
		if err := t.addRange(row.id, first, stored); err != nil {
			return err
		}
	}
	if p.planner && reached != nil {
		if err := t.putEncrypted(bucketBatches, appendBatch(t.key[:0], row.id, batchReached), slices.Clip(reached)); err != nil {
			return err
		}
	}
	if len(bad) > 0 {
		notes := t.batchNotes(row)
		for _, text := range bad {
			notes.add(text)
		}
		if err := t.putBatchNotes(row); err != nil {
			return err
		}
	}
	if p.seal && p.full == nil {
		row.planned = t.now
	}
	return t.endBatch(row)
}

// insertItem stores one item, unless an equal one is there.
func (t *txn) insertItem(row *batchRow, p *pending, value []byte) error {
	if row.is(batchRepeats) {
		return t.insert(p)
	}
	finished := t.itemKey(row.id, &p.rec)
	key := finished[itemPart:]
	if t.get(bucketItems, key) != nil || row.n.marked > 0 && t.has(bucketItems, finished) {
		return errPassedOver
	}
	if err := t.insert(p); err != nil {
		return err
	}
	return t.put(bucketItems, key, appendID(value, p.id))
}

// itemKey is the key of an item once it is finished; from itemPart on it is
// that of the unfinished one. It is valid until the next call.
func (t *txn) itemKey(batch uint64, r *record) []byte {
	t.wide = t.vault.appendItem(appendBatchOfItem(t.wide[:0], batch), r.kind, r.args)
	return t.wide
}

// has says whether a key is there, whatever its value.
func (t *txn) has(name bucketName, key []byte) bool {
	k, _ := t.cursor(name).Seek(key)
	return string(k) == string(key)
}

// batchMember lets a batch know that a job of it has ended as a state, or
// lives again.
func (t *txn) batchMember(j *stored, from, as State) error {
	row := t.batch(j.rec.batch)
	if row == nil {
		return nil // it has been forgotten, and somebody retries what it left
	}
	switch {
	case j.rec.role == batchItem && unfinished(from):
		return t.itemEnded(row, j, as)
	case j.rec.role == batchItem:
		return t.itemLives(row, j, from)
	case j.rec.role == batchPlanner && unfinished(from):
		return t.plannerEnded(row, j, as)
	case j.rec.role == batchPlanner && from == Dead:
		return t.plannerLives(row)
	}
	return nil
}

// counter is where a batch counts items that ended as a state.
func (n *batchTally) counter(as State) *int64 {
	switch as {
	case Completed:
		return &n.done
	case Dead:
		return &n.dead
	}
	return &n.removed
}

func (t *txn) itemEnded(row *batchRow, j *stored, as State) error {
	row.dirty = true
	*row.n.counter(as)++
	if !row.is(batchRepeats) {
		if err := t.releaseItem(row, j); err != nil {
			return err
		}
	}
	return t.endBatch(row)
}

// releaseItem lets equal items in again, or remembers that this one has been.
func (t *txn) releaseItem(row *batchRow, j *stored) error {
	if j.rec.locked() {
		return t.dropItems(j.id)
	}
	finished := t.itemKey(row.id, j.rec)
	key := finished[itemPart:]
	if v := t.get(bucketItems, key); len(v) != 8 || keyID(v) != j.id {
		return nil // it was retried while another one was there
	}
	if err := t.delete(bucketItems, key); err != nil {
		return err
	}
	if !row.remembers() || t.has(bucketItems, finished) {
		return nil
	}
	row.n.marked++
	return t.putSealed(bucketItems, finished, t.vault.markItem(finished, appendItem(nil, j.rec.kind, j.rec.args)[len(j.rec.kind)+1:]))
}

// itemLives is an item that was retried after its end. OnDone does not come
// again for it.
func (t *txn) itemLives(row *batchRow, j *stored, from State) error {
	row.dirty = true
	*row.n.counter(from)--
	if row.is(batchRepeats) {
		return nil
	}
	key := t.itemKey(row.id, j.rec)[itemPart:]
	if t.get(bucketItems, key) != nil {
		return nil
	}
	return t.put(bucketItems, key, appendID(nil, j.id))
}

// plannerEnded seals a batch whose planner did not come to its end.
func (t *txn) plannerEnded(row *batchRow, j *stored, as State) error {
	if row.sealed() {
		return nil
	}
	why := "the planner returned nil before it had come to its end: was its error swallowed by middleware, or the job completed by Commit?"
	switch as {
	case Dead:
		why = j.rec.reason
	case gone:
		why = "the job of the planner was deleted"
	}
	return t.planFailed(row, why)
}

func (t *txn) planFailed(row *batchRow, why string) error {
	row.dirty = true
	row.planned = t.now
	row.flags |= batchPlanFailed
	t.batchNotes(row).planError = cut(why, maxBatchError)
	if err := t.putBatchNotes(row); err != nil {
		return err
	}
	return t.endBatch(row)
}

// plannerLives unseals a batch whose dead planner is retried. That of a batch
// that has ended will find out when it runs.
func (t *txn) plannerLives(row *batchRow) error {
	if row.ended != 0 || !row.is(batchPlanFailed) || row.is(batchCancelled) {
		return nil
	}
	row.dirty = true
	row.planned = 0
	row.flags &^= batchPlanFailed
	t.batchNotes(row).planError = ""
	return t.putBatchNotes(row)
}

// attemptFailed counts an attempt of an item.
func (t *txn) attemptFailed(r *record) {
	if r.role != batchItem {
		return
	}
	if row := t.batch(r.batch); row != nil {
		row.n.failed++
		row.dirty = true
	}
}

// lostMember counts a job whose record could not be read as ended; the ranges
// of the batches say whose it was. It looks at all batches, which such a job
// is rare enough for.
func (t *txn) lostMember(id uint64) error {
	if err := t.flushBatches(); err != nil {
		return err
	}
	var owner uint64
	cur := t.bucket(bucketBatches).Cursor()
	err := walkBatches(t.bucket(bucketBatches), func(row *batchRow) {
		first, n := lastRange(cur, row.id, id+1)
		if row.id == id || id >= first && id-first < n {
			owner = row.id
		}
	})
	if err != nil || owner == 0 {
		return err
	}
	row := t.batch(owner)
	if owner == id {
		if row.sealed() {
			return nil
		}
		return t.planFailed(row, "the record of the planner's job was damaged and was set aside")
	}
	row.dirty = true
	row.n.removed++
	return t.endBatch(row)
}
