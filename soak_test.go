package stint_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// The soak: everything that Stint does, at full load, on a real disk with real
// syncs, for as long as wanted. It shows what creeps: heap, goroutines, file
// size, latency.
//
//  1. 64 producers enqueue as fast as the queue lets them: plain, unique,
//     delayed, by slices, and in transactions with data of their own.
//  2. Handlers complete, count with Commit, fail and are tried again, and die.
//     A schedule plans a batch each minute. A reader looks at the queue each
//     second, as a dashboard would. Now and then the queue is paused, so that
//     a backlog builds up, which is worked off again.
//  3. Samples are taken all the time and drawn at the end. What remains is
//     worked off, the counters must be exact, and the file is checked.
var (
	soakTime   = flag.Duration("soak", 2*time.Second, "how long TestSoak runs")
	soakReport = flag.String("soak.report", "", "a directory for TestSoak's plots")
)

// load is the job of the soak, about 200 bytes as a webhook's event is.
type load struct {
	N       int    `json:"n"`
	Payload string `json:"payload"`
}

func (load) Kind() string { return "load" }

type soakItem struct{ N int }

func (soakItem) Kind() string { return "soak_item" }

const (
	soakProducers = 64
	soakBacklog   = 20_000 // producers wait above it
	soakNight     = 2_000  // items of a batch
)

type soak struct {
	*stint.Queue
	path    string
	payload string
	stop    context.Context

	enqueued, counted atomic.Int64 // stored; those of them that are to be counted
	committed         atomic.Int64 // counted, with Commit
	nights            atomic.Int64

	mu      sync.Mutex
	latency []time.Duration // of Enqueue, since the last sample
}

func TestSoak(t *testing.T) {
	dir := t.TempDir()
	s := &soak{path: filepath.Join(dir, "soak.db"), payload: strings.Repeat("e", 160)}
	q, err := tryOpen(s.path, &stint.Config{Workers: 100, MaxDead: 1000, Logger: quiet})
	require.NoError(t, err)
	s.Queue = q
	s.handle(t)
	stopRun := run(t, q)

	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), *soakTime)
	defer cancel()
	s.stop = ctx
	var load sync.WaitGroup
	for i := range soakProducers {
		load.Go(func() { s.produce(t, rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	load.Go(func() { s.look(t) })
	load.Go(func() { s.hold(t) })
	samples := s.sample(ctx)
	load.Wait()

	require.Eventually(t, func() bool { c := q.Counts(); return c.Ready+c.Running+c.Scheduled+c.Retrying == 0 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, stopRun())
	processed := q.Stats().Processed
	require.Equal(t, s.counted.Load(), s.committed.Load(), "each is counted once")
	require.EqualValues(t, s.committed.Load(), counters(q.DB())[string(soakCounter)], "and so says the file")
	require.NoError(t, q.Close())
	check(t, s.path)

	t.Logf("%d jobs enqueued, %d completed, %d batches", s.enqueued.Load(), processed, s.nights.Load())
	report := newSoakResult(samples)
	t.Logf("\n%s", report.table())
	if *soakReport != "" {
		require.NoError(t, os.WriteFile(filepath.Join(*soakReport, "soak.svg"), report.plot(), 0o644))
	}
	if *soakTime >= time.Minute {
		report.requireFlat(t, before+soakProducers+200)
	}
}

var soakCounter = []byte("soak")

func (s *soak) handle(t *testing.T) {
	stint.Handle(s.Queue, func(_ context.Context, job *stint.Job[load]) error {
		switch {
		case job.Args.N%1000 == 999:
			return stint.Kill(errors.New("no such customer"))
		case job.Args.N%100 == 50 && job.Attempt == 1:
			return errors.New("the other side is down")
		case job.Args.N%8 == 0:
			err := job.Commit(func(tx *bolt.Tx) error { return increment(tx, soakCounter) })
			if err == nil {
				s.committed.Add(1)
			}
			return err
		}
		return nil
	}, &stint.Policy{Backoff: stint.Constant(100 * time.Millisecond)})
	err := stint.PeriodicBatch(s.Queue, "nightly", "* * * * *",
		func(context.Context, *stint.Planning[soakItem]) iter.Seq2[soakItem, error] {
			return func(yield func(soakItem, error) bool) {
				for n := range soakNight {
					if !yield(soakItem{n}, nil) {
						return
					}
				}
			}
		},
		func(context.Context, *stint.Job[soakItem]) error { return nil },
		&stint.BatchPolicy{OnDone: note{}})
	require.NoError(t, err)
	stint.Handle(s.Queue, func(context.Context, *stint.Job[note]) error { s.nights.Add(1); return nil }, nil)
}

// produce enqueues until the time is over. An error of Enqueue is a failure of
// the test: nothing here is refused.
func (s *soak) produce(t *testing.T, rng *rand.Rand) {
	ctx := context.Background()
	for s.stop.Err() == nil {
		for s.Counts().Ready > soakBacklog && s.stop.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		one := s.next(rng)
		began := time.Now()
		var err error
		switch n := rng.IntN(1000); {
		case n < 100:
			_, err = s.Enqueue(ctx, one, stint.Unique(stint.ByKey(fmt.Sprint(one.N))))
		case n < 120:
			_, err = s.Enqueue(ctx, one, stint.In(time.Second))
		case n < 121:
			all := make([]stint.Args, 500)
			for i := range all {
				all[i] = s.next(rng)
			}
			_, err = s.EnqueueAll(ctx, all)
			s.count(all...)
			began = time.Time{}
		case n < 125:
			err = s.Update(func(tx *bolt.Tx) error {
				if err := increment(tx, []byte("orders")); err != nil {
					return err
				}
				_, err := s.EnqueueTx(tx, one)
				return err
			})
			s.count(one)
			began = time.Time{}
		default:
			_, err = s.Enqueue(ctx, one)
		}
		if errors.Is(err, stint.ErrDuplicate) {
			continue
		}
		if err != nil {
			t.Errorf("enqueue: %v", err)
			return
		}
		if !began.IsZero() {
			s.count(one)
			took := time.Since(began)
			s.mu.Lock()
			s.latency = append(s.latency, took)
			s.mu.Unlock()
		}
	}
}

func (s *soak) next(rng *rand.Rand) load { return load{N: rng.IntN(1 << 30), Payload: s.payload} }

func (s *soak) count(jobs ...stint.Args) {
	s.enqueued.Add(int64(len(jobs)))
	for _, job := range jobs {
		if n := job.(load).N; n%8 == 0 && n%1000 != 999 {
			s.counted.Add(1)
		}
	}
}

// look is a dashboard that is open all the time.
func (s *soak) look(t *testing.T) {
	for s.stop.Err() == nil {
		n := 0
		for _, err := range s.Jobs(stint.Filter{State: stint.Dead}) {
			if err != nil {
				t.Errorf("list: %v", err)
			}
			if n++; n == 100 {
				break
			}
		}
		s.Stats()
		s.Queues()
		select {
		case <-s.stop.Done():
		case <-time.After(time.Second):
		}
	}
}

// hold pauses the queue for a second of every ten.
func (s *soak) hold(t *testing.T) {
	ctx := context.Background()
	wait := func(d time.Duration) {
		select {
		case <-s.stop.Done():
		case <-time.After(d):
		}
	}
	for s.stop.Err() == nil {
		if err := s.Pause(ctx, "default", "the soak"); err != nil {
			t.Errorf("pause: %v", err)
		}
		wait(time.Second)
		if err := s.Resume(ctx, "default"); err != nil {
			t.Errorf("resume: %v", err)
		}
		wait(9 * time.Second)
	}
}

// soakSample is what was seen in one window.
type soakSample struct {
	at                      time.Duration
	heap, resident, file    float64 // MiB
	goroutines              float64
	p50, p99, worst, perSec float64 // ms, jobs
}

// sample takes a few hundred samples over the time of the soak.
func (s *soak) sample(ctx context.Context) (samples []soakSample) {
	began, last := time.Now(), time.Now()
	ticker := time.NewTicker(max(*soakTime/300, 100*time.Millisecond))
	defer ticker.Stop()
	jobs := int64(0)
	for {
		select {
		case <-ctx.Done():
			return samples
		case <-ticker.C:
		}
		s.mu.Lock()
		took := s.latency
		s.latency = nil
		s.mu.Unlock()
		if len(took) == 0 {
			continue
		}
		slices.Sort(took)
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		size := int64(0)
		if info, err := os.Stat(s.path); err == nil {
			size = info.Size()
		}
		processed := int64(s.Stats().Processed)
		one := soakSample{
			at:         time.Since(began),
			heap:       float64(live[0].Value.Uint64()) / (1 << 20),
			resident:   float64(residentSet()) / 1024,
			file:       float64(size) / (1 << 20),
			goroutines: float64(runtime.NumGoroutine()),
			p50:        took[len(took)/2].Seconds() * 1000,
			p99:        took[len(took)*99/100].Seconds() * 1000,
			worst:      took[len(took)-1].Seconds() * 1000,
			perSec:     float64(processed-jobs) / time.Since(last).Seconds(),
		}
		jobs, last = processed, time.Now()
		samples = append(samples, one)
	}
}

// soakMeasure is one line of the report.
type soakMeasure struct {
	name, unit string
	of         func(soakSample) float64
}

var soakMeasures = []soakMeasure{
	{"jobs completed per second", "", func(s soakSample) float64 { return s.perSec }},
	{"Enqueue, p50", "ms", func(s soakSample) float64 { return s.p50 }},
	{"Enqueue, p99", "ms", func(s soakSample) float64 { return s.p99 }},
	{"live heap", "MiB", func(s soakSample) float64 { return s.heap }},
	{"goroutines", "", func(s soakSample) float64 { return s.goroutines }},
	{"file", "MiB", func(s soakSample) float64 { return s.file }},
	{"resident, the file's pages among it", "MiB", func(s soakSample) float64 { return s.resident }},
}

// soakResult parts the samples into thirds: what creeps shows as a difference
// between the second, when all is warm, and the last.
type soakResult struct{ samples []soakSample }

func newSoakResult(samples []soakSample) *soakResult { return &soakResult{samples} }

// third is the median of a measure in one of the thirds.
func (r *soakResult) third(m soakMeasure, i int) float64 {
	n := len(r.samples)
	var values []float64
	for _, s := range r.samples[i*n/3 : (i+1)*n/3] {
		values = append(values, m.of(s))
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func (r *soakResult) table() string {
	var b strings.Builder
	b.WriteString("| median | first third | second third | last third |\n|---|---|---|---|\n")
	for _, m := range soakMeasures {
		name := m.name
		if m.unit != "" {
			name += ", " + m.unit
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, short(r.third(m, 0)), short(r.third(m, 1)), short(r.third(m, 2)))
	}
	return b.String()
}

func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// requireFlat fails when something creeps. Latency depends on the machine's
// other work, and is only shown.
func (r *soakResult) requireFlat(t *testing.T, goroutines int) {
	t.Helper()
	for _, m := range soakMeasures {
		second, last := r.third(m, 1), r.third(m, 2)
		switch m.name {
		case "live heap":
			require.LessOrEqual(t, last, 1.25*second+2, m.name)
		case "file":
			require.LessOrEqual(t, last, 1.1*second+1, m.name)
		case "goroutines":
			require.LessOrEqual(t, last, float64(goroutines), m.name)
		}
	}
}

// plot draws each measure over time as an SVG of its own in one picture.
func (r *soakResult) plot() []byte {
	const width, height, gap, left = 720, 90, 34, 60
	var b bytes.Buffer
	total := len(soakMeasures)*(height+gap) + gap
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width+left+20, total)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	end := r.samples[len(r.samples)-1].at.Seconds()
	for i, m := range soakMeasures {
		top := gap + i*(height+gap)
		highest := 0.0
		for _, s := range r.samples {
			highest = max(highest, m.of(s))
		}
		highest = max(1.1*highest, 1e-9)
		name := strings.TrimSuffix(m.name+", "+m.unit, ", ")
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", left, top-6, name)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#ccc"/>`+"\n", left, top, width, height)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><text x="%d" y="%d" text-anchor="end">0</text>`+"\n", left-5, top+10, short(highest), left-5, top+height)
		b.WriteString(`<polyline fill="none" stroke="#2563eb" points="`)
		for _, s := range r.samples {
			x := left + width*s.at.Seconds()/end
			y := float64(top+height) - height*m.of(s)/highest
			fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
		}
		b.WriteString("\"/>\n")
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">0</text><text x="%d" y="%d" text-anchor="end">%s</text>`+"\n</svg>\n", left, total-8, left+width, total-8, time.Duration(end*float64(time.Second)).Round(time.Second))
	return b.Bytes()
}
