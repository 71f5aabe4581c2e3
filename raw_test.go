package stint

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// What tests do to a closed file behind the queue's back.

// StoredJobs counts the records in a database: those that are dead, and all
// others.
func StoredJobs(db *bolt.DB) (unfinished, dead int) {
	_ = db.View(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		dead = root.Bucket(bucketNames[bucketDead]).Stats().KeyN
		unfinished = root.Bucket(bucketNames[bucketJobs]).Stats().KeyN - dead
		return nil
	})
	return unfinished, dead
}

// RunningJobs is the list of running jobs in a database.
func RunningJobs(db *bolt.DB) (ids []uint64) {
	_ = db.View(func(tx *bolt.Tx) error {
		_, ids, _, _ = decodeRunning(sealedIn(tx.Bucket(rootBucket).Bucket(bucketNames[bucketMeta]), keyRunning))
		return nil
	})
	return ids
}

// SetRunning replaces the list of running jobs.
func SetRunning(db *bolt.DB, value []byte) error {
	return db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(rootBucket).Bucket(bucketNames[bucketMeta]).Put(keyRunning, sealValue(keyRunning, value))
	})
}

// SetFormat claims that another version of stint wrote the file.
func SetFormat(db *bolt.DB, version byte) error {
	return db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(rootBucket).Bucket(bucketNames[bucketMeta]).Put(keyFormat, []byte{version})
	})
}

// BucketNames are the buckets inside the root bucket.
func BucketNames() (names []string) {
	for _, name := range bucketNames {
		names = append(names, string(name))
	}
	return names
}

// DropBucket deletes one of them.
func DropBucket(db *bolt.DB, name string) error {
	return db.Update(func(tx *bolt.Tx) error { return tx.Bucket(rootBucket).DeleteBucket([]byte(name)) })
}

// FlipByte damages the record of a job: the byte before its end by back.
func FlipByte(db *bolt.DB, id ID, back int) error {
	return db.Update(func(tx *bolt.Tx) error {
		jobs := tx.Bucket(rootBucket).Bucket(bucketNames[bucketJobs])
		key := binary.BigEndian.AppendUint64(nil, uint64(id))
		value := append([]byte(nil), jobs.Get(key)...)
		value[len(value)-1-back] ^= 0x40
		return jobs.Put(key, value)
	})
}

// Quarantine is what was set aside.
func Quarantine(db *bolt.DB) map[ID][]byte {
	aside := map[ID][]byte{}
	_ = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(rootBucket).Bucket(bucketNames[bucketQuarantine]).ForEach(func(k, v []byte) error {
			entry, err := decodeQuarantined(keyID(k), append([]byte(nil), v...))
			aside[ID(keyID(k))] = entry.raw
			return err
		})
	})
	return aside
}

// StoredItems counts what is kept to tell equal items of batches.
func StoredItems(db *bolt.DB) (n int) {
	_ = db.View(func(tx *bolt.Tx) error {
		n = tx.Bucket(rootBucket).Bucket(bucketNames[bucketItems]).Stats().KeyN
		return nil
	})
	return n
}

// DecodeArgs reads args as the queue does before it calls a handler.
func DecodeArgs(data []byte, into any) error { return decodeArgs(data, into) }
