package stint

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/stintq/stint/internal/hook"
)

// This file alone knows the names of the buckets, and what bbolt's errors
// mean.

// bucketName numbers the buckets inside the root bucket "stint". All numbers
// in keys are big-endian, so that a cursor walks them in order.
type bucketName int

const (
	bucketMeta       bucketName = iota // format, file → identity, running → ids of the jobs at work
	bucketJobs                         // id → record
	bucketReady                        // lane | id / 64 → 64 bits: what waits for a worker or is running
	bucketDue                          // time | id | what → state, lane: delays, backoffs and expiries
	bucketDone                         // time | id → lane: completed jobs that are kept
	bucketDead                         // time | id → lane
	bucketLanes                        // queue 0 priority kind → lane, counts per state, totals
	bucketQueues                       // queue → by whom and since when it is paused
	bucketPlaces                       // hash → mode, id, until: what Unique holds
	bucketSchedules                    // name → when it fired and fires next, what became of its runs
	bucketBatches                      // id → totals; id, what → the rest of a batch; time, id: ended batches
	bucketItems                        // kind, args → job: unfinished items; batch, kind, args: finished ones of one that is planned
	bucketQuarantine                   // id → a record that could not be read, as it was
	bucketHistory                      // length, start → what was done in that time, for charts
	bucketStarts                       // time → a Run: who, what it recovered, when it ended
	bucketActions                      // number → what a person did, see LogAction
	bucketCount
)

var (
	rootBucket  = []byte("stint")
	bucketNames = [bucketCount][]byte{
		[]byte("meta"), []byte("jobs"), []byte("ready"), []byte("due"), []byte("done"),
		[]byte("dead"), []byte("lanes"), []byte("queues"), []byte("places"), []byte("schedules"),
		[]byte("batches"), []byte("items"), []byte("quarantine"),
		[]byte("history"), []byte("starts"), []byte("actions"),
	}

	keyFormat  = []byte("format")
	keyFile    = []byte("file")
	keyRunning = []byte("running")
	keySecret  = []byte("secret") // only in an encrypted file
)

const formatVersion = 3

// store is the file of a queue.
type store struct {
	cur    atomic.Pointer[openedFile] // Compact puts another in its place
	broken atomic.Pointer[error]      // why it takes no more writes
	owned  bool                       // by Open, so Close closes it
	file   string                     // the identity of the file, in hex, for Work.Key

	maxSize, step int // Config.MaxFileSize, and how bbolt then lets the file grow

	// writing is held over each write transaction of ours, so that none
	// begins after a sync has failed, or while the file is being replaced. It
	// is taken before bbolt's lock, and given back before functions given to
	// OnCommit are called.
	writing sync.Mutex
}

// openedFile is what is open while the path leads to one file.
type openedFile struct {
	db   *bolt.DB
	file *os.File // on which db works; nil for New
	path string   // absolute, and no link; empty for New

	// base is added to bbolt's transaction ids, so that they grow beyond a
	// compaction, in which bbolt begins anew.
	base int

	uncounted writeCount // see countFromHere

	watch  fileWatch
	stuck  atomic.Bool               // bbolt has locks that it never gives back
	leaves atomic.Pointer[leafCheck] // pages that Open has left to it, or nil

	use sync.RWMutex // held for reading by each transaction of ours, for writing to close it
}

// take makes a file that was opened the store's. One of Open has a path.
func (s *store) take(f *openedFile, cfg *Config) {
	s.cur.Store(f)
	if s.owned = f.path != ""; s.owned {
		s.maxSize, s.step = cfg.MaxFileSize, f.db.AllocSize
	}
}

// db is the database as of now. In a write transaction of ours it stays the
// same.
func (s *store) db() *bolt.DB { return s.cur.Load().db }

// txid is a number for a transaction of the current file.
func (s *store) txid(tx *bolt.Tx) int { return s.cur.Load().base + tx.ID() }

// failure is the error that stopped the store for good, or nil.
func (s *store) failure() error {
	if err := s.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// bound keeps the next transaction within Config.MaxFileSize, or lets it grow
// the file by what it needs: bbolt writes pages anew, so to complete and even
// to delete a job takes some, and a full file would otherwise stay full. The
// caller has bbolt's lock for writing.
func (s *store) bound(on bool) {
	switch {
	case s.maxSize == 0:
	case on:
		db := s.db()
		db.MaxSize, db.AllocSize = s.maxSize, s.step
	default:
		db := s.db()
		db.MaxSize, db.AllocSize = 0, 0
	}
}

// createBuckets makes the buckets in a database that has none of ours.
func createBuckets(tx *bolt.Tx, keys [][]byte) error {
	root, err := tx.CreateBucket(rootBucket)
	if err != nil {
		return err
	}
	for _, name := range bucketNames {
		if _, err := root.CreateBucket(name); err != nil {
			return err
		}
	}
	meta := root.Bucket(bucketNames[bucketMeta])
	if err := meta.Put(keyFile, sealValue(keyFile, newIdentity())); err != nil {
		return err
	}
	if err := meta.Put(keyRunning, sealValue(keyRunning, []byte{0, 0})); err != nil {
		return err
	}
	if err := plantSecret(root, keys); err != nil {
		return err
	}
	return meta.Put(keyFormat, []byte{formatVersion})
}

func newIdentity() []byte {
	identity := make([]byte, 16, 16+sealSize)
	rand.Read(identity)
	return identity
}

// bucketsOf is how many of the buckets a file of a format has.
func bucketsOf(format byte) bucketName {
	if format < 3 {
		return bucketHistory
	}
	return bucketCount
}

// makeBucket makes a bucket that a damaged file lacks.
func makeBucket(root *bolt.Bucket, name bucketName) error {
	_, err := root.CreateBucket(bucketNames[name])
	return err
}

// adopt looks at the root bucket, makes it where that is asked for, and
// learns the file's identity.
func (s *store) adopt(create bool, keys [][]byte) error {
	var found, others bool
	err := s.view(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		if found = root != nil; found {
			return s.identify(root)
		}
		first, _ := tx.Cursor().First()
		others = first != nil
		return nil
	})
	switch {
	case err != nil || found:
		return err
	case others && !create:
		return fmt.Errorf("%w: %s is a bbolt file of another program; open it with bbolt and pass it to stint.New to keep jobs beside its data", ErrNotStint, s.db().Path())
	}
	return s.update(func(tx *bolt.Tx) error {
		if err := createBuckets(tx, keys); err != nil {
			return err
		}
		return s.identify(tx.Bucket(rootBucket))
	})
}

func (s *store) identify(root *bolt.Bucket) error {
	if _, err := s.format(root); err != nil {
		return err
	}
	identity := sealedIn(root.Bucket(bucketNames[bucketMeta]), keyFile)
	if len(identity) != 16 {
		return fmt.Errorf("%w: %s has no identity; restore a backup", ErrCorrupt, s.db().Path())
	}
	s.file = fmt.Sprintf("%x", identity)
	return nil
}

// format is the format of the file, which has all its buckets.
func (s *store) format(root *bolt.Bucket) (int, error) {
	meta := root.Bucket(bucketNames[bucketMeta])
	if meta == nil {
		return 0, fmt.Errorf("%w: %s has a bucket %q that stint did not make", ErrNotStint, s.db().Path(), rootBucket)
	}
	format := meta.Get(keyFormat)
	switch {
	case len(format) != 1 || format[0] == 0:
		return 0, fmt.Errorf("%w: %s has no format version; restore a backup", ErrCorrupt, s.db().Path())
	case format[0] > formatVersion:
		return 0, fmt.Errorf("%w: %s has format %d, this version reads up to %d; update the program", ErrNewerFormat, s.db().Path(), format[0], formatVersion)
	}
	for _, name := range bucketNames[:bucketsOf(format[0])] {
		if root.Bucket(name) == nil {
			return 0, fmt.Errorf("%w: %s lacks its bucket %q; restore a backup", ErrCorrupt, s.db().Path(), name)
		}
	}
	return int(format[0]), nil
}

// update runs fn in a write transaction. Damage that bbolt answers with a
// panic, or a fault in the memory map, becomes ErrCorrupt. It is bbolt's own
// Update, as that keeps functions of the application from ending the
// transaction.
func (s *store) update(fn func(*bolt.Tx) error) (err error) {
	release, err := s.startWriting()
	if err != nil {
		return err
	}
	defer release()
	f, began, applied := s.cur.Load(), false, false
	defer func() {
		if applied {
			s.wrote(err)
		}
	}()
	if err := f.watch.look(f); err != nil {
		return err
	}
	if f.stuck.Load() {
		return errStuck
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer f.recoverDamage(&began, &err)
	return f.db.Update(func(tx *bolt.Tx) (err error) {
		hook.Begun(tx)
		tx.OnCommit(release)
		began = true
		// A panic that got to bbolt would make it read the whole file, in a
		// goroutine in which the next one ends the process.
		defer f.recoverDamage(&began, &err)
		if err := f.watch.lookInside(f, tx); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		hook.Applied()
		applied = true
		return nil
	})
}

// view runs fn in a read transaction, under the same protection.
func (s *store) view(fn func(*bolt.Tx) error) (err error) {
	f, err := s.pin()
	if err != nil {
		return err
	}
	defer f.use.RUnlock()
	began := false
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer f.recoverDamage(&began, &err)
	return f.db.View(func(tx *bolt.Tx) error {
		began = true
		return fn(tx)
	})
}

var errStuck = fmt.Errorf("%w: its memory map has a fault; close the queue and restore a backup", ErrCorrupt)

// recoverDamage makes an error of a panic. If that came before the transaction
// had begun, bbolt has locks now that it never gives back.
func (f *openedFile) recoverDamage(began *bool, err *error) {
	p := recover()
	if p == nil {
		return
	}
	if !*began {
		f.stuck.Store(true)
	}
	*err = f.damage(p)
}

// damage is the error for a panic of bbolt's.
func (f *openedFile) damage(p any) error {
	if gone := f.watch.look(f); gone != nil {
		return gone
	}
	return damage(p)
}

func damage(p any) error {
	return fmt.Errorf("%w: bbolt says %v; close the queue and restore a backup", ErrCorrupt, p)
}

// areJobs tells whether these are the names on the way to the jobs' bucket.
func areJobs(names [][]byte) bool {
	return len(names) == 2 && bytes.Equal(names[0], rootBucket) && bytes.Equal(names[1], bucketNames[bucketJobs])
}

// jobsRoot is the first page of the jobs' bucket, as it was when the
// transaction began. 0: the bucket has no page of its own.
func jobsRoot(tx *bolt.Tx) uint64 {
	return uint64(tx.Bucket(rootBucket).Bucket(bucketNames[bucketJobs]).RootPage())
}

// close closes the file. The free list, which is otherwise not written, is
// stored once, so that the next Open need not search the file for free pages,
// and so is the mark of a clean stop. last, if it is not nil, is to be written
// before; that the history of some minutes cannot be is no error.
func (s *store) close(healthy bool, last func(*bolt.Tx) error) error {
	if !s.owned {
		if healthy && last != nil {
			_ = s.update(last)
		}
		return nil
	}
	f := s.cur.Load()
	if healthy {
		freelist := func(tx *bolt.Tx) error { // that it fails only makes the next Open slower
			tx.DB().NoFreelistSync = false
			return nil
		}
		err := errNothingToDo
		if last != nil {
			err = s.update(func(tx *bolt.Tx) error { return errors.Join(freelist(tx), last(tx)) })
		}
		if err != nil {
			err = s.update(freelist)
		}
		if err == nil {
			_ = s.update(f.markCleanStop)
		}
	} else {
		f.unmark()
	}
	return f.close()
}

// close closes the database, or its file alone where bbolt would wait for its
// own locks.
func (f *openedFile) close() error {
	if f.stuck.Load() {
		letGo(f.file)
		return nil
	}
	return f.db.Close()
}

// storeError gives a bbolt error its meaning for callers.
func storeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrFileGone), errors.Is(err, ErrSyncFailed):
		return err
	case errors.Is(err, berrors.ErrMaxSizeReached):
		return fmt.Errorf("%w: raise Config.MaxFileSize or let jobs finish", ErrFileFull)
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return fmt.Errorf("%w: its bbolt database was closed", ErrClosed)
	case isSyncError(err):
		return fmt.Errorf("%w: %w", ErrSyncFailed, err)
	}
	return fmt.Errorf("stint: writing the file failed, nothing was changed: %w", err)
}

// isSyncError tells a failed sync from a failed write. After a failed write
// nothing has changed. After a failed sync the disk may have the old state,
// the new one or, should we go on, neither. bbolt returns fdatasync's bare
// errno, a PathError of Sync elsewhere, and a text where it syncs after
// growing.
func isSyncError(err error) bool {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Op == "sync"
	}
	_, bare := err.(syscall.Errno)
	return bare || strings.Contains(err.Error(), "file sync error")
}

// fatal says whether the store must not be written any more.
func fatal(err error) bool {
	return errors.Is(err, ErrSyncFailed) || errors.Is(err, ErrFileGone) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrClosed)
}
