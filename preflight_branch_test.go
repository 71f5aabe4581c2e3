package stint

import (
	"encoding/binary"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

var branchCommits = flag.Int("preflight.commits", 150, "how many random commits TestPreflightTakesWhatBboltWrites looks at")

// Whatever bbolt does to a tree, the preflight finds nothing wrong with it:
// pages that split, merge, lose their first keys, and are given away.
func TestPreflightTakesWhatBboltWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "random.db")
	seed := uint64(os.Getpid())
	rnd := rand.New(rand.NewPCG(seed, 0))
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 1024, NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	require.NoError(t, err)
	defer db.Close()
	key := func() []byte { // of a few lengths, around places that move
		k := binary.BigEndian.AppendUint32(nil, uint32(rnd.IntN(3000)))
		return append(k, make([]byte, rnd.IntN(40))...)
	}
	for n := range *branchCommits {
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			root, err := tx.CreateBucketIfNotExists([]byte{byte(rnd.IntN(3))})
			if err != nil {
				return err
			}
			b, err := root.CreateBucketIfNotExists([]byte("inner"))
			if err != nil {
				return err
			}
			b.FillPercent = []float64{0.1, 0.5, 0.9, 1}[rnd.IntN(4)]
			for range rnd.IntN(300) {
				if rnd.IntN(3) > 0 {
					err = errors.Join(err, b.Put(key(), make([]byte, rnd.IntN(200))))
				}
			}
			cur := b.Cursor()
			k, _ := cur.Seek(key())
			for range rnd.IntN([]int{2, 100, 2000}[rnd.IntN(3)]) {
				if k == nil {
					break
				}
				err = errors.Join(err, cur.Delete())
				if k, _ = cur.Next(); rnd.IntN(10) == 0 {
					k, _ = cur.Seek(key())
				}
			}
			return err
		}))
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, preflightOf(content), "seed %d, commit %d", seed, n)
	}
}

// A first key that its branch does not know, though all keys are in order, would
// let bbolt keep the page beside its own successor.
func TestPreflightRefusesAStrangeFirstKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 4096, NoSync: true, NoFreelistSync: true})
	require.NoError(t, err)
	name := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)<<16) }
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("log"))
		for i := range 200 {
			err = errors.Join(err, b.Put(name(i), make([]byte, 100)))
		}
		return err
	}))
	require.NoError(t, db.Close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, preflightOf(content))
	refused := 0
	for at := 0; at+4096 <= len(content); at += 4096 {
		page := content[at : at+4096]
		if nativeOrder.Uint16(page[8:]) != boltLeaf || nativeOrder.Uint16(page[10:]) < 2 {
			continue
		}
		first := page[pageHeader+int(nativeOrder.Uint32(page[pageHeader+4:])):][:8]
		first[7]++ // still below the key that follows
		if err := preflightOf(content); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, "out of order")
			refused++
		}
		first[7]--
	}
	require.Greater(t, refused, 3)
}
