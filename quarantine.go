package stint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Quarantine: records that cannot be read are set aside as they are, so that
// the queue goes on and nothing is lost that somebody may still want to look
// at.
//
//  1. setAside is called by the claim gate, which finds such a record first,
//     and by Repair.
//  2. What else the file has of the job goes with it: its place, its expiry,
//     its count in a batch, its run of a schedule.
//  3. The entry stays until somebody calls Delete for its id. Its key is the
//     id, and a number where an entry of that id is there already.
//
// An entry is
//
//	+---------+--------+--------+--------+-----------------------+
//	| version | crc32c | time   | reason | the record, as it was |
//	| 1       | 4      | varint | text   | the rest              |
//	+---------+--------+--------+--------+-----------------------+
//
// with a checksum like that of a record.

// Quarantined is a record that could not be read and was set aside.
type Quarantined struct {
	ID     ID
	At     time.Time // when it was set aside; zero where the file does not say
	Reason string    // what is wrong with it
	Raw    []byte    // the record, byte for byte
}

// Quarantined lists the records that were set aside, by id. It reads some at a
// time in short transactions, so the loop may take its time. An error ends the
// listing. Stats.Quarantined is their number, and Delete removes one.
func (q *Queue) Quarantined() iter.Seq2[Quarantined, error] {
	return func(yield func(Quarantined, error) bool) {
		var after []byte
		for {
			page, last, err := q.quarantinePage(after)
			if err != nil {
				yield(Quarantined{}, err)
				return
			}
			for _, entry := range page {
				if !yield(entry, nil) {
					return
				}
			}
			if last == nil {
				return
			}
			after = last
		}
	}
}

// quarantinePageSize bounds the bytes of a page, of which a single record may
// have more.
const quarantinePageSize = 1 << 20

// quarantinePage reads the entries behind a key, and tells the key of the last
// one, or nil if none follows.
func (q *Queue) quarantinePage(after []byte) (page []Quarantined, last []byte, err error) {
	err = q.store.view(func(tx *bolt.Tx) error {
		cur := newReader(q, tx).bucket(bucketQuarantine).Cursor()
		k, v := cur.Seek(after)
		if after != nil && bytes.Equal(k, after) {
			k, v = cur.Next()
		}
		for size := 0; k != nil; k, v = cur.Next() {
			if len(page) == pageSize || size >= quarantinePageSize {
				return nil
			}
			last = append(last[:0], k...)
			if len(k) < 8 {
				continue
			}
			size += len(v)
			page = append(page, describeQuarantined(q.vault, k, v))
		}
		last = nil
		return nil
	})
	return page, last, q.readError(err)
}

func describeQuarantined(vault *vault, k, v []byte) Quarantined {
	entry, err := decodeQuarantined(keyID(k), bytes.Clone(v))
	if err != nil {
		return Quarantined{ID: ID(keyID(k)), Reason: "its entry in the quarantine cannot be read either", Raw: bytes.Clone(v)}
	}
	if raw, ok := vault.decrypt(bucketQuarantine, k[:8], entry.raw); ok {
		entry.raw = raw // else it was set aside when the file was encrypted already, as it was
	}
	return Quarantined{ID: ID(keyID(k)), At: fromMicros(entry.at), Reason: entry.reason, Raw: entry.raw}
}

// countEntries counts those of a bucket that is nearly always empty.
func countEntries(b *bolt.Bucket) (n int) {
	cur := b.Cursor()
	for k, _ := cur.First(); k != nil; k, _ = cur.Next() {
		n++
	}
	return n
}

// quarantined is an entry of the quarantine bucket.
type quarantined struct {
	at     int64
	reason string
	raw    []byte
}

const (
	quarantineVersion = 1
	maxReasonSize     = 500
)

var errBadQuarantined = errors.New("stint: an entry of the quarantine cannot be read")

// encodeQuarantined is the entry of job id.
func encodeQuarantined(id uint64, at int64, reason string, raw []byte) []byte {
	b := binary.AppendVarint([]byte{quarantineVersion, 0, 0, 0, 0}, at)
	b = appendText(b, cut(reason, maxReasonSize))
	b = append(b, raw...)
	sealRecord(b, bodySum(b), id)
	return b
}

// decodeQuarantined is the inverse; raw points into b.
func decodeQuarantined(id uint64, b []byte) (quarantined, error) {
	if len(b) < recordHeader || b[0] != quarantineVersion || binary.LittleEndian.Uint32(b[1:]) != seal(bodySum(b), id) {
		return quarantined{}, errBadQuarantined
	}
	d := decoder{b: b[recordHeader:]}
	entry := quarantined{at: d.varint(), reason: d.text()}
	entry.raw = d.b
	if d.failed {
		return quarantined{}, errBadQuarantined
	}
	return entry, nil
}

// setAside moves a record that cannot be read into quarantine, where it stays
// as it is, and takes the job out of the ready index so that the queue goes
// on.
func (t *txn) setAside(row *laneRow, id uint64) error {
	raw := bytes.Clone(t.get(bucketJobs, appendID(t.key[:0], id)))
	reason := "it could not be read"
	if err := t.vault.read(&record{}, id, raw); err != nil {
		reason = unreadableFor(err)
	}
	if err := t.putAside(id, t.now, reason, raw); err != nil {
		return err
	}
	t.reports = append(t.reports, report{level: slog.LevelError, text: "stint: the record of a job is damaged and was set aside", info: Info{ID: ID(id), Kind: row.key.kind, Queue: row.key.queue}})
	if err := t.dropTraces(id); err != nil {
		return err
	}
	if err := t.move(&stored{id: id, row: row, state: Ready}, gone, 0); err != nil {
		return err
	}
	if err := t.lostMember(id); err != nil {
		return err
	}
	return t.lostRun(id)
}

// unreadableFor is what an error of decode says is wrong with a record.
func unreadableFor(err error) string {
	return strings.TrimPrefix(err.Error(), errBadRecord.Error()+": ")
}

// dropTraces removes the unique place, the expiry and the item's entry of a job
// whose record cannot tell of them. It looks at all there are, which such a job
// is rare enough for.
func (t *txn) dropTraces(id uint64) error {
	var places, expiries [][]byte
	_ = t.bucket(bucketPlaces).ForEach(func(k, v []byte) error {
		if len(v) == 17+sealSize && keyID(v[1:]) == id && placeMode(v[0]) != forPeriod { // a period ends by itself
			places = append(places, append([]byte(nil), k...))
		}
		return nil
	})
	_ = t.bucket(bucketDue).ForEach(func(k, _ []byte) error {
		if k[len(k)-1] == dueExpiry && keyID(k[8:]) == id {
			expiries = append(expiries, append([]byte(nil), k...))
		}
		return nil
	})
	for _, key := range places {
		if err := t.delete(bucketPlaces, key); err != nil {
			return err
		}
	}
	for _, key := range expiries {
		if err := t.delete(bucketDue, key); err != nil {
			return err
		}
	}
	return t.dropItems(id)
}

// dropItems removes the entry of an item whose args cannot tell its key.
func (t *txn) dropItems(id uint64) error {
	var items [][]byte
	_ = t.bucket(bucketItems).ForEach(func(k, v []byte) error {
		if k[0] != 0 && len(v) == 8 && keyID(v) == id {
			items = append(items, append([]byte(nil), k...))
		}
		return nil
	})
	for _, key := range items {
		if err := t.delete(bucketItems, key); err != nil {
			return err
		}
	}
	return nil
}

// putAside writes an entry for a record that was found at a time. One that is
// there already is left as it is.
func (t *txn) putAside(id uint64, at int64, reason string, raw []byte) error {
	t.quarantined++
	return t.put(bucketQuarantine, t.asideKey(id, nil), encodeQuarantined(id, at, reason, raw))
}

// asideKey is a key for an entry that nobody has; not is one to keep clear of.
func (t *txn) asideKey(id uint64, not []byte) []byte {
	key := appendID(nil, id)
	for n := uint64(1); t.has(bucketQuarantine, key) || bytes.Equal(key, not); n++ {
		key = binary.AppendUvarint(key[:8], n)
	}
	return key
}

// dropAside counts the entries of an id, and deletes them if that is asked
// for.
func (t *txn) dropAside(id uint64, drop bool) (n int, err error) {
	prefix := appendID(nil, id)
	for {
		k, _ := t.cursor(bucketQuarantine).Seek(prefix)
		if !bytes.HasPrefix(k, prefix) {
			return n, nil
		}
		n++
		if !drop {
			return n, nil
		}
		if err := t.delete(bucketQuarantine, bytes.Clone(k)); err != nil {
			return n, err
		}
		t.quarantined--
	}
}
