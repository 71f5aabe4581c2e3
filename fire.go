package stint

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"
)

// How schedules come to jobs. While Run is working:
//
//  1. The committer knows when each registered schedule is due, and its one
//     timer wakes it for the first of them.
//  2. fire looks at each schedule that is due, in the committer's own share of
//     a group. Which occurrences of those that have passed are run is decided
//     by Missed (choose), which of these start, wait or are skipped by Overlap
//     (admitRuns).
//  3. The job is inserted and the ledger advanced in the same transaction, so
//     a crash leaves both or neither: an occurrence is neither lost nor
//     doubled.
//  4. When a run ends, in whatever transaction, move tells the schedule
//     (scheduledRun): the outcome goes into the history, and a run that waits
//     for it starts.
//
// The ledger's `last` never goes back, and is the guard against a wall clock
// that does. Set back a little, a schedule waits until the clock has caught
// up; set back further, it goes on from the new time (see followClock), and
// when the clock is put right again, nothing before `last` counts as missed.
// Set forward, it is like time in which the program was down. The work that a
// jump makes is bounded, however far it goes: no occurrence is counted beyond
// maxCounted, and All is bounded by its own numbers.

const (
	lateAfter  = time.Minute   // an occurrence that starts later than this was missed
	maxCounted = 10_000        // missed occurrences are counted up to here
	waitsFor   = 3 * time.Hour // how far back a clock may be set for fixed times to wait for it
)

// registered is a schedule of this process as the committer's loop sees it.
type registered struct {
	*schedule
	next int64 // when it is due, 0 for never; as of the last commit
}

// scheduleNews is what the loop learns of a schedule from a transaction.
type scheduleNews struct {
	name       string
	known      *registered // nil: it has to be looked up
	registered *schedule   // as it was registered
	deleted    bool
	next       int64
}

// learnSchedules takes over what a committed transaction has changed.
func (c *committer) learnSchedules(t *txn) {
	if len(t.schedules) == 0 {
		return
	}
	for _, news := range t.schedules {
		c.learnSchedule(news)
	}
	c.nextFire = 0
	for _, r := range c.schedules {
		if r.next != 0 && (c.nextFire == 0 || r.next < c.nextFire) {
			c.nextFire = r.next
		}
	}
}

func (c *committer) learnSchedule(news scheduleNews) {
	r := news.known
	if r == nil {
		if i := slices.IndexFunc(c.schedules, func(r *registered) bool { return r.name == news.name }); i >= 0 {
			r = c.schedules[i]
		}
	}
	if news.registered != nil {
		if r == nil {
			r = &registered{}
			c.schedules = append(c.schedules, r)
		}
		r.schedule = news.registered
		c.q.mu.Lock()
		c.q.schedules[news.name] = news.registered
		c.q.mu.Unlock()
	}
	if news.deleted {
		c.schedules = slices.DeleteFunc(c.schedules, func(other *registered) bool { return other == r })
		c.q.mu.Lock()
		delete(c.q.schedules, news.name)
		c.q.mu.Unlock()
	}
	if r != nil { // else it is an orphan
		r.next = news.next
	}
}

// firable says whether fire would find something to do.
func (c *committer) firable(now int64) bool {
	return c.nextFire != 0 && c.nextFire <= now || !c.clockLooked && len(c.schedules) > 0
}

// fire lets the schedules that are due enqueue their jobs, up to some number;
// the next group goes on.
func (c *committer) fire(t *txn) error {
	if !c.clockLooked {
		c.clockLooked = true // rollback takes it back
		if err := c.followClock(t); err != nil {
			return err
		}
	}
	if c.nextFire == 0 || c.nextFire > t.now {
		return nil
	}
	before := t.unfinished
	for _, r := range c.schedules {
		if r.next == 0 || r.next > t.now {
			continue
		}
		if err := t.fireSchedule(r); err != nil {
			return err
		}
		if t.unfinished-before >= perGroup {
			break
		}
	}
	return nil
}

// fireSchedule looks at one that is due as far as memory knows. The changes of
// the same group may have paused or deleted it.
func (t *txn) fireSchedule(r *registered) error {
	l, err := t.ledger(r.name)
	if err != nil {
		t.tell(slog.LevelError, "stint: a schedule is damaged and does not fire any more; DeleteSchedule it and call Periodic again", r.schedule)
	}
	if err != nil || l == nil {
		t.schedules = append(t.schedules, scheduleNews{name: r.name, known: r})
		return nil
	}
	waiting := len(l.waiting)
	if err := t.startWaiting(r.schedule, l); err != nil { // should the run before have ended without a word
		return err
	}
	due := l.due() != 0 && l.due() <= t.now
	if due {
		if err := t.catchUp(r.schedule, l); err != nil {
			return err
		}
	}
	t.schedules = append(t.schedules, scheduleNews{name: r.name, known: r, next: l.due()})
	if !due && len(l.waiting) == waiting {
		return nil
	}
	return t.putLedger(r.name, l)
}

// followClock looks at all schedules after the clock has jumped, and when Run
// begins.
func (c *committer) followClock(t *txn) error {
	for _, r := range c.schedules {
		if r.next != 0 && r.next <= t.now {
			continue
		}
		l, err := t.ledger(r.name)
		if err != nil || l == nil || !r.followClock(l, t.now) {
			continue
		}
		if err := t.putLedger(r.name, l); err != nil {
			return err
		}
		t.schedules = append(t.schedules, scheduleNews{name: r.name, known: r, next: l.due()})
	}
	return nil
}

// followClock lets a schedule go on that a clock which was set back would hold
// up. A fixed time runs once a day even if the clock shows it twice, so up to
// three hours are waited for, as ISC cron does; what follows real time goes on
// at once.
func (s *schedule) followClock(l *ledger, now int64) (changed bool) {
	back := max(l.last, l.anchor) - now // it was later once
	if back <= lateAfter.Microseconds() || l.next != 0 && l.next <= now {
		return false
	}
	anchor := s.anchorBy(now, l.anchor)
	next := s.first(now, anchor)
	if next == 0 || l.next != 0 && next >= l.next {
		return false
	}
	if next <= l.last && l.last-now <= waitsFor.Microseconds() && !s.spec.wild() {
		reason := "the clock was set back; what it shows again until " + fromMicros(l.last).In(s.spec.zone).Format(time.DateTime) + " has run"
		if n := len(l.runs); n > 0 && l.runs[n-1].Reason == reason {
			return false
		}
		skipped := s.spec.count(fromMicros(now), fromMicros(l.last), fromMicros(anchor), maxCounted)
		l.note(ScheduleRun{At: fromMicros(next), Skipped: skipped, Reason: reason})
		return true
	}
	back = min(back, math.MaxInt64/1000) // a Duration ends after 292 years
	l.note(ScheduleRun{At: fromMicros(now), Reason: fmt.Sprintf("the clock was set back by %v; the schedule goes on from there", (time.Duration(back) * time.Microsecond).Round(time.Second))})
	l.anchor, l.next = anchor, next
	return true
}

// anchorBy is an anchor that is not after now, and for @every of the same
// phase.
func (s *schedule) anchorBy(now, anchor int64) int64 {
	period := s.spec.every * 1e6
	if anchor <= now {
		return anchor
	}
	if period == 0 {
		return anchorAt(now)
	}
	anchor -= (anchor - now + period - 1) / period * period
	if anchor == 0 { // would be no time
		anchor -= period
	}
	return anchor
}

// catchUp runs and skips what has become due, and moves the ledger on.
func (t *txn) catchUp(s *schedule, l *ledger) error {
	if l.next == 0 || l.next > t.now {
		return nil
	}
	// Nearly always one has become due, just now.
	runs, latest, next := []occurrence{{at: l.next}}, l.next, s.first(l.next, l.anchor)
	if next != 0 && next <= t.now || l.next <= l.last || late(l.next, t.now) {
		runs, latest = t.choose(s, l)
		next = s.first(t.now, l.anchor)
	}
	if err := t.admitRuns(s, l, runs); err != nil {
		return err
	}
	l.last, l.next = max(l.last, latest), next
	return nil
}

// late says whether an occurrence that starts now was missed.
func late(at, now int64) bool { return now-at > lateAfter.Microseconds() }

// choose says which of the occurrences up to now are to be run, as Missed
// asks for. The others go into the history.
func (t *txn) choose(s *schedule, l *ledger) (runs []occurrence, latest int64) {
	after := l.next - 1
	if l.next <= l.last && t.now > l.last {
		after = l.last // the clock had been set back; that time has been lived through
	}
	upTo, anchor := s.bounded(t.now), fromMicros(l.anchor)
	latest = micros(s.spec.last(fromMicros(after), fromMicros(upTo), anchor))
	if latest == 0 {
		return nil, 0
	}
	first := micros(s.spec.next(fromMicros(after), anchor))
	n := s.spec.count(fromMicros(after), fromMicros(upTo), anchor, maxCounted)
	if n > 1 || late(latest, t.now) {
		t.tell(slog.LevelWarn, "stint: a schedule has missed some of its times", s, "times", n, "since", fromMicros(first), "policy", s.missed.String())
	}
	switch s.missed.max {
	case 0:
		runs = []occurrence{{at: latest, missed: uint32(n - 1)}}
		if n > 1 {
			runs[0].since = first
		}
		return runs, latest
	case -1:
		if !late(latest, t.now) {
			runs = []occurrence{{at: latest}}
		}
	default:
		runs = s.latestRuns(after, upTo, t.now, anchor)
	}
	if skipped := n - len(runs); skipped > 0 {
		l.note(ScheduleRun{At: fromMicros(first), Skipped: skipped, Reason: "missed: nothing ran then, or the clock was set forward; policy: " + s.missed.String()})
	}
	return runs, latest
}

// latestRuns are the occurrences that All asks for, oldest first. One that is
// not late is always among them.
func (s *schedule) latestRuns(after, upTo, now int64, anchor time.Time) (runs []occurrence) {
	oldest := max(now-s.missed.maxAge.Microseconds(), 0)
	for len(runs) < s.missed.max {
		at := micros(s.spec.last(fromMicros(after), fromMicros(upTo), anchor))
		if at == 0 || at < oldest && late(at, now) {
			break
		}
		runs = append(runs, occurrence{at: at})
		upTo = at - 1
	}
	slices.Reverse(runs)
	return runs
}

// admitRuns starts the runs, lets them wait, or skips them, as Overlap asks
// for. Several at once were missed and are all wanted, so they wait for one
// another.
func (t *txn) admitRuns(s *schedule, l *ledger, runs []occurrence) error {
	if err := t.startWaiting(s, l); err != nil {
		return err
	}
	if s.overlap == Allow {
		for _, o := range runs {
			if err := t.startRun(s, l, o); err != nil {
				return err
			}
		}
		return nil
	}
	for _, o := range runs {
		wanted := len(runs) > 1 || s.overlap == QueueOne && len(l.waiting) == 0
		switch busy := len(l.waiting) > 0 || t.runOpen(l.job); {
		case !busy:
			if err := t.startRun(s, l, o); err != nil {
				return err
			}
		case wanted && len(l.waiting) < maxWaiting:
			l.waiting = append(l.waiting, o)
		case s.overlap == QueueOne || len(l.waiting) > 0:
			t.skipRun(s, l, o, fmt.Sprintf("the run before it (job %d) is unfinished, and %d wait already", l.job, len(l.waiting)))
		default:
			t.skipRun(s, l, o, fmt.Sprintf("the run before it (job %d) is unfinished", l.job))
		}
	}
	return nil
}
