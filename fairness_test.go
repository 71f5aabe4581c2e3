package stint_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// gauge counts who is inside and remembers the most there ever were.
type gauge struct{ now, peak atomic.Int32 }

func (g *gauge) enter() {
	n := g.now.Add(1)
	for {
		peak := g.peak.Load()
		if n <= peak || g.peak.CompareAndSwap(peak, n) {
			return
		}
	}
}

func (g *gauge) leave() { g.now.Add(-1) }

// stock stores n notes, numbered from 0, in one queue.
func stock(t testing.TB, q *stint.Queue, n int, opts ...stint.Option) []stint.ID {
	t.Helper()
	jobs := make([]stint.Args, n)
	for i := range jobs {
		jobs[i] = note{i}
	}
	ids, err := q.EnqueueAll(context.Background(), jobs, opts...)
	require.NoError(t, err)
	return ids
}

func TestLimits(t *testing.T) {
	t.Parallel()
	handlers := map[string]func(n int) time.Duration{
		"quick": func(int) time.Duration { return 0 },
		"slow":  func(int) time.Duration { return time.Second },
		"mixed": func(n int) time.Duration { return time.Duration(n%2) * time.Second }, // claimed ahead, and then not quick
	}
	for name, took := range handlers {
		scenario(t, "no more than Workers run at once, with "+name+" handlers", func(t *testing.T) {
			q := open(t, &stint.Config{Workers: 7})
			var all gauge
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				all.enter()
				defer all.leave()
				time.Sleep(took(job.Args.N))
				return nil
			}, nil)
			run(t, q)
			for i := range 6 {
				stock(t, q, 50, stint.OnQueue(fmt.Sprintf("q%d", i)))
			}
			time.Sleep(time.Hour)
			require.Zero(t, q.Counts())
			if name != "quick" {
				require.EqualValues(t, 7, all.peak.Load())
			}
			require.LessOrEqual(t, all.peak.Load(), int32(7))
		})
		scenario(t, "a queue and a kind keep to limits of their own, with "+name+" handlers", func(t *testing.T) {
			q := open(t, &stint.Config{Workers: 20, Queues: map[string]stint.QueueConfig{"narrow": {Workers: 3}}})
			var narrow, wide, rare gauge
			in := func(g *gauge, n int) error {
				g.enter()
				defer g.leave()
				time.Sleep(took(n))
				return nil
			}
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				if job.Queue == "narrow" {
					return in(&narrow, job.Args.N)
				}
				return in(&wide, job.Args.N)
			}, nil)
			stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error { return in(&rare, int(job.ID)) }, &stint.Policy{Concurrency: 2})
			run(t, q)
			stock(t, q, 150, stint.OnQueue("narrow"))
			stock(t, q, 300)
			for i := range 60 {
				enqueue(t, q, other{}, stint.OnQueue([]string{"default", "narrow", "third"}[i%3]))
			}
			time.Sleep(time.Hour)
			require.Zero(t, q.Counts())
			require.LessOrEqual(t, narrow.peak.Load(), int32(3))
			require.LessOrEqual(t, rare.peak.Load(), int32(2))
			if name != "quick" {
				require.EqualValues(t, 3, narrow.peak.Load())
				require.EqualValues(t, 2, rare.peak.Load())
				require.Greater(t, wide.peak.Load(), int32(12), "the others take what they leave")
			}
		})
	}
	scenario(t, "a limit counts a handler that ignores its timeout", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 5})
		var all gauge
		stint.Handle(q, func(context.Context, *stint.Job[note]) error {
			all.enter()
			defer all.leave()
			time.Sleep(time.Hour)
			return nil
		}, &stint.Policy{Concurrency: 2, Timeout: time.Second})
		stock(t, q, 6)
		run(t, q)
		time.Sleep(4 * time.Hour)
		require.EqualValues(t, 2, all.peak.Load())
		require.Zero(t, q.Counts())
	})
}

func TestWeights(t *testing.T) {
	t.Parallel()
	weighted := func(workers int) *stint.Config {
		return &stint.Config{Workers: workers, Queues: map[string]stint.QueueConfig{"heavy": {Weight: 3}, "light": {Weight: 1}}}
	}
	for _, workers := range []int{1, 4, 40} {
		scenario(t, fmt.Sprintf("3 to 1 is 3 to 1 with %d workers", workers), func(t *testing.T) {
			q := open(t, weighted(workers))
			var heavy, light atomic.Int32
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				time.Sleep(time.Second)
				if job.Queue == "heavy" {
					heavy.Add(1)
				} else {
					light.Add(1)
				}
				return nil
			}, nil)
			stock(t, q, 500, stint.OnQueue("light"))
			stock(t, q, 500, stint.OnQueue("heavy"))
			run(t, q)
			time.Sleep(time.Duration(400/workers)*time.Second + time.Millisecond)
			require.EqualValues(t, 400, heavy.Load()+light.Load())
			require.InDelta(t, 300, heavy.Load(), 4)
		})
		scenario(t, fmt.Sprintf("and with %d workers and quick handlers too", workers), func(t *testing.T) {
			q := open(t, weighted(workers))
			var order diary
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error { order.note("%s", job.Queue); return nil }, nil)
			stock(t, q, 1000, stint.OnQueue("light"))
			stock(t, q, 1000, stint.OnQueue("heavy"))
			run(t, q)
			synctest.Wait()
			require.Zero(t, q.Counts())
			started := order.read()
			for _, n := range []int{200, 600, 1000} {
				heavy := strings.Count(strings.Join(started[:n], " "), "heavy")
				require.InDelta(t, 0.75, float64(heavy)/float64(n), 0.05, "of the first %d", n)
			}
		})
	}
	scenario(t, "a share that one queue does not use goes to the others", func(t *testing.T) {
		q := open(t, weighted(8))
		var all gauge
		stint.Handle(q, func(context.Context, *stint.Job[note]) error {
			all.enter()
			defer all.leave()
			time.Sleep(time.Second)
			return nil
		}, nil)
		stock(t, q, 80, stint.OnQueue("light"))
		run(t, q)
		time.Sleep(10*time.Second + time.Millisecond)
		require.Zero(t, q.Counts())
		require.EqualValues(t, 8, all.peak.Load())
	})
	scenario(t, "a queue that was idle has saved nothing up", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 4})
		var busy, idle atomic.Int32
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			time.Sleep(time.Second)
			if job.Queue == "busy" {
				busy.Add(1)
			} else {
				idle.Add(1)
			}
			return nil
		}, nil)
		stock(t, q, 1000, stint.OnQueue("busy"))
		run(t, q)
		time.Sleep(50*time.Second + time.Millisecond)
		require.EqualValues(t, 200, busy.Load())
		stock(t, q, 500, stint.OnQueue("idle"))
		time.Sleep(100 * time.Second)
		require.InDelta(t, 200, idle.Load(), 8)
		require.InDelta(t, 400, busy.Load(), 8)
	})
}

func TestNoQueueStarves(t *testing.T) {
	t.Parallel()
	for name, workers := range map[string]int{"one worker": 1, "ten workers": 10} {
		scenario(t, "a light queue is served beside 10,000 heavy jobs by "+name, func(t *testing.T) {
			q := open(t, &stint.Config{Workers: workers, Queues: map[string]stint.QueueConfig{"heavy": {Weight: 50}}})
			var heavy, light atomic.Int32
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				time.Sleep(100 * time.Millisecond)
				if job.Queue == "light" {
					light.Add(1)
				} else {
					heavy.Add(1)
				}
				return nil
			}, nil)
			stock(t, q, 10_000, stint.OnQueue("heavy"))
			run(t, q)
			time.Sleep(time.Second)
			for n := int32(1); n <= 5; n++ { // always late
				before := heavy.Load()
				enqueue(t, q, note{}, stint.OnQueue("light"))
				for light.Load() < n {
					time.Sleep(100 * time.Millisecond)
				}
				require.LessOrEqual(t, heavy.Load()-before, int32(51+workers))
			}
		})
	}
	t.Run("nor when the heavy jobs are so quick that many are claimed ahead", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 2})
		var heavy atomic.Int32
		light := make(chan int32, 1)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if job.Queue == "light" {
				light <- heavy.Load()
			} else {
				heavy.Add(1)
			}
			return nil
		}, nil)
		stock(t, q, 10_000, stint.OnQueue("heavy"))
		run(t, q)
		for range 3 {
			enqueue(t, q, note{}, stint.OnQueue("light"))
			before := heavy.Load()
			between := <-light - before
			t.Log("heavy jobs between the acknowledgement of a light one and its start:", between)
			require.Less(t, between, int32(2500), "two groups of what is claimed ahead at most")
		}
	})
}

func TestPriorities(t *testing.T) {
	t.Parallel()
	scenario(t, "order one queue strictly, and ids order one priority", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		type start struct{ priority, n int }
		var mu sync.Mutex
		var starts []start
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			mu.Lock()
			defer mu.Unlock()
			starts = append(starts, start{job.Priority, job.Args.N})
			return nil
		}, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
			mu.Lock()
			defer mu.Unlock()
			starts = append(starts, start{job.Priority, len(job.Args.S)})
			return nil
		}, nil)
		for i := range 300 {
			priority := stint.Priority(i*7%4 + 1)
			if i%5 == 0 { // lanes of two kinds are merged
				enqueue(t, q, other{S: strings.Repeat("x", i)}, priority)
			} else {
				enqueue(t, q, note{i}, priority)
			}
		}
		run(t, q)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, starts, 300)
		require.True(t, slices.IsSortedFunc(starts, func(a, b start) int {
			return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.n, b.n))
		}), "%v", starts)
	})
	scenario(t, "an urgent job that comes late is next", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		var order diary
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			order.note("%d", job.Priority)
			time.Sleep(time.Second)
			return nil
		}, nil)
		stock(t, q, 50, stint.Priority(3))
		run(t, q)
		time.Sleep(9500 * time.Millisecond)
		enqueue(t, q, note{}, stint.Priority(1))
		enqueue(t, q, note{}, stint.Priority(4))
		enqueue(t, q, note{}, stint.Priority(1), stint.In(2*time.Second)) // is due in the middle of a job
		time.Sleep(time.Hour)
		require.Equal(t, strings.Repeat("3", 10)+"1"+"3"+"1"+strings.Repeat("3", 39)+"4", strings.Join(order.read(), ""))
	})
	scenario(t, "an urgent job passes those that were claimed ahead", func(t *testing.T) {
		q, ids, _ := claimedAhead(t)
		started := make(chan struct{})
		stint.Handle(q, func(context.Context, *stint.Job[other]) error { close(started); return nil }, nil)
		enqueue(t, q, other{}, stint.Priority(1))
		<-started
		synctest.Wait()
		gone(t, q, ids[0])
		require.Zero(t, get(t, q, ids[2]).StartedAt, "it was next, or all but")
		time.Sleep(time.Hour)
		require.Zero(t, q.Counts())
	})
	scenario(t, "a kind at its Concurrency lets less urgent ones pass", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 3})
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[other]) error { time.Sleep(time.Hour); return nil }, &stint.Policy{Concurrency: 1, Timeout: -1})
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { done.Add(1); return nil }, nil)
		for range 5 {
			enqueue(t, q, other{}, stint.Priority(1))
		}
		stock(t, q, 100, stint.Priority(4))
		run(t, q)
		synctest.Wait()
		require.EqualValues(t, 100, done.Load())
		time.Sleep(6 * time.Hour)
		require.Zero(t, q.Counts())
	})
}

// What is in front of a lane in memory may have gone on disk.
func TestJobsBehindThoseThatWentAway(t *testing.T) {
	t.Parallel()
	ways := map[string]func(context.Context, *stint.Queue, stint.ID) error{
		"deleted": func(ctx context.Context, q *stint.Queue, id stint.ID) error { return q.Delete(ctx, id) },
		"killed":  func(ctx context.Context, q *stint.Queue, id stint.ID) error { return q.Kill(ctx, id, "test") },
	}
	for what, remove := range ways {
		scenario(t, "start, although those before them were "+what, func(t *testing.T) {
			q := open(t, &stint.Config{Workers: 1})
			proceed := make(chan struct{})
			var done atomic.Int32
			stint.Handle(q, func(context.Context, *stint.Job[other]) error { <-proceed; return nil }, nil)
			stint.Handle(q, func(context.Context, *stint.Job[note]) error { done.Add(1); return nil }, nil)
			enqueue(t, q, other{})
			run(t, q)
			synctest.Wait()
			ids := stock(t, q, 300)
			for _, id := range ids[:250] {
				require.NoError(t, remove(t.Context(), q, id))
			}
			close(proceed)
			synctest.Wait()
			require.EqualValues(t, 50, done.Load())
		})
	}
	scenario(t, "start, although those before them expire", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[other]) error { time.Sleep(time.Minute); return nil }, &stint.Policy{Timeout: -1})
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { done.Add(1); return nil }, nil)
		enqueue(t, q, other{})
		run(t, q)
		synctest.Wait()
		stock(t, q, 3000, stint.ExpiresIn(time.Minute))
		stock(t, q, 50)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 50, done.Load())
		require.Equal(t, stint.Counts{Dead: 3000}, q.Counts())
	})
}

func TestThousandKinds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		var runs [1000]atomic.Int32
		var jobs []stint.Args
		for k := range runs {
			kind := fmt.Sprintf("kind-%d", k)
			if k%10 != 0 { // every tenth gets its handler later
				handleKind(q, kind, func(context.Context, *stint.Job[anyKind]) error { runs[k].Add(1); return nil }, nil)
			}
			jobs = append(jobs, anyKind{kind}, anyKind{kind}, anyKind{kind})
		}
		_, err := q.EnqueueAll(t.Context(), jobs)
		require.NoError(t, err)
		run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Counts{Ready: 300, Parked: 300}, q.Counts())
		for k := 0; k < len(runs); k += 10 {
			handleKind(q, fmt.Sprintf("kind-%d", k), func(context.Context, *stint.Job[anyKind]) error { runs[k].Add(1); return nil }, nil)
		}
		synctest.Wait()
		require.Zero(t, q.Counts())
		for k := range runs {
			require.EqualValues(t, 3, runs[k].Load())
		}
	})
}
