package stint

import (
	"encoding/binary"
	"slices"
)

// Unique places. The places bucket maps the hash of an equal job to the one
// that holds the place: mode | id | until. An entry is a consequence of its
// holder's state: it is written with the job and removed by move when the job
// ends, whoever ends it. Only a period outlives its job, if that completed;
// a due entry removes it then.

// holder is the job that holds the place now, or 0.
func (t *txn) holder(place []byte) uint64 {
	mode, id, until, ok := t.place(place)
	switch {
	case !ok:
		return 0
	case mode == forPeriod && until <= t.now:
		return 0
	case mode == whileWaiting && t.claimed(id):
		return 0
	}
	return id
}

// claimed says whether a worker has the job, or is about to get it. Memory
// learns of a claim after its commit, when a transaction of the caller's may
// be under way already; so there the file is asked too.
func (t *txn) claimed(id uint64) bool {
	if t.execution(id) != nil {
		return true
	}
	if t.own {
		return false
	}
	_, running, _, _ := decodeRunning(t.getSealed(bucketMeta, keyRunning))
	return slices.Contains(running, id)
}

func (t *txn) place(place []byte) (mode placeMode, id uint64, until int64, ok bool) {
	v := t.getSealed(bucketPlaces, place)
	if len(v) != 17 {
		return 0, 0, 0, false
	}
	return placeMode(v[0]), binary.BigEndian.Uint64(v[1:]), int64(binary.BigEndian.Uint64(v[9:])), true
}

// takePlace gives the place to a job, and takes it from one that only held it
// while waiting or for a period that is over.
func (t *txn) takePlace(id uint64, r *record) error {
	if mode, _, until, ok := t.place(r.place); ok && mode == forPeriod {
		if err := t.delete(bucketDue, appendDuePlace(t.key[:0], until, r.place)); err != nil {
			return err
		}
	}
	v := appendID(appendID([]byte{byte(r.placeMode)}, id), uint64(r.placeUntil))
	if err := t.putSealed(bucketPlaces, r.place, v); err != nil {
		return err
	}
	if r.placeMode != forPeriod {
		return nil
	}
	t.dueAt(r.placeUntil)
	return t.put(bucketDue, appendDuePlace(t.key[:0], r.placeUntil, r.place), nil)
}

// release gives up what a job held while it was unfinished: its place and its
// expiry.
func (t *txn) release(j *stored, to State) error {
	if j.rec == nil || !unfinished(j.state) {
		return t.releasePeriod(j)
	}
	if j.rec.expires != 0 {
		if err := t.delete(bucketDue, appendDue(t.key[:0], j.rec.expires, j.id, dueExpiry)); err != nil {
			return err
		}
	}
	completed := j.state == Running && to != Dead
	if j.rec.place == nil || completed && j.rec.placeMode == forPeriod {
		return nil
	}
	return t.dropPlace(j)
}

// releasePeriod: deleting a completed job that is kept frees its period too.
func (t *txn) releasePeriod(j *stored) error {
	if j.rec == nil || j.rec.place == nil || j.state != Completed {
		return nil
	}
	return t.dropPlace(j)
}

func (t *txn) dropPlace(j *stored) error {
	mode, id, until, ok := t.place(j.rec.place)
	if !ok || id != j.id {
		return nil
	}
	if mode == forPeriod {
		if err := t.delete(bucketDue, appendDuePlace(t.key[:0], until, j.rec.place)); err != nil {
			return err
		}
	}
	return t.delete(bucketPlaces, j.rec.place)
}
