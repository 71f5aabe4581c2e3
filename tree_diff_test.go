package stint

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// The difference of two versions of a tree, brought into a copy of the first,
// must make it the second: with random changes of every kind, and compared
// bucket by bucket, key by key.

var (
	treeRounds = flag.Int("tree.rounds", 4, "random histories in TestTreeDifference")
	treeSeed   = flag.Uint64("tree.seed", 0, "seed of TestTreeDifference; 0 takes a new one")
)

// openPlain has room in its memory map, or a writer would wait for the
// transaction that a test keeps open.
func openPlain(t *testing.T, name string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), name), 0o600, &bolt.Options{NoSync: true, NoFreelistSync: true, FreelistType: bolt.FreelistMapType, InitialMmapSize: 1 << 28})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// diffed is a database and what follows it.
type diffed struct {
	from, to *bolt.DB
	reader   *treeReader
	copy     *treeCopy
	seen     *bolt.Tx
}

func follow(t *testing.T, from *bolt.DB) *diffed {
	t.Helper()
	f, err := os.Open(from.Path())
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	d := &diffed{from: from, to: openPlain(t, "to.db"), reader: newTreeReader(f, from.Path(), from.Info().PageSize)}
	d.copy = &treeCopy{ctx: context.Background(), db: d.to}
	t.Cleanup(func() {
		if d.seen != nil {
			_ = d.seen.Rollback()
		}
	})
	return d
}

// catchUp brings the copy to the present and returns how many bytes it read.
func (d *diffed) catchUp(t *testing.T) int64 {
	t.Helper()
	tx, err := d.from.Begin(false)
	require.NoError(t, err)
	var before *treeBucket
	if d.seen != nil {
		before = rootOf(d.seen)
	}
	start := d.reader.read
	d.reader.c.pages = uint64(tx.Size()) / d.reader.c.pageSize
	diff := treeDiff{r: d.reader, copy: d.copy}
	require.NoError(t, diff.bring(before, rootOf(tx)))
	require.NoError(t, d.copy.commit())
	if d.seen != nil {
		require.NoError(t, d.seen.Rollback())
	}
	d.seen = tx
	return d.reader.read - start
}

func TestTreeDifference(t *testing.T) {
	t.Parallel()
	seed := *treeSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with -tree.seed=%d", seed)
	for round := range uint64(*treeRounds) {
		m := NewTreeModel(seed, round, 1+int(round)%3)
		d := follow(t, openPlain(t, "from.db"))
		for range 15 {
			for range m.IntN(4) {
				require.NoError(t, d.from.Update(func(tx *bolt.Tx) error { return m.Change(tx, 40) }))
			}
			d.catchUp(t)
			require.True(t, maps.Equal(BucketsOf(t, d.from), BucketsOf(t, d.to)))
		}
		sound(t, d.from) // or a lost page would say nothing about the copy
		sound(t, d.to)
	}
}

func sound(t *testing.T, db *bolt.DB) {
	t.Helper()
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			require.NoError(t, err)
		}
		return nil
	}))
}

// What is common to two versions is not read.
func TestTreeDifferenceReadsWhatChanged(t *testing.T) {
	t.Parallel()
	d := follow(t, openPlain(t, "from.db"))
	const n = 30_000
	change := func(fn func(b *bolt.Bucket) error) {
		require.NoError(t, d.from.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("a"))
			if err == nil {
				b, err = b.CreateBucketIfNotExists([]byte("b"))
			}
			if err == nil {
				err = fn(b)
			}
			return err
		}))
	}
	change(func(b *bolt.Bucket) error {
		for i := range n {
			if err := b.Put(fmt.Appendf(nil, "%08d", i), make([]byte, 50)); err != nil {
				return err
			}
		}
		return nil
	})
	all := d.catchUp(t)
	for name, fn := range map[string]func(b *bolt.Bucket) error{
		"a key is added at the end": func(b *bolt.Bucket) error { return b.Put([]byte("9"), nil) },
		"a key in the middle is rewritten": func(b *bolt.Bucket) error {
			return b.Put([]byte("00015000"), make([]byte, 60))
		},
		"the first tenth goes": func(b *bolt.Bucket) error {
			for i := range n / 10 {
				if err := b.Delete(fmt.Appendf(nil, "%08d", i)); err != nil {
					return err
				}
			}
			return nil
		},
		"nothing": func(*bolt.Bucket) error { return nil },
	} {
		change(fn)
		read := d.catchUp(t)
		t.Logf("%s: %d KiB read of %d", name, read>>10, all>>10)
		limit := all / 50
		if name == "the first tenth goes" {
			limit = all / 8
		}
		require.Less(t, read, limit, name)
		require.True(t, maps.Equal(BucketsOf(t, d.from), BucketsOf(t, d.to)))
	}
}
