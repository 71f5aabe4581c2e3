package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// What jobs do beside being stored and run: unique places, effects in the
// file, large payloads.

// uniqueJobs: every key is enqueued twice, and one of the two is refused.
var uniqueJobs = workload{
	name: "unique", title: "Unique jobs from 64 goroutines, every other a duplicate",
	columns:  append([]column{{mRate, "calls/s", perSecond}, {mJobs, "calls", plain}}, rateColumns[1:]...),
	subjects: stintOnly(measureUnique), cost: 3 * time.Second,
}

func measureUnique(ctx context.Context, b *bench, dir string) (out metrics, err error) {
	n := int64(b.size.load)
	err = withStint(dir, 1, func(q *stint.Queue) error {
		var next, refused atomic.Int64
		m := startMeter(stintInstance{q})
		start := time.Now()
		_, err := inParallel(producers, forCount(ctx, int(n)), func() error {
			key := strconv.FormatInt((next.Add(1)-1)%(n/2), 10)
			_, err := q.Enqueue(ctx, oneEvent, stint.Unique(stint.ByKey(key)))
			if errors.Is(err, stint.ErrDuplicate) {
				refused.Add(1)
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		out = m.stop(int(n), time.Since(start))
		if waiting := q.Counts().Ready; refused.Load() != n/2 || int64(waiting) != n/2 {
			return fmt.Errorf("of %d jobs with %d keys %d were refused and %d wait", n, n/2, refused.Load(), waiting)
		}
		return ctx.Err()
	})
	return out, err
}

// commitCounters: each job adds 1 to a counter in the file, exactly once.
var commitCounters = workload{
	name: "counters", title: "Jobs that add to one of 100 counters with Commit, 100 workers",
	columns:  append([]column{{mRate, "jobs/s", perSecond}, {mJobs, "jobs", plain}}, rateColumns[1:]...),
	subjects: stintOnly(measureCounters), cost: 3 * time.Second,
}

var counterBucket = []byte("counters")

func measureCounters(ctx context.Context, b *bench, dir string) (out metrics, err error) {
	t := newTally()
	err = withStint(dir, flowWorkers, func(q *stint.Queue) error {
		if err := q.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(counterBucket); return err }); err != nil {
			return err
		}
		stint.Handle(q, func(_ context.Context, job *stint.Job[Event]) error {
			key := []byte{byte(job.ID % 100)}
			err := job.Commit(func(tx *bolt.Tx) error {
				bucket := tx.Bucket(counterBucket)
				return bucket.Put(key, binary.BigEndian.AppendUint64(nil, counter(bucket.Get(key))+1))
			})
			if err == nil {
				t.add()
			}
			return err
		}, nil)
		n, err := q.EnqueueSeq(ctx, repeated(b.size.load))
		if err != nil {
			return err
		}
		if out, err = drainStint(ctx, q, t, n); err != nil {
			return err
		}
		var sum uint64
		err = q.View(func(tx *bolt.Tx) error {
			return tx.Bucket(counterBucket).ForEach(func(_, v []byte) error { sum += counter(v); return nil })
		})
		if err == nil && sum != uint64(n) {
			err = fmt.Errorf("the counters are %d after %d jobs", sum, n)
		}
		return err
	})
	return out, err
}

func counter(v []byte) uint64 {
	if v == nil {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

// largePayloads: jobs of 64 KiB each.
var largePayloads = workload{
	name: "payload", title: "Payloads of 64 KiB: enqueue in slices of 100, drain with 100 workers",
	columns: []column{
		{mRate, "drained/s", perSecond}, {mJobs, "jobs", plain}, {"enqueued_per_s", "enqueued/s", perSecond}, {"enqueued_bytes_per_s", "stored/s", bytesOf},
		{mWritten, "written/job", bytesOf}, {mFsyncs, "fsyncs/job", plain},
	},
	subjects: stintOnly(measurePayload), cost: 3 * time.Second,
}

// document is a job with a large payload.
type document struct {
	Text string `json:"text"`
}

func (document) Kind() string { return "document" }

func measurePayload(ctx context.Context, b *bench, dir string) (out metrics, err error) {
	const payload, group = 64 << 10, 100
	n := b.size.load / 50 / group * group
	t := newTally()
	err = withStint(dir, flowWorkers, func(q *stint.Queue) error {
		stint.Handle(q, func(_ context.Context, job *stint.Job[document]) error {
			if len(job.Args.Text) != payload {
				return stint.Kill(fmt.Errorf("a payload of %d bytes", len(job.Args.Text)))
			}
			t.add()
			return nil
		}, nil)
		args := make([]stint.Args, group)
		for i := range args {
			args[i] = document{strings.Repeat("x", payload)}
		}
		start := time.Now()
		for range n / group {
			if _, err := q.EnqueueAll(ctx, args); err != nil {
				return err
			}
		}
		perSecond := float64(n) / time.Since(start).Seconds()
		out, err = drainStint(ctx, q, t, n)
		if err == nil {
			out["enqueued_per_s"], out["enqueued_bytes_per_s"] = perSecond, perSecond*payload
		}
		return err
	})
	return out, err
}
