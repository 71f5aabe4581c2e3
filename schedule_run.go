package stint

import (
	"hash/fnv"
	"log/slog"
	"math"
	"slices"
	"time"
)

// The runs of a schedule: how one starts, is skipped, and ends.

// skipRun notes an occurrence that is not run. A stretch of them for the same
// reason is one entry and one line in the log, so that a long run does not
// fill either.
func (t *txn) skipRun(s *schedule, l *ledger, o occurrence, reason string) {
	skipped := 1 + int(o.missed)
	if n := len(l.runs); n > 0 && l.runs[n-1].Job == 0 && l.runs[n-1].Reason == reason {
		l.runs[n-1].Skipped += skipped
		return
	}
	l.note(ScheduleRun{At: fromMicros(o.at), Skipped: skipped, Reason: reason})
	t.tell(slog.LevelWarn, "stint: a schedule skips a run", s, "at", fromMicros(o.at), "reason", reason)
}

// tell logs what an operator may want to know of a schedule, once it is on
// disk.
func (t *txn) tell(level slog.Level, text string, s *schedule, attrs ...any) {
	t.reports = append(t.reports, report{level: level, text: text, attrs: append([]any{"schedule", s.name, "kind", s.kind}, attrs...)})
}

// runOpen says whether the run of a schedule is unfinished: its job, or the
// batch that the job has planned.
func (t *txn) runOpen(job uint64) bool {
	if job == 0 {
		return false
	}
	if j, err := t.find(job); err == nil && unfinished(j.state) {
		return true
	}
	return t.batchOpen(job)
}

// startRun inserts the job of an occurrence.
func (t *txn) startRun(s *schedule, l *ledger, o occurrence) error {
	p := &pending{sure: true, rec: record{
		state:       Ready,
		priority:    uint8(s.job.Priority),
		created:     t.now,
		queue:       s.job.Queue,
		kind:        s.kind,
		args:        s.args,
		tags:        s.job.Tags,
		maxAttempts: uint32(min(s.job.MaxAttempts, math.MaxInt32)),
		origin:      &origin{schedule: s.name, at: o.at, missed: o.missed, since: o.since},
	}}
	t.q.policyOf(&p.rec)
	if s.job.expiresIn > 0 {
		p.rec.expires = micros(fromMicros(t.now).Add(s.job.expiresIn))
	}
	if at := o.at + s.delay(o.at); at > t.now && !o.byHand {
		p.rec.state, p.rec.runAt, p.at = Scheduled, at, at
	}
	p.encode(t.vault)
	if err := t.insert(p); err != nil {
		return err
	}
	l.job, l.ran = p.id, o.at
	l.note(ScheduleRun{At: fromMicros(o.at), Job: ID(p.id), State: Ready, Missed: int(o.missed)})
	return nil
}

// delay is the jitter of an occurrence.
func (s *schedule) delay(at int64) int64 {
	if s.jitter == 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(s.name))
	h.Write(appendID(nil, uint64(at)))
	return int64(h.Sum64() % uint64(s.jitter.Microseconds()+1))
}

// startWaiting starts the run that waits first, if none is under way.
func (t *txn) startWaiting(s *schedule, l *ledger) error {
	if s == nil || len(l.waiting) == 0 || l.pausedAt != 0 || t.runOpen(l.job) {
		return nil
	}
	o := l.waiting[0]
	l.waiting = l.waiting[1:]
	return t.startRun(s, l, o)
}

// scheduledRun lets a schedule know that the job of a run has ended as a
// state, or lives again. A run that is a batch ends with the batch.
func (t *txn) scheduledRun(j *stored, as State) error {
	note := j.rec.reason
	if row := t.batch(j.id); row != nil && j.rec.role == batchPlanner && !unfinished(as) {
		if row.ended == 0 {
			return nil
		}
		as, note = t.batchOutcome(row)
	} else if as == gone {
		note = "its job was deleted"
	}
	return t.endRun(j.rec.origin, j.id, as, note)
}

// endRun notes how a run ended, and starts the one that waits for it. gone is
// the state of a job that was deleted.
func (t *txn) endRun(o *origin, job uint64, as State, note string) error {
	l, err := t.ledger(o.schedule)
	if err != nil || l == nil {
		return nil // deleted, or not readable, which must not keep the job from ending
	}
	for i := range l.runs {
		r := &l.runs[i]
		if r.Job != ID(job) {
			continue
		}
		r.State, r.Reason, r.EndedAt = as, cut(note, maxNoteSize), time.Time{}
		if !unfinished(as) {
			r.EndedAt = fromMicros(t.now)
		}
	}
	if err := t.startWaiting(t.q.scheduleOf(o.schedule), l); err != nil {
		return err
	}
	return t.putLedger(o.schedule, l)
}

// lostRun is endRun for a job whose record cannot tell of its schedule. It
// looks at all schedules, which such a job is rare enough for.
func (t *txn) lostRun(job uint64) error {
	if t.batch(job) != nil {
		return nil // the batch tells
	}
	var owner string
	err := t.bucket(bucketSchedules).ForEach(func(k, v []byte) error {
		l, err := decodeLedger(string(k), v)
		if err == nil && slices.ContainsFunc(l.runs, func(r ScheduleRun) bool { return r.Job == ID(job) }) {
			owner = string(k)
		}
		return nil
	})
	if err != nil || owner == "" {
		return err
	}
	return t.endRun(&origin{schedule: owner}, job, gone, "the record of its job was damaged and was set aside")
}
