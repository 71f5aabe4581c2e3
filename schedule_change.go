package stint

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"time"
)

// What changes a schedule: registering it, and what a person does to it.

type scheduleVerb uint8

const (
	registerSchedule scheduleVerb = iota
	pauseSchedule
	resumeSchedule
	runSchedule
	backfillSchedule
	deleteSchedule
)

// scheduleChange is the change behind the methods above.
type scheduleChange struct {
	ticket
	name     string
	verb     scheduleVerb
	schedule *schedule // to be registered
	by       string
	from, to time.Time

	// Results.
	job    uint64
	runs   int
	damage error // what the file knows of the schedule cannot be read, which is no reason to stop the queue
}

func (q *Queue) changeSchedule(ctx context.Context, ch *scheduleChange) error {
	ch.reset()
	return cmp.Or(q.submit(ctx, ch, &ch.ticket), ch.damage)
}

func (ch *scheduleChange) apply(t *txn) error {
	ch.damage = nil
	if ch.verb == deleteSchedule {
		return t.deleteSchedule(ch.name)
	}
	l, err := t.ledger(ch.name)
	if err != nil {
		ch.damage = err
		return nil
	}
	if ch.verb == registerSchedule {
		return t.registerSchedule(ch.schedule, l)
	}
	if l == nil {
		return fmt.Errorf("%w: %q", ErrNoSchedule, ch.name)
	}
	if err := ch.applyTo(t, t.q.scheduleOf(ch.name), l); err != nil {
		return err
	}
	t.schedules = append(t.schedules, scheduleNews{name: ch.name, next: l.due()})
	return nil
}

func (ch *scheduleChange) applyTo(t *txn, s *schedule, l *ledger) error {
	switch ch.verb {
	case pauseSchedule:
		if l.pausedAt == 0 {
			l.pausedAt, l.pausedBy = t.now, ch.by
		}
	case resumeSchedule:
		if err := t.resumeSchedule(s, l); err != nil {
			return err
		}
	default:
		if s == nil {
			return fmt.Errorf("%w: this program does not register %q; call Periodic for it", ErrNoSchedule, ch.name)
		}
		if err := ch.enqueueRuns(t, s, l); err != nil {
			return err
		}
	}
	return t.putLedger(ch.name, l)
}

// enqueueRuns is RunSchedule and Backfill.
func (ch *scheduleChange) enqueueRuns(t *txn, s *schedule, l *ledger) error {
	if ch.verb == runSchedule {
		queued := len(l.waiting) > 0 && l.pausedAt == 0
		if s.overlap != Allow && (queued || t.runOpen(l.job)) {
			return fmt.Errorf("%w: run %d of schedule %q is unfinished; wait for it, cancel it, or use Overlap(Allow)", ErrRunning, l.job, s.name)
		}
		if err := t.startRun(s, l, occurrence{at: t.now, byHand: true}); err != nil {
			return undo{err}
		}
		ch.job = l.job
		return nil
	}
	runs, err := ch.backfilled(t, s, l)
	if err != nil {
		return err
	}
	ch.runs = len(runs)
	if s.overlap != Allow {
		l.waiting = append(l.waiting, runs...)
		if err := t.startWaiting(s, l); err != nil {
			return undo{err}
		}
		return nil
	}
	for _, o := range runs {
		if err := t.startRun(s, l, o); err != nil {
			return undo{err}
		}
	}
	return nil
}

func (ch *scheduleChange) backfilled(t *txn, s *schedule, l *ledger) (runs []occurrence, err error) {
	from, to := micros(ch.from), micros(ch.to)
	if to > t.now || to < from {
		return nil, fmt.Errorf("%w: Backfill from %v to %v: give a range of the past, the earlier time first", ErrBadOption, ch.from, ch.to)
	}
	anchor := fromMicros(l.anchor)
	for at := s.spec.next(fromMicros(max(from-1, 1)), anchor); !at.IsZero() && micros(at) <= to; at = s.spec.next(at, anchor) {
		if len(runs)+len(l.waiting) == maxWaiting {
			return nil, fmt.Errorf("%w: Backfill from %v to %v: more than %d runs would wait; give a shorter range, or one after the other", ErrBadOption, ch.from, ch.to, maxWaiting)
		}
		runs = append(runs, occurrence{at: micros(at)})
	}
	return runs, nil
}

// deleteSchedule does not read what it deletes, which may be damaged.
func (t *txn) deleteSchedule(name string) error {
	if t.get(bucketSchedules, []byte(name)) == nil {
		return fmt.Errorf("%w: %q", ErrNoSchedule, name)
	}
	t.schedules = append(t.schedules, scheduleNews{name: name, deleted: true})
	return t.delete(bucketSchedules, []byte(name))
}

// registerSchedule stores what the program says about a schedule. What has
// become due under an earlier spec is settled by that.
func (t *txn) registerSchedule(s *schedule, l *ledger) error {
	var before []byte
	if l == nil {
		l = &ledger{anchor: anchorAt(t.now)}
		l.define(s)
		l.next = s.first(t.now, l.anchor)
	} else {
		before = l.encode(s.name)
		if err := t.redefine(s, l); err != nil {
			return undo{err}
		}
	}
	news := scheduleNews{name: s.name, registered: s, next: l.due()}
	if len(l.waiting) > 0 {
		// A caller's transaction may end the run before memory knows of the
		// schedule, and then does not start what waits. So fire looks again.
		news.next = t.now
	}
	t.schedules = append(t.schedules, news)
	if after := l.encode(s.name); !bytes.Equal(after, before) {
		return t.putLedger(s.name, l)
	}
	return nil
}

// redefine lets a schedule that the file knows be what the program says.
func (t *txn) redefine(s *schedule, l *ledger) error {
	from, to := l.spec+" "+l.zone, s.spec.text()+" "+s.spec.zoneName()
	switch {
	case from != to:
		if err := t.settleOld(s, l); err != nil {
			return err
		}
		l.note(ScheduleRun{At: fromMicros(t.now), Reason: fmt.Sprintf("changed from %q (%s) to %q (%s)", l.spec, l.zone, s.spec.text(), s.spec.zoneName())})
		l.anchor = anchorAt(t.now)
		l.next = s.first(t.now, l.anchor)
	case l.starts != s.starts || l.until != s.until || l.next == 0:
		if err := t.settleOld(s, l); err != nil {
			return err
		}
		l.next = s.first(t.now, l.anchor)
	}
	l.define(s)
	s.followClock(l, t.now)
	return t.startWaiting(s, l)
}

// anchorAt is what @every counts from if it begins now: a whole second, and
// not 0, which would be no time.
func anchorAt(now int64) int64 { return max(now/1e6, 1) * 1e6 }

// settleOld runs and skips what became due before the schedule is changed.
func (t *txn) settleOld(s *schedule, l *ledger) error {
	if l.next == 0 || l.next > t.now {
		return nil
	}
	spec, err := parseSpec(l.spec, l.zone)
	if err != nil {
		return nil // of a zone that this machine does not know
	}
	old := *s
	old.spec, old.starts, old.until = spec, l.starts, l.until
	if l.pausedAt != 0 {
		old.skipPaused(l, t.now)
		return nil
	}
	return t.catchUp(&old, l)
}

// resumeSchedule ends a pause.
func (t *txn) resumeSchedule(s *schedule, l *ledger) error {
	if l.pausedAt == 0 {
		return nil
	}
	spec, err := parseSpec(l.spec, l.zone)
	if err != nil {
		return err
	}
	(&schedule{spec: spec, starts: l.starts, until: l.until}).skipPaused(l, t.now)
	l.pausedAt, l.pausedBy = 0, ""
	return t.startWaiting(s, l)
}

// skipPaused notes what fell into a pause, and moves the ledger on.
func (s *schedule) skipPaused(l *ledger, now int64) {
	if l.next == 0 || l.next > now {
		return
	}
	after, upTo, anchor := fromMicros(l.next-1), fromMicros(s.bounded(now)), fromMicros(l.anchor)
	skipped := s.spec.count(after, upTo, anchor, maxCounted)
	l.note(ScheduleRun{At: fromMicros(l.next), Skipped: skipped, Reason: "paused by " + cmp.Or(l.pausedBy, "somebody")})
	l.last = max(l.last, micros(s.spec.last(after, upTo, anchor)))
	l.next = s.first(now, l.anchor)
}
