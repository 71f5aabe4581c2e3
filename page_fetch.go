package stint

import (
	"slices"
	"sync"
)

// fetchers is how many branch pages are read at a time.
const fetchers = 16

// fetch reads some levels of branch pages, so that they are in the page cache
// when they are looked at: a disk that is asked for one after the other takes
// many times as long. What is wrong with them checkTree tells.
func (c *fileCheck) fetch(root uint64, levels int) {
	ids := []uint64{root}
	for ; levels > 0 && uint64(len(ids)) < c.pages; levels-- {
		var below [fetchers][]uint64
		var all sync.WaitGroup
		for n := range fetchers {
			all.Go(func() {
				b := make([]byte, c.pageSize)
				for i := n; i < len(ids); i += fetchers {
					if ids[i] < c.pages && c.readAt(b, ids[i]*c.pageSize) == nil && levels > 1 {
						below[n] = appendChildren(below[n], b)
					}
				}
			})
		}
		all.Wait()
		ids = slices.Concat(below[:]...)
	}
}

// appendChildren appends the pages that a branch page refers to, as far as its
// first page tells.
func appendChildren(ids []uint64, b []byte) []uint64 {
	count := int(nativeOrder.Uint16(b[10:]))
	for e := b[pageHeader:]; count > 0 && len(e) >= elementSize; e = e[elementSize:] {
		ids = append(ids, nativeOrder.Uint64(e[8:]))
		count--
	}
	return ids
}
