package stint

import (
	"bytes"
	"encoding/binary"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// seenBatch is what the jobs and the other keys of a batch add up to.
type seenBatch struct {
	row    *batchRow
	live   int64
	dead   int64
	done   int64
	marked int64
	inside int64 // what its ranges add up to
	ranges [][2]uint64
	ended  bool
}

// batches compares batches with their items.
func (c *checker) batches() {
	seen := map[uint64]*seenBatch{}
	if err := walkBatches(c.root.Bucket(bucketNames[bucketBatches]), func(row *batchRow) { seen[row.id] = &seenBatch{row: row} }); err != nil {
		c.fault("%v", err)
		return
	}
	c.each(bucketBatches, func(k, v []byte) { c.batchKey(seen, k, v) })
	c.each(bucketItems, func(k, v []byte) { c.itemEntry(seen, k, v) })
	c.each(bucketJobs, func(k, raw []byte) {
		rec := &record{}
		if rec.decode(keyID(k), raw, laneKey{}) == nil && rec.role != 0 {
			c.member(seen, keyID(k), rec)
		}
	})
	for id, s := range seen {
		row := s.row
		if s.live != row.live() || s.dead > row.n.dead || s.done > row.n.done {
			c.fault("batch %d has %d unfinished, %d dead, %d completed items, its row says %d, %d, %d", id, s.live, s.dead, s.done, row.live(), row.n.dead, row.n.done)
		}
		if s.inside != row.n.planned {
			c.fault("batch %d has %d items, its ranges %d", id, row.n.planned, s.inside)
		}
		if s.marked != row.n.marked || row.is(batchRepeats) && s.marked != 0 {
			c.fault("batch %d has marked %d items, its row says %d", id, s.marked, row.n.marked)
		}
		if s.ended != (row.ended != 0) || row.sealed() && row.live() == 0 && row.ended == 0 {
			c.fault("batch %d: among the ended ones %v, ended %d, sealed %d, %d live", id, s.ended, row.ended, row.planned, row.live())
		}
		made := decodeBatchMade(c.root.Bucket(bucketNames[bucketBatches]).Get(appendBatch(nil, id, batchMadeOf)))
		if wanted := row.ended != 0 && made.onDone != nil && !row.is(batchTakenBack); wanted != (row.end != 0) {
			c.fault("batch %d has OnDone job %d", id, row.end)
		}
	}
}

func (c *checker) batchKey(seen map[uint64]*seenBatch, k, v []byte) {
	if k[0] == batchEnded {
		s := seen[keyID(k[9:])]
		if s == nil || s.row.ended != int64(keyID(k[1:])) {
			c.fault("batch %d has not ended then", keyID(k[9:]))
			return
		}
		s.ended = true
		return
	}
	s := seen[keyID(k)]
	if s == nil {
		c.fault("batch %d has key %x and no row", keyID(k), k)
		return
	}
	if len(k) == 17 && k[8] == batchRange {
		first := keyID(k[9:])
		n, _ := binary.Uvarint(v)
		if last := len(s.ranges) - 1; last >= 0 && first <= s.ranges[last][1] {
			c.fault("ranges of batch %d overlap, or could be one", s.row.id)
		}
		s.ranges = append(s.ranges, [2]uint64{first, first + n})
		s.inside += int64(n)
	}
}

func (c *checker) itemEntry(seen map[uint64]*seenBatch, k, v []byte) {
	if k[0] == 0 {
		s := seen[keyID(k[1:])]
		if s == nil {
			c.fault("batch %d has marked an item and is no more", keyID(k[1:]))
			return
		}
		s.marked++
		return
	}
	rec := &record{}
	if len(v) != 8 || rec.decode(keyID(v), c.root.Bucket(bucketNames[bucketJobs]).Get(appendID(nil, keyID(v))), laneKey{}) != nil {
		c.fault("the entry of an item leads to no job: %q", k)
		return
	}
	if rec.role != batchItem || !unfinished(rec.state) || !bytes.Equal(k, appendItem(nil, rec.kind, rec.args)) {
		c.fault("job %d, %v, has the entry of an item that is not its own: %q", keyID(v), rec.state, k)
	}
}

func (c *checker) member(seen map[uint64]*seenBatch, id uint64, rec *record) {
	s := seen[rec.batch]
	if s == nil || rec.role != batchItem {
		return // what a forgotten batch has left may be retried
	}
	inside := false
	for _, r := range s.ranges {
		inside = inside || id >= r[0] && id < r[1]
	}
	if !inside {
		c.fault("item %d is in no range of batch %d", id, rec.batch)
	}
	switch rec.state {
	case Dead:
		s.dead++
	case Completed:
		s.done++
	default:
		s.live++
		if !s.row.is(batchRepeats) && c.root.Bucket(bucketNames[bucketItems]).Get(appendItem(nil, rec.kind, rec.args)) == nil {
			c.fault("item %d is unfinished and has no entry", id)
		}
	}
}

// StoredBatch is what the first batch of a closed file is like.
type StoredBatch struct {
	Planning       bool
	PlannerCrashes int // counting one that the next Open will find
	Dead           int
}

// FirstBatch looks at it.
func FirstBatch(db *bolt.DB) (s StoredBatch) {
	_ = db.View(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		return walkBatches(root.Bucket(bucketNames[bucketBatches]), func(row *batchRow) {
			s.Planning, s.Dead = !row.sealed(), int(row.n.dead)
			rec := &record{}
			if rec.decode(row.id, root.Bucket(bucketNames[bucketJobs]).Get(appendID(nil, row.id)), laneKey{}) == nil {
				s.PlannerCrashes = int(rec.crashes)
				if slices.Contains(RunningJobs(db), row.id) {
					s.PlannerCrashes++
				}
			}
		})
	})
	return s
}
