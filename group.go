package stint

import (
	"errors"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// A group: one transaction of the committer, from the first change to what
// memory learns of it.
//
//  1. applyGroup applies the changes of the callers and workers.
//  2. applyOwn does the committer's share: slots become free, due jobs become
//     ready, old ones go, and at last, with all that done, jobs are claimed. What
//     is written once in a while goes along (history_write.go, start.go).
//  3. After the commit publish tells memory, workers and listeners; if it
//     fails, rollback puts the loop's memory back.

// try is one transaction. culprit is the index of the change that spoilt it,
// or -1. bound: it may not grow the file beyond Config.MaxFileSize.
func (c *committer) try(group []change, bound bool) (t *txn, culprit int, err error) {
	c.settled, c.taken, c.returned = c.settled[:0], c.taken[:0], c.returned[:0]
	c.results = append(c.results[:0], make([]error, len(group))...)
	c.clearedAlone, c.cleared = c.alone, nil
	culprit = -1
	err = c.q.store.update(func(tx *bolt.Tx) error {
		tx.OnCommit(func() { c.landed = t })
		var err error
		if t, err = c.q.newTxn(tx); err != nil {
			return err
		}
		t.own, t.samples = true, c.samples[:0]
		c.q.store.bound(bound)
		for _, e := range c.given {
			t.announceReturn(e)
		}
		c.group.Store(t)
		defer c.group.Store(nil)
		if culprit, err = c.applyGroup(t, group); err != nil {
			return err
		}
		return c.applyOwn(t)
	})
	if c.landed != nil && err != nil {
		c.q.log.Error("stint: a function given to OnCommit panicked", "panic", err)
		err = nil // it does not undo the commit
	}
	c.landed = nil
	return t, culprit, err
}

// applyGroup applies the changes of a group. One that refuses without having
// written is told so after the commit, since what it refuses for may be in
// the same group.
func (c *committer) applyGroup(t *txn, group []change) (culprit int, err error) {
	for i, ch := range group {
		if !ch.begin() {
			c.results[i] = errLeft
			continue
		}
		c.inUser = ch
		err := ch.apply(t)
		c.inUser = nil
		c.results[i] = err
		switch {
		case err == nil:
		case isUndo(err):
			return i, err
		case errors.Is(err, ErrCorrupt):
			return -1, err // half of the change may be written
		}
		if e, ok := ch.(*execution); ok && err == nil && !e.inline && (e.effect == nil || e.final) {
			c.settled = append(c.settled, e)
		}
	}
	return -1, nil
}

// applyOwn is the committer's share of a transaction.
func (c *committer) applyOwn(t *txn) error {
	quick := 0
	for _, e := range c.settled {
		c.dismiss(e)
		switch {
		case e.outcome.to != Ready:
			c.clearSuspect(e.id)
		case c.suspects[e.id] == nil: // an interrupted suspect stays one
			e.lane.add(e.id)
		}
		if e.duration < quickHandler {
			quick++
		}
	}
	c.ahead = min(2*quick, maxAhead)
	if t.now < c.cautiousUntil || c.stalled {
		c.ahead = 0
	}
	if c.runner != nil {
		c.giveBackSurplus(t) // so that what is given back may expire
		if err := c.fire(t); err != nil {
			return err
		}
		if err := c.promote(t); err != nil {
			return err
		}
		if err := c.prune(t); err != nil {
			return err
		}
		if err := c.sweep(t); err != nil {
			return err
		}
	}
	if err := t.flushReady(); err != nil {
		return err // claim reads the index
	}
	if err := c.claim(t); err != nil {
		return err
	}
	if c.runningChanged {
		if err := t.putSealed(bucketMeta, keyRunning, c.encodeRunning()); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if !t.wrote && !c.historyWaits() {
		return errNothingToDo
	}
	if c.silent {
		return nil
	}
	if err := c.writeHistory(t); err != nil {
		return err
	}
	return c.writeStarts(t)
}

// rollback puts the loop's memory back to what the file says.
func (c *committer) rollback() {
	for _, e := range c.taken {
		c.dismiss(e)
	}
	for _, e := range c.settled {
		switch {
		case c.claimed[e.id] != nil:
		case e.straggler:
			c.claimed[e.id] = e
		default:
			c.admit(e)
		}
	}
	for _, e := range c.returned {
		c.admit(e)
	}
	if len(c.returned) > 0 {
		c.runner.hand(c.returned)
	}
	c.settled, c.taken, c.returned = c.settled[:0], c.taken[:0], c.returned[:0]
	c.nextDue, c.nextPrune = 1, 1 // look again
	c.clockLooked = false
	maps.Copy(c.suspects, c.cleared)
	c.alone, c.cleared = c.clearedAlone, nil

	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	for key, ln := range c.q.lanes {
		if ln.txid != 0 {
			ln.forget()
			continue
		}
		delete(c.q.lanes, key) // it was made in the transaction
		delete(c.q.laneKeys, ln.id)
		level := &ln.queue.lanes[key.priority-1]
		*level = slices.DeleteFunc(*level, func(l *lane) bool { return l == ln })
	}
}

// publish lets memory, the workers and the listeners know what was committed.
func (c *committer) publish(t *txn) {
	c.considerCompaction()
	c.runningChanged = false
	c.given = c.given[:0]
	c.learn(t, c.updateLive)
	clear(t.samples)
	c.samples, t.samples = t.samples[:0], nil
	if c.runner != nil {
		c.runner.trial.claimed(len(c.taken), len(c.returned))
	}
	if len(c.taken) > 0 {
		c.runner.hand(c.taken)
	}
	for _, order := range t.cancelled {
		order.e.stop(order.cause)
	}
	if len(t.paused) > 0 && c.runner != nil {
		c.giveBack(c.runner.withdraw(0))
	}
}

// publishNothing is publish after a transaction that had nothing to write.
func (c *committer) publishNothing(t *txn) {
	c.q.mu.Lock()
	c.updateLive()
	c.q.mu.Unlock()
	c.learnSchedules(t)
	c.q.waiters.tell(t.endings)
	c.q.events.publish(t.events)
	c.q.report(t.reports)
}

// updateLive publishes which jobs are running, and which are suspects. Queue.mu is held.
func (c *committer) updateLive() {
	q := c.q
	for _, e := range c.settled {
		delete(q.live, e.id)
	}
	for _, e := range c.returned {
		delete(q.live, e.id)
	}
	for _, e := range c.taken {
		q.live[e.id] = e
	}
	for id := range c.cleared {
		if ln := c.suspects[id]; ln != nil {
			q.suspects[id] = ln.key
			continue
		}
		delete(q.suspects, id)
	}
}

// learn takes over what a committed transaction has changed, be it the
// committer's own or one of EnqueueTx. live changes which jobs are running, in
// step with the counts.
func (c *committer) learn(t *txn, live func()) {
	q := c.q
	for _, row := range t.rows {
		c.laneOf(row)
	}
	for _, p := range t.paused {
		c.queueOf(p.queue)
	}
	c.count(t)
	q.stats.learn(t) // before the counts: who sees that a job is done finds how long it took
	q.mu.Lock()
	live()
	for _, row := range t.rows {
		if ln := q.lanes[row.key]; ln.txid < t.id {
			if ln.txid != 0 {
				ln.queue.pace.note(t.now, row.n.endings()-ln.n.endings(), ln.queue.busy > 0)
			}
			ln.n, ln.txid = row.n, t.id
		}
	}
	for _, p := range t.paused {
		c.queueOf(p.queue).pause = p.pause
	}
	q.mu.Unlock()
	q.unfinished.Add(int64(t.unfinished))
	if t.nextDue != 0 && (c.nextDue == 0 || t.nextDue < c.nextDue) {
		c.nextDue = t.nextDue
	}
	if t.nextPrune != 0 && (c.nextPrune == 0 || t.nextPrune < c.nextPrune) {
		c.nextPrune = t.nextPrune
	}
	c.learnSchedules(t)
	c.learnBatches(t)
	q.waiters.tell(t.endings)
	q.events.publish(t.events)
	q.report(t.reports)
}

// learnForeign is learn for a transaction of the caller's.
func (c *committer) learnForeign(t *txn) {
	if t.id <= c.reloaded {
		t.unfinished, t.quarantined, t.endedBatches = 0, 0, 0 // a repair has counted them
	}
	c.learn(t, func() {
		for _, id := range t.completed {
			delete(c.q.live, id) // or the counts would have it as running and not at all
		}
	})
	for _, r := range t.readied {
		c.laneOf(r.row).add(r.id)
	}
}
