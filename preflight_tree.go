package stint

import (
	"bytes"

	bolt "go.etcd.io/bbolt"
)

const (
	// A tree of a thousand million jobs has fewer than 20 levels. bbolt walks
	// it by recursion, which ends the process when the stack is full.
	maxTreeDepth = 100

	// Pages up to this length are read whole, of longer ones only the table
	// and the keys.
	wholePage = 64 << 10
)

// treePage is a page of the tree, or the page of a bucket so small that it
// lies within its parent's value.
type treePage struct {
	id     uint64 // in an inline bucket that of the page around it
	inline bool
	flags  uint16
	count  int
	start  uint64 // in the file
	length uint64 // with the overflow
	buf    []byte // its beginning, which holds at least the table
}

// checkTree walks a page and what hangs below it. All keys must be in
// [low, high), where nil is no bound, and the first of the page must be low: by
// it bbolt finds the page in its branch when it writes it anew, and would else
// leave the old page in the tree as well.
func (c *fileCheck) checkTree(id uint64, low, high []byte, depth int) error {
	if c.later.takes(depth) {
		return c.later.put(id)
	}
	p, err := c.readPage(id, depth)
	if err != nil {
		return err
	}
	switch p.flags {
	case boltBranch:
		return c.checkBranch(&p, low, high, depth)
	case boltLeaf:
		return c.checkLeaf(&p, low, high, depth)
	default:
		return c.damaged(id, "it should be a part of the tree and has the flags %#x", p.flags)
	}
}

func (c *fileCheck) checkBranch(p *treePage, low, high []byte, depth int) error {
	if p.count == 0 {
		return c.damaged(p.id, "it is a branch without children")
	}
	walk := newKeyWalk(p, low, high)
	next, err := c.branchElement(&walk)
	for err == nil {
		child := next
		if walk.i == p.count {
			return c.checkTree(child.page, child.key, high, depth+1)
		}
		if next, err = c.branchElement(&walk); err == nil {
			err = c.checkTree(child.page, child.key, next.key, depth+1)
		}
	}
	return err
}

// branchElement is one child of a branch page.
type branchElement struct {
	key  []byte
	page uint64
}

func (c *fileCheck) branchElement(walk *keyWalk) (branchElement, error) {
	e := walk.element()
	_, err := c.step(walk, nativeOrder.Uint32(e), nativeOrder.Uint32(e[4:]), 0)
	return branchElement{walk.key, nativeOrder.Uint64(e[8:])}, err
}

func (c *fileCheck) checkLeaf(p *treePage, low, high []byte, depth int) error {
	walk := newKeyWalk(p, low, high)
	for walk.i < p.count {
		e := walk.element()
		valueSize := nativeOrder.Uint32(e[12:])
		value, err := c.step(&walk, nativeOrder.Uint32(e[4:]), nativeOrder.Uint32(e[8:]), valueSize)
		if err != nil {
			return err
		}
		switch flags := nativeOrder.Uint32(e); {
		case flags == 0:
		case flags == 1 && !p.inline:
			if err := c.checkBucket(p, walk.key, value, uint64(valueSize), depth); err != nil {
				return err
			}
		default:
			return c.damaged(p.id, "element %d has the flags %#x", walk.i-1, flags)
		}
	}
	return c.checkEnd(p, walk.at)
}

// checkEnd looks at what lies behind the last element, where a damaged count
// would hide elements: nothing in a bucket within a value, and no table in a
// page without elements, as bbolt clears its buffers.
func (c *fileCheck) checkEnd(p *treePage, end uint64) error {
	switch {
	case p.inline && end != p.length:
		return c.damaged(p.id, "a small bucket in it has %d bytes that belong to no element", p.length-end)
	case !p.inline && p.count == 0 && bytes.Count(p.buf[pageHeader:][:elementSize], []byte{0}) < elementSize:
		return c.damaged(p.id, "it counts no elements and has some")
	}
	return nil
}

// checkBucket looks at a bucket, which is a value in the leaf of another.
func (c *fileCheck) checkBucket(p *treePage, name []byte, at, size uint64, depth int) error {
	// bbolt stores a bucket inline up to a quarter of a page.
	if size < bucketHeader || size > bucketHeader+c.pageSize {
		return c.damaged(p.id, "a bucket in it has %d bytes", size)
	}
	b, err := c.bytes(p, at, size)
	if err != nil {
		return err
	}
	if root := nativeOrder.Uint64(b); root != 0 {
		c.names = append(c.names, name)
		defer func() { c.names = c.names[:len(c.names)-1] }()
		if c.later != nil && areJobs(c.names) {
			return c.later.branches(root, depth+1)
		}
		return c.checkTree(root, nil, nil, depth+1)
	}
	b = b[bucketHeader:]
	if len(b) < pageHeader || !inlineHeader(b) {
		return c.damaged(p.id, "a small bucket in it has no valid header")
	}
	inner := treePage{id: p.id, inline: true, flags: boltLeaf, count: int(nativeOrder.Uint16(b[10:])), length: uint64(len(b)), buf: b}
	if err := c.checkTable(&inner); err != nil {
		return err
	}
	return c.checkLeaf(&inner, nil, nil, depth)
}

// inlineHeader tells whether b begins like the page of an inline bucket: a
// leaf with id 0. bbolt would free the page of any other id.
func inlineHeader(b []byte) bool {
	return nativeOrder.Uint64(b) == 0 && nativeOrder.Uint16(b[8:]) == boltLeaf && nativeOrder.Uint32(b[12:]) == 0
}

// keyWalk goes over the elements of a page.
type keyWalk struct {
	p         *treePage
	i         int    // of the next element
	at        uint64 // where its key must begin
	key       []byte // the one before
	low, high []byte
}

func newKeyWalk(p *treePage, low, high []byte) keyWalk {
	return keyWalk{p: p, at: uint64(pageHeader + p.count*elementSize), low: low, high: high}
}

func (w *keyWalk) element() []byte {
	return w.p.buf[pageHeader+w.i*elementSize:][:elementSize]
}

// step checks the position, the sizes and the order of the next element, and
// tells where its value begins. bbolt writes the keys and values back to back
// behind the table, which leaves a damaged table hardly a chance to pass; its
// own statistics rely on it too.
func (c *fileCheck) step(w *keyWalk, position, keySize, valueSize uint32) (value uint64, err error) {
	p, at := w.p, w.at
	value = at + uint64(keySize)
	w.at = value + uint64(valueSize)
	switch {
	case uint64(pageHeader+w.i*elementSize)+uint64(position) != at:
		return 0, c.damaged(p.id, "element %d does not lie behind the one before", w.i)
	case keySize == 0 || keySize > bolt.MaxKeySize:
		return 0, c.damaged(p.id, "element %d has a key of %d bytes", w.i, keySize)
	case w.at > p.length:
		return 0, c.damaged(p.id, "element %d goes beyond the end of the page", w.i)
	}
	key, err := c.bytes(p, at, uint64(keySize))
	if err != nil {
		return 0, err
	}
	if w.i == 0 && w.low != nil && !bytes.Equal(key, w.low) ||
		w.i > 0 && bytes.Compare(key, w.key) <= 0 ||
		w.high != nil && w.i == p.count-1 && bytes.Compare(key, w.high) >= 0 {
		return 0, c.damaged(p.id, "the key of element %d is out of order", w.i)
	}
	w.key = key
	w.i++
	return value, nil
}

// readPage reads a page that another one refers to, into the buffer of its
// depth, and marks it as seen.
func (c *fileCheck) readPage(id uint64, depth int) (p treePage, err error) {
	if depth > maxTreeDepth {
		return p, c.damaged(id, "more than %d pages above it", maxTreeDepth)
	}
	if id < 2 || id >= c.pages {
		return p, c.damaged(id, "the tree needs it, but only pages 2 to %d can be in it", c.pages-1)
	}
	for depth >= len(c.bufs) {
		c.bufs = append(c.bufs, make([]byte, c.pageSize))
	}
	b := c.bufs[depth][:c.pageSize]
	if err := c.readAt(b, id*c.pageSize); err != nil {
		return p, err
	}
	overflow := uint64(nativeOrder.Uint32(b[12:]))
	if self := nativeOrder.Uint64(b); self != id {
		return p, c.damaged(id, "it says that it is page %d", self)
	}
	if overflow >= c.pages-id {
		return p, c.damaged(id, "with its %d overflow pages it goes beyond the end of the file", overflow)
	}
	for i := range overflow + 1 {
		if !c.see(id + i) {
			return p, c.damaged(id+i, "it is used twice, or used and free")
		}
	}
	p = treePage{
		id: id, start: id * c.pageSize, length: (overflow + 1) * c.pageSize,
		flags: nativeOrder.Uint16(b[8:]), count: int(nativeOrder.Uint16(b[10:])), buf: b,
	}
	return p, c.readRest(&p, depth)
}

// readRest reads as much of the overflow as is wanted at once.
func (c *fileCheck) readRest(p *treePage, depth int) error {
	if p.flags == boltFreelist {
		return nil
	}
	if err := c.checkTable(p); err != nil {
		return err
	}
	table := uint64(pageHeader + p.count*elementSize)
	want := min(p.length, max(table, wholePage))
	if want <= c.pageSize {
		return nil
	}
	if uint64(cap(p.buf)) < want {
		c.bufs[depth] = append(make([]byte, 0, want), p.buf...)
	}
	p.buf = c.bufs[depth][:want]
	return c.readAt(p.buf[c.pageSize:], p.start+c.pageSize)
}

// checkTable keeps the table of elements within the page.
func (c *fileCheck) checkTable(p *treePage) error {
	if uint64(pageHeader+p.count*elementSize) > p.length {
		return c.damaged(p.id, "it has no room for %d elements", p.count)
	}
	return nil
}
