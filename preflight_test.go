package stint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// boltFile writes a bbolt file with what a queue has in it, as far as the
// preflight is concerned: nested, small and empty buckets, values over
// several pages, branches, free pages.
func boltFile(t testing.TB, path string, opts bolt.Options, jobs int) {
	t.Helper()
	opts.NoSync, opts.NoGrowSync = true, true
	db, err := bolt.Open(path, 0o600, &opts)
	require.NoError(t, err)
	step := func(fill func(root *bolt.Bucket) error) {
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			root, err := tx.CreateBucketIfNotExists([]byte("root"))
			if err != nil {
				return err
			}
			return fill(root)
		}))
	}
	step(func(root *bolt.Bucket) error {
		empty, err := root.CreateBucket([]byte("empty"))
		if err != nil {
			return err
		}
		_, err = empty.CreateBucket([]byte("nested"))
		return err
	})
	step(func(root *bolt.Bucket) error {
		small, err := root.CreateBucket([]byte("small"))
		if err != nil {
			return err
		}
		return errors.Join(small.Put([]byte("a"), []byte("1")), small.Put([]byte("b"), nil))
	})
	step(func(root *bolt.Bucket) error {
		b, err := root.CreateBucket([]byte("jobs"))
		for i := range jobs {
			err = errors.Join(err, b.Put(fmt.Appendf(nil, "%08d", i), bytes.Repeat([]byte{byte(i)}, 40+i%60)))
		}
		return errors.Join(err, b.Put([]byte("00000003big"), make([]byte, 3*opts.PageSize)))
	})
	step(func(root *bolt.Bucket) error {
		b := root.Bucket([]byte("jobs"))
		return errors.Join(b.Delete([]byte("00000001")), b.Put([]byte("00000002"), []byte("changed")))
	})
	require.NoError(t, db.Close())
}

// makeBoltFile writes a small file as a queue leaves it, and reads it.
func makeBoltFile(t testing.TB, path string, pageSize int) []byte {
	t.Helper()
	boltFile(t, path, bolt.Options{PageSize: pageSize, NoFreelistSync: true, FreelistType: bolt.FreelistMapType}, pageSize/25)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

func preflightOf(content []byte) error {
	return preflight(bytes.NewReader(content), int64(len(content)), "queue.db")
}

// useAll reads everything in the database, writes to it twice, lets bbolt
// check it, and closes it.
func useAll(t testing.TB, db *bolt.DB) {
	t.Helper()
	defer func() { require.NoError(t, db.Close()) }()
	sum := 0
	var walk func(c *bolt.Cursor, bucket func([]byte) *bolt.Bucket)
	walk = func(c *bolt.Cursor, bucket func([]byte) *bolt.Bucket) {
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if v == nil {
				if b := bucket(k); b != nil {
					walk(b.Cursor(), b.Bucket)
				}
			}
			for _, b := range [][]byte{k, v} {
				for i := range b {
					sum += int(b[i])
				}
			}
		}
		c.Last()
	}
	require.NoError(t, db.View(func(tx *bolt.Tx) error { walk(tx.Cursor(), tx.Bucket); return nil }))
	for range 2 { // each writes one meta page
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("written"))
			if err != nil {
				return err
			}
			return b.Put([]byte("key"), make([]byte, 1000))
		}))
	}
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			// A page that is neither used nor free is lost, which harms nobody.
			if !strings.Contains(err.Error(), "unreachable unfreed") {
				require.NoError(t, err)
			}
		}
		return nil
	}))
}

func TestPreflightPassesWhatBoltWrites(t *testing.T) {
	dir := fastDir(t)
	for _, pageSize := range []int{1024, 4096, 65536} {
		for _, noSync := range []bool{true, false} {
			for _, jobs := range []int{0, 1, 10, 5000} {
				path := filepath.Join(dir, "queue.db")
				boltFile(t, path, bolt.Options{PageSize: pageSize, NoFreelistSync: noSync}, jobs)
				db, _, err := openQuick(path)
				require.NoError(t, err, "page size %d, %d jobs, list of free pages %v", pageSize, jobs, !noSync)
				useAll(t, db)
				require.NoError(t, os.Remove(path))
			}
		}
	}
}

func TestPreflightPassesExtremes(t *testing.T) {
	path := filepath.Join(fastDir(t), "queue.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 1024, NoSync: true, NoGrowSync: true})
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("b"))
		for i := range 40 { // branch pages much longer than a page
			key := append(fmt.Appendf(nil, "%04d", i), make([]byte, bolt.MaxKeySize-4)...)
			err = errors.Join(err, b.Put(key, make([]byte, 100)))
		}
		for i := range 30 { // as deep as nobody nests
			b, _ = b.CreateBucket([]byte{'n', byte(i)})
		}
		return err
	}))
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("b")).Put([]byte("huge"), make([]byte, 70<<20))
	}))
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("b")).Delete([]byte("huge"))
	}))
	require.Greater(t, db.Stats().FreePageN+db.Stats().PendingPageN, 0xFFFF) // a long list of free pages
	require.NoError(t, db.Close())

	db, _, err = openQuick(path)
	require.NoError(t, err)
	useAll(t, db)
}

// A meta page that was being written when the power went is no damage.
func TestPreflightNeedsOneMetaPage(t *testing.T) {
	dir := fastDir(t)
	for _, pageSize := range []int{1024, 4096, 16384} {
		path := filepath.Join(dir, "queue.db")
		for slot := range 2 {
			content := makeBoltFile(t, path, pageSize)
			clear(content[slot*pageSize : slot*pageSize+pageSize])
			require.NoError(t, os.WriteFile(path, content, 0o600))
			db, _, err := openQuick(path)
			require.NoError(t, err)
			useAll(t, db)
			require.NoError(t, os.Remove(path))
		}
	}
}

func TestPreflightRefusesTruncated(t *testing.T) {
	dir := fastDir(t)
	path := filepath.Join(dir, "queue.db")
	for _, pageSize := range []int{1024, 4096} {
		content := makeBoltFile(t, path, pageSize)
		pages := int(currentMetaOf(t, content).pages)
		for n := 1; n < pages; n++ {
			cut := content[:n*pageSize]
			require.NoError(t, os.WriteFile(path, cut, 0o600))
			_, _, err := openQuick(path)
			require.ErrorIs(t, err, ErrCorrupt, "%d of %d pages", n, pages)
			require.ErrorContains(t, err, "cut short")
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(cut, after))
		}
		require.NoError(t, os.WriteFile(path, content[:pages*pageSize], 0o600))
		db, _, err := openQuick(path)
		require.NoError(t, err)
		useAll(t, db)
		require.NoError(t, os.Remove(path))
	}
}

func TestPreflightRefusesGarbagePages(t *testing.T) {
	path := filepath.Join(fastDir(t), "queue.db")
	content := makeBoltFile(t, path, 1024)
	random := rand.NewChaCha8([32]byte{1})
	refused := 0
	for id := 2; id < int(currentMetaOf(t, content).pages); id++ {
		for _, zeros := range []bool{false, true} {
			damaged := bytes.Clone(content)
			page := damaged[id*1024 : id*1024+1024]
			clear(page)
			if !zeros {
				_, _ = random.Read(page)
			}
			refused += openDamaged(t, path, damaged)
		}
	}
	require.Greater(t, refused, 20)
}

// openDamaged opens a damaged file, and answers 1 when it was refused. Then
// it has to be as before, else everything in it has to work.
func openDamaged(t testing.TB, path string, content []byte) int {
	t.Helper()
	require.NoError(t, os.WriteFile(path, content, 0o600))
	db, _, err := openQuick(path)
	if err == nil {
		useAll(t, db)
		return 0
	}
	require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotStint), err)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, after))
	return 1
}

// Every byte is changed in turn in the file that a queue leaves behind, in
// the others some.
var everyByte = flag.Bool("preflight.every", false, "damage every byte, not one of seven")

func TestPreflightSurvivesEveryByte(t *testing.T) {
	for name, tc := range map[string]struct {
		opts bolt.Options
		jobs int
		step int
	}{
		"as a queue leaves it":     {bolt.Options{PageSize: 1024, NoFreelistSync: true}, 60, 1},
		"list of free pages":       {bolt.Options{PageSize: 1024}, 60, 7},
		"long pages":               {bolt.Options{PageSize: 4096, NoFreelistSync: true}, 200, 7},
		"long pages, list of free": {bolt.Options{PageSize: 4096}, 200, 7},
	} {
		t.Run(name, func(t *testing.T) {
			dir := fastDir(t)
			step := tc.step
			if !*everyByte {
				step = 8*step - 1
			}
			if testing.Short() || !strings.HasPrefix(dir, "/dev/shm") {
				step = 61 // where a sync costs
			}
			path := filepath.Join(dir, "queue.db")
			boltFile(t, path, tc.opts, tc.jobs)
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			refused := 0
			for i := 0; i < min(16<<10, len(content)); i += step {
				old := content[i]
				content[i] = ^old
				if i/7%2 == 1 {
					content[i] = old ^ 1<<(i%8)
				}
				refused += openDamaged(t, path, content)
				content[i] = old
			}
			require.Greater(t, refused, 100/step)
			t.Logf("%d refused", refused)
		})
	}
}

func currentMetaOf(t testing.TB, content []byte) metaPage {
	t.Helper()
	c := &fileCheck{r: bytes.NewReader(content), size: uint64(len(content))}
	m, err := c.currentMeta()
	require.NoError(t, err)
	return m
}

// fixSums makes the sums of both meta pages right again.
func fixSums(content []byte, pageSize int) {
	for _, at := range []int{0, pageSize} {
		if len(content) >= at+pageHeader+metaSize {
			m := content[at+pageHeader:]
			sum := fnv.New64a()
			sum.Write(m[:metaSize-8])
			nativeOrder.PutUint64(m[metaSize-8:], sum.Sum64())
		}
	}
}

func TestPreflightNamesTheDamage(t *testing.T) {
	const size = 1024
	dir := fastDir(t)
	base := makeBoltFile(t, filepath.Join(dir, "queue.db"), size)
	synced := func() []byte {
		path := filepath.Join(dir, "synced.db")
		boltFile(t, path, bolt.Options{PageSize: size}, 40)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		return content
	}()

	u16, u32, u64 := nativeOrder.PutUint16, nativeOrder.PutUint32, nativeOrder.PutUint64
	page := func(b []byte, id uint64) []byte { return b[id*size : id*size+size] }
	meta := func(b []byte) []byte { return page(b, currentMetaOf(t, b).slot)[pageHeader:] }
	free := func(b []byte) []byte { return page(b, currentMetaOf(t, b).freelist) }
	// The ways down: the root page has one bucket, that one four, of which
	// "jobs" begins with a branch.
	bucketRoot := func(b []byte, leaf []byte, name string) uint64 {
		i := bytes.Index(leaf, []byte(name))
		require.Positive(t, i)
		return nativeOrder.Uint64(leaf[i+len(name):])
	}
	root := func(b []byte) []byte { return page(b, currentMetaOf(t, b).root) }
	buckets := func(b []byte) []byte { return page(b, bucketRoot(b, root(b), "root")) }
	branch := func(b []byte) []byte { return page(b, bucketRoot(b, buckets(b), "jobs")) }
	leaf := func(b []byte) []byte { return page(b, nativeOrder.Uint64(branch(b)[pageHeader+8:])) }
	small := func(b []byte) []byte { // the page within
		p := buckets(b)
		return p[bytes.Index(p, []byte("small"))+len("small")+bucketHeader:]
	}
	require.EqualValues(t, boltBranch, nativeOrder.Uint16(branch(base)[8:]))
	require.EqualValues(t, boltLeaf, nativeOrder.Uint16(leaf(base)[8:]))

	for says, damage := range map[string]func(b []byte){
		"neither meta page has a right version":     func(b []byte) { u32(b[pageHeader+4:], 3); u32(b[size+pageHeader+4:], 3) },
		"not that of a meta page":                   func(b []byte) { u16(b[currentMetaOf(t, b).slot*size+8:], boltLeaf) },
		"1000 bytes is no possible page size":       func(b []byte) { u32(b[pageHeader+8:], 1000); fixSums(b, size) },
		"0 bytes is no possible page size":          func(b []byte) { u32(b[pageHeader+8:], 0); fixSums(b, size) },
		"the page size is 2048 here":                func(b []byte) { u32(b[size+pageHeader+8:], 2048); fixSums(b, size) },
		"it says that pages have 2048 bytes":        func(b []byte) { clear(b[:size]); u32(b[size+pageHeader+8:], 2048); fixSums(b[size:], size) },
		"the file is cut short":                     func(b []byte) { u64(meta(b)[40:], 1<<40); fixSums(b, size) },
		"page 1: the tree needs it":                 func(b []byte) { u64(meta(b)[16:], 1); fixSums(b, size) },
		"page 0: the tree needs it":                 func(b []byte) { u64(meta(b)[16:], 0); fixSums(b, size) },
		"page 1099511627776: the tree needs it":     func(b []byte) { u64(meta(b)[16:], 1<<40); fixSums(b, size) },
		"it says that it is page 12345":             func(b []byte) { u64(root(b), 12345) },
		"a part of the tree and has the flags 0x10": func(b []byte) { u16(root(b)[8:], boltFreelist) },
		"a part of the tree and has the flags 0x3":  func(b []byte) { u16(leaf(b)[8:], 3) },
		"it goes beyond the end of the file":        func(b []byte) { u32(leaf(b)[12:], 1<<20) },
		"used twice, or used and free":              func(b []byte) { copy(branch(b)[pageHeader+elementSize+8:][:8], branch(b)[pageHeader+8:]) },
		"it has no room for 65535 elements":         func(b []byte) { u16(leaf(b)[10:], 0xFFFF) },
		"a branch without children":                 func(b []byte) { u16(branch(b)[10:], 0) },
		"element 0 does not lie behind":             func(b []byte) { u16(leaf(b)[10:], nativeOrder.Uint16(leaf(b)[10:])-1) },
		"element 1 does not lie behind":             func(b []byte) { u32(leaf(b)[pageHeader+elementSize+4:], 1<<31) },
		"element 0 has a key of 0 bytes":            func(b []byte) { u32(branch(b)[pageHeader+4:], 0) },
		"element 0 has a key of 40000 bytes":        func(b []byte) { u32(leaf(b)[pageHeader+8:], 40000) },
		"element 0 goes beyond the end of the page": func(b []byte) { u32(leaf(b)[pageHeader+12:], 1<<31) },
		"the key of element 0 is out of order":      func(b []byte) { leaf(b)[bytes.Index(leaf(b), []byte("00000000"))] = '!' },
		"the key of element 1 is out of order":      func(b []byte) { leaf(b)[bytes.Index(leaf(b), []byte("00000002"))] = '!' },
		"element 0 has the flags 0x2":               func(b []byte) { u32(leaf(b)[pageHeader:], 2) },
		"a bucket in it has":                        func(b []byte) { u32(leaf(b)[pageHeader:], 1); u32(leaf(b)[pageHeader+12:], 5) },
		"a small bucket in it has no valid header":  func(b []byte) { u64(small(b), 7) },
		"element 0 has the flags 0x1":               func(b []byte) { u32(small(b)[pageHeader:], 1) },
	} {
		t.Run(says, func(t *testing.T) {
			damaged := bytes.Clone(base)
			damage(damaged)
			err := preflightOf(damaged)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, says)
			require.ErrorContains(t, err, "queue.db, page ")
			require.ErrorContains(t, err, "restore a backup, the file was left as it is")
		})
	}
	require.NoError(t, preflightOf(base))

	for says, damage := range map[string]func(b []byte){
		"should be the list of free pages": func(b []byte) { u16(free(b)[8:], boltLeaf) },
		"lists 200 free pages":             func(b []byte) { u16(free(b)[10:], 200) },
		"lists 9223372036854775808 free":   func(b []byte) { u16(free(b)[10:], 0xFFFF); u64(free(b)[pageHeader:], 1<<63) },
		"lists page 1 as free":             func(b []byte) { u64(free(b)[pageHeader:], 1) },
		"lists page 4096 as free":          func(b []byte) { u64(free(b)[pageHeader:], 4096) },
		"which is out of order":            func(b []byte) { copy(free(b)[pageHeader+8:], free(b)[pageHeader:][:8]) },
		"used twice, or used and free":     func(b []byte) { u16(free(b)[10:], 1); u64(free(b)[pageHeader:], currentMetaOf(t, b).root) },
		"in use or outside":                func(b []byte) { u16(free(b)[10:], 1); u64(free(b)[pageHeader:], currentMetaOf(t, b).freelist) },
	} {
		t.Run(says, func(t *testing.T) {
			damaged := bytes.Clone(synced)
			damage(damaged)
			err := preflightOf(damaged)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, says)
		})
	}
	require.NoError(t, preflightOf(synced))
}

// A chain of buckets is no reason to run out of stack.
func TestPreflightBoundsTheDepth(t *testing.T) {
	const size, deep = 1024, 5000
	content := make([]byte, (deep+2)*size)
	put := func(at int, n ...uint64) {
		for i, n := range n {
			nativeOrder.PutUint64(content[at+8*i:], n)
		}
	}
	words := func(a, b uint32) uint64 {
		var w [8]byte
		nativeOrder.PutUint32(w[:], a)
		nativeOrder.PutUint32(w[4:], b)
		return nativeOrder.Uint64(w[:])
	}
	for slot := range 2 {
		nativeOrder.PutUint16(content[slot*size+8:], boltMeta)
		put(slot*size, uint64(slot))
		put(slot*size+pageHeader, words(boltMagic, boltVersion), words(size, 0), 2, 0, boltNoFreelist, deep+2, uint64(slot))
	}
	fixSums(content, size)
	for id := 2; id < deep+2; id++ {
		at := id * size
		put(at, uint64(id))
		nativeOrder.PutUint16(content[at+8:], boltLeaf)
		nativeOrder.PutUint16(content[at+10:], 1)
		put(at+pageHeader, words(1, elementSize), words(1, bucketHeader))
		content[at+pageHeader+elementSize] = 'k'
		put(at+pageHeader+elementSize+1, uint64(id+1), 0)
	}
	err := preflightOf(content)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "pages above it")
}

// brokenDisk fails to read from an offset on.
type brokenDisk struct {
	io.ReaderAt
	from int64
	err  error
}

func (d brokenDisk) ReadAt(b []byte, at int64) (int, error) {
	if at+int64(len(b)) > d.from {
		return 0, d.err
	}
	return d.ReaderAt.ReadAt(b, at)
}

// A disk that cannot be read is no damaged file: a backup may not be needed.
func TestPreflightTellsOfABrokenDisk(t *testing.T) {
	content := makeBoltFile(t, filepath.Join(fastDir(t), "queue.db"), 1024)
	pages := int(currentMetaOf(t, content).pages)
	failed := 0
	for n := range pages {
		for _, fault := range []error{syscall.EIO, io.EOF} {
			err := preflight(brokenDisk{bytes.NewReader(content), int64(n * 1024), fault}, int64(len(content)), "queue.db")
			if err == nil {
				continue // only free pages from here on
			}
			failed++
			require.NotErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, "stint: cannot read queue.db")
			if fault == io.EOF {
				fault = io.ErrUnexpectedEOF
			}
			require.ErrorIs(t, err, fault)
		}
	}
	require.Greater(t, failed, 10)
}

// FuzzPreflight holds the preflight against bbolt itself: what passes has to
// work in bbolt, where a panic in the goroutine that looks for free pages
// would end the process. The input is a real file and what to write into it,
// in steps of an offset (2 bytes) and a value, or a whole file.
func FuzzPreflight(f *testing.F) {
	var files [][]byte
	path := filepath.Join(fastDir(f), "queue.db")
	for _, opts := range []bolt.Options{
		{PageSize: 1024, NoFreelistSync: true}, {PageSize: 1024}, {PageSize: 4096, NoFreelistSync: true},
	} {
		boltFile(f, path, opts, 25)
		content, err := os.ReadFile(path)
		require.NoError(f, err)
		files = append(files, content[:int(currentMetaOf(f, content).pages)*opts.PageSize])
		require.NoError(f, os.Remove(path))
		f.Add(uint8(len(files)-1), true, []byte{4, 8, 0x10, 6, 200, 1})
	}
	f.Add(uint8(255), false, []byte("SQLite format 3\x00"))
	f.Fuzz(func(t *testing.T, which uint8, sums bool, patch []byte) {
		content := patch
		if int(which) < len(files) {
			content = bytes.Clone(files[which])
			for ; len(patch) >= 3; patch = patch[3:] {
				content[(int(patch[0])<<8|int(patch[1]))%len(content)] = patch[2]
			}
			if sums {
				fixSums(content, []int{1024, 1024, 4096}[which])
			}
		}
		if preflightOf(content) == nil {
			require.Equal(t, 0, openDamaged(t, filepath.Join(fastDir(t), "queue.db"), content))
		}
	})
}

// The file has to be in the page cache, so its size is moderate.
func BenchmarkPreflight(b *testing.B) {
	path := filepath.Join(b.TempDir(), "queue.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoSync: true, NoGrowSync: true})
	require.NoError(b, err)
	var id [8]byte
	for at := range 20 {
		require.NoError(b, db.Update(func(tx *bolt.Tx) error {
			jobs, err := tx.CreateBucketIfNotExists([]byte("jobs"))
			for i := range 5000 {
				binary.BigEndian.PutUint64(id[:], uint64(at*5000+i))
				err = errors.Join(err, jobs.Put(id[:], make([]byte, 300)))
			}
			return err
		}))
	}
	require.NoError(b, db.Close())
	f, err := os.Open(path)
	require.NoError(b, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(b, err)
	b.SetBytes(info.Size())
	for b.Loop() {
		require.NoError(b, preflight(f, info.Size(), path))
	}
}
