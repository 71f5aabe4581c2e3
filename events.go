package stint

import (
	"sync"
	"sync/atomic"
	"time"
)

// Event is one move of a job from one state to another, told after it is on
// disk. From is 0 for a job that was enqueued, To is 0 for one that was
// removed; a job that completes has To Completed also when it is not kept.
type Event struct {
	At    time.Time
	ID    ID
	Kind  string
	Queue string
	From  State
	To    State
}

// Subscription delivers events on C until Close.
type Subscription struct {
	C <-chan Event

	c       chan Event
	dropped atomic.Uint64
	events  *events
}

// Subscribe delivers the events from now on. The queue never waits for a
// subscriber: what does not fit into the buffer of the channel is dropped and
// counted. A buffer below 1 becomes 1000.
func (q *Queue) Subscribe(buffer int) *Subscription {
	if buffer < 1 {
		buffer = 1000
	}
	s := &Subscription{c: make(chan Event, buffer), events: &q.events}
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
	number atomic.Int32
	closed bool
}

// wanted spares the cost of making events nobody gets.
func (ev *events) wanted() bool { return ev.number.Load() > 0 }

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
	ev.number.Add(1)
}

func (ev *events) remove(s *Subscription) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	if ev.subs[s] {
		delete(ev.subs, s)
		ev.number.Add(-1)
		close(s.c)
	}
}

func (ev *events) publish(list []Event) {
	if len(list) == 0 {
		return
	}
	ev.mu.Lock()
	defer ev.mu.Unlock()
	for s := range ev.subs {
		for _, e := range list {
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
	ev.number.Store(0)
}

// announceReturn gathers the event of a claimed job that is ready again
// without a trace in the file.
func (t *txn) announceReturn(e *execution) {
	t.announce(&stored{id: e.id, row: &laneRow{key: e.lane.key}, state: Running}, Ready)
}

// announce gathers the event of a move, if anybody listens.
func (t *txn) announce(j *stored, to State) {
	if !t.q.events.wanted() {
		return
	}
	if j.state == Running && to == gone {
		to = Completed
	}
	t.events = append(t.events, Event{
		At: fromMicros(t.now), ID: ID(j.id), Kind: j.row.key.kind, Queue: j.row.key.queue, From: j.state, To: to,
	})
}
