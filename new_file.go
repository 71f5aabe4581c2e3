package stint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A new file is made, filled and synced beside its place, and gets its name
// last. bbolt would create it under its name and fill it there, and a power
// cut in between leaves states with which every later open panics or fails.
// What can be left now is nothing, an empty file, the finished one, or one
// with a temporary name that nobody will look for.

// create puts a new file where there was none. Another process may be faster;
// then its file stays.
func (o *opener) create() error {
	err := o.putNewFile(func(made string) error { return putInPlace(made, o.path, os.Link) })
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// replaceEmpty puts a new file over an empty one. Its lock is held, so that
// of several processes only one does.
func (o *opener) replaceEmpty(empty *os.File) error {
	if !lockIsOurs {
		_ = empty.Close() // Windows replaces no open file
	}
	return o.putNewFile(func(made string) error { return os.Rename(made, o.path) })
}

// putNewFile makes the file and lets place give it its name. It stays locked
// until the name is safe too, so it can still be taken away: nobody has
// written to it.
func (o *opener) putNewFile(place func(made string) error) error {
	f, err := o.newFile()
	if err != nil {
		return refusal("create", o.name, err)
	}
	defer letGo(f)
	if !lockIsOurs {
		_ = f.Close() // Windows removes no name of an open file
	}
	err = place(f.Name())
	_ = os.Remove(f.Name())
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if err == nil {
		if err = syncDir(filepath.Dir(o.path)); err != nil {
			_ = os.Remove(o.path)
		}
	}
	if err != nil {
		return refusal("create", o.name, err)
	}
	o.created = true
	return nil
}

// newFile makes a filled and synced file with a temporary name, and locks it.
func (o *opener) newFile() (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(o.path), filepath.Base(o.path)+".new-*")
	if err != nil {
		return nil, err
	}
	name, done := f.Name(), false
	defer func() { // also when fill panics
		if !done {
			letGo(f)
			_ = os.Remove(name)
		}
	}()
	if err := o.fillNew(f); err != nil {
		return nil, err
	}
	again, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	f = again // bbolt closed the first one
	if ok, err := tryLock(f); err != nil {
		return nil, err
	} else if !ok {
		return nil, errors.New("another process has locked the new file")
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	done = true
	return f, nil
}

func (o *opener) fillNew(f *os.File) (err error) {
	db, err := bolt.Open(f.Name(), 0o600, boltOptions(f, time.Second))
	if err != nil {
		return err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	return o.fill(db)
}

// putInPlace gives the file at made the name path, and never replaces a file
// that holds something: then the error is fs.ErrExist.
func putInPlace(made, path string, link func(from, to string) error) error {
	err := link(made, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// The file system knows no hard links. An empty file takes the place,
	// under the lock that everybody needs who wants to replace it.
	empty, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer letGo(empty)
	ok, err := tryLock(empty)
	if err != nil {
		return err
	}
	if info, err := empty.Stat(); !ok || err != nil || !isAt(info, path) {
		return fs.ErrExist // somebody else is filling it, or has
	}
	if err = os.Rename(made, path); err != nil {
		_ = os.Remove(path)
	}
	return err
}

// syncDir makes the names in a directory safe, where the system has a way.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // some network and user space file systems
	}
	return err
}
