package stint

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"
)

// The mark of a clean stop tells Open that the list of free pages is the one
// that Close has stored, and that nobody has written to the file since.
//
//  1. Close stores the free list in its last commit. Then, still with bbolt's
//     lock, it writes the mark behind the last page in use.
//  2. The mark names that commit: its number, its root page, its list of free
//     pages and where the pages end, with a checksum of the list. Whatever is
//     committed later, by whomever, has another number, and voids it.
//  3. Open believes it if its own checksum is right and all that it names is
//     as the file has it. Otherwise there is none.
//
// It is not in the tree, since a commit that stored it there would change the
// free list that it vouches for; and not on a page of bbolt's, since a write
// that is torn there could do harm. Where it is, no page refers to: it is room
// to grow, which bbolt overwrites when it needs it and never copies. So no
// Backup, Compact, Rekey or Import takes it along; their files have none until
// a queue on them is closed. It needs no sync: one that a power cut takes away
// costs the next Open some time.

var cleanStop = []byte("stint: clean stop 1\n")

// mark is the mark for the state of a file.
func (c *fileCheck) mark(m metaPage) []byte {
	b := bytes.Clone(cleanStop)
	for _, n := range [...]uint64{m.transaction, m.root, m.freelist, m.pages, m.pageSize, uint64(c.freeSum)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// stoppedCleanly says whether the file has the mark for its state.
func (c *fileCheck) stoppedCleanly(m metaPage) bool {
	if m.freelist == boltNoFreelist {
		return false
	}
	want := c.mark(m)
	b, at := make([]byte, len(want)), m.pages*m.pageSize
	return at+uint64(len(b)) <= c.size && c.readAt(b, at) == nil && bytes.Equal(b, want)
}

// markCleanStop writes the mark, in a transaction so that nobody else writes,
// which it leaves without a change. A file that is quick to look at gets none.
func (f *openedFile) markCleanStop(tx *bolt.Tx) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	c := newFileCheck(f.file, info.Size(), f.path)
	m, err := c.checkHead()
	if err != nil {
		return err
	}
	if m.freelist == boltNoFreelist || c.inUse() <= quickAbove || int(m.transaction) != tx.ID()-1 {
		return errNothingToDo
	}
	if mark, at := c.mark(m), int64(m.pages*m.pageSize); at+int64(len(mark)) <= info.Size() {
		_, err = f.file.WriteAt(mark, at)
	}
	if err == nil {
		err = errNothingToDo
	}
	return err
}

// unmark takes the mark away that a damaged file still has, so that the next
// Open looks at all of it and refuses it.
func (f *openedFile) unmark() {
	l := f.leaves.Load()
	if l == nil || l.failure() == nil {
		return
	}
	tx, err := f.begin(true)
	if err != nil {
		return
	}
	defer func() { _ = tx.Rollback() }()
	if tx.ID()-1 == int(l.transaction) { // else the mark is void, and its place may be in use
		_, _ = f.file.WriteAt(make([]byte, len(cleanStop)), tx.Size())
	}
}
