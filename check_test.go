package stint

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// CheckFile compares everything in the queue of a database that is derived
// with what it is derived from, and returns what does not fit. Every queue of
// the tests goes through it when it closes.
func CheckFile(db *bolt.DB) (faults []string) {
	_ = db.View(func(tx *bolt.Tx) error {
		c := &checker{root: tx.Bucket(rootBucket), lanes: map[uint32]*laneRow{}, counted: map[uint32]*tally{}, indexed: map[uint64]int{}}
		c.check()
		for err := range tx.Check() {
			c.fault("bbolt: %v", err)
		}
		faults = c.faults
		return nil
	})
	return faults
}

type checker struct {
	root    *bolt.Bucket
	lanes   map[uint32]*laneRow
	counted map[uint32]*tally
	indexed map[uint64]int
	faults  []string
}

func (c *checker) fault(format string, args ...any) {
	if len(c.faults) < 20 {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

func (c *checker) each(name bucketName, fn func(k, v []byte)) {
	_ = c.root.Bucket(bucketNames[name]).ForEach(func(k, v []byte) error { fn(k, v); return nil })
}

func (c *checker) record(id uint64) *record {
	raw := c.root.Bucket(bucketNames[bucketJobs]).Get(appendID(nil, id))
	rec := &record{}
	if raw == nil {
		c.fault("job %d is in an index but not stored", id)
		return nil
	}
	if err := rec.decode(id, raw, laneKey{}); err != nil {
		c.fault("job %d: %v", id, err)
		return nil
	}
	return rec
}

func (c *checker) check() {
	c.each(bucketLanes, func(k, v []byte) {
		key, ok := parseLaneKey(k)
		row := &laneRow{key: key}
		row.decode(v)
		if !ok || c.lanes[row.id] != nil {
			c.fault("lane %q is doubled or unreadable", k)
		}
		c.lanes[row.id], c.counted[row.id] = row, &tally{}
	})
	c.each(bucketReady, func(k, v []byte) {
		readyIDs(k, v, 0, func(id uint64) bool {
			c.index(binary.BigEndian.Uint32(k), id, Ready, 0)
			return true
		})
	})
	c.each(bucketDue, func(k, v []byte) { c.due(k, v) })
	c.each(bucketDone, func(k, v []byte) {
		c.index(uint32(keyID(append(make([]byte, 4), v...))), keyID(k[8:]), Completed, int64(keyID(k)))
	})
	c.each(bucketDead, func(k, v []byte) {
		c.index(uint32(keyID(append(make([]byte, 4), v...))), keyID(k[8:]), Dead, int64(keyID(k)))
	})
	c.each(bucketPlaces, func(k, v []byte) { c.place(k, v) })
	c.each(bucketJobs, func(k, _ []byte) {
		if n := c.indexed[keyID(k)]; n != 1 {
			c.fault("job %d is in %d indexes", keyID(k), n)
		}
	})
	for id, row := range c.lanes {
		for state := Ready; state <= Dead; state++ {
			if row.n[state] != c.counted[id][state] {
				c.fault("lane %v counts %d jobs %v, there are %d", row.key, row.n[state], state, c.counted[id][state])
			}
		}
	}
	c.each(bucketSchedules, func(k, v []byte) {
		l, err := decodeLedger(string(k), v)
		if err != nil {
			c.fault("%v", err)
			return
		}
		if len(l.runs) > runsKept || len(l.waiting) > maxWaiting {
			c.fault("schedule %q has %d runs in its history and %d waiting", k, len(l.runs), len(l.waiting))
		}
		for _, r := range l.runs {
			raw := c.root.Bucket(bucketNames[bucketJobs]).Get(appendID(nil, uint64(r.Job)))
			if raw == nil && unfinished(r.State) && c.root.Bucket(bucketNames[bucketBatches]).Get(appendID(nil, uint64(r.Job))) == nil {
				c.fault("schedule %q takes job %d for unfinished", k, r.Job)
			}
		}
	})
	c.batches()
	c.each(bucketQuarantine, func(k, _ []byte) {
		if c.root.Bucket(bucketNames[bucketJobs]).Get(k) != nil {
			c.fault("job %d is in quarantine and among the jobs", keyID(k))
		}
	})
}

func (c *checker) index(lane uint32, id uint64, state State, at int64) {
	c.indexed[id]++
	row := c.lanes[lane]
	if row == nil {
		c.fault("job %d is in lane %d, which does not exist", id, lane)
		return
	}
	c.counted[lane][state]++
	rec := c.record(id)
	if rec == nil {
		return
	}
	promoted := state == Ready && (rec.state == Scheduled || rec.state == Retrying)
	if rec.state != state && !promoted {
		c.fault("job %d is %v, its index says %v", id, rec.state, state)
	}
	if rec.key() != row.key {
		c.fault("job %d is of %v, its index says %v", id, rec.key(), row.key)
	}
	if (state == Completed || state == Dead) && rec.finished != at || (state == Scheduled || state == Retrying) && rec.runAt != at {
		c.fault("job %d has another time than its index", id)
	}
	if rec.place != nil && unfinished(rec.state) && rec.placeMode == untilDone {
		if v := c.root.Bucket(bucketNames[bucketPlaces]).Get(rec.place); len(v) != 17 || keyID(v[1:]) != id {
			c.fault("job %d does not hold its unique place", id)
		}
	}
	if rec.expires != 0 && unfinished(rec.state) && state == Scheduled && c.root.Bucket(bucketNames[bucketDue]).Get(appendDue(nil, rec.expires, id, dueExpiry)) == nil && !rec.began() {
		c.fault("job %d will not expire", id)
	}
}

func (c *checker) due(k, v []byte) {
	switch k[len(k)-1] {
	case dueDelay:
		c.index(uint32(keyID(append(make([]byte, 4), v[1:]...))), keyID(k[8:]), State(v[0]), int64(keyID(k)))
	case dueExpiry:
		if rec := c.record(keyID(k[8:])); rec != nil && (rec.expires != int64(keyID(k)) || !unfinished(rec.state)) {
			c.fault("job %d has an expiry that is not its own", keyID(k[8:]))
		}
	case duePlace:
		if v := c.root.Bucket(bucketNames[bucketPlaces]).Get(k[8 : 8+placeSize]); len(v) != 17 || keyID(v[9:]) != keyID(k) {
			c.fault("a place has a due entry that is not its own")
		}
	default:
		c.fault("due key %x is unknown", k)
	}
}

func (c *checker) place(k, v []byte) {
	if len(v) != 17 {
		c.fault("place %x is unreadable", k)
		return
	}
	if placeMode(v[0]) == forPeriod {
		return // outlives its job
	}
	raw := c.root.Bucket(bucketNames[bucketJobs]).Get(appendID(nil, keyID(v[1:])))
	rec := &record{}
	if raw == nil || rec.decode(keyID(v[1:]), raw, laneKey{}) != nil || !unfinished(rec.state) {
		c.fault("place %x is held by job %d, which has ended", k, keyID(v[1:]))
	}
}
