package stint

import (
	"context"
	"io"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// What the tests of clean stops need to look at below the public API.

// SetQuickAbove says from how many bytes in use on Open leaves the leaf pages
// of the jobs for later, until restore is called.
func SetQuickAbove(n uint64) (restore func()) {
	before := quickAbove
	quickAbove = n
	return func() { quickAbove = before }
}

// LeavesLeft says whether a queue has still to look at some.
func LeavesLeft(q *Queue) bool { return q.store.cur.Load().leaves.Load() != nil }

// jobLeaf is a leaf page of the jobs' bucket.
type jobLeaf struct {
	page     uint64
	overflow int
	ids      []uint64
}

// jobLeaves are the leaf pages of the jobs in a file, in their order.
func jobLeaves(t testing.TB, path string) []jobLeaf {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	return jobLeavesOf(t, f, db)
}

func jobLeavesOf(t testing.TB, f *os.File, db *bolt.DB) (leaves []jobLeaf) {
	t.Helper()
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		pageSize := db.Info().PageSize
		r := newTreeReader(f, f.Name(), pageSize)
		r.c.pages = uint64(int(tx.Size()) / pageSize)
		w := r.walk(&treeBucket{root: jobsRoot(tx)})
		for w.ok {
			switch {
			case w.item.page == 0:
				last := &leaves[len(leaves)-1]
				last.ids = append(last.ids, keyID(w.item.key))
				w.next()
			case w.item.height == 0:
				p, err := r.page(w.item.page)
				require.NoError(t, err)
				leaves = append(leaves, jobLeaf{page: p.id, overflow: len(p.buf)/pageSize - 1})
				w.open()
			default:
				w.open()
			}
		}
		return w.err
	}))
	return leaves
}

// JobPages are the first pages of those leaves.
func JobPages(t testing.TB, path string) (pages []int) {
	for _, leaf := range jobLeaves(t, path) {
		pages = append(pages, int(leaf.page))
	}
	return pages
}

type leafJob struct{ S string }

func (leafJob) Kind() string { return "leaf" }

// cleanFile makes a file that was stopped cleanly, with so many jobs, every
// n-th of which is too large for a page, and lets Open be quick with it.
func cleanFile(t *testing.T, jobs, largeEach int) (path string) {
	t.Helper()
	t.Cleanup(SetQuickAbove(16 << 10))
	path = filepath.Join(fastDir(t), "queue.db")
	q, err := Open(path, &Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	var list []Args
	for i := range jobs {
		size := 150
		if i%largeEach == 0 {
			size = 6000
		}
		list = append(list, leafJob{strings.Repeat("x", size)})
	}
	_, err = q.EnqueueAll(t.Context(), list)
	require.NoError(t, err)
	require.NoError(t, q.Close())
	return path
}

func quickly(t *testing.T, content []byte) *leafCheck {
	t.Helper()
	l, err := quickPreflight(strings.NewReader(string(content)), int64(len(content)), "queue.db")
	require.NoError(t, err)
	return l
}

func TestQuickPreflightLeavesTheLeaves(t *testing.T) {
	path := cleanFile(t, 6000, 50)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	l := quickly(t, content)
	require.NotNil(t, l)
	leaves := jobLeaves(t, path)
	noted := 0
	for _, word := range l.noted {
		noted += bits.OnesCount64(word)
	}
	require.Greater(t, len(leaves), 300)   // three levels of pages
	require.Equal(t, len(leaves)-2, noted) // Open looks at the last one, and the one before
	for _, leaf := range leaves[:len(leaves)-2] {
		require.True(t, l.isNoted(leaf.page))
	}

	SetQuickAbove(64 << 20)
	require.Nil(t, quickly(t, content), "a small file")
}

// Whatever is changed in the mark, it is none.
func TestCleanStopIsVoidWhenDamaged(t *testing.T) {
	path := cleanFile(t, 1000, 1000)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	m := currentMetaOf(t, content)
	at := int(m.pages * m.pageSize)
	require.True(t, strings.HasPrefix(string(content[at:]), string(cleanStop)))
	size := len((&fileCheck{}).mark(m))
	for bit := range 8 * size {
		content[at+bit/8] ^= 1 << (bit % 8)
		require.Nil(t, quickly(t, content), "bit %d", bit)
		content[at+bit/8] ^= 1 << (bit % 8)
	}
	require.NotNil(t, quickly(t, content))
	require.Nil(t, quickly(t, content[:at+size-1]), "it is cut")

	// A list of free pages that is another one, but could be right.
	free := content[m.freelist*m.pageSize:]
	count := nativeOrder.Uint16(free[10:])
	require.Positive(t, count)
	nativeOrder.PutUint16(free[10:], count-1)
	require.Nil(t, quickly(t, content), "the list of free pages")
}

// Each leaf is damaged in turn. Whoever wants to change a record in it, or in
// one beside it, is told.
func TestVetLooksAtALeafAndThoseBeside(t *testing.T) {
	path := cleanFile(t, 4000, 40)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	leaves := jobLeaves(t, path)
	pageSize := int(currentMetaOf(t, content).pageSize)
	vet := func(l *leafCheck, id uint64, transaction int) error {
		return l.vet(jobsTree{l.root, l.c.pages}, appendID(nil, id), transaction)
	}
	overflowing := 0
	for n, leaf := range leaves[:len(leaves)-2] {
		overflowing += leaf.overflow
		head := content[int(leaf.page)*pageSize:][:pageHeader]
		before := slices.Clone(head)
		switch n % 3 {
		case 0:
			head[10]-- // one record less
		case 1:
			head[12] ^= 4 // overflow
		case 2:
			head[0] ^= 1
		}
		for i := max(0, n-3); i < min(len(leaves), n+4); i++ {
			l := quickly(t, content)
			require.NotNil(t, l)
			err := vet(l, leaves[i].ids[len(leaves[i].ids)/2], 7)
			if i < n-1 || i > n+1 {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, ErrCorrupt, "leaf %d of %d, by a record of leaf %d", n, len(leaves), i)
			require.ErrorIs(t, vet(l, leaves[0].ids[0], 8), ErrCorrupt, "and ever since")
		}
		copy(head, before)
	}
	require.Greater(t, overflowing, 50)

	l := quickly(t, content)
	for i, leaf := range leaves {
		for _, id := range leaf.ids {
			require.NoError(t, vet(l, id, i))
		}
	}
	for _, word := range l.noted {
		require.Zero(t, word)
	}
}

// A leaf that claims a page too many would, when it is given up, give up a page
// of another one.
func TestLeafThatIsTooLong(t *testing.T) {
	path := cleanFile(t, 2000, 10)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	leaves := jobLeaves(t, path)
	pageSize := int(currentMetaOf(t, content).pageSize)
	for n, leaf := range leaves[:len(leaves)-2] {
		overflow := content[int(leaf.page)*pageSize+12:][:4]
		nativeOrder.PutUint32(overflow, uint32(leaf.overflow+1))
		l := quickly(t, content)
		require.NotNil(t, l)
		err = l.vet(jobsTree{l.root, l.c.pages}, appendID(nil, leaf.ids[0]), 1)
		require.ErrorIs(t, err, ErrCorrupt, "leaf %d", n)
		nativeOrder.PutUint32(overflow, uint32(leaf.overflow))
	}
}

// With the goroutine left out, a change meets the damage first: nothing of the
// page may be written anew.
func TestChangesLookAtTheLeafFirst(t *testing.T) {
	for name, change := range map[string]func(q *Queue, id ID) error{
		"delete": func(q *Queue, id ID) error { return q.Delete(t.Context(), id) },
		"kill":   func(q *Queue, id ID) error { return q.Kill(t.Context(), id, "no") },
		"run": func(q *Queue, _ ID) error {
			Handle(q, func(context.Context, *Job[leafJob]) error { return nil }, nil)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			return q.Run(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := cleanFile(t, 1000, 50)
			restore := SetQuickAbove(1 << 40)
			q, err := Open(path, &Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
			require.NoError(t, err)
			restore()
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			f := q.store.cur.Load()
			l, err := quickPreflight(f.file, int64(len(content)), path)
			require.NoError(t, err)
			f.leaves.Store(l)
			leaf := jobLeavesOf(t, f.file, q.DB())[20]
			at := int64(leaf.page)*int64(q.DB().Info().PageSize) + 10
			_, err = f.file.WriteAt([]byte{content[at] - 1}, at) // hides a record
			require.NoError(t, err)
			require.ErrorIs(t, change(q, ID(leaf.ids[0])), ErrCorrupt)
			require.ErrorIs(t, q.Close(), ErrCorrupt)
			_, err = Open(path, nil)
			require.ErrorIs(t, err, ErrCorrupt)
		})
	}
}

// Where bbolt walked through the file after a commit that failed, this would
// end the process.
func TestFailedCommitBesideADamagedLeaf(t *testing.T) {
	path := cleanFile(t, 1000, 50)
	leaf := jobLeaves(t, path)[20]
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[int(leaf.page)*int(currentMetaOf(t, content).pageSize)+8] ^= 0x80 // its kind
	require.NoError(t, os.WriteFile(path, content, 0o600))
	cfg, err := (&Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}).withDefaults()
	require.NoError(t, err)
	file, _, err := openFile(path, cfg, nil)
	require.NoError(t, err)
	defer file.close()
	require.NotNil(t, file.leaves.Load())
	for range 3 {
		file.db.MaxSize = len(content) + 1<<20
		require.Error(t, file.db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(rootBucket).Bucket(bucketNames[bucketMeta]).Put([]byte("much"), make([]byte, 64<<20))
		}))
		file.db.MaxSize = 0
		require.NoError(t, file.db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(rootBucket).Bucket(bucketNames[bucketMeta]).Put([]byte("little"), nil)
		}))
	}
}
