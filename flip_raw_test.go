package stint

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"

	bolt "go.etcd.io/bbolt"
)

// What the tests of damaged files need to look at below the public API.

// Preflight is the check that Open begins with.
func Preflight(content []byte) error { return preflightOf(content) }

// ContentSum is a checksum of every key and value of the queue in a database,
// with what differs between two openings of one file left out: the times of
// the crashes that Open has noted.
func ContentSum(db *bolt.DB, seed maphash.Seed) (sum uint64) {
	_ = db.View(func(tx *bolt.Tx) error {
		var h maphash.Hash
		h.SetSeed(seed)
		write := func(b []byte) {
			var n [8]byte
			binary.BigEndian.PutUint64(n[:], uint64(len(b)))
			_, _ = h.Write(n[:])
			_, _ = h.Write(b)
		}
		for name, bucket := range bucketNames {
			write(bucket)
			_ = tx.Bucket(rootBucket).Bucket(bucket).ForEach(func(k, v []byte) error {
				rec := &record{}
				if bucketName(name) == bucketJobs && rec.decode(keyID(k), v, laneKey{}) == nil && rec.crashes > 0 {
					for i := range rec.attempts {
						rec.attempts[i].StartedAt = fromMicros(0)
					}
					v = rec.encode(keyID(k), nil)
				}
				write(k)
				write(v)
				return nil
			})
			binary.Write(&h, binary.BigEndian, tx.Bucket(rootBucket).Bucket(bucket).Sequence())
		}
		sum = h.Sum64()
		return nil
	})
	return sum
}

// Places are those that Unique holds, with the jobs that hold them.
func Places(db *bolt.DB) map[string]uint64 {
	places := map[string]uint64{}
	_ = db.View(func(tx *bolt.Tx) error {
		t := &txn{tx: tx, root: tx.Bucket(rootBucket)}
		return t.bucket(bucketPlaces).ForEach(func(k, _ []byte) error {
			mode, id, until, ok := t.place(k)
			if ok {
				places[string(k)] = id ^ uint64(until) ^ uint64(mode)<<60
			}
			return nil
		})
	})
	return places
}

// UsedSize is where the pages end that a file has in use.
func UsedSize(content []byte) int {
	c := &fileCheck{r: bytes.NewReader(content), size: uint64(len(content))}
	m, err := c.currentMeta()
	if err != nil {
		return 0
	}
	return int(m.pages * m.pageSize)
}
