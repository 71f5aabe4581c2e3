package stint

import (
	"encoding/binary"
	"math/bits"
)

// The ready index: which jobs wait for a worker or are running. An entry
// stands for 64 neighbouring ids of a lane, one bit each:
//
//	lane (4) | id / 64 (8)  →  bits (8)
//
// Jobs that are enqueued together finish together, so a group of a thousand
// changes some twenty entries. One key per job instead costs as much as the
// job's record: EnqueueAll and draining were a third slower with it.

// readyBlock is one entry in a transaction.
type readyBlock struct {
	lane   uint32
	number uint64 // id / 64
	bits   uint64
	dirty  bool
}

type blockKey struct {
	lane   uint32
	number uint64
}

func appendBlock(b []byte, lane uint32, number uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, lane), number)
}

// setReady turns the bit of a job on or off.
func (t *txn) setReady(lane uint32, id uint64, on bool) {
	block := t.block(lane, id/64)
	if on {
		block.bits |= 1 << (id % 64)
	} else {
		block.bits &^= 1 << (id % 64)
	}
	block.dirty = true
	t.wrote = true
}

func (t *txn) block(lane uint32, number uint64) *readyBlock {
	if last := t.lastBlock; last != nil && last.lane == lane && last.number == number {
		return last
	}
	key := blockKey{lane, number}
	block := t.blocks[key]
	if block == nil {
		block = &readyBlock{lane: lane, number: number}
		if v := t.get(bucketReady, appendBlock(t.key[:0], lane, number)); len(v) == 8 {
			block.bits = binary.BigEndian.Uint64(v)
		}
		if t.blocks == nil {
			t.blocks = map[blockKey]*readyBlock{}
		}
		t.blocks[key] = block
	}
	t.lastBlock = block
	return block
}

// flushReady writes the entries that have changed.
func (t *txn) flushReady() error {
	for _, block := range t.blocks {
		if !block.dirty {
			continue
		}
		block.dirty = false
		key := appendBlock(t.key[:0], block.lane, block.number)
		if block.bits == 0 {
			if err := t.delete(bucketReady, key); err != nil {
				return err
			}
			continue
		}
		if err := t.put(bucketReady, key, binary.BigEndian.AppendUint64(nil, block.bits)); err != nil {
			return err
		}
	}
	return nil
}

// readyIDs calls visit for the ids of an entry from first up, until visit
// returns false.
func readyIDs(k, v []byte, first uint64, visit func(id uint64) bool) bool {
	if len(k) != 12 || len(v) != 8 {
		return true
	}
	number, set := keyID(k[4:]), binary.BigEndian.Uint64(v)
	if first/64 == number {
		set &^= 1<<(first%64) - 1
	}
	for ; set != 0; set &= set - 1 {
		if !visit(number*64 + uint64(bits.TrailingZeros64(set))) {
			return false
		}
	}
	return true
}

// readyIDsDown is the same downwards, from below the id end.
func readyIDsDown(k, v []byte, end uint64, visit func(id uint64) bool) bool {
	if len(k) != 12 || len(v) != 8 {
		return true
	}
	number, set := keyID(k[4:]), binary.BigEndian.Uint64(v)
	if end/64 == number {
		set &= 1<<(end%64) - 1
	}
	for set != 0 {
		top := 63 - uint64(bits.LeadingZeros64(set))
		if !visit(number*64 + top) {
			return false
		}
		set &^= 1 << top
	}
	return true
}
