package stint

import bolt "go.etcd.io/bbolt"

// What the process has written into the file, counted by bbolt: it allocates
// each page that a transaction writes, and numbers the transactions that were
// committed. Transactions of the application count too; what Open, Compact
// and Repair write by themselves does not.

// writeCount is a number of pages and of commits, the pages without the meta
// page that each commit writes as well.
type writeCount struct{ pages, commits int64 }

// countWrites is what the database has counted, as seen by a read transaction.
func countWrites(tx *bolt.Tx) writeCount {
	stats := tx.DB().Stats()
	return writeCount{pages: stats.TxStats.GetPageAlloc() / int64(tx.DB().Info().PageSize), commits: int64(tx.ID())}
}

// countFromHere lets the counting begin with what is written next.
func (f *openedFile) countFromHere() error {
	return f.readOnly(func(tx *bolt.Tx) { f.uncounted = countWrites(tx) })
}

// countOn lets it go on where another file of the process has stopped.
func (f *openedFile) countOn(old *openedFile) error {
	var before writeCount
	if err := old.readOnly(func(tx *bolt.Tx) { before = old.written(tx) }); err != nil {
		return err
	}
	return f.readOnly(func(tx *bolt.Tx) {
		now := countWrites(tx)
		f.uncounted = writeCount{now.pages - before.pages, now.commits - before.commits}
	})
}

func (f *openedFile) readOnly(fn func(*bolt.Tx)) error {
	tx, err := f.begin(false)
	if err != nil {
		return err
	}
	fn(tx)
	return tx.Rollback()
}

// written is what the process has written, as seen by a read transaction.
func (f *openedFile) written(tx *bolt.Tx) writeCount {
	now := countWrites(tx)
	return writeCount{now.pages - f.uncounted.pages, now.commits - f.uncounted.commits}
}

// fill is what Stats tells of it.
func (n writeCount) fill(out *Stats, pageSize int) {
	out.Syncs = uint64(2 * n.commits)
	out.PagesWritten = uint64(n.pages + n.commits)
	out.BytesWritten = out.PagesWritten * uint64(pageSize)
}
