package stint_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// opens is the job of most of these tests: how often something was opened, and
// by whom, in order.
type opens struct {
	N  int   `json:"n"`
	By []int `json:"by,omitempty"`
}

func (opens) Kind() string { return "opens" }

func add(waiting, added opens) opens {
	return opens{waiting.N + added.N, append(waiting.By, added.By...)}
}

var merge = stint.Unique(stint.Merge(add))

// families are the ways to enqueue several jobs. Each returns the ids, but
// that of EnqueueSeq, which knows none.
var families = []struct {
	name    string
	enqueue func(t *testing.T, q *stint.Queue, args []stint.Args, opt stint.Option) []stint.ID
}{
	{"Enqueue", func(t *testing.T, q *stint.Queue, args []stint.Args, opt stint.Option) (ids []stint.ID) {
		for _, a := range args {
			ids = append(ids, enqueue(t, q, a, opt))
		}
		return ids
	}},
	{"EnqueueAll", func(t *testing.T, q *stint.Queue, args []stint.Args, opt stint.Option) []stint.ID {
		ids, err := q.EnqueueAll(t.Context(), args, opt)
		require.NoError(t, err)
		return ids
	}},
	{"EnqueueSeq", func(t *testing.T, q *stint.Queue, args []stint.Args, opt stint.Option) []stint.ID {
		n, err := q.EnqueueSeq(t.Context(), slices.Values(args), opt)
		require.NoError(t, err)
		require.Equal(t, len(args), n, "what is folded is stored")
		return nil
	}},
	{"EnqueueTx", func(t *testing.T, q *stint.Queue, args []stint.Args, opt stint.Option) (ids []stint.ID) {
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			ids = enqueueTx(t, q, tx, args, opt)
			return nil
		}))
		return ids
	}},
	{"Commit", func(t *testing.T, q *stint.Queue, args []stint.Args, opt stint.Option) (ids []stint.ID) {
		handle(q, func(_ context.Context, job *stint.Job[other]) error {
			return job.Commit(func(tx *bolt.Tx) error {
				ids = enqueueTx(t, q, tx, args, opt)
				return nil
			})
		}, nil)
		stop := run(t, q)
		enqueue(t, q, other{})
		synctest.Wait()
		require.NoError(t, stop())
		return ids
	}},
}

func enqueueTx(t *testing.T, q *stint.Queue, tx *bolt.Tx, args []stint.Args, opt stint.Option) (ids []stint.ID) {
	for _, a := range args {
		id, err := q.EnqueueTx(tx, a, opt)
		require.NoError(t, err)
		ids = append(ids, id)
	}
	return ids
}

// waits says what is waiting in a job's args, and in which state.
func waits(t testing.TB, q *stint.Queue, id stint.ID, state stint.State, args string) {
	t.Helper()
	info := get(t, q, id)
	require.Equal(t, state, info.State)
	require.JSONEq(t, args, string(info.Args))
}

func TestFold(t *testing.T) {
	t.Parallel()
	modes := []struct {
		name  string
		opt   stint.Option
		state stint.State
		want  string
	}{
		{"Replace", stint.Unique(stint.Replace()), stint.Ready, `{"n":4,"by":[4]}`},
		{"Debounce", stint.Unique(stint.Debounce(time.Minute, time.Hour)), stint.Scheduled, `{"n":4,"by":[4]}`},
		{"Merge", merge, stint.Ready, `{"n":10,"by":[1,2,3,4]}`},
	}
	for _, mode := range modes {
		for _, family := range families {
			scenario(t, mode.name+" with "+family.name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "queue.db")
				q := openAt(t, path, nil)
				ids := family.enqueue(t, q, []stint.Args{opens{1, []int{1}}, opens{2, []int{2}}}, mode.opt)
				ids = append(ids, enqueue(t, q, &opens{3, []int{3}}, mode.opt))
				ids = append(ids, families[1].enqueue(t, q, []stint.Args{opens{4, []int{4}}}, mode.opt)...)
				require.Len(t, slices.Compact(ids), 1)
				waits(t, q, ids[0], mode.state, mode.want)
				counts := q.Counts()
				require.Equal(t, 1, counts.Ready+counts.Scheduled)

				require.NoError(t, q.Close())
				q = openAt(t, path, nil)
				waits(t, q, ids[0], mode.state, mode.want)
				var ran []opens
				handle(q, func(_ context.Context, job *stint.Job[opens]) error { ran = append(ran, job.Args); return nil }, nil)
				run(t, q)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				require.Len(t, ran, 1)
				require.Zero(t, q.Counts())
			})
		}
	}

	scenario(t, "within the kind and the key, and without a key within the kind", func(t *testing.T) {
		q := open(t, nil)
		replace := stint.Unique(stint.Replace())
		byKey := stint.Unique(stint.Replace(), stint.ByKey("k"))
		plain := enqueue(t, q, note{N: 1}, stint.Unique())
		whole := enqueue(t, q, note{N: 1}, replace)
		keyed := enqueue(t, q, note{N: 1}, byKey)
		require.Equal(t, whole, enqueue(t, q, note{N: 2}, replace))
		require.Equal(t, keyed, enqueue(t, q, note{N: 3}, byKey))
		enqueue(t, q, other{}, replace)
		enqueue(t, q, note{N: 4}, stint.Unique(stint.Replace(), stint.ByKey("l")))
		require.Equal(t, 5, q.Counts().Ready)
		waits(t, q, plain, stint.Ready, `{"n":1}`)
		waits(t, q, whole, stint.Ready, `{"n":2}`)
		waits(t, q, keyed, stint.Ready, `{"n":3}`)
	})

	scenario(t, "takes nothing but the args of the new job", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{N: 1}, stint.Unique(stint.Replace()), stint.In(time.Hour), stint.OnQueue("mail"), stint.Priority(1), stint.Tags("a"), stint.MaxAttempts(3), stint.ExpiresIn(2*time.Hour))
		before := get(t, q, id)
		time.Sleep(time.Minute)
		enqueue(t, q, note{N: 2}, stint.Unique(stint.Replace()), stint.In(time.Second), stint.OnQueue("other"), stint.Priority(4), stint.Tags("b"), stint.MaxAttempts(7), stint.ExpiresIn(time.Second))
		after := get(t, q, id)
		require.JSONEq(t, `{"n":2}`, string(after.Args))
		before.Args = after.Args
		require.Equal(t, before, after)
	})

	scenario(t, "finds room in a full queue", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 1})
		id := enqueue(t, q, opens{N: 1}, merge)
		require.Equal(t, id, enqueue(t, q, opens{N: 1}, merge))
		_, err := q.Enqueue(t.Context(), opens{N: 1})
		require.ErrorIs(t, err, stint.ErrQueueFull)
		waits(t, q, id, stint.Ready, `{"n":2}`)
	})

	scenario(t, "is no event, but for a time that moves", func(t *testing.T) {
		q := open(t, nil)
		s := q.Subscribe(0)
		defer s.Close()
		for n := range 3 {
			enqueue(t, q, opens{N: n}, merge)
			enqueue(t, q, note{N: 7}, stint.Unique(stint.Debounce(time.Minute, time.Hour)))
			time.Sleep(time.Second)
		}
		require.Equal(t, []string{"1 none-ready", "2 none-scheduled", "2 scheduled-scheduled", "2 scheduled-scheduled"}, told(heard(s)))
	})
}

func TestFoldIsUndone(t *testing.T) {
	t.Parallel()
	errNo := errors.New("no")

	scenario(t, "with the transaction of the caller", func(t *testing.T) {
		q := open(t, nil)
		debounce := stint.Unique(stint.Debounce(time.Minute, time.Hour))
		merged := enqueue(t, q, opens{N: 1}, merge)
		debounced := enqueue(t, q, note{N: 1}, debounce)
		due := get(t, q, debounced).RunAt
		time.Sleep(30 * time.Second)
		for _, failure := range []error{errNo, nil} {
			require.ErrorIs(t, q.DB().Update(func(tx *bolt.Tx) error {
				for range 3 {
					enqueueTx(t, q, tx, []stint.Args{opens{N: 10}}, merge)
					enqueueTx(t, q, tx, []stint.Args{note{N: 2}}, debounce)
				}
				return failure
			}), failure)
			if failure != nil {
				waits(t, q, merged, stint.Ready, `{"n":1}`)
				waits(t, q, debounced, stint.Scheduled, `{"n":1}`)
				require.Equal(t, due, get(t, q, debounced).RunAt)
			}
		}
		waits(t, q, merged, stint.Ready, `{"n":31}`)
		waits(t, q, debounced, stint.Scheduled, `{"n":2}`)
		require.Equal(t, due.Add(30*time.Second), get(t, q, debounced).RunAt)
	})

	scenario(t, "with an EnqueueAll that fails at its end, beside others that do not", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 3})
		h := holder(t, q, 1)
		enqueue := func(args ...stint.Args) <-chan error {
			answer := make(chan error, 1)
			go func() {
				_, err := q.EnqueueAll(context.Background(), args, stint.Unique(stint.Merge(add)))
				answer <- err
			}()
			synctest.Wait()
			return answer
		}
		first := enqueue(opens{N: 1})
		all := enqueue(opens{N: 10}, opens{N: 10}, opens{N: -1})
		last := enqueue(opens{N: 100})
		h.release()
		require.NoError(t, <-first)
		require.NoError(t, <-all)
		require.NoError(t, <-last)
		waits(t, q, 2, stint.Ready, `{"n":120}`)

		boom := stint.Unique(stint.Merge(func(waiting, added opens) opens {
			if added.N == -1 {
				panic("boom")
			}
			return add(waiting, added)
		}))
		_, err := q.EnqueueAll(t.Context(), []stint.Args{opens{N: 1}, opens{N: 1}, opens{N: -1}}, boom)
		require.ErrorIs(t, err, stint.ErrBadArgs)
		require.ErrorContains(t, err, "args 2 of 3; nothing was stored")
		n, err := q.EnqueueSeq(t.Context(), slices.Values([]stint.Args{opens{N: 1}, opens{N: -1}}), boom)
		require.ErrorIs(t, err, stint.ErrBadArgs)
		require.Zero(t, n)
		waits(t, q, 2, stint.Ready, `{"n":120}`)
	})
}
