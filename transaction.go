package stint

import (
	"fmt"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint/internal/hook"
)

// Update runs fn in a write transaction of the queue's file, for the
// application's own buckets and for EnqueueTx. It is the way to write beside
// the queue: unlike one of DB, its transaction is of the file that the path
// leads to also while Compact replaces that, and none is begun after a failed
// sync. When it returns nil, all that fn wrote is on disk.
//
// An error of fn undoes what it wrote and is returned as it is; a panic of fn
// undoes it too and goes on. Other errors are ErrClosed, ErrFileFull,
// ErrSyncFailed, ErrFileGone, ErrCorrupt and those of the operating system;
// after ErrSyncFailed the writes may survive or not, after the others nothing
// was changed.
//
// As bbolt knows one writer at a time, the queue waits for fn. Inside fn only
// EnqueueTx and CompleteTx may be used: Enqueue and another Update would wait
// for ever. fn must not end the transaction itself.
func (q *Queue) Update(fn func(tx *bolt.Tx) error) error {
	if q.commit.isClosed() {
		return fmt.Errorf("%w: nothing was changed", ErrClosed)
	}
	own, err := q.store.write(fn)
	if own || err == nil {
		return err
	}
	if err = storeError(err); fatal(err) {
		q.commit.post(func() { q.commit.fail(err) })
	}
	return err
}

// View runs fn in a read transaction of the queue's file: it sees the file as
// of one moment, whatever is written meanwhile, also by Compact. Pages that
// are replaced while it lasts cannot be used again, so one that lasts makes
// the file grow; and a write that makes it grow beyond its memory map, which
// has room for 1 GiB and then for one more each time, waits until it ends. The
// error is that of fn, or one of Update's.
func (q *Queue) View(fn func(tx *bolt.Tx) error) error {
	f, err := q.store.pin()
	if err != nil {
		return err
	}
	defer f.use.RUnlock()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := f.begin(false)
	if err != nil {
		return storeError(err)
	}
	defer func() { _ = tx.Rollback() }() // also when fn panics
	return fn(tx)
}

// write is a transaction of the application's. own says that the error is
// that of fn.
func (s *store) write(fn func(*bolt.Tx) error) (own bool, err error) {
	release, err := s.startWriting()
	if err != nil {
		return false, err
	}
	defer release()
	f := s.cur.Load()
	if err := f.watch.look(f); err != nil {
		return false, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := f.begin(true)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // also when fn panics; after the commit it does nothing
	landed := false
	hook.Begun(tx)
	tx.OnCommit(func() {
		landed = true
		release()
	})
	if err := f.watch.lookInside(f, tx); err != nil {
		return false, err
	}
	s.bound(true)
	if err := fn(tx); err != nil {
		return true, err
	}
	hook.Applied()
	err = f.commit(tx, &landed)
	s.wrote(err)
	return false, err
}

// commit makes an error of damage that bbolt answers with a panic. One of a
// function given to OnCommit goes on: the transaction has landed by then.
func (f *openedFile) commit(tx *bolt.Tx, landed *bool) (err error) {
	defer func() {
		if *landed {
			return
		}
		if p := recover(); p != nil {
			err = f.damage(p)
		}
	}()
	return tx.Commit()
}

// startWriting waits for its turn among our writers. release gives it on, and
// may be called more than once.
func (s *store) startWriting() (release func(), err error) {
	t := &turn{s: s}
	s.writing.Lock()
	if err := s.failure(); err != nil {
		t.release()
		return nil, err
	}
	return t.release, nil
}

// turn is the right to write.
type turn struct {
	s    *store
	over bool
}

func (t *turn) release() {
	if !t.over {
		t.over = true
		t.s.writing.Unlock()
	}
}

// wrote is told how a commit has ended. After a failed sync nobody gets a
// turn any more.
func (s *store) wrote(err error) {
	if err != nil && isSyncError(err) {
		err = storeError(err)
		s.broken.CompareAndSwap(nil, &err)
	}
}

// pin is the current file, which is not closed before its use is given back.
func (s *store) pin() (*openedFile, error) {
	for {
		f := s.cur.Load()
		if f.stuck.Load() {
			return nil, errStuck
		}
		if f.use.TryRLock() {
			if err := f.watch.lookBrief(f); err != nil {
				f.use.RUnlock()
				return nil, err
			}
			return f, nil
		} // it is being closed, so it is not the current one any more
	}
}

// begin starts a transaction. Damage that bbolt meets here leaves it with
// locks that it never gives back.
func (f *openedFile) begin(writable bool) (tx *bolt.Tx, err error) {
	began := false
	if f.stuck.Load() {
		return nil, errStuck
	}
	defer f.recoverDamage(&began, &err)
	tx, err = f.db.Begin(writable)
	began = true
	return tx, err
}
