package stint

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// TreeModel changes a database at random.
type TreeModel struct {
	*rand.Rand
	scale int // of what is written
}

func NewTreeModel(seed, stream uint64, scale int) *TreeModel {
	return &TreeModel{rand.New(rand.NewPCG(seed, stream)), scale}
}

func (m *TreeModel) name() []byte { return fmt.Appendf(nil, "b%02d", m.IntN(8)) }

func (m *TreeModel) key() []byte {
	switch m.IntN(4) {
	case 0:
		return fmt.Appendf(nil, "%08d", m.IntN(200*m.scale))
	case 1:
		return fmt.Appendf(nil, "long-%0200d", m.IntN(50*m.scale))
	}
	return fmt.Appendf(nil, "k%05d", m.IntN(100*m.scale))
}

func (m *TreeModel) value() []byte {
	size := m.IntN(40)
	switch m.IntN(60) {
	case 0:
		size = m.IntN(30_000) // with overflow pages
	case 1, 2, 3:
		size = m.IntN(1500)
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return b
}

// Change is what one transaction does.
func (m *TreeModel) Change(tx *bolt.Tx, n int) error {
	root := tx.Cursor().Bucket()
	for range 1 + m.IntN(n) {
		b, err := root.CreateBucketIfNotExists(m.name())
		if err != nil {
			return err
		}
		for depth := m.IntN(3); depth > 0; depth-- {
			name := m.name()
			if b.Get(name) != nil {
				if err := b.Delete(name); err != nil {
					return err
				}
			}
			if b, err = b.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if err := m.alter(root, b); err != nil {
			return err
		}
	}
	return nil
}

func (m *TreeModel) alter(root, b *bolt.Bucket) error {
	switch m.IntN(12) {
	case 0:
		if in := m.name(); b.Bucket(in) != nil {
			return deleteBucket(b, in)
		}
	case 1:
		if in := m.name(); m.IntN(10) == 0 && root.Bucket(in) != nil {
			return deleteBucket(root, in)
		}
	case 2:
		return b.SetSequence(m.Uint64())
	case 3: // a range goes, so that pages merge
		return deleteRange(b, m.key(), m.IntN(100*m.scale))
	case 4, 5:
		for range m.IntN(100 * m.scale) {
			if err := m.put(b); err != nil {
				return err
			}
		}
	case 6: // a bucket takes the place of a key, and the other way round
		k := m.name()
		if b.Bucket(k) != nil {
			if err := deleteBucket(b, k); err != nil {
				return err
			}
			return b.Put(k, m.value())
		}
		return b.Delete(k)
	default:
		return m.put(b)
	}
	return nil
}

func (m *TreeModel) put(b *bolt.Bucket) error {
	k := m.key()
	if b.Bucket(k) != nil {
		return nil
	}
	return b.Put(k, m.value())
}

// deleteBucket deletes a bucket from the inside out. bbolt deletes the buckets
// in it under its own cursor, which passes over every other one if this
// transaction has changed the bucket; their pages are lost then.
func deleteBucket(b *bolt.Bucket, name []byte) error {
	in := b.Bucket(name)
	var names [][]byte
	if err := in.ForEachBucket(func(k []byte) error {
		names = append(names, bytes.Clone(k))
		return nil
	}); err != nil {
		return err
	}
	for _, k := range names {
		if err := deleteBucket(in, k); err != nil {
			return err
		}
	}
	return b.DeleteBucket(name)
}

// deleteRange deletes the keys among the n entries from first on. They are
// gathered before: what a cursor passes over after a Delete depends on the
// pages, so two databases with the same content would become different.
func deleteRange(b *bolt.Bucket, first []byte, n int) error {
	var keys [][]byte
	c := b.Cursor()
	for k, v := c.Seek(first); k != nil && n > 0; k, v = c.Next() {
		if n--; v != nil {
			keys = append(keys, bytes.Clone(k))
		}
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// BucketsOf is all of a database but the queue, in words.
func BucketsOf(t *testing.T, db *bolt.DB) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(path string, b *bolt.Bucket)
	walk = func(path string, b *bolt.Bucket) {
		all[path] = fmt.Sprint("sequence ", b.Sequence())
		require.NoError(t, b.ForEach(func(k, v []byte) error {
			at := path + "/" + string(k)
			if v == nil {
				walk(at, b.Bucket(k))
				return nil
			}
			all[at+"="] = string(v)
			return nil
		}))
	}
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if !bytes.Equal(name, rootBucket) {
				walk(string(name), b)
			}
			return nil
		})
	}))
	return all
}
