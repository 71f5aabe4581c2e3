package stint_test

import (
	"context"
	"errors"
	"flag"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Load under which things go wrong: producers and workers that never rest, and
// books of who was told what.

var allFaults = flag.Bool("faults.all", false, "the long variants of the fault tests")

// parcel is worked on, ballast waits for a handler that never comes and makes
// the file grow.
type parcel struct {
	N    int    `json:"n"`
	Fill string `json:"fill"`
}

func (parcel) Kind() string { return "parcel" }

const maxParcels = 1 << 20

// pressure is a queue under load.
type pressure struct {
	*stint.Queue
	path string
	ran  chan error // what Run returned

	next     atomic.Int64
	stored   [maxParcels]atomic.Bool
	runs     [maxParcels]atomic.Int32
	accepted atomic.Int64 // parcels
	parked   atomic.Int64 // ballast
	refused  atomic.Int64
	finished atomic.Int64 // handlers that came to their end

	mu       sync.Mutex
	refusals map[string]int // guarded by mu

	growing   atomic.Bool // ballast is enqueued too
	stopping  atomic.Bool
	producers sync.WaitGroup
}

// press opens a queue and puts it under load. cfg may be nil.
func press(t *testing.T, path string, cfg *stint.Config) *pressure {
	t.Helper()
	if cfg == nil {
		cfg = &stint.Config{}
	}
	cfg.Workers, cfg.Logger = 8, quiet
	q, err := tryOpen(path, cfg)
	require.NoError(t, err)
	p := &pressure{Queue: q, path: path, ran: make(chan error, 1), refusals: map[string]int{}}
	stint.Handle(q, p.handle, &stint.Policy{Backoff: stint.Constant(time.Millisecond), Timeout: -1})
	go func() { p.ran <- q.Run(context.Background()) }()
	for range 4 {
		p.producers.Go(p.produce)
	}
	t.Cleanup(func() {
		p.stopping.Store(true)
		p.producers.Wait()
		_ = q.Close()
	})
	return p
}

// handle completes, completes with Commit, or fails once, by turns.
func (p *pressure) handle(_ context.Context, job *stint.Job[parcel]) error {
	run := p.runs[job.Args.N].Add(1)
	time.Sleep(time.Millisecond)
	switch {
	case job.Args.N%3 == 1:
		if err := job.Commit(func(tx *bolt.Tx) error { return increment(tx, counterKey) }); err != nil {
			return err
		}
	case job.Args.N%3 == 2 && run == 1:
		return errOops
	}
	p.finished.Add(1)
	return nil
}

func (p *pressure) produce() {
	fill := strings.Repeat("x", 500)
	for !p.stopping.Load() {
		n := int(p.next.Add(1))
		if _, err := p.Enqueue(context.Background(), parcel{N: n, Fill: fill}); err != nil {
			p.refuse(err)
			time.Sleep(time.Millisecond)
		} else {
			p.stored[n].Store(true)
			p.accepted.Add(1)
		}
		if p.growing.Load() {
			if _, err := p.Enqueue(context.Background(), other{S: strings.Repeat(fill, 8)}); err != nil {
				p.refuse(err)
				time.Sleep(time.Millisecond)
			} else {
				p.parked.Add(1)
			}
		}
		for !p.stopping.Load() && p.accepted.Load()-p.finished.Load() > 200 && !p.growing.Load() {
			time.Sleep(time.Millisecond)
		}
	}
}

func (p *pressure) refuse(err error) {
	p.refused.Add(1)
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusals[err.Error()]++
}

// reasons counts the refusals by what the system said.
func (p *pressure) reasons() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.refusals)
}

// accepts waits until n more parcels were accepted.
func (p *pressure) accepts(t *testing.T, n int64) {
	t.Helper()
	n += p.accepted.Load()
	eventually(t, func() bool { return p.accepted.Load() >= n }, "%d parcels accepted, %v", n, p.reasons())
}

// refuses waits until n more were refused.
func (p *pressure) refuses(t *testing.T, n int64) {
	t.Helper()
	n += p.refused.Load()
	eventually(t, func() bool { return p.refused.Load() >= n }, "%d refused", n)
}

// comesThrough ends the load, waits for the work and compares the books:
// everything that was accepted is done, once, without a restart.
func (p *pressure) comesThrough(t *testing.T) {
	t.Helper()
	p.stopping.Store(true)
	p.producers.Wait()
	parked := int(p.parked.Load())
	want := stint.Counts{Ready: parked, Parked: parked}
	eventually(t, func() bool { return p.Counts() == want }, "all work is done, %v are left", p.Counts())
	require.EqualValues(t, p.accepted.Load(), p.Stats().Processed)
	eventually(t, func() bool { return p.finished.Load() == p.accepted.Load() }, "a handler goes on behind its Commit, which was the end of the job")
	counted := 0
	for n := range int(p.next.Load()) + 1 {
		runs := int32(0)
		if p.stored[n].Load() {
			runs = 1
			if n%3 == 2 {
				runs = 2
			}
			if n%3 == 1 {
				counted++
			}
		}
		require.Equal(t, runs, p.runs[n].Load(), "runs of parcel %d", n)
	}
	require.Equal(t, counted, counters(p.DB())[string(counterKey)])
	require.NoError(t, p.Close())
	require.NoError(t, receive(t, p.ran))
	check(t, p.path)
	t.Logf("%d accepted, %d refused, %d completed; %d more wait for a handler", p.accepted.Load(), p.refused.Load(), p.finished.Load(), parked)
}
