package stint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// batchRow is the stored side of a batch that changes as its items end. It is
// small, since each group in which one does writes it; what changes seldom
// lies beside it, under keys of its own.
type batchRow struct {
	id    uint64
	flags batchFlags
	n     batchTally

	started int64
	planned int64 // when planning ended, 0 before
	ended   int64
	end     uint64 // the OnDone job

	dirty bool
	notes *batchNotes // once they were needed
}

// batchTally counts.
type batchTally struct {
	planned int64 // items stored; those that live are what the next three leave
	done    int64
	dead    int64
	removed int64 // deleted before their end, or unreadable
	failed  int64 // attempts
	skipped int64
	bad     int64
	marked  int64 // finished items that the items bucket still remembers
}

func (n *batchTally) fields() [8]*int64 {
	return [...]*int64{&n.planned, &n.done, &n.dead, &n.removed, &n.failed, &n.skipped, &n.bad, &n.marked}
}

type batchFlags uint8

const (
	batchByHand     batchFlags = 1 << iota // of EnqueueBatch
	batchRepeats                           // BatchPolicy.Repeat
	batchPlanFailed                        // sealed by the death of its planner, and unsealed by its Retry
	batchCancelled
	batchTakenBack // EnqueueBatch did not come to its end
)

func (r *batchRow) is(f batchFlags) bool { return r.flags&f != 0 }

// live is the number of unfinished items.
func (r *batchRow) live() int64 { return r.n.planned - r.n.done - r.n.dead - r.n.removed }

// sealed says whether the batch gets no more items.
func (r *batchRow) sealed() bool { return r.planned != 0 }

// remembers says whether finished items bar equal ones: while the planner may
// still yield them again.
func (r *batchRow) remembers() bool {
	return r.ended == 0 && (!r.sealed() || r.is(batchPlanFailed) && !r.is(batchCancelled))
}

func (r *batchRow) encode() []byte {
	b := append(make([]byte, 0, 48), byte(r.flags))
	for _, n := range r.n.fields() {
		b = binary.AppendVarint(b, *n)
	}
	for _, at := range [...]int64{r.started, r.planned, r.ended} {
		b = binary.AppendVarint(b, at)
	}
	return binary.AppendUvarint(b, r.end)
}

// decode reports whether the row makes sense.
func (r *batchRow) decode(b []byte) bool {
	d := decoder{b: b}
	r.flags = batchFlags(d.byte())
	for _, n := range r.n.fields() {
		*n = d.varint()
	}
	r.started, r.planned, r.ended = d.varint(), d.varint(), d.varint()
	r.end = d.uvarint()
	return !d.failed && len(d.b) == 0 && r.live() >= 0
}

// batchMade is what is known of a batch from the start.
type batchMade struct {
	name   string
	origin *origin // of its planner
	onDone *onDone
}

// onDone is the job that the end of a batch enqueues.
type onDone struct {
	kind     string
	queue    string
	priority uint8
	args     []byte // as encrypted in the file
}

func (m *batchMade) encode() []byte {
	b := appendText(nil, m.name)
	o := m.origin
	if o == nil {
		o = &origin{}
	}
	b = appendText(b, o.schedule)
	b = binary.AppendVarint(b, o.at)
	if d := m.onDone; d != nil {
		b = appendText(b, d.kind)
		b = append(appendText(b, d.queue), d.priority)
		b = append(b, d.args...)
	}
	return b
}

func decodeBatchMade(b []byte) *batchMade {
	d := decoder{b: bytes.Clone(b)}
	m := &batchMade{name: d.text()}
	if o := (origin{schedule: d.text(), at: d.varint()}); o.schedule != "" {
		m.origin = &o
	}
	if len(d.b) > 0 {
		m.onDone = &onDone{kind: d.text(), queue: d.text(), priority: d.byte(), args: d.b}
	}
	return m
}

// batchNotes is what went wrong, and who cancelled the batch.
type batchNotes struct {
	cancelledBy string
	planError   string
	errors      []string // of the first bad items
}

const (
	maxBatchErrors = 10
	maxBatchError  = 1000 // bytes of one
)

func (n *batchNotes) encode() []byte {
	b := appendText(appendText(nil, n.cancelledBy), n.planError)
	for _, text := range n.errors {
		b = appendText(b, text)
	}
	return b
}

func decodeBatchNotes(b []byte) *batchNotes {
	d := decoder{b: b}
	n := &batchNotes{cancelledBy: d.text(), planError: d.text()}
	for len(d.b) > 0 {
		n.errors = append(n.errors, d.text())
	}
	return n
}

// add keeps the error of a bad item, if it is among the first and not known
// from an attempt before.
func (n *batchNotes) add(text string) {
	if len(n.errors) < maxBatchErrors && !slices.Contains(n.errors, text) {
		n.errors = append(n.errors, text)
	}
}

// batch is the row of a batch, or nil.
func (t *txn) batch(id uint64) *batchRow {
	if t.lastBatch != nil && t.lastBatch.id == id {
		return t.lastBatch
	}
	row, known := t.batches[id]
	if !known {
		if v := t.getSealed(bucketBatches, appendID(t.key[:0], id)); v != nil {
			row = &batchRow{id: id}
			row.decode(v) // Open has seen that it makes sense
		}
		t.rememberBatch(id, row)
	}
	if row != nil {
		t.lastBatch = row
	}
	return row
}

func (t *txn) rememberBatch(id uint64, row *batchRow) {
	if t.batches == nil {
		t.batches = map[uint64]*batchRow{}
	}
	t.batches[id] = row
	t.lastBatch = row
}

// flushBatches writes the rows that have changed.
func (t *txn) flushBatches() error {
	for id, row := range t.batches {
		if row == nil || !row.dirty {
			continue
		}
		row.dirty = false
		if err := t.putSealed(bucketBatches, appendID(t.key[:0], id), row.encode()); err != nil {
			return err
		}
		if row.n.marked > 0 && !row.remembers() {
			t.sweeps = append(t.sweeps, id)
		}
	}
	return nil
}

func (t *txn) batchMade(id uint64) *batchMade {
	return decodeBatchMade(t.getSealed(bucketBatches, appendBatch(t.key[:0], id, batchMadeOf)))
}

func (t *txn) batchNotes(row *batchRow) *batchNotes {
	if row.notes == nil {
		row.notes = decodeBatchNotes(t.getEncrypted(bucketBatches, appendBatch(t.key[:0], row.id, batchNoted)))
	}
	return row.notes
}

func (t *txn) putBatchNotes(row *batchRow) error {
	return t.putEncrypted(bucketBatches, appendBatch(t.key[:0], row.id, batchNoted), row.notes.encode())
}

// addRange notes that n items have ids from first on. Groups between which
// nothing else was enqueued are one range.
func (t *txn) addRange(id, first uint64, n int) error {
	cur := t.cursor(bucketBatches)
	if from, before := lastRange(cur, id, first); before != 0 && from+before == first {
		first, n = from, n+int(before)
	}
	return t.putSealed(bucketBatches, appendRange(t.key[:0], id, first), binary.AppendUvarint(nil, uint64(n)))
}

// lastRange is the last range of a batch that begins before an id; n is 0 if
// there is none.
func lastRange(cur *bolt.Cursor, batch, before uint64) (first, n uint64) {
	step := cur.Prev
	if k, _ := cur.Seek(appendRange(nil, batch, before)); k == nil {
		step = cur.Last
	}
	k, v := step()
	if len(k) != 17 || keyID(k) != batch || k[8] != batchRange {
		return 0, 0
	}
	n, _ = binary.Uvarint(v)
	return keyID(k[9:]), n
}

// walkBatches reads the rows of all batches, oldest first.
func walkBatches(b *bolt.Bucket, visit func(*batchRow)) error {
	cur := b.Cursor()
	for next := uint64(0); ; {
		k, v := cur.Seek(appendID(nil, next))
		if k == nil || k[0] == batchEnded {
			return nil
		}
		row := &batchRow{id: keyID(k)}
		value, ok := openValue(k, v)
		if len(k) != 8 || !ok || !row.decode(value) {
			return fmt.Errorf("%w: what its bucket %q has of batch %d makes no sense; restore a backup", ErrCorrupt, bucketNames[bucketBatches], row.id)
		}
		visit(row)
		next = row.id + 1
	}
}
