package stint_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Jobs that are moved to another queue: in each state, with all that hangs on
// them, and while workers are at it.

func TestMove(t *testing.T) {
	t.Parallel()
	for _, s := range allStates {
		scenario(t, fmt.Sprintf("a %v job", s), func(t *testing.T) {
			q, ids := oneOfEach(t)
			before := get(t, q, ids[s])
			events := q.Subscribe(0)
			err := q.Move(t.Context(), ids[s], "mail")
			if s == stint.Running {
				require.ErrorIs(t, err, stint.ErrRunning)
				require.ErrorContains(t, err, ids[s].String())
				require.Equal(t, before, get(t, q, ids[s]))
				require.NoError(t, q.Cancel(t.Context(), ids[s], "the test"))
				return
			}
			require.NoError(t, err)
			told := heard(events)
			require.Equal(t, stint.Event{At: told[0].At, Type: stint.JobMoved, ID: ids[s], Kind: "fate", Queue: "mail", From: s, To: s}, told[0])
			if s != stint.Ready { // that one runs at once
				before.Queue = "mail"
				require.Equal(t, before, get(t, q, ids[s]))
				require.Equal(t, []stint.ID{ids[s]}, idsOf(list(t, q, stint.Filter{State: s, Queue: "mail"})))
			}
			synctest.Wait()
			recount(t, q)

			if s == stint.Ready {
				ran := get(t, q, ids[s])
				require.Equal(t, stint.Completed, ran.State)
				require.Equal(t, "mail", ran.Queue)
			}
			require.NoError(t, q.Move(t.Context(), ids[s], "mail"), "it is there already")
			require.False(t, slices.ContainsFunc(heard(events), func(e stint.Event) bool { return e.Type == stint.JobMoved }))
			require.NoError(t, q.Pause(t.Context(), "mail", "the test"))
			if s != stint.Ready {
				require.NoError(t, q.Retry(t.Context(), ids[s]))
				synctest.Wait()
				require.Equal(t, stint.Ready, get(t, q, ids[s]).State, "in a queue that is paused it waits")
				require.NoError(t, q.Move(t.Context(), ids[s], "mail"))
				require.NoError(t, q.Move(t.Context(), ids[s], "third"))
				synctest.Wait()
				require.NotEqual(t, stint.Ready, get(t, q, ids[s]).State, "and moved out of it, it runs")
				recount(t, q)
			}
			require.NoError(t, q.Cancel(t.Context(), ids[stint.Running], "the test"))
		})
	}

	scenario(t, "says what is wrong", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{})
		for _, queue := range []string{"", "a b", string(make([]byte, 200))} {
			require.ErrorIs(t, q.Move(t.Context(), id, queue), stint.ErrBadOption)
			_, err := q.MoveAll(t.Context(), stint.Filter{Kind: "note"}, queue)
			require.ErrorIs(t, err, stint.ErrBadOption)
		}
		require.ErrorIs(t, q.Move(t.Context(), id+1, "mail"), stint.ErrNotFound)
		_, err := q.MoveAll(t.Context(), stint.Filter{}, "mail")
		require.ErrorIs(t, err, stint.ErrBadFilter)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, q.Move(ctx, id, "mail"), context.Canceled)
		require.Equal(t, "default", get(t, q, id).Queue)
	})

	scenario(t, "a moved job is run once, from its new queue, under that one's limit", func(t *testing.T) {
		q := open(t, &stint.Config{Queues: map[string]stint.QueueConfig{"slow": {Workers: 2}}, KeepCompleted: -1})
		var most, now atomic.Int64
		seen := handle(q, func(_ context.Context, job *stint.Job[note]) error {
			n := now.Add(1)
			most.Store(max(most.Load(), n))
			require.Equal(t, "slow", job.Queue)
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}, nil)
		require.NoError(t, q.Pause(t.Context(), "default", "the test"))
		require.NoError(t, q.Pause(t.Context(), "slow", "the test"))
		run(t, q)
		var ids []stint.ID
		for i := range 20 {
			ids = append(ids, enqueue(t, q, note{N: i}))
		}
		for _, id := range ids { // there, back, and there again, while windows know them
			for _, queue := range []string{"slow", "default", "slow"} {
				require.NoError(t, q.Move(t.Context(), id, queue))
			}
		}
		require.NoError(t, q.Resume(t.Context(), "default"))
		synctest.Wait()
		require.Empty(t, seen.ids(), "none is left in the old queue")
		require.NoError(t, q.Resume(t.Context(), "slow"))
		time.Sleep(time.Minute)
		require.ElementsMatch(t, ids, seen.ids())
		require.EqualValues(t, 2, most.Load())
		recount(t, q)
		for _, info := range q.Queues() {
			require.Equal(t, map[string]uint64{"slow": 20}[info.Name], info.Processed, info.Name)
		}
	})

	for _, again := range []bool{false, true} {
		scenario(t, fmt.Sprintf("a job that becomes ready and is moved in one commit runs in the new queue only (applied twice: %v)", again), func(t *testing.T) {
			q := open(t, nil)
			gate, began := make(chan struct{}), make(chan struct{})
			var once sync.Once
			seen := handle[note](q, nil, nil)
			handle(q, func(_ context.Context, job *stint.Job[other]) error {
				return job.Commit(func(*bolt.Tx) error {
					once.Do(func() { close(began) })
					<-gate
					return nil
				})
			}, nil)
			require.NoError(t, q.Pause(t.Context(), "mail", "the test"))
			first, second := enqueue(t, q, note{N: 1}), enqueue(t, q, note{N: 2}, stint.In(time.Hour))
			enqueue(t, q, note{N: 3}, stint.Unique(), stint.In(time.Hour))
			require.NoError(t, q.Kill(t.Context(), first, "the test"))
			run(t, q)
			enqueue(t, q, other{})
			<-began // the committer is busy, and what follows is its next group
			var calls sync.WaitGroup
			for _, call := range []func() error{
				func() error { return q.Retry(t.Context(), first) },
				func() error { return q.Move(t.Context(), first, "mail") },
				func() error { return q.Move(t.Context(), second, "mail") },
				func() error { return q.Move(t.Context(), second, "third") },
				func() error { // takes the group back, which is applied again without it
					if !again {
						return nil
					}
					_, err := q.EnqueueAll(t.Context(), []stint.Args{note{N: 4}, note{N: 3}}, stint.Unique())
					if !errors.Is(err, stint.ErrDuplicate) {
						return fmt.Errorf("EnqueueAll: %w", err)
					}
					return nil
				},
				func() error { return q.Retry(t.Context(), second) },
				func() error { return q.Move(t.Context(), second, "mail") },
			} {
				calls.Go(func() {
					if err := call(); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
			}
			close(gate)
			calls.Wait()
			synctest.Wait()
			require.Empty(t, seen.ids())
			require.Equal(t, []stint.ID{second, first}, idsOf(list(t, q, stint.Filter{State: stint.Ready, Queue: "mail"})))
			require.NoError(t, q.Resume(t.Context(), "mail"))
			synctest.Wait()
			require.ElementsMatch(t, []stint.ID{first, second}, seen.ids())
			recount(t, q)
		})
	}

	scenario(t, "delays, expiries and unique places go with the job", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		begin := time.Now()
		delayed := enqueue(t, q, note{N: 1}, stint.In(time.Hour), stint.Unique())
		expiring := enqueue(t, q, note{N: 2}, stint.ExpiresIn(time.Minute))
		due := enqueue(t, q, note{N: 3}, stint.In(time.Second))
		for _, id := range []stint.ID{delayed, expiring, due} {
			require.NoError(t, q.Move(t.Context(), id, "mail"))
		}
		again, err := q.Enqueue(t.Context(), note{N: 1}, stint.Unique())
		require.ErrorIs(t, err, stint.ErrDuplicate)
		require.Equal(t, delayed, again)
		require.NoError(t, q.Pause(t.Context(), "mail", "the test"))
		run(t, q)
		time.Sleep(2 * time.Minute)
		require.Equal(t, stint.Dead, get(t, q, expiring).State)
		require.Equal(t, stint.Ready, get(t, q, due).State)
		require.NoError(t, q.Move(t.Context(), due, "default")) // its record still says Scheduled
		synctest.Wait()
		gone(t, q, due)
		require.NoError(t, q.Resume(t.Context(), "mail"))
		time.Sleep(time.Hour)
		require.Equal(t, begin.Add(time.Hour), seen.at(t, delayed))
		require.NotZero(t, enqueue(t, q, note{N: 1}, stint.Unique()))
		synctest.Wait()
		recount(t, q)
	})

	scenario(t, "items stay in their batch, and runs in their schedule", func(t *testing.T) {
		q := open(t, nil)
		handle[piece](q, nil, nil)
		done := handle[other](q, nil, nil)
		handle[note](q, nil, nil)
		id, err := q.EnqueueBatch(t.Context(), slices.Values([]stint.Args{piece{1}, piece{2}}), &stint.BatchPolicy{OnDone: other{"done"}})
		require.NoError(t, err)
		n, err := q.MoveAll(t.Context(), stint.Filter{Batch: id}, "mail")
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.NoError(t, q.Periodic("hourly", "@every 1h", note{}))
		of, err := q.RunSchedule(t.Context(), "hourly")
		require.NoError(t, err)
		require.NoError(t, q.Move(t.Context(), of, "mail"))
		_, err = q.RunSchedule(t.Context(), "hourly")
		require.ErrorIs(t, err, stint.ErrRunning, "it is the run of the schedule still")
		run(t, q)
		synctest.Wait()
		info, err := q.Batch(id)
		require.NoError(t, err)
		require.Equal(t, 2, info.Done)
		require.Len(t, done.ids(), 1)
		schedules, err := q.Schedules()
		require.NoError(t, err)
		require.Equal(t, stint.Completed, schedules[0].Runs[0].State)
	})

	scenario(t, "a file remembers", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		ready, later := enqueue(t, q, note{}), enqueue(t, q, note{}, stint.In(time.Hour))
		require.NoError(t, q.Move(t.Context(), ready, "mail"))
		require.NoError(t, q.Move(t.Context(), later, "mail"))
		require.NoError(t, q.Close())
		check(t, path)
		q = openAt(t, path, nil)
		seen := handle[note](q, nil, nil)
		require.NoError(t, q.Pause(t.Context(), "default", "the test"))
		run(t, q)
		time.Sleep(2 * time.Hour)
		require.Equal(t, []stint.ID{ready, later}, seen.ids())
	})

	scenario(t, "a job whose key is missing moves too, and keeps its content", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openWith(t, path, "a")
		id := enqueue(t, q, secret{"planted-args"})
		require.NoError(t, q.Close())
		q = openWith(t, path, "ba")
		enqueue(t, q, note{})
		require.NoError(t, q.Close())
		q = openWith(t, path, "b")
		require.NoError(t, q.Move(t.Context(), id, "mail"))
		require.Empty(t, get(t, q, id).Args)
		require.NoError(t, q.Close())
		q = openWith(t, path, "ba")
		info := get(t, q, id)
		require.Equal(t, "mail", info.Queue)
		require.JSONEq(t, `{"s":"planted-args"}`, string(info.Args))
		sound(t, q)
	})
}

func TestMoveAll(t *testing.T) {
	t.Parallel()
	scenario(t, "moves 1,200, and passes over what is there", func(t *testing.T) {
		q := open(t, nil)
		_, err := q.EnqueueSeq(t.Context(), numbered(1200, nil))
		require.NoError(t, err)
		enqueue(t, q, note{N: -1}, stint.OnQueue("mail"))
		enqueue(t, q, other{})
		n, err := q.MoveAll(t.Context(), stint.Filter{Kind: "note"}, "mail")
		require.NoError(t, err)
		require.Equal(t, 1200, n)
		for _, info := range q.Queues() {
			require.Equal(t, map[string]int{"mail": 1201, "default": 1}[info.Name], info.Counts.Ready, info.Name)
		}
		recount(t, q)
		require.NoError(t, q.Pause(t.Context(), "mail", "the test"))
		seen := handle[note](q, nil, nil)
		run(t, q)
		synctest.Wait()
		require.Empty(t, seen.ids())
		n, err = q.MoveAll(t.Context(), stint.Filter{Queue: "mail", Limit: 700, OldestFirst: true}, "default")
		require.NoError(t, err)
		require.Equal(t, 700, n)
		synctest.Wait()
		ids := seen.ids()
		slices.Sort(ids)
		require.Len(t, slices.Compact(ids), 700)
		require.NoError(t, q.Resume(t.Context(), "mail"))
		synctest.Wait()
		ids = seen.ids()
		slices.Sort(ids)
		require.Len(t, ids, 1201)
		require.Len(t, slices.Compact(ids), 1201)
		recount(t, q)
	})
}

// Jobs are moved to and fro while they are worked off: each still runs once.
func TestMoveUnderLoad(t *testing.T) {
	t.Parallel()
	q := open(t, &stint.Config{Workers: 8, Queues: map[string]stint.QueueConfig{"b": {Workers: 2}}})
	const jobs = 1500
	var runs [jobs]atomic.Int32
	var left sync.WaitGroup
	left.Add(jobs)
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		runs[job.Args.N].Add(1)
		left.Done()
		return nil
	}, nil)
	queues := []string{"a", "b", "c"}
	run(t, q)
	stop := make(chan struct{})
	var movers sync.WaitGroup
	for range 3 {
		movers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				from, to := queues[rand.IntN(3)], queues[rand.IntN(3)]
				_, err := q.MoveAll(context.Background(), stint.Filter{Queue: from, Limit: 60, OldestFirst: i%2 == 0}, to)
				if err != nil {
					t.Errorf("MoveAll: %v", err)
					return
				}
			}
		})
	}
	for from := 0; from < jobs; from += 50 {
		_, err := q.EnqueueAll(t.Context(), notes(jobs)[from:from+50], stint.OnQueue(queues[rand.IntN(3)]))
		require.NoError(t, err)
	}
	left.Wait()
	close(stop)
	movers.Wait()
	for n := range runs {
		require.EqualValues(t, 1, runs[n].Load(), "job %d", n)
	}
	faults, err := q.Check(t.Context())
	require.NoError(t, err)
	require.Empty(t, faults)
}

// A suspect that is moved is run alone all the same.
func TestMovedSuspect(t *testing.T) {
	t.Parallel()
	l, ids := suspicious(t, 3)
	q := l.open(stint.Config{})
	require.Equal(t, ids[:1], l.begun(1))
	require.NoError(t, q.Pause(t.Context(), "mail", "the test"))
	require.NoError(t, q.Move(t.Context(), ids[1], "mail"))
	l.let(ids[0], nil)
	require.Equal(t, ids[2:], l.begun(1), "the other waits in a queue that is paused")
	require.NoError(t, q.Resume(t.Context(), "mail"))
	l.drop()
	l.let(ids[2], nil)
	require.Equal(t, ids[1:2], l.begun(1))
	require.Equal(t, "mail", l.info(q, ids[1]).Queue)
	l.crash()
	q = l.open(stint.Config{})
	eventually(t, func() bool { return l.info(q, ids[1]).State == stint.Dead }, "alone, and the process ended")
}

// A move that was rolled back has not happened, for a suspect either.
func TestMovedSuspectInVain(t *testing.T) {
	t.Parallel()
	l, ids := suspicious(t, 3)
	q := l.open(stint.Config{})
	require.Equal(t, ids[:1], l.begun(1))
	require.True(t, stint.MoveInVain(q, ids[1], "mail"))
	why, err := q.Why(ids[1])
	require.NoError(t, err)
	require.Equal(t, "suspect", why[0].Cause)
	l.let(ids[0], nil)
	require.Equal(t, ids[1:2], l.begun(1), "the next, and alone")
	require.Equal(t, "default", l.info(q, ids[1]).Queue)
	l.crash()
	q = l.open(stint.Config{})
	require.Equal(t, ids[2:], l.begun(1))
	require.Equal(t, stint.Dead, l.info(q, ids[1]).State, "alone, and the process ended")
}
