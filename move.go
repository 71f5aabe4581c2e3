package stint

import "slices"

// stored is a job in a transaction: its record, its lane, and the state its
// index entry stands for. rec is nil where a move does not change the record.
type stored struct {
	id    uint64
	rec   *record
	row   *laneRow
	state State // 0: not stored (yet, or any more)
	at    int64 // the time in its index key, where there is one
}

// gone is the state of a job that is not stored.
const gone State = 0

// legalMoves is the life of a job; ARCHITECTURE.md draws it.
var legalMoves = [...][]State{
	gone:      {Ready, Scheduled},
	Ready:     {Running, Dead, gone},
	Scheduled: {Ready, Scheduled, Dead, gone},
	Retrying:  {Ready, Dead, gone},
	Running:   {Completed, gone, Retrying, Scheduled, Ready, Dead},
	Completed: {Ready, gone},
	Dead:      {Ready, gone},
}

// move takes a job from its state to another: out of one index, into the
// next, the counts with it, the record written or deleted, its unique place
// given up when it ends. No other function writes an index, but moveLane.
//
// Running shares the index of Ready: a claim is one value for all running
// jobs together, so Ready → Running and back write nothing here. at is the
// time of the new state: when it is due, or when it ended.
func (t *txn) move(j *stored, to State, at int64) error {
	if !slices.Contains(legalMoves[j.state], to) {
		panic("stint: a job cannot go from " + j.state.String() + " to " + to.String())
	}
	if err := t.unindex(j); err != nil {
		return err
	}
	t.count(j, to)
	t.announce(j, to)
	if to == gone || to == Completed || to == Dead {
		if err := t.release(j, to); err != nil {
			return err
		}
	}
	from := j.state
	j.state, j.at = to, at
	if err := t.index(j); err != nil {
		return err
	}
	if err := t.writeRecord(j, from); err != nil {
		return err
	}
	if t.q.waiters.number.Load() != 0 {
		t.noteEnd(j, from)
	}
	return t.tellKin(j, from)
}

// moveLane takes a job to another lane, in the state it has: out of one index,
// into the next, the counts with it, and the record written. What it is beside
// that stays.
func (t *txn) moveLane(j *stored, to *laneRow) error {
	if j.state == gone || j.state == Running {
		panic("stint: a job that is " + j.state.String() + " cannot go to another lane")
	}
	if err := t.unindex(j); err != nil {
		return err
	}
	j.row.n[countedAs(j.state)]--
	to.n[countedAs(j.state)]++
	j.row.dirty, to.dirty = true, true
	j.row = to
	if err := t.index(j); err != nil {
		return err
	}
	t.announceMoved(j)
	j.rec.queue = to.key.queue
	return t.rewrite(j)
}

// tellKin lets the batch and the schedule of a job know that it has ended, or
// lives again.
func (t *txn) tellKin(j *stored, from State) error {
	if j.rec == nil || from == gone || unfinished(from) == unfinished(j.state) {
		return nil
	}
	as := j.state
	if from == Running && as == gone {
		as = Completed // and not kept
	}
	if j.rec.role != 0 {
		if err := t.batchMember(j, from, as); err != nil {
			return err
		}
	}
	if j.rec.origin != nil {
		return t.scheduledRun(j, as)
	}
	return nil
}

// unindex removes the index entry of the job's state.
func (t *txn) unindex(j *stored) error {
	k := t.key[:0]
	switch j.state {
	case Ready, Running:
		t.setReady(j.row.id, j.id, false)
	case Scheduled, Retrying:
		return t.delete(bucketDue, appendDue(k, j.at, j.id, dueDelay))
	case Completed:
		return t.delete(bucketDone, appendTime(k, j.at, j.id))
	case Dead:
		return t.delete(bucketDead, appendTime(k, j.at, j.id))
	}
	return nil
}

// index adds the index entry of the job's state.
func (t *txn) index(j *stored) error {
	k := t.key[:0]
	switch j.state {
	case Ready:
		t.readied = append(t.readied, readied{j.row, j.id})
		t.setReady(j.row.id, j.id, true)
	case Scheduled, Retrying:
		t.dueAt(j.at)
		return t.put(bucketDue, appendDue(k, j.at, j.id, dueDelay), j.row.delayValue(j.state))
	case Completed:
		return t.put(bucketDone, appendTime(k, j.at, j.id), j.row.laneValue())
	case Dead:
		return t.put(bucketDead, appendTime(k, j.at, j.id), j.row.laneValue())
	}
	return nil
}

// count moves the job in the counts of its lane.
func (t *txn) count(j *stored, to State) {
	row := j.row
	row.dirty = true
	if j.state != gone {
		row.n[countedAs(j.state)]--
	} else {
		row.enqueued++
	}
	if to != gone {
		row.n[countedAs(to)]++
	}
	if unfinished(j.state) {
		t.unfinished--
	}
	if unfinished(to) {
		t.unfinished++
	}
	if j.state == Running && (to == Completed || to == gone) {
		row.n[totalProcessed]++
	}
	if j.state == Running && (to == Retrying || to == Dead) {
		row.n[totalFailed]++
	}
	if to == Dead {
		row.n[totalDied]++
	}
}

func countedAs(s State) State {
	if s == Running {
		return Ready
	}
	return s
}

func unfinished(s State) bool {
	return s == Ready || s == Running || s == Scheduled || s == Retrying
}

// writeRecord stores the record in its new state. A fresh job's record is
// written by the insert gate, which has it encoded already.
func (t *txn) writeRecord(j *stored, from State) error {
	switch {
	case j.state == gone:
		if err := t.q.store.vet(t.tx, j.id); err != nil {
			return err
		}
		return t.delete(bucketJobs, appendID(t.key[:0], j.id))
	case j.rec == nil || from == gone:
		return nil
	}
	j.rec.state = j.state
	j.rec.runAt, j.rec.finished = 0, 0
	switch j.state {
	case Scheduled, Retrying:
		j.rec.runAt = j.at
	case Completed, Dead:
		j.rec.finished = j.at
	}
	return t.rewrite(j)
}

// rewrite stores a changed record whose job stays where it is.
func (t *txn) rewrite(j *stored) error {
	if err := t.q.store.vet(t.tx, j.id); err != nil {
		return err
	}
	return t.put(bucketJobs, appendID(t.key[:0], j.id), j.rec.encode(j.id, t.vault))
}
