package stint

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Export writes everything that is in the queue to w as JSON lines, as it is
// at one moment, for Import, for other programs, or to be read by people. It
// copies the file beside its place first, so there must be room for that, and
// reads the copy: however slow w is, the queue goes on meanwhile. Memory does
// not grow with the number of jobs.
//
// The application's own buckets are not part of it; Backup has those too.
//
// Args, results and error texts are written plainly, also where the file has
// them encrypted. Keep the export accordingly.
//
// Each line is an object whose field "line" says what it is: "export", the
// first line, "queue" (a paused one), "schedule", "batch", "item" (a finished
// one that a batch which is still planned must remember), "lane" (totals of a
// queue, priority and kind), "job", "quarantined" (a record that cannot be
// read), "place" (a Unique period that outlives its job), "action" (of the log
// of LogAction), and "end", the last line. What History and Starts tell is not
// part of it. The lines come in this order, jobs by id. The fields are those of Info,
// BatchInfo and ScheduleInfo in lower case; zero and empty ones are left out.
// Times are RFC 3339 in UTC to the microsecond, durations as "1m30s". Args are
// JSON as they were stored; bytes that are no JSON are {"base64": "…"}. An
// export is made to be filtered: see Import for what may be changed.
//
// progress, if it is not nil, is called now and then, with the number of jobs
// written and of all jobs, and at the end with the two equal. Export returns
// ctx's error when that ends, ErrClosed, ErrCorrupt, ErrWrongKey when the key of
// a job is missing, or what w or the disk answers; what w has got then has no
// last line, which Import notices.
func (q *Queue) Export(ctx context.Context, w io.Writer, progress func(Progress)) error {
	if progress == nil {
		progress = func(Progress) {}
	}
	if err := q.finishLeaves(ctx); err != nil {
		return fmt.Errorf("stint: cannot export: %w", err)
	}
	progress(Progress{Text: "copying the file"})
	db, remove, err := q.copyAside(ctx)
	if err != nil {
		return fmt.Errorf("stint: cannot export: %w", err)
	}
	defer remove()
	user := &usersCode{w: w, progress: progress}
	e := &exporter{ctx: ctx, vault: q.vault, progress: user.tell, sum: crc32.New(castagnoli)}
	e.out = bufio.NewWriterSize(user, 64<<10)
	e.json = json.NewEncoder(io.MultiWriter(e.out, e.sum))
	e.json.SetEscapeHTML(false)
	copied := &store{}
	copied.cur.Store(&openedFile{db: db})
	err = copied.view(func(tx *bolt.Tx) error {
		e.root = tx.Bucket(rootBucket)
		return e.all()
	})
	if err == nil {
		err = e.out.Flush()
	}
	if user.panicked != nil {
		panic(user.panicked)
	}
	if err != nil {
		return fmt.Errorf("stint: the export is not complete: %w", err)
	}
	progress(Progress{Done: e.done, Total: e.done, Text: "done"})
	return nil
}

// copyAside is a copy of the database that nobody else has.
func (q *Queue) copyAside(ctx context.Context) (db *bolt.DB, remove func(), err error) {
	path := q.store.db().Path()
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".export-*")
	if err != nil {
		return nil, nil, cause(err)
	}
	name := f.Name()
	_ = os.Remove(name)                                      // where the system allows it, a crash leaves nothing behind
	discard := func() { _ = f.Close(); _ = os.Remove(name) } // and else this does
	if _, err = q.backup(ctx, f); ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		opts := boltOptions(f, time.Second)
		opts.ReadOnly = true
		db, err = bolt.Open(name, 0o600, opts)
	}
	if err != nil {
		discard()
		return nil, nil, err
	}
	return db, func() { _ = db.Close(); discard() }, nil
}

// usersCode keeps a panic of the caller's for later: in a transaction it would
// be taken for one of bbolt's, about damage.
type usersCode struct {
	w        io.Writer
	progress func(Progress)
	panicked any
}

func (u *usersCode) Write(p []byte) (n int, err error) {
	defer u.catch(&err)
	return u.w.Write(p)
}

func (u *usersCode) tell(p Progress) {
	var err error
	defer u.catch(&err)
	u.progress(p)
}

func (u *usersCode) catch(err *error) {
	if p := recover(); p != nil {
		u.panicked, *err = p, errUsersPanic
	}
}

var errUsersPanic = errors.New("stint: a panic of the caller's")

// exporter is one export on its way.
type exporter struct {
	ctx      context.Context
	progress func(Progress)
	out      *bufio.Writer
	json     *json.Encoder
	sum      hash.Hash32
	vault    *vault
	root     *bolt.Bucket
	lines    int
	at       stamp

	done, total int                 // jobs
	running     map[uint64]struct{} // as the file says
	suspects    map[uint64]struct{}
	lanes       []*laneRow
	remember    map[uint64]bool // batches with finished items
}

func (e *exporter) bucket(name bucketName) *bolt.Bucket { return e.root.Bucket(bucketNames[name]) }

func (e *exporter) all() error {
	for _, part := range []func() error{
		e.header, e.queues, e.schedules, e.batches, e.items, e.laneTotals, e.jobs, e.quarantine, e.places, e.actions,
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return e.line(endLine{Line: lineEnd, Lines: e.lines + 1, Sum: fmt.Sprintf("%08x", e.sum.Sum32())})
}

// line writes one line.
func (e *exporter) line(line any) error {
	if e.lines++; e.lines%1000 == 0 {
		if err := e.ctx.Err(); err != nil {
			return err
		}
	}
	return e.json.Encode(line)
}

// each is ForEach with values that are sealed.
func (e *exporter) each(name bucketName, fn func(k, v []byte) error) error {
	return e.bucket(name).ForEach(func(k, v []byte) error {
		value, ok := openValue(k, v)
		if !ok {
			return fmt.Errorf("%w: the checksum of an entry of its bucket %q is wrong; see Check and Repair", ErrCorrupt, bucketNames[name])
		}
		return fn(k, value)
	})
}

func (e *exporter) header() error {
	meta := e.bucket(bucketMeta)
	last, _ := lastID(e.bucket(bucketJobs))
	h := headerLine{
		Line: lineHeader, Version: exportVersion, Format: formatVersion,
		File: hex.EncodeToString(sealedIn(meta, keyFile)), At: stamp(micros(time.Now())), LastID: last,
	}
	e.at = h.At
	_, running, suspects, _ := decodeRunning(sealedIn(meta, keyRunning))
	e.running, e.suspects = setOf(running), setOf(suspects)
	err := e.each(bucketLanes, func(k, v []byte) error {
		key, _ := parseLaneKey(k)
		row := &laneRow{key: key}
		row.decode(v)
		e.lanes = append(e.lanes, row)
		for state := Ready; state <= Dead; state++ {
			h.Jobs += int(row.n[state])
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.remember = map[uint64]bool{}
	err = walkBatches(e.bucket(bucketBatches), func(row *batchRow) {
		h.Batches++
		e.remember[row.id] = row.remembers()
	})
	if err != nil {
		return err
	}
	_ = e.bucket(bucketSchedules).ForEach(func(_, _ []byte) error { h.Schedules++; return nil })
	e.total = h.Jobs
	return e.line(h)
}

func setOf(ids []uint64) map[uint64]struct{} {
	set := map[uint64]struct{}{}
	for _, id := range ids {
		set[id] = struct{}{}
	}
	return set
}

func (e *exporter) queues() error {
	return e.each(bucketQueues, func(k, v []byte) error {
		pause := decodePause(v)
		return e.line(queueLine{Line: lineQueue, Name: string(k), Paused: stamp(pause.since), By: pause.by})
	})
}

func (e *exporter) schedules() error {
	return e.bucket(bucketSchedules).ForEach(func(k, v []byte) error {
		l, err := e.vault.readLedger(string(k), v)
		if err != nil {
			return err
		}
		line := scheduleLine{
			Line: lineSchedule, Name: string(k), Spec: l.spec, Zone: l.zone, Kind: l.kind,
			MissedMax: l.missed.max, MissedAge: lasting(l.missed.maxAge), Overlap: word(overlapWords, int(l.overlap)), Jitter: lasting(l.jitter),
			Starting: stamp(l.starts), Until: stamp(l.until),
			Anchor: stamp(l.anchor), Next: stamp(l.next), Last: stamp(l.last), Ran: stamp(l.ran), Job: l.job,
			Paused: stamp(l.pausedAt), PausedBy: l.pausedBy,
		}
		for _, o := range l.waiting {
			line.Waiting = append(line.Waiting, occurrenceLine{At: stamp(o.at), Missed: o.missed, Since: stamp(o.since)})
		}
		for _, r := range l.runs {
			run := runLine{
				At: stamp(micros(r.At)), Job: uint64(r.Job), Missed: r.Missed, Skipped: r.Skipped,
				Ended: stamp(micros(r.EndedAt)), Reason: r.Reason,
			}
			if r.State != gone {
				run.State = r.State.String()
			}
			line.Runs = append(line.Runs, run)
		}
		return e.line(line)
	})
}

func (e *exporter) batches() error {
	var failed error
	b := e.bucket(bucketBatches)
	err := walkBatches(b, func(row *batchRow) {
		if failed == nil {
			failed = e.line(e.batchLine(b, row))
		}
	})
	return errors.Join(err, failed)
}

func (e *exporter) batchLine(b *bolt.Bucket, row *batchRow) batchLine {
	made := decodeBatchMade(sealedIn(b, appendBatch(nil, row.id, batchMadeOf)))
	hidden := func(what byte) []byte {
		key := appendBatch(nil, row.id, what)
		return e.vault.decryptSealed(bucketBatches, key, b.Get(key))
	}
	notes := decodeBatchNotes(hidden(batchNoted))
	line := batchLine{
		Line: lineBatch, ID: row.id, Name: made.name,
		Items: row.n.planned, Done: row.n.done, Dead: row.n.dead, Removed: row.n.removed,
		Failed: row.n.failed, Skipped: row.n.skipped, Bad: row.n.bad,
		Started: stamp(row.started), Planned: stamp(row.planned), Ended: stamp(row.ended), End: row.end,
		CancelledBy: notes.cancelledBy, PlanError: notes.planError, Errors: notes.errors,
	}
	for i, flag := range flagWords {
		if row.is(1 << i) {
			line.Flags = append(line.Flags, flag)
		}
	}
	if o := made.origin; o != nil {
		line.Origin = &occurrenceLine{Schedule: o.schedule, At: stamp(o.at)}
	}
	if d := made.onDone; d != nil {
		args, _ := e.vault.decrypt(bucketBatches, appendBatch(nil, row.id, batchMadeOf), d.args)
		line.OnDone = &onDoneLine{Queue: d.queue, Kind: d.kind, Priority: d.priority, Args: args}
	}
	if reached := hidden(batchReached); reached != nil {
		line.Reached = reached
	}
	cur := b.Cursor()
	prefix := appendBatch(nil, row.id, batchRange)
	for k, v := cur.Seek(prefix); len(k) == 17 && keyID(k) == row.id && k[8] == batchRange; k, v = cur.Next() {
		value, _ := openValue(k, v)
		n, _ := binary.Uvarint(value)
		line.Ranges = append(line.Ranges, [2]uint64{keyID(k[9:]), n})
	}
	return line
}

// items are the finished ones that still count.
func (e *exporter) items() error {
	cur := e.bucket(bucketItems).Cursor()
	for k, v := cur.First(); len(k) > itemPart && k[0] == 0; k, v = cur.Next() {
		batch := keyID(k[1:])
		kind, key, ok := bytes.Cut(k[itemPart:], []byte{0})
		if !ok || !e.remember[batch] {
			continue
		}
		if e.vault != nil {
			value, _ := openValue(k, v)
			key = e.vault.markedItem(k, value)
		}
		if err := e.line(itemLine{Line: lineItem, Batch: batch, Kind: string(kind), Key: key}); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) laneTotals() error {
	for _, row := range e.lanes {
		err := e.line(laneLine{
			Line: lineLane, Queue: row.key.queue, Kind: row.key.kind, Priority: row.key.priority,
			Processed: row.n[totalProcessed], Failed: row.n[totalFailed], Died: row.n[totalDied],
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// quarantine are the records set aside.
func (e *exporter) quarantine() error {
	return e.bucket(bucketQuarantine).ForEach(func(k, v []byte) error {
		if len(k) < 8 {
			return nil
		}
		entry := describeQuarantined(e.vault, k, v)
		return e.line(quarantinedLine{Line: lineQuarantined, ID: uint64(entry.ID), At: stamp(micros(entry.At)), Reason: entry.Reason, Record: entry.Raw})
	})
}

// places are those that no job has in its own line.
func (e *exporter) places() error {
	jobs := e.bucket(bucketJobs)
	return e.bucket(bucketPlaces).ForEach(func(k, sealed []byte) error {
		v, _ := openValue(k, sealed)
		if len(k) != placeSize || len(v) != 17 || placeMode(v[0]) != forPeriod || jobs.Get(v[1:9]) != nil {
			return nil
		}
		return e.line(placeLine{Line: linePlace, Place: e.vault.showPlace(bytes.Clone(k)), Job: keyID(v[1:]), Until: stamp(keyID(v[9:]))})
	})
}

func (e *exporter) actions() error {
	return e.bucket(bucketActions).ForEach(func(k, v []byte) error {
		a, err := readAction(k, v)
		if err != nil {
			return err
		}
		return e.line(actionLine{Line: lineAction, At: stamp(micros(a.At)), By: a.By, Verb: a.Verb, Target: a.Target, Note: a.Note})
	})
}
