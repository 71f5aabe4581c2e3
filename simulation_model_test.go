package stint_test

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/stintq/stint"
)

// The model of TestSimulation: what the documentation promises, in maps and
// slices that are searched from end to end. It shares no code with the queue.
//
//  1. An action of the test does the same to the queue and to the model.
//  2. What time does follows from the state (due): delays end, schedules fire,
//     jobs expire, kept ones go.
//  3. What handlers do comes from their trace. The model says whether a start
//     is allowed, and what an end leads to.

// simJob is a job as the model knows it.
type simJob struct {
	id       stint.ID // 0 until the queue has told it
	kind     string
	body     simBody
	queue    string
	priority int
	tag      string
	state    stint.State // 0: not stored any more

	created, runAt, expires, finished, started time.Time

	maxAttempts, failures, snoozes, crashes int

	attempts  []simAttempt
	reason    string
	cancelled string // told to stop while it runs
	begun     bool   // an attempt has started
	suspect   bool   // runs alone

	steps  []string
	cursor int // 0: no checkpoint
	result bool

	place string
	mode  string
	until time.Time // of its place, for a period

	schedule     string
	scheduledFor time.Time
	missed       int

	batch *simBatch
	role  string // item, end or planner
}

type simAttempt struct {
	number int
	text   string
}

// simPlace is what Unique holds.
type simPlace struct {
	holder *simJob
	mode   string
	until  time.Time
}

type simQueue struct {
	paused            bool
	by                string
	since             time.Time
	processed, failed int
}

// simPolicy is the policy of a kind in this life of the process.
type simPolicy struct {
	handled     bool
	attempts    int
	backoff     func(failure int) time.Duration
	timeout     time.Duration
	queue       string
	priority    int
	concurrency int
}

type simModel struct {
	now       time.Time
	running   bool // Run is
	cfg       stint.Config
	kinds     map[string]simPolicy
	jobs      []*simJob // stored ones, oldest first
	places    map[string]simPlace
	queues    map[string]*simQueue
	schedules map[string]*simSchedule
	order     []string // of the schedules' registrations in this life
	batches   []*simBatch
	items     map[string]*simJob // unfinished items, by kind and args
	effects   map[string]int
	died      int
	endsAt    time.Time // of the shutdown under way: handlers are told then

	fault func(format string, args ...any)
}

func newSimModel(fault func(string, ...any)) *simModel {
	return &simModel{
		now:       simNow(),
		places:    map[string]simPlace{},
		queues:    map[string]*simQueue{},
		schedules: map[string]*simSchedule{},
		items:     map[string]*simJob{},
		effects:   map[string]int{},
		fault:     fault,
	}
}

func simNow() time.Time { return time.Now().UTC().Round(0) }

func (m *simModel) queue(name string) *simQueue {
	if m.queues[name] == nil {
		m.queues[name] = &simQueue{}
	}
	return m.queues[name]
}

// job is the stored job with an id, or nil.
func (m *simModel) job(id stint.ID) *simJob {
	for _, j := range m.jobs {
		if j.id == id && id != 0 {
			return j
		}
	}
	return nil
}

func simUnfinished(s stint.State) bool {
	return s == stint.Ready || s == stint.Scheduled || s == stint.Retrying || s == stint.Running
}

// simArgsKey tells equal args from others.
func simArgsKey(kind string, body simBody) string {
	b, _ := json.Marshal(body)
	return kind + " " + string(b)
}

func (m *simModel) placeOf(kind string, body simBody, o simOptions) string {
	switch {
	case o.unique == "":
		return ""
	case o.key != "":
		return kind + " by key " + o.key
	case o.folds():
		return kind + " folds"
	}
	return simArgsKey(kind, body)
}

// holder is the job that holds a place now.
func (m *simModel) holder(place string) *simJob {
	p, held := m.places[place]
	switch {
	case !held, p.mode == "period" && !p.until.After(m.now), p.mode == "waiting" && p.holder.state == stint.Running:
		return nil
	}
	return p.holder
}

// enqueue stores a job, folds it into another, which it returns, or refuses.
func (m *simModel) enqueue(kind string, body simBody, o simOptions) (*simJob, error) {
	place := m.placeOf(kind, body, o)
	if place != "" {
		if holder := m.holder(place); holder != nil {
			if free, err := m.fold(place, holder, body, o); !free {
				return holder, err
			}
		}
	}
	policy := m.kinds[kind]
	j := &simJob{
		kind: kind, body: body, queue: "default", priority: 2, tag: o.tag, maxAttempts: o.attempts,
		created: m.now, state: stint.Ready, place: place, mode: o.mode(),
	}
	if policy.handled {
		j.queue, j.priority = policy.queue, policy.priority
	}
	if o.queue != "" {
		j.queue = o.queue
	}
	if o.priority != 0 {
		j.priority = o.priority
	}
	delay := o.in
	if o.unique == "debounce" {
		delay = simQuiet
	}
	if delay > 0 {
		j.state, j.runAt = stint.Scheduled, m.now.Add(delay)
	}
	if o.expires > 0 {
		j.expires = m.now.Add(o.expires)
	}
	if place != "" {
		if j.mode == "period" {
			j.until = m.now.Add(o.period)
		}
		m.places[place] = simPlace{j, j.mode, j.until}
	}
	m.add(j)
	return j, nil
}

func (m *simModel) add(j *simJob) {
	m.jobs = append(m.jobs, j)
	m.queue(j.queue)
}

// fold is what happens at a place that is held.
func (m *simModel) fold(place string, holder *simJob, body simBody, o simOptions) (free bool, err error) {
	if !o.folds() {
		return false, stint.ErrDuplicate
	}
	engaged := holder.batch != nil || len(holder.steps) > 0 || holder.cursor > 0
	switch {
	case !simUnfinished(holder.state) || holder.state == stint.Running || engaged:
		if m.places[place].mode != "waiting" {
			return false, stint.ErrDuplicate
		}
		return true, nil
	case m.expired(holder):
		m.expire(holder)
		return true, nil
	}
	if o.unique == "merge" {
		body = simMerge(holder.body, body)
	}
	holder.body = body
	if o.unique == "debounce" && holder.state == stint.Scheduled {
		at := m.now.Add(simQuiet)
		if most := holder.created.Add(simMost); at.After(most) {
			at = most
		}
		if at.After(holder.runAt) {
			holder.runAt = at
		}
	}
	return false, nil
}

func (m *simModel) expired(j *simJob) bool {
	return !j.expires.IsZero() && !j.expires.After(m.now) && !j.begun && j.state != stint.Running && simUnfinished(j.state)
}

func (m *simModel) expire(j *simJob) { m.die(j, "expired: it had not started by ") }

// die makes a job dead, and keeps no more dead ones than Config says.
func (m *simModel) die(j *simJob, reason string) {
	if j.state == stint.Running {
		m.queue(j.queue).failed++
	}
	m.died++
	j.reason = reason
	m.end(j, stint.Dead, true)
	if m.cfg.MaxDead == 0 {
		return
	}
	dead := m.inState(stint.Dead)
	slices.SortStableFunc(dead, func(a, b *simJob) int {
		if a.id == 0 || b.id == 0 {
			return a.finished.Compare(b.finished)
		}
		return cmp.Or(a.finished.Compare(b.finished), cmp.Compare(a.id, b.id))
	})
	for len(dead) > m.cfg.MaxDead {
		m.remove(dead[0])
		dead = dead[1:]
	}
}

func (m *simModel) inState(s stint.State) (found []*simJob) {
	for _, j := range m.jobs {
		if j.state == s {
			found = append(found, j)
		}
	}
	return found
}

// complete ends a job well.
func (m *simModel) complete(j *simJob) {
	m.queue(j.queue).processed++
	m.end(j, stint.Completed, m.cfg.KeepCompleted != 0 || j.result)
}

// end is any end of a job: it gives up its place, and batch and schedule are
// told.
func (m *simModel) end(j *simJob, as stint.State, keep bool) {
	from := j.state
	mine := m.places[j.place].holder == j
	switch {
	case simUnfinished(from) && mine && !(as == stint.Completed && j.mode == "period"):
		delete(m.places, j.place)
	case from == stint.Completed && mine:
		delete(m.places, j.place)
	}
	j.state, j.finished, j.started, j.suspect = as, m.now, time.Time{}, false
	if !keep {
		m.remove(j)
	}
	if simUnfinished(from) {
		m.tellKin(j, as)
	}
}

// remove forgets a job without a word to anybody.
func (m *simModel) remove(j *simJob) {
	j.state = 0
	m.jobs = slices.DeleteFunc(m.jobs, func(other *simJob) bool { return other == j })
}

func (m *simModel) tellKin(j *simJob, as stint.State) {
	if j.batch != nil {
		m.memberEnded(j, as)
	}
	if j.schedule == "" {
		return
	}
	if j.role == "planner" {
		if b := m.batchOf(j); b != nil {
			if b.ended.IsZero() {
				return
			}
			as = b.outcome()
		}
	}
	m.runEnded(j, as)
}

// retry is the verb.
func (m *simModel) retry(j *simJob) error {
	switch {
	case j.state == stint.Running:
		return stint.ErrRunning
	case j.state == stint.Ready:
		return errSimPassed
	}
	from := j.state
	if !simUnfinished(from) {
		if j.place != "" {
			if holder := m.holder(j.place); holder != nil && holder != j {
				return stint.ErrDuplicate
			}
			m.places[j.place] = simPlace{j, j.mode, j.until}
		}
		j.expires = time.Time{}
	}
	if from == stint.Completed {
		j.steps, j.cursor, j.result = nil, 0, false
	}
	j.state, j.reason, j.cancelled, j.crashes = stint.Ready, "", "", 0
	j.runAt, j.finished = time.Time{}, time.Time{}
	if !simUnfinished(from) {
		m.livesAgain(j, from)
	}
	return nil
}

// stop is Kill and Cancel, with the reason they give.
func (m *simModel) stop(j *simJob, reason string) error {
	switch {
	case !simUnfinished(j.state):
		return errSimPassed
	case j.state == stint.Running:
		j.cancelled = reason
	default:
		m.die(j, reason)
	}
	return nil
}

// move takes a job to another queue.
func (m *simModel) move(j *simJob, queue string) error {
	switch {
	case j.queue == queue:
		return errSimPassed
	case j.state == stint.Running:
		return stint.ErrRunning
	}
	j.queue = queue
	m.queue(queue)
	return nil
}

func (m *simModel) delete(j *simJob) error {
	if j.state == stint.Running {
		return stint.ErrRunning
	}
	m.end(j, 0, false)
	return nil
}
