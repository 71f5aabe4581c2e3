package stint

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
//  4. When Run's context ends, nothing more is claimed and what has not begun
//     is given back. Handlers that call Checkpoint are interrupted there. The
//     others get Config.ShutdownTimeout, then their contexts end, and after a
//     short grace those that still run are given back too.
type runner struct {
	q       *Queue
	base    context.Context // what the contexts of handlers inherit values from
	workers int

	stop    chan struct{} // closed by Close
	aborted chan struct{} // closed when the store has failed
	quiet   chan struct{} // closed when the last worker ends while draining
	gone    chan struct{} // closed when Run returns
	wg      sync.WaitGroup

	mu       sync.Mutex
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
		workers: q.cfg.Workers,
		stop:    make(chan struct{}),
		aborted: make(chan struct{}),
		quiet:   make(chan struct{}),
		gone:    make(chan struct{}),
	}
	if err := q.attach(r); err != nil {
		return err
	}
	defer q.detach(r)
	stopWatch := watchClock(func() { q.commit.post(q.commit.clockChanged) })
	defer stopWatch()
	select {
	case <-ctx.Done():
	case <-r.stop:
	case <-r.aborted:
	}
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
	c.nextDue, c.nextPrune, c.clockLooked = 1, 1, false
	for _, ln := range c.q.lanes {
		ln.forget()
	}
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
	if len(r.buffer) == 0 || r.starting || r.alive == r.workers {
		return
	}
	r.alive++
	r.starting = true
	r.wg.Go(r.work)
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
func (r *runner) withdraw(n int) (withdrawn []*execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.buffer) - 1; i >= 0; i-- {
		e := r.buffer[i]
		if n > 0 || e.lane.queue.pause.since != 0 {
			withdrawn = append(withdrawn, e)
			r.buffer = slices.Delete(r.buffer, i, i+1)
			n--
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
	for e = r.next(true); e != nil; e = r.next(false) {
		r.finish(e, e.call(&e.ctx))
	}
}

var errHandlerExit = fmt.Errorf("stint: the handler called runtime.Goexit (t.FailNow and t.Fatal do); return an error instead")

// next begins the oldest claimed job, or ends the worker.
func (r *runner) next(first bool) *execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first {
		r.starting = false
	}
	if len(r.buffer) == 0 {
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

// abort lets Run end because the store has failed.
func (r *runner) abort() { close(r.aborted) }

// shutdown is what Run does when it is to end.
func (r *runner) shutdown() error {
	r.q.commit.post(func() { r.q.commit.release(r) })
	r.q.ending.Store(true) // behind it: what is interrupted is not claimed again
	drained := r.await(r.q.cfg.ShutdownTimeout)
	if !drained {
		for _, e := range r.begun() {
			e.stop(ErrShutdown)
		}
		drained = r.await(shutdownGrace)
	}
	var stragglers []*execution
	if !drained {
		stragglers = r.begun()
		r.q.commit.post(func() { r.q.commit.giveBack(stragglers) })
	}
	if err := r.q.flush(); err != nil {
		return err
	}
	if len(stragglers) > 0 {
		names := make([]string, len(stragglers))
		for i, e := range stragglers {
			names[i] = fmt.Sprintf("%s %d", e.rec.kind, e.id)
		}
		return fmt.Errorf("stint: Run has ended, but the handlers of these jobs ignore the end of their context and still run: %s", strings.Join(names, ", "))
	}
	return nil
}

// await waits for the workers to end, for at most d.
func (r *runner) await(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.quiet:
		return true
	case <-timer.C:
		return false
	}
}

func (r *runner) begun() []*execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.active)
}

// release ends claiming and gives back what has not begun.
func (c *committer) release(r *runner) {
	if c.runner == r {
		c.runner = nil
		c.giveBack(r.withdraw(len(c.running)))
	}
	r.drain()
}

// drain lets await know when the last worker ends. Nothing is handed over any
// more.
func (r *runner) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	if r.alive == 0 {
		close(r.quiet)
	}
}

// giveBack makes claimed jobs ready again without a trace in their records.
// Those whose handlers still run stay barred from being claimed in this
// process.
func (c *committer) giveBack(claimed []*execution) {
	for _, e := range claimed {
		if c.claimed[e.id] != e {
			continue // it has ended meanwhile
		}
		c.dismiss(e)
		if e.started.Load() != 0 {
			c.claimed[e.id], e.straggler = e, true
			e.forfeit()
			continue
		}
		e.lane.add(e.id)
		c.given = append(c.given, e)
		c.q.mu.Lock()
		delete(c.q.live, e.id)
		c.q.mu.Unlock()
	}
}
