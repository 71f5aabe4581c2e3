package stint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// The claim gate: how ready jobs get to the workers.
//
//  1. At the end of each group, with the group's inserts and completions
//     applied, claim takes as many ready jobs as there is room for.
//  2. pick chooses the queue that is owed a worker, then its lowest priority
//     number, then the oldest job in it.
//  3. All claimed ids together are one value, written with the group. Only
//     after that commit does a handler start, so a job that kills the process
//     is always found in the file as running.
//  4. Crash suspects are claimed one at a time with nothing beside them.
//
// Room is the number of workers and some more: while handlers are quicker
// than commits, jobs are claimed ahead so that workers need not wait for the
// disk between two jobs. How many follows from how many quick ones finished
// during the last commit; with slow handlers it is none, since what is claimed
// would sit there as if it ran. What was claimed too much is given back.

// maxAhead bounds what is claimed beyond the workers.
const maxAhead = 2000

// maxWorkers bounds the workers, so that what is claimed ahead can be added.
const maxWorkers = math.MaxInt - maxAhead

// quickHandler is the time below which an attempt is a reason to claim ahead.
// Others lose little by waiting for a commit.
const quickHandler = 100 * time.Millisecond

// claim fills the room with jobs. It changes the committer's memory in step;
// rollback undoes that if the commit fails.
func (c *committer) claim(t *txn) error {
	c.noteReady(t.readied)
	noted := len(t.readied)
	if err := c.fill(t); err != nil {
		return err
	}
	c.noteReady(t.readied[noted:]) // OnDone jobs of batches whose last items were buried instead
	return nil
}

// noteReady lets the lanes know jobs that have become ready.
func (c *committer) noteReady(list []readied) {
	for _, r := range list {
		if c.suspects[r.id] == nil {
			c.laneOf(r.row).add(r.id)
		}
	}
}

// fill claims until there is no room or no job.
func (c *committer) fill(t *txn) error {
	c.stoppedShort = false
	r := c.runner
	if r == nil || c.alone != nil && !c.alone.stuck.Load() {
		return nil
	}
	if r.trial.isSpent() {
		return nil
	}
	room := r.room(c.ahead, len(c.running))
	if held, err := c.claimSuspect(t); held || err != nil {
		return err
	}
	fruitless := 0 // jobs that are not to be run: expired, gone, moved, unreadable
	for len(c.running) < room {
		if fruitless == perGroup {
			c.stoppedShort = true
			return nil
		}
		ln := c.pick(t)
		if ln == nil {
			return nil
		}
		id := ln.window[0]
		ln.pop()
		if c.claimed[id] != nil || c.suspects[id] != nil {
			continue // EnqueueTx announced it after the file had shown it
		}
		e, err := c.take(t, ln, id)
		if err != nil {
			return err
		}
		if e == nil {
			fruitless++
		}
	}
	return nil
}

// room is how many jobs may be claimed at the same time, while so many are.
func (r *runner) room(ahead, running int) int {
	room := r.workers + ahead
	if r.trial != nil {
		room = min(room, running+r.trial.left)
	}
	return room
}

// pick is the lane whose first job is to be claimed next, or nil.
func (c *committer) pick(t *txn) *lane {
	var best *queueState
	var bestLane *lane
	bestStart := math.Inf(1)
	for _, qs := range c.queues {
		if qs.pause.since != 0 || qs.busy >= qs.limit {
			continue
		}
		ln := c.front(t, qs)
		if ln == nil {
			continue
		}
		start := max(qs.finish, c.virtual)
		if best == nil || qs.load() < best.load() || qs.load() == best.load() && start < bestStart {
			best, bestLane, bestStart = qs, ln, start
		}
	}
	if best != nil {
		c.virtual = bestStart
		best.finish = bestStart + 1/best.weight
	}
	return bestLane
}

// load is what the queue has of the workers, measured by its weight. The
// queue with the least is next; between equals, the one whose last claim is
// paid for first (start-time fair queueing).
func (qs *queueState) load() float64 { return float64(qs.busy) / qs.weight }

// front is the lane with the oldest job of the queue's most urgent priority.
func (c *committer) front(t *txn, qs *queueState) *lane {
	for _, level := range qs.lanes {
		var best *lane
		var bestID uint64
		for _, ln := range level {
			if len(ln.window) == 0 && !ln.more || !c.allowed(ln) {
				continue
			}
			if id := ln.peek(c, t); id != 0 && (best == nil || id < bestID) {
				best, bestID = ln, id
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// allowed says whether a job of the lane may start as far as its kind goes.
func (c *committer) allowed(ln *lane) bool {
	if ln.handler == nil {
		ln.handler = c.q.handlerOf(ln.key.kind)
	}
	h := ln.handler
	return h != nil && (h.policy.Concurrency == 0 || h.running < h.policy.Concurrency)
}

// take loads one job and claims it. It returns nil for a job that is not to
// be run: gone meanwhile, or not readable.
func (c *committer) take(t *txn, ln *lane, id uint64) (*execution, error) {
	raw := t.nextRecord(id)
	if raw == nil {
		return nil, t.missing(ln, id)
	}
	e := ln.handler.newExecution(c.q)
	e.id, e.lane = id, ln
	err := t.vault.decode(&e.rec, id, c.copyRecord(raw), ln.key)
	switch {
	case errors.Is(err, errBadRecord):
		row, rowErr := t.row(ln.key)
		if rowErr != nil {
			return nil, rowErr
		}
		return nil, t.setAside(row, id)
	case e.rec.state == Completed || e.rec.state == Dead || e.rec.key() != ln.key || t.delayed(id, &e.rec):
		return nil, nil // ended, moved or delayed while it was in the window
	case e.rec.cancelled != "":
		return nil, t.buryCancelled(id) // told to stop while it ran, and then given back
	case e.rec.role == batchItem && t.doomed(e.rec.batch):
		return nil, t.buryDoomed(id, e.rec.batch)
	case e.rec.expires != 0 && e.rec.expires <= t.now && !e.rec.began():
		return nil, t.expire(id) // before promote came to it
	case !t.vault.fits(&e.rec):
		return nil, t.putOff(id)
	}
	c.admit(e)
	c.taken = append(c.taken, e)
	if t.q.events.wanted(JobStarted) {
		t.announce(&stored{id: id, rec: &e.rec, row: &laneRow{key: ln.key}, state: Ready}, Running)
	}
	return e, nil
}

// recordsTogether is the size of an allocation that the records of small jobs
// share. It stays as long as one of them runs.
const recordsTogether = 4 << 10

// copyRecord copies a record out of the memory map.
func (c *committer) copyRecord(raw []byte) []byte {
	if len(raw) > recordsTogether/4 {
		return bytes.Clone(raw)
	}
	if len(c.records)+len(raw) > cap(c.records) {
		c.records = make([]byte, 0, recordsTogether)
	}
	from := len(c.records)
	c.records = append(c.records, raw...)
	return c.records[from:len(c.records):len(c.records)]
}

// admit counts a job as claimed; dismiss is the inverse.
func (c *committer) admit(e *execution) {
	e.place = len(c.running)
	c.running = append(c.running, e)
	c.claimed[e.id] = e
	e.lane.busy++
	e.lane.queue.busy++
	e.handler.running++
	c.runningChanged = true
}

func (c *committer) dismiss(e *execution) {
	delete(c.claimed, e.id)
	if e.place < 0 {
		return // a straggler that was given back already
	}
	last := len(c.running) - 1
	c.running[e.place] = c.running[last]
	c.running[e.place].place = e.place
	c.running[last] = nil
	c.running = c.running[:last]
	e.place = -1
	e.lane.busy--
	e.lane.queue.busy--
	e.handler.running--
	c.runningChanged = true
	if c.alone == e {
		c.alone = nil
	}
}

// claimable says whether claim would find something to do.
func (c *committer) claimable() bool {
	if c.runningChanged || c.suspectWaits() {
		return true
	}
	if c.alone != nil && !c.alone.stuck.Load() || len(c.running) >= c.runner.room(c.ahead, len(c.running)) {
		return false
	}
	for _, qs := range c.queues {
		if qs.pause.since != 0 || qs.busy >= qs.limit {
			continue
		}
		for _, level := range qs.lanes {
			for _, ln := range level {
				if (len(ln.window) > 0 || ln.more) && c.allowed(ln) {
					return true
				}
			}
		}
	}
	return false
}

// giveBackSurplus returns jobs that were claimed ahead and have become too
// many, and those of queues that were paused; they did not start.
func (c *committer) giveBackSurplus(t *txn) {
	r := c.runner
	if c.alone != nil && !c.alone.stuck.Load() {
		return
	}
	surplus := len(c.running) - r.workers - c.ahead
	if c.nextSuspect() != 0 {
		surplus = len(c.running) // they would be beside it
	}
	for _, e := range r.withdraw(surplus) {
		c.dismiss(e)
		c.returned = append(c.returned, e)
		e.lane.add(e.id)
		t.announceReturn(e)
	}
}

// encodeRunning is the value that names the running jobs and the suspects:
// alone | number | ids … | suspects …, ids as differences.
func (c *committer) encodeRunning() []byte {
	b := make([]byte, 0, 16+3*len(c.running))
	if c.alone != nil {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(c.running)))
	previous := uint64(0)
	for _, e := range c.running {
		b = binary.AppendVarint(b, int64(e.id-previous))
		previous = e.id
	}
	for id := range c.suspects {
		b = binary.AppendVarint(b, int64(id-previous))
		previous = id
	}
	return b
}

// decodeRunning is the inverse.
func decodeRunning(b []byte) (alone bool, running, suspects []uint64, ok bool) {
	d := decoder{b: b}
	mark := d.byte()
	n := d.count()
	previous := uint64(0)
	for len(d.b) > 0 && !d.failed {
		previous += uint64(d.varint())
		if len(running) < n {
			running = append(running, previous)
		} else {
			suspects = append(suspects, previous)
		}
	}
	return mark == 1, running, suspects, !d.failed && mark <= 1 && len(running) == n
}

// waitOf is how long a job has waited since it could first run.
func (e *execution) waitOf(start time.Time) time.Duration {
	since := max(e.rec.created, e.rec.runAt)
	return max(start.Sub(fromMicros(since)), 0)
}
