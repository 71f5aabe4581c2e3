package stint

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// What becomes of the lines of an export, but for jobs.

// put takes in a line of a kind.
func (im *importer) put(kind string, b []byte) error {
	switch kind {
	case lineHeader:
		var header struct{ Version int }
		if json.Unmarshal(b, &header) == nil && header.Version > exportVersion {
			return im.head(&headerLine{Version: header.Version}) // whatever else is in it
		}
		return putLine(b, im.head)
	case lineQueue:
		return putLine(b, im.queue)
	case lineSchedule:
		return putLine(b, im.schedule)
	case lineBatch:
		return putLine(b, im.batch)
	case lineItem:
		return putLine(b, im.item)
	case lineLane:
		return putLine(b, im.laneTotals)
	case lineJob:
		return putLine(b, im.job)
	case lineQuarantined:
		return putLine(b, im.quarantined)
	case lineAction:
		return putLine(b, im.action)
	}
	return putLine(b, im.place)
}

func putLine[T any](b []byte, put func(*T) error) error {
	var line T
	if err := decodeLine(b, &line); err != nil {
		return &badLine{err: err}
	}
	return put(&line)
}

// ascends wants ids that are possible and grow from line to line.
func (im *importer) ascends(id uint64) error {
	if id < 1 || id > maxExportID {
		return bad("field %q: %d; ids are from 1 to %d", "id", id, uint64(maxExportID))
	}
	if id <= im.previous {
		return bad("field %q: %d behind %d; ids must grow from line to line", "id", id, im.previous)
	}
	im.previous = id
	im.given(id)
	return nil
}

// given notes an id that must not be given again.
func (im *importer) given(id uint64) { im.lastID = max(im.lastID, id) }

func (im *importer) queue(line *queueLine) error {
	if err := checkName("queue", line.Name); err != nil {
		return bad("field %q: %w", "name", err)
	}
	if line.Paused <= 0 {
		return bad("field %q: a queue has a line while it is paused, since 1970 at the earliest", "paused")
	}
	value := append(binary.AppendVarint(nil, int64(line.Paused)), line.By...)
	return im.t.putSealed(bucketQueues, []byte(line.Name), value)
}

func (im *importer) schedule(line *scheduleLine) error {
	if err := checkName("schedule", line.Name); err != nil {
		return bad("field %q: %w", "name", err)
	}
	overlap, err := wordNumber("overlap", overlapWords, line.Overlap)
	if err != nil {
		return &badLine{err: err}
	}
	switch {
	case len(line.Waiting) > maxWaiting:
		return bad("field %q: %d, at most %d are possible", "waiting", len(line.Waiting), maxWaiting)
	case len(line.Runs) > runsKept:
		return bad("field %q: %d, at most %d are kept", "runs", len(line.Runs), runsKept)
	case line.MissedMax < -1 || line.MissedMax > maxWaiting || line.MissedAge < 0 || line.Jitter < 0:
		return bad("field %q, %q or %q has an impossible value", "missed_max", "missed_age", "jitter")
	case line.Job > maxExportID:
		return bad("field %q: at most %d", "job", uint64(maxExportID))
	case im.t.has(bucketSchedules, []byte(line.Name)):
		return bad("field %q: there are two schedules %q", "name", line.Name)
	}
	l := &ledger{
		spec: line.Spec, zone: line.Zone, kind: line.Kind,
		missed: MissedPolicy{line.MissedMax, time.Duration(line.MissedAge)}, overlap: OverlapPolicy(overlap), jitter: time.Duration(line.Jitter),
		starts: int64(line.Starting), until: int64(line.Until),
		anchor: int64(line.Anchor), next: int64(line.Next), last: int64(line.Last), ran: int64(line.Ran), job: line.Job,
		pausedAt: int64(line.Paused), pausedBy: line.PausedBy,
	}
	for _, o := range line.Waiting {
		l.waiting = append(l.waiting, occurrence{at: int64(o.At), missed: o.Missed, since: int64(o.Since)})
	}
	for _, r := range line.Runs {
		state := gone
		if r.State != "" {
			if state, err = stateNumber("runs.state", r.State); err != nil {
				return &badLine{err: err}
			}
		}
		if r.Job > maxExportID {
			return bad("field %q: at most %d", "runs.job", uint64(maxExportID))
		}
		im.given(r.Job)
		l.runs = append(l.runs, ScheduleRun{
			At: fromMicros(int64(r.At)), Job: ID(r.Job), State: state, Missed: r.Missed, Skipped: r.Skipped,
			EndedAt: fromMicros(int64(r.Ended)), Reason: cut(r.Reason, maxNoteSize),
		})
	}
	im.given(line.Job)
	return im.t.putLedger(line.Name, l)
}

func (im *importer) batch(line *batchLine) error {
	if err := im.ascends(line.ID); err != nil {
		return err
	}
	row, made, err := line.row()
	if err != nil {
		return &badLine{err: err}
	}
	t, id := im.t, line.ID
	if err := im.ranges(row, line.Ranges); err != nil {
		return err
	}
	im.given(row.end)
	im.batches[id] = &importedBatch{}
	t.rememberBatch(id, row)
	if d := made.onDone; d != nil {
		d.args = t.vault.encrypt(bucketBatches, appendBatch(nil, id, batchMadeOf), d.args)
	}
	if err := t.putSealed(bucketBatches, appendBatch(nil, id, batchMadeOf), made.encode()); err != nil {
		return err
	}
	notes := &batchNotes{cancelledBy: line.CancelledBy, planError: cut(line.PlanError, maxBatchError)}
	for _, text := range line.Errors[:min(len(line.Errors), maxBatchErrors)] {
		notes.errors = append(notes.errors, cut(text, maxBatchError))
	}
	if row.notes = notes; notes.cancelledBy != "" || notes.planError != "" || len(notes.errors) > 0 {
		if err := t.putBatchNotes(row); err != nil {
			return err
		}
	}
	if line.Reached != nil {
		if err := t.putEncrypted(bucketBatches, appendBatch(t.key[:0], id, batchReached), line.Reached); err != nil {
			return err
		}
	}
	if row.ended == 0 {
		return nil
	}
	return t.put(bucketBatches, appendEnded(nil, row.ended, id), nil)
}

// row is the batch of a line.
func (line *batchLine) row() (*batchRow, *batchMade, error) {
	row := &batchRow{
		id: line.ID, started: int64(line.Started), planned: int64(line.Planned), ended: int64(line.Ended), end: line.End, dirty: true,
		n: batchTally{
			planned: line.Items, done: line.Done, dead: line.Dead, removed: line.Removed,
			failed: line.Failed, skipped: line.Skipped, bad: line.Bad,
		},
	}
	for _, flag := range line.Flags {
		bit, err := wordNumber("flags", flagWords, flag)
		if err != nil {
			return nil, nil, err
		}
		row.flags |= 1 << bit
	}
	for _, n := range row.n.fields() {
		if *n < 0 || *n > maxExportID {
			return nil, nil, fmt.Errorf("fields of counts: none may be negative, or more than %d", uint64(maxExportID))
		}
	}
	made := &batchMade{name: line.Name}
	if o := line.Origin; o != nil {
		if err := checkName("schedule", o.Schedule); err != nil {
			return nil, nil, fmt.Errorf("field %q: %w", "origin.schedule", err)
		}
		made.origin = &origin{schedule: o.Schedule, at: int64(o.At)}
	}
	if d := line.OnDone; d != nil {
		job := &jobLine{Kind: d.Kind, Queue: d.Queue, Priority: d.Priority, Args: d.Args}
		if err := job.check(); err != nil {
			return nil, nil, fmt.Errorf("field %q: %w", "on_done", err)
		}
		made.onDone = &onDone{kind: d.Kind, queue: d.Queue, priority: d.Priority, args: d.Args}
	}
	wantsEnd := row.ended != 0 && made.onDone != nil && !row.is(batchTakenBack)
	switch {
	case row.started < 0 || row.planned < 0 || row.ended < 0:
		return nil, nil, fmt.Errorf("fields of times: none may be before 1970")
	case row.ended != 0 && !row.sealed():
		return nil, nil, fmt.Errorf("field %q is missing, the batch has ended", "planned")
	case row.live() < 0:
		return nil, nil, fmt.Errorf("field %q: less than those that are done, dead and removed", "items")
	case wantsEnd != (row.end != 0) || row.end > maxExportID:
		return nil, nil, fmt.Errorf("field %q: a batch with %q has it once it has ended, and no other", "end", "on_done")
	}
	return row, made, nil
}

// ranges puts the ids of a batch's items.
func (im *importer) ranges(row *batchRow, ranges [][2]uint64) error {
	var items, behind uint64
	for i, r := range ranges {
		first, n := r[0], r[1]
		if first < 1 || n < 1 || first > maxExportID || n > maxExportID || first+n > maxExportID+1 || i > 0 && first <= behind {
			return bad("field %q: the ranges must ascend with a gap between them", "ranges")
		}
		behind = first + n
		items += n
		im.given(behind - 1)
		if err := im.t.putSealed(bucketBatches, appendRange(nil, row.id, first), binary.AppendUvarint(nil, n)); err != nil {
			return err
		}
	}
	if items != uint64(row.n.planned) {
		return bad("field %q: they have %d ids, the batch has %d items", "ranges", items, row.n.planned)
	}
	return nil
}

func (im *importer) item(line *itemLine) error {
	batch := im.batches[line.Batch]
	row := im.t.batch(line.Batch)
	if batch == nil || row == nil {
		return bad("field %q: there is no line of batch %d", "batch", line.Batch)
	}
	if err := checkName("kind", line.Kind); err != nil {
		return bad("field %q: %w", "kind", err)
	}
	if len(line.Key) > maxItemKey {
		return bad("field %q: %d bytes, at most %d are possible", "key", len(line.Key), maxItemKey)
	}
	if !row.remembers() || row.is(batchRepeats) {
		return nil
	}
	key := append(append(appendBatchOfItem(nil, row.id), line.Kind...), 0)
	key = im.t.vault.hideItem(append(key, line.Key...), itemPart)
	if im.t.has(bucketItems, key) {
		return bad("field %q: it is there twice", "key")
	}
	batch.marked++
	return im.t.putSealed(bucketItems, key, im.t.vault.markItem(key, line.Key))
}

func (im *importer) laneTotals(line *laneLine) error {
	job := &jobLine{Kind: line.Kind, Queue: line.Queue, Priority: line.Priority, Args: value("0")}
	if err := job.check(); err != nil {
		return &badLine{err: err}
	}
	if line.Processed < 0 || line.Failed < 0 || line.Died < 0 {
		return bad("fields %q, %q and %q: none may be negative", "processed", "failed", "died")
	}
	key := laneKey{queue: line.Queue, kind: line.Kind, priority: line.Priority}
	if im.t.has(bucketLanes, key.appendTo(nil)) {
		return bad("fields %q, %q and %q: there are two such lanes", "queue", "kind", "priority")
	}
	row, err := im.t.row(key)
	if err != nil {
		return err
	}
	row.n[totalProcessed], row.n[totalFailed], row.n[totalDied] = line.Processed, line.Failed, line.Died
	return im.t.putSealed(bucketLanes, key.appendTo(nil), row.encode())
}

func (im *importer) quarantined(line *quarantinedLine) error {
	switch {
	case line.ID < 1 || line.ID > maxExportID:
		return bad("field %q: %d; ids are from 1 to %d", "id", line.ID, uint64(maxExportID))
	case line.At < 0:
		return bad("field %q: it must not be before 1970", "at")
	case im.t.has(bucketJobs, appendID(nil, line.ID)):
		return bad("field %q: %d is among the jobs too", "id", line.ID)
	}
	if im.again++; line.ID != im.previous {
		im.again = 0
	}
	if im.again > math.MaxUint8/2 {
		return bad("field %q: too many records of job %d", "id", line.ID)
	}
	im.previous = line.ID
	im.given(line.ID)
	return im.t.putAside(line.ID, int64(line.At), strings.ToValidUTF8(line.Reason, "?"), im.t.vault.encrypt(bucketQuarantine, appendID(nil, line.ID), line.Record))
}

func (im *importer) place(line *placeLine) error {
	switch {
	case len(line.Place) != placeSize:
		return bad("field %q: it must have %d bytes", "place", placeSize)
	case line.Job < 1 || line.Job > maxExportID:
		return bad("field %q: %d; ids are from 1 to %d", "job", line.Job, uint64(maxExportID))
	case line.Until <= 0:
		return bad("field %q: it must be behind 1970", "until")
	}
	place := im.t.vault.hidePlace(line.Place)
	if im.t.has(bucketPlaces, place) {
		return bad("field %q: somebody holds it already", "place")
	}
	im.given(line.Job)
	return im.t.takePlace(line.Job, &record{place: place, placeMode: forPeriod, placeUntil: int64(line.Until)})
}

func (im *importer) action(line *actionLine) error {
	if line.At <= 0 {
		return bad("field %q: an action has a time, since 1970 at the earliest", "at")
	}
	a := (&Action{By: line.By, Verb: line.Verb, Target: line.Target, Note: line.Note}).bounded()
	a.At = fromMicros(int64(line.At))
	return im.t.logAction(&a)
}
