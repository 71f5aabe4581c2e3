package stint_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/stintq/stint"
)

// Schedules in the model of TestSimulation. All their times are so many
// periods after the epoch, or after the registration for @every.

type simSchedule struct {
	name, kind string
	body       simBody
	spec       simSpec
	missed     simMissed
	overlap    stint.OverlapPolicy
	registered bool
	wanted     bool // by further lives of the process
	anchor     time.Time

	next, ran time.Time
	job       *simJob
	pausedAt  time.Time
	by        string
	waiting   []simOccurrence
	runs      []simRun
}

type simSpec struct {
	text   string
	period time.Duration
	every  bool
}

var simSpecs = []simSpec{
	{"0 * * * *", time.Hour, false}, {"*/10 * * * *", 10 * time.Minute, false},
	{"0 0 * * *", 24 * time.Hour, false}, {"@every 25m", 25 * time.Minute, true},
}

// simMissed is a MissedPolicy: max is -1 for Skip and 0 for Once.
type simMissed struct {
	max int
	age time.Duration
}

func (p simMissed) policy() stint.MissedPolicy {
	switch p.max {
	case -1:
		return stint.Skip
	case 0:
		return stint.Once
	}
	return stint.All(p.max, p.age)
}

type simOccurrence struct {
	at     time.Time
	missed int
}

// simRun is an entry of the history.
type simRun struct {
	at              time.Time
	job             *simJob
	state           stint.State
	missed, skipped int
	why             string
	before          *simJob // the unfinished run that an occurrence was skipped for
	waiting         int     // so many waited already, -1 if none ever does
}

// reason is what the history says.
func (r simRun) reason() string {
	switch {
	case r.before == nil || r.before.id == 0:
		return r.why
	case r.waiting < 0:
		return fmt.Sprintf("the run before it (job %d) is unfinished", r.before.id)
	}
	return fmt.Sprintf("the run before it (job %d) is unfinished, and %d wait already", r.before.id, r.waiting)
}

// after is the first occurrence after a time.
func (s *simSchedule) after(t time.Time) time.Time {
	from := time.Unix(0, 0).UTC()
	if s.spec.every {
		from = s.anchor
	}
	return from.Add(t.Sub(from)/s.spec.period*s.spec.period + s.spec.period)
}

func (s *simSchedule) note(run simRun) {
	if s.runs = append(s.runs, run); len(s.runs) > 20 {
		s.runs = slices.Clone(s.runs[1:])
	}
}

func (m *simModel) register(def simSchedule) {
	if !slices.Contains(m.order, def.name) {
		m.order = append(m.order, def.name)
	}
	s := m.schedules[def.name]
	if s == nil {
		s = &def
		s.registered, s.anchor = true, m.now.Truncate(time.Second)
		s.next = s.after(m.now)
		m.schedules[s.name] = s
		return
	}
	s.registered = true
	if s.spec == def.spec {
		s.kind, s.body, s.missed, s.overlap = def.kind, def.body, def.missed, def.overlap
		m.startWaiting(s)
		return
	}
	s.kind, s.body, s.missed, s.overlap = def.kind, def.body, def.missed, def.overlap
	switch {
	case s.next.After(m.now):
	case !s.pausedAt.IsZero():
		m.skipPaused(s)
	default:
		m.catchUp(s)
	}
	s.note(simRun{at: m.now, why: "changed from"})
	s.spec, s.anchor = def.spec, m.now.Truncate(time.Second)
	s.next = s.after(m.now)
	m.startWaiting(s)
}

// forgetProgram: the next life has to register its schedules again.
func (m *simModel) forgetProgram() {
	m.order = nil
	for _, s := range m.schedules {
		s.registered = false
	}
}

func (m *simModel) deleteSchedule(name string) {
	delete(m.schedules, name)
	m.order = slices.DeleteFunc(m.order, func(other string) bool { return other == name })
}

func (m *simModel) fire(s *simSchedule) {
	if s.pausedAt.IsZero() && !s.next.After(m.now) {
		m.startWaiting(s)
		m.catchUp(s)
	}
}

// catchUp runs or skips what has become due.
func (m *simModel) catchUp(s *simSchedule) {
	first := s.next
	n := int(m.now.Sub(first)/s.spec.period) + 1
	latest := first.Add(time.Duration(n-1) * s.spec.period)
	late := func(at time.Time) bool { return m.now.Sub(at) > time.Minute }
	counted := min(n, 10_000)
	var runs []simOccurrence
	switch {
	case s.missed.max == 0:
		runs = []simOccurrence{{latest, counted - 1}}
	case s.missed.max < 0:
		if !late(latest) {
			runs = []simOccurrence{{at: latest}}
		}
	default:
		for at := latest; len(runs) < s.missed.max && !at.Before(first); at = at.Add(-s.spec.period) {
			if m.now.Sub(at) > s.missed.age && late(at) {
				break
			}
			runs = append(runs, simOccurrence{at: at})
		}
		slices.Reverse(runs)
	}
	if s.missed.max != 0 && counted > len(runs) {
		s.note(simRun{at: first, skipped: counted - len(runs), why: "missed: "})
	}
	s.next = latest.Add(s.spec.period)
	m.startWaiting(s)
	for _, o := range runs {
		m.admit(s, o, len(runs) > 1)
	}
}

// admit starts a run, lets it wait for the one before, or skips it.
func (m *simModel) admit(s *simSchedule, o simOccurrence, several bool) {
	open := m.runOpen(s.job)
	switch {
	case s.overlap == stint.Allow, len(s.waiting) == 0 && !open:
		m.startRun(s, o)
	case several, s.overlap == stint.QueueOne && len(s.waiting) == 0:
		s.waiting = append(s.waiting, o)
	default:
		waiting := len(s.waiting)
		if waiting == 0 && s.overlap == stint.SkipIfRunning {
			waiting = -1
		}
		if last := len(s.runs) - 1; last >= 0 && s.runs[last].before == s.job && s.runs[last].waiting == waiting {
			s.runs[last].skipped += 1 + o.missed
			return
		}
		s.note(simRun{at: o.at, skipped: 1 + o.missed, before: s.job, waiting: waiting})
	}
}

// runOpen says whether a run is unfinished: its job, or the batch it plans.
func (m *simModel) runOpen(j *simJob) bool {
	if j == nil {
		return false
	}
	b := m.batchOf(j)
	return simUnfinished(j.state) || b != nil && b.ended.IsZero()
}

func (m *simModel) startRun(s *simSchedule, o simOccurrence) {
	policy := m.kinds[s.kind]
	j := &simJob{
		kind: s.kind, body: s.body, queue: "default", priority: 2, created: m.now, state: stint.Ready,
		schedule: s.name, scheduledFor: o.at, missed: o.missed,
	}
	if policy.handled {
		j.queue, j.priority = policy.queue, policy.priority
	}
	m.add(j)
	if s.kind == simPlanKind {
		m.makeBatch(&simBatch{planner: j, name: s.name, schedule: s.name, scheduledFor: o.at, onDone: true})
	}
	s.job, s.ran = j, o.at
	s.note(simRun{at: o.at, job: j, state: stint.Ready, missed: o.missed})
}

func (m *simModel) startWaiting(s *simSchedule) {
	if !s.registered || len(s.waiting) == 0 || !s.pausedAt.IsZero() || m.runOpen(s.job) {
		return
	}
	o := s.waiting[0]
	s.waiting = slices.Clone(s.waiting[1:])
	m.startRun(s, o)
}

// runEnded is the end of a run, or that it lives again.
func (m *simModel) runEnded(j *simJob, as stint.State) {
	s := m.schedules[j.schedule]
	if s == nil {
		return
	}
	for i := range s.runs {
		if s.runs[i].job == j {
			s.runs[i].state = as
		}
	}
	m.startWaiting(s)
}

func (m *simModel) skipPaused(s *simSchedule) {
	if s.next.After(m.now) {
		return
	}
	n := int(m.now.Sub(s.next)/s.spec.period) + 1
	s.note(simRun{at: s.next, skipped: min(n, 10_000), why: "paused by"})
	s.next = s.after(m.now)
}

func (m *simModel) resumeSchedule(s *simSchedule) {
	if s.pausedAt.IsZero() {
		return
	}
	m.skipPaused(s)
	s.pausedAt, s.by = time.Time{}, ""
	m.startWaiting(s)
}

// runNow is RunSchedule.
func (m *simModel) runNow(s *simSchedule) error {
	queued := len(s.waiting) > 0 && s.pausedAt.IsZero()
	switch {
	case !s.registered:
		return stint.ErrNoSchedule
	case s.overlap != stint.Allow && (queued || m.runOpen(s.job)):
		return stint.ErrRunning
	}
	m.startRun(s, simOccurrence{at: m.now})
	return nil
}

func (m *simModel) backfill(s *simSchedule, from, to time.Time) (n int, err error) {
	switch {
	case !s.registered:
		return 0, stint.ErrNoSchedule
	case to.After(m.now) || to.Before(from):
		return 0, stint.ErrBadOption
	}
	for at := s.after(from.Add(-1)); !at.After(to); at = at.Add(s.spec.period) {
		n++
		if s.overlap == stint.Allow {
			m.startRun(s, simOccurrence{at: at})
			continue
		}
		s.waiting = append(s.waiting, simOccurrence{at: at})
	}
	if s.overlap != stint.Allow {
		m.startWaiting(s)
	}
	return n, nil
}
