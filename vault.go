package stint

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"log/slog"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Encryption at rest. A queue without Config.Keys has no vault, and all
// methods of a nil vault leave things as they are.
//
//  1. What a record says in words, what its handler has put by, and its args
//     are one encrypted part (appendRecord). Numbers, times, names and tags
//     stay readable, so nothing has to be decrypted to find, order, count,
//     claim or remove jobs.
//  2. New records are encrypted in the caller's goroutine, others where they
//     are rewritten. A claimed job is decrypted by its worker, any other where
//     its content is needed: find, Get, Jobs.
//  3. A record whose key is not in the ring is locked. It keeps its encrypted
//     part, byte for byte, through whatever happens to it. Its job is not run
//     but put off (putOff), and neither retried nor killed; it can be deleted.
//  4. Where args are in a key there is something instead from which nobody
//     learns them without the secret: unique places are AES of the plain
//     place, items an HMAC. Both can be turned back by Rekey.
//  5. Values beside the records that hold args or errors are encrypted too:
//     OnDone args, the last planned item, what went wrong in a batch or a
//     schedule, and what is in quarantine.
//
// An encrypted part is bound to its file, to the kind and to the microsecond
// of the enqueueing: it is refused elsewhere. That does not keep somebody who
// can write the file from putting an earlier state of it back, from exchanging
// jobs of one kind and microsecond, or from changing what stays readable.
type vault struct {
	file   []byte
	ring   [][]byte
	secret []byte

	first   keyName // of the key that encrypts
	records map[keyName]cipher.AEAD
	values  cipher.AEAD
	places  cipher.Block
	marks   cipher.Block
	items   sync.Pool // of hash.Hash
}

func newVault(file []byte, keys [][]byte, secret []byte) *vault {
	v := &vault{file: append([]byte(nil), file...), ring: keys, secret: secret, first: nameOfKey(keys[0]), records: map[keyName]cipher.AEAD{}}
	for _, key := range keys {
		v.records[nameOfKey(key)] = gcmWith(deriveKey(key, v.file, "stint records"))
	}
	v.values = gcmWith(deriveKey(secret, v.file, "stint values"))
	v.places = aesWith(deriveKey(secret, v.file, "stint places"))
	v.marks = aesWith(deriveKey(secret, v.file, "stint marks"))
	items := deriveKey(secret, v.file, "stint items")
	v.items.New = func() any { return hmac.New(sha256.New, items) }
	return v
}

// vaultWithoutKeys is for who looks at a file, or repairs it, without having
// its keys: all records of an encrypted file are locked, and no value can be
// decrypted.
func vaultWithoutKeys(root *bolt.Bucket) *vault {
	if root == nil || root.Bucket(bucketNames[bucketMeta]) == nil || root.Bucket(bucketNames[bucketMeta]).Get(keySecret) == nil {
		return nil
	}
	return &vault{}
}

// keyless says whether there is nothing to encrypt with.
func (v *vault) keyless() bool { return v == nil || len(v.ring) == 0 }

// hidden stands in the readable part of a record for a text of the encrypted
// one.
const hidden = "\x00"

// cryptOverhead is what encryption adds: key id, nonce and tag.
const cryptOverhead = len(keyName{}) + 12 + 16

// appendRecord appends the encrypted part of a record.
func (v *vault) appendRecord(b []byte, r *record) []byte {
	b = append(b, v.first[:]...)
	at := len(b)
	b = r.appendContent(b)
	return v.records[v.first].Seal(b[:at], nil, b[at:], v.binding(r))
}

// binding is what the encrypted part of a record is bound to.
func (v *vault) binding(r *record) []byte {
	b := make([]byte, 0, len(v.file)+8+len(r.kind))
	b = binary.BigEndian.AppendUint64(append(b, v.file...), uint64(r.created))
	return append(b, r.kind...)
}

// decode is record.decode for a file of this vault. A record that is not
// encrypted has no business in an encrypted file.
func (v *vault) decode(r *record, id uint64, b []byte, known laneKey) error {
	if err := r.decode(id, b, known); err != nil {
		return err
	}
	if v != nil && !r.locked() {
		return fmt.Errorf("%w: it is not encrypted, as all others of its file are", errBadRecord)
	}
	return nil
}

// read is decode and open. A record whose key is missing stays locked.
func (v *vault) read(r *record, id uint64, b []byte) error {
	err := v.decode(r, id, b, laneKey{})
	if err != nil || !v.fits(r) {
		return err
	}
	return v.open(id, r)
}

// locked says whether the content of a record has not been decrypted.
func (r *record) locked() bool { return r.encrypted != nil }

// fits says whether a key of the ring opens the record.
func (v *vault) fits(r *record) bool {
	id, _, ok := cutKeyName(r.encrypted)
	return !r.locked() || !ok || v != nil && v.records[id] != nil // without an id it is damaged, which open tells
}

// open decrypts a record. On ErrWrongKey it stays locked and whole; after any
// other error it cannot be used.
func (v *vault) open(id uint64, r *record) error {
	if !r.locked() {
		return nil
	}
	if !v.fits(r) {
		return r.wrongKey(id)
	}
	key, sealed, ok := cutKeyName(r.encrypted)
	if !ok {
		return fmt.Errorf("%w: its encrypted part is cut short", errBadRecord)
	}
	content, err := v.records[key].Open(nil, nil, sealed, v.binding(r))
	if err != nil {
		return fmt.Errorf("%w: its encrypted part is damaged, or belongs to another job", errBadRecord)
	}
	return r.decodeContent(content)
}

// wrongKey is the error about a locked record.
func (r *record) wrongKey(id uint64) error {
	key, _, _ := cutKeyName(r.encrypted)
	return fmt.Errorf("%w: job %d is encrypted with the key %v, which is not in Config.Keys; it waits until the key is there", ErrWrongKey, id, key)
}

// putOffFor is how long a job waits whose key is missing.
const putOffFor = 5 * time.Minute

// putOff lets a job wait that was to be claimed, but whose key is missing. Now
// and then the log says so.
func (t *txn) putOff(id uint64) error {
	j, err := t.find(id)
	if err != nil {
		return err
	}
	j.state = Running // as far as its life goes, it was claimed and stands back
	if c := t.q.commit; c.toldLocked+putOffFor.Microseconds() <= t.now {
		c.toldLocked = t.now
		t.reports = append(t.reports, report{level: slog.LevelError, text: "stint: the key of a job is missing, so it waits, and maybe others do", attrs: []any{"job_id", id, "kind", j.rec.kind, "error", j.rec.wrongKey(id)}})
	}
	return t.move(j, Scheduled, t.now+putOffFor.Microseconds())
}

// appendContent appends what is to be encrypted of a record.
func (r *record) appendContent(b []byte) []byte {
	b = appendText(b, r.cancelled)
	b = appendText(b, r.reason)
	for i := range r.attempts {
		a := &r.attempts[i]
		b = appendText(appendText(appendText(b, a.Error), a.Stack), a.Log)
	}
	if r.stash != nil {
		b = r.stash.appendTo(b)
	}
	return append(b, r.args...)
}

// decodeContent is the inverse, for a record whose readable part is there.
func (r *record) decodeContent(b []byte) error {
	d := decoder{b: b}
	cancelled, reason := d.text(), d.text()
	if r.cancelled == hidden {
		r.cancelled = cancelled
	}
	if r.reason == hidden { // else somebody had to end the job without the key
		r.reason = reason
	}
	for i := range r.attempts {
		a := &r.attempts[i]
		a.Error, a.Stack, a.Log = d.text(), d.text(), d.text()
	}
	if r.stash != nil {
		r.stash = decodeStash(&d)
	}
	if d.failed {
		return fmt.Errorf("%w: its encrypted part makes no sense", errBadRecord)
	}
	r.args, r.encrypted = d.b, nil
	return nil
}

// encrypt is the value of a key of a bucket, with what it says encrypted.
func (v *vault) encrypt(name bucketName, key, value []byte) []byte {
	if v.keyless() {
		return value
	}
	out := make([]byte, 0, len(value)+cryptOverhead+sealSize)
	return v.values.Seal(out, nil, value, valueBinding(name, key))
}

// decrypt is the inverse.
func (v *vault) decrypt(name bucketName, key, value []byte) (plain []byte, ok bool) {
	if v == nil {
		return value, true
	}
	if v.keyless() {
		return nil, false
	}
	plain, err := v.values.Open(nil, nil, value, valueBinding(name, key))
	return plain, err == nil
}

// decryptSealed is decrypt for a value that also has a checksum: nil if there
// is none, or it is damaged.
func (v *vault) decryptSealed(name bucketName, key, sealed []byte) []byte {
	value, ok := openValue(key, sealed)
	if !ok {
		return nil
	}
	if value, ok = v.decrypt(name, key, value); !ok {
		return nil
	}
	return value
}

func valueBinding(name bucketName, key []byte) []byte {
	return append(append([]byte(nil), bucketNames[name]...), key...)
}

// hidePlace turns a unique place into that of an encrypted file, in place. It
// is one block of AES: as good as a hash with a key for whoever lacks the
// secret, and showPlace, the inverse, lets Rekey keep places that have
// outlived their jobs.
func (v *vault) hidePlace(place []byte) []byte {
	if v != nil && place != nil {
		v.places.Encrypt(place, place)
	}
	return place
}

func (v *vault) showPlace(place []byte) []byte {
	if v != nil && place != nil {
		v.places.Decrypt(place, place)
	}
	return place
}

// appendItem is appendItem for the file of this vault: whoever holds keys of
// the items bucket against records asks for them here.
func (v *vault) appendItem(b []byte, kind string, args []byte) []byte {
	at := len(b)
	return v.hideItem(appendItem(b, kind, args), at)
}

// hideItem turns the plain key of an item, from at on, into that of an
// encrypted file: kind 0 HMAC.
func (v *vault) hideItem(b []byte, at int) []byte {
	if v == nil {
		return b
	}
	tail := at + bytes.IndexByte(b[at:], 0) + 1
	h := v.items.Get().(hash.Hash)
	defer v.items.Put(h)
	h.Reset()
	h.Write(b[at:])
	var sum [sha256.Size]byte
	return append(b[:tail], h.Sum(sum[:0])[:placeSize]...)
}

// markItem is what the entry of a finished item says: nothing, or for Rekey
// and Export the part of the plain key that the HMAC in the key stands for.
// The HMAC is the nonce too: equal items look equal, which their keys do
// anyway.
func (v *vault) markItem(key, tail []byte) []byte {
	if v == nil {
		return nil
	}
	out := make([]byte, len(tail), len(tail)+sealSize)
	cipher.NewCTR(v.marks, key[len(key)-placeSize:]).XORKeyStream(out, tail)
	return out
}

// markedItem is the inverse.
func (v *vault) markedItem(key, mark []byte) (tail []byte) { return v.markItem(key, mark) }
