package stint_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var allStates = []stint.State{stint.Ready, stint.Scheduled, stint.Retrying, stint.Running, stint.Completed, stint.Dead}

// list is what a filter finds.
func list(t testing.TB, q *stint.Queue, f stint.Filter) (infos []stint.Info) {
	t.Helper()
	for info, err := range q.Jobs(f) {
		require.NoError(t, err)
		infos = append(infos, info)
	}
	return infos
}

func idsOf(infos []stint.Info) (ids []stint.ID) {
	for _, info := range infos {
		ids = append(ids, info.ID)
	}
	return ids
}

func countOf(c stint.Counts, s stint.State) int {
	return map[stint.State]int{
		stint.Ready: c.Ready, stint.Scheduled: c.Scheduled, stint.Retrying: c.Retrying,
		stint.Running: c.Running, stint.Completed: c.Completed, stint.Dead: c.Dead,
	}[s]
}

// fate is a job whose handler does to it what its state says.
type fate struct {
	State stint.State
	N     int
}

func (fate) Kind() string { return "fate" }

// populate fills a queue with n jobs in each state. Those that run do so until the
// test ends or they are cancelled.
func populate(t *testing.T, q *stint.Queue, n int) (ids map[stint.State][]stint.ID) {
	t.Helper()
	release := make(chan struct{})
	stint.Handle(q, func(ctx context.Context, job *stint.Job[fate]) error {
		switch job.Args.State {
		case stint.Retrying:
			return errRefused
		case stint.Dead:
			return stint.Kill(fmt.Errorf("fate of %d: %w", job.Args.N, errRefused))
		case stint.Running:
			select {
			case <-release:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}, &stint.Policy{Backoff: func(int, error) time.Duration { return 24 * time.Hour }, Timeout: -1})
	run(t, q)
	t.Cleanup(func() { close(release) }) // before the end of run
	require.NoError(t, q.Pause(t.Context(), "stopped", "the test"))
	require.NoError(t, q.Pause(t.Context(), "halted", "the test"))

	ids = map[stint.State][]stint.ID{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for _, s := range allStates {
				args, opts := fated(s, i, n)
				id := enqueue(t, q, args, opts...)
				mu.Lock()
				ids[s] = append(ids[s], id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	want := stint.Counts{Ready: n, Scheduled: n, Retrying: n, Running: n, Completed: n, Dead: n, Parked: (n + 4) / 5}
	require.Eventually(t, func() bool { return q.Counts() == want }, 10*time.Second, time.Millisecond)
	return ids
}

// fated is number i of n jobs of a state, with options of all sorts.
func fated(s stint.State, i, n int) (args stint.Args, opts []stint.Option) {
	args = fate{s, i}
	opts = append(opts, stint.Priority(1+i%4), stint.OnQueue([]string{"default", "low"}[i%2]))
	switch s {
	case stint.Ready:
		opts = append(opts, stint.OnQueue([]string{"stopped", "halted"}[i%2]))
		if i%5 == 0 {
			args = named{"parked"}
		}
	case stint.Scheduled:
		opts = append(opts, stint.In(time.Duration(24+i*17%n)*time.Hour))
	}
	if i%3 == 0 {
		opts = append(opts, stint.Tags("third"))
	}
	return args, opts
}

func TestGet(t *testing.T) {
	t.Parallel()
	t.Run("a job in each state", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: -1})
		ids := populate(t, q, 1)
		for s, of := range ids {
			info := get(t, q, of[0])
			require.Equal(t, s, info.State)
			require.Equal(t, of[0], info.ID)
			require.Equal(t, s == stint.Completed || s == stint.Dead, !info.FinishedAt.IsZero(), "%v", s)
			require.Equal(t, s == stint.Scheduled || s == stint.Retrying, !info.RunAt.IsZero(), "%v", s)
			require.Equal(t, s == stint.Running, !info.StartedAt.IsZero(), "%v", s)
			require.Equal(t, s == stint.Ready, info.Parked, "%v", s)
			require.Equal(t, s == stint.Dead, info.Reason != "", "%v", s)
			require.Equal(t, s == stint.Dead || s == stint.Retrying, info.Failures == 1 && len(info.Attempts) == 1, "%v", s)
		}
		gone(t, q, 0)
		gone(t, q, 1<<63)
	})

	scenario(t, "what it returns is the caller's", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{N: 1}, stint.Tags("a"))
		info := get(t, q, id)
		clear(info.Args)
		info.Tags[0] = "b"
		require.Equal(t, `{"n":1}`, string(get(t, q, id).Args))
		require.Equal(t, []string{"a"}, get(t, q, id).Tags)
	})
}

func TestJobs(t *testing.T) {
	t.Parallel()
	const each = 260 // more than two pages
	q := open(t, &stint.Config{KeepCompleted: -1, Workers: each + 10})
	ids := populate(t, q, each)
	everything := slices.Concat(ids[stint.Ready], ids[stint.Scheduled], ids[stint.Retrying], ids[stint.Running], ids[stint.Completed], ids[stint.Dead])
	slices.Sort(everything)

	// order is what a listing is sorted by.
	order := func(s stint.State, info stint.Info) int64 {
		switch s {
		case stint.Scheduled, stint.Retrying:
			return info.RunAt.UnixMicro()
		case stint.Completed, stint.Dead:
			return info.FinishedAt.UnixMicro()
		}
		return int64(info.ID)
	}

	for _, s := range append([]stint.State{0}, allStates...) {
		name := "all"
		want := everything
		if s != 0 {
			name, want = s.String(), ids[s]
		}
		t.Run(name+": complete and in order, in both directions", func(t *testing.T) {
			newest := list(t, q, stint.Filter{State: s})
			require.Equal(t, slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(idsOf(newest))))
			require.True(t, slices.IsSortedFunc(newest, func(a, b stint.Info) int { return cmp.Compare(order(s, b), order(s, a)) }))
			oldest := list(t, q, stint.Filter{State: s, OldestFirst: true})
			slices.Reverse(oldest)
			require.Equal(t, newest, oldest)
			for _, info := range newest {
				require.True(t, s == 0 || info.State == s)
				require.NotEmpty(t, info.Cursor)
				info.Cursor = ""
				require.Equal(t, get(t, q, info.ID), info)
			}
		})

		t.Run(name+": page by page nothing is lost or doubled", func(t *testing.T) {
			for _, oldestFirst := range []bool{false, true} {
				limits := []int{7, 99, 100, 101, each, 10_000}
				if s == 0 {
					limits = []int{99, 1000}
				}
				for _, limit := range limits {
					f := stint.Filter{State: s, OldestFirst: oldestFirst}
					whole := idsOf(list(t, q, f))
					var paged []stint.ID
					for {
						f.Limit = limit
						page := list(t, q, f)
						require.LessOrEqual(t, len(page), limit)
						if len(page) == 0 {
							break
						}
						paged = append(paged, idsOf(page)...)
						f.After = page[len(page)-1].Cursor
					}
					require.Equal(t, whole, paged)
				}
			}
		})

		t.Run(name+": filters narrow it, alone and together", func(t *testing.T) {
			all := list(t, q, stint.Filter{State: s})
			for _, queue := range []string{"", "default", "stopped", "unknown"} {
				for _, kind := range []string{"", "fate", "parked", "unknown"} {
					for _, tag := range []string{"", "third", "thir"} {
						var want []stint.ID
						for _, info := range all {
							if (queue == "" || info.Queue == queue) && (kind == "" || info.Kind == kind) && (tag == "" || slices.Contains(info.Tags, tag)) {
								want = append(want, info.ID)
							}
						}
						f := stint.Filter{State: s, Queue: queue, Kind: kind, Tag: tag}
						got := idsOf(list(t, q, f))
						require.Equal(t, want, got, "%+v", f)
						if f.Limit = 3; len(want) > 3 {
							require.Equal(t, want[:3], idsOf(list(t, q, f)))
						}
					}
				}
			}
		})
	}

	t.Run("a cursor whose job is gone still marks its place", func(t *testing.T) {
		for _, s := range []stint.State{stint.Ready, stint.Dead, stint.Scheduled, 0} {
			whole := list(t, q, stint.Filter{State: s})
			half := whole[len(whole)/2:]
			middle := half[slices.IndexFunc(half, func(info stint.Info) bool { return info.State != stint.Running })]
			rest := idsOf(list(t, q, stint.Filter{State: s, After: middle.Cursor}))
			require.NoError(t, q.Delete(t.Context(), middle.ID))
			require.Equal(t, rest, idsOf(list(t, q, stint.Filter{State: s, After: middle.Cursor})))
		}
	})

	t.Run("a bad filter is an error", func(t *testing.T) {
		dead := list(t, q, stint.Filter{State: stint.Dead, Limit: 1})[0].Cursor
		ready := list(t, q, stint.Filter{State: stint.Ready, Limit: 1})[0].Cursor
		due := list(t, q, stint.Filter{State: stint.Scheduled, Limit: 1})[0].Cursor
		for _, f := range []stint.Filter{
			{State: 7}, {State: 255}, {After: "no hex"}, {After: "abc"}, {State: stint.Dead, After: "00"},
			{State: stint.Ready, After: dead}, {State: stint.Dead, After: ready}, {State: stint.Dead, After: due}, {State: stint.Retrying, After: dead}, {After: due},
		} {
			n := 0
			for _, err := range q.Jobs(f) {
				require.ErrorIs(t, err, stint.ErrBadFilter, "%+v", f)
				n++
			}
			require.Equal(t, 1, n, "%+v", f)
		}
	})

	t.Run("a loop may end early, and be run again", func(t *testing.T) {
		jobs := q.Jobs(stint.Filter{State: stint.Dead})
		for range 2 {
			n := 0
			for _, err := range jobs {
				require.NoError(t, err)
				if n++; n == 150 {
					break
				}
			}
			require.Equal(t, 150, n)
		}
	})

	t.Run("the loop's body may change the jobs", func(t *testing.T) {
		before := q.Counts()
		n := 0
		for info, err := range q.Jobs(stint.Filter{State: stint.Dead}) {
			require.NoError(t, err)
			require.NoError(t, q.Delete(t.Context(), info.ID))
			enqueue(t, q, note{}, stint.In(time.Hour))
			n++
		}
		require.Equal(t, before.Dead, n)
		require.Zero(t, q.Counts().Dead)
		require.Equal(t, before.Scheduled+n, q.Counts().Scheduled)
		n = 0
		for info, err := range q.Jobs(stint.Filter{State: stint.Scheduled, Kind: "note"}) {
			require.NoError(t, err)
			require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
				_, err := q.EnqueueTx(tx, note{}, stint.OnQueue("stopped"))
				return err
			}))
			require.NoError(t, q.Kill(t.Context(), info.ID, "no"))
			n++
		}
		require.Equal(t, before.Dead, n)
	})

	t.Run("a filter that hardly matches looks on", func(t *testing.T) {
		last := enqueue(t, q, note{}, stint.Tags("needle"), stint.In(1000*time.Hour))
		_, err := q.EnqueueSeq(t.Context(), numbered(5000, nil), stint.OnQueue("stopped"))
		require.NoError(t, err)
		for _, f := range []stint.Filter{{Tag: "needle"}, {Tag: "needle", OldestFirst: true}, {Tag: "needle", State: stint.Scheduled}, {Tag: "needle", Queue: "default", Kind: "note", Limit: 1}} {
			require.Equal(t, []stint.ID{last}, idsOf(list(t, q, f)))
		}
		require.Empty(t, list(t, q, stint.Filter{Tag: "needle", State: stint.Ready}))
	})
}
