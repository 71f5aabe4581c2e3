package stint_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// What a person does to jobs: every verb on every state.

// oneOfEach is a queue with one job in each state, all of whose queues are
// paused, so that what a verb makes ready stays there.
func oneOfEach(t *testing.T) (*stint.Queue, map[stint.State]stint.ID) {
	t.Helper()
	q := open(t, &stint.Config{KeepCompleted: -1})
	handle(q, func(ctx context.Context, job *stint.Job[fate]) error {
		switch job.Args.State {
		case stint.Retrying:
			return errRefused
		case stint.Dead:
			return stint.Kill(errRefused)
		case stint.Running:
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return nil
	}, &stint.Policy{Timeout: -1, Backoff: stint.Constant(time.Hour)})
	run(t, q)
	ids := map[stint.State]stint.ID{}
	for _, s := range allStates {
		if s != stint.Ready {
			var opts []stint.Option
			if s == stint.Scheduled {
				opts = append(opts, stint.In(time.Hour))
			}
			ids[s] = enqueue(t, q, fate{State: s}, opts...)
		}
	}
	synctest.Wait()
	require.NoError(t, q.Pause(t.Context(), "default", "the test"))
	ids[stint.Ready] = enqueue(t, q, fate{State: stint.Ready})
	for s, id := range ids {
		require.Equal(t, s, get(t, q, id).State)
	}
	return q, ids
}

const removed = stint.State(0)

// verbs are the calls of act.go with the states they lead to, or the errors.
var verbs = []struct {
	name string
	one  func(*stint.Queue, stint.ID) error
	all  func(*stint.Queue, stint.Filter) (int, error)
	to   map[stint.State]stint.State
	errs map[stint.State]error
}{
	{
		"Retry",
		func(q *stint.Queue, id stint.ID) error { return q.Retry(context.Background(), id) },
		func(q *stint.Queue, f stint.Filter) (int, error) { return q.RetryAll(context.Background(), f) },
		map[stint.State]stint.State{
			stint.Ready: stint.Ready, stint.Scheduled: stint.Ready, stint.Retrying: stint.Ready,
			stint.Running: stint.Running, stint.Completed: stint.Ready, stint.Dead: stint.Ready,
		},
		map[stint.State]error{stint.Running: stint.ErrRunning},
	},
	{
		"Kill",
		func(q *stint.Queue, id stint.ID) error { return q.Kill(context.Background(), id, "enough") },
		func(q *stint.Queue, f stint.Filter) (int, error) { return q.KillAll(context.Background(), f, "enough") },
		map[stint.State]stint.State{
			stint.Ready: stint.Dead, stint.Scheduled: stint.Dead, stint.Retrying: stint.Dead,
			stint.Running: stint.Dead, stint.Completed: stint.Completed, stint.Dead: stint.Dead,
		},
		nil,
	},
	{
		"Cancel",
		func(q *stint.Queue, id stint.ID) error { return q.Cancel(context.Background(), id, "Eve") },
		func(q *stint.Queue, f stint.Filter) (int, error) { return q.CancelAll(context.Background(), f, "Eve") },
		map[stint.State]stint.State{
			stint.Ready: stint.Dead, stint.Scheduled: stint.Dead, stint.Retrying: stint.Dead,
			stint.Running: stint.Dead, stint.Completed: stint.Completed, stint.Dead: stint.Dead,
		},
		nil,
	},
	{
		"Delete",
		func(q *stint.Queue, id stint.ID) error { return q.Delete(context.Background(), id) },
		func(q *stint.Queue, f stint.Filter) (int, error) { return q.DeleteAll(context.Background(), f) },
		map[stint.State]stint.State{
			stint.Ready: removed, stint.Scheduled: removed, stint.Retrying: removed,
			stint.Running: stint.Running, stint.Completed: removed, stint.Dead: removed,
		},
		map[stint.State]error{stint.Running: stint.ErrRunning},
	},
}

func TestVerbs(t *testing.T) {
	t.Parallel()
	for _, verb := range verbs {
		for _, from := range allStates {
			scenario(t, fmt.Sprintf("%s of a %v job", verb.name, from), func(t *testing.T) {
				q, ids := oneOfEach(t)
				before := get(t, q, ids[from])
				err := verb.one(q, ids[from])
				if want := verb.errs[from]; want != nil {
					require.ErrorIs(t, err, want)
					require.ErrorContains(t, err, ids[from].String())
				} else {
					require.NoError(t, err)
				}
				synctest.Wait()
				for s, id := range ids {
					want := s
					if s == from {
						want = verb.to[s]
					}
					if want == removed {
						gone(t, q, id)
					} else {
						require.Equal(t, want, get(t, q, id).State)
					}
				}
				recount(t, q)

				if from == verb.to[from] {
					after := get(t, q, ids[from])
					require.Equal(t, before, after, "nothing else changes either")
					return
				}
				switch verb.to[from] {
				case stint.Dead:
					info := get(t, q, ids[from])
					reason := map[string]string{"Kill": "enough", "Cancel": "cancelled by Eve"}[verb.name]
					require.Equal(t, reason, info.Reason)
					require.True(t, time.Now().Equal(info.FinishedAt))
				case stint.Ready:
					info := get(t, q, ids[from])
					require.Empty(t, info.Reason)
					require.True(t, info.FinishedAt.IsZero())
					require.True(t, info.RunAt.IsZero())
					require.Equal(t, before.Failures, info.Failures)
					require.Equal(t, before.Attempts, info.Attempts, "the history stays")
				}
			})

			scenario(t, fmt.Sprintf("%sAll of %v jobs", verb.name, from), func(t *testing.T) {
				q, ids := oneOfEach(t)
				want := 1
				if from == verb.to[from] {
					want = 0
				}
				n, err := verb.all(q, stint.Filter{State: from})
				require.NoError(t, err)
				require.Equal(t, want, n)
				synctest.Wait()
				if verb.to[from] == removed {
					gone(t, q, ids[from])
				} else {
					require.Equal(t, verb.to[from], get(t, q, ids[from]).State)
				}
				recount(t, q)
			})
		}

		scenario(t, verb.name+" of no job", func(t *testing.T) {
			q := open(t, nil)
			require.ErrorIs(t, verb.one(q, 1), stint.ErrNotFound)
			id := enqueue(t, q, note{})
			require.NoError(t, q.Delete(t.Context(), id))
			require.ErrorIs(t, verb.one(q, id), stint.ErrNotFound)
			n, err := verb.all(q, stint.Filter{Kind: "note"})
			require.NoError(t, err)
			require.Zero(t, n)
		})

		scenario(t, verb.name+"All wants a filter that names something", func(t *testing.T) {
			q := open(t, nil)
			enqueue(t, q, note{})
			for _, f := range []stint.Filter{{}, {Limit: 3}, {OldestFirst: true}, {State: 9}, {State: stint.Ready, After: "x"}} {
				n, err := verb.all(q, f)
				require.ErrorIs(t, err, stint.ErrBadFilter, "%+v", f)
				require.Zero(t, n)
			}
			require.Equal(t, 1, q.Counts().Ready)
		})
	}

	scenario(t, "a dead job that is retried gets one more attempt at least", func(t *testing.T) {
		q := open(t, nil)
		seen := handle(q, func(context.Context, *stint.Job[note]) error { return errRefused }, &stint.Policy{MaxAttempts: 2, Backoff: stint.Constant(time.Second)})
		run(t, q)
		id := enqueue(t, q, note{})
		for attempts := 2; attempts < 5; attempts++ {
			time.Sleep(time.Minute)
			require.Len(t, seen.ids(), attempts)
			require.Equal(t, stint.Dead, get(t, q, id).State)
			require.Equal(t, attempts, get(t, q, id).Failures)
			require.NoError(t, q.Retry(t.Context(), id))
		}
	})

	scenario(t, "a job that is killed always has a reason", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{})
		require.NoError(t, q.Kill(t.Context(), id, ""))
		require.NotEmpty(t, get(t, q, id).Reason)
	})

	scenario(t, "a long reason is cut, a wild one made readable", func(t *testing.T) {
		q := open(t, nil)
		long, wild := enqueue(t, q, note{}), enqueue(t, q, note{})
		require.NoError(t, q.Kill(t.Context(), long, string(slices.Repeat([]byte("ü"), 20_000))))
		require.LessOrEqual(t, len(get(t, q, long).Reason), 10_000)
		require.NoError(t, q.Cancel(t.Context(), wild, "a\xffb"))
		require.Equal(t, "cancelled by a\uFFFDb", get(t, q, wild).Reason)
	})

	scenario(t, "a delayed job that is retried runs now and not again at its time", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		id := enqueue(t, q, note{}, stint.In(time.Hour))
		require.NoError(t, q.Retry(t.Context(), id))
		time.Sleep(2 * time.Hour)
		require.Equal(t, []stint.ID{id}, seen.ids())
	})

	scenario(t, "a scheduled job that is killed does not come back at its time", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		id := enqueue(t, q, note{}, stint.In(time.Hour))
		require.NoError(t, q.Kill(t.Context(), id, "no"))
		time.Sleep(2 * time.Hour)
		require.Empty(t, seen.ids())
		require.Equal(t, stint.Dead, get(t, q, id).State)
	})

	scenario(t, "a job cancelled while it ran does not run again when its handler outlived Run", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q, err := tryOpen(path, &stint.Config{Logger: quiet, ShutdownTimeout: time.Second})
		require.NoError(t, err)
		release := make(chan struct{})
		handle(q, func(context.Context, *stint.Job[note]) error { <-release; return errRefused }, nil)
		ran := make(chan error)
		go func() { ran <- q.Run(context.Background()) }()
		id := enqueue(t, q, note{})
		synctest.Wait()
		require.NoError(t, q.Cancel(t.Context(), id, "Eve"))
		closed := q.Close()
		t.Log(closed)
		require.ErrorContains(t, <-ran, "ignore the end of their context")

		q = openAt(t, path, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		synctest.Wait()
		require.Empty(t, seen.ids())
		info := get(t, q, id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "cancelled by Eve", info.Reason)
		close(release)
	})
}

func TestVerbsOnMany(t *testing.T) {
	t.Parallel()
	fill := func(t *testing.T) *stint.Queue {
		t.Helper()
		q := open(t, nil)
		for _, queue := range []string{"a", "b"} {
			n, err := q.EnqueueSeq(t.Context(), numbered(700, nil), stint.OnQueue(queue), stint.Tags(queue+"-tag"))
			require.NoError(t, err)
			require.Equal(t, 700, n)
		}
		enqueue(t, q, other{}, stint.OnQueue("a"), stint.Tags("b-tag"))
		enqueue(t, q, other{}, stint.OnQueue("b"), stint.In(time.Hour), stint.Tags("b-tag"))
		return q
	}
	for _, c := range []struct {
		f    stint.Filter
		want int
	}{
		{stint.Filter{Queue: "a"}, 701},
		{stint.Filter{Kind: "note"}, 1400},
		{stint.Filter{Tag: "b-tag"}, 702},
		{stint.Filter{State: stint.Ready}, 1401},
		{stint.Filter{Queue: "b", State: stint.Scheduled}, 1},
		{stint.Filter{Queue: "b", Tag: "b-tag", Kind: "note"}, 700},
		{stint.Filter{Kind: "note", Limit: 600}, 600},
		{stint.Filter{Kind: "note", Queue: "a", OldestFirst: true, Limit: 501}, 501},
		{stint.Filter{Kind: "unknown"}, 0},
	} {
		scenario(t, fmt.Sprintf("kill, retry, cancel and delete what matches %+v", c.f), func(t *testing.T) {
			q := fill(t)
			total := 1402
			ctx := t.Context()
			chosen := idsOf(list(t, q, c.f))
			n, err := q.KillAll(ctx, c.f, "enough")
			require.NoError(t, err)
			require.Equal(t, c.want, n)
			require.Equal(t, c.want, q.Counts().Dead)
			if c.want == 0 {
				return
			}
			dead := list(t, q, stint.Filter{State: stint.Dead})
			require.ElementsMatch(t, chosen, idsOf(dead))
			for _, info := range dead {
				require.Equal(t, "enough", info.Reason)
			}
			n, err = q.RetryAll(ctx, stint.Filter{State: stint.Dead})
			require.NoError(t, err)
			require.Equal(t, c.want, n)
			require.Zero(t, q.Counts().Dead)
			require.Equal(t, total, q.Counts().Ready+q.Counts().Scheduled)
			for _, id := range chosen[:10%len(chosen)] {
				require.Equal(t, stint.Ready, get(t, q, id).State)
			}
			n, err = q.CancelAll(ctx, stint.Filter{Queue: "a", State: stint.Ready}, "Eve")
			require.NoError(t, err)
			require.Equal(t, 701, n)
			n, err = q.DeleteAll(ctx, stint.Filter{State: stint.Dead})
			require.NoError(t, err)
			require.Equal(t, 701, n)
			require.Equal(t, 701, q.Counts().Ready+q.Counts().Scheduled)
			recount(t, q)
		})
	}

	scenario(t, "workers go on between the groups, and what completed is not counted", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		n, err := q.EnqueueSeq(t.Context(), numbered(3000, nil))
		require.NoError(t, err)
		require.Equal(t, 3000, n)
		run(t, q)
		killed, err := q.KillAll(t.Context(), stint.Filter{Kind: "note"}, "enough")
		require.NoError(t, err)
		synctest.Wait()
		counts := q.Counts()
		require.Equal(t, stint.Counts{Dead: counts.Dead}, counts)
		require.LessOrEqual(t, counts.Dead, killed, "one that was told to stop while it ran may have completed")
		require.Equal(t, 3000, counts.Dead+int(q.Stats().Processed))
		require.GreaterOrEqual(t, len(seen.ids()), int(q.Stats().Processed))
	})

	scenario(t, "a job that has moved on since it was listed is left alone", func(t *testing.T) {
		q := open(t, nil)
		handle(q, func(context.Context, *stint.Job[note]) error { return errRefused }, hour)
		_, err := q.EnqueueSeq(t.Context(), numbered(3000, nil))
		require.NoError(t, err)
		run(t, q)
		n, err := q.KillAll(t.Context(), stint.Filter{State: stint.Ready, OldestFirst: true}, "enough")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, stint.Counts{Dead: n, Retrying: 3000 - n}, q.Counts())
		for _, info := range list(t, q, stint.Filter{State: stint.Dead}) {
			require.Zero(t, info.Failures, "it was not ready when it was killed")
		}
	})

	scenario(t, "a context that ends says how many were done", func(t *testing.T) {
		q := fill(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n, err := q.DeleteAll(ctx, stint.Filter{Kind: "note"})
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, n)
		require.Equal(t, 1401, q.Counts().Ready)
	})
}

// What stays is found behind thousands of ready jobs, known to memory, that
// were taken away while all workers were busy.
func TestVerbsOnManyReadyJobs(t *testing.T) {
	t.Parallel()
	away := map[string]func(*stint.Queue, stint.Filter) (int, error){
		"MoveAll": func(q *stint.Queue, f stint.Filter) (int, error) {
			return q.MoveAll(context.Background(), f, "paused")
		},
	}
	for _, verb := range verbs[1:] {
		away[verb.name+"All"] = verb.all
	}
	for name, do := range away {
		scenario(t, name, func(t *testing.T) {
			q := open(t, &stint.Config{Workers: 1})
			gate := make(chan struct{})
			handle(q, func(context.Context, *stint.Job[other]) error { <-gate; return nil }, nil)
			seen := handle[note](q, nil, nil)
			require.NoError(t, q.Pause(t.Context(), "paused", "the test"))
			enqueue(t, q, other{})
			queues := []string{"a", "b", "c", "d", "e", "f"}
			for _, queue := range queues {
				_, err := q.EnqueueAll(t.Context(), notes(520), stint.OnQueue(queue))
				require.NoError(t, err)
			}
			stays := enqueue(t, q, note{}, stint.OnQueue("f"))
			run(t, q)
			synctest.Wait() // one job runs, some of each queue are known
			for _, queue := range queues {
				n, err := do(q, stint.Filter{Queue: queue, OldestFirst: true, Limit: 520})
				require.NoError(t, err)
				require.Equal(t, 520, n)
			}
			close(gate)
			synctest.Wait()
			require.Equal(t, []stint.ID{stays}, seen.ids())
		})
	}
}
