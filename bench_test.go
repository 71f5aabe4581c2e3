package stint_test

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// The benchmarks answer what users ask, each beside the floor: what bbolt
// alone needs for the same bytes in groups of the same size, measured in turn
// with ours in the same run. Besides ns/job they report
//
//	of-raw        our speed as a share of the floor's (1 is the floor)
//	fsyncs/job    two to a commit
//	written/job   bytes of pages written, metas included
//	allocs/job    heap allocations, all goroutines together
//
//	go test -run '^$' -bench . -benchtime 5x
//
// One iteration is thousands of jobs.

// event is a webhook event: some 200 bytes as JSON.
type event struct {
	ID        string `json:"sg_event_id"`
	Event     string `json:"event"`
	Email     string `json:"email"`
	MailingID string `json:"mailing_id"`
	Timestamp int64  `json:"timestamp"`
	UserAgent string `json:"useragent"`
}

func (event) Kind() string { return "event" }

var oneEvent = event{
	ID: "ZHVtbXktZXZlbnQtaWQtMDAwMDAwMDAwMQ", Event: "open", Email: "somebody@example.com",
	MailingID: "spring-newsletter", Timestamp: 1_790_000_000, UserAgent: "Mozilla/5.0 (X11; Linux x86_64) rv:130.0",
}

// recordSize is about what one such job takes in the file.
const recordSize = 230

type meter struct {
	b          *testing.B
	jobs       int
	ours, raw  time.Duration
	commits    int
	written    int64
	allocs     uint64
	memBefore  runtime.MemStats
	statBefore bolt.Stats
	txBefore   int
}

// measure times fn as ours and counts what it writes and allocates.
func (m *meter) measure(q *stint.Queue, jobs int, fn func()) {
	db := q.DB()
	m.statBefore, m.txBefore = db.Stats(), lastTx(db)
	runtime.ReadMemStats(&m.memBefore)
	start := time.Now()
	fn()
	m.ours += time.Since(start)
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	stats, tx := db.Stats(), lastTx(db)
	m.allocs += after.Mallocs - m.memBefore.Mallocs
	m.commits += tx - m.txBefore
	m.written += stats.TxStats.GetPageAlloc() - m.statBefore.TxStats.GetPageAlloc() + int64(tx-m.txBefore)*4096
	m.jobs += jobs
}

func (m *meter) floor(fn func()) {
	start := time.Now()
	fn()
	m.raw += time.Since(start)
}

func (m *meter) report() {
	n := float64(m.jobs)
	m.b.ReportMetric(0, "ns/op")
	m.b.ReportMetric(float64(m.ours.Nanoseconds())/n, "ns/job")
	if m.raw > 0 {
		m.b.ReportMetric(float64(m.raw.Nanoseconds())/n, "raw-ns/job")
		m.b.ReportMetric(float64(m.raw)/float64(m.ours), "of-raw")
	}
	m.b.ReportMetric(float64(m.allocs)/n, "allocs/job")
	m.b.ReportMetric(2*float64(m.commits)/n, "fsyncs/job")
	m.b.ReportMetric(float64(m.written)/n, "written/job")
}

func lastTx(db *bolt.DB) (id int) {
	_ = db.View(func(tx *bolt.Tx) error { id = tx.ID(); return nil })
	return id
}

func benchQueue(b *testing.B, cfg *stint.Config) *stint.Queue {
	if cfg == nil {
		cfg = &stint.Config{}
	}
	cfg.Logger = quiet
	q, err := tryOpen(filepath.Join(b.TempDir(), "queue.db"), cfg)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, q.Close()) })
	return q
}

// rawStore is bbolt alone: one bucket, the same options.
type rawStore struct {
	db  *bolt.DB
	put uint64
	del uint64
}

var rawBucket = []byte("raw")

func newRawStore(b *testing.B) *rawStore {
	db, err := bolt.Open(filepath.Join(b.TempDir(), "raw.db"), 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType, Timeout: time.Second})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	require.NoError(b, db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(rawBucket); return err }))
	return &rawStore{db: db}
}

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

// BenchmarkEnqueueOne: how long does one Enqueue take, one after the other?
// The floor is one put per commit.
func BenchmarkEnqueueOne(b *testing.B) {
	q, raw := benchQueue(b, nil), newRawStore(b)
	m := &meter{b: b}
	const n = 500
	for b.Loop() {
		m.measure(q, n, func() {
			for range n {
				_, err := q.Enqueue(context.Background(), oneEvent)
				require.NoError(b, err)
			}
		})
		m.floor(func() {
			for range n {
				require.NoError(b, raw.puts(1))
			}
		})
	}
	m.report()
}

// BenchmarkEnqueueParallel64: what do 64 goroutines get that enqueue at the
// same time? The floor is a bare group-commit loop with as many producers.
func BenchmarkEnqueueParallel64(b *testing.B) {
	q, raw := benchQueue(b, nil), newRawStore(b)
	m := &meter{b: b}
	const n, producers = 20_000, 64
	for b.Loop() {
		m.measure(q, n, func() {
			inParallel(producers, n, func() {
				if _, err := q.Enqueue(context.Background(), oneEvent); err != nil {
					b.Error(err)
				}
			})
		})
		m.floor(func() { bareGroupCommit(b, raw, producers, n) })
	}
	m.report()
}

func inParallel(producers, n int, fn func()) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range producers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				fn()
			}
		})
	}
	wg.Wait()
}

// bareGroupCommit is the least a group commit can be: a channel, a loop that
// takes all that waits, one transaction.
func bareGroupCommit(b *testing.B, raw *rawStore, producers, n int) {
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
	inParallel(producers, n, func() {
		done := make(chan error, 1)
		requests <- done
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	close(requests)
	loop.Wait()
}

// BenchmarkEnqueueAll1000: how fast is bulk? The floor is the same number of
// puts per commit.
func BenchmarkEnqueueAll1000(b *testing.B) {
	q, raw := benchQueue(b, nil), newRawStore(b)
	m := &meter{b: b}
	const n, group = 20_000, 1000
	args := slices.Repeat([]stint.Args{oneEvent}, group)
	for b.Loop() {
		m.measure(q, n, func() {
			for range n / group {
				_, err := q.EnqueueAll(context.Background(), args)
				require.NoError(b, err)
			}
		})
		m.floor(func() {
			for range n / group {
				require.NoError(b, raw.puts(group))
			}
		})
	}
	m.report()
}

// BenchmarkDrain: how fast do workers get through a backlog of jobs that do
// nothing? The floor puts and deletes the same number of bytes in groups of
// the same size as the workers.
func BenchmarkDrain(b *testing.B) {
	for _, workers := range []int{10, 100} {
		b.Run("workers="+itoa(workers), func(b *testing.B) { benchDrain(b, workers, 20_000) })
	}
}

// BenchmarkDrainBacklog: is the queue slower when very much waits? It drains
// 10,000 jobs in turn from a queue in which as many more wait and from one in
// which 1,000,000 do. of-small is the speed of the large one as a share of the
// small one's, heap-MiB what the heap holds with the million waiting.
func BenchmarkDrainBacklog(b *testing.B) {
	const n = 10_000
	small, large := newDrain(b, 100), newDrain(b, 100)
	fill(b, small.q, n)
	fill(b, large.q, 1_000_000)
	ofSmall, ofLarge := &meter{b: b}, &meter{b: b}
	for b.Loop() {
		small.drain(ofSmall, n)
		large.drain(ofLarge, n)
	}
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	ofLarge.report()
	b.ReportMetric(float64(ofSmall.ours)/float64(ofLarge.ours), "of-small")
	b.ReportMetric(float64(mem.HeapInuse)/(1<<20), "heap-MiB")
}

// drained is a queue whose jobs do nothing, and how to work some of them off.
type drained struct {
	b    *testing.B
	q    *stint.Queue
	left atomic.Int64
	stop context.CancelFunc
}

func newDrain(b *testing.B, workers int) *drained {
	d := &drained{b: b, q: benchQueue(b, &stint.Config{Workers: workers})}
	stint.Handle(d.q, func(context.Context, *stint.Job[event]) error {
		if d.left.Add(-1) == 0 {
			d.stop()
		}
		return nil
	}, nil)
	return d
}

// drain adds n jobs and measures how long it takes to work n off.
func (d *drained) drain(m *meter, n int) {
	fill(d.b, d.q, n)
	d.left.Store(int64(n))
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	m.measure(d.q, n, func() { require.NoError(d.b, d.q.Run(ctx)) })
}

func benchDrain(b *testing.B, workers, n int) {
	d, raw := newDrain(b, workers), newRawStore(b)
	m := &meter{b: b}
	for b.Loop() {
		d.drain(m, n)
		m.floor(func() {
			for range n / workers {
				require.NoError(b, raw.puts(workers))
				require.NoError(b, raw.deletes(workers))
			}
		})
	}
	m.report()
}

func fill(b *testing.B, q *stint.Queue, n int) {
	b.Helper()
	_, err := q.EnqueueSeq(context.Background(), func(yield func(stint.Args) bool) {
		for range n {
			if !yield(oneEvent) {
				return
			}
		}
	})
	require.NoError(b, err)
}

// BenchmarkEnqueueAndWork: what goes through when 64 goroutines enqueue and
// 100 workers work at the same time? The floor is the bare group-commit loop,
// which only stores.
func BenchmarkEnqueueAndWork(b *testing.B) {
	q, raw := benchQueue(b, &stint.Config{Workers: 100}), newRawStore(b)
	var done sync.WaitGroup
	stint.Handle(q, func(context.Context, *stint.Job[event]) error { done.Done(); return nil }, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = q.Run(ctx) })
	m := &meter{b: b}
	const n, producers = 20_000, 64
	for b.Loop() {
		m.measure(q, n, func() {
			done.Add(n)
			inParallel(producers, n, func() {
				if _, err := q.Enqueue(context.Background(), oneEvent); err != nil {
					b.Error(err)
				}
			})
			done.Wait()
		})
		m.floor(func() { bareGroupCommit(b, raw, producers, n) })
	}
	m.report()
	cancel()
	running.Wait()
}

// BenchmarkEnqueueToStart: how long from Enqueue to the start of the handler
// on an idle queue? The floor is one commit of one put: what makes the claim
// durable. p50 and p99 are of ours.
func BenchmarkEnqueueToStart(b *testing.B) {
	q, raw := benchQueue(b, nil), newRawStore(b)
	started := make(chan time.Time, 1)
	stint.Handle(q, func(context.Context, *stint.Job[event]) error { started <- time.Now(); return nil }, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = q.Run(ctx) })
	m := &meter{b: b}
	var waits []time.Duration
	const n = 300
	for b.Loop() {
		m.measure(q, n, func() {
			for range n {
				start := time.Now()
				_, err := q.Enqueue(context.Background(), oneEvent)
				require.NoError(b, err)
				waits = append(waits, (<-started).Sub(start))
				for q.Counts() != (stint.Counts{}) {
					runtime.Gosched() // its completion is no part of the next wait
				}
			}
		})
		m.floor(func() {
			for range n {
				require.NoError(b, raw.puts(1))
			}
		})
	}
	slices.Sort(waits)
	m.report()
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "p99-µs")
	cancel()
	running.Wait()
}

func itoa(n int) string { return strconv.Itoa(n) }
