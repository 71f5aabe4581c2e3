package stint

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// swap puts the new file in the place of the old one.
func (c *compaction) swap(ctx context.Context) error {
	s := &c.q.store
	tx, release, err := c.stopWriters(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := c.old.watch.look(c.old); err != nil {
		return err
	}
	if err := c.old.watch.lookInside(c.old, tx); err != nil {
		return err // an older copy that somebody has put there is not to be mixed with what was copied
	}
	if err := c.catchUp(tx); err != nil {
		return err
	}
	db, old := c.made.db, c.old.db
	db.NoSync, db.NoGrowSync = old.NoSync, old.NoGrowSync
	db.MaxSize, db.AllocSize = s.maxSize, s.step
	if err := c.made.file.Sync(); err != nil {
		return err
	}
	if err := c.made.countOn(c.old); err != nil {
		return err
	}
	if err := os.Rename(c.name, c.old.path); err != nil {
		return err
	}
	c.name = ""
	if err := syncDir(filepath.Dir(c.old.path)); err != nil {
		// Either file may be there after a power cut, so there must be no
		// difference between them.
		err = fmt.Errorf("%w: after the file was compacted, its directory: %w", ErrSyncFailed, err)
		s.broken.CompareAndSwap(nil, &err)
		c.q.commit.post(func() { c.q.commit.fail(err) })
	}
	c.made.base = c.old.base + tx.ID()
	s.cur.Store(c.made)
	letGo(c.old.file)
	return s.failure()
}

// stopWriters waits until nobody writes, also not through DB, and sees to it
// until release. One who waits for our transactions is let go on, see
// snapshot.
func (c *compaction) stopWriters(ctx context.Context) (*bolt.Tx, func(), error) {
	type result struct {
		tx      *bolt.Tx
		release func()
		err     error
	}
	got, left := make(chan result), make(chan struct{})
	defer close(left)
	c.q.background.Go(func() {
		tx, release, err := c.q.store.stop(c.old)
		select {
		case got <- result{tx, release, err}:
		case <-left:
			release()
		}
	})
	tick := time.NewTicker(maxWaitForMap)
	defer tick.Stop()
	for {
		select {
		case r := <-got:
			return r.tx, r.release, r.err
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-tick.C:
			probe, err := c.snapshot()
			if err != nil {
				return nil, nil, err
			}
			_ = probe.Rollback()
		}
	}
}

// stop takes both locks of a writer, without a word to write.
func (s *store) stop(f *openedFile) (tx *bolt.Tx, release func(), err error) {
	done, err := s.startWriting()
	if err != nil {
		return nil, func() {}, err
	}
	if tx, err = f.begin(true); err != nil {
		done()
		return nil, func() {}, err
	}
	return tx, func() {
		_ = tx.Rollback()
		done()
	}, nil
}

// tidy gives everything back. Where the swap has come to pass, the old file is
// closed once its readers have ended.
func (c *compaction) tidy() {
	if c.copy != nil {
		c.copy.giveUp()
	}
	if c.seen != nil {
		_ = c.seen.Rollback()
	}
	if c.q.store.cur.Load() != c.old {
		c.q.background.Go(func() {
			c.old.use.Lock() // for good
			_ = c.old.close()
		})
		return
	}
	if c.made != nil {
		_ = c.made.db.Close()
		if c.name != "" {
			_ = os.Remove(c.name)
		}
	}
}
