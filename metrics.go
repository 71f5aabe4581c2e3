package stint

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Metrics are totals since this process has opened the file, for monitoring.
// Reading them costs memory only.
type Metrics struct {
	Kinds  []KindMetrics // that something was done with, by queue, then kind
	Queues []QueueMetrics

	CommitTime Histogram // how long commits of the queue took, in seconds
	CommitJobs Histogram // how many changes shared a commit
	Recovered  uint64    // jobs found running at Open, as the process before had died
}

// KindMetrics are of the jobs of one kind in one queue.
type KindMetrics struct {
	Queue, Kind string

	Enqueued    uint64
	Completed   uint64
	Failed      uint64 // attempts that failed and are tried again
	Snoozed     uint64
	Interrupted uint64 // attempts given back by a shutdown, or to let others run
	Cancelled   uint64 // jobs that Cancel, CancelBatch or Kill has ended
	Died        uint64 // jobs that became Dead otherwise

	Run Histogram // how long handlers took, in seconds, however they ended
}

// QueueMetrics are of the jobs of one queue.
type QueueMetrics struct {
	Queue string
	Wait  Histogram // from when a job could run to its start, in seconds; told when its handler has ended
}

// Metrics returns a copy of the totals. What a transaction of the application
// has changed counts a moment after it.
func (q *Queue) Metrics() Metrics {
	m := &q.metrics
	m.mu.Lock()
	defer m.mu.Unlock()
	out := Metrics{CommitTime: m.commitTime.histogram(), CommitJobs: m.commitJobs.histogram(), Recovered: uint64(m.recovered)}
	for key, k := range m.kinds {
		out.Kinds = append(out.Kinds, KindMetrics{
			Queue: key.queue, Kind: key.kind,
			Enqueued: k.enqueued, Completed: k.completed, Failed: k.failed, Snoozed: k.snoozed,
			Interrupted: k.interrupted, Cancelled: k.cancelled, Died: k.died,
			Run: k.run.histogram(),
		})
	}
	slices.SortFunc(out.Kinds, func(a, b KindMetrics) int {
		return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Kind, b.Kind))
	})
	for name, waits := range m.waits {
		out.Queues = append(out.Queues, QueueMetrics{Queue: name, Wait: waits.histogram()})
	}
	slices.SortFunc(out.Queues, func(a, b QueueMetrics) int { return cmp.Compare(a.Queue, b.Queue) })
	return out
}

// metrics counts. There are no more entries than lanes.
type metrics struct {
	mu         sync.Mutex
	kinds      map[meterKey]*kindMeter
	waits      map[string]*durations
	commitTime durations
	commitJobs sizes
	recovered  int
}

type meterKey struct{ queue, kind string }

type kindMeter struct {
	enqueued, completed, failed, snoozed, interrupted, cancelled, died uint64

	run durations
}

// of is where a kind in a queue, and the waits of the queue, are counted. m.mu
// is held.
func (m *metrics) of(queue, kind string) (*kindMeter, *durations) {
	if m.kinds == nil {
		m.kinds, m.waits = map[meterKey]*kindMeter{}, map[string]*durations{}
	}
	key := meterKey{queue, kind}
	if m.kinds[key] == nil {
		m.kinds[key] = &kindMeter{}
	}
	if m.waits[queue] == nil {
		m.waits[queue] = &durations{}
	}
	return m.kinds[key], m.waits[queue]
}

// committed counts a commit.
func (m *metrics) committed(changes int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commitTime.add(classOf(took), took.Seconds())
	m.commitJobs.add(changes)
}
