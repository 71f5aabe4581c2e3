package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/stintq/stint"
	bolt "go.etcd.io/bbolt"
)

// Mailing is what the events of one mailing add up to.
type Mailing struct {
	ID string `json:"id"`
	Counters
}

// Counters count events, each once.
type Counters struct {
	Opens  uint64 `json:"opens"`
	Clicks uint64 `json:"clicks"`
	Other  uint64 `json:"other"` // delivered, bounce, …
}

// add counts an event by its name. A counter for every name would let a
// sender invent names and grow the file.
func (c *Counters) add(name string) {
	switch name {
	case "open":
		c.Opens++
	case "click":
		c.Clicks++
	default:
		c.Other++
	}
}

// All is their sum.
func (c Counters) All() uint64 { return c.Opens + c.Clicks + c.Other }

// encode gives the counters a fixed size, so that counting overwrites them in
// place.
func (c Counters) encode() []byte {
	data := make([]byte, 0, 24)
	for _, n := range []uint64{c.Opens, c.Clicks, c.Other} {
		data = binary.BigEndian.AppendUint64(data, n)
	}
	return data
}

// decodeCounters undoes encode. A mailing that is not there yet starts at 0.
func decodeCounters(data []byte) Counters {
	if len(data) != 24 {
		return Counters{}
	}
	return Counters{
		Opens:  binary.BigEndian.Uint64(data),
		Clicks: binary.BigEndian.Uint64(data[8:]),
		Other:  binary.BigEndian.Uint64(data[16:]),
	}
}

// The application's own buckets, beside those of the queue in the same file.
var (
	mailingsBucket = []byte("webhooks.mailings") // mailing id → opens, clicks, other
	seenBucket     = []byte("webhooks.seen")     // sg_event_id → when it arrived, Unix seconds
	sweepBucket    = []byte("webhooks.sweep")    // handKey → the sg_event_id that sweep looks at next
	handKey        = []byte("hand")
)

// keepSeen is how long an event is remembered. SendGrid gives up sending one
// again after a day.
const keepSeen = 30 * 24 * time.Hour

// sweepStep is how many remembered events each new one looks at. Two are
// enough: the hand goes round in half as many events as there are entries, so
// the bucket stays below twice the events of keepSeen.
const sweepStep = 2

func createBuckets(queue *stint.Queue) error {
	return queue.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{mailingsBucket, seenBucket, sweepBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// countEvent is the handler. The count and the end of the job are one
// transaction: a crash leaves both or neither.
func countEvent(_ context.Context, job *stint.Job[Event]) error {
	return job.Commit(func(tx *bolt.Tx) error {
		return count(tx, job.Args, job.EnqueuedAt)
	})
}

// count adds the event to its mailing, unless that has happened before. It
// touches nothing but tx, since Commit may call it again.
//
// The time that is remembered is the arrival, not the timestamp in the event:
// an event that SendGrid delivers late would be forgotten too early with it.
func count(tx *bolt.Tx, event Event, arrived time.Time) error {
	seen := tx.Bucket(seenBucket)
	if seen.Get([]byte(event.ID)) != nil {
		return nil
	}
	if err := seen.Put([]byte(event.ID), binary.BigEndian.AppendUint64(nil, uint64(arrived.Unix()))); err != nil {
		return err
	}
	mailings := tx.Bucket(mailingsBucket)
	counters := decodeCounters(mailings.Get([]byte(event.Mailing)))
	counters.add(event.Name)
	if err := mailings.Put([]byte(event.Mailing), counters.encode()); err != nil {
		return err
	}
	return sweep(tx, arrived.Add(-keepSeen))
}

// sweep forgets events that arrived before the given time, a few at a time,
// like the hand of a clock that goes round the bucket in the order of its
// keys. An index by time would find them at once, but cost another write for
// each event; one large clean-up would hold up everybody who writes.
func sweep(tx *bolt.Tx, before time.Time) error {
	seen, hand := tx.Bucket(seenBucket), tx.Bucket(sweepBucket)
	cursor := seen.Cursor()
	id, arrived := cursor.Seek(hand.Get(handKey))
	var old [][]byte
	for range sweepStep {
		if id == nil {
			id, arrived = cursor.First()
		}
		if int64(binary.BigEndian.Uint64(arrived)) < before.Unix() {
			old = append(old, bytes.Clone(id))
		}
		id, arrived = cursor.Next()
	}
	next := bytes.Clone(id)
	for _, id := range old { // only now, since a cursor loses its place when a key goes
		if err := seen.Delete(id); err != nil {
			return err
		}
	}
	return hand.Put(handKey, next)
}

// readMailings lists the mailings, those with most events first.
func readMailings(queue *stint.Queue) ([]Mailing, error) {
	list := []Mailing{}
	err := queue.View(func(tx *bolt.Tx) error {
		return tx.Bucket(mailingsBucket).ForEach(func(id, data []byte) error {
			list = append(list, Mailing{ID: string(id), Counters: decodeCounters(data)})
			return nil
		})
	})
	slices.SortStableFunc(list, func(a, b Mailing) int { return cmp.Compare(b.All(), a.All()) })
	return list, err
}
