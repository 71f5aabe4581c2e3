package stint

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// How a file is made of an export.
//
//  1. The new file is filled beside its place, by the way in which Open makes
//     one, and gets its name when all of it is on disk.
//  2. The lines are read one by one and put into transactions of bounded size
//     (import_line.go). Indexes, counts, places and items are made from them.
//  3. finish makes good what lines that were left out mean for batches and
//     schedules.

// Import makes a new queue file at path from what Export wrote. There must be
// no file yet: then it answers fs.ErrExist. Ids, times and the identity of the
// file are kept, so Work.Key stays the same; never work the old file and the
// new one both. Jobs that were running are ready. The file appears under its
// name when all of it is on disk, and not at all if anything fails. nil is a
// good Config; of another one only Logger and Keys are used, and with Keys the
// new file is encrypted. Memory does not grow with the number of jobs.
//
// An export may be edited as long as the order of its lines stays: lines of
// queues, schedules, batches, lanes, jobs, quarantined records, places and
// actions may be left out or changed, and jobs may be added in the order of
// their ids. All
// that follows from the lines is made anew; a batch counts its missing items
// as removed, and a run without its job as deleted. The last line has a
// checksum of all before it. Who has edited an export on purpose says so with
// the last line {"line":"end"}, as by
//
//	jq -c 'if .line == "end" then {line} else . end | select(.state != "dead")'
//
// ErrCorrupt means that the export is cut short, was changed, or has a line
// that makes no sense, whose number and field the error names. ErrNotStint
// means that it is none, and ErrNewerFormat that a newer version wrote it.
// progress, if it is not nil, is called as that of Export is.
func Import(path string, r io.Reader, cfg *Config, progress func(Progress)) error {
	checked, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	target, err := realPath(path)
	if err != nil {
		return refusal("create", path, err)
	}
	if _, err := os.Lstat(target); err == nil {
		return fmt.Errorf("stint: %s is there already: %w; Import only makes a new file: give another path, or move that one away", path, fs.ErrExist)
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	im := &importer{
		q: &Queue{cfg: checked, log: checked.Logger}, progress: progress,
		in: bufio.NewReaderSize(r, 64<<10), sum: crc32.New(castagnoli),
		batches: map[uint64]*importedBatch{}, suspects: map[uint64]*lane{},
	}
	o := &opener{name: path, path: target, cfg: checked, fill: im.fill}
	err = o.putNewFile(func(made string) error { return putInPlace(made, target, os.Link) })
	switch {
	case im.failed != nil:
		return fmt.Errorf("%w; nothing was made of it", im.failed)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("stint: %s has been made by somebody else meanwhile: %w; it was left as it is", path, fs.ErrExist)
	case err != nil:
		return err
	}
	progress(Progress{Done: im.jobs, Total: im.jobs, Text: "done"})
	return nil
}

// importer is one Import on its way.
type importer struct {
	q        *Queue // what a txn needs of one
	progress func(Progress)
	in       *bufio.Reader
	sum      hash.Hash32
	buf      []byte
	failed   error // what is wrong with the export

	db    *bolt.DB
	t     *txn
	size  int // what the transaction has got
	count int // of its lines

	line     int // the number of the line
	kind     int // of the line before, in lineKinds
	header   headerLine
	jobs     int
	lastID   uint64 // the highest of all
	previous uint64 // the id of the line of this kind before
	again    int    // lines of that id in a row
	suspects map[uint64]*lane
	batches  map[uint64]*importedBatch
}

// importedBatch counts what the lines have of a batch.
type importedBatch struct {
	live, dead, done, marked int64
	planner                  bool
}

// fill makes the contents of the new file.
func (im *importer) fill(db *bolt.DB) (err error) {
	db.NoSync, db.NoGrowSync, db.AllocSize = true, true, growth // it is synced as a whole
	im.db = db
	im.q.store.cur.Store(&openedFile{db: db})
	defer func() {
		if im.t != nil { // also when the reader panics
			_ = im.t.tx.Rollback()
		}
	}()
	if err := db.Update(func(tx *bolt.Tx) error { return createBuckets(tx, nil) }); err != nil {
		return err
	}
	if err := im.begin(); err != nil {
		return err
	}
	for done := false; !done; {
		if done, err = im.next(); err != nil {
			return err
		}
		if im.count < perGroup && im.size < 4<<20 && !done {
			continue
		}
		if err := im.commit(); err != nil {
			return err
		}
		im.progress(Progress{Done: im.jobs, Total: max(im.header.Jobs, im.jobs, 0), Text: "reading jobs"})
		if err := im.begin(); err != nil {
			return err
		}
	}
	if err := im.finish(); err != nil {
		return err
	}
	return im.commit()
}

func (im *importer) begin() error {
	tx, err := im.db.Begin(true)
	if err != nil {
		return err
	}
	t, err := im.q.newTxn(tx)
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	im.t, im.size, im.count = t, 0, 0
	return nil
}

func (im *importer) commit() error {
	t := im.t
	if err := t.flush(); err != nil {
		return err
	}
	im.t = nil
	return t.tx.Commit()
}

// next takes in one line, and reports whether it was the last.
func (im *importer) next() (done bool, err error) {
	before := im.sum.Sum32()
	b, err := im.read()
	if err == nil {
		done, err = im.take(b, before)
	}
	im.size += len(b)
	im.count++
	return done, im.fault(err)
}

// fault says where the export is wrong. An error of the new file is none of
// the export.
func (im *importer) fault(err error) error {
	var bad *badLine
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad) && bad.kind != nil:
		im.failed = fmt.Errorf("%w: %w", bad.kind, bad.err)
	case errors.As(err, &bad):
		im.failed = fmt.Errorf("%w: the export, line %d: %w", ErrCorrupt, im.line, bad.err)
	}
	return err
}

// badLine is an error of the export.
type badLine struct {
	err  error
	kind error // another than ErrCorrupt
}

func (e *badLine) Error() string { return e.err.Error() }

func bad(format string, args ...any) error { return &badLine{err: fmt.Errorf(format, args...)} }

// read reads a line. The buffer is used again.
func (im *importer) read() ([]byte, error) {
	im.line++
	im.buf = im.buf[:0]
	for {
		part, err := im.in.ReadSlice('\n')
		im.buf = append(im.buf, part...)
		switch {
		case len(im.buf) > maxExportLine:
			return nil, bad("it is longer than %d bytes", maxExportLine)
		case err == nil:
			im.sum.Write(im.buf)
			return im.buf, nil
		case errors.Is(err, io.EOF) && len(im.buf) > 0:
			return im.buf, nil // the last one, or cut short
		case errors.Is(err, io.EOF):
			return nil, bad("the export is not complete, its last line is missing; export again, or end it with {\"line\":\"end\"} if this is all you want")
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, &badLine{err: fmt.Errorf("it cannot be read: %w", err)}
		}
	}
}

// take is one line; sum is the checksum of those before it.
func (im *importer) take(b []byte, sum uint32) (done bool, err error) {
	var head struct {
		Line string `json:"line"`
	}
	if im.line > 1 && bytes.HasPrefix(b, jobPrefix) {
		head.Line = lineJob // spares most lines to be read twice
	} else if err := json.Unmarshal(b, &head); im.line == 1 && (err != nil || head.Line != lineHeader) {
		return false, &badLine{errors.New("it does not begin with the first line of an export"), ErrNotStint}
	} else if err != nil {
		return false, bad("it is no JSON, or cut short: %w", err)
	}
	kind := slices.Index(lineKinds[:], head.Line)
	switch {
	case kind < 0:
		return false, bad("field %q: %.40q is none of %q", "line", head.Line, lineKinds)
	case kind < im.kind || kind == 0 && im.line > 1:
		return false, bad("field %q: a line %q must not come behind one %q", "line", head.Line, lineKinds[im.kind])
	case kind != im.kind:
		im.kind, im.previous, im.again = kind, 0, 0
	}
	if head.Line == lineEnd {
		return true, im.end(b, sum)
	}
	return false, im.put(head.Line, b)
}

var jobPrefix = []byte(`{"line":"` + lineJob + `",`)

// end checks whether everything has come as it was written.
func (im *importer) end(b []byte, sum uint32) error {
	var line endLine
	if err := decodeLine(b, &line); err != nil {
		return &badLine{err: err}
	}
	if want := fmt.Sprintf("%08x", sum); line.Sum != "" && (line.Sum != want || line.Lines != im.line) {
		return bad("the lines before it are not those that were exported: %d with the checksum %s, not %d with %s; export again, or replace the last line by {\"line\":\"end\"} if you have changed them on purpose", im.line, want, line.Lines, line.Sum)
	}
	rest, err := im.in.Peek(1)
	if len(rest) > 0 {
		return bad("more follows behind the last line")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return bad("it cannot be read: %w", err)
	}
	return nil
}

// head takes in the first line.
func (im *importer) head(line *headerLine) error {
	if line.Version > exportVersion {
		return &badLine{fmt.Errorf("the export has version %d, this version reads up to %d; update the program", line.Version, exportVersion), ErrNewerFormat}
	}
	identity, err := hex.DecodeString(line.File)
	switch {
	case line.Version < 1:
		return bad("field %q: %d", "version", line.Version)
	case err != nil || len(identity) != 16:
		return bad("field %q: it must be 32 digits in hex", "file")
	case line.LastID > maxExportID:
		return bad("field %q: at most %d", "last_id", uint64(maxExportID))
	}
	im.header = *line
	im.lastID = line.LastID
	return im.identify(identity)
}

// identify gives the new file its identity, to which its secret is bound.
func (im *importer) identify(identity []byte) (err error) {
	t, keys := im.t, im.q.cfg.Keys
	if err := t.putSealed(bucketMeta, keyFile, identity); err != nil {
		return err
	}
	if err := plantSecret(t.root, keys); err != nil {
		return err
	}
	im.q.vault, _, err = openVault(t.root, keys, im.db.Path())
	t.vault = im.q.vault
	return err
}
