package stint

import (
	"bytes"
	"fmt"
)

// What becomes of an entry when its file gets other keys.

// rewrite is what the new file has for an entry of the old one; a nil key is
// nothing. What stays as it is, is returned as it is.
func (r *rekeying) rewrite(name bucketName, k, v []byte) (key, value []byte, err error) {
	switch name {
	case bucketMeta:
		if bytes.Equal(k, keySecret) {
			return nil, nil, nil
		}
	case bucketJobs:
		return r.job(k, v)
	case bucketDue:
		if k[len(k)-1] == duePlace {
			at := len(k) - 1 - placeSize
			return append(append(bytes.Clone(k[:at]), r.moved(k[at:len(k)-1])...), duePlace), v, nil
		}
	case bucketPlaces:
		return r.heldPlace(k, v)
	case bucketSchedules:
		return r.schedule(k, v)
	case bucketBatches:
		return r.batchPart(k, v)
	case bucketItems:
		return r.item(k, v)
	case bucketQuarantine:
		return r.aside(k, v)
	}
	return k, v, nil
}

// damagedPart is what cannot be carried over.
func damagedPart(what string, args ...any) error {
	return fmt.Errorf("%w: "+what+" cannot be read, so nothing was changed; RepairFile it and try again", append([]any{ErrCorrupt}, args...)...)
}

// moved is a unique place as it is in the new file.
func (r *rekeying) moved(place []byte) []byte {
	return r.new.hidePlace(r.old.showPlace(bytes.Clone(place)))
}

// record reads and decrypts a record.
func (r *rekeying) record(id uint64, v []byte) (*record, error) {
	rec := &record{}
	if err := r.old.decode(rec, id, v, laneKey{}); err != nil {
		return nil, damagedPart("job %d", id)
	}
	if !r.old.fits(rec) {
		key, _, _ := cutKeyName(rec.encrypted)
		return nil, fmt.Errorf("%w: job %d is encrypted with the key %v; add that key to from", ErrWrongKey, id, key)
	}
	if err := r.old.open(id, rec); err != nil {
		return nil, damagedPart("job %d", id)
	}
	return rec, nil
}

func (r *rekeying) job(k, v []byte) (key, value []byte, err error) {
	if len(k) != 8 {
		return nil, nil, damagedPart("an entry of the jobs")
	}
	rec, err := r.record(keyID(k), v)
	if err != nil {
		return nil, nil, err
	}
	if rec.place != nil {
		rec.place = r.moved(rec.place)
	}
	return k, rec.encode(keyID(k), r.new), nil
}

func (r *rekeying) heldPlace(k, v []byte) (key, value []byte, err error) {
	value, ok := openValue(k, v)
	if !ok || len(k) != placeSize {
		return nil, nil, damagedPart("a unique place")
	}
	key = r.moved(k)
	return key, sealValue(key, value), nil
}

func (r *rekeying) schedule(k, v []byte) (key, value []byte, err error) {
	l, err := r.old.readLedger(string(k), v)
	if err != nil {
		return nil, nil, err
	}
	return k, r.new.encodeLedger(string(k), l), nil
}

func (r *rekeying) batchPart(k, v []byte) (key, value []byte, err error) {
	if len(k) != 9 || k[0] == batchEnded {
		return k, v, nil
	}
	value, ok := openValue(k, v)
	if !ok {
		return nil, nil, damagedPart("a part of batch %d", keyID(k))
	}
	if k[8] != batchMadeOf {
		value, ok = r.value(bucketBatches, k, value)
	} else if made := decodeBatchMade(value); made.onDone != nil {
		made.onDone.args, ok = r.value(bucketBatches, k, made.onDone.args)
		value = made.encode()
	}
	if !ok {
		return nil, nil, damagedPart("a part of batch %d", keyID(k))
	}
	return k, sealValue(k, bytes.Clone(value)), nil
}

// value decrypts and encrypts a value.
func (r *rekeying) value(name bucketName, k, v []byte) (value []byte, ok bool) {
	plain, ok := r.old.decrypt(name, k, v)
	return r.new.encrypt(name, k, plain), ok
}

func (r *rekeying) item(k, v []byte) (key, value []byte, err error) {
	if k[0] == 0 {
		return r.finishedItem(k, v)
	}
	if len(v) != 8 {
		return nil, nil, damagedPart("an entry of the items")
	}
	raw := r.root.Bucket(bucketNames[bucketJobs]).Get(v)
	if raw == nil {
		return nil, nil, damagedPart("job %d, which is an item of a batch,", keyID(v))
	}
	rec, err := r.record(keyID(v), raw)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(k, r.old.appendItem(nil, rec.kind, rec.args)) {
		return nil, nil, damagedPart("what tells job %d from equal items", keyID(v))
	}
	return r.new.appendItem(nil, rec.kind, rec.args), v, nil
}

func (r *rekeying) finishedItem(k, v []byte) (key, value []byte, err error) {
	mark, ok := openValue(k, v)
	kind := -1
	if len(k) > itemPart {
		kind = bytes.IndexByte(k[itemPart:], 0)
	}
	if !ok || kind < 0 || r.old != nil && len(k) != itemPart+kind+1+placeSize {
		return nil, nil, damagedPart("an entry of the finished items")
	}
	head, tail := k[:itemPart+kind+1], k[itemPart+kind+1:]
	if r.old != nil {
		tail = r.old.markedItem(k, mark)
	}
	key = r.new.hideItem(append(bytes.Clone(head), tail...), itemPart)
	return key, sealValue(key, r.new.markItem(key, tail)), nil
}

// aside rewrites an entry of the quarantine. What is in it may be of a time
// before the file was encrypted.
func (r *rekeying) aside(k, v []byte) (key, value []byte, err error) {
	if len(k) < 8 {
		return nil, nil, damagedPart("an entry of the quarantine")
	}
	entry, err := decodeQuarantined(keyID(k), v)
	if err != nil {
		return nil, nil, damagedPart("an entry of the quarantine")
	}
	raw := entry.raw
	if plain, ok := r.old.decrypt(bucketQuarantine, k[:8], raw); ok {
		raw = plain
	}
	raw = r.new.encrypt(bucketQuarantine, k[:8], raw)
	return k, encodeQuarantined(keyID(k), entry.at, entry.reason, raw), nil
}
