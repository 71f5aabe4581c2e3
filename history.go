package stint

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Period is what was done in one stretch of time.
type Period struct {
	Start  time.Time
	Length time.Duration
	Tally  // of all kinds together

	Kinds  map[string]Tally // by kind; beyond 64 kinds, the rest under ""
	Queues map[string]Flow  // by queue; beyond 64 queues, the rest under ""
}

// Tally is what became of jobs in a Period.
type Tally struct {
	Enqueued  uint64
	Completed uint64
	Failed    uint64    // attempts that failed, the last of a job that became Dead among them
	Died      uint64    // jobs that became Dead, also those that were killed or expired
	Run       Histogram // how long handlers took, in seconds, however they ended
}

// Flow is how jobs of a queue waited in a Period.
type Flow struct {
	Wait  Histogram // from when a job could run to its start, in seconds; told when its handler has ended
	Ready int       // jobs that waited at the end of the Period
}

// History is what was done since a time, oldest Period first, the last one
// still under way. step is time.Minute, kept for 2 hours, 10*time.Minute, kept
// for 72 hours, or 24*time.Hour, kept for 180 days and beginning at midnight
// UTC; anything else is ErrBadOption. Periods in which nothing happened and
// nothing waited are left out. A job is counted in the Period of the commit
// that has stored what became of it, by the clock of that moment: after a
// clock was set back there may be Periods later than now.
//
// It is written into the file by commits that happen anyway, once a minute,
// and by Close: a crash loses what came after the last of these. An idle queue
// writes nothing. Periods that cannot be read are left out, and the error then
// is ErrCorrupt.
func (q *Queue) History(step time.Duration, since time.Time) ([]Period, error) {
	length, err := stretchOf(step)
	if err != nil {
		return nil, err
	}
	for tries := 1; ; tries++ {
		now := micros(time.Now())
		from := length.startOf(max(micros(since), now-length.keep))
		found := map[int64]*activity{}
		var damage []error
		var writes uint64
		err := q.store.view(func(tx *bolt.Tx) error {
			b := newReader(q, tx).bucket(bucketHistory)
			writes, damage = b.Sequence(), readActivities(b, length, from, found)
			return nil
		})
		if err != nil {
			return nil, q.readError(err)
		}
		ready := q.readyByQueue() // before: these locks are taken one by one
		if !q.history.addTo(found, length, from, writes, ready) {
			if tries < maxViews {
				continue // the view is older than what memory still has
			}
			damage = append(damage, fmt.Errorf("%w: the history in the file does not count its writes any more, so the last minutes are not told until the next ones are written", ErrCorrupt))
		}
		present := length.startOf(now)
		if found[present] == nil {
			found[present] = newActivity(present)
		}
		found[present].setReady(ready)
		return periodsOf(found, length, from, present), q.readError(errors.Join(damage...))
	}
}

// maxViews bounds how often a reader tries to be quicker than the writes, of
// which there is one in a minute.
const maxViews = 3

// readActivities reads the entries of a length since a time, and the one before,
// which tells what waited until the first of them. A time before which nothing
// was read has none.
func readActivities(b *bolt.Bucket, length *stretch, from int64, into map[int64]*activity) (damage []error) {
	cur, first := b.Cursor(), length.key(nil, from)
	step := cur.Prev
	if k, _ := cur.Seek(first); k == nil {
		step = cur.Last
	}
	if k, v := step(); length.owns(k) {
		if s, err := readActivity(k, v); err == nil {
			into[s.start] = s
		}
	}
	for k, v := cur.Seek(first); length.owns(k); k, v = cur.Next() {
		s, err := readActivity(k, v)
		if err != nil {
			damage = append(damage, err)
			continue
		}
		into[s.start] = s
	}
	return damage
}

// addTo adds what no write up to this one has to the entries of the file. It
// reports false if it does not know that any more.
func (h *history) addTo(found map[int64]*activity, length *stretch, from int64, writes uint64, ready map[string]int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if writes < h.dropped {
		return false
	}
	for _, s := range slices.Concat(h.written, h.past, []*activity{h.present}) {
		if s == nil || s.write != 0 && s.write <= writes || length.startOf(s.start) < from {
			continue
		}
		start := length.startOf(s.start)
		if found[start] == nil {
			found[start] = newActivity(start)
		}
		if found[start].merge(s); s == h.present {
			found[start].setReady(ready) // nothing has changed since
		}
	}
	return true
}

// periodsOf makes Periods of entries. Where there is none, nothing has changed:
// what waited before still waited.
func periodsOf(found map[int64]*activity, length *stretch, from, now int64) (periods []Period) {
	starts := slices.Sorted(maps.Keys(found))
	add := func(s *activity) {
		if p := s.period(length); s.start >= from && (p.Tally.any() || len(p.Queues) > 0) {
			periods = append(periods, p)
		}
	}
	for i, start := range starts {
		s := found[start]
		add(s)
		next := now + 1
		if i+1 < len(starts) {
			next = min(next, starts[i+1])
		}
		waited := s.waiting()
		if waited == nil {
			continue
		}
		for waited.start = max(start+length.long, from); waited.start < next; waited.start += length.long {
			add(waited)
		}
	}
	return periods
}

// stretch is a length of Periods.
type stretch struct {
	code byte  // first byte of its keys
	long int64 // in microseconds
	keep int64
}

var stretches = [...]stretch{
	{'a', time.Minute.Microseconds(), (2 * time.Hour).Microseconds()},
	{'b', (10 * time.Minute).Microseconds(), (72 * time.Hour).Microseconds()},
	{'c', (24 * time.Hour).Microseconds(), (180 * 24 * time.Hour).Microseconds()},
}

func stretchOf(step time.Duration) (*stretch, error) {
	for i := range stretches {
		if stretches[i].long == step.Microseconds() {
			return &stretches[i], nil
		}
	}
	return nil, fmt.Errorf("%w: there is no History in steps of %v; give time.Minute, 10*time.Minute or 24*time.Hour", ErrBadOption, step)
}

// startOf is the start of the Period that a time is in. A clock that nobody has
// set yet may be before 1970, which is counted as the first minute after.
func (l *stretch) startOf(at int64) int64 {
	at = max(at, 0)
	return at - at%l.long
}
