package stint

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Check: everything in the file that follows from something else is held
// against what it follows from.
//
//  1. The pages of the tree are looked at first (preflight.go), since bbolt
//     follows them blindly. bbolt's own check would too, in a goroutine in
//     which nobody can recover a panic. Pages that are neither in use nor free
//     cost room only and are no fault.
//  2. prepare reads what is small: what runs, the lanes, the batches' totals.
//  3. The passes walk one bucket each. An index entry must be the one that its
//     job's record asks for, and the record's entry must be there: both
//     together mean that each job is in one index, once. So nothing has to be
//     remembered of a job, and memory does not grow with them.
//  4. conclude compares totals with what the passes have counted.
//
// Repair is the same walk with another end: what does not fit is written as it
// should be; see repair.go.

// Fault is something in a file that does not fit.
type Fault struct {
	Job        ID     // the job or the batch it is about, 0 if it is about neither
	Text       string // what is wrong, and what follows or is to be done
	Repairable bool   // Repair mends it
	Repaired   bool   // Repair has mended it
}

// Check looks for faults in the queue's file while it is at work: damaged
// pages and records, indexes, counts, unique places, batches and schedules
// that do not fit the jobs. None is the answer for a healthy file. At most
// 1000 faults are told one by one, and a last one says how many there are
// besides.
//
// It reads the whole file, a million jobs in a few seconds, in one read
// transaction: meanwhile everything goes on, but no page that is given up is
// used again, so the file may grow by what is written until Check returns; as
// to a file that grows across a GiB, see View.
// When ctx ends, its error is returned. Other errors say that the file could
// not be read.
func (q *Queue) Check(ctx context.Context) ([]Fault, error) {
	c := &checker{ctx: ctx}
	path, err := q.check(c)
	if errors.Is(err, errOtherFile) { // Compact has just replaced it, and now does not
		_, release, turnErr := q.upkeep.begin(ctx)
		if turnErr != nil {
			return nil, fmt.Errorf("stint: the check has not begun: %w", turnErr)
		}
		path, err = q.check(c)
		release()
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = cmp.Or(q.store.look(), err)
	}
	return c.result(path, q.readError(err))
}

// check is one look at the file; path is what it calls itself.
func (q *Queue) check(c *checker) (path string, err error) {
	err = q.store.view(func(tx *bolt.Tx) error {
		path = tx.DB().Path()
		if err := c.structure(tx, q.store.cur.Load()); err != nil {
			return err
		}
		t, err := q.newTxn(tx)
		if err != nil {
			return err
		}
		return c.look(t)
	})
	return path, err
}

// CheckFile is Check for a file that no queue has open, also for one that Open
// refuses. It changes nothing, not a byte. It takes the file's lock:
// ErrLocked is the answer while somebody has it, without any waiting. Other
// errors are ErrNotStint, ErrNewerFormat and those of the operating system;
// damage is no error but a Fault. The args of an encrypted file are not looked
// into, as that would take its keys.
func CheckFile(path string) ([]Fault, error) {
	o, f, err := openLocked(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer letGo(f)
	c := &checker{ctx: context.Background()}
	err = o.checkLocked(f, c)
	return c.result(path, err)
}

// openLocked opens a file that is there, and takes its lock or answers
// ErrLocked.
func openLocked(path string, flag int) (*opener, *os.File, error) {
	target, err := realPath(path)
	if err != nil {
		return nil, nil, refusal("open", path, err)
	}
	o := &opener{name: path, path: target, cfg: &Config{}, deadline: time.Now()}
	switch info, err := os.Stat(target); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("stint: cannot open %s: %w; give the path of a file that is there", path, cause(err))
	case err != nil:
		return nil, nil, refusal("open", path, err)
	case info.IsDir():
		return nil, nil, refusal("open", path, syscall.EISDIR)
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%w: %s is no regular file but %s; give another path", ErrNotStint, path, info.Mode())
	}
	f, err := os.OpenFile(target, flag, 0)
	if err != nil {
		return nil, nil, refusal("open", path, err)
	}
	if err := o.tryLocking(f); err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	if info, err := f.Stat(); err != nil || !isAt(info, target) {
		letGo(f)
		return nil, nil, fmt.Errorf("%w: %s was replaced or taken away at this moment; try again", ErrLocked, path)
	}
	return o, f, nil
}

// tryLocking takes the lock without waiting for it.
func (o *opener) tryLocking(f *os.File) error {
	ok, err := tryLock(f)
	switch {
	case err != nil:
		return fmt.Errorf("stint: cannot lock %s: %w; put the file on a local disk, its file system must support locks", o.name, err)
	case ok:
		return nil
	}
	who := "another process"
	if holder := lockHolder(f); holder == os.Getpid() {
		who = "this process"
	} else if holder > 0 {
		who = fmt.Sprintf("process %d", holder)
	}
	return fmt.Errorf("%w: %s is open in %s; close it there first, or call the method of the Queue that has it", ErrLocked, o.name, who)
}

// checkLocked looks at a file that is locked, and writes nothing.
func (o *opener) checkLocked(f *os.File, c *checker) error {
	info, err := f.Stat()
	if err != nil {
		return refusal("read", o.name, err)
	}
	if err := preflight(f, info.Size(), o.name); err != nil {
		return err
	}
	opts := boltOptions(f, time.Second)
	opts.ReadOnly = true
	db, err := bolt.Open(o.path, 0o600, opts)
	if err != nil {
		return refusal("open", o.name, err)
	}
	defer db.Close()
	return safely(func() error {
		return db.View(func(tx *bolt.Tx) error {
			t, err := bareTxn(tx, o.name)
			if err != nil {
				return err
			}
			return c.look(t)
		})
	})
}

// safely turns damage that bbolt answers with a panic into ErrCorrupt.
func safely(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: bbolt says %v; restore a backup", ErrCorrupt, p)
		}
	}()
	return fn()
}

// bareTxn is a transaction of a file that no Queue has.
func bareTxn(tx *bolt.Tx, path string) (*txn, error) {
	t := &txn{tx: tx, id: tx.ID(), now: micros(time.Now()), root: tx.Bucket(rootBucket)}
	t.vault = vaultWithoutKeys(t.root)
	if t.root == nil || t.root.Bucket(bucketNames[bucketMeta]) == nil {
		return nil, fmt.Errorf("%w: %s has no bucket %q of ours; give another path", ErrNotStint, path, rootBucket)
	}
	if format := t.root.Bucket(bucketNames[bucketMeta]).Get(keyFormat); len(format) == 1 && format[0] > formatVersion {
		return nil, fmt.Errorf("%w: %s has format %d, this version reads up to %d; update the program", ErrNewerFormat, path, format[0], formatVersion)
	}
	return t, nil
}

// checker is one check on its way through a file, or one repair.
type checker struct {
	ctx context.Context
	t   *txn

	faults []Fault
	hidden int // faults beyond maxFaults, and how many of them can be mended
	lost   int // those of them that cannot

	fixing bool       // this is a repair: faults are not told but mended
	fixes  []fix      // to be written when the pass is over
	over   []uint64   // batches to be ended then
	owner  *committer // of a repair while the queue is at work
	broken error      // that fixing ran into

	rec     record // the last one read
	key     [96]byte
	visited int
	unread  int64 // records that cannot be read

	sealed  bool       // small values carry a checksum, as they do from format 2 on
	buckets bucketName // the first one that the format has not
	missing bool       // there are buckets that the file lacks

	alone, listed    bool // the list of running jobs
	atWork, suspects []uint64
	running          map[uint64]bool

	lanes   map[uint32]*seenLane
	laneOf  map[laneKey]*seenLane
	topLane uint32
	block   readyBlock // the last one read

	batches map[uint64]*seenBatch
	highest uint64 // id that was ever given, as far as one sees

	lockedBy map[keyName]int // records by keys that are not in the ring
}

const (
	maxFaults = 1000

	// saneID is above every id that can have been given. Higher ones are
	// damaged keys.
	saneID = 1 << 47
)

// pass walks one bucket.
type pass struct {
	name  bucketName
	visit func(c *checker, k, v []byte)
}

// The passes, in an order in which a repair takes away what is wrong before it
// adds what is missing.
var passes = [...]pass{
	{bucketReady, (*checker).readyEntry},
	{bucketDue, (*checker).dueEntry},
	{bucketDone, (*checker).doneEntry},
	{bucketDead, (*checker).deadEntry},
	{bucketPlaces, (*checker).placeEntry},
	{bucketItems, (*checker).itemEntry},
	{bucketBatches, (*checker).batchEntry},
	{bucketJobs, (*checker).jobEntry},
	{bucketSchedules, (*checker).scheduleEntry},
	{bucketQueues, (*checker).pauseEntry},
	{bucketQuarantine, (*checker).quarantineEntry},
	{bucketHistory, (*checker).historyEntry},
	{bucketStarts, (*checker).startEntry},
	{bucketActions, (*checker).actionEntry},
}

// look finds the faults of a transaction's view of the file.
func (c *checker) look(t *txn) error {
	if !c.prepare(t) {
		return nil
	}
	for _, p := range passes {
		if _, err := c.walk(p, nil, 0); err != nil {
			return err
		}
	}
	c.conclude()
	return nil
}

// prepare reports whether the file has the buckets of a queue.
func (c *checker) prepare(t *txn) bool {
	c.t = t
	c.running = map[uint64]bool{}
	c.lanes, c.laneOf, c.topLane = map[uint32]*seenLane{}, map[laneKey]*seenLane{}, 0
	c.batches = map[uint64]*seenBatch{}
	c.lockedBy = nil
	c.highest, c.unread, c.block, c.over = 0, 0, readyBlock{}, nil
	if !c.meta() {
		return false
	}
	c.runningList()
	c.loadLanes()
	c.loadBatches()
	if k, _ := t.bucket(bucketJobs).Cursor().Last(); len(k) == 8 && c.fixing {
		c.given(keyID(k))
		c.sequences() // before anybody enqueues between two portions
	}
	return true
}

// conclude compares totals.
func (c *checker) conclude() {
	c.runningJobs()
	c.laneCounts()
	c.batchTotals()
	c.sequences()
	c.missingKeys()
}

// walk visits the entries of a bucket behind a key. When there are enough
// fixes, it stops and tells where.
func (c *checker) walk(p pass, after []byte, enough int) (stopped []byte, err error) {
	if p.name >= c.buckets {
		return nil, nil
	}
	cur := c.t.bucket(p.name).Cursor()
	k, v := cur.Seek(after)
	if after != nil && bytes.Equal(k, after) {
		k, v = cur.Next()
	}
	for ; k != nil; k, v = cur.Next() {
		if c.visited++; c.visited%1024 == 0 && c.ctx.Err() != nil {
			return nil, fmt.Errorf("stint: the check has not come to its end: %w", context.Cause(c.ctx))
		}
		p.visit(c, k, v)
		if enough > 0 && len(c.fixes) >= enough {
			return bytes.Clone(k), nil
		}
	}
	return nil, nil
}

// fault notes what Repair mends.
func (c *checker) fault(job uint64, format string, args ...any) { c.note(job, true, format, args) }

// beyond notes what it cannot mend.
func (c *checker) beyond(job uint64, format string, args ...any) { c.note(job, false, format, args) }

func (c *checker) note(job uint64, repairable bool, format string, args []any) {
	switch {
	case c.fixing:
	case len(c.faults) < maxFaults:
		c.faults = append(c.faults, Fault{Job: ID(job), Text: fmt.Sprintf(format, args...), Repairable: repairable})
	default:
		c.hidden++
		if !repairable {
			c.lost++
		}
	}
}

// result are the faults, where damage of the structure is one of them.
func (c *checker) result(path string, err error) ([]Fault, error) {
	if errors.Is(err, ErrCorrupt) {
		c.beyond(0, "%v; Repair is for what the pages hold, not for the pages", err)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if c.hidden > 0 {
		text := fmt.Sprintf("%d more faults like these are in %s", c.hidden, path)
		c.faults = append(c.faults, Fault{Text: text, Repairable: c.hidden > c.lost})
	}
	return c.faults, nil
}

var errOtherFile = fmt.Errorf("%w: the path leads to another file than the one that was opened; if no other copy is left, try Backup before Close; then see to it that the right file is there, and open it again", ErrFileGone)

// structure looks at the pages that a read transaction sees, with reads and not
// through the memory map. They stay as they are while it is open. It opens the
// file once more, as Compact closes the descriptor of one that it replaces, and
// so has to see that this is the transaction's.
func (c *checker) structure(tx *bolt.Tx, current *openedFile) error {
	path := tx.DB().Path()
	f, err := os.Open(path)
	if err != nil {
		return refusal("read", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return refusal("read", path, err)
	}
	if tx.DB() != current.db {
		return errOtherFile
	}
	if own := current.watch.opened; own != nil && !os.SameFile(own, info) {
		return errOtherFile
	}
	return preflightTx(contextReader{c.ctx, f}, tx, path)
}

// contextReader reads until a context ends.
type contextReader struct {
	ctx context.Context
	r   io.ReaderAt
}

func (r contextReader) ReadAt(b []byte, at int64) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.ReadAt(b, at)
}

// open is a value without its checksum, if that is right.
func (c *checker) open(name bucketName, k, v []byte) (value []byte, ok bool) {
	if c.isSealed(name, k) {
		return openValue(k, v)
	}
	return v, true
}

func (c *checker) isSealed(name bucketName, k []byte) bool {
	switch {
	case !c.sealed:
		return false
	case name == bucketBatches:
		return k[0] != batchEnded
	case name == bucketItems:
		return k[0] == 0
	}
	return name == bucketMeta || name == bucketLanes || name == bucketQueues || name == bucketPlaces
}
