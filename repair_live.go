package stint

import (
	"context"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Repair looks for faults, as Check does, and mends those that can be mended
// while the queue is at work: everything that follows from the jobs' records,
// such as indexes, counts, unique places and the totals of batches, is made to
// follow from them again. A job whose entry was lost becomes what its record
// says; one whose record cannot be read is set aside, see Quarantined. It
// returns what was found, with Repaired set for what has been mended. In a
// healthy file nothing is written.
//
// While it mends, which takes a few seconds for a million jobs, no job begins
// and whoever enqueues waits. Jobs that are at work go on. What is mended is on
// disk when Repair returns; many differences take several transactions, and
// when ctx ends, or the process does, Repair can be called again. Damaged pages
// cannot be mended: then only a backup helps. Errors are those of Check and of
// writing.
func (q *Queue) Repair(ctx context.Context) ([]Fault, error) {
	found, err := q.Check(ctx)
	if err != nil || !slices.ContainsFunc(found, func(f Fault) bool { return f.Repairable }) {
		return found, err
	}
	done := make(chan error, 1)
	q.commit.post(func() { done <- q.commit.repair(ctx) })
	select {
	case err = <-done:
	case <-q.commit.done:
		select {
		case err = <-done:
		default:
			err = fmt.Errorf("%w: nothing was mended", ErrClosed)
		}
	}
	if err != nil {
		return found, err
	}
	left, err := q.Check(ctx)
	return repaired(found, left), err
}

// repair is called by the loop between two groups.
func (c *committer) repair(ctx context.Context) error {
	if err := c.failure(); err != nil {
		return err
	}
	q := c.q
	ck := &checker{ctx: ctx, fixing: true, owner: c}
	var last *txn
	err := ck.repair(func(fn func(*txn) error) error {
		var t *txn
		err := q.store.update(func(tx *bolt.Tx) (err error) {
			if t, err = q.newTxn(tx); err != nil {
				return err
			}
			t.own = true
			q.store.bound(false)
			return fn(t)
		})
		if err == nil {
			last = t
		}
		if ctx.Err() != nil {
			return err
		}
		return storeError(err)
	})
	if last != nil {
		if e := c.reload(last); err == nil {
			err = e
		}
	}
	if err != nil && fatal(err) {
		c.fail(err)
	}
	return err
}

// reload makes memory follow the file again, after the transaction t of a
// repair.
func (c *committer) reload(t *txn) error {
	q := c.q
	t.rows, t.unfinished, t.quarantined, t.endedBatches = nil, 0, 0, 0
	paused := map[string]pauseState{}
	release, err := q.store.startWriting() // else Compact could count transactions anew meanwhile
	if err != nil {
		return err
	}
	err = q.store.view(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		c.reloaded = q.store.txid(tx)
		_ = root.Bucket(bucketNames[bucketLanes]).ForEach(func(k, v []byte) error {
			key, _ := parseLaneKey(k)
			row := &laneRow{key: key}
			row.decode(v)
			t.rows = append(t.rows, row)
			t.unfinished += int(row.n[Ready] + row.n[Scheduled] + row.n[Retrying])
			return nil
		})
		_ = root.Bucket(bucketNames[bucketQueues]).ForEach(func(k, v []byte) error {
			value, _ := openValue(k, v)
			paused[string(k)] = decodePause(value)
			return nil
		})
		t.quarantined = countEntries(root.Bucket(bucketNames[bucketQuarantine]))
		c.endedBatches, c.sweeping = 0, nil
		_, err := q.loadBatches(tx)
		return err
	})
	release()
	if err != nil {
		return storeError(err)
	}
	t.id = c.reloaded
	t.unfinished -= int(q.unfinished.Load())
	t.quarantined -= q.stats.aside()
	for _, qs := range c.queues {
		if _, ok := paused[qs.name]; !ok {
			t.paused = append(t.paused, queuePause{queue: qs.name})
		}
	}
	for name, pause := range paused {
		t.paused = append(t.paused, queuePause{name, pause})
	}
	c.renumber(t.rows)
	c.learn(t, func() {})
	c.nextDue, c.nextPrune, c.clockLooked = 1, 1, false // look again
	c.runningChanged = true
	return nil
}

// renumber lets the lanes of memory be those of the file, and forget what they
// knew of their jobs.
func (c *committer) renumber(rows []*laneRow) {
	numbers := map[laneKey]uint32{}
	for _, row := range rows {
		numbers[row.key] = row.id
	}
	q := c.q
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.laneKeys)
	for key, ln := range maps.Clone(q.lanes) {
		ln.forget()
		ln.txid, ln.told = 0, false
		if ln.id = numbers[key]; ln.id != 0 {
			q.laneKeys[ln.id] = key
			continue
		}
		delete(q.lanes, key)
		level := &ln.queue.lanes[key.priority-1]
		*level = slices.DeleteFunc(*level, func(other *lane) bool { return other == ln })
	}
}
