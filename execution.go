package stint

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// execution is one claimed job.
type execution struct {
	q       *Queue
	id      uint64
	rec     record
	lane    *lane
	handler *handler
	job     any // the *Job[T] that the handler sees

	place     int  // in committer.running
	slot      int  // in runner.active
	straggler bool // given back while its handler still ran; the committer's
	outcome   verdict
	patient   bool  // nobody waits for it, see isPatient
	returned  int64 // when the handler did, in microseconds; 0 before

	started   atomic.Int64 // UnixNano, 0 before
	goroutine atomic.Int64 // of the worker, while the handler is at work; see Stack
	duration  time.Duration
	stuck     atomic.Bool // past its timeout and still running

	ctx jobContext

	mu        sync.Mutex
	stopped   error                // the cause of stop
	ended     bool                 // by Commit or CompleteTx
	left      bool                 // the handler has returned
	effect    func(*bolt.Tx) error // of Commit and its kin, while it is under way
	addition  *addition            // goes with the effect; nil if that completes the job
	reply     chan error
	leaving   chan struct{} // closed when the effect that conclude waits for is over
	completed *bolt.Tx      // in which CompleteTx completed the job, until it is known to be committed
	final     bool          // the effect has completed the job, in the transaction under way
	recorded  bool          // by Commit: the committer is through with it
	inline    bool          // run by Perform: nothing is stored
	forfeited bool          // given back while its handler runs: it may put nothing by any more
	damaged   error         // why its record could not be decrypted
	keeper    *keeper       // what it has put by, nil for nothing
}

// work is what the handler gets to see.
func (e *execution) work() Work {
	w := Work{
		ID:          ID(e.id),
		Kind:        e.rec.kind,
		Queue:       e.rec.queue,
		Priority:    int(e.rec.priority),
		Tags:        e.rec.tags,
		Attempt:     int(e.rec.failures) + 1,
		MaxAttempts: e.maxAttempts(),
		EnqueuedAt:  fromMicros(e.rec.created),
		BatchID:     ID(e.rec.batch),
		run:         e,
	}
	if o := e.rec.origin; o != nil {
		w.Schedule, w.ScheduledFor, w.Missed, w.MissedSince = o.schedule, fromMicros(o.at), int(o.missed), fromMicros(o.since)
		if s := e.q.scheduleOf(o.schedule); s != nil {
			w.ScheduledFor = w.ScheduledFor.In(s.spec.zone)
		}
	}
	return w
}

func (e *execution) maxAttempts() int {
	if e.rec.maxAttempts > 0 {
		return int(e.rec.maxAttempts)
	}
	return e.handler.policy.MaxAttempts
}

// call runs the handler and turns a panic into an error. It does not return
// if the handler calls runtime.Goexit.
func (e *execution) call(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
	}()
	if e.damaged = e.q.vault.open(e.id, &e.rec); e.damaged != nil {
		return e.damaged
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // cancelled before it began
	}
	return e.handler.run(ctx, e)
}

// begins gives the attempt its context.
func (e *execution) begins(base context.Context, deadline time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx.base, e.ctx.deadline = base, deadline
	if e.stopped != nil {
		e.ctx.end(e.stopped)
	}
}

// stop ends the context of the attempt, now or as soon as it begins. The
// first cause stays.
func (e *execution) stop(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped == nil || errors.Is(cause, ErrCancelled) {
		e.stopped = cause
	}
	if e.ctx.base != nil {
		e.ctx.end(cause)
	}
}

// cause is why the attempt was told to stop, if it was. Being cancelled
// outweighs a timeout that came before.
func (e *execution) cause() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped
}

// panicked is the error of a handler that panicked.
type panicked struct {
	text  string
	cause error // when the panic's value was an error
	stack string
}

func (p *panicked) Error() string { return p.text }
func (p *panicked) Unwrap() error { return p.cause }

func panicError(value any) error {
	p := &panicked{text: fmt.Sprintf("panic: %v", value), stack: cut(string(debug.Stack()), maxStackSize)}
	p.cause, _ = value.(error)
	return p
}

func (e *execution) startedAt() time.Time {
	if ns := e.started.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}
