package stint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Rekeying writes a file anew under other keys.
//
//  1. The file is locked, looked at as Open does, and its secret decrypted.
//  2. A new file is filled beside it, entry by entry (rekey_entry.go): what is
//     encrypted is decrypted with the old keys and encrypted with the first of
//     the new ones, and keys made of args follow. It has a secret of its own.
//     Buckets of the application are copied as they are.
//  3. It is synced, gets the name of the old one, and the directory is synced.
//
// Nothing of the old file is in the new one, not even in free pages. A crash
// leaves one of the two under the name, and at most the unfinished one beside
// it, under the name of an unfinished compaction, which the next Open removes.

// Rekey rewrites the queue file at path, which nobody may have open, with all
// of it encrypted with the first key of to. from are its keys until now, and
// all that are needed to read its jobs. With an empty from it encrypts a plain
// file, with an empty to it makes a plain one of it. Open it afterwards with
// Config.Keys set to to. It is also what to do when a key has got into wrong
// hands: unlike a new first key in Config.Keys it leaves nothing that the old
// one opens. What was in the old file stays on the disk where the file system
// has kept it, and in backups and snapshots, also in those that an upgrade and
// RepairFile make beside the file.
//
// Ids, Work.Key and all else stay as they are, also buckets of the
// application, which are not encrypted. It needs as much free disk as the file
// has content. A crash leaves the old file or the new one, and so does any
// error the old one; only after ErrSyncFailed, for a sync of the directory, it
// is unknown which of the two a power cut would leave.
//
// ErrWrongKey: from does not fit the file, or a job in it. ErrLocked: somebody
// has it open. ErrCorrupt: something in it cannot be read; RepairFile sets that
// aside. ErrFileGone: it was moved away or replaced meanwhile. ErrConfig: a key
// makes no sense. On Windows the answer is errors.ErrUnsupported. progress, if
// it is not nil, is called now and then with the number of jobs that are
// written and of all jobs.
func Rekey(path string, from, to [][]byte, progress func(Progress)) error {
	from, err := checkKeys(from)
	if err != nil {
		return fmt.Errorf("%w (one of from)", err)
	}
	if to, err = checkKeys(to); err != nil {
		return fmt.Errorf("%w (one of to)", err)
	}
	if !lockIsOurs {
		return fmt.Errorf("stint: a file that is locked cannot be replaced on this system: %w; Export the queue and Import it with other keys", errors.ErrUnsupported)
	}
	o, f, err := openLocked(path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer letGo(f)
	if o.cfg, err = (&Config{}).withDefaults(); err != nil {
		return err
	}
	db, err := o.openBolt(f)
	if err != nil {
		return err
	}
	defer db.Close()
	r := &rekeying{path: o.path, name: o.path + compactingSuffix, user: &usersCode{progress: progress}}
	defer r.tidy()
	err = safely(func() error { return db.View(func(tx *bolt.Tx) error { return r.run(tx, f, from, to) }) })
	switch {
	case r.user.panicked != nil:
		panic(r.user.panicked)
	case err == nil:
		return nil
	case fatal(err), errors.Is(err, ErrWrongKey):
		return fmt.Errorf("stint: cannot rekey %s: %w", path, err)
	}
	return refusal("rekey", path, err)
}

// rekeying is one Rekey on its way.
type rekeying struct {
	path string
	name string // of the new file, until it gets the old one's
	user *usersCode

	old, new    *vault
	root        *bolt.Bucket
	made        *bolt.DB
	copy        *treeCopy
	done, total int // jobs
}

func (r *rekeying) run(tx *bolt.Tx, f *os.File, from, to [][]byte) error {
	if err := r.prepare(tx, from, to); err != nil {
		return err
	}
	made, err := r.create(f, r.size(tx))
	if err != nil {
		return err
	}
	err = tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		return r.bucket(name, b, func() error {
			if bytes.Equal(name, rootBucket) {
				return r.queue()
			}
			return r.plainly(b)
		})
	})
	if err == nil {
		err = r.copy.commit()
	}
	if err != nil {
		return err
	}
	if err := made.Sync(); err != nil {
		return err
	}
	return r.place(f)
}

// prepare finds out whether it can be done.
func (r *rekeying) prepare(tx *bolt.Tx, from, to [][]byte) error {
	t, err := bareTxn(tx, r.path)
	if err != nil {
		return err
	}
	r.root = t.root
	meta := r.root.Bucket(bucketNames[bucketMeta])
	if format := meta.Get(keyFormat); len(format) != 1 || format[0] != formatVersion {
		return fmt.Errorf("%w: it has not the format of this version; Open it once, which upgrades it", ErrCorrupt)
	}
	for _, name := range bucketNames {
		if r.root.Bucket(name) == nil {
			return fmt.Errorf("%w: it lacks its bucket %q; restore a backup", ErrCorrupt, name)
		}
	}
	if r.old, _, err = openVault(r.root, from, r.path); err != nil {
		return err
	}
	file := sealedIn(meta, keyFile)
	if len(file) != identitySize {
		return fmt.Errorf("%w: it has no identity; restore a backup", ErrCorrupt)
	}
	if len(to) > 0 {
		r.new = newVault(file, to, newSecret())
	}
	return r.root.Bucket(bucketNames[bucketLanes]).ForEach(func(k, v []byte) error {
		value, _ := openValue(k, v)
		row := &laneRow{}
		row.decode(value)
		for state := Ready; state <= Dead; state++ {
			r.total += int(row.n[state])
		}
		return nil
	})
}

// size is about that of the new file: the content of the old one, and what
// encryption adds.
func (r *rekeying) size(tx *bolt.Tx) int64 {
	db := tx.DB()
	size := tx.Size() - int64(db.Stats().FreePageN)*int64(db.Info().PageSize)
	if r.new != nil {
		size += int64(r.total) * int64(cryptOverhead)
	}
	return size
}

// create makes the new file.
func (r *rekeying) create(old *os.File, size int64) (*os.File, error) {
	if err := removeLeftover(r.name); err != nil {
		return nil, err
	}
	f, err := createLike(old, r.name, r.path)
	if err != nil {
		return nil, err
	}
	if err = roomFor(f, size); err == nil {
		r.made, err = bolt.Open(r.path, 0o600, boltOptions(f, time.Second))
	}
	if err != nil {
		letGo(f)
		_ = os.Remove(r.name)
		return nil, err
	}
	r.made.NoSync, r.made.NoGrowSync, r.made.AllocSize = true, true, growth // it is synced as a whole
	r.copy = &treeCopy{ctx: context.Background(), db: r.made}
	return f, nil
}

// bucket makes a bucket and lets fill fill it.
func (r *rekeying) bucket(name []byte, b *bolt.Bucket, fill func() error) error {
	if err := r.copy.create(name, b.Sequence()); err != nil {
		return err
	}
	if err := r.copy.enter(name); err != nil {
		return err
	}
	defer r.copy.leave()
	return fill()
}

// plainly copies the content of a bucket as it is.
func (r *rekeying) plainly(b *bolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v != nil {
			return r.copy.put(k, v)
		}
		in := b.Bucket(k)
		return r.bucket(k, in, func() error { return r.plainly(in) })
	})
}

// queue copies the buckets of the queue.
func (r *rekeying) queue() error {
	for name, key := range bucketNames {
		b := r.root.Bucket(key)
		err := r.bucket(key, b, func() error {
			if name == int(bucketMeta) && r.new != nil {
				if err := r.copy.put(keySecret, r.new.sealedSecret()); err != nil {
					return err
				}
			}
			return b.ForEach(func(k, v []byte) error { return r.entry(bucketName(name), k, v) })
		})
		if err != nil {
			return err
		}
	}
	return r.tell()
}

func (r *rekeying) entry(name bucketName, k, v []byte) error {
	key, value, err := r.rewrite(name, k, v)
	if err != nil || key == nil {
		return err
	}
	if name == bucketJobs {
		if r.done++; r.done%1000 == 0 {
			if err := r.tell(); err != nil {
				return err
			}
		}
	}
	return r.copy.put(key, value)
}

func (r *rekeying) tell() error {
	if r.user.progress != nil {
		r.user.tell(Progress{Done: r.done, Total: max(r.total, r.done), Text: "rewriting jobs"})
	}
	if r.user.panicked != nil {
		return errUsersPanic
	}
	return nil
}

// place gives the new file its name. Both are locked meanwhile, which does not
// keep anybody from moving files.
func (r *rekeying) place(old *os.File) error {
	info, err := old.Stat()
	if err != nil {
		return err
	}
	if !isAt(info, r.path) {
		return fmt.Errorf("%w: it was moved away or replaced meanwhile, and what is there now was left as it is; put the right file in place and try again", ErrFileGone)
	}
	if err := os.Rename(r.name, r.path); err != nil {
		return err
	}
	r.name = ""
	if err := syncDir(filepath.Dir(r.path)); err != nil {
		return fmt.Errorf("%w: of the directory, after the file was replaced: %w", ErrSyncFailed, err)
	}
	return nil
}

// tidy closes the new file, and removes it if it has not got its name.
func (r *rekeying) tidy() {
	if r.made == nil {
		return
	}
	r.copy.giveUp()
	if r.name != "" {
		_ = os.Remove(r.name) // while it is locked
	}
	_ = r.made.Close()
}
