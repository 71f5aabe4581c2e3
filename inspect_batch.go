package stint

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"
)

// BatchInfo describes a batch. Planned is the number of its items; those that
// are neither Done nor Dead nor Removed are unfinished.
type BatchInfo struct {
	ID           ID // of its planner's job, if it has one
	Name         string
	Schedule     string    // that started it, empty if none did
	ScheduledFor time.Time // the occurrence

	Planned int // items stored
	Done    int // completed
	Dead    int
	Removed int // deleted before they had ended, or set aside as unreadable
	Failed  int // attempts of items that failed, or that a crash ended
	Skipped int // passed over, as an equal item was there
	Bad     int // could not be planned

	Planning    bool     // more items may come
	PlanError   string   // why the planner did not come to its end
	Errors      []string // of the first 10 bad items
	CancelledBy string

	StartedAt  time.Time // when EnqueueBatch began, or the planner's job was enqueued
	PlannedAt  time.Time // zero while Planning
	FinishedAt time.Time // zero before its end
	OnDone     ID        // the job that its end has enqueued, 0 if none
}

// Batch describes one batch, or answers ErrNotFound. Batches are kept for 30
// days after their end, and no more than 1000 that have ended.
func (q *Queue) Batch(id ID) (BatchInfo, error) {
	var info BatchInfo
	err := q.store.view(func(tx *bolt.Tx) error {
		r := newReader(q, tx)
		row := r.batch(uint64(id))
		if row == nil {
			return fmt.Errorf("%w: batch %d", ErrNotFound, id)
		}
		info = r.batchInfo(row)
		return nil
	})
	return info, q.readError(err)
}

// Batches lists the batches with ids below a given one, or all for 0, newest
// first. It reads pages of 100 in short transactions, so the loop may take its
// time. An error ends the listing.
func (q *Queue) Batches(below ID) iter.Seq2[BatchInfo, error] {
	return func(yield func(BatchInfo, error) bool) {
		for {
			page, err := q.batchPage(uint64(below))
			if err != nil {
				yield(BatchInfo{}, err)
				return
			}
			for _, info := range page {
				if below = info.ID; !yield(info, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

// Batch describes the batch the job belongs to: for the handler of OnDone the
// totals. ErrNotFound if it belongs to none.
func (w *Work) Batch() (BatchInfo, error) {
	return w.run.q.Batch(w.BatchID)
}

func (q *Queue) batchPage(below uint64) (page []BatchInfo, err error) {
	if below == 0 {
		below = batchEnded << 56
	}
	err = q.store.view(func(tx *bolt.Tx) error {
		r := newReader(q, tx)
		cur := r.bucket(bucketBatches).Cursor()
		for len(page) < pageSize {
			k, _ := cur.Seek(appendID(nil, below))
			if k == nil {
				k, _ = cur.Last()
			} else {
				k, _ = cur.Prev()
			}
			if k == nil {
				return nil
			}
			below = keyID(k)
			if row := r.batch(below); row != nil {
				page = append(page, r.batchInfo(row))
			}
		}
		return nil
	})
	return page, q.readError(err)
}

// batch is the row of a batch, or nil.
func (r *reader) batch(id uint64) *batchRow {
	v := sealedIn(r.bucket(bucketBatches), appendID(nil, id))
	if v == nil {
		return nil
	}
	row := &batchRow{id: id}
	row.decode(v)
	return row
}

func (r *reader) batchInfo(row *batchRow) BatchInfo {
	b := r.bucket(bucketBatches)
	made := decodeBatchMade(sealedIn(b, appendBatch(nil, row.id, batchMadeOf)))
	noted := appendBatch(nil, row.id, batchNoted)
	notes := decodeBatchNotes(r.q.vault.decryptSealed(bucketBatches, noted, b.Get(noted)))
	info := BatchInfo{
		ID: ID(row.id), Name: made.name,
		Planned: int(row.n.planned), Done: int(row.n.done), Dead: int(row.n.dead), Removed: int(row.n.removed),
		Failed: int(row.n.failed), Skipped: int(row.n.skipped), Bad: int(row.n.bad),
		Planning: !row.sealed(), PlanError: notes.planError, Errors: notes.errors, CancelledBy: notes.cancelledBy,
		StartedAt: fromMicros(row.started), PlannedAt: fromMicros(row.planned), FinishedAt: fromMicros(row.ended),
		OnDone: ID(row.end),
	}
	if o := made.origin; o != nil {
		info.Schedule, info.ScheduledFor = o.schedule, fromMicros(o.at)
	}
	return info
}

// walkItems walks the items of a batch that are stored, range by range.
func (r *reader) walkItems(f Filter, after []byte, visit func([]byte, uint64) bool) {
	batch := uint64(f.Batch)
	from := uint64(0) // or the end, exclusive
	if len(after) == 8 {
		from = keyID(after)
	}
	if f.OldestFirst {
		r.walkItemsUp(batch, from+1, visit)
		return
	}
	if from == 0 {
		from = math.MaxUint64
	}
	ranges, jobs := r.bucket(bucketBatches).Cursor(), r.bucket(bucketJobs).Cursor()
	for {
		first, n := lastRange(ranges, batch, from)
		if n == 0 {
			return
		}
		k, _ := jobs.Seek(appendID(nil, min(from, first+n)))
		if k == nil {
			k, _ = jobs.Last()
		} else {
			k, _ = jobs.Prev()
		}
		for ; k != nil && keyID(k) >= first; k, _ = jobs.Prev() {
			if !visit(k, keyID(k)) {
				return
			}
		}
		from = first
	}
}

// walkItemsUp walks from an id on.
func (r *reader) walkItemsUp(batch, from uint64, visit func([]byte, uint64) bool) {
	ranges, jobs := r.bucket(bucketBatches).Cursor(), r.bucket(bucketJobs).Cursor()
	first, n := lastRange(ranges, batch, from+1)
	for {
		k, _ := jobs.Seek(appendID(nil, max(from, first)))
		for ; k != nil && keyID(k) < first+n; k, _ = jobs.Next() {
			if !visit(k, keyID(k)) {
				return
			}
		}
		k, v := ranges.Seek(appendRange(nil, batch, max(from, first)+1))
		if len(k) != 17 || keyID(k) != batch || k[8] != batchRange {
			return
		}
		first = keyID(k[9:])
		n, _ = binary.Uvarint(v)
	}
}
