package stint_test

import (
	"cmp"
	"slices"
	"time"

	"github.com/stintq/stint"
)

// What time and handlers do to the model of TestSimulation.

// replay goes through what has happened since the last look, in the order of
// its times, up to now.
func (m *simModel) replay(trace []simEvent, until time.Time) {
	for {
		m.due()
		if len(trace) > 0 && !trace[0].at.After(m.now) {
			if trace[0].at.Before(m.now) {
				m.fault("%v happened at %v, not by %v", trace[0], trace[0].at, m.now)
			}
			m.happened(trace[0])
			trace = trace[1:]
			continue
		}
		if m.claimed() {
			continue
		}
		m.nothingWaits()
		next := m.nextDue()
		if len(trace) > 0 && (next.IsZero() || trace[0].at.Before(next)) {
			next = trace[0].at
		}
		if next.IsZero() || next.After(until) {
			break
		}
		m.now = next
	}
	m.now = until
}

// due does what is due by now, while Run is working.
func (m *simModel) due() {
	if !m.running {
		return
	}
	for _, name := range m.order {
		m.fire(m.schedules[name])
	}
	for _, j := range m.jobs {
		if (j.state == stint.Scheduled || j.state == stint.Retrying) && !j.runAt.After(m.now) {
			j.state = stint.Ready
		}
	}
	for _, j := range slices.Clone(m.jobs) {
		switch {
		case m.expired(j):
			m.expire(j)
		case j.state == stint.Completed && m.keptTill(j).Compare(m.now) <= 0, j.state == stint.Dead && m.keptTill(j).Compare(m.now) <= 0:
			m.remove(j)
		}
	}
}

// keptTill is when a job that has ended goes.
func (m *simModel) keptTill(j *simJob) time.Time {
	keep := cmp.Or(m.cfg.KeepCompleted, time.Hour)
	if j.state == stint.Dead {
		keep = cmp.Or(m.cfg.KeepDead, 180*24*time.Hour)
	}
	if keep < 0 {
		keep = 1 << 62
	}
	return j.finished.Add(keep)
}

// nextDue is when the next thing happens by itself, zero for never.
func (m *simModel) nextDue() (next time.Time) {
	if !m.running {
		return next
	}
	consider := func(at time.Time) {
		if at.After(m.now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, s := range m.schedules {
		if s.registered && s.pausedAt.IsZero() {
			consider(s.next)
		}
	}
	for _, j := range m.jobs {
		switch j.state {
		case stint.Scheduled, stint.Retrying:
			consider(j.runAt)
		case stint.Completed, stint.Dead:
			consider(m.keptTill(j))
		}
		if simUnfinished(j.state) && !j.begun {
			consider(j.expires)
		}
	}
	return next
}

// claimed ends one item that would start, had its batch not been cancelled.
// When it comes to that, among others that start, is not for the model to say.
func (m *simModel) claimed() bool {
	for _, j := range m.jobs {
		if !m.mayStart(j) {
			continue
		}
		if j.role == "item" && j.batch.cancelled != "" && j.batch.ended.IsZero() {
			m.die(j, "cancelled by "+j.batch.cancelled)
			return true
		}
	}
	return false
}

// mayStart says whether a job waits and nothing keeps it from starting.
func (m *simModel) mayStart(j *simJob) bool {
	if !m.running || !m.eligible(j) {
		return false
	}
	running := m.inState(stint.Running)
	for _, other := range running {
		if other.suspect {
			return false
		}
	}
	for _, other := range m.jobs { // the oldest suspect goes first, and alone
		if other.suspect && m.eligible(other) {
			return other == j && len(running) == 0
		}
	}
	inQueue := 0
	for _, other := range running {
		if other.queue == j.queue {
			inQueue++
		}
	}
	limit := m.cfg.Queues[j.queue].Workers
	return len(running) < m.cfg.Workers && (limit == 0 || inQueue < limit)
}

// eligible is mayStart as far as the job itself, its queue and its kind go.
func (m *simModel) eligible(j *simJob) bool {
	p := m.kinds[j.kind]
	if j.state != stint.Ready || !p.handled || m.queue(j.queue).paused {
		return false
	}
	ofKind := 0
	for _, other := range m.jobs {
		if other.kind == j.kind && other.state == stint.Running {
			ofKind++
		}
	}
	return p.concurrency == 0 || ofKind < p.concurrency
}

// nothingWaits looks for jobs that should have started.
func (m *simModel) nothingWaits() {
	for _, j := range m.jobs {
		if m.mayStart(j) {
			m.fault("job %d (%s) could start at %v and does not", j.id, j.kind, m.now)
		}
	}
}

// happened takes one entry of the trace.
func (m *simModel) happened(ev simEvent) {
	j := m.job(ev.id)
	for more := ev.what == "start"; more; m.due() {
		if j == nil {
			j = m.bind(ev.id, ev.kind, ev.body, ev.schedule, ev.scheduledFor, ev.batch)
		}
		more = (j == nil || !m.mayStart(j)) && m.claimed()
	}
	if j == nil {
		m.fault("%v of a job that should not be there", ev)
		return
	}
	if ev.what != "start" && j.state != stint.Running {
		m.fault("%v of job %d, which is %v", ev, j.id, j.state)
		return
	}
	switch ev.what {
	case "start":
		m.started(j, ev)
	case "child":
		if _, err := m.enqueue(ev.kind, ev.body, ev.options); err != nil {
			m.fault("%v: %v", ev, err)
		}
	case "effect":
		m.effects[ev.text]++
	case "step":
		if slices.Contains(j.steps, ev.text) {
			m.fault("%v: it has run", ev)
		}
		j.steps = append(j.steps, ev.text)
		m.getsOn(j)
	case "resume":
		if ev.n != j.cursor {
			m.fault("%v: the checkpoint is %d", ev, j.cursor)
		}
	case "checkpoint":
		j.cursor = ev.n
		m.getsOn(j)
	case "not planned":
		if j.batch.sealed.IsZero() && !j.batch.forgotten {
			m.fault("%v, whose batch takes items", ev)
		}
	case "reached":
		if ev.n != j.batch.reached || ev.attempts != j.batch.planned {
			m.fault("planner %d is told that %d items are stored, up to %d, not %d up to %d", j.id, ev.attempts, ev.n, j.batch.planned, j.batch.reached)
		}
	case "yield":
		m.planned(j, ev)
	case "end":
		m.ended(j, ev)
	}
}

// getsOn: a long job that gets on is not the cause of crashes.
func (m *simModel) getsOn(j *simJob) { j.crashes, j.suspect = 0, false }

func (m *simModel) attemptsOf(j *simJob) int {
	return cmp.Or(j.maxAttempts, m.kinds[j.kind].attempts)
}

func (m *simModel) started(j *simJob, ev simEvent) {
	if !m.mayStart(j) {
		m.fault("%v, which is %v and may not start", ev, j.state)
	}
	want := simEvent{
		at: ev.at, what: "start", id: j.id, kind: j.kind, body: j.body, queue: j.queue, priority: j.priority,
		attempt: j.failures + 1, attempts: m.attemptsOf(j), schedule: j.schedule, scheduledFor: j.scheduledFor, missed: j.missed,
	}
	if j.batch != nil {
		want.batch = j.batch.id
	}
	if want.batch == 0 && j.role != "" {
		j.batch.id, want.batch = ev.batch, ev.batch // a planner's is its own
	}
	if j.role == "planner" {
		want.batch, j.batch.id = ev.batch, j.id
	}
	if want != ev {
		type plain simEvent
		m.fault("started:\n%+v, should be\n%+v", plain(ev), plain(want))
	}
	j.state, j.started, j.begun = stint.Running, m.now, true
}

// attempted notes an attempt that did not end well.
func (m *simModel) attempted(j *simJob, text string) {
	j.attempts = append(j.attempts, simAttempt{j.failures + 1, text})
	if j.role == "item" {
		j.batch.failed++
	}
}

// ended is what a handler's verdict leads to.
func (m *simModel) ended(j *simJob, ev simEvent) {
	m.checkCause(j, ev)
	if j.role == "planner" {
		if b := j.batch; ev.how == "kill" && b.cancelled == "" && !b.planFailed && m.mayForget(b) {
			m.forget(b)
		}
		m.storeGathered(j.batch)
		if over := j.batch.forgotten || j.batch.cancelled != "" || j.batch.planFailed; over && ev.how == "nil" {
			m.fault("%v, whose batch is over", ev)
		}
		if ev.how == "nil" && j.batch.sealed.IsZero() {
			m.seal(j.batch)
		}
	}
	policy := m.kinds[j.kind]
	switch {
	case ev.how == "nil":
		j.result = ev.text != ""
		m.complete(j)
		return
	case ev.how == "kill", j.cancelled != "":
		reason := ev.text
		if ev.how != "kill" {
			reason = j.cancelled
		}
		m.attempted(j, reason)
		j.failures, j.crashes = j.failures+1, 0
		m.die(j, reason)
		return
	case ev.how == "interrupted", ev.how == "shutdown":
		j.state, j.started = stint.Ready, time.Time{}
		return
	case ev.how == "snooze", ev.how == "slice":
		if ev.how == "snooze" {
			j.snoozes++
		}
		j.state, j.runAt = stint.Scheduled, m.now.Add(ev.delay)
		j.started, j.crashes, j.suspect = time.Time{}, 0, false
		return
	}
	m.attempted(j, ev.text)
	j.failures, j.crashes, j.suspect = j.failures+1, 0, false
	if j.failures >= m.attemptsOf(j) {
		m.die(j, ev.text)
		return
	}
	delay := ev.delay
	if ev.how != "retry after" {
		delay = policy.backoff(j.failures)
	}
	m.queue(j.queue).failed++
	j.state, j.runAt, j.started = stint.Retrying, m.now.Add(delay), time.Time{}
}

// checkCause: what ended the handler's context must have been due.
func (m *simModel) checkCause(j *simJob, ev simEvent) {
	took, timeout := m.now.Sub(j.started), m.kinds[j.kind].timeout
	switch {
	case ev.how == "timeout" && took != timeout, ev.how == "slice" && took < timeout*4/5,
		ev.how == "shutdown" && !m.now.Equal(m.endsAt), ev.how == "interrupted" && m.running,
		ev.how == "cancelled" && j.cancelled == "":
		m.fault("%v after %v, timeout %v, end of Run %v", ev, took, timeout, m.endsAt)
	}
}

// crash: the process ends, and another one opens the file.
func (m *simModel) crash() {
	running := m.inState(stint.Running)
	alone := len(running) == 1 && running[0].suspect
	for _, j := range running {
		j.crashes++
		m.attempted(j, "the process ended while the job was running")
		switch {
		case j.cancelled != "":
			m.die(j, j.cancelled)
		case alone && j.crashes > 2:
			m.die(j, "the process ended")
		default:
			j.state, j.started, j.suspect = stint.Ready, time.Time{}, j.suspect || j.crashes >= 2
		}
	}
	for _, b := range m.batches {
		b.gathered, b.spoilt = nil, 0
	}
}
