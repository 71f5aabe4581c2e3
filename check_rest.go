package stint

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"
)

// What is small: what the file says of itself, the list of what runs,
// schedules, pauses and what was set aside.

// meta looks at what a file says of itself, and reports whether there is
// anything to go on with.
func (c *checker) meta() bool {
	meta := c.t.bucket(bucketMeta)
	format := meta.Get(keyFormat)
	if len(format) != 1 || format[0] == 0 {
		c.beyond(0, "the file does not say which format it has, and Open refuses it; restore a backup")
		return false
	}
	c.sealed = format[0] >= 2
	c.buckets = bucketsOf(format[0])
	for name := range c.buckets {
		if c.t.root.Bucket(bucketNames[name]) != nil {
			continue
		}
		if name == bucketJobs {
			c.beyond(0, "the bucket of the jobs is not in the file, and Open refuses it; restore a backup")
			return false
		}
		c.fault(0, "the bucket %q is not in the file, and Open refuses it; Repair makes it, with what the jobs say should be in it", bucketNames[name])
		if c.missing = true; c.fixing {
			c.broken = makeBucket(c.t.root, name)
			c.missing = c.broken != nil
		}
	}
	if c.missing {
		return false // the others can be looked at when it is there
	}
	if secret := meta.Get(keySecret); secret != nil && sealedIn(meta, keySecret) == nil {
		c.beyond(0, "the secret of the encrypted file cannot be read, so nothing in it can be decrypted, and Open refuses it; restore a backup")
	}
	identity, ok := c.open(bucketMeta, keyFile, meta.Get(keyFile))
	switch {
	case ok && len(identity) == identitySize:
	case meta.Get(keySecret) != nil: // all its keys follow from the identity
		c.beyond(0, "the identity of the encrypted file cannot be read, so nothing in it can be decrypted, and Open refuses it; restore a backup")
	default:
		c.fault(0, "the identity of the file cannot be read, and Open refuses it; Repair gives it a new one, so Work.Key is another one for each job than before")
		c.putIn(bucketMeta, keyFile, newIdentity())
	}
	return true
}

// runningList reads which jobs are at work, or were when the process died.
func (c *checker) runningList() {
	value, ok := c.open(bucketMeta, keyRunning, c.t.bucket(bucketMeta).Get(keyRunning))
	if !c.sealed && len(value) == 0 {
		return
	}
	c.alone, c.atWork, c.suspects, c.listed = decodeRunning(value)
	if c.listed = c.listed && ok; !c.listed {
		c.fault(0, "the list of the running jobs cannot be read, and Open refuses the file; Repair empties it, so a crash that has just been is not counted")
		c.alone, c.atWork, c.suspects = false, nil, nil
		c.putIn(bucketMeta, keyRunning, c.list())
		return
	}
	for _, id := range c.atWork {
		c.running[id] = true
	}
}

// list is the list as it should be.
func (c *checker) list() []byte {
	if c.owner != nil {
		return c.owner.encodeRunning()
	}
	b := binary.AppendUvarint([]byte{0}, uint64(len(c.atWork)))
	if c.alone && len(c.atWork) == 1 {
		b[0] = 1
	}
	previous := uint64(0)
	for _, id := range slices.Concat(c.atWork, c.suspects) {
		b = binary.AppendVarint(b, int64(id-previous))
		previous = id
	}
	return b
}

// leave says whether a job is at work in this process. Its record is written
// anew, or deleted, when its attempt ends.
func (c *checker) leave(id uint64) bool { return c.owner != nil && c.owner.claimed[id] != nil }

// runningJobs compares the list with the jobs.
func (c *checker) runningJobs() {
	if !c.listed {
		return
	}
	seen := map[uint64]bool{}
	fits := func(id uint64) bool {
		switch read := c.read(id); {
		case seen[id]:
			c.fault(id, "job %d is listed twice as running; Repair corrects the list", id)
			return false
		case id == 0 || id >= saneID:
			c.fault(id, "the list of the running jobs names %d, which is no id; Repair corrects the list", id)
			return false
		case read == readable && c.home(id) != Ready && c.rec.state != Completed:
			c.fault(id, "job %d is listed as running, but is %v; Repair corrects the list", id, c.rec.state)
			return false
		}
		seen[id] = true // one that is gone was completed by CompleteTx
		c.given(id)
		return true
	}
	n := len(c.atWork) + len(c.suspects)
	c.atWork = slices.DeleteFunc(c.atWork, func(id uint64) bool { return !fits(id) })
	clear(seen)
	c.suspects = slices.DeleteFunc(c.suspects, func(id uint64) bool { return id == 0 || id >= saneID })
	if n != len(c.atWork)+len(c.suspects) {
		c.putIn(bucketMeta, keyRunning, c.list())
	}
}

// scheduleEntry looks at what the file knows of a schedule.
func (c *checker) scheduleEntry(k, v []byte) {
	l, err := decodeLedger(string(k), v)
	if err != nil {
		c.beyond(0, "what the file knows of the schedule %s cannot be read, so it does not fire; DeleteSchedule it and call Periodic again", quoted(string(k)))
		return
	}
	c.given(l.job)
	changed := false
	if len(l.runs) > runsKept || len(l.waiting) > maxWaiting {
		c.fault(0, "schedule %s has %d runs in its history and %d that wait; Repair drops the oldest", quoted(string(k)), len(l.runs), len(l.waiting))
		l.runs = l.runs[max(0, len(l.runs)-runsKept):]
		l.waiting = l.waiting[:min(len(l.waiting), maxWaiting)]
		changed = true
	}
	for i := range l.runs {
		r := &l.runs[i]
		c.given(uint64(r.Job))
		if r.Job == 0 || !unfinished(r.State) || c.runOpen(uint64(r.Job)) {
			continue
		}
		c.fault(uint64(r.Job), "schedule %s takes its run of %v for unfinished, but job %d has ended; Repair corrects its history", quoted(string(k)), r.At.UTC(), r.Job)
		r.State, r.Reason, r.EndedAt = gone, "its job is not there any more", time.Now()
		if c.read(uint64(r.Job)) == readable && !unfinished(c.rec.state) {
			r.State, r.Reason, r.EndedAt = c.rec.state, cut(c.rec.reason, maxNoteSize), fromMicros(c.rec.finished)
			if r.Reason == hidden {
				r.Reason = ""
			}
		}
		changed = true
	}
	if changed {
		c.put(bucketSchedules, k, l.encode(string(k)))
	}
}

// runOpen says whether a run of a schedule may be unfinished.
func (c *checker) runOpen(id uint64) bool {
	switch c.read(id) {
	case unreadable:
		return !c.fixing || c.leave(id)
	case readable:
		if unfinished(c.rec.state) {
			return true
		}
	}
	s := c.batches[id]
	return s != nil && (s.bad || s.row.ended == 0)
}

// pauseEntry looks at who paused a queue.
func (c *checker) pauseEntry(k, v []byte) {
	value, ok := c.open(bucketQueues, k, v)
	if ok && decodePause(value).since > 0 {
		return
	}
	c.fault(0, "whether queue %s is paused cannot be read, and Open refuses the file; Repair lets it be paused, Resume it", quoted(string(k)))
	c.putIn(bucketQueues, bytes.Clone(k), append(binary.AppendVarint(nil, c.t.now), "Repair, as the entry was damaged"...))
}

// actionEntry looks at an entry of the action log.
func (c *checker) actionEntry(k, v []byte) {
	if _, err := readAction(k, v); err != nil {
		c.fault(0, "the entry %x of the action log cannot be read; Repair takes it away", k)
		c.del(bucketActions, k)
	}
}

// quarantineEntry looks at a record that was set aside.
func (c *checker) quarantineEntry(k, v []byte) {
	id := uint64(0)
	if len(k) >= 8 {
		id = keyID(k)
		c.given(id)
	}
	_, err := decodeQuarantined(id, v)
	switch {
	case len(k) < 8 || c.sealed && err != nil:
		c.fault(id, "an entry of the quarantine, %x, cannot be read; Repair makes it one again, as it is", k)
		c.moveAside(k, id, encodeQuarantined(id, c.t.now, "its entry could not be read", v))
	case len(k) == 8 && c.read(id) != absent:
		c.fault(id, "job %d is in the quarantine and among the jobs; Repair keeps both, apart", id)
		c.moveAside(k, id, v)
	}
}

// historyEntry looks at what was done in a Period.
func (c *checker) historyEntry(k, v []byte) {
	if _, err := readActivity(k, v); err != nil {
		c.fault(0, "an entry of the history, %x, cannot be read, so its Period is not told; Repair removes it", k)
		c.del(bucketHistory, k)
	}
}

// startEntry looks at a Start.
func (c *checker) startEntry(k, v []byte) {
	if _, err := decodeStart(k, v); err != nil {
		c.fault(0, "an entry of the starts, %x, cannot be read, so it is not told; Repair removes it", k)
		c.del(bucketStarts, k)
	}
}
