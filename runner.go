package stint

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// runner is the Run of a queue.
//
//  1. Run attaches a runner to the committer, which from then on claims jobs
//     and hands them over.
//  2. A worker takes the next claimed job, runs its handler, hands the outcome
//     to the committer without waiting, and takes the next. When nothing is
//     claimed it ends; hand starts it again. An idle queue has no goroutine
//     for workers.
//  3. One timer watches the deadlines of all attempts. It ends the context of
//     an attempt that takes too long; a handler that goes on all the same is
//     reported as stuck, and keeps its worker.
//  4. When Run's context ends, shutdown lets the attempts come to an end
//     (shutdown.go).
type runner struct {
	q     *Queue
	base  context.Context // what the contexts of handlers inherit values from
	trial *trial          // nil unless package stinttest asks for it

	stop    chan struct{} // closed by Close
	aborted chan struct{} // closed when the store has failed
	quiet   chan struct{} // closed when the last worker ends while draining
	gone    chan struct{} // closed when Run returns
	wg      sync.WaitGroup

	mu       sync.Mutex
	workers  int          // changed by the committer, which reads it without mu
	buffer   []*execution // claimed, not begun, in the order of their claims
	active   []*execution // begun
	alive    int          // workers
	starting bool         // the last of them has not begun a job yet
	low      int          // so few left in the buffer wake the committer
	draining bool
	watch    *time.Timer
	watchAt  time.Time // when watch fires, zero if it is not set
}

const (
	shutdownGrace = 3 * time.Second
	stuckAfter    = 10 * time.Second // beyond the timeout
)

// Run works the queue until ctx ends; then it lets the running handlers
// finish, for at most Config.ShutdownTimeout, and returns. Jobs it could not
// finish are ready again, and the interruption costs them no attempt; an
// error names those whose handlers ignored the end of their context and still
// run. Only one Run at a time is possible: a second gets ErrRunning.
//
// Delayed jobs and retries become due only while Run is working.
func (q *Queue) Run(ctx context.Context) error {
	r := &runner{
		q:       q,
		base:    context.WithoutCancel(ctx),
		stop:    make(chan struct{}),
		aborted: make(chan struct{}),
		quiet:   make(chan struct{}),
		gone:    make(chan struct{}),
		trial:   newTrial(ctx, q),
	}
	if err := q.attach(r); err != nil {
		return err
	}
	defer q.detach(r)
	start := q.starts.begin()
	defer q.starts.end(start)
	stopWatch := watchClock(func() { q.commit.post(q.commit.clockChanged) })
	defer stopWatch()
	select {
	case <-ctx.Done():
	case <-r.stop:
	case <-r.aborted:
	case <-r.trial.isOver():
	}
	defer r.trial.finish()
	return r.shutdown()
}

func (q *Queue) attach(r *runner) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closing:
		return fmt.Errorf("%w: Run must be called before Close", ErrClosed)
	case q.runner != nil:
		return fmt.Errorf("%w: Run was called already; Config.Workers sets how many jobs run at once", ErrRunning)
	case q.commit.failure() != nil:
		return q.commit.failure()
	}
	q.runner = r
	q.ending.Store(false)
	q.commit.post(func() { q.commit.start(r) })
	return nil
}

func (q *Queue) detach(r *runner) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.runner = nil
	close(r.gone)
}

// start lets the committer claim for the runner. It knows nothing of what is
// due yet, so it looks.
func (c *committer) start(r *runner) {
	if c.failure() != nil {
		r.abort()
		return
	}
	c.runner = r
	r.resize(c.workers)
	c.nextDue, c.nextPrune, c.clockLooked = 1, 1, false
	for _, ln := range c.q.lanes {
		ln.forget()
	}
	c.q.mu.Lock()
	for _, qs := range c.queues {
		qs.pace.busy = false // it did not go on since the last Run
	}
	c.q.mu.Unlock()
}

// hand gives claimed jobs to the workers.
func (r *runner) hand(claimed []*execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buffer = append(r.buffer, claimed...)
	r.enlist()
}

// enlist starts a worker if jobs wait for one, and that one the next: so it
// does not start a hundred goroutines for a hundred jobs that a few have done
// before the others come to run. r.mu is held.
func (r *runner) enlist() {
	if len(r.buffer) == 0 || r.starting || r.alive >= r.workers {
		return
	}
	r.alive++
	r.starting = true
	r.wg.Go(r.work)
}

// resize changes the number of workers. Those that are too many end when their
// jobs have.
func (r *runner) resize(workers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.workers = workers
	r.enlist()
}

// warn lets the committer be woken when no more than low claimed jobs wait for
// a worker, and reports whether there are more now.
func (r *runner) warn(low int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.buffer) <= low {
		low = 0
	}
	r.low = low
	return low > 0
}

// withdraw takes jobs that have not begun out of the workers' reach: the last
// n, and all of paused queues.
func (r *runner) withdraw(n int) []*execution {
	return r.withdrawIf(func(e *execution) bool {
		n--
		return n >= 0 || e.lane.queue.pause.since != 0
	})
}

// withdrawOf is withdraw for the last n of one queue.
func (r *runner) withdrawOf(qs *queueState, n int) []*execution {
	return r.withdrawIf(func(e *execution) bool {
		if e.lane.queue != qs {
			return false
		}
		n--
		return n >= 0
	})
}

// withdrawIf asks for each of them, the last one first.
func (r *runner) withdrawIf(wanted func(*execution) bool) (withdrawn []*execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.buffer) - 1; i >= 0; i-- {
		if e := r.buffer[i]; wanted(e) {
			withdrawn = append(withdrawn, e)
			r.buffer = slices.Delete(r.buffer, i, i+1)
		}
	}
	return withdrawn
}

// work runs claimed jobs until there are none.
func (r *runner) work() {
	var e *execution
	defer func() {
		if e != nil { // the handler ended this goroutine by runtime.Goexit
			r.finish(e, errHandlerExit)
			r.wg.Go(r.work)
		}
	}()
	self := goroutineID()
	for e = r.next(true); e != nil; e = r.next(false) {
		e.goroutine.Store(self)
		r.finish(e, e.call(&e.ctx))
	}
}

var errHandlerExit = fmt.Errorf("stint: the handler called runtime.Goexit (t.FailNow and t.Fatal do); return an error instead")

// next begins the oldest claimed job, or ends the worker, also if there are
// too many of them.
func (r *runner) next(first bool) *execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first {
		r.starting = false
	}
	if len(r.buffer) == 0 || r.alive > r.workers {
		r.alive--
		if r.alive == 0 && r.draining {
			close(r.quiet)
		}
		if r.alive == 0 && r.watch != nil {
			r.watch.Stop()
			r.watchAt = time.Time{}
		}
		return nil
	}
	e := r.buffer[0]
	r.buffer[0] = nil
	r.buffer = r.buffer[1:]
	if len(r.buffer) == r.low && r.low > 0 {
		r.q.commit.wake()
	}
	r.enlist()
	e.slot = len(r.active)
	r.active = append(r.active, e)
	r.begin(e)
	return e
}

// begin gives the attempt its context and deadline.
func (r *runner) begin(e *execution) {
	now := time.Now()
	e.started.Store(now.UnixNano())
	r.trial.begin(e)
	timeout := e.handler.policy.Timeout
	if timeout == forever {
		e.begins(r.base, time.Time{})
		return
	}
	deadline := now.Add(timeout)
	e.begins(r.base, deadline)
	if r.watchAt.IsZero() || deadline.Before(r.watchAt) {
		r.setWatch(deadline)
	}
}

// finish hands the outcome over and frees the worker.
func (r *runner) finish(e *execution, err error) {
	e.goroutine.Store(0)
	e.conclude(err, time.Since(e.startedAt()))
	e.ctx.end(nil)
	r.mu.Lock()
	last := len(r.active) - 1
	r.active[e.slot] = r.active[last]
	r.active[e.slot].slot = e.slot
	r.active[last] = nil
	r.active = r.active[:last]
	r.mu.Unlock()
	if !e.recorded && !r.q.commit.add(e) {
		r.q.lost(e, ErrClosed)
	}
}

// setWatch arms the one timer for deadlines.
func (r *runner) setWatch(at time.Time) {
	r.watchAt = at
	if r.watch == nil {
		r.watch = time.AfterFunc(time.Until(at), r.checkDeadlines)
		return
	}
	r.watch.Reset(time.Until(at))
}

// checkDeadlines ends the contexts of attempts that took too long and reports
// handlers that do not care.
func (r *runner) checkDeadlines() {
	now := time.Now()
	var late, stuck []*execution
	var next time.Time
	r.mu.Lock()
	for _, e := range r.active {
		at := e.ctx.deadline
		if at.IsZero() {
			continue
		}
		if !at.After(now) {
			late = append(late, e)
			if at = at.Add(stuckAfter); !at.After(now) {
				if e.stuck.CompareAndSwap(false, true) {
					stuck = append(stuck, e)
				}
				continue
			}
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	r.watchAt = time.Time{}
	if !next.IsZero() {
		r.setWatch(next)
	}
	r.mu.Unlock()

	for _, e := range late {
		e.stop(ErrTimeout)
	}
	for _, e := range stuck {
		r.q.log.Warn("stint: a handler ignores the end of its context and keeps its worker",
			"job_id", e.id, "kind", e.rec.kind, "queue", e.rec.queue, "running", now.Sub(e.startedAt()))
	}
	if len(stuck) > 0 {
		r.q.commit.wake()
	}
}
