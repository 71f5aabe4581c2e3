package stint

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"
)

// What a flipped bit on the disk cannot do unnoticed.
//
//  1. Records and the ledgers of schedules carry a checksum of their own.
//  2. The small values that nothing else in the file could correct carry one
//     that putSealed adds: lanes, pauses, unique places, batches, finished
//     items, the history, starts, actions, the list of running jobs and the
//     identity of the file. It covers the key too, so that a value under a
//     foreign key is found out.
//  3. The last id is the sequence of a bucket, with a checksum in its upper
//     bits: ids that were given once more would overwrite jobs.
//  4. Entries of the indexes carry none, for Check holds them against the
//     records; and what no page of the tree leads to harms nobody.
//
// Open looks at all sealed values but those of places and items, of which
// there can be as many as jobs: a damaged place does not hold, and Check names
// it. A damaged action is passed over by who lists them.

// sealSize is what a checksum adds to a value.
const sealSize = 4

// sealValue appends the checksum of a value and its key.
func sealValue(key, value []byte) []byte {
	return binary.LittleEndian.AppendUint32(value, valueSum(key, value))
}

// openValue is the value without its checksum, if that is right.
func openValue(key, sealed []byte) (value []byte, ok bool) {
	n := len(sealed) - sealSize
	if n < 0 {
		return nil, false
	}
	value = sealed[:n:n]
	return value, binary.LittleEndian.Uint32(sealed[n:]) == valueSum(key, value)
}

func valueSum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(value, castagnoli), castagnoli, key)
}

// putSealed is put for a value of which nothing else in the file tells
// whether it is whole.
func (t *txn) putSealed(name bucketName, key, value []byte) error {
	return t.put(name, key, sealValue(key, value))
}

// getSealed reads such a value: nil if there is none, or it is damaged.
func (t *txn) getSealed(name bucketName, key []byte) []byte {
	value, ok := openValue(key, t.get(name, key))
	if !ok {
		return nil
	}
	return value
}

// sealedIn is the same outside of a txn.
func sealedIn(b *bolt.Bucket, key []byte) []byte {
	value, ok := openValue(key, b.Get(key))
	if !ok {
		return nil
	}
	return value
}

// sequenceBits are those of the last id; 280 million million jobs have room.
const sequenceBits = 48

// lastID is the highest id that was ever given in the file.
func lastID(jobs *bolt.Bucket) (id uint64, ok bool) {
	id = jobs.Sequence() & (1<<sequenceBits - 1)
	return id, jobs.Sequence() == sealID(id)
}

func setLastID(jobs *bolt.Bucket, id uint64) error { return jobs.SetSequence(sealID(id)) }

// sealID adds a checksum to an id; that of a bucket without ids is 0.
func sealID(id uint64) uint64 {
	sum := seal(0, id) ^ seal(0, 0)
	return id | uint64(uint16(sum)^uint16(sum>>16))<<sequenceBits
}

// checkSealed looks at what a queue believes from the start on without
// another check.
func checkSealed(root *bolt.Bucket) error {
	jobs := root.Bucket(bucketNames[bucketJobs])
	last, ok := lastID(jobs)
	if k, _ := jobs.Cursor().Last(); !ok || k != nil && (len(k) != 8 || keyID(k) > last) {
		return fmt.Errorf("%w: the number of its last job makes no sense", ErrCorrupt)
	}
	for _, name := range [...]bucketName{bucketLanes, bucketQueues, bucketBatches} {
		err := root.Bucket(bucketNames[name]).ForEach(func(k, v []byte) error {
			if name == bucketBatches && k[0] == batchEnded {
				return nil // the key says all
			}
			if _, ok := openValue(k, v); !ok {
				return fmt.Errorf("%w: the checksum of an entry of its bucket %q is wrong", ErrCorrupt, bucketNames[name])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
