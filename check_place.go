package stint

import "bytes"

// What unfinished jobs hold: unique places and expiries, against the records
// that say so.

// place is an entry of the unique places.
func (c *checker) place(key []byte) (mode placeMode, id uint64, until int64, ok bool) {
	raw := c.t.get(bucketPlaces, key)
	if raw == nil {
		return 0, 0, 0, false
	}
	v, ok := c.open(bucketPlaces, key, raw)
	if !ok || len(v) != 17 || placeMode(v[0]) > forPeriod {
		return 0, 0, 0, false
	}
	return placeMode(v[0]), keyID(v[1:]), int64(keyID(v[9:])), true
}

// placeEntry looks at a unique place: who holds it must be there and have it.
func (c *checker) placeEntry(k, v []byte) {
	mode, id, until, ok := c.place(k)
	if !ok || len(k) != placeSize {
		c.fault(0, "a unique place, %x, cannot be read; Repair takes it away, or gives it to the job that has it", k)
		c.del(bucketPlaces, k)
		return
	}
	c.given(id)
	switch read := c.read(id); {
	case read == unreadable && (!c.fixing || c.leave(id)):
	case read == readable && unfinished(c.rec.state) && bytes.Equal(c.rec.place, k):
		if c.rec.placeMode != mode || c.rec.placeUntil != until {
			c.fault(id, "the unique place of job %d is held in another way than its record says; Repair corrects it", id)
			c.takePlace(id)
		}
	case mode == forPeriod && (read != readable || c.rec.state != Dead):
		if !c.t.has(bucketDue, appendDuePlace(c.key[:0], until, k)) {
			c.fault(id, "a unique period that job %d began would never end; Repair lets it end at %v", id, fromMicros(until).UTC())
			c.put(bucketDue, appendDuePlace(nil, until, k), nil)
		}
	default:
		c.fault(id, "job %d holds a unique place, %x, but is not there, has ended or has another one, so equal jobs are refused; Repair frees it", id, k)
		c.del(bucketPlaces, k)
		if mode == forPeriod {
			c.del(bucketDue, appendDuePlace(nil, until, k))
		}
	}
}

// holds looks whether the unfinished job of c.rec has its unique place.
func (c *checker) holds(id uint64) {
	r := &c.rec
	if r.place == nil || r.placeMode == forPeriod && r.placeUntil <= c.t.now {
		return
	}
	_, holder, _, ok := c.place(r.place)
	switch {
	case r.placeMode == whileWaiting:
		// Another may have had it while this one ran. It is only given back by
		// a repair, should the place have been lost with others.
		if !ok && !r.began() && !c.running[id] && c.fixing {
			c.takePlace(id)
		}
	case ok && holder == id:
		if r.placeMode == forPeriod && !c.t.has(bucketDue, appendDuePlace(c.key[:0], r.placeUntil, r.place)) {
			c.fault(id, "the unique period of job %d would never end; Repair lets it end at %v", id, fromMicros(r.placeUntil).UTC())
			c.put(bucketDue, appendDuePlace(nil, r.placeUntil, r.place), nil)
		}
	case ok && c.heldBy(holder, id):
		c.beyond(id, "job %d is unique, but job %d holds its place too; Kill one of them if only one is to run", id, holder)
	default:
		c.fault(id, "job %d does not hold its unique place, so an equal one could be enqueued; Repair gives it back", id)
		c.takePlace(id)
	}
}

// heldBy says whether the place of job id, which is in c.rec, is rightly held
// by another unfinished one.
func (c *checker) heldBy(holder, id uint64) bool {
	place := c.rec.place
	held := c.read(holder) == readable && unfinished(c.rec.state) && bytes.Equal(c.rec.place, place)
	c.read(id)
	return held
}

// takePlace gives the job of c.rec its place.
func (c *checker) takePlace(id uint64) {
	r := &c.rec
	v := appendID(appendID([]byte{byte(r.placeMode)}, id), uint64(r.placeUntil))
	c.putIn(bucketPlaces, bytes.Clone(r.place), v)
	if r.placeMode == forPeriod {
		c.put(bucketDue, appendDuePlace(nil, r.placeUntil, r.place), nil)
	}
}

// expires looks whether the unfinished job of c.rec will expire. The entry of
// one that has begun, or whose time is over, may be used up.
func (c *checker) expires(id uint64) {
	r := &c.rec
	if r.expires <= c.t.now || r.began() || c.running[id] || c.t.has(bucketDue, appendDue(c.key[:0], r.expires, id, dueExpiry)) {
		return
	}
	c.fault(id, "job %d is to expire at %v if it has not begun, but would not; Repair lets it", id, fromMicros(r.expires).UTC())
	c.put(bucketDue, appendDue(nil, r.expires, id, dueExpiry), nil)
}
