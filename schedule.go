package stint

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Schedules: what says when. ledger.go is what the file knows of one, fire.go
// is how it comes to jobs.

// Periodic enqueues args whenever spec says so. The schedule is stored in the
// file under its name: when it fired last and fires next survives restarts, so
// call Periodic for each schedule at every start of the program, before or
// during Run. Calling it again with another spec, other args or options
// changes the schedule and keeps its history. A schedule of the file that the
// program does not register any more is shown as orphaned and does not fire;
// DeleteSchedule forgets it.
//
// spec has five fields, minute hour day-of-month month day-of-week, or six
// with seconds first, or is one of @hourly, @daily, @weekly, @monthly, @yearly
// and "@every 10m"; see Describe. The time zone is that of InZone or of a
// prefix "CRON_TZ=Europe/Berlin ", and otherwise that of the machine. @every
// counts from the moment the schedule was first registered.
//
// A fixed time that a clock change leaves out runs once, right after the gap;
// one that a clock change repeats runs the first time only; with * or */n for
// the hour the schedule follows real time.
//
// The jobs are enqueued while Run is working, one per occurrence and in the
// same transaction that advances the schedule: a crash neither loses nor
// doubles one. What was missed while nothing ran is decided by Missed, what
// happens while the run before is unfinished by Overlap. An EnqueueMiddleware
// does not see these jobs. Config.MaxJobs and MaxFileSize do not bound them, as
// nobody could be told; Overlap does. Their handlers find out about the
// occurrence in Work.Schedule, Work.ScheduledFor and Work.Missed.
//
// Besides PeriodicOptions the options of Enqueue hold for each of the jobs,
// but for In, At and Unique. Errors: ErrBadSpec, ErrBadOption, ErrBadArgs,
// ErrArgsTooLarge, and those of writing.
func (q *Queue) Periodic(name, spec string, args Args, opts ...PeriodicOption) error {
	s, err := q.newSchedule(name, spec, args, opts)
	if err != nil {
		return err
	}
	return q.changeSchedule(context.Background(), &scheduleChange{name: name, verb: registerSchedule, schedule: s})
}

// PeriodicOption is an option of Periodic: one of those below, or one of
// Enqueue's.
type PeriodicOption interface{ onSchedule(*schedule) }

type scheduleOption func(*schedule)

func (o scheduleOption) onSchedule(s *schedule) { o(s) }
func (o Option) onSchedule(s *schedule)         { o(&s.job) }

// InZone gives the schedule a time zone of the IANA database, as
// "Europe/Berlin".
func InZone(name string) PeriodicOption {
	return scheduleOption(func(s *schedule) { s.zone, s.zoned = name, true })
}

// Missed says what becomes of occurrences that nothing ran for: the program
// was down, the machine slept, the clock was set forward. Once by default.
func Missed(policy MissedPolicy) PeriodicOption {
	return scheduleOption(func(s *schedule) { s.missed = policy })
}

// MissedPolicy is Skip, Once or All.
type MissedPolicy struct {
	max    int // 0: Once, -1: Skip
	maxAge time.Duration
}

var (
	// Skip forgets what was missed; the latest occurrence still runs if it is
	// not more than a minute late.
	Skip = MissedPolicy{max: -1}

	// Once makes up for all that was missed with one run, the latest; its
	// Work.Missed is the number of the others.
	Once = MissedPolicy{}
)

// All runs each missed occurrence, oldest first: the latest max of them, at
// most 1000, and none older than maxAge. Unless Overlap is Allow, each waits
// for the end of the one before.
func All(max int, maxAge time.Duration) MissedPolicy {
	if max < 1 || max > maxWaiting || maxAge <= 0 {
		max = badPolicy
	}
	return MissedPolicy{max, maxAge}
}

// String names the policy.
func (p MissedPolicy) String() string {
	switch p.max {
	case -1:
		return "skip"
	case 0:
		return "once"
	}
	return fmt.Sprintf("all, at most %d, none older than %v", p.max, p.maxAge)
}

// Overlap says what an occurrence does while the run before it is unfinished:
// its job, or the batch that the job has planned. SkipIfRunning by default.
func Overlap(policy OverlapPolicy) PeriodicOption {
	return scheduleOption(func(s *schedule) { s.overlap = policy })
}

// OverlapPolicy is SkipIfRunning, Allow or QueueOne.
type OverlapPolicy uint8

const (
	SkipIfRunning OverlapPolicy = iota // the occurrence is skipped; the history says so
	Allow                              // runs may overlap
	QueueOne                           // one occurrence waits for the end of the run, further ones are skipped
)

// String names the policy.
func (p OverlapPolicy) String() string {
	return [...]string{"skip if running", "allow", "queue one", "unknown"}[min(p, 3)]
}

// Jitter delays each run by up to d, to spread schedules that fire at the same
// time. The delay follows from name and occurrence, so it stays the same over
// a restart.
func Jitter(d time.Duration) PeriodicOption {
	return scheduleOption(func(s *schedule) { s.jitter = d })
}

// Starting keeps the schedule from firing before t.
func Starting(t time.Time) PeriodicOption {
	return scheduleOption(func(s *schedule) { s.starts = micros(t) })
}

// Until keeps the schedule from firing after t.
func Until(t time.Time) PeriodicOption {
	return scheduleOption(func(s *schedule) { s.until = micros(t) })
}

// PauseSchedule keeps a schedule from firing, durably, until ResumeSchedule.
// by is shown in ScheduleInfo. Runs under way go on. ErrNoSchedule if the file
// knows none of that name.
func (q *Queue) PauseSchedule(ctx context.Context, name, by string) error {
	return q.changeSchedule(ctx, &scheduleChange{name: name, verb: pauseSchedule, by: cut(by, maxNameSize)})
}

// ResumeSchedule undoes PauseSchedule. What fell into the pause is skipped;
// the history says how much.
func (q *Queue) ResumeSchedule(ctx context.Context, name string) error {
	return q.changeSchedule(ctx, &scheduleChange{name: name, verb: resumeSchedule})
}

// RunSchedule enqueues a run of a registered schedule now, without its Jitter,
// also of a paused one. Unless its Overlap is Allow it answers ErrRunning while a run is
// unfinished.
func (q *Queue) RunSchedule(ctx context.Context, name string) (ID, error) {
	ch := &scheduleChange{name: name, verb: runSchedule}
	if err := q.changeSchedule(ctx, ch); err != nil {
		return 0, err
	}
	return ID(ch.job), nil
}

// Backfill enqueues a run for each occurrence between from and to, both
// included, as if it had been missed, and returns how many. Those that have
// run before run again. Unless Overlap is Allow, each waits for the end of the
// one before. ErrBadOption for a range in the future, or one with more than
// 1000 occurrences, waiting ones included.
func (q *Queue) Backfill(ctx context.Context, name string, from, to time.Time) (int, error) {
	ch := &scheduleChange{name: name, verb: backfillSchedule, from: from, to: to}
	if err := q.changeSchedule(ctx, ch); err != nil {
		return 0, err
	}
	return ch.runs, nil
}

// DeleteSchedule forgets a schedule and its history. Jobs it has enqueued
// stay.
func (q *Queue) DeleteSchedule(ctx context.Context, name string) error {
	return q.changeSchedule(ctx, &scheduleChange{name: name, verb: deleteSchedule})
}

// schedule is a schedule as this process has registered it. It is not changed
// after that.
type schedule struct {
	name    string
	spec    *spec
	zone    string
	zoned   bool
	job     NewJob // Queue and Priority are empty unless options gave them
	args    []byte
	kind    string
	missed  MissedPolicy
	overlap OverlapPolicy
	jitter  time.Duration
	starts  int64
	until   int64
}

const (
	badPolicy  = -2   // All was given nonsense
	maxWaiting = 1000 // runs of a schedule that wait for one another
)

// newSchedule checks everything that can be wrong.
func (q *Queue) newSchedule(name, spec string, args Args, opts []PeriodicOption) (*schedule, error) {
	if err := checkName("schedule", name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadOption, err)
	}
	if isNil(args) {
		return nil, fmt.Errorf("%w (schedule %q)", errNilArgs, name)
	}
	s := &schedule{name: name, kind: args.Kind(), job: NewJob{Args: args}}
	for _, opt := range opts {
		opt.onSchedule(s)
	}
	if s.zoned && s.zone == "" {
		return nil, fmt.Errorf("%w: InZone(\"\"): name a zone as \"Europe/Berlin\", or leave the option out for that of the machine (schedule %q)", ErrBadSpec, name)
	}
	var err error
	s.spec, err = parseSpec(spec, s.zone)
	switch {
	case err != nil:
	case !s.job.RunAt.IsZero():
		err = fmt.Errorf("%w: In and At make no sense in a schedule; Jitter delays its runs", ErrBadOption)
	case s.job.unique != nil:
		err = fmt.Errorf("%w: Unique makes no sense in a schedule; Overlap says what happens while a run is unfinished", ErrBadOption)
	case s.missed.max == badPolicy:
		err = fmt.Errorf("%w: All takes 1 to %d runs and a positive age", ErrBadOption, maxWaiting)
	case s.overlap > QueueOne:
		err = fmt.Errorf("%w: Overlap(%d): use SkipIfRunning, Allow or QueueOne", ErrBadOption, s.overlap)
	case s.jitter < 0:
		err = fmt.Errorf("%w: Jitter(%v): must not be negative", ErrBadOption, s.jitter)
	case s.starts != 0 && s.until != 0 && s.until < s.starts:
		err = fmt.Errorf("%w: Until is before Starting, so it would never fire", ErrBadOption)
	}
	if err == nil {
		err = q.tryTemplate(s)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (schedule %q)", err, name)
	}
	return s, nil
}

// tryTemplate finds out whether the jobs of the schedule can be stored.
func (q *Queue) tryTemplate(s *schedule) error {
	p := &pending{}
	if err := q.withPolicy(p, s.job.Args, nil); err != nil {
		return err
	}
	queue, priority := p.job.Queue, p.job.Priority
	p.job = s.job
	if p.job.Queue == "" {
		p.job.Queue = queue
	}
	if p.job.Priority == 0 {
		p.job.Priority = priority
	}
	if err := q.prepare(p); err != nil {
		return err
	}
	s.args = p.rec.args
	return nil
}

// first is the first occurrence after now, or 0.
func (s *schedule) first(now, anchor int64) int64 {
	after := fromMicros(max(now, s.starts-1))
	next := micros(s.spec.next(after, fromMicros(anchor)))
	if s.until != 0 && next > s.until {
		return 0
	}
	return next
}

// bounded is a time, but not after Until.
func (s *schedule) bounded(at int64) int64 {
	if s.until != 0 {
		return min(at, s.until)
	}
	return at
}

// policyOf gives a job that the queue enqueues by itself the queue and the
// priority of its kind, where the schedule names none.
func (q *Queue) policyOf(r *record) {
	queue, priority := defaultQueue, defaultPriority
	if h := q.handlerOf(r.kind); h != nil {
		queue, priority = h.policy.Queue, h.policy.Priority
	}
	if strings.HasPrefix(r.kind, planPrefix) {
		r.role = q.roleOf(r.kind)
	}
	if r.queue == "" {
		r.queue = queue
	}
	if r.priority == 0 {
		r.priority = uint8(priority)
	}
}

// scheduleOf is the registered schedule of a name, or nil.
func (q *Queue) scheduleOf(name string) *schedule {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.schedules[name]
}
