package stint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
	"math/bits"

	bolt "go.etcd.io/bbolt"
)

// The parts of bbolt's file format that are checked here. All numbers are in
// the byte order of the machine, because bbolt lays Go structs over the file.
//
//	page     id u64, flags u16, count u16, overflow u32
//	meta     magic, version, page size, flags u32, root bucket (page, sequence
//	         u64), freelist, pages, txid, checksum u64
//	branch   position, key size u32, child u64
//	leaf     flags, position, key size, value size u32
//	bucket   root page, sequence u64, then its only page where root is 0
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	boltBranch   = 0x01
	boltLeaf     = 0x02
	boltMeta     = 0x04
	boltFreelist = 0x10

	boltNoFreelist = 1<<64 - 1

	pageHeader   = 16
	metaSize     = 64
	elementSize  = 16
	bucketHeader = 16

	// bbolt looks for the second meta page at these distances.
	minPageSize = 1 << 10
	maxPageSize = 1 << 24

	// bbolt reads so much to learn the page size, and gives up below it.
	minFileSize = 1 << 12
)

var nativeOrder = binary.NativeEndian

// preflight reads everything in a bbolt file that bbolt will trust, and
// answers ErrCorrupt or ErrNotStint where that trust would be misplaced:
// bbolt checks only the sums of its meta pages and follows the rest through
// the memory map, where damage panics or ends the process with a signal. The
// whole tree is read, for bbolt walks it too, at every open and after every
// failed commit, in a goroutine in which nobody can recover a panic.
//
// Damage within a value is not seen; the records have sums for that.
func preflight(r io.ReaderAt, size int64, path string) error {
	c := newFileCheck(r, size, path)
	m, err := c.checkHead()
	if err != nil {
		return err
	}
	return c.checkTree(m.root, nil, nil, 0)
}

// quickPreflight is preflight for Open, which should not take the longer the
// more jobs wait. In a large file that was stopped cleanly it leaves the leaf
// pages of the jobs out, and answers with what is to look at them later; in
// any other one, with nil. See leaf_check.go.
func quickPreflight(r io.ReaderAt, size int64, path string) (*leafCheck, error) {
	c := newFileCheck(r, size, path)
	m, err := c.checkHead()
	if err != nil {
		return nil, err
	}
	if c.inUse() <= quickAbove || !c.stoppedCleanly(m) {
		return nil, c.checkTree(m.root, nil, nil, 0)
	}
	l := newLeafCheck(c, m)
	if err := c.checkTree(m.root, nil, nil, 0); err != nil {
		return nil, err
	}
	return l, l.ready()
}

// fileCheck is one preflight on its way through a file.
type fileCheck struct {
	r        io.ReaderAt
	size     uint64
	path     string
	pageSize uint64
	pages    uint64   // ids are below it
	seen     []uint64 // a bit for each page that is in use, or free
	bufs     [][]byte // one for each level of the tree, to be used again

	free    uint64     // pages in the list of free pages
	freeSum uint32     // checksum of the list
	names   [][]byte   // of the buckets it is in
	later   *leafCheck // takes the leaf pages of the jobs, if not nil
	opened  bool       // the file is at work, so advice is another one
}

func newFileCheck(r io.ReaderAt, size int64, path string) *fileCheck {
	return &fileCheck{r: r, size: uint64(max(size, 0)), path: path}
}

// checkHead looks at everything but the tree.
func (c *fileCheck) checkHead() (m metaPage, err error) {
	if m, err = c.currentMeta(); err != nil {
		return m, err
	}
	if err := c.checkMeta(m); err != nil {
		return m, err
	}
	if m.freelist != boltNoFreelist {
		err = c.checkFreelist(m.freelist)
	}
	return m, err
}

// inUse is the number of bytes in pages that are not free.
func (c *fileCheck) inUse() uint64 { return (c.pages - c.free) * c.pageSize }

// metaPage is a meta page, or what stands in its place.
type metaPage struct {
	slot               uint64 // the page it is: 0 or 1
	header             bool   // says so itself
	magic, valid       bool
	pageSize           uint64
	root, freelist     uint64
	pages, transaction uint64
}

// currentMeta finds the page size and the meta page that bbolt will choose,
// in the way bbolt does.
func (c *fileCheck) currentMeta() (m metaPage, err error) {
	m0, err := c.readMeta(0, 0)
	if err != nil {
		return m, err
	}
	m1, err := c.secondMeta(m0)
	if err != nil {
		return m, err
	}
	switch {
	case !m0.magic && !m1.magic:
		return m, fmt.Errorf("%w: %s is not a bbolt file; give another path, this file was left as it is", ErrNotStint, c.path)
	case c.size < minFileSize:
		return m, c.damaged(0, "the file is cut short, it has only %d bytes", c.size)
	case !m0.valid && !m1.valid:
		return m, c.damaged(0, "neither meta page has a right version and checksum")
	case m0.valid && m1.valid && m0.pageSize != m1.pageSize:
		return m, c.damaged(1, "the page size is %d here and %d on page 0", m1.pageSize, m0.pageSize)
	case m0.valid && (!m1.valid || m0.transaction >= m1.transaction):
		return m0, nil
	default:
		return m1, nil
	}
}

// lostMeta tells which of the two meta pages is damaged, where one is. bbolt
// then takes the other one, and with it, perhaps, the state before the last
// commit: neither Check nor bbolt can see that something is missing.
func lostMeta(r io.ReaderAt, size int64) (page uint64, lost bool) {
	c := &fileCheck{r: r, size: uint64(max(size, 0))}
	m0, err := c.readMeta(0, 0)
	if err != nil {
		return 0, false
	}
	m1, err := c.secondMeta(m0)
	if err != nil || m0.valid == m1.valid {
		return 0, false
	}
	if m0.valid {
		return 1, true
	}
	return 0, true
}

// secondMeta reads meta page 1, which begins where page 0 ends. Where page 0
// cannot tell its length, every possible one is tried.
func (c *fileCheck) secondMeta(m0 metaPage) (m1 metaPage, err error) {
	if m0.valid {
		if err := c.checkPageSize(m0); err != nil {
			return m1, err
		}
		return c.readMeta(1, m0.pageSize)
	}
	found := false
	for at := uint64(minPageSize); at <= maxPageSize; at *= 2 {
		m, err := c.readMeta(1, at)
		if err != nil {
			return m1, err
		}
		if m.valid && m.pageSize != at {
			return m1, c.damaged(1, "it says that pages have %d bytes, but begins at %d", m.pageSize, at)
		}
		if m.valid {
			return m, nil
		}
		found = found || m.magic
	}
	return metaPage{magic: found}, nil
}

// readMeta reads the meta page at an offset. A file that ends before it or
// within it has no valid one, which is no error yet.
func (c *fileCheck) readMeta(slot, at uint64) (m metaPage, err error) {
	var b [pageHeader + metaSize]byte
	if at >= c.size {
		return m, nil
	}
	if err := c.readAt(b[:min(uint64(len(b)), c.size-at)], at); err != nil {
		return m, err
	}
	u32 := func(i int) uint32 { return nativeOrder.Uint32(b[pageHeader+i:]) }
	u64 := func(i int) uint64 { return nativeOrder.Uint64(b[pageHeader+i:]) }
	sum := fnv.New64a()
	sum.Write(b[pageHeader : pageHeader+metaSize-8])
	return metaPage{
		slot:        slot,
		header:      nativeOrder.Uint64(b[:]) == slot && nativeOrder.Uint16(b[8:]) == boltMeta,
		magic:       u32(0) == boltMagic,
		valid:       u32(0) == boltMagic && u32(4) == boltVersion && u64(56) == sum.Sum64(),
		pageSize:    uint64(u32(8)),
		root:        u64(16),
		freelist:    u64(32),
		pages:       u64(40),
		transaction: u64(48),
	}, nil
}

func (c *fileCheck) checkPageSize(m metaPage) error {
	if m.pageSize < minPageSize || m.pageSize > maxPageSize || bits.OnesCount64(m.pageSize) != 1 {
		return c.damaged(m.slot, "%d bytes is no possible page size", m.pageSize)
	}
	return nil
}

// checkMeta holds what the meta page says against the file.
func (c *fileCheck) checkMeta(m metaPage) error {
	if err := c.checkPageSize(m); err != nil {
		return err
	}
	if !m.header {
		return c.damaged(m.slot, "its header is not that of a meta page")
	}
	if room := c.size / m.pageSize; m.pages > room {
		return c.damaged(m.slot, "the file is cut short, it should have %d pages of %d bytes and has %d", m.pages, m.pageSize, room)
	}
	c.pageSize, c.pages = m.pageSize, m.pages
	c.seen = make([]uint64, c.pages/64+1)
	return nil
}

// checkFreelist looks at the list of free pages, which bbolt believes where
// there is one. Files of our own have the one that Close has stored.
func (c *fileCheck) checkFreelist(id uint64) error {
	p, err := c.readPage(id, 0)
	if err != nil {
		return err
	}
	if p.flags != boltFreelist {
		return c.damaged(id, "it should be the list of free pages and has the flags %#x", p.flags)
	}
	count, at := uint64(p.count), uint64(pageHeader)
	if count == 0xFFFF { // does not fit, so it is the first element
		count, at = nativeOrder.Uint64(p.buf[at:]), at+8
	}
	if count > c.pages || at+8*count > p.length {
		return c.damaged(id, "it lists %d free pages, more than there can be", count)
	}
	list, err := c.bytes(&p, at, 8*count)
	if err != nil {
		return err
	}
	c.free = count
	c.freeSum = crc32.Update(crc32.Checksum(p.buf[:at], castagnoli), castagnoli, list)
	last := uint64(0)
	for ; len(list) > 0; list = list[8:] {
		free := nativeOrder.Uint64(list)
		if free <= last || free < 2 || free >= c.pages || !c.see(free) {
			return c.damaged(id, "it lists page %d as free, which is out of order, in use or outside of the file", free)
		}
		last = free
	}
	return nil
}

// bytes is a part of a page, from the buffer or from the file.
func (c *fileCheck) bytes(p *treePage, at, n uint64) ([]byte, error) {
	if at+n <= uint64(len(p.buf)) {
		return p.buf[at : at+n : at+n], nil
	}
	b := make([]byte, n)
	return b, c.readAt(b, p.start+at)
}

// unsee takes the mark back.
func (c *fileCheck) unsee(id uint64) { c.seen[id/64] &^= 1 << (id % 64) }

// see marks a page, and answers false when it is marked already.
func (c *fileCheck) see(id uint64) bool {
	word, bit := &c.seen[id/64], uint64(1)<<(id%64)
	before := *word
	*word |= bit
	return before&bit == 0
}

func (c *fileCheck) readAt(b []byte, at uint64) error {
	n, err := c.r.ReadAt(b, int64(at))
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("stint: cannot read %s at byte %d: %w; look at the disk, the file was left as it is", c.path, at, cause(err))
}

func (c *fileCheck) damaged(page uint64, format string, args ...any) error {
	advice := "restore a backup, the file was left as it is"
	if c.opened {
		advice = "close the queue and restore a backup"
	}
	return fmt.Errorf("%w: %s, page %d: %s; %s", ErrCorrupt, c.path, page, fmt.Sprintf(format, args...), advice)
}

// preflightTx is preflight for the pages that a transaction sees. They stay as
// they are while it is open.
func preflightTx(r io.ReaderAt, tx *bolt.Tx, path string) error {
	size, pageSize := uint64(tx.Size()), uint64(tx.DB().Info().PageSize)
	c := &fileCheck{r: r, size: size, path: path, pageSize: pageSize, pages: size / pageSize}
	c.seen = make([]uint64, c.pages/64+1)
	return c.checkTree(uint64(tx.Cursor().Bucket().Root()), nil, nil, 0)
}
