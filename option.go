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
// say otherwise.
//
// The place is a consequence of the job's own state: it becomes free in the
// transaction that ends the job, whoever ends it.
func Unique(opts ...UniqueOption) Option {
	return func(j *NewJob) {
		j.unique = &unique{}
		for _, opt := range opts {
			opt(j.unique)
		}
		if j.unique.waiting && j.unique.period != 0 {
			j.complain("Unique: WhileWaiting and ForPeriod exclude each other")
		}
		if j.unique.period < 0 {
			j.complain("ForPeriod(%v): must be positive", j.unique.period)
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
}

// WhileWaiting frees the place as soon as the job runs: at most one runs and
// one more waits. Should the running one fail and wait for its retry, there
// are two.
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

// place is the key under which the unique bucket knows the job: a hash, since
// args may be larger than a bbolt key.
func (u *unique) place(kind string, args []byte) []byte {
	h := sha256.New()
	h.Write([]byte(kind))
	if u.byKey {
		h.Write([]byte{0, 'k'})
		h.Write([]byte(u.key))
	} else {
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
	case len(j.Tags) > maxTags:
		return fmt.Errorf("%w: %d tags, at most %d are possible", ErrBadOption, len(j.Tags), maxTags)
	}
	for _, tag := range j.Tags {
		if len(tag) == 0 || len(tag) > maxNameSize {
			return fmt.Errorf("%w: tag %q: 1 to %d bytes", ErrBadOption, tag, maxNameSize)
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
