package stint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// leafCheck looks, after Open, at the leaf pages of the jobs, which are nearly
// all of a large file. Open waits for it only where the file was not stopped
// cleanly, since there bbolt has to read all of it as well.
//
//  1. quickPreflight looks at everything else, the branch pages above these
//     leaves too, and notes which leaves there are (put). bbolt so cannot be led
//     astray on its way to a leaf.
//  2. checkLeaves goes through them in a goroutine of the queue's, from the
//     oldest job on, the pages below one branch page at a time, each in a read
//     transaction of its own: a long one would keep bbolt from using pages
//     again. In between it rests.
//  3. Before a record is changed or deleted, vet looks at the leaf where it is,
//     and at those beside it, with which bbolt may merge it. A damaged page is
//     so never made part of what is written, in which its damage could not be
//     found any more, and no page that it claims wrongly is given up.
//  4. What is found stops the queue with ErrCorrupt. Until then the records of
//     a damaged page may be missed; their own checksums keep them from being
//     taken for others.
//
// A leaf that is noted is where it was at Open: bbolt writes pages anew
// elsewhere, and what has been vetted before is no more noted. New pages lie in
// free ones, or behind the end. One that claims to be too long runs into the
// beginning of the next page, which is seen even where that is still noted.
//
// Until it is done bbolt writes the list of free pages with each commit. After
// a commit that failed it would otherwise walk through the whole file, in a
// goroutine in which nobody can recover from damage.
type leafCheck struct {
	transaction uint64 // that of the clean stop
	depth       int    // of the leaves in the tree, 0 until branches knows it
	root        uint64 // of the jobs' bucket at Open

	mu     sync.Mutex
	c      *fileCheck
	reader *treeReader
	noted  []uint64 // a bit for each page that is still to be looked at
	err    error    // what was found

	// The last leaf that was vetted, good for its transaction: later ones may
	// have given it other neighbours.
	vetted int
	last   subtree
}

// quickAbove is how much must be in use for Open to leave something for later.
var quickAbove uint64 = 64 << 20

// leafRest is how long checkLeaves rests, in lengths of its work before.
const leafRest = 2

// subtree is a page and the keys that may be below it, where nil is no bound.
type subtree struct {
	page      uint64
	low, high []byte
}

// jobsTree is the tree of the jobs' bucket as a transaction sees it.
type jobsTree struct{ root, pages uint64 }

func (l *leafCheck) tree(tx *bolt.Tx) jobsTree {
	return jobsTree{jobsRoot(tx), uint64(tx.Size()) / l.c.pageSize}
}

func newLeafCheck(c *fileCheck, m metaPage) *leafCheck {
	l := &leafCheck{transaction: m.transaction, c: c, noted: make([]uint64, len(c.seen))}
	c.later = l
	return l
}

// branches looks at the branch pages of the jobs' bucket. bbolt keeps all its
// leaves at one depth.
func (l *leafCheck) branches(root uint64, depth int) error {
	c := l.c
	l.root = root
	leaves := depth
	for id := root; ; leaves++ {
		p, err := c.peek(id)
		if err != nil {
			return err
		}
		if p.flags != boltBranch || p.count == 0 || leaves > maxTreeDepth {
			break // what is wrong with it checkTree tells
		}
		id = nativeOrder.Uint64(p.buf[pageHeader+8:])
	}
	if leaves > depth {
		c.fetch(root, leaves-depth)
		l.depth = leaves
		defer func() { l.depth = 0 }()
	}
	return c.checkTree(root, nil, nil, depth)
}

// peek reads the head of a page and its first element, without looking at
// more than its id.
func (c *fileCheck) peek(id uint64) (p treePage, err error) {
	if id < 2 || id >= c.pages {
		return p, c.damaged(id, "the tree needs it, but only pages 2 to %d can be in it", c.pages-1)
	}
	b := make([]byte, pageHeader+elementSize)
	if err := c.readAt(b, id*c.pageSize); err != nil {
		return p, err
	}
	return treePage{id: id, flags: nativeOrder.Uint16(b[8:]), count: int(nativeOrder.Uint16(b[10:])), buf: b}, nil
}

// takes says whether a page at this depth is a leaf of the jobs.
func (l *leafCheck) takes(depth int) bool { return l != nil && l.depth != 0 && l.depth == depth }

// put notes a leaf.
func (l *leafCheck) put(id uint64) error {
	c := l.c
	if id < 2 || id >= c.pages {
		return c.damaged(id, "the tree needs it, but only pages 2 to %d can be in it", c.pages-1)
	}
	if !c.see(id) {
		return c.damaged(id, "it is used twice, or used and free")
	}
	l.noted[id/64] |= 1 << (id % 64)
	return nil
}

// ready ends the part of Open. The last leaf is one that Open reads, and to
// which new jobs are added.
func (l *leafCheck) ready() error {
	l.c.later = nil
	l.reader = newTreeReader(l.c.r, l.c.path, int(l.c.pageSize))
	err := l.vet(jobsTree{l.root, l.c.pages}, bytes.Repeat([]byte{0xFF}, 9), 0) // behind all ids
	l.c.opened, l.reader.c.opened = true, true
	return err
}

func (l *leafCheck) isNoted(id uint64) bool {
	return id < l.c.pages && l.noted[id/64]&(1<<(id%64)) != 0
}

// look looks at a leaf, if it is noted.
func (l *leafCheck) look(at subtree) error {
	if !l.isNoted(at.page) || l.err != nil {
		return l.err
	}
	l.c.unsee(at.page)
	err := l.c.checkTree(at.page, at.low, at.high, 0)
	switch {
	case err == nil:
		l.noted[at.page/64] &^= 1 << (at.page % 64)
	case errors.Is(err, ErrCorrupt): // an error of reading may go away
		l.err = err
	}
	return err
}

func (l *leafCheck) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// branch reads a page and says whether it is a branch.
func (l *leafCheck) branch(id uint64) (p diskPage, ok bool, err error) {
	if l.isNoted(id) {
		return p, false, nil
	}
	p, err = l.reader.page(id)
	return p, err == nil && !p.leaf && p.count > 0, err
}

// child is the i-th page below a branch page.
func (l *leafCheck) child(p *diskPage, of subtree, i int) (subtree, error) {
	item, err := l.reader.element(p, i)
	if err != nil {
		return subtree{}, err
	}
	at := subtree{page: item.page, low: item.key, high: of.high}
	if i+1 < p.count {
		item, err = l.reader.element(p, i+1)
		at.high = item.key
	}
	return at, err
}

// find is which page below a branch page has a key.
func (l *leafCheck) find(p *diskPage, key []byte) int {
	behind := sort.Search(p.count, func(i int) bool {
		item, err := l.reader.element(p, i)
		return err != nil || bytes.Compare(item.key, key) > 0
	})
	return max(behind-1, 0)
}

// vet looks at the leaf of a key, and at the ones before and behind it.
func (l *leafCheck) vet(t jobsTree, key []byte, transaction int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || t.root == 0 {
		return l.err
	}
	if transaction != 0 && l.vetted == transaction && bytes.Compare(key, l.last.low) >= 0 && (l.last.high == nil || bytes.Compare(key, l.last.high) < 0) {
		return nil
	}
	l.reader.c.pages = t.pages
	before, at, behind := subtree{}, subtree{page: t.root}, subtree{}
	for {
		p, ok, err := l.branch(at.page)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		i := l.find(&p, key)
		if before, err = l.neighbour(&p, at, before, i-1); err != nil {
			return err
		}
		if behind, err = l.neighbour(&p, at, behind, i+1); err != nil {
			return err
		}
		if at, err = l.child(&p, at, i); err != nil {
			return err
		}
	}
	for _, leaf := range [...]subtree{before, at, behind} {
		if err := l.look(leaf); err != nil {
			return err
		}
	}
	l.vetted, l.last = transaction, at
	return nil
}

// neighbour is the i-th page below p, or where there is none, the nearest one
// below the page beside p. No page is page 0.
func (l *leafCheck) neighbour(p *diskPage, of, beside subtree, i int) (subtree, error) {
	if i >= 0 && i < p.count {
		return l.child(p, of, i)
	}
	if beside.page == 0 {
		return beside, nil
	}
	next, ok, err := l.branch(beside.page)
	if err != nil || !ok {
		return subtree{}, err
	}
	if i < 0 {
		i = next.count - 1
	} else {
		i = 0
	}
	return l.child(&next, beside, i)
}

// portion looks at the leaves below one branch page, from a key on, and tells
// where to go on; with nil it is done.
func (l *leafCheck) portion(t jobsTree, from []byte) (next []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || t.root == 0 {
		return nil, l.err
	}
	l.reader.c.pages = t.pages
	at := subtree{page: t.root}
	for {
		p, ok, err := l.branch(at.page)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, l.look(at)
		}
		i := l.find(&p, from)
		below, err := l.child(&p, at, i)
		if err != nil {
			return nil, err
		}
		if _, ok, err := l.branch(below.page); err != nil || ok {
			if at = below; err != nil {
				return nil, err
			}
			continue
		}
		for ; i < p.count; i++ {
			leaf, err := l.child(&p, at, i)
			if err == nil {
				err = l.look(leaf)
			}
			if err != nil {
				return nil, err
			}
		}
		return at.high, nil
	}
}

// vet looks at where the record of a job is, before a transaction changes it.
func (s *store) vet(tx *bolt.Tx, id uint64) error {
	f := s.cur.Load()
	if f == nil {
		return nil // an Import
	}
	l := f.leaves.Load()
	if l == nil {
		return nil
	}
	err := l.vet(l.tree(tx), appendID(nil, id), tx.ID())
	if err != nil && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err) // as it is when bbolt's memory map cannot be read
	}
	return err
}

// checkLeaves is the goroutine.
func (q *Queue) checkLeaves(f *openedFile) {
	err := q.goThroughLeaves(q.upkeep.life, f, leafRest)
	switch {
	case err == nil || q.upkeep.life.Err() != nil || q.store.cur.Load() != f:
	case fatal(err):
		q.store.broken.CompareAndSwap(nil, &err)
		q.commit.post(func() { q.commit.fail(err) })
	default:
		q.log.Error("stint: the pages of the waiting jobs cannot all be read; look at the disk, and Check the queue", "path", f.path, "error", err)
	}
}

// finishLeaves does at once what is left of the check, for who is about to
// read all jobs.
func (q *Queue) finishLeaves(ctx context.Context) error {
	f := q.store.cur.Load()
	err := q.goThroughLeaves(ctx, f, 0)
	if q.store.cur.Load() != f {
		return nil // what Compact has put in its place has been looked at
	}
	return err
}

// goThroughLeaves looks at all leaves that are left.
func (q *Queue) goThroughLeaves(ctx context.Context, f *openedFile, rest time.Duration) error {
	l := f.leaves.Load()
	if l == nil {
		return nil
	}
	for from := []byte{0}; from != nil; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		began := time.Now()
		err := q.store.view(func(tx *bolt.Tx) (err error) {
			if tx.DB() != f.db {
				from = nil
				return nil
			}
			from, err = l.portion(l.tree(tx), from)
			return err
		})
		if err != nil {
			return err
		}
		if pause := rest * time.Since(began); pause > 0 && from != nil {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
	f.leaves.Store(nil)
	err := q.store.update(func(tx *bolt.Tx) error {
		tx.DB().NoFreelistSync = true
		return errNothingToDo
	})
	if errors.Is(err, errNothingToDo) {
		return nil
	}
	return err
}
