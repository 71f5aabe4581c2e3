package stint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A compaction puts a file in the place of the queue's that has the same
// content and no free space, while the queue works.
//
//  1. An empty file is made beside the queue's, with its owner, its mode, and
//     a lock from the start.
//  2. A read transaction is copied into it, in commits of bounded size.
//  3. What has changed since is found by comparing the trees of that
//     transaction and a new one (treeDiff), and copied too; again and again,
//     until it takes but a moment, with a sync each time.
//  4. The swap: no writer gets a turn, the last changes are copied and synced,
//     the new file is renamed over the old one, the directory is synced. From
//     here on the store uses the new file.
//  5. The old file is closed when its last reader has ended. Its descriptor is
//     closed at once, so that who still writes by an old pointer to the
//     database gets an error, instead of writing into a file without a name.
//
// A crash leaves the old file or the new one under the name, both whole, and
// at most the unfinished file beside it, which the next Open removes. Any
// failure before the rename leaves everything as it was.

// compactingSuffix makes the name of the file that is being made.
const compactingSuffix = ".compacting"

const (
	// A catch-up that takes no longer is good enough to do the next one while
	// nobody may write.
	shortRound = 20 * time.Millisecond

	// maxRounds bounds them, where changes come as fast as they are copied.
	maxRounds = 20

	// maxWaitForMap is how long a read transaction may take to begin, which
	// is a matter of microseconds, until a writer is taken to wait for ours.
	maxWaitForMap = 250 * time.Millisecond

	// maxStarts bounds how often a compaction starts again for that. The map
	// then has room for another GiB.
	maxStarts = 3
)

var errMapGrows = errors.New("the file grows beyond its memory map; try again")

// Compact gives the free space of the file back to the disk, while the queue
// works: the live content is copied into a new file, which then takes the
// place of the old one. Nothing has to stop; writes wait for the last moment
// of it, some milliseconds to some tens of them on a local disk.
//
// It needs so much free disk as the live content takes, and answers ENOSPC
// before it begins if there is less. The new file is made beside the queue's,
// under its name with ".compacting" at the end; that name belongs to stint.
// While the content is copied, pages that are replaced cannot be used again,
// so the old file may grow meanwhile.
//
// progress, which may be nil, is called now and then in the caller's
// goroutine with the bytes that are copied and to be copied.
//
// When ctx ends, or Close is called (then the error is ErrClosed), or anything
// fails, the file is as it was before; only after ErrSyncFailed, for a sync of
// the directory, it is unknown which of the two files a power cut would leave.
// One Compact or Backup copies at a time, others wait for their turn. It must
// not be called inside a transaction.
//
// After it, the database that DB returned before is of no use any more; View
// and Update always have the right one, and transactions that read the old
// file go on, but cannot copy it (use Backup). Only a file opened by Open can be compacted, and none on
// Windows, where an open file cannot be replaced: errors.ErrUnsupported.
func (q *Queue) Compact(ctx context.Context, progress func(Progress)) error {
	switch {
	case !q.store.owned:
		return fmt.Errorf("stint: the database belongs to the application and is not compacted: %w; use bbolt's Compact while it is closed, or stint.Open", errors.ErrUnsupported)
	case !lockIsOurs:
		return fmt.Errorf("stint: an open file cannot be replaced on this system: %w; close the queue and use bbolt's compact command", errors.ErrUnsupported)
	}
	ctx, release, err := q.upkeep.begin(ctx)
	if err != nil {
		return fmt.Errorf("stint: the file was not compacted: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	told := make(chan Progress, 1)
	q.background.Go(func() {
		defer close(told)
		defer release()
		err = q.compact(ctx, func(p Progress) {
			select {
			case <-told: // nobody has fetched it
			default:
			}
			told <- p
		})
	})
	defer func() { // also when progress panics
		cancel()
		for range told {
		}
	}()
	for p := range told { // with the last one, however late the caller gets a turn
		if progress != nil {
			progress(p)
		}
	}
	return err
}

// compaction is one on its way.
type compaction struct {
	q      *Queue
	old    *openedFile
	name   string // of the new file, until it gets the old one's
	made   *openedFile
	reader *treeReader
	copy   *treeCopy
	seen   *bolt.Tx // of the old file: what the copy has
}

func (q *Queue) compact(ctx context.Context, tell func(Progress)) error {
	began, path := time.Now(), q.store.cur.Load().path
	before, _ := q.store.fileSize()
	for start := 1; ; start++ {
		if err := q.store.look(); err != nil {
			return err
		}
		c := &compaction{q: q, old: q.store.cur.Load(), name: path + compactingSuffix}
		err := q.finishLeaves(ctx) // what is copied looks sound in the copy
		if err == nil {
			err = c.run(ctx, tell)
		}
		c.tidy()
		if err == nil {
			break
		}
		if !errors.Is(err, errMapGrows) || start == maxStarts {
			return c.failure(ctx, err)
		}
	}
	after, _ := q.store.fileSize()
	q.log.Info("stint: the file was compacted", "path", path, "before", before, "after", after, "took", time.Since(began))
	return nil
}

func (c *compaction) run(ctx context.Context, tell func(Progress)) error {
	if err := c.create(); err != nil {
		return err
	}
	c.copy = &treeCopy{ctx: ctx, db: c.made.db}
	if err := c.copyAll(tell); err != nil {
		return err
	}
	for range maxRounds {
		began := time.Now()
		tx, err := c.snapshot()
		if err != nil {
			return err
		}
		err = c.catchUp(tx)
		_ = c.seen.Rollback()
		c.seen = tx
		if err == nil {
			err = c.made.db.Sync()
		}
		if err != nil {
			return err
		}
		if time.Since(began) < shortRound {
			break
		}
	}
	return c.swap(ctx)
}

// create makes the new file and opens it as a database.
func (c *compaction) create() error {
	if err := removeLeftover(c.name); err != nil {
		return err
	}
	f, err := createLike(c.old.file, c.name, c.old.path)
	if err != nil {
		return err
	}
	opts := boltOptions(f, c.q.cfg.LockTimeout)
	opts.PageSize = c.old.db.Info().PageSize
	db, err := openMapped(c.old.path, opts)
	if err != nil {
		letGo(f)
		_ = os.Remove(c.name)
		return err
	}
	// Until the swap, nobody needs the file.
	db.NoSync, db.NoGrowSync = true, true
	c.made = &openedFile{db: db, file: f, path: c.old.path}
	return nil
}

// copyAll copies what a read transaction sees.
func (c *compaction) copyAll(tell func(Progress)) error {
	size, free := c.q.store.fileSize()
	if err := roomFor(c.made.file, size-free); err != nil {
		return err
	}
	tx, err := c.old.begin(false)
	if err != nil {
		return err
	}
	c.seen = tx
	c.reader = newTreeReader(c.old.file, c.old.path, tx.DB().Info().PageSize)
	total := int(size - free)
	c.copy.committed = func() error {
		tell(Progress{Done: min(int(c.reader.read), total), Total: total})
		// Many small syncs: one of all would hold up those of the queue.
		if err := c.made.db.Sync(); err != nil {
			return err
		}
		probe, err := c.snapshot()
		if err == nil {
			_ = probe.Rollback()
		}
		return err
	}
	if err := c.bring(nil, tx); err != nil {
		return err
	}
	c.copy.committed = nil
	tell(Progress{Done: total, Total: total})
	return c.made.db.Sync()
}

// snapshot is a further read transaction. bbolt lets it wait only while a
// writer wants to make the memory map larger, which in turn waits for the
// transactions that are open; then those of the compaction are ended, and it
// has to start again.
func (c *compaction) snapshot() (*bolt.Tx, error) {
	type result struct {
		tx  *bolt.Tx
		err error
	}
	got := make(chan result, 1)
	c.q.background.Go(func() {
		tx, err := c.old.begin(false)
		got <- result{tx, err}
	})
	timer := time.NewTimer(maxWaitForMap)
	defer timer.Stop()
	select {
	case r := <-got:
		return r.tx, r.err
	case <-timer.C:
	}
	_ = c.seen.Rollback()
	if r := <-got; r.err == nil {
		_ = r.tx.Rollback()
	}
	return nil, errMapGrows
}

// catchUp copies what is different in a later transaction.
func (c *compaction) catchUp(now *bolt.Tx) error { return c.bring(rootOf(c.seen), now) }

func (c *compaction) bring(before *treeBucket, now *bolt.Tx) error {
	c.reader.c.pages = uint64(now.Size()) / c.reader.c.pageSize
	d := treeDiff{r: c.reader, copy: c.copy}
	if err := d.bring(before, rootOf(now)); err != nil {
		return err
	}
	return c.copy.commit()
}

// rootOf is the bucket of the root buckets, as it was when the transaction
// began.
func rootOf(tx *bolt.Tx) *treeBucket {
	return &treeBucket{root: uint64(tx.Cursor().Bucket().RootPage())}
}

// failure is the error for the caller.
func (c *compaction) failure(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case cause != nil && errors.Is(err, cause):
		return fmt.Errorf("stint: the compaction of %s was given up, nothing has changed: %w", c.old.path, cause)
	case fatal(err):
		return err
	}
	return refusal("compact", c.old.path, err)
}

// removeLeftover removes the file that a crash has left of a compaction. It
// is nobody's if its lock is free. A link is removed, not followed.
func removeLeftover(name string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer letGo(f)
		opened, err := f.Stat()
		if err != nil {
			return err
		}
		if ok, err := tryLock(f); err != nil || !ok || !os.SameFile(info, opened) {
			return fmt.Errorf("%w: %s is open in another process; it must be free for the compaction", ErrLocked, name)
		}
	} else if info.Mode()&os.ModeSymlink == 0 {
		return fmt.Errorf("%s is in the way; remove it", name)
	}
	return os.Remove(name)
}
