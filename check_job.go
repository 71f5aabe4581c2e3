package stint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
)

// Jobs: each record against its index entry, its unique place, its expiry, and
// each of those against its record.

// reading is what became of reading a record.
type reading int

const (
	absent reading = iota
	unreadable
	readable
)

// read reads the record of a job into c.rec.
func (c *checker) read(id uint64) reading {
	raw := c.t.get(bucketJobs, appendID(c.key[:0], id))
	switch {
	case raw == nil:
		return absent
	case c.t.vault.decode(&c.rec, id, raw, c.rec.key()) != nil:
		return unreadable
	}
	return readable
}

// home is the state whose index the job of c.rec belongs to. A record is not
// rewritten when a job's time has come, so the indexes know which it is; where
// they contradict each other the time decides.
func (c *checker) home(id uint64) State {
	switch c.rec.state {
	case Completed, Dead:
		return c.rec.state
	case Scheduled, Retrying:
		ln := c.laneOf[c.rec.key()]
		if ln == nil || !c.isReady(ln.row.id, id) {
			return c.rec.state
		}
		delayed := c.t.has(bucketDue, appendDue(c.key[:0], c.rec.runAt, id, dueDelay))
		if delayed && c.rec.runAt > c.t.now && !c.running[id] {
			return c.rec.state
		}
	}
	return Ready
}

// isReady says whether the ready index has a job.
func (c *checker) isReady(lane uint32, id uint64) bool {
	if c.block.lane != lane || c.block.number != id/64 || lane == 0 {
		c.block = readyBlock{lane: lane, number: id / 64}
		if v := c.t.get(bucketReady, appendBlock(c.key[:0], lane, id/64)); len(v) == 8 {
			c.block.bits = binary.BigEndian.Uint64(v)
		}
	}
	return c.block.bits&(1<<(id%64)) != 0
}

// readyEntry looks at an entry of the ready index: at 64 jobs.
func (c *checker) readyEntry(k, v []byte) {
	if len(k) != 12 || len(v) != 8 || binary.BigEndian.Uint64(v) == 0 {
		c.fault(0, "an entry of the ready jobs, %x, names none; Repair takes it away", k)
		c.del(bucketReady, k)
		return
	}
	lane, kept := binary.BigEndian.Uint32(k), uint64(0)
	readyIDs(k, v, 0, func(id uint64) bool {
		if c.readyJob(lane, id) {
			kept |= 1 << (id % 64)
		}
		return true
	})
	switch kept {
	case binary.BigEndian.Uint64(v):
	case 0:
		c.del(bucketReady, k)
	default:
		c.put(bucketReady, k, binary.BigEndian.AppendUint64(nil, kept))
	}
}

// readyJob says whether the ready index is right about a job.
func (c *checker) readyJob(lane uint32, id uint64) bool {
	ln := c.lanes[lane]
	switch c.read(id) {
	case absent:
		c.noJob(id, "the ready jobs")
		return false
	case unreadable:
		return c.countUnread(id, lane, Ready)
	}
	switch home := c.home(id); {
	case home != Ready:
		c.fault(id, "job %d is %v, but is among the ready jobs too, so it could run although it should not; Repair takes it from there", id, home)
	case ln == nil || ln.row.key != c.rec.key():
		c.fault(id, "job %d is among the ready jobs of another queue, kind or priority than its own; Repair puts it where it belongs", id)
	default:
		return true
	}
	return false
}

func (c *checker) noJob(id uint64, where string) {
	c.fault(id, "job %d is among %s, but is not stored; Repair takes the entry away", id, where)
}

// countUnread counts a job whose record cannot be read as what the index says,
// and says whether its entry stays: until the record is in quarantine.
func (c *checker) countUnread(id uint64, lane uint32, state State) bool {
	if c.fixing && !c.leave(id) {
		return false
	}
	if ln := c.lanes[lane]; ln != nil {
		ln.count[state]++
	}
	return true
}

// dueEntry looks at what happens at some time: the end of a delay, of a job
// that has not started, of a unique period.
func (c *checker) dueEntry(k, v []byte) {
	right := false
	switch {
	case len(k) == 17 && k[16] == dueDelay:
		right = c.delayEntry(k, v)
	case len(k) == 17 && k[16] == dueExpiry:
		right = c.expiryEntry(keyID(k[8:]), int64(keyID(k)))
	case len(k) == 8+placeSize+1 && k[len(k)-1] == duePlace:
		mode, _, until, ok := c.place(k[8 : 8+placeSize])
		if right = ok && mode == forPeriod && until == int64(keyID(k)); !right {
			c.fault(0, "a unique period is said to end at %v, but is not there, or ends at another time; Repair takes the entry away", fromMicros(int64(keyID(k))).UTC())
		}
	default:
		c.fault(0, "an entry of what is due, %x, makes no sense; Repair takes it away", k)
	}
	if !right {
		c.del(bucketDue, k)
	}
}

func (c *checker) delayEntry(k, v []byte) bool {
	id, at := keyID(k[8:]), int64(keyID(k))
	switch c.read(id) {
	case absent:
		c.noJob(id, "the jobs that wait for their time")
		return false
	case unreadable:
		if len(v) != 5 || v[0] != byte(Scheduled) && v[0] != byte(Retrying) {
			return c.countUnread(id, 0, 0)
		}
		return c.countUnread(id, binary.BigEndian.Uint32(v[1:]), State(v[0]))
	}
	home := c.home(id)
	if (home == Scheduled || home == Retrying) && c.rec.runAt == at {
		return true
	}
	c.fault(id, "job %d is %v, but is among the jobs that wait for %v too, so it could run a second time; Repair takes it from there", id, home, fromMicros(at).UTC())
	return false
}

func (c *checker) expiryEntry(id uint64, at int64) bool {
	switch c.read(id) {
	case absent:
		c.noJob(id, "the jobs that expire")
		return false
	case unreadable:
		return !c.fixing || c.leave(id)
	}
	if c.rec.expires == at && unfinished(c.rec.state) {
		return true
	}
	c.fault(id, "job %d is to expire at %v, but its record does not say so; Repair takes the entry away", id, fromMicros(at).UTC())
	return false
}

func (c *checker) doneEntry(k, v []byte) { c.keptEntry(bucketDone, Completed, k, v) }
func (c *checker) deadEntry(k, v []byte) { c.keptEntry(bucketDead, Dead, k, v) }

// keptEntry looks at an entry of the completed or the dead jobs.
func (c *checker) keptEntry(name bucketName, state State, k, v []byte) {
	where := fmt.Sprintf("the %v jobs", state)
	if len(k) != 16 {
		c.fault(0, "an entry of %s, %x, makes no sense; Repair takes it away", where, k)
		c.del(name, k)
		return
	}
	id, at := keyID(k[8:]), int64(keyID(k))
	switch c.read(id) {
	case absent:
		c.noJob(id, where)
		c.del(name, k)
	case unreadable:
		lane := uint32(0)
		if len(v) == 4 {
			lane = binary.BigEndian.Uint32(v)
		}
		if !c.countUnread(id, lane, state) {
			c.del(name, k)
		}
	default:
		if c.rec.state != state || c.rec.finished != at {
			c.fault(id, "job %d is %v, but is among %s since %v too; Repair takes it from there", id, c.rec.state, where, fromMicros(at).UTC())
			c.del(name, k)
		}
	}
}

// jobEntry looks at a record and at what has to follow from it.
func (c *checker) jobEntry(k, raw []byte) {
	if len(k) != 8 || keyID(k) == 0 || keyID(k) >= saneID {
		c.fault(0, "an entry of the jobs has the key %x, which is no id; Repair sets it aside", k)
		c.setAside(k, 0, fmt.Sprintf("its key was %x", k), raw)
		return
	}
	id := keyID(k)
	c.given(id)
	if err := c.t.vault.decode(&c.rec, id, raw, c.rec.key()); err != nil {
		c.unreadableJob(id, raw, err)
		return
	}
	if !c.t.vault.keyless() && !c.t.vault.fits(&c.rec) {
		c.locked(&c.rec)
	}
	home := c.home(id)
	c.indexed(id, home)
	if unfinished(home) {
		c.holds(id)
		c.expires(id)
	}
	if c.rec.role != 0 {
		c.member(id, home)
	}
}

// locked counts a record whose key is not in the ring.
func (c *checker) locked(r *record) {
	if c.lockedBy == nil {
		c.lockedBy = map[keyName]int{}
	}
	key, _, _ := cutKeyName(r.encrypted)
	c.lockedBy[key]++
}

// missingKeys tells which keys are needed besides those there are.
func (c *checker) missingKeys() {
	for key, n := range c.lockedBy {
		c.beyond(0, "%d jobs are encrypted with the key %v, which is not in Config.Keys, so they wait; add it", n, key)
	}
}

func (c *checker) unreadableJob(id uint64, raw []byte, err error) {
	if c.fixing {
		if !c.leave(id) {
			c.setAside(appendID(nil, id), id, unreadableFor(err), raw)
		}
		return
	}
	c.unread++
	c.fault(id, "the record of job %d is damaged (%v), so it will not run; Repair sets it aside, see Queue.Quarantined", id, unreadableFor(err))
}

// indexed counts a job, and looks for its index entry.
func (c *checker) indexed(id uint64, home State) {
	var name bucketName
	var key []byte
	switch k := c.key[:0]; home {
	case Ready:
		ln := c.lane(c.rec.key(), nil)
		ln.count[Ready]++
		if c.isReady(ln.row.id, id) || ln.lost && !c.fixing {
			return
		}
		c.fault(id, "job %d is ready, but is not among the ready jobs, so it would never run; Repair puts it there", id)
		c.fix(fix{what: fixReady, lane: ln.row.id, id: id})
		return
	case Scheduled, Retrying:
		name, key = bucketDue, appendDue(k, c.rec.runAt, id, dueDelay)
	case Completed:
		name, key = bucketDone, appendTime(k, c.rec.finished, id)
	case Dead:
		name, key = bucketDead, appendTime(k, c.rec.finished, id)
	}
	found, v := c.t.cursor(name).Seek(key)
	there := bytes.Equal(found, key)
	if !there {
		v = nil
	}
	ln := c.lane(c.rec.key(), v)
	ln.count[home]++
	var value [5]byte
	value[0] = byte(home)
	binary.BigEndian.PutUint32(value[1:], ln.row.id)
	wanted := value[1:]
	if name == bucketDue {
		wanted = value[:]
	}
	switch {
	case bytes.Equal(v, wanted) || ln.lost && !c.fixing:
		return
	case !there && name == bucketDue:
		c.fault(id, "job %d is %v for %v, but is not among the jobs that wait, so it would never run; Repair puts it there", id, home, fromMicros(c.rec.runAt).UTC())
	case !there:
		c.fault(id, "job %d is %v, but is not among the %v jobs, so it would stay for ever; Repair puts it there", id, home, home)
	default:
		c.fault(id, "job %d is among the %v jobs, but as one of another queue, kind or priority than its own; Repair corrects that", id, home)
	}
	c.put(name, key, wanted)
}

func quoted(s string) string { return strconv.Quote(cut(s, 100)) }
