package stint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// Upgrading a file that an earlier version of stint wrote.
//
//  1. Open and New look at the format first, once the file is locked and has
//     passed the preflight. A newer format is refused.
//  2. In the write transaction of the first step, so that nothing changes
//     meanwhile, backUp copies the file beside its place, byte for byte. There
//     is no upgrade without that copy.
//  3. Each step leads to the next format in one transaction, which also says
//     which format the file has then. A crash leaves a whole file of the one
//     format or the other.
//
// A step that fails has changed nothing, and its copy is removed again; one of
// a crash is found and used by the next Open.

// firstEncrypted is the first format of which a file may be encrypted.
const firstEncrypted = 2

// upgrades lead from a format to the one that follows.
var upgrades = [formatVersion]func(root *bolt.Bucket) error{
	1: addChecksums,
	2: addHistory,
}

// upgrade brings the file to the format of this version, if it has an earlier
// one.
func (q *Queue) upgrade() error {
	from := formatVersion
	err := q.store.view(func(tx *bolt.Tx) (err error) {
		if root := tx.Bucket(rootBucket); root != nil {
			from, err = q.store.format(root)
		}
		return err
	})
	if err != nil || from == formatVersion {
		return err
	}
	path := q.store.db().Path()
	if len(q.cfg.Keys) > 0 && from < firstEncrypted {
		return fmt.Errorf("%w: %s is of an earlier format and not encrypted, and there are keys; Open it once without, which upgrades it, and call Rekey then", ErrWrongKey, path)
	}
	q.log.Info("stint: the file is of an earlier format and is upgraded", "path", path, "from", from, "to", formatVersion)
	q.store.bound(false)
	defer q.store.bound(true)
	var made *fileCopy
	for format := from; format < formatVersion; format++ {
		if err := q.store.upgradeFrom(format, &made); err != nil {
			return fmt.Errorf("stint: cannot upgrade %s from format %d to %d: %w", path, format, formatVersion, err)
		}
	}
	q.log.Info("stint: the file is upgraded; once the program has run well with it, the backup may go", "path", path, "from", from, "to", formatVersion, "size", made.size, "backup", made.path)
	return nil
}

// upgradeFrom is one step, and before the first one the copy.
func (s *store) upgradeFrom(format int, made **fileCopy) error {
	first := *made == nil
	err := s.update(func(tx *bolt.Tx) (err error) {
		if first {
			if *made, err = backUp(tx.DB().Path(), fmt.Sprintf(".format%d-backup", format)); err != nil {
				return err
			}
		}
		root := tx.Bucket(rootBucket)
		if err := upgrades[format](root); err != nil {
			return err
		}
		return root.Bucket(bucketNames[bucketMeta]).Put(keyFormat, []byte{byte(format + 1)})
	})
	if err == nil || errors.Is(err, errNoBackup) {
		return err
	}
	err = storeError(err)
	if first && *made != nil && !(*made).found && !errors.Is(err, ErrSyncFailed) {
		_ = os.Remove((*made).path)
	}
	return err
}

// fileCopy is a copy of the file beside its place.
type fileCopy struct {
	path  string
	size  int64
	found bool // it was there already
}

// maxBackups bounds the search for a name.
const maxBackups = 1000

// backUp copies the file at path to path + suffix, or to the first free name
// that continues so. The copy is on disk when it returns.
func backUp(path, suffix string) (made *fileCopy, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+suffix+".new-*")
	if err != nil {
		return nil, noBackup(err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	made = &fileCopy{}
	if made.size, err = copyFile(f, path); err != nil {
		return nil, noBackup(err)
	}
	for n := 1; n <= maxBackups; n++ {
		if made.path = path + suffix; n > 1 {
			made.path += "-" + strconv.Itoa(n)
		}
		err = nil
		if made.found = sameContent(made.path, f.Name()); !made.found {
			err = putInPlace(f.Name(), made.path, os.Link)
		}
		if err == nil {
			err = syncDir(filepath.Dir(path))
		}
		if err == nil {
			return made, nil
		}
		if !errors.Is(err, os.ErrExist) {
			break
		}
	}
	return nil, noBackup(err)
}

// copyFile writes the file at path to f, and closes it when it is on disk.
func copyFile(f *os.File, path string) (size int64, err error) {
	from, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	if size, err = io.Copy(f, from); err != nil {
		return size, err
	}
	if err = f.Sync(); err != nil {
		return size, err
	}
	return size, f.Close()
}

// sameContent says whether two files are equal, byte for byte.
func sameContent(a, b string) bool {
	var files [2]*os.File
	var sizes [2]int64
	for i, name := range [...]string{a, b} {
		f, err := os.Open(name)
		if err != nil {
			return false
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return false
		}
		files[i], sizes[i] = f, info.Size()
	}
	if sizes[0] != sizes[1] {
		return false
	}
	var pages [2][64 << 10]byte
	for {
		n, err := io.ReadFull(files[0], pages[0][:])
		m, _ := io.ReadFull(files[1], pages[1][:])
		if !bytes.Equal(pages[0][:n], pages[1][:m]) {
			return false
		}
		if err != nil {
			return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		}
	}
}

// errNoBackup is told from an error of the transaction by storeError.
var errNoBackup = errors.New("the backup that is made first")

func noBackup(err error) error {
	advice := "let this user write to the directory of the file"
	switch {
	case errors.Is(err, syscall.ENOSPC):
		advice = "make room on the disk for a copy of the file"
	case errors.Is(err, os.ErrExist):
		advice = "remove old backups"
	}
	return fmt.Errorf("%w cannot be written: %w; %s, the file was left as it is", errNoBackup, cause(err), advice)
}

// addChecksums leads from format 1 to 2, which has checksums on small values
// (checksum.go), a head on what is in quarantine (quarantine.go), and may have
// sealed records.
func addChecksums(root *bolt.Bucket) error {
	seal := func(k, v []byte) []byte { return sealValue(k, bytes.Clone(v)) }
	for _, name := range [...]bucketName{bucketLanes, bucketQueues, bucketPlaces, bucketBatches, bucketItems} {
		err := changeValues(root.Bucket(bucketNames[name]), func(k, v []byte) []byte {
			if name == bucketBatches && k[0] == batchEnded || name == bucketItems && k[0] != 0 {
				return nil
			}
			return seal(k, v)
		})
		if err != nil {
			return err
		}
	}
	err := changeValues(root.Bucket(bucketNames[bucketQuarantine]), func(k, v []byte) []byte {
		return encodeQuarantined(keyID(k), 0, "an earlier version could not read it", v)
	})
	if err != nil {
		return err
	}
	jobs, meta := root.Bucket(bucketNames[bucketJobs]), root.Bucket(bucketNames[bucketMeta])
	if err := setLastID(jobs, jobs.Sequence()); err != nil {
		return err
	}
	running := meta.Get(keyRunning)
	if running == nil {
		running = []byte{0, 0}
	}
	if err := meta.Put(keyRunning, seal(keyRunning, running)); err != nil {
		return err
	}
	return meta.Put(keyFile, seal(keyFile, meta.Get(keyFile)))
}

// changeValues replaces the values of a bucket, but for those where change
// answers nil.
func changeValues(b *bolt.Bucket, change func(k, v []byte) []byte) error {
	var entries []entry
	for from := []byte(nil); ; {
		cur := b.Cursor()
		k, v := cur.Seek(from)
		if from != nil && bytes.Equal(k, from) {
			k, v = cur.Next()
		}
		entries = entries[:0]
		size := 0
		for ; k != nil && len(entries) < perGroup && size < 1<<20; k, v = cur.Next() {
			from = append(from[:0], k...)
			if value := change(k, v); value != nil {
				entries = append(entries, entry{bytes.Clone(k), value})
				size += len(value)
			}
		}
		for _, e := range entries {
			if err := b.Put(e.key, e.value); err != nil {
				return err
			}
		}
		if k == nil {
			return nil
		}
	}
}

// addHistory leads from format 2 to 3: there are buckets for what was done.
func addHistory(root *bolt.Bucket) error {
	for _, name := range []bucketName{bucketHistory, bucketStarts, bucketActions} {
		if err := makeBucket(root, name); err != nil {
			return err
		}
	}
	return nil
}
