package stint

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
)

// Batches: their totals and ranges against their items, the entries that tell
// equal items apart against the jobs, and their end.

// seenBatch is what a check knows of a batch.
type seenBatch struct {
	row  *batchRow
	bad  bool // row could not be read
	made *batchMade

	live, done, dead, marked int64 // items, as the passes see them
	inside                   int64 // ids in its ranges
	behind                   uint64
	found                    []idRange // of items that are in no range
	last                     idRange   // the range of the last item that was looked for

	endKey  bool  // it is among the batches that have ended
	endedAt int64 // says that entry, where the row cannot

	planner, plannerSince int64  // state of the planner's job, and since when it is there
	onDone                uint64 // the OnDone job, while it is stored
}

// idRange are the ids from first up to behind.
type idRange struct{ first, behind uint64 }

func (r idRange) has(id uint64) bool { return id >= r.first && id < r.behind }

// loadBatches reads the totals of all batches.
func (c *checker) loadBatches() {
	cur := c.t.bucket(bucketBatches).Cursor()
	for k, v := cur.First(); k != nil && k[0] != batchEnded; {
		if len(k) < 8 {
			k, v = cur.Next()
			continue
		}
		id := keyID(k)
		c.given(id)
		s := &seenBatch{row: &batchRow{id: id}}
		value, ok := c.open(bucketBatches, k, v)
		if s.bad = len(k) != 8 || !ok || !s.row.decode(value); s.bad {
			c.fault(id, "the totals of batch %d are lost, and Open refuses the file; Repair makes them of the items that are left", id)
			s.row = &batchRow{id: id}
		}
		c.given(s.row.end)
		if value, ok := c.batchPart(id, batchMadeOf); ok {
			s.made = decodeBatchMade(value)
		}
		c.batches[id] = s
		k, v = cur.Seek(appendID(c.key[:0], id+1))
	}
}

// batchPart reads what lies beside the totals of a batch.
func (c *checker) batchPart(id uint64, what byte) (value []byte, ok bool) {
	key := appendBatch(nil, id, what)
	raw := c.t.get(bucketBatches, key)
	if raw == nil {
		return nil, false
	}
	return c.open(bucketBatches, key, raw)
}

// batchEntry looks at what lies beside the totals of a batch.
func (c *checker) batchEntry(k, v []byte) {
	switch {
	case k[0] == batchEnded:
		c.endedEntry(k)
		return
	case len(k) == 8: // loadBatches has looked at it
		return
	case len(k) == 9 && (k[8] == batchMadeOf || k[8] == batchNoted || k[8] == batchReached):
		if _, ok := c.open(bucketBatches, k, v); !ok {
			c.fault(keyID(k), "%s of batch %d cannot be read; Repair takes it away", batchParts[k[8]], keyID(k))
			c.del(bucketBatches, k)
		}
		return
	case len(k) == 17 && k[8] == batchRange:
		if c.rangeEntry(c.batches[keyID(k)], k, v) {
			return
		}
	default:
		c.fault(0, "an entry of the batches, %x, makes no sense; Repair takes it away", k)
	}
	c.del(bucketBatches, k)
}

var batchParts = map[byte]string{
	batchMadeOf:  "the name and the OnDone job",
	batchNoted:   "what went wrong, or who cancelled the batch,",
	batchReached: "how far the planner came",
}

func (c *checker) endedEntry(k []byte) {
	if len(k) == 17 {
		id, at := keyID(k[9:]), int64(keyID(k[1:]))
		if s := c.batches[id]; s != nil && !s.endKey && (s.bad || s.row.ended == at) {
			s.endKey, s.endedAt = true, at
			return
		}
		c.fault(id, "batch %d is among those that ended at %v, but did not; Repair takes the entry away", id, fromMicros(at).UTC())
	} else {
		c.fault(0, "an entry of the batches that have ended, %x, makes no sense; Repair takes it away", k)
	}
	c.del(bucketBatches, k)
}

// rangeEntry says whether a range of items is right, and counts it.
func (c *checker) rangeEntry(s *seenBatch, k, v []byte) bool {
	r, ok := c.rangeOf(k, v)
	if !ok || r.first < s.behind {
		c.fault(s.row.id, "the ids of items of batch %d from %d on cannot be read or are those of others; Repair takes what items are left", s.row.id, keyID(k[9:]))
		return false
	}
	s.behind = r.behind
	s.inside += int64(r.behind - r.first)
	c.given(r.behind - 1)
	return true
}

func (c *checker) rangeOf(k, v []byte) (r idRange, ok bool) {
	value, ok := c.open(bucketBatches, k, v)
	n, size := binary.Uvarint(value)
	r.first = keyID(k[9:])
	r.behind = r.first + n
	return r, ok && size == len(value) && n != 0 && r.first != 0 && r.first < saneID && n < saneID
}

// itemEntry looks at what tells equal items apart.
func (c *checker) itemEntry(k, v []byte) {
	if k[0] == 0 {
		c.finishedItem(k, v)
		return
	}
	if len(v) != 8 {
		c.fault(0, "an unfinished item, %s, leads to no job, so equal ones are passed over; Repair takes its entry away", quoted(string(k)))
		c.del(bucketItems, k)
		return
	}
	id := keyID(v)
	switch read := c.read(id); {
	case read == unreadable && (!c.fixing || c.leave(id)):
	case read == readable && c.rec.role == batchItem && unfinished(c.rec.state) && c.isItem(k):
	default:
		c.fault(id, "job %d is no unfinished item as %s says, so equal ones are passed over; Repair takes the entry away", id, quoted(string(k)))
		c.del(bucketItems, k)
	}
}

func (c *checker) finishedItem(k, v []byte) {
	if len(k) > itemPart {
		id := keyID(k[1:])
		_, whole := c.open(bucketItems, k, v)
		if s := c.batches[id]; s != nil && whole && (s.bad || !s.row.is(batchRepeats)) {
			s.marked++
			return
		}
		c.fault(id, "a finished item of batch %d cannot be read, or the batch is not there; Repair takes its entry away", id)
	} else {
		c.fault(0, "an entry of the finished items, %x, makes no sense; Repair takes it away", k)
	}
	c.del(bucketItems, k)
}

// member counts a job of a batch, and looks for what an item must have.
func (c *checker) member(id uint64, home State) {
	s := c.batches[c.rec.batch]
	if s == nil {
		return // it has been forgotten
	}
	switch c.rec.role {
	case batchPlanner:
		s.planner, s.plannerSince = int64(home), c.rec.created
		return
	case batchEnd:
		s.onDone = id
		return
	}
	if !c.inRange(s, id) {
		c.fault(id, "job %d is an item of batch %d, but not among its ids; Repair adds it", id, s.row.id)
		if n := len(s.found); n > 0 && s.found[n-1].behind == id {
			s.found[n-1].behind++
		} else {
			s.found = append(s.found, idRange{id, id + 1})
		}
	}
	switch home {
	case Completed:
		s.done++
	case Dead:
		s.dead++
	default:
		s.live++
		c.hasItem(s, id)
	}
}

// hasItem looks for the entry that keeps an equal item out.
func (c *checker) hasItem(s *seenBatch, id uint64) {
	key, ok := c.itemKey()
	if !ok || s.row.is(batchRepeats) || s.bad && !c.fixing || c.t.has(bucketItems, key) {
		return
	}
	c.fault(id, "job %d is an unfinished item, but an equal one would not be passed over; Repair adds its entry", id)
	c.put(bucketItems, key, appendID(nil, id))
}

// inRange says whether an id is in a range of the batch.
func (c *checker) inRange(s *seenBatch, id uint64) bool {
	if s.last.has(id) {
		return true
	}
	cur := c.t.cursor(bucketBatches)
	step := cur.Prev
	if k, _ := cur.Seek(appendRange(c.key[:0], s.row.id, id+1)); k == nil {
		step = cur.Last
	}
	k, v := step()
	if len(k) != 17 || keyID(k) != s.row.id || k[8] != batchRange {
		return false
	}
	r, ok := c.rangeOf(k, v)
	if ok && r.has(id) {
		s.last = r
		return true
	}
	return false
}

// itemKey is the entry of the item in c.rec while it is unfinished, which args
// that cannot be decrypted do not tell.
func (c *checker) itemKey() (key []byte, ok bool) {
	if c.t.vault.open(0, &c.rec) != nil {
		return nil, false
	}
	c.t.wide = c.t.vault.appendItem(c.t.wide[:0], c.rec.kind, c.rec.args)
	return c.t.wide, true
}

func (c *checker) isItem(k []byte) bool {
	key, ok := c.itemKey()
	return !ok || bytes.Equal(k, key)
}

// batchTotals compares the totals of batches with their items.
func (c *checker) batchTotals() {
	for _, id := range slices.Sorted(maps.Keys(c.batches)) {
		s := c.batches[id]
		for _, r := range s.found {
			s.inside += int64(r.behind - r.first)
			c.putIn(bucketBatches, appendRange(nil, id, r.first), binary.AppendUvarint(nil, r.behind-r.first))
		}
		if s.made == nil {
			if !s.bad {
				c.fault(id, "the name and the OnDone job of batch %d are not there; Repair lets it end without", id)
			}
			s.made = &batchMade{}
			c.putIn(bucketBatches, appendBatch(nil, id, batchMadeOf), s.made.encode())
		}
		if s.bad {
			if c.fixing {
				c.rebuild(s)
			}
			continue
		}
		c.batchTotal(s)
	}
}

func (c *checker) batchTotal(s *seenBatch) {
	row, id := s.row, s.row.id
	before := *row
	if row.n = c.totals(s); row.n != before.n {
		c.fault(id, "batch %d says that it has %d items, of which %d are unfinished, %d dead and %d completed, and %d to remember, but by its ids it has %d, and the jobs are %d, %d, %d, and %d to remember; Repair corrects it",
			id, before.n.planned, before.live(), before.n.dead, before.n.done, before.n.marked, s.inside, s.live, s.dead, s.done, s.marked)
	}
	wanted := row.ended != 0 && s.made.onDone != nil && !row.is(batchTakenBack)
	switch {
	case wanted && row.end == 0:
		c.fault(id, "batch %d has ended without its OnDone job; Repair enqueues it", id)
		if s.endKey {
			c.del(bucketBatches, appendEnded(nil, row.ended, id))
		}
		row.ended = 0
		c.over = append(c.over, id)
	case row.ended != 0 && !s.endKey:
		c.fault(id, "batch %d has ended, but is not among those that have, so it would stay for ever; Repair puts it there", id)
		c.put(bucketBatches, appendEnded(nil, row.ended, id), nil)
	case row.ended == 0 && row.sealed() && row.live() == 0:
		c.fault(id, "batch %d has no unfinished item left and gets no more, but has not ended; Repair ends it, with its OnDone job if it has one", id)
		c.over = append(c.over, id)
	}
	if *row != before {
		c.putIn(bucketBatches, appendID(nil, id), row.encode())
	}
}

// totals are those of the batch, changed as little as its items ask for. Items
// that are gone without having been counted are counted as removed.
func (c *checker) totals(s *seenBatch) batchTally {
	n := s.row.n
	n.planned, n.marked = s.inside, s.marked
	n.dead, n.done, n.removed = max(n.dead, s.dead), max(n.done, s.done), max(n.removed, 0)
	off := n.planned - n.done - n.dead - n.removed - s.live
	if !c.fixing && off > 0 && off <= c.unread {
		return n // they cannot be read
	}
	for _, part := range []struct {
		count *int64
		least int64
	}{{&n.removed, 0}, {&n.done, s.done}, {&n.dead, s.dead}} {
		if off < 0 {
			taken := min(-off, *part.count-part.least)
			*part.count -= taken
			off += taken
		}
	}
	n.removed += max(off, 0)
	return n
}

// rebuild makes the totals of a batch of what is left of it.
func (c *checker) rebuild(s *seenBatch) {
	row := s.row
	id := row.id
	row.started = c.t.now
	if value, ok := c.batchPart(id, batchNoted); ok {
		value, _ = c.t.vault.decrypt(bucketBatches, appendBatch(nil, id, batchNoted), value)
		notes := decodeBatchNotes(value)
		if notes.cancelledBy != "" {
			row.flags |= batchCancelled
		}
		if notes.planError != "" {
			row.flags |= batchPlanFailed
		}
	}
	if s.planner == 0 {
		row.flags |= batchByHand
	} else {
		row.started = s.plannerSince
	}
	if !unfinished(State(s.planner)) || row.flags&(batchCancelled|batchPlanFailed) != 0 {
		row.planned = c.t.now
	}
	row.n = c.totals(s)
	switch {
	case s.endKey:
		row.planned, row.ended, row.end = s.endedAt, s.endedAt, s.onDone
		if row.end == 0 && s.made.onDone != nil { // it has come and gone
			s.made.onDone = nil
			c.putIn(bucketBatches, appendBatch(nil, id, batchMadeOf), s.made.encode())
		}
	case row.sealed() && row.live() == 0:
		c.over = append(c.over, id)
	}
	c.putIn(bucketBatches, appendID(nil, id), row.encode())
}
