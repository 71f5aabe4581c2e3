package stint

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
)

// walk calls visit for the jobs a filter may match, in its order, starting
// behind a cursor, until visit returns false. It uses the index of the
// filter's state, so that five dead jobs beside a million others are found at
// once; visit still has to compare.
func (r *reader) walk(f Filter, after []byte, visit func(cursor []byte, id uint64) bool) {
	switch state := f.State; {
	case f.IDs != nil:
		walkIDs(f.IDs, after, visit)
	case f.Batch != 0:
		r.walkItems(f, after, visit)
	case state == Ready:
		r.walkReady(f, after, visit)
	case state == Running:
		r.walkRunning(f, after, visit)
	case state == Scheduled || state == Retrying:
		fits := r.laneFits(f)
		r.walkKeys(bucketDue, f, after, func(k, v []byte) bool {
			return k[len(k)-1] != dueDelay || len(v) != 5 || State(v[0]) != state || !fits(v[1:]) || visit(k, keyID(k[8:]))
		})
	case state == Completed:
		r.walkLanes(bucketDone, f, after, visit)
	case state == Dead:
		r.walkLanes(bucketDead, f, after, visit)
	default:
		r.walkKeys(bucketJobs, f, after, func(k, _ []byte) bool { return visit(k, keyID(k)) })
	}
}

// walkLanes walks an index whose values are lanes, so that jobs of other kinds
// and queues are passed over without their records.
func (r *reader) walkLanes(name bucketName, f Filter, after []byte, visit func(cursor []byte, id uint64) bool) {
	fits := r.laneFits(f)
	r.walkKeys(name, f, after, func(k, v []byte) bool {
		return len(v) != 4 || !fits(v) || visit(k, keyID(k[8:]))
	})
}

// laneFits says whether a lane, by its number in an index, is of the filter's
// queue and kind. One that memory does not know yet may be.
func (r *reader) laneFits(f Filter) func(number []byte) bool {
	if f.Queue == "" && f.Kind == "" {
		return func([]byte) bool { return true }
	}
	known := map[uint32]bool{}
	return func(number []byte) bool {
		lane := binary.BigEndian.Uint32(number)
		fits, seen := known[lane]
		if !seen {
			key, ok := r.q.laneKeyOf(lane)
			fits = !ok || (f.Queue == "" || key.queue == f.Queue) && (f.Kind == "" || key.kind == f.Kind)
			known[lane] = fits
		}
		return fits
	}
}

// walkIDs walks given ids; the cursor is how many are behind it.
func walkIDs(ids []ID, after []byte, visit func([]byte, uint64) bool) {
	from := uint64(0)
	if len(after) == 8 {
		from = min(keyID(after), uint64(len(ids)))
	}
	for i, id := range ids[from:] {
		if !visit(appendID(nil, from+uint64(i)+1), uint64(id)) {
			return
		}
	}
}

// walkKeys walks a bucket from behind the key after, in the filter's
// direction.
func (r *reader) walkKeys(name bucketName, f Filter, after []byte, visit func(k, v []byte) bool) {
	cur := r.bucket(name).Cursor()
	first, step := cur.Last, cur.Prev
	if f.OldestFirst {
		first, step = cur.First, cur.Next
	}
	var k, v []byte
	switch {
	case len(after) == 0:
		k, v = first()
	default:
		k, v = cur.Seek(after)
		switch {
		case f.OldestFirst && bytes.Equal(k, after):
			k, v = cur.Next()
		case !f.OldestFirst && k == nil:
			k, v = cur.Last()
		case !f.OldestFirst:
			k, v = cur.Prev()
		}
	}
	for ; k != nil; k, v = step() {
		if len(k) >= 8 && !visit(k, v) {
			return
		}
	}
}

// walkReady merges the lanes the filter allows by id.
func (r *reader) walkReady(f Filter, after []byte, visit func([]byte, uint64) bool) {
	type head struct {
		lane uint32
		id   uint64
	}
	from := uint64(0)
	if len(after) == 8 {
		from = keyID(after)
	}
	advance := func(lane uint32, behind uint64) (h head, ok bool) {
		r.walkLane(lane, behind, !f.OldestFirst, func(id uint64) bool {
			h, ok = head{lane, id}, true
			return false
		})
		return h, ok
	}
	var heads []head
	r.q.mu.RLock()
	var lanes []uint32
	for key, ln := range r.q.lanes {
		if (f.Queue == "" || f.Queue == key.queue) && (f.Kind == "" || f.Kind == key.kind) && ln.n[Ready] > 0 {
			lanes = append(lanes, ln.id)
		}
	}
	r.q.mu.RUnlock()
	for _, lane := range lanes {
		if h, ok := advance(lane, from); ok {
			heads = append(heads, h)
		}
	}
	for len(heads) > 0 {
		best := 0
		for i, h := range heads {
			if (h.id < heads[best].id) == f.OldestFirst && h.id != heads[best].id {
				best = i
			}
		}
		h := heads[best]
		if !visit(appendID(nil, h.id), h.id) {
			return
		}
		if next, ok := advance(h.lane, h.id); ok {
			heads[best] = next
		} else {
			heads = slices.Delete(heads, best, best+1)
		}
	}
}

// walkLane walks the ready ids of a lane behind an id, or from the end where
// it starts for 0.
func (r *reader) walkLane(lane uint32, behind uint64, descending bool, visit func(id uint64) bool) {
	cur := r.bucket(bucketReady).Cursor()
	if !descending {
		k, v := cur.Seek(appendBlock(nil, lane, (behind+1)/64))
		for len(k) == 12 && binary.BigEndian.Uint32(k) == lane && readyIDs(k, v, behind+1, visit) {
			k, v = cur.Next()
		}
		return
	}
	if behind == 0 {
		behind = math.MaxUint64
	}
	k, v := cur.Seek(appendBlock(nil, lane, behind/64))
	if k == nil {
		k, v = cur.Last()
	} else if binary.BigEndian.Uint32(k) != lane || keyID(k[4:]) != behind/64 {
		k, v = cur.Prev()
	}
	for len(k) == 12 && binary.BigEndian.Uint32(k) == lane && readyIDsDown(k, v, behind, visit) {
		k, v = cur.Prev()
	}
}

// walkRunning lists the jobs at work; memory knows them.
func (r *reader) walkRunning(f Filter, after []byte, visit func([]byte, uint64) bool) {
	r.q.mu.RLock()
	ids := make([]uint64, 0, len(r.q.live))
	for id := range r.q.live {
		ids = append(ids, id)
	}
	r.q.mu.RUnlock()
	slices.Sort(ids)
	if !f.OldestFirst {
		slices.Reverse(ids)
	}
	for _, id := range ids {
		if len(after) == 8 && (id == keyID(after) || (id < keyID(after)) == f.OldestFirst) {
			continue
		}
		if !visit(appendID(nil, id), id) {
			return
		}
	}
}
