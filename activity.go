package stint

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// activity is a Period as it is counted and stored: in memory one of a minute, in
// the file one of each stretch.
type activity struct {
	start  int64
	kinds  map[string]*kindActivity
	queues map[string]*queueActivity

	write uint64 // the write into the file that has it, 0 for none yet
}

// kindActivity is the Tally of a kind.
type kindActivity struct {
	n   [countsOfKind]uint64
	run durations
}

const (
	countEnqueued = iota
	countCompleted
	countFailed
	countDied
	countsOfKind
)

// queueActivity is the Flow of a queue.
type queueActivity struct {
	ready uint64
	wait  durations
}

// activityNames is how many kinds, and how many queues, an activity tells apart.
const activityNames = 64

func newActivity(start int64) *activity {
	return &activity{start: start, kinds: map[string]*kindActivity{}, queues: map[string]*queueActivity{}}
}

func (s *activity) kind(name string) *kindActivity { return named(s.kinds, name) }

func (s *activity) queue(name string) *queueActivity { return named(s.queues, name) }

// named is the entry of a name, or of "" for the names that are too many.
func named[T any](all map[string]*T, name string) *T {
	one := all[name]
	if one != nil {
		return one
	}
	if _, rest := all[""]; name != "" && (len(all) > activityNames || len(all) == activityNames && !rest) {
		return named(all, "")
	}
	one = new(T)
	all[name] = one
	return one
}

// merge adds what came later.
func (s *activity) merge(later *activity) {
	for name, from := range later.kinds {
		into := s.kind(name)
		for i, n := range from.n {
			into.n[i] += n
		}
		into.run.merge(&from.run)
	}
	for _, into := range s.queues {
		into.ready = 0
	}
	for name, from := range later.queues {
		into := s.queue(name)
		into.ready += from.ready
		into.wait.merge(&from.wait)
	}
}

// setReady sets which jobs wait at the end of the activity, by queue.
func (s *activity) setReady(jobs map[string]int) {
	for _, into := range s.queues {
		into.ready = 0
	}
	for name, n := range jobs {
		s.queue(name).ready += uint64(n)
	}
}

// waiting is an activity in which nothing happened, and the same jobs wait as at
// the end of this one; nil if there are none.
func (s *activity) waiting() *activity {
	w := newActivity(s.start)
	for name, in := range s.queues {
		if in.ready > 0 {
			w.queue(name).ready = in.ready
		}
	}
	if len(w.queues) == 0 {
		return nil
	}
	return w
}

// period is the activity as the API has it.
func (s *activity) period(length *stretch) Period {
	p := Period{Start: fromMicros(s.start), Length: time.Duration(length.long) * time.Microsecond, Kinds: map[string]Tally{}, Queues: map[string]Flow{}}
	var all kindActivity
	for name, in := range s.kinds {
		if one := in.tally(); one.any() {
			p.Kinds[name] = one
			for i, n := range in.n {
				all.n[i] += n
			}
			all.run.merge(&in.run)
		}
	}
	p.Tally = all.tally()
	for name, in := range s.queues {
		if *in != (queueActivity{}) {
			p.Queues[name] = Flow{Wait: in.wait.histogram(), Ready: int(min(in.ready, math.MaxInt))}
		}
	}
	return p
}

func (k *kindActivity) tally() Tally {
	return Tally{
		Enqueued: k.n[countEnqueued], Completed: k.n[countCompleted], Failed: k.n[countFailed], Died: k.n[countDied],
		Run: k.run.histogram(),
	}
}

func (t *Tally) any() bool {
	return t.Enqueued != 0 || t.Completed != 0 || t.Failed != 0 || t.Died != 0 || t.Run.Counts != nil
}

// encode is the number of kinds and what is counted of each, then the number of
// queues and what is counted of each. What is empty is left out.
func (s *activity) encode() []byte {
	var b []byte
	n := 0
	for name, in := range s.kinds {
		if *in == (kindActivity{}) {
			continue
		}
		n++
		b = appendText(b, name)
		for _, count := range in.n {
			b = binary.AppendUvarint(b, count)
		}
		b = in.run.appendTo(b)
	}
	b = append(binary.AppendUvarint(nil, uint64(n)), b...)
	var queues []byte
	n = 0
	for name, in := range s.queues {
		if *in == (queueActivity{}) {
			continue
		}
		n++
		queues = binary.AppendUvarint(appendText(queues, name), in.ready)
		queues = in.wait.appendTo(queues)
	}
	return append(binary.AppendUvarint(b, uint64(n)), queues...)
}

// decodeActivity is the inverse.
func decodeActivity(start int64, b []byte) (s *activity, ok bool) {
	s = newActivity(start)
	d := decoder{b: b}
	for range d.names() {
		name, in := d.text(), &kindActivity{}
		for i := range in.n {
			in.n[i] = d.uvarint()
		}
		d.durations(&in.run)
		d.failed = d.failed || s.kinds[name] != nil
		s.kinds[name] = in
	}
	for range d.names() {
		name, in := d.text(), &queueActivity{ready: d.uvarint()}
		d.durations(&in.wait)
		d.failed = d.failed || s.queues[name] != nil
		s.queues[name] = in
	}
	return s, !d.failed && len(d.b) == 0
}

// names is the number of kinds or queues of an activity.
func (d *decoder) names() int {
	n := d.count()
	if n > activityNames+1 {
		d.take(-1)
		return 0
	}
	return n
}

// key is that of an entry of the history.
func (l *stretch) key(b []byte, start int64) []byte {
	return appendID(append(b, l.code), uint64(start))
}

// owns says whether a key is of an entry of this length.
func (l *stretch) owns(k []byte) bool { return len(k) > 0 && k[0] == l.code }

// readActivity reads an entry of the history.
func readActivity(k, v []byte) (*activity, error) {
	value, sound := openValue(k, v)
	if sound && len(k) == 1+8 {
		start := int64(keyID(k[1:]))
		for i := range stretches {
			if l := &stretches[i]; l.owns(k) && l.startOf(start) == start {
				if s, ok := decodeActivity(start, value); ok {
					return s, nil
				}
			}
		}
	}
	return nil, fmt.Errorf("%w: an entry of the history, %x, cannot be read; Repair removes it", ErrCorrupt, k)
}
