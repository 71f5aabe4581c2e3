package stint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	// lockPoll is how often a lock is tried while another process has it.
	lockPoll = 50 * time.Millisecond

	// maxReplaced bounds how often the file may be replaced under us before
	// we stop following it.
	maxReplaced = 10

	// mapSize is the address space that bbolt takes for its memory map. Up to
	// this size the file can grow without a new map, for which a write would
	// have to wait until every open read transaction has ended.
	mapSize = 1 << 30

	// growth is the step in which the file grows, each with a sync of its
	// own. bbolt's 16 MiB would come at once with a map larger than that
	// (below it bbolt doubles the file), and make every small queue 16 MiB.
	growth    = 1 << 20
	minGrowth = 64 << 10
)

// openFile opens the bbolt file at path, or creates it, in which case fill
// makes its buckets before anybody can see it under its name. The lock is
// held, and the database is sound: see preflight and reassert.
func openFile(path string, cfg *Config, fill func(*bolt.DB) error) (file *openedFile, created bool, err error) {
	target, err := realPath(path)
	if err != nil {
		return nil, false, refusal("open", path, err)
	}
	o := &opener{name: path, path: target, cfg: cfg, fill: fill, deadline: time.Now().Add(cfg.LockTimeout), check: quickPreflight}
	f, err := o.lockedFile()
	if err != nil {
		return nil, false, err
	}
	db, err := o.openBolt(f)
	if err != nil {
		letGo(f)
		return nil, false, err
	}
	_ = removeLeftover(target + compactingSuffix) // it is in the way of the next compaction only, which will tell
	file = &openedFile{db: db, file: f, path: target}
	file.leaves.Store(o.leaves)
	return file, o.created, nil
}

// opener is one openFile on its way.
type opener struct {
	name     string // as the caller gave it, for messages
	path     string // absolute, and no symbolic link
	cfg      *Config
	fill     func(*bolt.DB) error
	deadline time.Time // for the lock
	waiting  bool
	created  bool

	// check is quickPreflight, or nil for who is about to read everything.
	check  func(r io.ReaderAt, size int64, path string) (*leafCheck, error)
	leaves *leafCheck // what it has left
}

// realPath makes a path absolute and follows symbolic links, also one that
// points to a file which is still to be created: a new file must be made
// beside its own place, not beside the link.
func realPath(path string) (string, error) {
	if path == "" {
		return "", fs.ErrNotExist
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 40 { // as many as Linux follows
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil { // no link, or not there: opening it will tell
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", syscall.ELOOP
}

// lockedFile opens the file, creating it where it is absent or empty, and
// takes its lock. The lock belongs to the file, not to the name, so the name
// has to be looked at again afterwards.
func (o *opener) lockedFile() (*os.File, error) {
	for range maxReplaced {
		f, err := o.openExisting()
		if errors.Is(err, fs.ErrNotExist) {
			if err := o.create(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		size, same, err := o.lock(f)
		switch {
		case err == nil && same && size > 0:
			return f, nil
		case err == nil && same:
			o.cfg.Logger.Warn("stint: the file is empty and is taken for a new one; if there were jobs in it, close the queue and restore a backup", "path", o.name)
			err = o.replaceEmpty(f)
		}
		letGo(f)
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("stint: cannot open %s: it is being replaced all the time; keep other programs from it", o.name)
}

// openExisting opens the file without ever creating it, which bbolt would do.
func (o *opener) openExisting() (*os.File, error) {
	info, err := os.Stat(o.path)
	switch {
	case err != nil:
		return nil, refusal("open", o.name, err)
	case info.IsDir():
		return nil, refusal("open", o.name, syscall.EISDIR)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is no regular file but %s; give another path", ErrNotStint, o.name, info.Mode())
	}
	f, err := os.OpenFile(o.path, os.O_RDWR, 0)
	if err != nil {
		return nil, refusal("open", o.name, err)
	}
	return f, nil
}

// lock waits for the lock of f, tells its size, and whether the path still
// leads to it.
func (o *opener) lock(f *os.File) (size int64, same bool, err error) {
	if err := o.waitForLock(f); err != nil {
		return 0, false, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, false, refusal("open", o.name, err)
	}
	return info.Size(), isAt(info, o.path), nil
}

func (o *opener) waitForLock(f *os.File) error {
	for {
		ok, err := tryLock(f)
		if err != nil {
			return fmt.Errorf("stint: cannot lock %s: %w; put the file on a local disk, its file system must support locks", o.name, err)
		}
		if ok {
			return nil
		}
		holder := lockHolder(f)
		if holder == os.Getpid() {
			return fmt.Errorf("%w: %s is already open in this process; use the Queue that has it, or close that first", ErrLocked, o.name)
		}
		left := time.Until(o.deadline)
		if left <= 0 {
			return lockedBy(holder, o.name)
		}
		if !o.waiting {
			o.waiting = true
			o.cfg.Logger.Info("stint: waiting for the file, another process has it open", "path", o.name, "pid", holder, "timeout", o.cfg.LockTimeout)
		}
		time.Sleep(min(lockPoll, left))
	}
}

// lockedBy says who has the file, as far as that is known.
func lockedBy(holder int, name string) error {
	who := "another process"
	if holder > 0 {
		who = "process " + strconv.Itoa(holder)
	}
	return fmt.Errorf("%w: %s is open in %s; only one process can have a queue: stop that one, or raise Config.LockTimeout to wait longer for it", ErrLocked, name, who)
}

// openBolt checks the file and hands it to bbolt.
func (o *opener) openBolt(f *os.File) (*bolt.DB, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, refusal("open", o.name, err)
	}
	if o.check != nil {
		o.leaves, err = o.check(f, info.Size(), o.name)
	} else {
		err = preflight(f, info.Size(), o.name)
	}
	if err != nil {
		return nil, err
	}
	if page, lost := lostMeta(f, info.Size()); lost {
		o.cfg.Logger.Warn("stint: one of the two pages that say where the rest lies is damaged, so the last commit may be missing; after a power cut that is as it should be, otherwise look at the disk", "path", o.name, "page", page)
	}
	db, err := o.callBolt(f)
	if err != nil {
		return nil, err
	}
	db.NoFreelistSync = o.leaves == nil // see leafCheck
	if err := reassert(f, db.Info().PageSize, db.Sync); err != nil {
		db.Close()
		return nil, refusal("write to", o.name, err)
	}
	// A creation that ended before its own sync of the directory is made good.
	// Where that cannot be done the file is still as good as it was.
	if !o.created {
		_ = syncDir(filepath.Dir(o.path))
	}
	o.warnOfReaders(info)
	return db, nil
}

// callBolt calls bolt.Open for a file that has passed the preflight. A panic
// in it is the second line only; bbolt would leave the lock behind, so the
// descriptor has to be ours.
func (o *opener) callBolt(f *os.File) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%w: %s: bbolt cannot open it: %v; restore a backup, the file was left as it is", ErrCorrupt, o.name, p)
		}
	}()
	opts := boltOptions(f, o.cfg.LockTimeout)
	opts.MaxSize = o.cfg.MaxFileSize
	db, err = openMapped(o.path, opts)
	switch {
	case err == nil:
		db.AllocSize = growth
		if limit := o.cfg.MaxFileSize; limit > 0 {
			db.AllocSize = max(min(limit/8, growth), minGrowth)
		}
		return db, nil
	case errors.Is(err, berrors.ErrTimeout):
		return nil, lockedBy(0, o.name)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %s: %w; restore a backup, the file was left as it is", ErrCorrupt, o.name, err)
	default:
		return nil, refusal("open", o.name, err)
	}
}

// openMapped is bolt.Open with our memory map.
func openMapped(path string, opts *bolt.Options) (*bolt.DB, error) {
	if strconv.IntSize == 64 && runtime.GOOS != "windows" { // where the file would get as large as the map
		opts.InitialMmapSize = mapSize
	}
	return bolt.Open(path, 0o600, opts)
}

// boltOptions are those for a file that is open already. The list of free
// pages is not written, since that would cost more than all else once a burst
// of jobs is done; bbolt finds the free pages at open from the tree.
//
// bbolt opens further files in the same way when it copies the database, and
// must get those, not the one that is at work.
func boltOptions(f *os.File, lockTimeout time.Duration) *bolt.Options {
	taken := false
	open := func(name string, flag int, mode fs.FileMode) (*os.File, error) {
		if taken {
			return os.OpenFile(name, flag, mode)
		}
		taken = true
		return f, nil
	}
	return &bolt.Options{
		Timeout:        max(lockTimeout, time.Millisecond), // 0 would be for ever
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
		OpenFile:       open,
	}
}

// warnOfReaders tells of a file with which bbolt, or an operator, was
// generous: args can hold secrets.
func (o *opener) warnOfReaders(info fs.FileInfo) {
	if mode := info.Mode().Perm(); mode&0o044 != 0 && runtime.GOOS != "windows" {
		o.cfg.Logger.Warn("stint: other users can read the file; chmod 600 it if args are nobody's business", "path", o.name, "mode", mode.String())
	}
}

// reassert writes the two meta pages as they are once more, and syncs them.
// After a failed sync the page cache shows a meta page that the disk never
// got, and it goes on showing it to the next process. Built upon, it leads to
// a file that a power cut ruins, because the pages of the tree that the disk
// still has are taken for free. Written again, it is there for certain.
func reassert(f interface {
	io.ReaderAt
	io.WriterAt
}, pageSize int, sync func() error) error {
	metas := make([]byte, 2*pageSize)
	if _, err := f.ReadAt(metas, 0); err != nil {
		return err
	}
	for _, at := range []int{0, pageSize} {
		if _, err := f.WriteAt(metas[at:at+pageSize], int64(at)); err != nil {
			return err
		}
	}
	return sync()
}

// isAt tells whether the path leads to the file that info is about.
func isAt(info fs.FileInfo, path string) bool {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(info, now)
}

// letGo gives up the lock and closes the file.
func letGo(f *os.File) {
	unlock(f)
	_ = f.Close() // bbolt may have done so
}

// refusal is an error of the system with the caller's path and what to do.
func refusal(verb, name string, err error) error {
	advice := ""
	switch {
	case name == "":
		return fmt.Errorf("%w: the path of the file is empty: %w", ErrConfig, err)
	case errors.Is(err, fs.ErrNotExist):
		advice = "; create its directory first"
	case errors.Is(err, fs.ErrPermission):
		advice = "; let this user read and write the file and its directory"
	case errors.Is(err, syscall.EROFS):
		advice = "; a queue needs a file system that it can write to"
	case errors.Is(err, syscall.EISDIR):
		advice = "; give the path of a file"
	case errors.Is(err, syscall.ENOTDIR):
		advice = "; a part of the path is a file where a directory should be"
	case errors.Is(err, syscall.ENOSPC):
		advice = "; make room on the disk"
	}
	return fmt.Errorf("stint: cannot %s %s: %w%s", verb, name, cause(err), advice)
}

// cause takes the path off an error of package os: it is the one of a link's
// target or of a temporary file, and the message has its own.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
