package stint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// A backup is the file as one read transaction sees it.
//
//  1. If it is to go to a regular file, it is written there at once. Anything
//     else may be slow, and would keep the transaction open, for which the
//     file grows: then it goes to a temporary file, beside the queue's, that
//     has no name any more where the system allows that.
//  2. The transaction ends.
//  3. The temporary file is written to where the backup is to go.
//
// All pages are copied, the free ones too. To copy the live content only, as a
// compaction does, takes several times as long even where half of the file is
// free, and so long the transaction would last.

// Backup writes a copy of the file to w, as it is at one moment, and returns
// the number of bytes. The queue works on meanwhile: a slow w does not hold it
// up, for the copy is made on the local disk first, in a temporary file beside
// the queue's, unless w is an *os.File that is a regular file. It needs so
// much disk for a while.
//
// What w gets is a file that Open opens, with all that was stored when Backup
// was called, the application's buckets too. It is like the file of a process
// that was killed: jobs that were running at that moment run again from it,
// with a crash counted, and so do those that have ended since.
//
// Backup syncs nothing: to be safe from a power cut, sync w. It is not a
// backup before Backup has returned nil. When ctx ends between two writes, or
// Close is called before the local copy is done (then the error is ErrClosed),
// it ends with that error. It must not be called inside a write transaction.
func (q *Queue) Backup(ctx context.Context, w io.Writer) (int64, error) {
	n, err := q.backup(ctx, w)
	if err != nil && !errors.Is(err, errOwnFile) {
		err = fmt.Errorf("stint: the backup is not complete, throw it away: %w", err)
	}
	return n, err
}

var errOwnFile = errors.New("stint: the backup would overwrite the queue's own file, which was left as it is; give another file")

func (q *Queue) backup(ctx context.Context, w io.Writer) (int64, error) {
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		if err == nil && info.Mode().IsRegular() {
			return q.copyTo(ctx, func(tx *bolt.Tx) (*os.File, error) {
				if isAt(info, tx.DB().Path()) {
					return nil, errOwnFile
				}
				return f, nil
			})
		}
	}
	var temporary *os.File
	defer func() {
		if temporary != nil {
			_ = temporary.Close()
			_ = os.Remove(temporary.Name()) // where it could not be done before
		}
	}()
	size, err := q.copyTo(ctx, func(tx *bolt.Tx) (f *os.File, err error) {
		path := tx.DB().Path()
		temporary, err = os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".backup-*")
		if err == nil {
			_ = os.Remove(temporary.Name())
			err = roomFor(temporary, tx.Size())
		}
		return temporary, err
	})
	if err != nil {
		return 0, err
	}
	return io.Copy(&endingWriter{ctx: ctx, w: w}, io.NewSectionReader(temporary, 0, size))
}

// copyTo copies the file to the one that target gives.
func (q *Queue) copyTo(ctx context.Context, target func(*bolt.Tx) (*os.File, error)) (n int64, err error) {
	ctx, release, err := q.upkeep.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer release() // until then the file is not replaced, for which its descriptor would be closed
	err = q.store.view(func(tx *bolt.Tx) error {
		f, err := target(tx)
		if err != nil {
			return err
		}
		w := &endingWriter{ctx: ctx, w: f}
		n, err = tx.WriteTo(w)
		if w.err != nil {
			err = w.err // of which bbolt tells the text only
		}
		return err
	})
	return n, err
}

// endingWriter fails as soon as its context has ended.
type endingWriter struct {
	ctx context.Context
	w   io.Writer
	err error
}

func (w *endingWriter) Write(b []byte) (n int, err error) {
	if w.err = context.Cause(w.ctx); w.err == nil {
		n, w.err = w.w.Write(b)
	}
	return n, w.err
}
