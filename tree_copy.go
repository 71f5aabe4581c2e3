package stint

import (
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// treeCopy writes into the copy of a database, in commits of bounded size. It
// is told what to write in the order of the keys, bucket by bucket.
type treeCopy struct {
	ctx       context.Context
	db        *bolt.DB
	tx        *bolt.Tx // nil between two commits
	path      [][]byte // names of the buckets it is in
	open      []*bolt.Bucket
	size      int          // written in tx
	committed func() error // called after each commit
}

const (
	// copyCommit is how much goes into a commit: bbolt keeps it in memory.
	copyCommit = 4 << 20

	// copyOverhead is counted for each change beside its key and value.
	copyOverhead = 64

	// copyFill is how full pages are made. What grows at its end would do
	// with all; the rest is left for what is rewritten in its place.
	copyFill = 0.9
)

func (c *treeCopy) put(key, value []byte) error {
	b, err := c.bucket(len(key) + len(value))
	if err != nil {
		return err
	}
	return b.Put(key, value)
}

func (c *treeCopy) remove(item *treeItem) error {
	b, err := c.bucket(len(item.key))
	if err != nil {
		return err
	}
	if item.bucket {
		return b.DeleteBucket(item.key)
	}
	return b.Delete(item.key)
}

func (c *treeCopy) create(name []byte, sequence uint64) error {
	b, err := c.bucket(len(name))
	if err != nil {
		return err
	}
	made, err := b.CreateBucket(name)
	if err != nil || sequence == 0 {
		return err
	}
	return made.SetSequence(sequence)
}

func (c *treeCopy) sequence(name []byte, n uint64) error {
	b, err := c.bucket(len(name))
	if err != nil {
		return err
	}
	in := b.Bucket(name)
	if in == nil {
		return fmt.Errorf("%w: a copy lacks the bucket %q; the copy was given up", ErrCorrupt, name)
	}
	return in.SetSequence(n)
}

func (c *treeCopy) enter(name []byte) error {
	if len(c.path) > maxTreeDepth {
		return fmt.Errorf("%w: more than %d buckets within each other; the copy was given up", ErrCorrupt, maxTreeDepth)
	}
	c.path = append(c.path, name)
	return nil
}

func (c *treeCopy) leave() {
	c.path = c.path[:len(c.path)-1]
	c.open = c.open[:min(len(c.open), len(c.path)+1)]
}

// bucket is the one to write to, in a transaction that has room for so much.
func (c *treeCopy) bucket(size int) (*bolt.Bucket, error) {
	if c.size > copyCommit {
		if err := c.commit(); err != nil {
			return nil, err
		}
	}
	if c.tx == nil {
		if err := context.Cause(c.ctx); err != nil {
			return nil, err
		}
		tx, err := c.db.Begin(true)
		if err != nil {
			return nil, err
		}
		c.tx, c.size = tx, 0
		c.open = append(c.open[:0], tx.Cursor().Bucket()) // the bucket of the root buckets
	}
	c.size += size + copyOverhead
	for depth := len(c.open); depth <= len(c.path); depth++ {
		b := c.open[depth-1].Bucket(c.path[depth-1])
		if b == nil {
			return nil, fmt.Errorf("%w: a copy lacks the bucket %q; the copy was given up", ErrCorrupt, c.path[depth-1])
		}
		b.FillPercent = copyFill
		c.open = append(c.open, b)
	}
	return c.open[len(c.path)], nil
}

// commit makes the copy what it was told so far.
func (c *treeCopy) commit() error {
	if c.tx == nil {
		return nil
	}
	tx := c.tx
	c.tx, c.open, c.size = nil, c.open[:0], 0
	if err := tx.Commit(); err != nil {
		return err
	}
	if c.committed == nil {
		return nil
	}
	return c.committed()
}

// giveUp ends a transaction that is under way.
func (c *treeCopy) giveUp() {
	if c.tx != nil {
		_ = c.tx.Rollback()
		c.tx = nil
	}
}
