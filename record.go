package stint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
	"unicode/utf8"
)

// record is a job as it lies in the jobs bucket. It is written when the job is
// enqueued and again only when something worth keeping has happened: an
// error, a snooze, a crash, an end, or a step or checkpoint of its handler.
//
//	+---------+--------+-------+-------+----------+---------+-------+------+----------+----------+
//	| version | crc32c | state | parts | priority | created | queue | kind | [parts]  | args     |
//	| 1       | 4      | 1     | 1     | 1        | varint  | text  | text | optional | the rest |
//	+---------+--------+-------+-------+----------+---------+-------+------+----------+----------+
//
// Numbers are varints, texts are led by their length, times are microseconds
// since 1970. The checksum covers everything behind it and then the id, so a
// record under a foreign key is found out too.
//
// In an encrypted file (vault.go) the part "encrypted" comes last: it is the
// rest, and holds the texts of the history, the stash and the args. Readable
// are then the numbers of the history and that there is a stash.
//
// Scheduled and Retrying stay in the record when the job becomes ready: the
// due bucket knows better, and a promotion so costs no rewriting.
type record struct {
	state    State
	priority uint8
	created  int64
	queue    string
	kind     string
	args     []byte

	// part "unique"
	place      []byte // placeSize bytes, or nil
	placeMode  placeMode
	placeUntil int64

	// part "tags"
	tags []string

	// part "history"
	runAt       int64
	expires     int64
	finished    int64
	maxAttempts uint32
	failures    uint32
	snoozes     uint32
	crashes     uint32
	cancelled   string // who asked a running job to stop
	reason      string
	attempts    []Attempt

	origin *origin // part "origin": the schedule that enqueued it, or nil
	batch  uint64  // part "batch": the batch it belongs to, or 0
	role   role    // in the batch
	stash  *stash  // part "stash": what its handler has put by, or nil

	encrypted []byte // part "encrypted", until it is decrypted
}

// origin tells which occurrence of which schedule a job is.
type origin struct {
	schedule string
	at       int64  // nominal time
	missed   uint32 // occurrences before it that it stands for
	since    int64  // the first of them
}

// role is what a job is to its batch.
type role uint8

const (
	batchItem role = iota + 1
	batchPlanner
	batchEnd // the OnDone job
)

// stash is what a handler has put by in its job. It is not changed once it is
// in a record, but copied.
type stash struct {
	steps    []step
	cursor   []byte // of Checkpoint, as JSON
	progress Progress
	result   []byte // of SetResult, as JSON
	forgiven uint32 // times that getting on has cleared the job of a crash
	log      string // the last lines of the attempt that runs, or that was the last
}

// step is a finished step.
type step struct {
	name   string
	result []byte // as JSON
}

const (
	recordVersion = 1
	recordHeader  = 5 // version and checksum
	placeSize     = 16

	partUnique  = 1 << 0
	partTags    = 1 << 1
	partHistory = 1 << 2
	partOrigin  = 1 << 3
	partBatch   = 1 << 4
	partStash   = 1 << 5
	partCrypt   = 1 << 6
	partsKnown  = 1<<7 - 1

	maxAttemptsKept = 10
	maxErrorSize    = 10_000
	maxStackSize    = 8_192
)

// placeMode says how long a unique job holds its place.
type placeMode uint8

const (
	untilDone placeMode = iota
	whileWaiting
	forPeriod
)

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	errBadRecord = errors.New("stint: the record of the job cannot be read")
)

// appendTo writes the record behind b, encrypted if there is a vault, all but
// the checksum, which sealRecord adds when the id is known.
func (r *record) appendTo(b []byte, v *vault) []byte {
	parts := r.parts()
	if v != nil {
		parts |= partCrypt
	}
	b = append(b, recordVersion, 0, 0, 0, 0, byte(r.state), parts, r.priority)
	b = binary.AppendVarint(b, r.created)
	b = appendText(b, r.queue)
	b = appendText(b, r.kind)
	if r.place != nil {
		b = append(b, byte(r.placeMode))
		b = append(b, r.place...)
		b = binary.AppendVarint(b, r.placeUntil)
	}
	if len(r.tags) > 0 {
		b = binary.AppendUvarint(b, uint64(len(r.tags)))
		for _, tag := range r.tags {
			b = appendText(b, tag)
		}
	}
	if r.hasHistory() {
		b = r.appendHistory(b, parts&partCrypt != 0)
	}
	if o := r.origin; o != nil {
		b = appendText(b, o.schedule)
		b = binary.AppendVarint(b, o.at)
		b = binary.AppendUvarint(b, uint64(o.missed))
		b = binary.AppendVarint(b, o.since)
	}
	if r.role != 0 {
		b = append(binary.AppendUvarint(b, r.batch), byte(r.role))
	}
	switch {
	case r.locked():
		return append(b, r.encrypted...)
	case v != nil:
		return v.appendRecord(b, r)
	}
	if r.stash != nil {
		b = r.stash.appendTo(b)
	}
	return append(b, r.args...)
}

func (r *record) parts() (parts byte) {
	if r.place != nil {
		parts |= partUnique
	}
	if len(r.tags) > 0 {
		parts |= partTags
	}
	if r.hasHistory() {
		parts |= partHistory
	}
	if r.origin != nil {
		parts |= partOrigin
	}
	if r.role != 0 {
		parts |= partBatch
	}
	if r.stash != nil {
		parts |= partStash
	}
	if r.locked() {
		parts |= partCrypt
	}
	return parts
}

func (r *record) hasHistory() bool {
	return r.runAt != 0 || r.expires != 0 || r.finished != 0 || r.maxAttempts != 0 ||
		r.failures != 0 || r.snoozes != 0 || r.crashes != 0 ||
		r.cancelled != "" || r.reason != "" || len(r.attempts) > 0
}

// appendHistory leaves the texts out where they are to be encrypted. Those of
// a locked record are left out already.
func (r *record) appendHistory(b []byte, crypt bool) []byte {
	for _, n := range [...]int64{r.runAt, r.expires, r.finished} {
		b = binary.AppendVarint(b, n)
	}
	for _, n := range [...]uint32{r.maxAttempts, r.failures, r.snoozes, r.crashes} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	hide := crypt && !r.locked()
	b = appendText(b, hiddenIf(hide, r.cancelled))
	b = appendText(b, hiddenIf(hide, r.reason))
	b = binary.AppendUvarint(b, uint64(len(r.attempts)))
	for _, a := range r.attempts {
		b = binary.AppendUvarint(b, uint64(a.Number))
		b = binary.AppendVarint(b, micros(a.StartedAt))
		b = binary.AppendVarint(b, int64(a.Duration))
		if crypt {
			b = append(b, 0, 0, 0)
			continue
		}
		b = appendText(b, a.Error)
		b = appendText(b, a.Stack)
		b = appendText(b, a.Log)
	}
	return b
}

func hiddenIf(hide bool, text string) string {
	if hide && text != "" {
		return hidden
	}
	return text
}

func (s *stash) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.steps)))
	for _, step := range s.steps {
		b = appendBytes(appendText(b, step.name), step.result)
	}
	b = appendBytes(b, s.cursor)
	b = binary.AppendVarint(b, int64(s.progress.Done))
	b = binary.AppendVarint(b, int64(s.progress.Total))
	b = appendText(b, s.progress.Text)
	b = appendBytes(b, s.result)
	b = binary.AppendUvarint(b, uint64(s.forgiven))
	return appendText(b, s.log)
}

// bodySum is the checksum of an encoded record without its id.
func bodySum(b []byte) uint32 { return crc32.Checksum(b[recordHeader:], castagnoli) }

// sealRecord completes the checksum.
func sealRecord(b []byte, body uint32, id uint64) {
	binary.LittleEndian.PutUint32(b[1:], seal(body, id))
}

// seal continues the checksum over the id. It is crc32.Update by hand, which
// would move its eight bytes to the heap.
func seal(body uint32, id uint64) uint32 {
	sum := ^body
	for shift := 56; shift >= 0; shift -= 8 {
		sum = castagnoli[byte(sum)^byte(id>>shift)] ^ sum>>8
	}
	return ^sum
}

// encode is the finished record of job id.
func (r *record) encode(id uint64, v *vault) []byte {
	size := 64 + len(r.queue) + len(r.kind) + len(r.args) + len(r.encrypted)
	if v != nil {
		size += cryptOverhead
	}
	b := r.appendTo(make([]byte, 0, size), v)
	sealRecord(b, bodySum(b), id)
	return b
}

// decode reads the record of job id. Byte slices of the result point into b;
// names equal to those of known are shared with it, which saves a copy each.
// One that is encrypted is locked until vault.open.
func (r *record) decode(id uint64, b []byte, known laneKey) error {
	if len(b) < recordHeader || b[0] != recordVersion {
		return fmt.Errorf("%w: it has an unknown version", errBadRecord)
	}
	if binary.LittleEndian.Uint32(b[1:]) != seal(bodySum(b), id) {
		return fmt.Errorf("%w: its checksum is wrong", errBadRecord)
	}

	*r = record{}
	d := decoder{b: b[recordHeader:]}
	r.state = State(d.byte())
	parts := d.byte()
	r.priority = d.byte()
	r.created = d.varint()
	r.queue = d.name(known.queue)
	r.kind = d.name(known.kind)
	if parts&partUnique != 0 {
		r.placeMode = placeMode(d.byte())
		r.place = d.take(placeSize)
		r.placeUntil = d.varint()
	}
	if parts&partTags != 0 {
		for range d.count() {
			r.tags = append(r.tags, d.text())
		}
	}
	if parts&partHistory != 0 {
		r.decodeHistory(&d)
	}
	if parts&partOrigin != 0 {
		r.origin = &origin{schedule: d.text(), at: d.varint(), missed: uint32(d.uvarint()), since: d.varint()}
	}
	if parts&partBatch != 0 {
		r.batch, r.role = d.uvarint(), role(d.byte())
		if r.role == batchPlanner {
			r.batch = id // which it did not have when it was encoded
		}
	}
	switch {
	case parts&partStash == 0:
	case parts&partCrypt != 0:
		r.stash = &stash{}
	default:
		r.stash = decodeStash(&d)
	}
	if parts&partCrypt != 0 {
		r.encrypted = d.b
	} else {
		r.args = d.b
	}
	if d.failed || parts > partsKnown || r.state < Ready || r.state > Dead || r.priority < 1 || r.priority > priorities || r.placeMode > forPeriod {
		return fmt.Errorf("%w: its fields make no sense", errBadRecord)
	}
	return nil
}

func (r *record) decodeHistory(d *decoder) {
	r.runAt, r.expires, r.finished = d.varint(), d.varint(), d.varint()
	r.maxAttempts, r.failures = uint32(d.uvarint()), uint32(d.uvarint())
	r.snoozes, r.crashes = uint32(d.uvarint()), uint32(d.uvarint())
	r.cancelled, r.reason = d.text(), d.text()
	for range d.count() {
		r.attempts = append(r.attempts, Attempt{
			Number:    int(d.uvarint()),
			StartedAt: fromMicros(d.varint()),
			Duration:  time.Duration(d.varint()),
			Error:     d.text(),
			Stack:     d.text(),
			Log:       d.text(),
		})
	}
}

func decodeStash(d *decoder) *stash {
	s := &stash{}
	for range d.count() {
		s.steps = append(s.steps, step{name: d.text(), result: d.textBytes()})
	}
	s.cursor = d.textBytes()
	s.progress.Done, s.progress.Total = int(d.varint()), int(d.varint())
	s.progress.Text = d.text()
	s.result = d.textBytes()
	s.forgiven = uint32(d.uvarint())
	s.log = d.text()
	return s
}

// addAttempt appends to the history and drops what is too old or too long.
func (r *record) addAttempt(a Attempt) {
	a.Error = cut(a.Error, maxErrorSize)
	a.Stack = cut(a.Stack, maxStackSize)
	a.Log = cut(a.Log, maxLogSize)
	kept := r.attempts[max(0, len(r.attempts)+1-maxAttemptsKept):]
	r.attempts = append(append(make([]Attempt, 0, len(kept)+1), kept...), a)
}

// key names the lane the job waits in.
func (r *record) key() laneKey {
	return laneKey{queue: r.queue, kind: r.kind, priority: r.priority}
}

// cut shortens a text to size bytes at a rune's border and makes it valid
// UTF-8.
func cut(s string, size int) string {
	limit := size
	if len(s) > size {
		for size > 0 && !utf8.RuneStart(s[size]) {
			size--
		}
		s = s[:size]
	}
	if utf8.ValidString(s) {
		return s
	}
	return cut(string([]rune(s)), limit) // invalid bytes become U+FFFD, which takes three
}

// micros is t in the file's unit, rounded up so that nothing is ever early.
// The zero time is 0, and time ends with the year 9999, beyond which JSON
// cannot write it.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	if t.Unix() >= lastSecond {
		return lastSecond * 1_000_000
	}
	us := t.UnixMicro()
	if t.Nanosecond()%1000 != 0 {
		us++
	}
	return max(us, 1) // before 1970: long ago is long ago
}

// lastSecond is December 31st of 9999 at 0:00 UTC, in that year everywhere.
const lastSecond = 253_402_214_400

// fromMicros is the inverse.
func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}
