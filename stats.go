package stint

import (
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Counts is the number of jobs in each state.
type Counts struct {
	Ready     int // including Parked
	Scheduled int
	Retrying  int
	Running   int
	Completed int // that are kept
	Dead      int
	Parked    int // Ready, but no handler for their kind is registered
}

func (c *Counts) add(other Counts) {
	c.Ready += other.Ready
	c.Scheduled += other.Scheduled
	c.Retrying += other.Retrying
	c.Running += other.Running
	c.Completed += other.Completed
	c.Dead += other.Dead
	c.Parked += other.Parked
}

// QueueInfo describes one named queue.
type QueueInfo struct {
	Name string
	Counts
	Processed uint64 // jobs completed since the file was made
	Failed    uint64 // attempts that failed since then

	Paused      bool
	PausedBy    string
	PausedSince time.Time

	OldestWait time.Duration // how long the first of its ready jobs has been waiting

	Workers int // of its own, see QueueConfig and SetWorkers; 0 for no limit of its own
}

// Stats is a summary of the queue. Totals are since the file was made, the
// times are of the last 1000 jobs that completed in this process.
type Stats struct {
	Counts
	Processed uint64 // jobs completed
	Failed    uint64 // attempts that failed
	Died      uint64 // jobs that became Dead

	WaitP50, WaitP99 time.Duration // from when a job could run to its start
	RunP50, RunP99   time.Duration // of the handler
	OldestWait       time.Duration // of the jobs that are ready now
	Stuck            int           // running far beyond their timeout
	Quarantined      int           // records that could not be read and were set aside
	Wakeups          uint64        // times the queue's timer fired in this process, as something was due

	Workers  int       // see Config.Workers and SetWorkers
	Working  bool      // Run is working the queue
	OpenedAt time.Time // when this process has opened the file

	FileSize int64 // in bytes
	FileFree int64 // bytes of it that hold nothing, which new jobs use first and Compact gives back

	// What was written into the file since it was opened, the application's
	// own transactions included, but not what Compact and Repair write. By the
	// number of jobs they tell what a job costs the disk, on any machine.
	Syncs        uint64 // two to a commit, without the one after the file was made longer
	PagesWritten uint64
	BytesWritten uint64 // bbolt writes whole pages
}

// Counts is the number of jobs by state, as of the last commit; what a
// transaction of the application has changed counts a moment after it. It
// reads memory only.
func (q *Queue) Counts() Counts {
	q.mu.RLock()
	defer q.mu.RUnlock()
	var sum Counts
	for _, ln := range q.lanes {
		sum.add(q.countsOf(ln))
	}
	for range q.live {
		sum.Running++
		sum.Ready--
	}
	sum.Ready = max(sum.Ready, 0) // CompleteTx is seen a moment late
	return sum
}

// countsOf is what a lane has, with its running jobs among the ready ones.
func (q *Queue) countsOf(ln *lane) Counts {
	c := Counts{
		Ready:     int(ln.n[Ready]),
		Scheduled: int(ln.n[Scheduled]),
		Retrying:  int(ln.n[Retrying]),
		Completed: int(ln.n[Completed]),
		Dead:      int(ln.n[Dead]),
	}
	if q.handlers[ln.key.kind] == nil {
		c.Parked = c.Ready
	}
	return c
}

// Queues describes all queues that have ever had a job or are named in the
// Config or in a call of SetWorkers, by name.
func (q *Queue) Queues() []QueueInfo {
	q.mu.RLock()
	byName := map[string]*QueueInfo{}
	info := func(name string) *QueueInfo {
		if byName[name] == nil {
			byName[name] = &QueueInfo{Name: name}
		}
		return byName[name]
	}
	for name, cfg := range q.cfg.Queues {
		info(name).Workers = cfg.Workers
	}
	for _, qs := range q.commit.queues {
		qi := info(qs.name)
		if qi.Workers = 0; qs.limited.Load() {
			qi.Workers = qs.limit
		}
		if qs.pause.since != 0 {
			qi.Paused, qi.PausedBy, qi.PausedSince = true, qs.pause.by, fromMicros(qs.pause.since)
		}
	}
	for _, ln := range q.lanes {
		qi := info(ln.key.queue)
		qi.add(q.countsOf(ln))
		qi.Processed += uint64(ln.n[totalProcessed])
		qi.Failed += uint64(ln.n[totalFailed])
	}
	for _, e := range q.live {
		qi := info(e.rec.queue)
		qi.Running++
		qi.Ready--
	}
	for _, qi := range byName {
		qi.Ready = max(qi.Ready, 0)
	}
	q.mu.RUnlock()

	list := make([]QueueInfo, 0, len(byName))
	oldest := q.oldestWaits()
	for _, qi := range byName {
		qi.OldestWait = oldest[qi.Name]
		list = append(list, *qi)
	}
	slices.SortFunc(list, func(a, b QueueInfo) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Stats is a summary. It reads memory, and from the file the first ready job
// of each queue, kind and priority, for OldestWait; Counts reads memory only.
func (q *Queue) Stats() Stats {
	s := Stats{Counts: q.Counts(), Wakeups: q.commit.wakeups.Load(), OpenedAt: q.opened}
	q.mu.RLock()
	s.Working = q.runner != nil
	for _, ln := range q.lanes {
		s.Processed += uint64(ln.n[totalProcessed])
		s.Failed += uint64(ln.n[totalFailed])
		s.Died += uint64(ln.n[totalDied])
	}
	for _, e := range q.live {
		if e.stuck.Load() {
			s.Stuck++
		}
	}
	s.Workers = q.commit.workers
	q.mu.RUnlock()
	for _, wait := range q.oldestWaits() {
		s.OldestWait = max(s.OldestWait, wait)
	}
	q.stats.fill(&s)
	q.store.fill(&s)
	return s
}

// sum is the number of jobs in a state, as of the last commit.
func (q *Queue) sum(state State) (n int) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	for _, ln := range q.lanes {
		n += int(ln.n[state])
	}
	return n
}

// oldestWaits looks up, for each queue, since when its first ready job that
// is not running has been waiting.
func (q *Queue) oldestWaits() map[string]time.Duration {
	q.mu.RLock()
	lanes := map[uint32]string{} // their queues
	for key, ln := range q.lanes {
		if ln.n[Ready] > 0 {
			lanes[ln.id] = key.queue
		}
	}
	q.mu.RUnlock()

	waits := map[string]time.Duration{}
	now := time.Now()
	_ = q.store.view(func(tx *bolt.Tx) error { // without the file there is no wait to tell
		r := newReader(q, tx)
		for id, queue := range lanes {
			r.walkLane(id, 0, false, func(id uint64) bool {
				if q.liveJob(id) != nil {
					return true
				}
				rec, err := r.record(id)
				if err != nil {
					return true
				}
				since := fromMicros(max(rec.created, rec.runAt))
				waits[queue] = max(waits[queue], now.Sub(since))
				return false
			})
		}
		return nil
	})
	return waits
}

// stats keeps the last samples of completed jobs.
type stats struct {
	mu          sync.Mutex
	recent      [1000]timing
	n           int // of all samples
	quarantined int
}

func (s *stats) learn(t *txn) {
	if len(t.samples) == 0 && t.quarantined == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range t.samples {
		if one := &t.samples[i]; one.as == attemptCompleted {
			s.recent[s.n%len(s.recent)] = one.timing
			s.n++
		}
	}
	s.quarantined += t.quarantined
}

// aside is the number of records in quarantine.
func (s *stats) aside() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quarantined
}

func (s *stats) fill(out *Stats) {
	s.mu.Lock()
	recent := slices.Clone(s.recent[:min(s.n, len(s.recent))])
	out.Quarantined = s.quarantined
	s.mu.Unlock()
	if len(recent) == 0 {
		return
	}
	waits, runs := make([]time.Duration, len(recent)), make([]time.Duration, len(recent))
	for i, one := range recent {
		waits[i], runs[i] = one.wait, one.run
	}
	slices.Sort(waits)
	slices.Sort(runs)
	out.WaitP50, out.WaitP99 = waits[len(waits)/2], waits[len(waits)*99/100]
	out.RunP50, out.RunP99 = runs[len(runs)/2], runs[len(runs)*99/100]
}
