package stint

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Policy says how jobs of one kind are run. It is not stored: a new policy
// also holds for the jobs that already wait.
type Policy struct {
	// MaxAttempts is how often a job may fail before it is Dead; 25 by
	// default. Snoozes, shutdowns and crashes do not count.
	MaxAttempts int

	// Timeout ends the context of an attempt, with the cause ErrTimeout; 25 s
	// by default, negative for none. A job that calls Work.Checkpoint or
	// Work.CommitProgress as it goes is interrupted after 80 % of it, goes on
	// in another slice of time, and so never runs into it.
	Timeout time.Duration

	// Backoff is the wait after a failed attempt; Polynomial by default.
	Backoff Backoff

	// Queue and Priority are those of jobs that are enqueued without OnQueue
	// and Priority; "default" and 2 by default.
	Queue    string
	Priority int

	// Concurrency bounds the jobs of this kind that run at the same time; by
	// default only the workers do.
	Concurrency int
}

const (
	defaultMaxAttempts = 25
	defaultTimeout     = 25 * time.Second
)

// handler is a registered kind.
type handler struct {
	kind    string
	policy  Policy
	fresh   func() *execution                       // with its job; nil for a planner
	parse   func(data []byte) (Args, error)         // args of the kind, as EnqueueJSON takes them
	run     func(context.Context, *execution) error // decodes the args and calls the user's function
	plan    *batchPlan                              // of a planner
	running int                                     // owned by the committer
}

// Handle registers the function that works jobs of T's kind. It may be called
// at any time, also while Run is working; jobs of the kind that were parked
// go on. It panics if the kind has a handler already or is no valid name, as
// that is a mistake in the program.
//
// What the function returns decides about the job: nil completes it, an error
// makes it wait for its backoff and run again, [Kill], [Snooze] and
// [RetryAfter] do what they say. A panic and runtime.Goexit count as errors.
// It should return soon after its context has ended: until then it keeps its
// worker. Jobs run at least once; what must happen exactly once goes through
// [Work.Commit] or [Work.CompleteTx], or carries [Work.Key].
func Handle[T Args](q *Queue, fn func(context.Context, *Job[T]) error, policy *Policy) {
	h := newHandler(q, fn, policy)
	if fn == nil {
		panic(fmt.Sprintf("stint: the handler of kind %q is nil; give Handle a function", h.kind))
	}
	if err := q.register(h); err != nil {
		panic(err.Error())
	}
}

func newHandler[T Args](q *Queue, fn func(context.Context, *Job[T]) error, policy *Policy) *handler {
	var zero T
	h := &handler{kind: zero.Kind()}
	if policy != nil {
		h.policy = *policy
	}
	h.fresh = func() *execution {
		one := &struct { // one allocation for both
			execution
			job Job[T]
		}{}
		one.execution.job = &one.job
		return &one.execution
	}
	h.parse = func(data []byte) (Args, error) {
		var args T
		err := parseStrictly(data, &args)
		return args, err
	}
	h.run = func(ctx context.Context, run *execution) error {
		job := run.job.(*Job[T])
		job.Work = run.work()
		if err := decodeArgs(run.rec.args, &job.Args); err != nil {
			return fmt.Errorf("stint: the stored args of job %d do not fit %T any more: %w", run.id, job.Args, err)
		}
		if len(q.cfg.WorkMiddleware) == 0 {
			return fn(ctx, job)
		}
		return workVia(q.cfg.WorkMiddleware, ctx, &job.Work, func(ctx context.Context) error { return fn(ctx, job) })
	}
	return h
}

// newExecution is an attempt at a job of the kind, of which the rest is to be
// filled in.
func (h *handler) newExecution(q *Queue) *execution {
	var e *execution
	if h.fresh != nil {
		e = h.fresh()
	} else {
		e = &execution{}
	}
	e.q, e.handler = q, h
	return e
}

// register adds the handler and lets the committer look for its jobs.
func (q *Queue) register(h *handler) error {
	p := &h.policy
	orDefault(&p.MaxAttempts, defaultMaxAttempts, 0)
	orDefault(&p.Timeout, defaultTimeout, forever)
	if p.Backoff == nil {
		p.Backoff = Polynomial
	}
	if p.Queue == "" {
		p.Queue = defaultQueue
	}
	if p.Priority == 0 {
		p.Priority = defaultPriority
	}
	switch {
	case checkName("kind", h.kind) != nil:
		return fmt.Errorf("%w: %w", ErrBadArgs, checkName("kind", h.kind))
	case checkName("queue", p.Queue) != nil:
		return fmt.Errorf("%w: Policy.Queue of %s: %w", ErrConfig, h.kind, checkName("queue", p.Queue))
	case p.MaxAttempts < 1 || p.Concurrency < 0 || p.Priority < 1 || p.Priority > priorities:
		return fmt.Errorf("%w: Policy of %s: MaxAttempts and Concurrency must not be negative, Priority is 1 to %d", ErrConfig, h.kind, priorities)
	}

	q.mu.Lock()
	_, doubled := q.handlers[h.kind]
	if !doubled {
		q.handlers[h.kind] = h
	}
	q.mu.Unlock()
	if doubled {
		return fmt.Errorf("stint: kind %q has a handler already", h.kind)
	}
	q.commit.wake()
	return nil
}

// handlerOf is the handler of a kind, or nil.
func (q *Queue) handlerOf(kind string) *handler {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.handlers[kind]
}

// Kill, returned by a handler, makes the job Dead at once, with err as the
// reason.
func Kill(err error) error { return &control{verb: killJob, err: err} }

// Snooze, returned by a handler, runs the job again after d without counting
// the attempt.
func Snooze(d time.Duration) error { return &control{verb: snoozeJob, delay: d} }

// RetryAfter, returned by a handler, fails the attempt with err and replaces
// the backoff by d.
func RetryAfter(d time.Duration, err error) error {
	return &control{verb: retryJob, delay: d, err: err}
}

// control is an error that tells the runner what to do. It survives wrapping
// with %w, as errors.As finds it.
type control struct {
	verb  controlVerb
	delay time.Duration
	err   error
}

type controlVerb uint8

const (
	killJob controlVerb = iota + 1
	snoozeJob
	retryJob
	interruptJob // of Checkpoint, when Run is to end
	yieldJob     // of Checkpoint, when the slice of time is used
)

func (c *control) Error() string {
	switch {
	case c.verb == snoozeJob:
		return fmt.Sprintf("stint: snooze for %v", c.delay)
	case c.verb == yieldJob:
		return "stint: the job has used its slice of time; return this error, and it goes on soon"
	case c.err == nil:
		return "stint: no reason given"
	}
	return c.err.Error()
}

func (c *control) Unwrap() error { return c.err }

// verdict is what becomes of a job after an attempt.
type verdict struct {
	to     State         // Completed, Retrying, Scheduled (snoozed), Dead, or Ready (interrupted)
	yields bool          // Scheduled, and not snoozed: it lets others go first
	delay  time.Duration // before Retrying and Scheduled end
	err    error         // what the attempt's history keeps; nil for Completed and Ready
	text   string        // of err
	stack  string        // of a panic
}

// verdict is the one place that maps a handler's result to the job's next
// state. cause is why the attempt's context ended, if it did.
func (e *execution) verdict(err error, cause error) verdict {
	if err == nil {
		return verdict{to: Completed}
	}
	var c *control
	failures := int(e.rec.failures) + 1
	switch {
	case errors.As(err, &c) && c.verb == killJob:
		return verdict{to: Dead, err: err}
	case errors.Is(cause, ErrCancelled):
		return verdict{to: Dead, err: cause}
	case c != nil && c.verb == snoozeJob:
		return verdict{to: Scheduled, delay: max(c.delay, 0)}
	case errors.Is(cause, ErrShutdown), c != nil && c.verb == interruptJob:
		return verdict{to: Ready}
	case c != nil && c.verb == yieldJob:
		return verdict{to: Scheduled, delay: yieldFor, yields: true}
	}
	if errors.Is(cause, ErrTimeout) && !errors.Is(err, ErrTimeout) {
		err = fmt.Errorf("%w after %v: %w", ErrTimeout, e.handler.policy.Timeout, err)
	}
	switch {
	case failures >= e.maxAttempts():
		return verdict{to: Dead, err: err}
	case c != nil:
		return verdict{to: Retrying, delay: max(c.delay, 0), err: err}
	}
	return verdict{to: Retrying, delay: delayAfter(e.handler.policy.Backoff, failures, err), err: err}
}
