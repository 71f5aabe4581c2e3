package stint

import (
	"slices"

	bolt "go.etcd.io/bbolt"
)

// StoredBatch is what the first batch of a closed file is like.
type StoredBatch struct {
	Planning       bool
	PlannerCrashes int // counting one that the next Open will find
	Dead           int
}

// FirstBatch looks at it.
func FirstBatch(db *bolt.DB) (s StoredBatch) {
	_ = db.View(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		return walkBatches(root.Bucket(bucketNames[bucketBatches]), func(row *batchRow) {
			s.Planning, s.Dead = !row.sealed(), int(row.n.dead)
			rec := &record{}
			if rec.decode(row.id, root.Bucket(bucketNames[bucketJobs]).Get(appendID(nil, row.id)), laneKey{}) == nil {
				s.PlannerCrashes = int(rec.crashes)
				if slices.Contains(RunningJobs(db), row.id) {
					s.PlannerCrashes++
				}
			}
		})
	})
	return s
}
