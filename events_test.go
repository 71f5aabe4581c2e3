package stint_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// heard is all that a subscription has delivered so far.
func heard(s *stint.Subscription) (events []stint.Event) {
	for {
		select {
		case e, ok := <-s.C:
			if !ok {
				return events
			}
			events = append(events, e)
		default:
			return events
		}
	}
}

// told is how a test writes events down.
func told(events []stint.Event) (lines []string) {
	for _, e := range events {
		if e.ID == 0 {
			lines = append(lines, fmt.Sprintf("%v %s", e.Type, e.Queue))
			continue
		}
		lines = append(lines, fmt.Sprintf("%d %v-%v", e.ID, e.From, e.To))
	}
	return lines
}

func typesOf(events []stint.Event) (types []string) {
	for _, e := range events {
		types = append(types, e.Type.String())
	}
	return types
}

func TestEventTypeHasAName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for e := stint.JobEnqueued; e <= stint.JobMoved; e++ {
		require.Regexp(t, "^(job|queue)_[a-z]+$", e.String())
		seen[e.String()] = true
	}
	require.Len(t, seen, 11)
	require.Equal(t, "event_type(12)", (stint.JobMoved + 1).String())
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	scenario(t, "tells each move of a job in order", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: time.Hour})
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			switch {
			case job.EnqueuedAt.Equal(time.Now()):
				return stint.Snooze(time.Minute)
			case job.Attempt == 1:
				return errors.New("oops")
			}
			return nil
		}, &stint.Policy{Backoff: stint.Constant(time.Minute), Queue: "mail"})
		s := q.Subscribe(0)
		defer s.Close()
		run(t, q)
		begin := time.Now()
		id := enqueue(t, q, note{})
		time.Sleep(2 * time.Hour)
		events := heard(s)
		require.Equal(t, []string{
			"1 none-ready", "1 ready-running", "1 running-scheduled", "1 scheduled-ready", "1 ready-running",
			"1 running-retrying", "1 retrying-ready", "1 ready-running", "1 running-completed", "1 completed-none",
		}, told(events))
		for i, at := range []time.Duration{0, 0, 0, 1, 1, 1, 2, 2, 2, 62} {
			require.Equal(t, at*time.Minute, events[i].At.Sub(begin), "%v", i)
			require.Equal(t, stint.Event{At: events[i].At, Type: events[i].Type, ID: id, Kind: "note", Queue: "mail", From: events[i].From, To: events[i].To}, events[i])
		}
		require.Equal(t, []string{
			"job_enqueued", "job_started", "job_snoozed", "job_ready", "job_started",
			"job_failed", "job_ready", "job_started", "job_completed", "job_removed",
		}, typesOf(events))
		require.Zero(t, s.Dropped())
	})

	scenario(t, "what people do, too", func(t *testing.T) {
		q := open(t, &stint.Config{MaxDead: 1})
		s := q.Subscribe(0)
		defer s.Close()
		enqueue(t, q, note{})
		enqueue(t, q, note{}, stint.In(time.Hour))
		for id := range stint.ID(2) {
			require.NoError(t, q.Kill(t.Context(), id+1, "no"))
		}
		require.NoError(t, q.Retry(t.Context(), 2))
		require.NoError(t, q.Retry(t.Context(), 2)) // is no move
		require.NoError(t, q.Delete(t.Context(), 2))
		require.NoError(t, q.Pause(t.Context(), "default", ""))
		require.NoError(t, q.Resume(t.Context(), "default"))
		require.NoError(t, q.Resume(t.Context(), "default")) // had no effect
		_, err := q.EnqueueAll(t.Context(), []stint.Args{note{}, note{}}, stint.Unique())
		require.ErrorIs(t, err, stint.ErrDuplicate)
		require.ErrorIs(t, q.DB().Update(func(tx *bolt.Tx) error {
			_, err := q.EnqueueTx(tx, other{})
			require.NoError(t, err)
			return errRefused
		}), errRefused)
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			for range 2 {
				_, err := q.EnqueueTx(tx, other{})
				require.NoError(t, err)
			}
			return nil
		}))
		synctest.Wait()
		require.Equal(t, []string{
			"1 none-ready", "2 none-scheduled", "1 ready-dead", "2 scheduled-dead", "1 dead-none",
			"2 dead-ready", "2 ready-none", "queue_paused default", "queue_resumed default", "3 none-ready", "4 none-ready",
		}, told(heard(s)))
	})

	scenario(t, "a completed job that is not kept completes all the same", func(t *testing.T) {
		q := open(t, nil)
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			switch job.Args.N {
			case 1:
				return job.Commit(func(*bolt.Tx) error { return nil })
			case 2:
				return q.DB().Update(job.CompleteTx)
			}
			return nil
		}, nil)
		s := q.Subscribe(0)
		run(t, q)
		for n := range 3 {
			enqueue(t, q, note{N: n})
			synctest.Wait()
			require.Equal(t, []string{fmt.Sprint(n+1, " none-ready"), fmt.Sprint(n+1, " ready-running"), fmt.Sprint(n+1, " running-completed")}, told(heard(s)))
		}
	})

	scenario(t, "each move begins where the last ended, also when Run ends amid jobs", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 2, ShutdownTimeout: time.Second})
		handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			if job.Args.N < 6 {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Minute):
				return nil
			}
		}, &stint.Policy{Timeout: -1})
		s := q.Subscribe(0)
		stop := run(t, q)
		for n := range 30 {
			enqueue(t, q, note{N: n})
		}
		time.Sleep(time.Second)
		require.NoError(t, q.Pause(t.Context(), "default", "me"))
		time.Sleep(time.Second)
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Second)
		require.NoError(t, stop())
		at := map[stint.ID]stint.State{}
		for _, e := range heard(s) {
			if e.ID == 0 {
				continue // of the queue
			}
			require.Equal(t, at[e.ID], e.From, "job %d", e.ID)
			at[e.ID] = e.To
		}
		for id, state := range at {
			if state == stint.Completed {
				gone(t, q, id)
			} else {
				require.Equal(t, get(t, q, id).State, state, "job %d", id)
			}
		}
	})

	scenario(t, "what does not fit is dropped and counted, and nobody waits", func(t *testing.T) {
		q := open(t, nil)
		small, large := q.Subscribe(3), q.Subscribe(100)
		for range 10 {
			enqueue(t, q, note{})
		}
		require.EqualValues(t, 7, small.Dropped())
		require.Zero(t, large.Dropped())
		require.Equal(t, []string{"1 none-ready", "2 none-ready", "3 none-ready"}, told(heard(small)))
		require.Len(t, heard(large), 10)
		enqueue(t, q, note{})
		require.Equal(t, []string{"11 none-ready"}, told(heard(small)))
	})

	scenario(t, "by type", func(t *testing.T) {
		q := open(t, &stint.Config{MaxDead: 1})
		stint.Handle(q, kills, nil)
		deaths := q.Subscribe(0, stint.JobDied, stint.JobRemoved)
		queues := q.Subscribe(1, stint.QueuePaused, stint.QueueResumed)
		strange := q.Subscribe(0, 0, 200)
		require.NoError(t, q.Pause(t.Context(), "mail", "ana"))
		run(t, q)
		for n := range 3 {
			enqueue(t, q, note{N: n})
			synctest.Wait()
		}
		require.NoError(t, q.Resume(t.Context(), "mail"))
		died := heard(deaths)
		require.Equal(t, []string{"1 running-dead", "2 running-dead", "1 dead-none", "3 running-dead", "2 dead-none"}, told(died))
		require.Equal(t, []string{"job_died", "job_died", "job_removed", "job_died", "job_removed"}, typesOf(died))
		require.Zero(t, deaths.Dropped())
		require.Equal(t, []string{"queue_paused mail"}, told(heard(queues)))
		require.EqualValues(t, 1, queues.Dropped(), "of those it wants")
		require.Empty(t, heard(strange))
		require.Zero(t, strange.Dropped())

		started := q.Subscribe(0, stint.JobStarted)
		deaths.Close()
		queues.Close()
		enqueue(t, q, note{})
		synctest.Wait()
		require.Equal(t, []string{"4 ready-running"}, told(heard(started)), "who has left takes nothing away")
	})

	scenario(t, "by default 1000 fit", func(t *testing.T) {
		q := open(t, nil)
		s := q.Subscribe(-1)
		_, err := q.EnqueueSeq(t.Context(), numbered(1010, nil))
		require.NoError(t, err)
		require.Len(t, heard(s), 1000)
		require.EqualValues(t, 10, s.Dropped())
	})

	scenario(t, "Close ends it, once", func(t *testing.T) {
		q := open(t, nil)
		s, stays := q.Subscribe(0), q.Subscribe(0)
		enqueue(t, q, note{})
		s.Close()
		s.Close()
		enqueue(t, q, note{})
		require.Len(t, heard(s), 1, "what was delivered before can still be read")
		_, open := <-s.C
		require.False(t, open)
		require.Len(t, heard(stays), 2)
	})

	scenario(t, "so does the end of the queue", func(t *testing.T) {
		q := open(t, nil)
		s := q.Subscribe(0)
		enqueue(t, q, note{})
		require.NoError(t, q.Close())
		require.Len(t, heard(s), 1)
		_, open := <-s.C
		require.False(t, open)
		s.Close()
		late := q.Subscribe(0)
		_, open = <-late.C
		require.False(t, open)
		late.Close()
	})

	t.Run("coming and going while jobs run", func(t *testing.T) {
		q := open(t, nil)
		handle[note](q, nil, nil)
		run(t, q)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					s := q.Subscribe(2)
					enqueue(t, q, note{})
					heard(s)
					s.Close()
					s.Dropped()
				}
			})
		}
		wg.Wait()
	})
}
