package stint

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Event is one move of a job from one state to another, or a queue that was
// paused or resumed, told after it is on disk. From is 0 for a job that was
// enqueued, To is 0 for one that was removed; a job that completes has To
// Completed also when it is not kept.
type Event struct {
	At    time.Time
	Type  EventType
	ID    ID
	Kind  string
	Queue string
	From  State
	To    State
}

// EventType is what an Event tells.
type EventType uint8

const (
	JobEnqueued  EventType = iota + 1 // From is 0
	JobReady                          // its time has come, or it was retried or given back
	JobStarted                        // claimed for a worker
	JobCompleted                      //
	JobFailed                         // an attempt failed, and there will be another
	JobSnoozed                        // or it was debounced, or lets others go first
	JobDied                           // To is Dead
	JobRemoved                        // To is 0
	QueuePaused                       // these two have no ID and no Kind
	QueueResumed                      //
	JobMoved                          // into another Queue; From and To are the state it stays in
)

var eventNames = [...]string{
	0: "none", JobEnqueued: "job_enqueued", JobReady: "job_ready", JobStarted: "job_started",
	JobCompleted: "job_completed", JobFailed: "job_failed", JobSnoozed: "job_snoozed", JobDied: "job_died",
	JobRemoved: "job_removed", QueuePaused: "queue_paused", QueueResumed: "queue_resumed", JobMoved: "job_moved",
}

// String is the name of the type in snake case, such as "job_enqueued".
func (e EventType) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return fmt.Sprintf("event_type(%d)", uint8(e))
}

// eventTypes is a set of them.
type eventTypes uint32

func (s eventTypes) has(e EventType) bool { return s&(1<<e) != 0 }

const allEvents = ^eventTypes(0)

// Subscription delivers events on C until Close.
type Subscription struct {
	C <-chan Event

	c       chan Event
	types   eventTypes
	dropped atomic.Uint64
	events  *events
}

// Subscribe delivers the events from now on: those of the types that are
// named, or all if none is. The queue never waits for a subscriber: what does
// not fit into the buffer of the channel is dropped and counted. A buffer
// below 1 becomes 1000.
func (q *Queue) Subscribe(buffer int, types ...EventType) *Subscription {
	if buffer < 1 {
		buffer = 1000
	}
	s := &Subscription{c: make(chan Event, buffer), events: &q.events}
	for _, e := range types {
		s.types |= 1 << e
	}
	if len(types) == 0 {
		s.types = allEvents
	}
	s.C = s.c
	q.events.add(s)
	return s
}

// Dropped is the number of events that did not fit.
func (s *Subscription) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription and closes C. A second Close does nothing.
func (s *Subscription) Close() { s.events.remove(s) }

// events knows the subscriptions.
type events struct {
	mu     sync.Mutex
	subs   map[*Subscription]bool
	types  atomic.Uint32 // eventTypes that anybody wants
	closed bool
}

// wanted spares the cost of making events nobody gets.
func (ev *events) wanted(e EventType) bool { return eventTypes(ev.types.Load()).has(e) }

func (ev *events) add(s *Subscription) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	if ev.closed {
		close(s.c)
		return
	}
	if ev.subs == nil {
		ev.subs = map[*Subscription]bool{}
	}
	ev.subs[s] = true
	ev.types.Or(uint32(s.types))
}

func (ev *events) remove(s *Subscription) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	if ev.subs[s] {
		delete(ev.subs, s)
		close(s.c)
	}
	types := eventTypes(0)
	for other := range ev.subs {
		types |= other.types
	}
	ev.types.Store(uint32(types))
}

func (ev *events) publish(list []Event) {
	if len(list) == 0 {
		return
	}
	ev.mu.Lock()
	defer ev.mu.Unlock()
	for s := range ev.subs {
		for _, e := range list {
			if !s.types.has(e.Type) {
				continue
			}
			select {
			case s.c <- e:
			default:
				s.dropped.Add(1)
			}
		}
	}
}

// close ends all subscriptions, with the queue.
func (ev *events) close() {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	ev.closed = true
	for s := range ev.subs {
		close(s.c)
	}
	ev.subs = nil
	ev.types.Store(0)
}

// announceReturn gathers the event of a claimed job that is ready again
// without a trace in the file.
func (t *txn) announceReturn(e *execution) {
	t.announce(&stored{id: e.id, row: &laneRow{key: e.lane.key}, state: Running}, Ready)
}

// announceMoved gathers the event of a job that has come into another queue.
func (t *txn) announceMoved(j *stored) {
	if t.q.events.wanted(JobMoved) {
		t.events = append(t.events, Event{
			At: fromMicros(t.now), Type: JobMoved, ID: ID(j.id), Kind: j.row.key.kind, Queue: j.row.key.queue, From: j.state, To: j.state,
		})
	}
}

// announce gathers the event of a move, if anybody listens.
func (t *txn) announce(j *stored, to State) {
	if j.state == Running && to == gone {
		to = Completed
	}
	what := eventOf(j.state, to)
	if !t.q.events.wanted(what) {
		return
	}
	t.events = append(t.events, Event{
		At: fromMicros(t.now), Type: what, ID: ID(j.id), Kind: j.row.key.kind, Queue: j.row.key.queue, From: j.state, To: to,
	})
}

// eventOf is what a move is called.
func eventOf(from, to State) EventType {
	if from == gone {
		return JobEnqueued
	}
	return [...]EventType{
		gone: JobRemoved, Ready: JobReady, Scheduled: JobSnoozed, Retrying: JobFailed,
		Running: JobStarted, Completed: JobCompleted, Dead: JobDied,
	}[to]
}

// announceQueue gathers the event of a queue that was paused or resumed.
func (t *txn) announceQueue(what EventType, queue string) {
	if t.q.events.wanted(what) {
		t.events = append(t.events, Event{At: fromMicros(t.now), Type: what, Queue: queue})
	}
}
