package stint

import (
	"cmp"
	"maps"
	"slices"
)

// job takes in a job: its record, and all that follows from it.
func (im *importer) job(line *jobLine) error {
	if err := im.ascends(line.ID); err != nil {
		return err
	}
	rec, state, err := line.record()
	if err != nil {
		return &badLine{err: err}
	}
	t, id := im.t, line.ID
	if rec.place != nil {
		rec.place = t.vault.hidePlace(rec.place)
	}
	row, err := t.row(rec.key())
	if err != nil {
		return err
	}
	j := &stored{id: id, rec: rec, row: row, state: state, at: cmp.Or(rec.finished, rec.runAt)}
	if state == Scheduled || state == Retrying {
		j.at = rec.runAt
	}
	row.dirty = true
	row.n[state]++
	if err := t.index(j); err != nil {
		return err
	}
	if err := t.rewrite(j); err != nil {
		return err
	}
	if rec.expires != 0 && unfinished(state) {
		if err := t.put(bucketDue, appendDue(nil, rec.expires, id, dueExpiry), nil); err != nil {
			return err
		}
	}
	if err := im.hold(line, j); err != nil {
		return err
	}
	if line.Suspect && unfinished(state) {
		im.suspects[id] = nil
	}
	if im.jobs++; rec.role == 0 {
		return nil
	}
	return im.member(j)
}

// hold gives the job its unique place.
func (im *importer) hold(line *jobLine, j *stored) error {
	u := line.Unique
	if u == nil || !u.Held && (j.rec.placeMode != untilDone || !unfinished(j.state)) {
		return nil
	}
	if im.t.has(bucketPlaces, j.rec.place) {
		return bad("field %q: another job holds this place too", "unique.held")
	}
	return im.t.takePlace(j.id, j.rec)
}

// member counts the job in its batch.
func (im *importer) member(j *stored) error {
	t, seen := im.t, im.batches[j.rec.batch]
	if j.rec.role == batchPlanner && seen != nil {
		seen.planner = true
	}
	if j.rec.role != batchItem || seen == nil {
		return nil // of a batch that is forgotten
	}
	first, n := lastRange(t.cursor(bucketBatches), j.rec.batch, j.id+1)
	if j.id < first || j.id-first >= n {
		return bad("field %q: the ranges of batch %d do not have job %d", "batch", j.rec.batch, j.id)
	}
	switch j.state {
	case Dead:
		seen.dead++
		return nil
	case Completed:
		seen.done++
		return nil
	}
	seen.live++
	if t.batch(j.rec.batch).is(batchRepeats) {
		return nil
	}
	key := t.itemKey(j.rec.batch, j.rec)[itemPart:]
	if t.get(bucketItems, key) != nil {
		return nil // it was retried while another one was there
	}
	return t.put(bucketItems, key, appendID(nil, j.id))
}

// finish makes good what was left out.
func (im *importer) finish() error {
	t := im.t
	if im.lastID > maxExportID {
		return im.fault(bad("an id is higher than %d", uint64(maxExportID)))
	}
	if err := setLastID(t.bucket(bucketJobs), im.lastID); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(im.batches)) {
		if err := im.settleBatch(t.batch(id), im.batches[id]); err != nil {
			return im.fault(err)
		}
	}
	if err := im.settleSchedules(); err != nil {
		return err
	}
	c := &committer{suspects: im.suspects}
	return t.putSealed(bucketMeta, keyRunning, c.encodeRunning())
}

// settleBatch lets a batch agree with its items that have come.
func (im *importer) settleBatch(row *batchRow, seen *importedBatch) error {
	n := &row.n
	removed := n.planned - n.done - n.dead - seen.live
	if seen.done > n.done || seen.dead > n.dead || removed < 0 {
		return bad("batch %d counts %d of its items as done, %d as dead and %d as unfinished, the lines have %d, %d and %d", row.id, n.done, n.dead, row.live(), seen.done, seen.dead, seen.live)
	}
	if removed != n.removed || seen.marked != n.marked {
		n.removed, n.marked = removed, seen.marked
		row.dirty = true
	}
	if !row.sealed() && !row.is(batchByHand) && !seen.planner {
		return im.t.planFailed(row, "the job of the planner was not in the export")
	}
	return im.t.endBatch(row)
}

// settleSchedules ends the runs whose jobs have not come.
func (im *importer) settleSchedules() error {
	t := im.t
	var names []string
	_ = t.bucket(bucketSchedules).ForEach(func(k, _ []byte) error { names = append(names, string(k)); return nil })
	for _, name := range names {
		l, err := t.ledger(name)
		if err != nil {
			return err
		}
		changed := false
		for i := range l.runs {
			r := &l.runs[i]
			id := uint64(r.Job)
			if unfinished(r.State) && !t.has(bucketJobs, appendID(nil, id)) && t.batch(id) == nil {
				r.State, r.Reason, r.EndedAt = gone, "its job was not in the export", fromMicros(t.now)
				changed = true
			}
		}
		if !changed {
			continue
		}
		if err := t.putLedger(name, l); err != nil {
			return err
		}
	}
	return nil
}
