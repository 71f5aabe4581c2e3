package stint

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// How the history gets into the file.
//
//  1. After each commit, learn lets count add what the transaction has changed
//     to the activity of the present minute: the totals of a lane as differences of
//     its row, and one sample for each handler that has ended. A lane keeps the
//     places where its jobs are counted, so that costs no search.
//  2. A commit that comes when the minute is over writes it, by writeHistory,
//     and adds it to its ten minutes and its day, so each entry of the file is
//     complete at any time, and no entry is made of others that may have gone.
//     A minute that the clock comes to again is added to what is there.
//  3. What is older than it is kept is removed in the same place, some entries
//     at a time, and so is what a clock that went wrong has put as far into the
//     future.
//  4. Close writes what is left in the commit that writes the free list.
//
// Each write has a number, the sequence of the bucket. The activities know theirs
// from before the commit, and stay for one write more: so History can tell for
// any view of the file which activities are in it and which are not. A write
// that fails needs nothing undone: no view has its number, and the next takes it.

// history is what no write into the file has, or the last one.
type history struct {
	mu      sync.Mutex
	present *activity   // of the minute under way, nil if nothing has happened in it
	past    []*activity // minutes that are over, as they came
	written []*activity // those of the last write
	dropped uint64      // the last write whose activities are gone
}

// Transactions of the application alone write nothing for the committer; then
// it makes a commit of its own when so many minutes wait. Where the file takes
// no writes, more than maxPast become one.
const (
	enoughPast = 10
	maxPast    = 60

	historyPruned = 100 // entries of each length that a commit removes at most
)

// sample is one attempt that has ended.
type sample struct {
	timing
	lane *lane
	as   attemptEnd
}

// timing is how long an attempt has waited and run.
type timing struct{ wait, run time.Duration }

// attemptEnd is how an attempt has ended.
type attemptEnd uint8

const (
	attemptCompleted attemptEnd = iota
	attemptFailed               // and is tried again
	attemptSnoozed
	attemptInterrupted
	attemptDied
)

// noteEnding gathers the sample of an attempt.
func (t *txn) noteEnding(e *execution, as attemptEnd) {
	if start := e.startedAt(); !start.IsZero() {
		t.samples = append(t.samples, sample{timing{e.waitOf(start), e.duration}, e.lane, as})
	}
}

// endsAs is what an attempt with this verdict counts as.
func (v *verdict) endsAs() attemptEnd {
	switch {
	case v.to == Retrying:
		return attemptFailed
	case v.to == Dead:
		return attemptDied
	case v.to == Ready || v.yields:
		return attemptInterrupted
	case v.to == Scheduled:
		return attemptSnoozed
	}
	return attemptCompleted
}

// changed says whether the transaction has done anything to jobs.
func (t *txn) changed() bool {
	if len(t.samples) > 0 {
		return true
	}
	for _, row := range t.rows {
		if row.n != row.before || row.enqueued != 0 {
			return true
		}
	}
	return false
}

// count adds a committed transaction to the history and the metrics. It comes
// before memory learns the new counts: those of before are as a minute that is
// over has ended.
func (c *committer) count(t *txn) {
	q := c.q
	q.history.settle(t.historyWrite)
	if t.startsWritten {
		q.starts.committed()
	}
	if !t.changed() {
		return
	}
	at := t.now
	if !t.own {
		at = micros(time.Now()) // a transaction of the application may have begun long ago
	}
	now := c.activityAt(at)
	q.metrics.mu.Lock()
	defer q.metrics.mu.Unlock()
	q.history.mu.Lock()
	defer q.history.mu.Unlock()
	for _, row := range t.rows {
		if row.n != row.before || row.enqueued != 0 {
			c.laneOf(row).counting(q, now).countRow(row)
		}
	}
	for i := range t.samples {
		s := &t.samples[i]
		s.lane.counting(q, now).countAttempt(s)
	}
}

// places is where the jobs of a lane are counted.
type places struct {
	of    *activity // whose kind and queue are, nil when its minute is over
	kind  *kindActivity
	queue *queueActivity
	total *kindMeter
	waits *durations // of its queue, since Open
}

// counting lets the lane have its places in the activity.
func (ln *lane) counting(q *Queue, now *activity) *places {
	p := &ln.places
	if p.of != now {
		p.of, p.kind, p.queue = now, now.kind(ln.key.kind), now.queue(ln.key.queue)
	}
	if p.total == nil {
		p.total, p.waits = q.metrics.of(ln.key.queue, ln.key.kind)
	}
	return p
}

func (p *places) countRow(row *laneRow) {
	completed := uint64(row.n[totalProcessed] - row.before[totalProcessed])
	died := uint64(row.n[totalDied] - row.before[totalDied])
	p.kind.n[countEnqueued] += uint64(row.enqueued)
	p.kind.n[countCompleted] += completed
	p.kind.n[countFailed] += uint64(row.n[totalFailed] - row.before[totalFailed])
	p.kind.n[countDied] += died
	p.total.enqueued += uint64(row.enqueued)
	p.total.completed += completed
	p.total.cancelled += uint64(row.cancelled)
	p.total.died += died - uint64(row.cancelled)
}

func (p *places) countAttempt(s *sample) {
	wait, run := classOf(s.wait), classOf(s.run)
	waited, ran := s.wait.Seconds(), s.run.Seconds()
	p.kind.run.add(run, ran)
	p.queue.wait.add(wait, waited)
	p.total.run.add(run, ran)
	p.waits.add(wait, waited)
	switch s.as {
	case attemptFailed:
		p.total.failed++
	case attemptSnoozed:
		p.total.snoozed++
	case attemptInterrupted:
		p.total.interrupted++
	}
}

// activityAt is the activity of the minute of a time. When that is another one than
// until now, the one until now is over.
func (c *committer) activityAt(at int64) *activity {
	c.endMinute(at)
	h := &c.q.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.present == nil {
		h.present = newActivity(stretches[0].startOf(at))
	}
	return h.present
}

// endMinute ends the minute under way, if it is not that of the time.
func (c *committer) endMinute(at int64) {
	if s := c.q.history.present; s != nil && s.start != stretches[0].startOf(at) {
		c.endPresent()
	}
}

func (c *committer) endPresent() {
	h := &c.q.history
	ready := c.q.readyByQueue()
	for _, ln := range c.q.lanes {
		ln.places.of, ln.places.kind, ln.places.queue = nil, nil, nil // what has nothing to do would keep them
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.present.setReady(ready)
	h.past, h.present = append(h.past, h.present), nil
	if len(h.past) > maxPast {
		h.past[0].merge(h.past[1])
		h.past = append(h.past[:1], h.past[2:]...)
	}
}

// readyByQueue is how many jobs of each queue wait, as of the last commit.
func (q *Queue) readyByQueue() map[string]int {
	q.mu.RLock()
	defer q.mu.RUnlock()
	ready := map[string]int{}
	for key, ln := range q.lanes {
		if n := ln.n[Ready]; n > 0 {
			ready[key.queue] += int(n)
		}
	}
	for _, e := range q.live {
		ready[e.rec.queue]--
	}
	for name, n := range ready {
		if n <= 0 {
			delete(ready, name)
		}
	}
	return ready
}

// historyWaits says whether minutes wait for a commit that does not come.
func (c *committer) historyWaits() bool { return len(c.q.history.past) > enoughPast && !c.silent }

// writeHistory puts the minutes that are over into the file. The activities are
// marked with the number of the write before it is committed.
func (c *committer) writeHistory(t *txn) error {
	c.endMinute(t.now)
	h := &c.q.history
	if len(h.past) == 0 {
		return nil
	}
	b := t.bucket(bucketHistory)
	number := b.Sequence() + 1
	if err := b.SetSequence(number); err != nil {
		return err
	}
	for i := range stretches {
		l := &stretches[i]
		for _, s := range h.past {
			if err := t.addActivity(l, s); err != nil {
				return err
			}
		}
		if err := t.pruneHistory(l); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.past {
		s.write = number
	}
	t.historyWrite = number
	return nil
}

// addActivity adds a minute to the entry of its stretch.
func (t *txn) addActivity(l *stretch, s *activity) error {
	start := l.startOf(s.start)
	all, key := newActivity(start), l.key(t.key[:0], start)
	if v := t.get(bucketHistory, key); v != nil {
		stored, err := readActivity(key, v)
		if err != nil {
			t.reports = append(t.reports, report{
				level: slog.LevelError, text: "stint: the file is damaged: an entry of the history cannot be read, and is begun anew",
				attrs: []any{"start", fromMicros(start), "length", time.Duration(l.long) * time.Microsecond},
			})
		} else {
			all = stored
		}
	}
	all.merge(s)
	return t.putSealed(bucketHistory, key, all.encode())
}

// pruneHistory removes entries that are too old, or too far in the future. The
// last of the old ones stays, as it tells what has waited since.
func (t *txn) pruneHistory(l *stretch) error {
	var old [][]byte
	cur := t.cursor(bucketHistory)
	oldest, latest := string(l.key(nil, max(t.now-l.keep-l.long, 0))), string(l.key(nil, t.now+l.keep))
	for k, _ := cur.Seek([]byte{l.code}); l.owns(k) && len(old) < historyPruned && string(k) < oldest; k, _ = cur.Next() {
		old = append(old, append([]byte(nil), k...))
	}
	old = old[:max(len(old)-1, 0)]
	for k, _ := cur.Seek([]byte(latest)); l.owns(k) && len(old) < historyPruned; k, _ = cur.Next() {
		old = append(old, append([]byte(nil), k...))
	}
	for _, k := range old {
		if err := t.delete(bucketHistory, k); err != nil {
			return err
		}
	}
	return nil
}

// settle lets go of the minutes that a write has brought into the file, but
// for the last ones.
func (h *history) settle(write uint64) {
	if write == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.written) > 0 {
		h.dropped = h.written[0].write
	}
	h.written, h.past = h.past, nil
}

// writeLast puts by what no commit has brought into the file, if there is
// anything. The loop has ended.
func (c *committer) writeLast() func(*bolt.Tx) error {
	if h := &c.q.history; h.present == nil && len(h.past) == 0 && !c.q.starts.changed() {
		return nil
	}
	return func(tx *bolt.Tx) error {
		t, err := c.q.newTxn(tx)
		if err != nil {
			return fmt.Errorf("stint: the history of the last minutes is not stored: %w", err)
		}
		c.q.store.bound(false)
		if c.q.history.present != nil {
			c.endPresent()
		}
		if err := c.writeHistory(t); err != nil {
			return err
		}
		return c.writeStarts(t)
	}
}
