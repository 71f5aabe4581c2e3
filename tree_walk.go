package stint

import "io"

// treeReader reads the pages of bbolt's trees from the file itself: bbolt's
// cursors do not tell on which page they are, and that is what makes two
// versions of a tree quick to compare. Who reads holds a transaction of each
// version, so that its pages stay as they are.
type treeReader struct {
	c    fileCheck
	read int64 // bytes
}

func newTreeReader(r io.ReaderAt, path string, pageSize int) *treeReader {
	return &treeReader{c: fileCheck{r: r, path: path, pageSize: uint64(pageSize)}}
}

// treeBucket is a bucket, as the value in its parent has it.
type treeBucket struct {
	root     uint64
	sequence uint64
	inline   []byte // its only page, where root is 0
}

// diskPage is one page of a tree with all that belongs to it.
type diskPage struct {
	id    uint64
	leaf  bool
	count int
	buf   []byte
}

// treeItem is what a page has an element for: a key with its value, or a page
// below.
type treeItem struct {
	key    []byte // of a page below: no key in it is smaller; nil for a root
	page   uint64 // below, or 0
	height int    // of that page over the leaves
	value  []byte
	bucket bool
}

// treeWalk goes over a bucket in the order of its keys. A page is an item too,
// until it is opened: so it can be passed over as a whole.
type treeWalk struct {
	r     *treeReader
	stack []treeLevel
	item  treeItem
	ok    bool // there is an item
	err   error
}

type treeLevel struct {
	p      diskPage
	i      int // of the next element
	height int
}

// walk begins with a bucket; of nil it finds nothing.
func (r *treeReader) walk(b *treeBucket) *treeWalk {
	w := &treeWalk{r: r}
	switch {
	case b == nil:
	case b.root == 0:
		var p diskPage
		if p, w.err = r.parse(0, b.inline); w.err == nil {
			w.stack = append(w.stack, treeLevel{p: p})
			w.next()
		}
	default:
		w.item = treeItem{page: b.root}
		w.item.height, w.err = r.height(b.root)
		w.ok = w.err == nil
	}
	return w
}

// next goes to the next item, behind the whole of the page if it is one.
func (w *treeWalk) next() {
	for w.ok = false; len(w.stack) > 0; w.stack = w.stack[:len(w.stack)-1] {
		top := &w.stack[len(w.stack)-1]
		if top.i < top.p.count {
			w.item, w.err = w.r.element(&top.p, top.i)
			w.item.height = top.height - 1
			top.i++
			w.ok = w.err == nil
			return
		}
	}
}

// open goes to the first item of the page that is the item.
func (w *treeWalk) open() {
	w.ok = false
	if len(w.stack) > maxTreeDepth {
		w.err = w.r.c.damaged(w.item.page, "more than %d pages above it", maxTreeDepth)
		return
	}
	var p diskPage
	if p, w.err = w.r.page(w.item.page); w.err == nil {
		w.stack = append(w.stack, treeLevel{p: p, height: w.item.height})
		w.next()
	}
}

// height is the number of levels below a page.
func (r *treeReader) height(id uint64) (int, error) {
	for height := 0; height <= maxTreeDepth; height++ {
		p, err := r.page(id)
		if err != nil || p.leaf || p.count == 0 {
			return height, err
		}
		item, err := r.element(&p, 0)
		if err != nil {
			return 0, err
		}
		id = item.page
	}
	return 0, r.c.damaged(id, "more than %d pages above it", maxTreeDepth)
}

// page reads a page with its overflow. Items refer to its buffer, which so is
// not used again.
func (r *treeReader) page(id uint64) (diskPage, error) {
	c := &r.c
	if id < 2 || id >= c.pages {
		return diskPage{}, c.damaged(id, "the tree needs it, but only pages 2 to %d can be in it", c.pages-1)
	}
	buf := make([]byte, c.pageSize)
	if err := c.readAt(buf, id*c.pageSize); err != nil {
		return diskPage{}, err
	}
	if self := nativeOrder.Uint64(buf); self != id {
		return diskPage{}, c.damaged(id, "it says that it is page %d", self)
	}
	if overflow := uint64(nativeOrder.Uint32(buf[12:])); overflow > 0 {
		if overflow >= c.pages-id {
			return diskPage{}, c.damaged(id, "with its %d overflow pages it goes beyond the end of the file", overflow)
		}
		whole := make([]byte, (overflow+1)*c.pageSize)
		copy(whole, buf)
		if err := c.readAt(whole[c.pageSize:], (id+1)*c.pageSize); err != nil {
			return diskPage{}, err
		}
		buf = whole
	}
	r.read += int64(len(buf))
	return r.parse(id, buf)
}

func (r *treeReader) parse(id uint64, buf []byte) (diskPage, error) {
	if len(buf) < pageHeader {
		return diskPage{}, r.c.damaged(id, "a small bucket has no page")
	}
	flags := nativeOrder.Uint16(buf[8:])
	p := diskPage{id: id, leaf: flags == boltLeaf, count: int(nativeOrder.Uint16(buf[10:])), buf: buf}
	if !p.leaf && flags != boltBranch {
		return p, r.c.damaged(id, "it should be a part of the tree and has the flags %#x", flags)
	}
	if pageHeader+p.count*elementSize > len(buf) {
		return p, r.c.damaged(id, "it has no room for %d elements", p.count)
	}
	return p, nil
}

func (r *treeReader) element(p *diskPage, i int) (item treeItem, err error) {
	at := uint64(pageHeader + i*elementSize)
	e := p.buf[at:][:elementSize]
	u32 := func(i int) uint64 { return uint64(nativeOrder.Uint32(e[i:])) }
	var from, keySize, valueSize uint64
	if p.leaf {
		from, keySize, valueSize = at+u32(4), u32(8), u32(12)
		item.bucket = u32(0)&1 != 0
	} else {
		from, keySize = at+u32(0), u32(4)
		item.page = nativeOrder.Uint64(e[8:])
	}
	middle, end := from+keySize, from+keySize+valueSize
	if end > uint64(len(p.buf)) || keySize == 0 || !p.leaf && item.page == 0 {
		return treeItem{}, r.c.damaged(p.id, "element %d makes no sense", i)
	}
	item.key = p.buf[from:middle:middle]
	item.value = p.buf[middle:end:end]
	return item, nil
}

// asBucket is the bucket that the item is.
func (r *treeReader) asBucket(item *treeItem) (*treeBucket, error) {
	if len(item.value) < bucketHeader {
		return nil, r.c.damaged(0, "a bucket has only %d bytes", len(item.value))
	}
	return &treeBucket{
		root:     nativeOrder.Uint64(item.value),
		sequence: nativeOrder.Uint64(item.value[8:]),
		inline:   item.value[bucketHeader:],
	}, nil
}
