package stint

import (
	"encoding/binary"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
)

// lane is the memory of the jobs of one queue, kind and priority that are
// ready. The whole order is on disk; here is a window of its front, so memory
// does not grow with the backlog. A lane whose kind has no handler, or is at
// its Concurrency, is passed over without touching its jobs: that is all that
// parking is.
type lane struct {
	key laneKey
	id  uint32

	// Published: written by the committer under Queue.mu, read by anybody.
	n    tally // as of the transaction txid
	txid int

	// Owned by the committer.
	queue   *queueState
	handler *handler // nil until one is registered
	window  []uint64 // ids that are ready, ascending; none of them is running
	horizon uint64   // every ready id up to here is in the window, or running
	more    bool     // the disk may have ids behind the horizon
	busy    int      // jobs of this lane that are claimed
	told    bool     // that its counts do not fit the file
	places  places   // where its jobs are counted
}

// windowSize bounds a lane's window: it is filled to this and cut at twice.
const windowSize = 512

// queueState is the memory of one named queue.
type queueState struct {
	name    string
	limited atomic.Bool // it has a limit of its own
	weight  float64     // share of the workers

	// Published, as above.
	pause pauseState
	limit int  // jobs that may be claimed at once
	pace  pace // at which they end

	// Owned by the committer.
	lanes  [priorities][]*lane
	busy   int     // jobs that are claimed
	finish float64 // virtual time at which its last claim has been paid for
}

// add lets the lane know an id that has become ready.
func (ln *lane) add(id uint64) {
	if id > ln.horizon {
		if !ln.more && len(ln.window) < windowSize {
			ln.window = append(ln.window, id)
			ln.horizon = id
			return
		}
		ln.more = true
		return
	}
	at, found := slices.BinarySearch(ln.window, id)
	if found {
		return
	}
	ln.window = slices.Insert(ln.window, at, id)
	if len(ln.window) >= 2*windowSize {
		ln.window = ln.window[:windowSize]
		ln.horizon = ln.window[windowSize-1]
		ln.more = true
	}
}

// peek is the first id of the lane, read from disk if the window is empty, or
// 0.
func (ln *lane) peek(c *committer, t *txn) uint64 {
	if len(ln.window) == 0 && ln.more {
		if c.refill(t, ln); len(ln.window) == 0 && ln.n[Ready] > 0 {
			t.doubt(ln)
		}
	}
	if len(ln.window) == 0 {
		return 0
	}
	return ln.window[0]
}

func (ln *lane) pop() {
	ln.window = ln.window[1:]
	if len(ln.window) == 0 {
		ln.window = nil // lets go of the array's used front
	}
}

// forget drops what the window knows, so that it is read again from the
// beginning: after a commit that failed.
func (ln *lane) forget() {
	ln.window, ln.horizon, ln.more = nil, 0, true
}

// refill reads the next ids of a lane from the ready bucket. Running jobs and
// crash suspects are there too and are passed over.
func (c *committer) refill(t *txn, ln *lane) {
	cur := t.cursor(bucketReady)
	first := ln.horizon + 1
	if cap(ln.window) < windowSize {
		ln.window = make([]uint64, 0, windowSize)
	}
	k, v := cur.Seek(appendBlock(t.key[:0], ln.id, first/64))
	for ; len(k) == 12 && binary.BigEndian.Uint32(k) == ln.id; k, v = cur.Next() {
		more := readyIDs(k, v, first, func(id uint64) bool {
			if len(ln.window) == windowSize {
				return false
			}
			ln.horizon = id
			if c.claimed[id] == nil && c.suspects[id] == nil {
				ln.window = append(ln.window, id)
			}
			return true
		})
		if !more {
			return
		}
	}
	ln.more = false
}

// doubt tells, once, of a lane that counts ready jobs where the index has none:
// they would wait for ever, and nobody would know.
func (t *txn) doubt(ln *lane) {
	row, err := t.row(ln.key)
	if err != nil || ln.told || row.n[Ready] <= 0 {
		return
	}
	for _, block := range t.blocks {
		if block.lane == ln.id && block.bits != 0 {
			return // not written yet
		}
	}
	if k, _ := t.cursor(bucketReady).Seek(appendBlock(t.key[:0], ln.id, 0)); len(k) == 12 && binary.BigEndian.Uint32(k) == ln.id {
		return
	}
	ln.tell(t, "it counts ready jobs that are in no index, so they do not run", "jobs", row.n[Ready])
}

// missing is for a job of the window that has no record: it was deleted
// meanwhile, or else the index or the record is damaged.
func (t *txn) missing(ln *lane, id uint64) error {
	if err := t.q.store.vet(t.tx, id); err != nil {
		return err
	}
	if !ln.told && t.block(ln.id, id/64).bits&(1<<(id%64)) != 0 {
		ln.tell(t, "a ready job is in the index and has no record", "job_id", id)
	}
	return nil
}

// tell tells, once, that the lane and the rest of the file do not fit.
func (ln *lane) tell(t *txn, what string, attrs ...any) {
	ln.told = true
	t.reports = append(t.reports, report{
		level: slog.LevelError,
		text:  "stint: the file is damaged: " + what + "; Queue.Check tells more, and Queue.Repair mends it",
		attrs: append([]any{"queue", ln.key.queue, "kind", ln.key.kind, "priority", ln.key.priority}, attrs...),
	})
}

// laneOf is the lane of a row in memory, made if it is new.
func (c *committer) laneOf(row *laneRow) *lane {
	q := c.q
	if ln := q.lanes[row.key]; ln != nil {
		return ln
	}
	qs := c.queueOf(row.key.queue)
	ln := &lane{key: row.key, id: row.id, queue: qs, more: true}
	level := row.key.priority - 1
	qs.lanes[level] = append(qs.lanes[level], ln)
	q.mu.Lock()
	q.lanes[row.key], q.laneKeys[row.id] = ln, row.key
	q.mu.Unlock()
	return ln
}

// queueOf is the queue of this name in memory, made if it is new.
func (c *committer) queueOf(name string) *queueState {
	for _, qs := range c.queues {
		if qs.name == name {
			return qs
		}
	}
	cfg := c.q.cfg.Queues[name]
	qs := &queueState{name: name, weight: float64(max(cfg.Weight, 1))}
	qs.setLimit(cfg.Workers)
	c.q.mu.Lock()
	c.queues = append(c.queues, qs)
	c.q.mu.Unlock()
	return qs
}

// setLimit bounds the jobs of the queue that may run at once; 0 is no limit.
func (qs *queueState) setLimit(n int) {
	qs.limited.Store(n != 0)
	if qs.limit = n; n == 0 {
		qs.limit = math.MaxInt
	}
}
