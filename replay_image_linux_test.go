package stint_test

import (
	"hash/maphash"
	"slices"
)

// The content of files in a replay: images are made of blocks, and of effects
// that may have taken place in them.

const (
	blockSize  = 4096
	sectorSize = 512
	allSectors = 0xff
)

// block is never changed. One of zeros is nil.
type block struct {
	data []byte
	hash uint64
}

var hashSeed = maphash.MakeSeed()

func newBlock(data []byte) *block {
	for _, b := range data {
		if b != 0 {
			return &block{data, maphash.Bytes(hashSeed, data)}
		}
	}
	return nil
}

// zeroBlock is one of zeros that was written.
var zeroBlock = &block{data: make([]byte, blockSize)}

// image is the content of a file.
type image struct {
	blocks []*block
	size   int64
}

// effect is what a call may have done to a file: it wrote into one block, or
// changed the size.
type effect struct {
	block int // -1: the size alone
	from  int // in the block
	data  []byte
	whole *block // the data, where it fills the block
	size  int64  // the file has afterwards at least this size, or exactly
	cut   bool

	done    bool // the call has returned
	doubted bool // a sync of it has failed
}

// apply lets the effect have taken place in some sectors of its block.
func (e *effect) apply(im *image, sectors uint8) {
	if e.cut {
		im.cut(e.size)
		return
	}
	im.size = max(im.size, e.size)
	if e.block < 0 {
		return
	}
	if n := e.block + 1 - len(im.blocks); n > 0 {
		im.blocks = append(im.blocks, make([]*block, n)...)
	}
	if e.whole != nil && sectors == allSectors {
		im.blocks[e.block] = e.whole
		return
	}
	data := make([]byte, blockSize)
	if old := im.blocks[e.block]; old != nil {
		copy(data, old.data)
	}
	for i := range e.data {
		if at := e.from + i; sectors>>(at/sectorSize)&1 == 1 {
			data[at] = e.data[i]
		}
	}
	im.blocks[e.block] = newBlock(data)
}

func (im *image) cut(size int64) {
	im.size = size
	whole := int(size / blockSize)
	if len(im.blocks) <= whole {
		return
	}
	rest := im.blocks[whole]
	im.blocks = im.blocks[:whole]
	if part := size % blockSize; part > 0 && rest != nil {
		data := make([]byte, blockSize)
		copy(data, rest.data[:part])
		im.blocks = append(im.blocks, newBlock(data))
	}
}

func (im *image) clone() *image { return &image{slices.Clone(im.blocks), im.size} }

// inode is a file, whatever its names.
type inode struct {
	safe    *image
	pending []*effect
	size    int64 // as the process sees it
}

// settle makes effects safe that a sync has covered.
func (f *inode) settle(covered []*effect) {
	safe := f.safe.clone()
	gone := map[*effect]bool{}
	for _, e := range covered {
		if e.doubted {
			continue
		}
		e.apply(safe, allSectors)
		gone[e] = true
		for _, old := range f.pending {
			if old == e {
				break
			}
			gone[old] = gone[old] || old.doubted && old.block == e.block && e.whole != nil
		}
	}
	f.safe = safe
	f.pending = slices.DeleteFunc(slices.Clone(f.pending), func(e *effect) bool { return gone[e] })
}
