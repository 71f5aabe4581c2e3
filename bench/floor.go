package main

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The floors: what the disk and bbolt alone do with the same bytes. They are
// measured in turn with the systems, in the same run.

const (
	floorSync  = "fdatasync 4 KiB"
	floorGroup = "bare group commit"
	floorPut   = "bbolt put by 1"
	floorPuts  = "bbolt put by 1000"

	// recordSize is about what a job with an Event takes in Stint's file.
	recordSize = 230

	producers = 64 // goroutines that enqueue at the same time
	slice     = 1000
)

func floorPutDelete(group int) string { return "bbolt put+delete by " + strconv.Itoa(group) }

// syncFloor is one overwritten page and one fdatasync, over and over.
func syncFloor(b *bench) subject {
	return floorSubject(floorSync, func(ctx context.Context, dir string) (metrics, error) {
		f, err := os.Create(filepath.Join(dir, "sync"))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		const page, pages = 4096, 256
		if _, err := f.Write(make([]byte, page*pages)); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		var took []time.Duration
		buf := make([]byte, page)
		for more := forTime(ctx, b.size.budget); more(); {
			start := time.Now()
			if _, err := f.WriteAt(buf, int64(len(took)%pages)*page); err != nil {
				return nil, err
			}
			if err := fdatasync(f); err != nil {
				return nil, err
			}
			took = append(took, time.Since(start))
		}
		var sum time.Duration
		for _, d := range took {
			sum += d
		}
		slices.Sort(took)
		return metrics{
			mRate: float64(len(took)) / sum.Seconds(),
			mP50:  percentile(took, 50).Seconds(),
			mP99:  percentile(took, 99).Seconds(),
		}, nil
	})
}

// putFloor stores records in groups of one size, one after the other.
func putFloor(b *bench, group int) subject {
	name := floorPut
	if group == slice {
		name = floorPuts
	}
	return rawFloor(name, func(ctx context.Context, raw *rawStore) (int, error) {
		n := 0
		for more := forTime(ctx, b.size.budget); more(); n += group {
			if err := raw.puts(group); err != nil {
				return n, err
			}
		}
		return n, nil
	})
}

// putDeleteFloor stores a group in one transaction and deletes it in the next.
func putDeleteFloor(b *bench, group int) subject {
	return rawFloor(floorPutDelete(group), func(ctx context.Context, raw *rawStore) (int, error) {
		n := 0
		for more := forTime(ctx, b.size.budget); more(); n += group {
			if err := raw.puts(group); err != nil {
				return n, err
			}
			if err := raw.deletes(group); err != nil {
				return n, err
			}
		}
		return n, nil
	})
}

// groupFloor is the least a group commit can be: a channel, a loop that takes
// all that waits, one transaction. It only stores.
func groupFloor(b *bench) subject {
	return rawFloor(floorGroup, func(ctx context.Context, raw *rawStore) (int, error) {
		requests := make(chan chan error, producers)
		var loop sync.WaitGroup
		loop.Go(func() {
			for first := range requests {
				group := []chan error{first}
				for len(requests) > 0 {
					group = append(group, <-requests)
				}
				err := raw.puts(len(group))
				for _, done := range group {
					done <- err
				}
			}
		})
		n, err := inParallel(producers, forTime(ctx, b.size.budget), func() error {
			done := make(chan error, 1)
			requests <- done
			return <-done
		})
		close(requests)
		loop.Wait()
		return n, err
	})
}

func floorSubject(name string, measure func(context.Context, string) (metrics, error)) subject {
	return subject{name: name, durability: "floor", floor: true, measure: measure}
}

// rawFloor measures fn, which returns how many jobs it did, on a new file.
func rawFloor(name string, fn func(context.Context, *rawStore) (int, error)) subject {
	return floorSubject(name, func(ctx context.Context, dir string) (metrics, error) {
		raw, err := newRawStore(dir)
		if err != nil {
			return nil, err
		}
		defer raw.db.Close()
		m := startMeter(raw)
		start := time.Now()
		n, err := fn(ctx, raw)
		if err != nil {
			return nil, err
		}
		return m.stop(n, time.Since(start)), ctx.Err()
	})
}

// rawStore is bbolt alone: one bucket, with the options that Stint uses.
type rawStore struct {
	db       *bolt.DB
	put, del uint64
}

var rawBucket = []byte("raw")

func newRawStore(dir string) (*rawStore, error) {
	db, err := bolt.Open(filepath.Join(dir, "raw.db"), 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType, Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(rawBucket); return err })
	return &rawStore{db: db}, err
}

func (r *rawStore) database() *bolt.DB { return r.db }

func (r *rawStore) puts(n int) error {
	return r.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(rawBucket)
		for range n {
			r.put++
			if err := bucket.Put(binary.BigEndian.AppendUint64(nil, r.put), make([]byte, recordSize)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *rawStore) deletes(n int) error {
	return r.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(rawBucket)
		for range n {
			r.del++
			if err := bucket.Delete(binary.BigEndian.AppendUint64(nil, r.del)); err != nil {
				return err
			}
		}
		return nil
	})
}
