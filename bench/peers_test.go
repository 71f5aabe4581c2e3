package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// Each system that can be had here stores 500 jobs, one by one and many at
// once, and hands all of them to the handler.
func TestSystemsHandleEveryJob(t *testing.T) {
	for _, s := range systems() {
		t.Run(s.Name(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			t.Cleanup(func() { require.NoError(t, s.Stop()) })
			if err := s.Prepare(ctx, t.TempDir()); err != nil {
				t.Skip(err)
			}
			handleEveryJob(ctx, t, s)
			// The next queue of a system is empty: nothing of the first one,
			// which is left with a job, comes to its handler.
			handleEveryJob(ctx, t, s)
		})
	}
}

func handleEveryJob(ctx context.Context, t *testing.T, s System) {
	const single, many = 300, 200
	var seen checklist
	q, err := s.Open(ctx, t.TempDir(), Options{Workers: 10, Handle: seen.handle})
	require.NoError(t, err)

	var producers errgroup.Group
	for first := range 8 {
		producers.Go(func() error {
			for i := first; i < single; i += 8 {
				if err := q.Enqueue(ctx, numbered(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, producers.Wait())
	var list []Event
	for i := single; i < single+many; i++ {
		list = append(list, numbered(i))
	}
	require.NoError(t, q.EnqueueMany(ctx, list))

	work, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- q.Work(work) }()
	seen.wait(ctx, t, single+many)
	// Idle workers get what comes later.
	require.NoError(t, q.Enqueue(ctx, numbered(single+many)))
	seen.wait(ctx, t, single+many+1)
	stop()
	require.NoError(t, <-stopped)

	unhandled := numbered(0)
	unhandled.ID = "left in the queue"
	require.NoError(t, q.Enqueue(ctx, unhandled))
	require.NoError(t, q.Close())
	for i := range single + many + 1 {
		require.Contains(t, seen.events, numbered(i))
	}
}

// numbered is the event of all jobs with an ID of its own.
func numbered(i int) Event {
	e := oneEvent
	e.ID = fmt.Sprintf("%034d", i)
	return e
}

// checklist is the events that a handler has been called with.
type checklist struct {
	mu     sync.Mutex
	events map[Event]int
}

func (c *checklist) handle(_ context.Context, e Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events == nil {
		c.events = map[Event]int{}
	}
	c.events[e]++
	return nil
}

// wait returns when exactly n different events have been handled.
func (c *checklist) wait(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for {
		c.mu.Lock()
		have := len(c.events)
		c.mu.Unlock()
		if have == n {
			return
		}
		require.Less(t, have, n, "jobs that nobody has enqueued")
		select {
		case <-ctx.Done():
			require.Equal(t, n, have, "handled in time")
		case <-time.After(5 * time.Millisecond):
		}
	}
}
