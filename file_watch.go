package stint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// fileWatch notices that the file is not what it was: deleted, moved away,
// replaced, cut short, or overwritten by an older copy. The descriptor would
// not tell: it leads to the old file, whatever has become of its name, and
// what is stored there nobody finds again.
//
//  1. Before each transaction that writes it asks where the path leads to,
//     which costs a microsecond or two. It must be the file that was opened,
//     and not shorter than its last meta page said.
//  2. In the transaction it compares with the meta page of now, and bbolt's
//     number for the transaction with that of the one before: an older copy
//     has smaller ones.
//  3. What it finds stops the queue with ErrFileGone.
//  4. Before a transaction that reads it asks for a meta page alone.
//
// Between two transactions it does not look. An idle queue has nothing to
// lose, and the next change, be it a job that has become due, finds out before
// anybody is told that something was stored.
//
// A file that is cut short endangers the process as well. To touch a page that
// is no longer there is a fault, and after a commit that failed bbolt reads
// pages in a goroutine of its own, where nothing can recover from it. So it is
// better not to begin. A file that is cut in the middle of a commit can still
// end the process, or leave it waiting for a lock of bbolt's.
type fileWatch struct {
	once     sync.Once
	path     string
	pageSize int64
	opened   fs.FileInfo  // nil where no path is known to lead to the file
	twoMetas bool         // bbolt makes do with one meta page, if the other was lost before
	size     atomic.Int64 // what the last meta page said
	found    atomic.Int64 // the size that look has seen
	lastTx   int          // guarded by bbolt's lock for writing
}

// look asks for the current file.
func (s *store) look() error {
	f := s.cur.Load()
	return f.watch.look(f)
}

// look is called before a transaction that writes.
func (w *fileWatch) look(f *openedFile) error {
	size := w.size.Load() // before stat: the file may grow meanwhile, and the size with it
	now, err := w.stat(f)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return w.gone("was deleted or moved away")
	case now == nil:
		return nil // nothing is known about the file
	case !os.SameFile(w.opened, now):
		return w.gone("is not the file any more that was opened")
	case now.Size() < size:
		return w.gone("was cut short")
	}
	w.found.Store(now.Size())
	return nil
}

// lookBrief is called before one that reads. What has become of the name does
// no harm here, and Compact may just be changing it. But where the second meta
// page is missing, or is a hole as the commit under way has made the file
// longer again, bbolt would panic with its locks held.
func (w *fileWatch) lookBrief(f *openedFile) error {
	w.once.Do(func() { w.begin(f) })
	if f.file == nil || !w.twoMetas || w.hasMeta(f.file) {
		return nil
	}
	named, err := os.Open(w.path)
	if err != nil {
		return nil
	}
	defer named.Close()
	if now, err := named.Stat(); err != nil || w.opened == nil || !os.SameFile(w.opened, now) || w.hasMeta(named) {
		return nil
	}
	return w.gone("was cut short")
}

func (w *fileWatch) hasMeta(f *os.File) bool {
	var magic [4]byte
	const behindPageHeader = 16
	_, err := f.ReadAt(magic[:], w.pageSize+behindPageHeader)
	return err == nil && magic != [4]byte{}
}

func (w *fileWatch) stat(f *openedFile) (fs.FileInfo, error) {
	w.once.Do(func() { w.begin(f) })
	if w.opened == nil {
		return nil, nil
	}
	now, err := os.Stat(w.path)
	if err != nil {
		return nil, err
	}
	return now, nil
}

// begin learns what was opened. An application's database is known by its
// path only.
func (w *fileWatch) begin(f *openedFile) {
	var err error
	if f.file != nil {
		w.pageSize = int64(f.db.Info().PageSize)
		w.path = f.path
		w.twoMetas = w.hasMeta(f.file)
		w.opened, err = f.file.Stat()
	} else if w.path, err = filepath.Abs(f.db.Path()); err == nil {
		w.opened, err = os.Stat(w.path)
	}
	if err != nil {
		w.opened = nil
	}
}

// lookInside is called in a transaction that writes, before its first write.
func (w *fileWatch) lookInside(f *openedFile, tx *bolt.Tx) error {
	w.once.Do(func() { w.begin(f) })
	if w.opened == nil {
		return nil
	}
	if tx.ID() < w.lastTx {
		return w.gone("was overwritten by an older copy")
	}
	w.lastTx = tx.ID()
	w.size.Store(tx.Size())
	if w.found.Load() < tx.Size() {
		return w.look(f) // the application may have made it grow since
	}
	return nil
}

func (w *fileWatch) gone(what string) error {
	return fmt.Errorf("%w: %s %s; if no other copy is left, try Backup before Close; then see to it that the right file is there, and open it again", ErrFileGone, w.path, what)
}
