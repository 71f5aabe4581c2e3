package stint_test

import (
	"slices"
	"time"

	"github.com/stintq/stint"
)

// Batches in the model of TestSimulation.

type simBatch struct {
	id      stint.ID // 0 until the queue has told it
	name    string
	planner *simJob // nil for EnqueueBatch
	repeat  bool
	onDone  bool
	end     *simJob // the OnDone job

	planned, done, dead, removed, failed, skipped, bad int

	started, sealed, ended time.Time
	planFailed             bool
	cancelled              string // by whom
	forgotten              bool   // it ended too long ago

	schedule     string
	scheduledFor time.Time

	had      map[string]bool // finished items that the planner may yield again
	gathered []simBody       // yielded and not stored yet
	spoilt   int             // bad items among those
	since    time.Time       // when the first of them came
	reached  int             // N of the last item stored or passed over
}

func (m *simModel) makeBatch(b *simBatch) {
	b.started, b.had = m.now, map[string]bool{}
	if b.planner != nil {
		b.planner.batch, b.planner.role = b, "planner"
	}
	m.batches = append(m.batches, b)
}

// batchOf is the batch that a job plans, or nil.
func (m *simModel) batchOf(planner *simJob) *simBatch {
	for _, b := range m.batches {
		if b.planner == planner {
			return b
		}
	}
	return nil
}

// mayForget says whether a batch ended long enough ago. Just when it goes is
// not promised.
func (m *simModel) mayForget(b *simBatch) bool {
	return !b.ended.IsZero() && !b.ended.Add(30*24*time.Hour).After(m.now)
}

func (m *simModel) forget(b *simBatch) {
	b.forgotten = true
	m.batches = slices.DeleteFunc(m.batches, func(other *simBatch) bool { return other == b })
}

func (b *simBatch) live() int { return b.planned - b.done - b.dead - b.removed }

func (b *simBatch) outcome() stint.State {
	if b.cancelled != "" || b.planFailed {
		return stint.Dead
	}
	return stint.Completed
}

// remembers says whether a finished item is still passed over.
func (b *simBatch) remembers() bool {
	return b.ended.IsZero() && (b.sealed.IsZero() || b.planFailed && b.cancelled == "")
}

// item stores one item, unless there is an equal one.
func (m *simModel) item(b *simBatch, kind string, body simBody, o simOptions) *simJob {
	key := simArgsKey(kind, body)
	if !b.repeat && (m.items[key] != nil || b.had[key]) {
		b.skipped++
		return nil
	}
	j, _ := m.enqueue(kind, body, o)
	j.batch, j.role = b, "item"
	b.planned++
	if !b.repeat {
		m.items[key] = j
	}
	return j
}

// endBatch ends a batch that is over.
func (m *simModel) endBatch(b *simBatch) {
	if !b.ended.IsZero() || b.sealed.IsZero() || b.live() > 0 {
		return
	}
	b.ended, b.had = m.now, nil
	if b.onDone {
		j := &simJob{kind: "done", queue: "default", priority: 2, created: m.now, state: stint.Ready, batch: b, role: "end"}
		m.add(j)
		b.end = j
	}
	if b.planner != nil {
		m.runEnded(b.planner, b.outcome())
	}
}

func (m *simModel) seal(b *simBatch) {
	b.sealed = m.now
	m.endBatch(b)
}

func (b *simBatch) count(as stint.State) *int {
	switch as {
	case stint.Completed:
		return &b.done
	case stint.Dead:
		return &b.dead
	}
	return &b.removed
}

// memberEnded is the end of an item or a planner.
func (m *simModel) memberEnded(j *simJob, as stint.State) {
	b := j.batch
	if b.forgotten {
		return
	}
	switch j.role {
	case "item":
		*b.count(as)++
		if key := simArgsKey(j.kind, j.body); !b.repeat && m.items[key] == j {
			delete(m.items, key)
			if b.remembers() {
				b.had[key] = true
			}
		}
		m.endBatch(b)
	case "planner":
		if b.sealed.IsZero() {
			b.planFailed = true
			m.seal(b)
		}
	}
}

// livesAgain is a job that was retried after its end.
func (m *simModel) livesAgain(j *simJob, from stint.State) {
	b := j.batch
	switch {
	case b == nil || b.forgotten:
	case j.role == "item":
		*b.count(from)--
		if key := simArgsKey(j.kind, j.body); !b.repeat && m.items[key] == nil {
			m.items[key] = j
		}
	case j.role == "planner" && from == stint.Dead && b.ended.IsZero() && b.planFailed && b.cancelled == "":
		b.sealed, b.planFailed = time.Time{}, false
	}
	if j.schedule != "" {
		m.runEnded(j, stint.Ready)
	}
}

// planned is what a planner yields: an item, or one that is bad. Items of a
// second are stored together.
func (m *simModel) planned(j *simJob, ev simEvent) {
	b := j.batch
	if ev.how == "bad" {
		b.spoilt++
		return
	}
	if len(b.gathered) == 0 {
		b.since = m.now
	}
	b.gathered = append(b.gathered, ev.body)
	if m.now.Sub(b.since) >= time.Second {
		m.storeGathered(b)
	}
}

func (m *simModel) storeGathered(b *simBatch) {
	gathered, spoilt := b.gathered, b.spoilt
	b.gathered, b.spoilt = nil, 0
	if !b.sealed.IsZero() {
		return // cancelled meanwhile
	}
	b.bad += spoilt
	for _, body := range gathered {
		m.item(b, simItemKind, body, simOptions{})
		b.reached = body.N
	}
}

// cancelBatch is CancelBatch.
func (m *simModel) cancelBatch(b *simBatch, by string) {
	if !b.ended.IsZero() {
		return
	}
	if b.cancelled == "" {
		b.cancelled = by
		if b.sealed.IsZero() {
			b.sealed = m.now
		}
		if b.planner != nil {
			_ = m.stop(b.planner, "cancelled by "+by)
		}
		m.endBatch(b)
	}
	if !b.ended.IsZero() {
		return
	}
	for _, j := range slices.Backward(slices.Clone(m.jobs)) {
		if j.batch == b && j.role == "item" {
			_ = m.stop(j, "cancelled by "+by)
		}
	}
}
