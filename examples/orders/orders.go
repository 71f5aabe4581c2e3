package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Order is one order of the shop.
type Order struct {
	Number uint64 `json:"number"`
	Name   string `json:"name"`
	Email  string `json:"email"`
	Cents  int64  `json:"cents"`
	Status string `json:"status"` // open, confirmed or cancelled

	// Of the mail that confirmed it; zero before.
	NotifiedAt time.Time `json:"notified_at,omitzero"`
	MessageID  string    `json:"message_id,omitempty"`
}

// waits says whether the customer is to be notified.
func (o *Order) waits() bool { return o.Status == "confirmed" && o.NotifiedAt.IsZero() }

// orders is the store, in two buckets beside those of the queue. The second
// one keeps a night from having to look at all orders of all years.
type orders struct{ queue *stint.Queue }

var (
	ordersBucket  = []byte("orders")         // number → JSON
	waitingBucket = []byte("orders.waiting") // numbers of those that wait
)

const page = 1000 // orders in a transaction

var errNoOrder = errors.New("no such order")

func (o *orders) createBuckets() error {
	return o.queue.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{ordersBucket, waitingBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// takeOver stores orders, and replaces those that are there. It passes over
// errors of the kind errBadLine and returns them; another one ends it.
func (o *orders) takeOver(all iter.Seq2[Order, error]) (taken int, bad []error, err error) {
	var batch []Order
	store := func() error {
		err := o.queue.Update(func(tx *bolt.Tx) error {
			for i := range batch {
				if err := put(tx, &batch[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			taken += len(batch)
			batch = batch[:0]
		}
		return err
	}
	for order, err := range all {
		switch {
		case errors.Is(err, errBadLine):
			bad = append(bad, err)
			continue
		case err != nil:
			return taken, bad, errors.Join(err, store())
		}
		if batch = append(batch, order); len(batch) == page {
			if err := store(); err != nil {
				return taken, bad, err
			}
		}
	}
	return taken, bad, store()
}

// put stores an order. One that was notified stays so.
func put(tx *bolt.Tx, order *Order) error {
	old, err := load(tx, order.Number)
	if err == nil {
		order.NotifiedAt, order.MessageID = old.NotifiedAt, old.MessageID
	} else if !errors.Is(err, errNoOrder) {
		return err
	}
	return save(tx, order)
}

// save writes an order and what the bucket of those that wait says about it.
func save(tx *bolt.Tx, order *Order) error {
	value, err := json.Marshal(order)
	if err != nil {
		return err
	}
	key := orderKey(order.Number)
	if err := tx.Bucket(ordersBucket).Put(key, value); err != nil {
		return err
	}
	if order.waits() {
		return tx.Bucket(waitingBucket).Put(key, nil)
	}
	return tx.Bucket(waitingBucket).Delete(key)
}

func load(tx *bolt.Tx, number uint64) (order Order, err error) {
	value := tx.Bucket(ordersBucket).Get(orderKey(number))
	if value == nil {
		return Order{}, fmt.Errorf("%w: %d", errNoOrder, number)
	}
	err = json.Unmarshal(value, &order)
	return order, err
}

// orderKey sorts as the numbers do.
func orderKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func (o *orders) get(number uint64) (order Order, err error) {
	err = o.queue.View(func(tx *bolt.Tx) error {
		order, err = load(tx, number)
		return err
	})
	return order, err
}

// markNotified says when and by which mail a customer was notified.
func markNotified(tx *bolt.Tx, number uint64, messageID string, at time.Time) error {
	order, err := load(tx, number)
	if err != nil {
		return err
	}
	order.NotifiedAt, order.MessageID = at, messageID
	return save(tx, &order)
}

// waiting yields the numbers of the orders that wait, in their order, from
// behind one of them.
func (o *orders) waiting(after uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		for entry, err := range o.entries(waitingBucket, after) {
			if !yield(entry.number, err) {
				return
			}
		}
	}
}

// all yields every order.
func (o *orders) all() iter.Seq2[Order, error] {
	return func(yield func(Order, error) bool) {
		for entry, err := range o.entries(ordersBucket, 0) {
			var order Order
			if err == nil {
				err = json.Unmarshal(entry.value, &order)
			}
			if !yield(order, err) {
				return
			}
		}
	}
}

type entry struct {
	number uint64
	value  []byte
}

// entries reads a bucket page by page: a transaction that stayed open while
// somebody works with what it has read would keep the file from using its free
// space.
func (o *orders) entries(bucket []byte, after uint64) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for more := true; more; {
			var entries []entry
			err := o.queue.View(func(tx *bolt.Tx) error {
				cursor := tx.Bucket(bucket).Cursor()
				for key, value := cursor.Seek(orderKey(after + 1)); key != nil && len(entries) < page; key, value = cursor.Next() {
					after = binary.BigEndian.Uint64(key)
					entries = append(entries, entry{after, bytes.Clone(value)})
				}
				return nil
			})
			if err != nil {
				yield(entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			more = len(entries) == page
		}
	}
}
