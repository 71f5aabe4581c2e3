package stint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The settle gate: how an attempt ends.
//
//  1. The handler has returned, panicked, or left by runtime.Goexit; verdict
//     makes a next state of that, in the worker's goroutine.
//  2. The execution itself is the change that the committer applies: no
//     allocation, and the worker does not wait for it.
//  3. A completed job is deleted (or moved to the done index while
//     Config.KeepCompleted asks for it); any other end rewrites the record
//     with the attempt in its history.
//
// Commit and CompleteTx come through here too: they complete the job earlier,
// together with the handler's own writes.

// execution is one claimed job.
type execution struct {
	q       *Queue
	id      uint64
	rec     record
	lane    *lane
	handler *handler

	place   int // in committer.running
	slot    int // in runner.active
	outcome verdict

	started  atomic.Int64 // UnixNano, 0 before
	duration time.Duration
	stuck    atomic.Bool // past its timeout and still running

	ctx jobContext

	mu        sync.Mutex
	cancel    context.CancelCauseFunc // nil until it begins
	stopped   error                   // the cause of stop
	ended     bool                    // by Commit or CompleteTx
	left      bool                    // the handler has returned
	effect    func(*bolt.Tx) error    // of Commit, while it is under way
	reply     chan error
	leaving   chan struct{} // closed when the Commit that conclude waits for is over
	completed *bolt.Tx      // in which CompleteTx completed the job, until it is known to be committed
	recorded  bool          // by Commit: the committer is through with it
	inline    bool          // run by Perform: nothing is stored
}

// jobContext is the context of an attempt: it ends with a cause, and shows
// its deadline without a timer of its own; the runner has one for all.
type jobContext struct {
	context.Context
	deadline time.Time
}

func (c *jobContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// work is what the handler gets to see.
func (e *execution) work() Work {
	return Work{
		ID:          ID(e.id),
		Kind:        e.rec.kind,
		Queue:       e.rec.queue,
		Priority:    int(e.rec.priority),
		Tags:        e.rec.tags,
		Attempt:     int(e.rec.failures) + 1,
		MaxAttempts: e.maxAttempts(),
		EnqueuedAt:  fromMicros(e.rec.created),
		run:         e,
	}
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
	if ctx.Err() != nil {
		return context.Cause(ctx) // cancelled before it began
	}
	return e.handler.run(ctx, e)
}

// begins gives the attempt its context.
func (e *execution) begins(base context.Context, deadline time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx.deadline = deadline
	e.ctx.Context, e.cancel = context.WithCancelCause(base)
	if e.stopped != nil {
		e.cancel(e.stopped)
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
	if e.cancel != nil {
		e.cancel(cause)
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

// conclude sets the outcome of a handler that has returned err.
func (e *execution) conclude(err error, took time.Duration) {
	ended := e.leave()
	e.duration = took
	if e.outcome = (verdict{to: Completed}); !ended {
		e.outcome = e.judge(err)
	}
}

// leave notes that the handler has returned: from here on Commit and
// CompleteTx refuse. It waits for a Commit that another goroutine of the
// handler has under way, and reports whether the job has been completed.
func (e *execution) leave() (ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = true
	if e.effect != nil {
		e.leaving = make(chan struct{})
		e.mu.Unlock()
		<-e.leaving
		e.mu.Lock()
	}
	return e.ended
}

// judge is verdict for errors of any make. The methods of a user's error are
// called here, in the worker's goroutine, and not by the committer; an error
// whose methods panic, as those of a typed nil pointer do, is a panic.
func (e *execution) judge(err error) (v verdict) {
	defer func() {
		if value := recover(); value != nil {
			p := &panicked{text: fmt.Sprintf("panic in a method of the error, a %T: %v", err, value), stack: cut(string(debug.Stack()), maxStackSize)}
			v = e.verdict(p, e.cause())
			v.text, v.stack = v.err.Error(), p.stack
		}
	}()
	if v = e.verdict(err, e.cause()); v.err == nil {
		return v
	}
	v.text = cut(v.err.Error(), maxErrorSize)
	var p *panicked
	if errors.As(err, &p) {
		v.stack = p.stack
	}
	return v
}

// endedIn says whether the job is completed already, as the transaction sees
// it. CompleteTx cannot always tell that its transaction was committed: an
// OnCommit function of the application that panics keeps those behind it from
// being called.
func (e *execution) endedIn(t *txn) (bool, error) {
	e.mu.Lock()
	ended, unsure := e.ended, e.completed != nil
	e.mu.Unlock()
	if ended || !unsure {
		return ended, nil
	}
	j, err := t.find(e.id)
	if errors.Is(err, ErrNotFound) {
		_, err = t.row(e.rec.key()) // its counts may not be known yet either
		return true, err
	}
	return err == nil && j.state == Completed, err
}

// outcomeIn is the outcome, unless the job was cancelled after the handler had
// returned and before this: then it is dead, as Cancel has promised.
func (e *execution) outcomeIn(t *txn) verdict {
	if e.outcome.to == Completed || e.outcome.to == Dead {
		return e.outcome
	}
	cause := e.cause()
	for _, order := range t.cancelled {
		if order.e == e {
			cause = order.cause
		}
	}
	if errors.Is(cause, ErrCancelled) {
		return verdict{to: Dead, err: cause, text: cause.Error()}
	}
	return e.outcome
}

// begin: what is done is done; an execution never leaves the group.
func (e *execution) begin() bool { return true }

// apply writes the outcome. It leaves e.rec alone, as it may be called again.
func (e *execution) apply(t *txn) error {
	if e.effect != nil {
		return e.applyEffect(t)
	}
	if ended, err := e.endedIn(t); ended || err != nil {
		return err
	}
	v := e.outcomeIn(t)
	switch v.to {
	case Ready:
		t.announceReturn(e)
		return nil // an interruption costs nothing
	case Completed:
		return e.complete(t)
	}
	row, err := t.row(e.rec.key())
	if err != nil {
		return err
	}
	rec := e.rec
	e.noteAttempt(t, &rec, v)
	rec.crashes = 0 // it has run and the process lives: no suspect any more
	j := &stored{id: e.id, rec: &rec, row: row, state: Running}
	switch v.to {
	case Scheduled:
		rec.snoozes++
		return t.move(j, Scheduled, t.now+v.delay.Microseconds())
	case Retrying:
		rec.failures++
		return t.move(j, Retrying, t.now+v.delay.Microseconds())
	}
	rec.failures++
	rec.reason = cut(v.text, maxErrorSize)
	return t.bury(j)
}

// noteAttempt keeps what went wrong, in the record and for the log.
func (e *execution) noteAttempt(t *txn, rec *record, v verdict) {
	if v.err == nil {
		return
	}
	rec.addAttempt(Attempt{
		Number:    int(rec.failures) + 1,
		StartedAt: e.startedAt(),
		Duration:  e.duration,
		Error:     v.text,
		Stack:     v.stack,
	})
	if v.to == Retrying {
		info := e.info()
		info.Failures++
		t.reports = append(t.reports, report{level: slog.LevelWarn, text: "stint: a job failed and will run again", info: info, failure: v.text, delay: v.delay})
	}
}

// complete ends the job well.
func (e *execution) complete(t *txn) error {
	row, err := t.row(e.rec.key())
	if err != nil {
		return err
	}
	j := &stored{id: e.id, rec: &e.rec, row: row, state: Running}
	if start := e.startedAt(); !start.IsZero() {
		t.samples = append(t.samples, sample{wait: e.waitOf(start), run: e.duration})
	}
	if t.q.cfg.KeepCompleted == 0 {
		return t.move(j, gone, 0)
	}
	if err := t.move(j, Completed, t.now); err != nil {
		return err
	}
	t.pruneAfter(t.now, t.q.cfg.KeepCompleted)
	return nil
}

// applyEffect runs the function of Commit and completes the job with it. An
// error takes the whole transaction back, so that no half of the function's
// writes stays.
func (e *execution) applyEffect(t *txn) error {
	if err := e.callEffect(t); err != nil {
		return undo{err}
	}
	if e.inline || e.completed == t.tx {
		return nil
	}
	return e.complete(t)
}

func (e *execution) callEffect(t *txn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
	}()
	t.wrote = true
	return e.effect(t.tx)
}

// end tells the outcome to Commit, if it waits. A worker does not.
func (e *execution) end(err error) {
	if e.effect != nil {
		e.reply <- err
		return
	}
	if err != nil {
		e.q.lost(e, err)
	}
}

// Commit completes the job together with what fn writes into the file, in one
// transaction that it shares with other jobs: exactly once, also across
// crashes. Follow-up jobs enqueued with EnqueueTx(tx, …) belong to it. It
// returns when the transaction is on disk, and the handler should then return
// nil; nothing it returns can undo a Commit.
//
// An error of fn, or a panic, undoes all that fn wrote, is returned, and
// leaves the job running. As Commit waits for the sync, which other jobs
// share, more workers mean more throughput: Config.Workers of 100 or more is
// right for handlers that do little else. fn may be called more than once, so it must touch
// nothing but tx, and start no transaction of its own.
func (w *Work) Commit(fn func(tx *bolt.Tx) error) error {
	e := w.run
	e.mu.Lock()
	if e.ended || e.left || e.effect != nil {
		e.mu.Unlock()
		return fmt.Errorf("%w: job %d was completed already, or its handler has returned", ErrNotRunning, e.id)
	}
	e.effect = fn
	if e.reply == nil {
		e.reply = make(chan error, 1)
	}
	e.duration = time.Since(e.startedAt())
	e.mu.Unlock()

	err := fmt.Errorf("%w: job %d cannot be completed any more", ErrClosed, e.id)
	if e.q.commit.add(e) {
		err = <-e.reply
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.effect = nil
	e.ended = err == nil
	e.recorded = err == nil
	if e.leaving != nil {
		close(e.leaving)
	}
	return err
}

// CompleteTx completes the job in a transaction of the handler's own, which
// must be one of the queue's database: job and effects are committed together
// or not at all. If the transaction is rolled back, what the handler returns
// decides.
func (w *Work) CompleteTx(tx *bolt.Tx) error {
	e := w.run
	e.mu.Lock()
	over := e.ended || e.left || e.completed == tx && tx != nil
	e.mu.Unlock()
	if over {
		return fmt.Errorf("%w: job %d was completed already, or its handler has returned", ErrNotRunning, e.id)
	}
	if e.inline {
		return nil
	}
	e.duration = time.Since(e.startedAt())
	return e.q.inTx(tx, func(t *txn) error {
		t.completed = append(t.completed, e.id)
		e.mu.Lock()
		e.completed = tx
		e.mu.Unlock()
		return e.complete(t)
	}, func() {
		e.mu.Lock()
		e.ended = true
		e.mu.Unlock()
	})
}

// Key is an idempotency key for effects outside the file: the same for each
// attempt of this job, and different from that of any other job of any other
// file.
func (w *Work) Key() string { return fmt.Sprintf("%s-%d", w.run.q.store.file, w.ID) }

func (e *execution) startedAt() time.Time {
	if ns := e.started.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}
