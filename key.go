package stint

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// How keys are made. All numbers in them are big-endian, so that a cursor walks
// them in order. Each function appends to b, which callers reuse: bbolt copies
// keys.

func appendID(b []byte, id uint64) []byte { return binary.BigEndian.AppendUint64(b, id) }

func appendTime(b []byte, at int64, id uint64) []byte {
	return appendID(binary.BigEndian.AppendUint64(b, uint64(at)), id)
}

func keyID(k []byte) uint64 { return binary.BigEndian.Uint64(k) }

// What a key of the due bucket stands for is its last byte.
const (
	dueDelay  = 'd' // time | id | d → state, lane
	dueExpiry = 'x' // time | id | x → nothing
	duePlace  = 'u' // time | place | u → nothing
)

func appendDue(b []byte, at int64, id uint64, what byte) []byte {
	return append(appendTime(b, at, id), what)
}

func appendDuePlace(b []byte, at int64, place []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	return append(append(b, place...), duePlace)
}

// What a key of the batches bucket stands for is behind its id. The id alone
// leads to the totals, which change as items end.
const (
	batchMadeOf  = 'm' // id | m → name, origin, OnDone: what is known from the start
	batchNoted   = 'n' // id | n → what went wrong, and who cancelled it
	batchReached = 'p' // id | p → args of the last item that was planned
	batchRange   = 'r' // id | r | first → number: the ids of items
	batchEnded   = 0xff
)

func appendBatch(b []byte, id uint64, what byte) []byte { return append(appendID(b, id), what) }

func appendRange(b []byte, id, first uint64) []byte {
	return appendID(appendBatch(b, id, batchRange), first)
}

// appendEnded is ff | time | id → nothing: an ended batch. No id begins so.
func appendEnded(b []byte, at int64, id uint64) []byte {
	return appendTime(append(b, batchEnded), at, id)
}

// maxItemKey bounds what a key of the items bucket has of the args.
const maxItemKey = 128

// appendItem is kind 0 args. Of long args it has the beginning and a hash, so
// that equal beginnings still lie together. That is the key in a plain file; for
// any file ask vault.appendItem.
func appendItem(b []byte, kind string, args []byte) []byte {
	b = append(append(b, kind...), 0)
	if len(args) < maxItemKey {
		return append(b, args...)
	}
	hash := sha256.Sum256(args)
	b = append(b, args[:maxItemKey-placeSize]...)
	return append(b, hash[:placeSize]...)
}

// appendBatchOfItem begins the key of a finished item, 0 | batch | kind 0 args.
// No kind begins so.
func appendBatchOfItem(b []byte, batch uint64) []byte { return appendID(append(b, 0), batch) }

// itemPart is where the key of the item begins in that of the finished item.
const itemPart = 1 + 8

// laneKey is what makes a lane: the jobs of one queue, kind and priority.
type laneKey struct {
	queue    string
	kind     string
	priority uint8
}

func (k laneKey) appendTo(b []byte) []byte {
	b = append(append(b, k.queue...), 0, k.priority)
	return append(b, k.kind...)
}

func parseLaneKey(b []byte) (laneKey, bool) {
	queue, rest, ok := strings.Cut(string(b), "\x00")
	if !ok || len(rest) < 2 {
		return laneKey{}, false
	}
	return laneKey{queue: queue, priority: rest[0], kind: rest[1:]}, true
}
