package stint

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// committer is the one writer of a queue. All changes of state go through it.
//
//  1. Changes gather in the inbox. The first one wakes the committer.
//  2. It takes everything that waits as one group, applies it in one bbolt
//     transaction, moves what has become due, prunes, and claims jobs for the
//     free workers.
//  3. The commit syncs. Meanwhile the next group gathers.
//  4. Afterwards memory learns what happened, the callers get their answers,
//     the claimed jobs go to the workers.
//
// Invariants: nobody is answered before the sync, no handler starts before
// its claim is synced, and memory changes only after the commit (or is put
// back if it fails).
//
// An idle queue commits at once, and a busy one gathers while it syncs. How a
// group becomes larger than that without anybody waiting for it is in
// gather.go. bbolt's own Batch delays everybody, by up to 10 ms.
//
// A change that fails by itself is taken out, told, and the group is applied
// again without it. If the commit fails, everybody is told but the
// completions: their work is done, so they are kept and tried again until
// they are stored. After a failed sync nothing is tried again: see
// ErrSyncFailed.
type committer struct {
	q *Queue

	mu      sync.Mutex
	inbox   []change // guarded by mu
	awaited int      // guarded by mu: changes in the inbox whose end somebody waits for
	resting bool     // guarded by mu: the loop waits for one of those, see rest
	notes   []func() // guarded by mu: what the loop has to do or learn between two groups
	closed  bool     // guarded by mu: the inbox takes no more

	signal chan struct{}       // something waits
	done   chan struct{}       // the loop has ended
	group  atomic.Pointer[txn] // the transaction under way
	made   time.Time
	began  atomic.Int64 // when the commit under way did, in nanoseconds after made; 0 for none

	// The rest is owned by the loop.
	batch    []change
	answered int // callers who were answered after the last group
	lastTook time.Duration
	there    int      // callers who were there already then
	stalled  bool     // rest has ended because nothing came
	hurried  int      // groups that are still to begin without gather
	deserted int      // what hurried was set to the last time callers did not come back
	results  []error  // of the group under way, in step with it
	kept     []change // completions that could not be committed yet
	retryIn  time.Duration
	underway []change // the group in the transaction
	landed   *txn     // the transaction, once it is committed, while OnCommit functions are called
	inUser   change   // the change whose function is being called
	stopping bool
	failed   bool // what follows from a failure is done

	pause     *time.Timer // of rest
	timer     *time.Timer
	timerAt   int64
	wakeups   atomic.Uint64 // by the timer; others read it
	nextDue   int64         // earliest entry of the due bucket, 0 for none
	nextPrune int64         // when the oldest kept job is to go, 0 for never
	nextFire  int64         // when the first schedule is due, 0 for never

	schedules   []*registered
	clockLooked bool // schedules have been compared with the clock since it last jumped

	endedBatches int      // that are kept
	toldLocked   int64    // when the log last told of a job whose key is missing
	sweeping     []uint64 // batches whose finished items are to be forgotten

	runner         *runner
	workers        int           // others read it under Queue.mu
	queues         []*queueState // others read it under Queue.mu
	running        []*execution
	claimed        map[uint64]*execution
	runningChanged bool             // since the value in the file was written
	stoppedShort   bool             // the last claim looked at many jobs in vain; there may be others behind them
	suspects       map[uint64]*lane // jobs to be run alone
	alone          *execution
	clearedAlone   *execution       // alone before the group under way
	cleared        map[uint64]*lane // suspects before it, where it changed them
	ahead          int              // jobs to claim beyond the workers
	cautiousUntil  int64            // none before, after a crash
	virtual        float64          // virtual time of the fair queueing

	compactions compactions // by Config.CompactAt

	reloaded int // the transaction as of which a repair has read memory anew

	records []byte   // of the jobs claimed last, as far as their allocation is used
	samples []sample // the array of the last transaction's
	silent  bool     // the group is tried again without the history, as the file is full

	given []*execution // given back between two groups, to be told with the next

	// Of the group under way.
	settled  []*execution // ended
	taken    []*execution // claimed
	returned []*execution // claimed ahead and given back
}

// change is one request to the committer.
type change interface {
	// begin says whether the caller still waits.
	begin() bool

	// apply writes the change. It may be called again in another transaction.
	// An error means that nothing was written, unless it is an undo.
	apply(t *txn) error

	// end tells the outcome, once.
	end(err error)
}

// undo is an error after which the transaction has to be given up.
type undo struct{ error }

func (u undo) Unwrap() error { return u.error }

var (
	errNothingToDo = errors.New("stint: nothing to do")   // rolls back a transaction that would change nothing
	errLeft        = errors.New("stint: the caller left") // the result of a change whose begin was false
	errGoexit      = errors.New("stint: the function called runtime.Goexit inside the transaction; it was rolled back")
)

const (
	firstRetry  = 100 * time.Millisecond
	lastRetry   = 5 * time.Second
	maxCulprits = 4 // taken out of a group before it is halved
)

func newCommitter(q *Queue) *committer {
	timer, pause := time.NewTimer(forever), time.NewTimer(forever)
	timer.Stop()
	pause.Stop()
	return &committer{
		q:        q,
		signal:   make(chan struct{}, 1),
		done:     make(chan struct{}),
		made:     time.Now(),
		timer:    timer,
		pause:    pause,
		claimed:  map[uint64]*execution{},
		suspects: map[uint64]*lane{},
		workers:  min(q.cfg.Workers, maxWorkers),
	}
}

// close refuses new changes, lets the loop finish what it has, and waits for
// its end.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.post(func() { c.stopping = true })
	<-c.done
}

// failure is the error that stopped the store for good, or nil.
func (c *committer) failure() error { return c.q.store.failure() }

// loop runs until close. A user's function that calls runtime.Goexit inside
// the transaction ends the goroutine; another one takes over.
func (c *committer) loop() {
	finished := false
	defer func() {
		if !finished {
			c.survive()
			c.q.background.Go(c.loop)
		}
	}()
	for {
		if c.round() {
			continue
		}
		if c.stopping {
			if len(c.kept) == 0 {
				break
			}
			continue
		}
		c.endTrial()
		select {
		case <-c.signal:
		case <-c.timer.C:
			c.timerAt = 0
			c.wakeups.Add(1)
		}
	}
	finished = true
	c.timer.Stop()
	close(c.done)
}

// survive takes the change that ended the loop's goroutine out of its group
// and keeps the others for the next round. After the commit nothing is left
// but to tell everybody.
func (c *committer) survive() {
	group, culprit := c.underway, c.inUser
	c.underway, c.inUser = nil, nil
	c.began.Store(0)
	if t := c.landed; t != nil { // it was a function given to OnCommit
		c.landed = nil
		c.publish(t)
		c.answer(group, nil)
		c.retryIn = 0
		c.wake()
		return
	}
	c.rollback()
	for _, ch := range group {
		if ch != culprit {
			c.kept = append(c.kept, ch)
		}
	}
	if culprit != nil {
		culprit.end(errGoexit)
	}
	c.wake()
}

// round does one group and reports whether there may be more to do at once.
func (c *committer) round() bool {
	c.gather()
	c.rest()
	c.mu.Lock()
	notes := c.notes
	c.notes = nil
	left := c.takeGroup()
	c.mu.Unlock()

	for _, note := range notes {
		note()
	}
	progress := false
	switch {
	case c.failure() != nil:
		c.results = make([]error, len(c.batch))
		c.answer(c.batch, c.failure())
	case len(c.batch) > 0 || c.hasWork():
		start := time.Now()
		c.began.Store(int64(start.Sub(c.made)) | 1) // which is not 0
		progress = c.commit(c.batch)
		c.began.Store(0)
		c.lastTook = time.Since(start)
	}
	clear(c.batch)
	c.setTimer()
	return progress || left || len(c.kept) > 0 && c.retryIn == 0
}

// hasWork says whether a transaction is worth while without any change.
func (c *committer) hasWork() bool {
	if c.runner == nil {
		return c.runningChanged || c.historyWaits()
	}
	now := micros(time.Now())
	return c.nextDue != 0 && c.nextDue <= now || c.nextPrune != 0 && c.nextPrune <= now || len(c.sweeping) > 0 || c.firable(now) || c.claimable() || c.historyWaits()
}

// setTimer lets the loop wake up for what is due next. Without Run nothing
// is: it is Run that makes jobs due.
func (c *committer) setTimer() {
	at := int64(0)
	if c.runner != nil {
		for _, next := range [...]int64{c.nextDue, c.nextPrune, c.nextFire} {
			if next != 0 && (at == 0 || next < at) {
				at = next
			}
		}
	}
	switch {
	case c.failure() != nil:
		at = 0
	case c.retryIn > 0:
		at = micros(time.Now().Add(c.retryIn))
	}
	if at == c.timerAt {
		return
	}
	c.timerAt = at
	if at == 0 {
		c.timer.Stop()
		return
	}
	c.timer.Reset(time.Until(fromMicros(at)))
}

// commit applies a group and commits it, and again without what spoils it.
// It reports false when nothing came of it.
func (c *committer) commit(group []change) bool {
	c.silent = false
	for culprits, bound := 0, true; ; {
		c.underway = group
		start := time.Now()
		t, culprit, err := c.try(group, bound)
		c.underway = nil
		switch {
		case err == nil:
			c.q.metrics.committed(len(group), time.Since(start))
			c.publish(t)
			c.answer(group, nil)
			c.retryIn = 0
			return true
		case errors.Is(err, errNothingToDo):
			c.publishNothing(t)
			c.answer(group, nil)
			c.retryIn = 0
			return c.stoppedShort
		}
		c.rollback()
		if culprit >= 0 {
			group[culprit].end(unwrapUndo(err))
			group = slices.Delete(group, culprit, culprit+1)
			if culprits++; culprits == maxCulprits && len(group) > 2*maxCulprits {
				// Going on one by one would apply n changes n times.
				half := len(group) / 2
				c.kept = append(c.kept, group[half:]...)
				group, culprits = group[:half:half], 0
			}
			if len(group) == 0 && !c.hasWork() {
				return true
			}
			continue
		}
		err = storeError(err)
		if fatal(err) {
			c.fail(err)
			c.answer(group, err)
			return false
		}
		if errors.Is(err, ErrFileFull) && bound && !c.silent && t != nil && (t.historyWrite != 0 || t.startsWritten) {
			c.silent = true // jobs come first
			continue
		}
		if errors.Is(err, ErrFileFull) && bound {
			bound = false // for all but new jobs
			others, inserts := c.divide(group, func(ch change) bool { _, ok := ch.(*insertion); return !ok })
			c.answer(inserts, err)
			group = others
			continue
		}
		completions, others := c.divide(group, func(ch change) bool { _, ok := ch.(*execution); return ok })
		c.answer(others, err)
		if len(others) == 0 {
			c.keep(completions, err)
			return false
		}
		group = completions // a full disk refuses what is new, not what is done
	}
}
