package stint

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// seenLane is what a check knows of a lane.
type seenLane struct {
	row   laneRow
	count tally // of its jobs, as the passes see them
	lost  bool  // it has no row that can be read
	dirty bool
}

// topLaneNumber bounds the numbers of lanes; higher ones are damage.
const topLaneNumber = 1 << 31

// loadLanes reads the rows, and finds the numbers of those that are lost in
// the ready index.
func (c *checker) loadLanes() {
	var unnumbered []*seenLane
	_ = c.t.bucket(bucketLanes).ForEach(func(k, v []byte) error {
		key, ok := parseLaneKey(k)
		if !ok || key.priority < 1 || key.priority > priorities || key.queue == "" {
			c.fault(0, "an entry of the lanes, %.60q, names no queue, kind and priority, and Open refuses the file; Repair takes it away", k)
			c.del(bucketLanes, k)
			return nil
		}
		ln := &seenLane{row: laneRow{key: key}}
		c.laneOf[key] = ln
		if value, ok := c.open(bucketLanes, k, v); ok {
			ln.row.decode(value)
			ok = bytes.Equal(ln.row.encode(), value)
			if ok && ln.row.id != 0 && ln.row.id < topLaneNumber && c.lanes[ln.row.id] == nil {
				c.addLane(ln)
				return nil
			}
		}
		c.fault(0, "what the file has of the lane of %s (its number and its totals) cannot be read or belongs to another one; Repair counts its jobs again, its totals of the past begin at 0", key)
		ln.row.n = tally{}
		ln.lost, ln.dirty = true, true
		unnumbered = append(unnumbered, ln)
		return nil
	})
	c.adoptReady()
	for _, ln := range unnumbered {
		if c.lanes[ln.row.id] != ln {
			c.numberLane(ln)
		}
	}
}

func (c *checker) addLane(ln *seenLane) {
	c.lanes[ln.row.id] = ln
	c.topLane = max(c.topLane, ln.row.id)
}

func (c *checker) numberLane(ln *seenLane) {
	ln.row.id = c.topLane + 1
	for c.lanes[ln.row.id] != nil {
		ln.row.id++
	}
	c.addLane(ln)
}

// adoptReady finds the lane of each number in the ready index that no row has:
// that of its first job, if that has none either.
func (c *checker) adoptReady() {
	cur := c.t.bucket(bucketReady).Cursor()
	for k, v := cur.First(); k != nil; {
		if len(k) != 12 {
			k, v = cur.Next()
			continue
		}
		number := binary.BigEndian.Uint32(k)
		if c.lanes[number] == nil && number != 0 && number < topLaneNumber {
			readyIDs(k, v, 0, func(id uint64) bool {
				if c.read(id) != readable {
					return true
				}
				c.adopt(number, c.rec.key())
				return false
			})
		}
		if number++; number == 0 {
			return
		}
		k, v = cur.Seek(appendBlock(c.key[:0], number, 0))
	}
}

// adopt gives a lane without a row, or without a number, this number.
func (c *checker) adopt(number uint32, key laneKey) {
	ln := c.laneOf[key]
	switch {
	case ln == nil:
		ln = c.missingLane(key)
	case ln.row.id != 0 && c.lanes[ln.row.id] == ln:
		return
	}
	ln.row.id = number
	c.addLane(ln)
}

func (c *checker) missingLane(key laneKey) *seenLane {
	c.fault(0, "the lane of %s is not in the file, so its jobs cannot be found; Repair counts them again, its totals of the past begin at 0", key)
	ln := &seenLane{row: laneRow{key: key}, lost: true, dirty: true}
	c.laneOf[key] = ln
	return ln
}

// lane is that of a job. value is that of its index entry, which has the number
// of a lane that is lost.
func (c *checker) lane(key laneKey, value []byte) *seenLane {
	if ln := c.laneOf[key]; ln != nil {
		return ln
	}
	ln := c.missingLane(key)
	if len(value) >= 4 {
		number := binary.BigEndian.Uint32(value[len(value)-4:])
		if number != 0 && number < topLaneNumber && c.lanes[number] == nil {
			ln.row.id = number
			c.addLane(ln)
			return ln
		}
	}
	c.numberLane(ln)
	return ln
}

// laneCounts compares the counts of the lanes with their jobs.
func (c *checker) laneCounts() {
	for _, ln := range c.laneOf {
		for state := Ready; state <= Dead; state++ {
			if ln.row.n[state] == ln.count[state] {
				continue
			}
			if !ln.lost {
				c.fault(0, "the lane of %s counts %d jobs that are %v, but there are %d; Repair corrects the count", ln.row.key, ln.row.n[state], state, ln.count[state])
			}
			ln.row.n[state], ln.dirty = ln.count[state], true
		}
		if ln.dirty {
			c.putIn(bucketLanes, ln.row.key.appendTo(nil), ln.row.encode())
		}
	}
}

// sequences sees to it that no id and no lane's number is given twice.
func (c *checker) sequences() {
	last, ok := c.lastGiven()
	if !ok {
		c.fault(0, "the number of the last job that was enqueued cannot be read, so the next one could get the id of another; Repair takes the highest id in the file, %d", c.highest)
	} else if last < c.highest {
		c.fault(0, "the file has given ids up to %d only, but has a job or batch %d, so new jobs would overwrite others; Repair goes on behind it", last, c.highest)
	}
	if !ok || last < c.highest {
		c.setLast(c.highest)
	}
	lanes := c.t.bucket(bucketLanes)
	if lanes.Sequence() < uint64(c.topLane) || lanes.Sequence() >= topLaneNumber {
		c.fault(0, "the file has given numbers up to %d to lanes, but the highest in it is %d, so a new one would mix with another; Repair goes on behind it", lanes.Sequence(), c.topLane)
		c.fix(fix{name: bucketLanes, what: fixSequence, id: uint64(c.topLane)})
	}
}

// lastGiven is the last id that was given.
func (c *checker) lastGiven() (id uint64, ok bool) {
	if c.sealed {
		return lastID(c.t.bucket(bucketJobs))
	}
	id = c.t.bucket(bucketJobs).Sequence()
	return id, id < saneID
}

// given notes an id that somebody has got.
func (c *checker) given(id uint64) {
	if id < saneID {
		c.highest = max(c.highest, id)
	}
}

// String is a lane in words.
func (k laneKey) String() string {
	return "queue " + quoted(k.queue) + ", kind " + quoted(k.kind) + ", priority " + strconv.Itoa(int(k.priority))
}
