package stint

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

// ledger is what the file knows of a schedule: what it is, when it fires next,
// and what became of its last runs.
//
//	+---------+--------+------+------+------+----------+-------+---------+---------+------+
//	| version | crc32c | spec | zone | kind | policies | times | pause   | waiting | runs |
//	+---------+--------+------+------+------+----------+-------+---------+---------+------+
//
// Numbers, texts and times are those of the record; the checksum covers what
// is behind it and the schedule's name.
type ledger struct {
	spec, zone, kind string
	missed           MissedPolicy
	overlap          OverlapPolicy
	jitter           time.Duration
	starts, until    int64

	anchor int64  // what @every counts from
	next   int64  // the occurrence to come, 0 for none
	last   int64  // the latest occurrence that was run or skipped; it never goes back
	ran    int64  // the occurrence of the last run
	job    uint64 // its job

	pausedAt int64
	pausedBy string

	waiting []occurrence  // runs that wait for the end of one before them
	runs    []ScheduleRun // the last of them, oldest first

	encrypted []byte // the reasons of the runs in an encrypted file, until they are decrypted
}

// occurrence is a time a schedule has to run for.
type occurrence struct {
	at     int64
	missed uint32 // earlier ones it stands for
	since  int64  // the first of those
	byHand bool   // of RunSchedule, so that it is now; never waits
}

const (
	ledgerVersion = 1
	ledgerCrypt   = 2 // the reasons of the runs are not with them, but encrypted at the end
	runsKept      = 20
)

// define takes over what the program says about the schedule.
func (l *ledger) define(s *schedule) {
	l.spec, l.zone, l.kind = s.spec.text(), s.spec.zoneName(), s.kind
	l.missed, l.overlap, l.jitter, l.starts, l.until = s.missed, s.overlap, s.jitter, s.starts, s.until
}

// due is when the schedule is to be looked at: 0 for never.
func (l *ledger) due() int64 {
	if l.pausedAt != 0 {
		return 0
	}
	return l.next
}

// note appends to the history.
func (l *ledger) note(run ScheduleRun) {
	run.Reason = cut(run.Reason, maxNoteSize)
	l.runs = append(l.runs[max(0, len(l.runs)+1-runsKept):], run)
}

const maxNoteSize = 500

func (l *ledger) encode(name string) []byte {
	b := append(make([]byte, 0, 512), ledgerVersion, 0, 0, 0, 0)
	for _, text := range [...]string{l.spec, l.zone, l.kind} {
		b = appendText(b, text)
	}
	b = append(b, byte(l.overlap))
	for _, n := range [...]int64{
		int64(l.missed.max), int64(l.missed.maxAge), int64(l.jitter), l.starts, l.until,
		l.anchor, l.next, l.last, l.ran, int64(l.job), l.pausedAt,
	} {
		b = binary.AppendVarint(b, n)
	}
	b = appendText(b, l.pausedBy)
	b = binary.AppendUvarint(b, uint64(len(l.waiting)))
	previous := int64(0)
	for _, o := range l.waiting {
		b = binary.AppendVarint(b, o.at-previous)
		b = binary.AppendUvarint(b, uint64(o.missed))
		b = binary.AppendVarint(b, o.since)
		previous = o.at
	}
	b = binary.AppendUvarint(b, uint64(len(l.runs)))
	for _, r := range l.runs {
		b = append(b, byte(r.State))
		for _, n := range [...]int64{micros(r.At), int64(r.Job), int64(r.Missed), int64(r.Skipped), micros(r.EndedAt)} {
			b = binary.AppendVarint(b, n)
		}
		b = appendText(b, r.Reason)
	}
	if l.encrypted != nil {
		b[0] = ledgerCrypt
		b = append(b, l.encrypted...)
	}
	binary.LittleEndian.PutUint32(b[1:], ledgerSum(name, b))
	return b
}

func decodeLedger(name string, b []byte) (*ledger, error) {
	if len(b) < recordHeader || b[0] != ledgerVersion && b[0] != ledgerCrypt || binary.LittleEndian.Uint32(b[1:]) != ledgerSum(name, b) {
		return nil, fmt.Errorf("%w: what it knows of the schedule %q cannot be read; DeleteSchedule it, or restore a backup", ErrCorrupt, name)
	}
	d := decoder{b: b[recordHeader:]}
	l := &ledger{spec: d.text(), zone: d.text(), kind: d.text()}
	l.overlap = OverlapPolicy(d.byte())
	l.missed = MissedPolicy{int(d.varint()), time.Duration(d.varint())}
	l.jitter = time.Duration(d.varint())
	for _, n := range [...]*int64{&l.starts, &l.until, &l.anchor, &l.next, &l.last, &l.ran} {
		*n = d.varint()
	}
	l.job, l.pausedAt, l.pausedBy = uint64(d.varint()), d.varint(), d.text()
	previous := int64(0)
	for range d.count() {
		o := occurrence{at: previous + d.varint(), missed: uint32(d.uvarint()), since: d.varint()}
		previous = o.at
		l.waiting = append(l.waiting, o)
	}
	for range d.count() {
		l.runs = append(l.runs, ScheduleRun{
			State:   State(d.byte()),
			At:      fromMicros(d.varint()),
			Job:     ID(d.varint()),
			Missed:  int(d.varint()),
			Skipped: int(d.varint()),
			EndedAt: fromMicros(d.varint()),
			Reason:  d.text(),
		})
	}
	if b[0] == ledgerCrypt {
		l.encrypted = d.b
	}
	if d.failed {
		return nil, fmt.Errorf("%w: what it knows of the schedule %q makes no sense; DeleteSchedule it, or restore a backup", ErrCorrupt, name)
	}
	return l, nil
}

func ledgerSum(name string, b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[recordHeader:], castagnoli), castagnoli, []byte(name))
}

// ledger reads the entry of a schedule; nil if there is none.
func (t *txn) ledger(name string) (*ledger, error) {
	v := t.get(bucketSchedules, []byte(name))
	if v == nil {
		return nil, nil
	}
	return t.vault.readLedger(name, v)
}

func (t *txn) putLedger(name string, l *ledger) error {
	return t.put(bucketSchedules, []byte(name), t.vault.encodeLedger(name, l))
}

// encodeLedger is ledger.encode for the file of this vault.
func (v *vault) encodeLedger(name string, l *ledger) []byte {
	if v == nil {
		return l.encode(name)
	}
	bare := *l
	bare.runs = slices.Clone(l.runs)
	var reasons []byte
	for i := range bare.runs {
		reasons = appendText(reasons, bare.runs[i].Reason)
		bare.runs[i].Reason = ""
	}
	bare.encrypted = v.encrypt(bucketSchedules, []byte(name), reasons)
	return bare.encode(name)
}

// readLedger is decodeLedger with the reasons.
func (v *vault) readLedger(name string, b []byte) (*ledger, error) {
	l, err := decodeLedger(name, b)
	if err != nil || v == nil || l.encrypted == nil {
		return l, err
	}
	reasons, ok := v.decrypt(bucketSchedules, []byte(name), l.encrypted)
	d := decoder{b: reasons}
	for i := range l.runs {
		if reason := d.text(); l.runs[i].Reason == "" {
			l.runs[i].Reason = reason // else RepairFile, which has no keys, has found another
		}
	}
	if !ok || d.failed {
		return nil, fmt.Errorf("%w: what it knows of the schedule %q cannot be decrypted; DeleteSchedule it, or restore a backup", ErrCorrupt, name)
	}
	l.encrypted = nil
	return l, nil
}
