package dashboard

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stintq/stint"
)

// health is one sentence on the queue, and where it leads.
type health struct {
	Level    string // good, late or bad
	Sentence string
	Page     string // of the cause, from the root, or ""

	More []health // what else is wrong, the worst first
}

const (
	lateAfter    = time.Minute // a ready job that waits longer is late, and so is a schedule
	crashIsNews  = time.Hour   // after the start that followed
	diskIsNarrow = 256 << 20   // bytes, or 5 %
)

// health says whether all is well, the worst first.
func (d *dashboard) health() health {
	s := situation{
		now: time.Now(), err: d.q.Health(), stats: d.q.Stats(), queues: d.q.Queues(), kinds: d.q.Kinds(),
	}
	s.schedules, s.schedulesErr = d.q.Schedules()
	s.starts, s.startsErr = d.q.Starts()
	s.disk = diskOf(filepath.Dir(d.file))
	return s.health()
}

// situation is what health is judged by.
type situation struct {
	now                     time.Time
	err                     error // of Queue.Health
	stats                   stint.Stats
	queues                  []stint.QueueInfo
	kinds                   []stint.KindInfo
	schedules               []stint.ScheduleInfo
	starts                  []stint.Start
	schedulesErr, startsErr error
	disk                    diskSpace
}

func (s *situation) health() health {
	var found []health
	for _, cause := range []func(*situation) health{
		(*situation).broken, (*situation).narrow, (*situation).unreadable, (*situation).stuck, (*situation).quarantined,
		(*situation).late, (*situation).overdue, (*situation).paused, (*situation).parked, (*situation).crashed,
	} {
		if h := cause(s); h.Sentence != "" {
			found = append(found, h)
		}
	}
	if len(found) == 0 {
		return health{Level: "good", Sentence: fmt.Sprintf("All good: %s running, nothing late.", count(s.stats.Running))}
	}
	worst := found[0]
	if len(found) > 1 {
		worst.More = found[1:]
	}
	return worst
}

// broken: the queue cannot do its work.
func (s *situation) broken() (h health) {
	if s.err == nil {
		return h
	}
	return health{Level: "bad", Sentence: sentence(s.err), Page: "system"}
}

// ended says why nothing on any page will change any more; "" if it may.
func (d *dashboard) ended() string {
	err := d.q.Health()
	for _, end := range []error{stint.ErrClosed, stint.ErrSyncFailed, stint.ErrFileGone, stint.ErrCorrupt} {
		if errors.Is(err, end) {
			return sentence(err)
		}
	}
	return ""
}

// sentence is an error for people.
func sentence(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "stint: ")
	}
	return capital(strings.TrimSuffix(strings.Join(lines, "; "), ".")) + "."
}

func (s *situation) narrow() (h health) {
	if !s.disk.Known || s.disk.Free >= diskIsNarrow && s.disk.Free >= s.disk.Size/20 {
		return h
	}
	return health{Level: "bad", Sentence: fmt.Sprintf("The disk is nearly full: %s of %s are free.", byteSize(s.disk.Free), byteSize(s.disk.Size)), Page: "system"}
}

// unreadable: a part of the file is damaged, so nobody knows what is in it.
func (s *situation) unreadable() (h health) {
	for _, err := range []error{s.schedulesErr, s.startsErr} {
		if err != nil {
			return health{Level: "bad", Sentence: sentence(err), Page: "system"}
		}
	}
	return h
}

func (s *situation) stuck() (h health) {
	switch s.stats.Stuck {
	case 0:
		return h
	case 1:
		h.Sentence = "1 handler is stuck: it goes on long past its timeout."
	default:
		h.Sentence = count(s.stats.Stuck) + " handlers are stuck: they go on long past their timeouts."
	}
	h.Level, h.Page = "bad", "jobs?state=running"
	return h
}

func (s *situation) quarantined() (h health) {
	switch n := s.stats.Quarantined; n {
	case 0:
		return h
	case 1:
		h.Sentence = "1 record could not be read and was set aside."
	default:
		h.Sentence = count(n) + " records could not be read and were set aside."
	}
	h.Level, h.Page = "bad", "system"
	return h
}

func (s *situation) late() (h health) {
	var late []stint.QueueInfo
	for _, q := range s.queues {
		if isLate(&q) {
			late = append(late, q)
		}
	}
	if len(late) == 0 {
		return h
	}
	slices.SortStableFunc(late, func(a, b stint.QueueInfo) int { return int(b.OldestWait - a.OldestWait) })
	wait := duration(late[0].OldestWait.Truncate(time.Second))
	if len(late) == 1 {
		return health{Level: "late", Sentence: fmt.Sprintf("The queue %s is late: its oldest job has been waiting for %s.", late[0].Name, wait), Page: pageOf("queue", late[0].Name)}
	}
	return health{Level: "late", Sentence: fmt.Sprintf("%s queues are late: the oldest job of %s has been waiting for %s.", count(len(late)), late[0].Name, wait), Page: "queues"}
}

// isLate: jobs that could run have waited for too long. Those that nobody
// handles here are another matter.
func isLate(q *stint.QueueInfo) bool {
	return !q.Paused && q.OldestWait > lateAfter && q.Ready > q.Parked
}

func (s *situation) overdue() (h health) {
	var late []stint.ScheduleInfo
	for _, one := range s.schedules {
		if isOverdue(&one, s.now) {
			late = append(late, one)
		}
	}
	if len(late) == 0 {
		return h
	}
	slices.SortStableFunc(late, func(a, b stint.ScheduleInfo) int { return a.Next.Compare(b.Next) })
	behind := duration(s.now.Sub(late[0].Next).Truncate(time.Second))
	if len(late) == 1 {
		return health{Level: "late", Sentence: fmt.Sprintf("The schedule %s is %s behind.", late[0].Name, behind), Page: pageOf("schedule", late[0].Name)}
	}
	return health{Level: "late", Sentence: fmt.Sprintf("%s schedules are behind: %s should have run %s ago.", count(len(late)), late[0].Name, behind), Page: "schedules"}
}

func isOverdue(one *stint.ScheduleInfo, now time.Time) bool {
	return one.PausedSince.IsZero() && !one.Orphaned && !one.Next.IsZero() && now.Sub(one.Next.Add(one.Jitter)) > lateAfter
}

func (s *situation) paused() (h health) {
	var paused []stint.QueueInfo
	waiting := 0
	for _, q := range s.queues {
		if q.Paused && q.Ready > 0 {
			paused = append(paused, q)
			waiting += q.Ready
		}
	}
	switch len(paused) {
	case 0:
		return h
	case 1:
		q := paused[0]
		text := "The queue " + q.Name + " is paused"
		if q.PausedBy != "" {
			text += " by " + q.PausedBy
		}
		return health{Level: "late", Sentence: fmt.Sprintf("%s, and %s in it.", text, plural(waiting, "job waits", "jobs wait")), Page: pageOf("queue", q.Name)}
	}
	return health{Level: "late", Sentence: fmt.Sprintf("%s queues are paused, and %s in them.", count(len(paused)), plural(waiting, "job waits", "jobs wait")), Page: "queues"}
}

func (s *situation) parked() (h health) {
	var kinds []string
	waiting := 0
	for _, k := range s.kinds {
		if k.Parked > 0 {
			kinds = append(kinds, k.Name)
			waiting += k.Parked
		}
	}
	switch len(kinds) {
	case 0:
		return h
	case 1:
		return health{Level: "late", Sentence: fmt.Sprintf("%s for a handler: this process has none for the kind %s.", plural(waiting, "job waits", "jobs wait"), kinds[0]), Page: pageOf("kind", kinds[0])}
	}
	return health{Level: "late", Sentence: fmt.Sprintf("%s for handlers: this process has none for %s kinds, such as %s.", plural(waiting, "job waits", "jobs wait"), count(len(kinds)), kinds[0]), Page: "kinds"}
}

func (s *situation) crashed() (h health) {
	if len(s.starts) < 2 || !s.starts[1].Crashed || s.now.Sub(s.starts[0].At) > crashIsNews {
		return h
	}
	text := "The process before this one crashed; this one started " + relative(s.now, s.starts[0].At)
	if n := s.starts[0].Recovered; n > 0 { // else none ran, or who opened the file in between has recovered them
		text += " and recovered " + plural(n, "job", "jobs")
	}
	return health{Level: "late", Sentence: text + ".", Page: "system"}
}

// pageOf is the page of what has a name.
func pageOf(page, name string) string { return pageLink(page, "name", name) }

// pageLink is a page with a parameter, from the root.
func pageLink(page, name, value string) string {
	return page + "?" + url.Values{name: {value}}.Encode()
}
