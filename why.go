package stint

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Why a job waits.
//
//  1. The file says where the job is and, in the same transaction, what was
//     claimed. Memory, as of the last commit, says what holds it back. Each may
//     be ahead of the other by a moment.
//  2. A job whose time has not come waits for that alone.
//  3. Of another, all that keeps it from being claimed is listed: first what is
//     wrong with the whole queue, then what somebody has to do something about.
//  4. Only if there is nothing of the kind, it is others that it waits for.

// Reason is why a job does not run right now.
type Reason struct {
	// Cause is one of: scheduled, snoozed, retrying, yielded (its time has
	// not come); locked (a key is missing); paused; no_handler; not_running
	// (no Run works the queue); stopping (Run is about to end); failed (the
	// file takes no more writes); workers, queue_limit, kind_limit (all busy);
	// behind (others come first); suspect (it was running when the process
	// crashed, and runs alone); alone (another one runs alone for that reason);
	// starting (claimed, its worker is about to begin).
	Cause string

	Text  string        // in words, with names and numbers, without a full stop
	Until time.Time     // when that ends, zero if nothing can be said
	Ahead int           // of workers, queue_limit, kind_limit and behind: jobs that come first
	About time.Duration // of the same: roughly how long until its start, 0 if nothing can be said
}

// Why says why a job waits, the most important reason first; none for a job
// that is at work or has ended. ErrNotFound as Get.
//
// A job whose time has not come has that as its reason, and failed before it
// if the file takes no more writes, but nothing that may hinder it then.
// Others have all of failed, stopping, not_running, paused, no_handler, locked
// and suspect or alone that hold. Only a job with none of them waits for
// others.
//
// Ahead are the ready jobs of its own queue, also where the workers are shared
// with other queues, that have a lower Priority number, or the same and a
// smaller id, but for those whose kind has no handler. They are counted in the
// index, which takes some milliseconds for a million. About is how quickly
// jobs of the queue have ended lately, in this process, times Ahead.
func (q *Queue) Why(id ID) ([]Reason, error) {
	var reasons []Reason
	err := q.store.view(func(tx *bolt.Tx) error {
		r := newReader(q, tx)
		rec, err := r.record(uint64(id))
		if err != nil || !unfinished(rec.state) {
			return err
		}
		w := &waiting{r: r, id: uint64(id), rec: rec, now: time.Now(), due: r.delayOf(uint64(id), rec)}
		w.claimed, w.atWork = r.running(uint64(id))
		w.outlook = q.outlook(rec)
		reasons = w.reasons()
		return nil
	})
	return reasons, q.readError(err)
}

// waiting is a job that Why was asked about.
type waiting struct {
	r   *reader
	id  uint64
	rec *record
	now time.Time
	due time.Time // when its time comes, zero for now

	claimed []uint64 // all jobs that the file has as running
	atWork  bool     // this is one of them

	outlook
}

func (w *waiting) reasons() []Reason {
	own := w.live[w.id]
	if own != nil && own.started.Load() != 0 && w.due.IsZero() {
		return nil
	}
	var list []Reason
	if w.failure != nil {
		list = append(list, Reason{Cause: "failed", Text: "the file takes no more writes: " + strings.TrimPrefix(w.failure.Error(), "stint: ")})
	}
	if w.due.After(w.now) {
		return append(list, w.untilDue())
	}
	switch {
	case w.stopping:
		list = append(list, Reason{Cause: "stopping", Text: "Run is about to end, and no job begins any more"})
	case !w.working:
		list = append(list, Reason{Cause: "not_running", Text: "no Run works the queue"})
	}
	if w.pause.since != 0 {
		list = append(list, w.paused())
	}
	if w.handler == nil {
		list = append(list, Reason{Cause: "no_handler", Text: fmt.Sprintf("no handler for kind %s in this process", w.rec.kind)})
	}
	if w.rec.locked() {
		list = append(list, Reason{Cause: "locked", Text: w.keyMissing()})
	}
	switch {
	case len(list) == 0 && (w.atWork || own != nil):
		return []Reason{{Cause: "starting", Text: "it is claimed, and a worker is about to begin it"}}
	case w.handler == nil:
		return list // it would not even be looked at
	}
	if one, ok := w.crashed(); ok {
		list = append(list, one)
	}
	if len(list) == 0 {
		return w.queueing()
	}
	return list
}

// untilDue is for a job whose time has not come.
func (w *waiting) untilDue() Reason {
	at, left := clockText(w.due), w.due.Sub(w.now)
	r := Reason{Cause: "scheduled", Text: "scheduled for " + at, Until: w.due}
	yields := w.rec.stash != nil && len(w.rec.stash.cursor) > 0 && left <= yieldFor
	switch {
	case w.rec.state == Retrying:
		r.Cause, r.Text = "retrying", w.failed()+"; the next is due at "+at
	case w.rec.locked() && left <= putOffFor:
		r.Cause, r.Text = "locked", w.keyMissing()+"; the next look is at "+at
	case yields:
		r.Cause, r.Text = "yielded", "it has used its slice of time and lets others go first, until "+at
	case w.rec.snoozes > 0:
		r.Cause, r.Text = "snoozed", "its handler has put it off until "+at
	}
	return r
}

// failed is "the third of 25 attempts failed".
func (w *waiting) failed() string {
	nth, most := ordinal(int(w.rec.failures)), int(w.rec.maxAttempts)
	if most == 0 && w.handler != nil {
		most = w.handler.policy.MaxAttempts
	}
	if most == 0 {
		return fmt.Sprintf("the %s attempt failed", nth)
	}
	return fmt.Sprintf("the %s of %d attempts failed", nth, most)
}

func (w *waiting) paused() Reason {
	by := ""
	if w.pause.by != "" {
		by = " by " + w.pause.by
	}
	return Reason{Cause: "paused", Text: fmt.Sprintf("queue %s has been paused%s since %s", w.rec.queue, by, clockText(fromMicros(w.pause.since)))}
}

func (w *waiting) keyMissing() string {
	key, _, _ := cutKeyName(w.rec.encrypted)
	return fmt.Sprintf("it is encrypted with the key %v, which is not in Config.Keys", key)
}

// crashed is for a job that has to run alone, or has to wait for one; see
// recover.go.
func (w *waiting) crashed() (Reason, bool) {
	if len(w.suspects) == 0 {
		return Reason{}, false
	}
	first := w.nextSuspect
	if w.alone != nil {
		first = w.alone.id
	}
	if _, own := w.suspects[w.id]; own {
		text := fmt.Sprintf("it was running at %d crashes of the process, so it runs alone: ", w.rec.crashes)
		switch {
		case first != 0 && first != w.id:
			text += fmt.Sprintf("after job %d, for which that holds too", first)
		case w.crowd > 0:
			text += fmt.Sprintf("once the %d %s at work %s ended", w.crowd, plural("job", w.crowd), oneOf(w.crowd, "has", "have"))
		default:
			text += "it is next"
		}
		return Reason{Cause: "suspect", Text: text}, true
	}
	switch {
	case w.alone != nil:
		return Reason{Cause: "alone", Text: fmt.Sprintf("job %d runs alone, as it was running when the process crashed", first)}, true
	case first != 0:
		return Reason{Cause: "alone", Text: fmt.Sprintf("job %d is to run alone first, as it was running when the process crashed", first)}, true
	}
	return Reason{}, false
}

// queueing is for a job that nothing but other jobs keeps waiting.
func (w *waiting) queueing() (list []Reason) {
	ahead := w.r.ahead(w.rec, w.id, w.taken())
	about := time.Duration(min(float64(w.perJob)*float64(ahead+1), math.MaxInt64/2))
	others := "it is the next of its queue"
	if ahead > 0 {
		others = fmt.Sprintf("%d %s of its queue %s first", ahead, plural("job", ahead), oneOf(ahead, "comes", "come"))
	}
	if about > 0 {
		others += ", " + aboutText(about)
	}
	add := func(cause, text string) {
		list = append(list, Reason{Cause: cause, Text: text + others, Ahead: ahead, About: about})
	}
	if most := w.handler.policy.Concurrency; most > 0 && w.ofKind >= most {
		add("kind_limit", fmt.Sprintf("%s of kind %s may run at a time and %s, ", jobs(most), w.rec.kind, oneOf(most, "does", "do")))
	}
	if w.limited && w.ofQueue >= w.limit {
		add("queue_limit", allBusy(w.limit, " of queue "+w.rec.queue))
	}
	if w.busy >= w.workers {
		add("workers", allBusy(w.workers, ""))
	}
	switch {
	case len(list) > 0:
	case ahead > 0:
		add("behind", "")
	default:
		list = []Reason{{Cause: "starting", Text: "a worker is about to begin it"}}
	}
	return list
}

// taken are the jobs that do not wait any more, by the file or by memory.
func (w *waiting) taken() []uint64 {
	ids := slices.Clone(w.claimed)
	for id := range w.live {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func allBusy(workers int, whose string) string {
	if workers == 1 {
		return "the only worker" + whose + " is busy, "
	}
	return fmt.Sprintf("all %d workers%s are busy, ", workers, whose)
}

func jobs(n int) string { return fmt.Sprintf("%d %s", n, plural("job", n)) }

func oneOf(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func clockText(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 MST") }

// aboutText rounds to what a person would say.
func aboutText(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "days"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if d >= unit.size*3/2 {
			return fmt.Sprintf("about %.0f %s", float64(d)/float64(unit.size), unit.name)
		}
	}
	return "about a second"
}

var ordinals = [...]string{"", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"}

// ordinal is "third", or "23rd".
func ordinal(n int) string {
	if n > 0 && n < len(ordinals) {
		return ordinals[n]
	}
	end := "th"
	if tens := n / 10 % 10; tens != 1 {
		end = cmp.Or(map[int]string{1: "st", 2: "nd", 3: "rd"}[n%10], end)
	}
	return strconv.Itoa(n) + end
}
