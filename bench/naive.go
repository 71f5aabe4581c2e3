package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

const naiveName = "naive bbolt"

// naiveSystem is the queue that people write on bbolt in an afternoon: a
// bucket of JSON records, a second one for those at work, and one transaction
// per step. It has no retries and no recovery.
type naiveSystem struct{}

func (naiveSystem) Name() string                          { return naiveName }
func (naiveSystem) Durability() string                    { return "fsync per call" }
func (naiveSystem) Prepare(context.Context, string) error { return nil }
func (naiveSystem) Stop() error                           { return nil }

var (
	naiveWaiting = []byte("waiting")
	naiveRunning = []byte("running")
)

func (naiveSystem) Open(_ context.Context, dir string, opt Options) (Instance, error) {
	db, err := bolt.Open(filepath.Join(dir, "naive.db"), 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucket(naiveWaiting); err != nil {
			return err
		}
		_, err := tx.CreateBucket(naiveRunning)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &naiveQueue{db: db, opt: opt, wake: make(chan struct{}, max(opt.Workers, 1))}, nil
}

type naiveQueue struct {
	db   *bolt.DB
	opt  Options
	wake chan struct{} // one word for each worker that may sleep
}

func (n *naiveQueue) Enqueue(ctx context.Context, e Event) error {
	return n.EnqueueMany(ctx, []Event{e})
}

func (n *naiveQueue) EnqueueMany(_ context.Context, list []Event) error {
	err := n.db.Update(func(tx *bolt.Tx) error {
		waiting := tx.Bucket(naiveWaiting)
		for _, e := range list {
			value, err := json.Marshal(e)
			if err != nil {
				return err
			}
			id, err := waiting.NextSequence()
			if err != nil {
				return err
			}
			if err := waiting.Put(binary.BigEndian.AppendUint64(nil, id), value); err != nil {
				return err
			}
		}
		return nil
	})
	for range min(len(list), cap(n.wake)) {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
	return err
}

func (n *naiveQueue) Work(ctx context.Context) error {
	var workers sync.WaitGroup
	errs := make([]error, max(n.opt.Workers, 1))
	for i := range errs {
		workers.Go(func() { errs[i] = n.work(ctx) })
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *naiveQueue) work(ctx context.Context) error {
	for ctx.Err() == nil {
		id, value, err := n.claim()
		if err != nil {
			return err
		}
		if id == nil {
			select {
			case <-n.wake:
			case <-ctx.Done():
			}
			continue
		}
		var e Event
		if err := json.Unmarshal(value, &e); err != nil {
			return err
		}
		if err := n.opt.Handle(ctx, e); err != nil {
			return err
		}
		if err := n.complete(id); err != nil {
			return err
		}
	}
	return nil
}

// claim moves the oldest waiting record to those at work; id is nil if there
// is none.
func (n *naiveQueue) claim() (id, value []byte, err error) {
	err = n.db.Update(func(tx *bolt.Tx) error {
		waiting := tx.Bucket(naiveWaiting)
		k, v := waiting.Cursor().First()
		if k == nil {
			return nil
		}
		id, value = append(id, k...), append(value, v...)
		if err := waiting.Delete(id); err != nil {
			return err
		}
		return tx.Bucket(naiveRunning).Put(id, value)
	})
	return id, value, err
}

func (n *naiveQueue) complete(id []byte) error {
	return n.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(naiveRunning).Delete(id) })
}

func (n *naiveQueue) Close() error       { return n.db.Close() }
func (n *naiveQueue) database() *bolt.DB { return n.db }
