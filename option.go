package stint

import (
	"crypto/sha256"
	"fmt"
	"time"
)

// Option says when and which about one job; see the functions that return it.
type Option func(*NewJob)

// NewJob is a job on its way into the file, as enqueue middleware sees it.
// Middleware may change its fields.
type NewJob struct {
	Args        Args
	Queue       string
	Priority    int       // 1 first … 4 last
	RunAt       time.Time // zero: at once
	MaxAttempts int       // 0: as the Policy of its kind says
	Tags        []string

	expiresIn time.Duration
	unique    *unique
	bad       error // the first complaint of an option
}

// In delays the job by d. Zero or less means at once.
func In(d time.Duration) Option {
	return func(j *NewJob) {
		j.RunAt = time.Time{}
		if d > 0 {
			j.RunAt = time.Now().Add(d)
		}
	}
}

// At delays the job until t. A time in the past means at once.
func At(t time.Time) Option { return func(j *NewJob) { j.RunAt = t } }

// OnQueue puts the job into a queue other than the one its kind's Policy
// names, or "default". A queue exists as soon as a job is in it.
func OnQueue(name string) Option { return func(j *NewJob) { j.Queue = name } }

// Priority orders the jobs of one queue: 1 runs first, 4 last; 2 is the
// default. A job runs only when its queue has none of a smaller number that
// could run; only jobs that were claimed before it came, as quick ones are
// while the disk syncs, still start first. Within one priority jobs start in
// the order of their ids.
func Priority(p int) Option { return func(j *NewJob) { j.Priority = p } }

// MaxAttempts overrides the Policy of the job's kind for this job.
func MaxAttempts(n int) Option {
	return func(j *NewJob) {
		j.MaxAttempts = n
		if n < 1 {
			j.complain("MaxAttempts(%d): a job needs at least 1", n)
		}
	}
}

// Tags marks the job with words to filter by.
func Tags(tags ...string) Option { return func(j *NewJob) { j.Tags = append(j.Tags, tags...) } }

// ExpiresIn makes the job Dead, with the reason, if no attempt has started
// within d of its enqueueing. An attempt that has started is not cut short.
func ExpiresIn(d time.Duration) Option {
	return func(j *NewJob) {
		j.expiresIn = d
		if d <= 0 {
			j.complain("ExpiresIn(%v): must be positive", d)
		}
	}
}

// Unique makes Enqueue answer ErrDuplicate, and the id of the job that is
// there, while an equal job holds the place. Jobs are equal when kind and
// args are, or kind and the key given by ByKey. The place is held until the
// job is done (completed, dead or deleted), unless WhileWaiting or ForPeriod
// say otherwise. With Replace, Debounce or Merge the new job is not refused,
// but folded into the one that waits.
//
// The place is a consequence of the job's own state: it becomes free in the
// transaction that ends the job, whoever ends it.
func Unique(opts ...UniqueOption) Option {
	return func(j *NewJob) {
		j.unique = &unique{}
		for _, opt := range opts {
			opt(j.unique)
		}
		if err := j.unique.check(); err != nil && j.bad == nil {
			j.bad = err
		}
	}
}

// UniqueOption narrows Unique.
type UniqueOption func(*unique)

type unique struct {
	key     string
	byKey   bool
	waiting bool
	period  time.Duration

	folds    int // how many of Replace, Debounce and Merge were asked for
	debounce bool
	quiet    time.Duration
	max      time.Duration
	merge    *merging
}

// WhileWaiting frees the place as soon as a worker has the job: whatever is
// enqueued while it runs becomes one more job. That one may run beside the
// first, unless Policy.Concurrency is 1. Should the running one fail and wait
// for its retry, two wait.
func WhileWaiting() UniqueOption { return func(u *unique) { u.waiting = true } }

// ForPeriod holds the place for d from the enqueueing on, also when the job
// completes before; it becomes free early only if the job dies or is deleted.
func ForPeriod(d time.Duration) UniqueOption {
	return func(u *unique) {
		u.period = d
		if d == 0 {
			u.period = -1
		}
	}
}

// ByKey compares the key instead of the args, within the kind.
func ByKey(key string) UniqueOption {
	return func(u *unique) { u.key, u.byKey = key, true }
}

// Replace gives the job that waits the args of the new one: of a burst of
// changes the last one runs.
//
// Replace, Debounce and Merge have this in common:
//
//   - The new job folds into the one that waits, in the transaction that would
//     have stored it: what undoes that undoes the fold. Enqueue returns the id
//     of the waiting job and nil, EnqueueSeq counts the job as stored, and
//     Config.MaxJobs does not stop it. Everything but the args of the new job
//     is ignored: queue, priority, delay, attempts, tags and expiry.
//   - Without ByKey all jobs of the kind fold into one.
//   - They imply WhileWaiting. What waits is a job that is Ready, Scheduled
//     or Retrying. What a worker has is never changed, and neither is a job
//     of a batch or one with finished steps or a checkpoint: the new job is
//     stored and waits beside it. Where a job that was enqueued with another
//     form of Unique holds the place and does not wait, the answer is
//     ErrDuplicate as ever.
//   - They exclude each other and ForPeriod.
func Replace() UniqueOption {
	return func(u *unique) { u.waiting = true; u.folds++ }
}

// Debounce is Replace for bursts: the first job waits for quiet, and each
// further one sets its time to quiet from now, but to no more than max after
// the first was enqueued, and never to an earlier time. So the job runs when
// nothing has been added for quiet, or after max. quiet must be positive and
// max not less; In and At make no sense beside it. A job that waits for a
// retry, or whose time has come, only gets the new args.
func Debounce(quiet, max time.Duration) UniqueOption {
	return func(u *unique) {
		u.waiting, u.debounce, u.quiet, u.max = true, true, quiet, max
		u.folds++
	}
}

// Merge gives the job that waits the args that fn makes of its own and the new
// ones, so that ten thousand events are one job that knows of them all. Jobs
// are merged in the order in which they are stored; see Replace for what else
// holds. T is the type of the args.
//
// fn runs inside the transaction, where everybody waits for it: it must be
// quick, must not use the queue, and must depend on nothing but its arguments,
// as it may be called again for the same job. It gets copies, and never runs
// twice at the same time for one queue. When it panics, or makes args of
// another kind or such that cannot be written as JSON, the enqueueing fails
// with ErrBadArgs, and with ErrArgsTooLarge when they exceed
// Config.MaxArgsSize; the job that waits then stays as it was. So bound what
// fn gathers: counts, or the last hundred, not a list without end.
func Merge[T Args](fn func(waiting, added T) T) UniqueOption {
	m := newMerging(fn)
	return func(u *unique) {
		u.waiting, u.merge = true, m
		u.folds++
	}
}

// check says what is wrong with the combination, if anything.
func (u *unique) check() error {
	switch {
	case u.folds > 1:
		return fmt.Errorf("%w: Unique: Replace, Debounce and Merge exclude each other", ErrBadOption)
	case u.folds > 0 && u.period != 0:
		return fmt.Errorf("%w: Unique: ForPeriod excludes Replace, Debounce and Merge", ErrBadOption)
	case u.waiting && u.period != 0:
		return fmt.Errorf("%w: Unique: WhileWaiting and ForPeriod exclude each other", ErrBadOption)
	case u.period < 0:
		return fmt.Errorf("%w: ForPeriod(%v): must be positive", ErrBadOption, u.period)
	case u.debounce && (u.quiet <= 0 || u.max < u.quiet):
		return fmt.Errorf("%w: Debounce(%v, %v): quiet must be positive and max not less than it", ErrBadOption, u.quiet, u.max)
	case u.merge != nil && u.merge.call == nil:
		return fmt.Errorf("%w: Merge: give it a function of the type of the args, not nil and not of an interface", ErrBadOption)
	}
	return nil
}

// place is the key under which the unique bucket knows the job: a hash, since
// args may be larger than a bbolt key.
func (u *unique) place(kind string, args []byte) []byte {
	h := sha256.New()
	h.Write([]byte(kind))
	switch {
	case u.byKey:
		h.Write([]byte{0, 'k'})
		h.Write([]byte(u.key))
	case u.folds > 0:
		h.Write([]byte{0, 'f'}) // args that differ fold too
	default:
		h.Write([]byte{0, 'a'})
		h.Write(args)
	}
	return h.Sum(nil)[:placeSize]
}

func (j *NewJob) complain(format string, args ...any) {
	if j.bad == nil {
		j.bad = fmt.Errorf("%w: "+format, append([]any{ErrBadOption}, args...)...)
	}
}

// check says what is wrong with the job, if anything.
func (j *NewJob) check() error {
	switch {
	case j.bad != nil:
		return j.bad
	case j.Priority < 1 || j.Priority > priorities:
		return fmt.Errorf("%w: Priority(%d): 1 is first, %d is last", ErrBadOption, j.Priority, priorities)
	case j.MaxAttempts < 0:
		return fmt.Errorf("%w: MaxAttempts is %d", ErrBadOption, j.MaxAttempts)
	case j.unique != nil && j.unique.debounce && !j.RunAt.IsZero():
		return fmt.Errorf("%w: Debounce says when the job runs; leave In and At out", ErrBadOption)
	case j.unique != nil && j.unique.merge != nil && !j.unique.merge.takes(j.Args):
		return fmt.Errorf("%w: Merge takes %v, the args are %T", ErrBadOption, j.unique.merge.of, j.Args)
	case len(j.Tags) > maxTags:
		return fmt.Errorf("%w: %d tags, at most %d are possible", ErrBadOption, len(j.Tags), maxTags)
	}
	for _, tag := range j.Tags {
		if len(tag) == 0 || len(tag) > maxNameSize {
			return fmt.Errorf("%w: tag %.40q: 1 to %d bytes", ErrBadOption, tag, maxNameSize)
		}
	}
	if err := checkName("queue", j.Queue); err != nil {
		return fmt.Errorf("%w: OnQueue: %w", ErrBadOption, err)
	}
	return nil
}

const (
	defaultQueue    = "default"
	defaultPriority = 2
	priorities      = 4
	maxTags         = 100
	maxNameSize     = 128
)

// checkName keeps kinds and queue names to an alphabet that is safe in keys,
// logs, metric labels and web pages.
func checkName(what, name string) error {
	if len(name) == 0 || len(name) > maxNameSize {
		return fmt.Errorf("%s name %.40q: 1 to %d bytes", what, name, maxNameSize)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.' || c == '_' || c == '-' || c == '/' || c == ':':
		default:
			return fmt.Errorf("%s name %q: only letters, digits and ._-/: are allowed", what, name)
		}
	}
	return nil
}
