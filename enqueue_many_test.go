package stint_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestEnqueueAll(t *testing.T) {
	t.Parallel()
	scenario(t, "one commit, ids in the order of the args", func(t *testing.T) {
		q := open(t, nil)
		var args []stint.Args
		for i := range 1500 {
			args = append(args, note{N: i})
		}
		before := lastTx(q.DB())
		ids, err := q.EnqueueAll(t.Context(), args, stint.OnQueue("bulk"), stint.Tags("x"))
		require.NoError(t, err)
		require.Equal(t, before+1, lastTx(q.DB()))
		require.Len(t, ids, 1500)
		for i, id := range ids {
			require.Equal(t, ids[0]+stint.ID(i), id)
		}
		for _, i := range []int{0, 777, 1499} {
			info := get(t, q, ids[i])
			require.JSONEq(t, fmt.Sprintf(`{"n":%d}`, i), string(info.Args))
			require.Equal(t, "bulk", info.Queue)
			require.Equal(t, []string{"x"}, info.Tags)
		}
		require.Equal(t, 1500, q.Counts().Ready)
	})

	scenario(t, "of nothing is nothing", func(t *testing.T) {
		q := open(t, nil)
		before := lastTx(q.DB())
		ids, err := q.EnqueueAll(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, ids)
		require.Equal(t, before, lastTx(q.DB()))
	})

	for _, c := range []struct {
		name string
		bad  stint.Args
		want error
	}{
		{"none if one has no args", nil, stint.ErrBadArgs},
		{"none if one cannot be encoded", broken{A: func() {}}, stint.ErrBadArgs},
		{"none if one is too large", blobOf(2 << 20), stint.ErrArgsTooLarge},
		{"none if one is there already", note{N: -1}, stint.ErrDuplicate},
		{"none if two of them are equal", note{N: 2}, stint.ErrDuplicate},
	} {
		scenario(t, c.name, func(t *testing.T) {
			q := open(t, nil)
			enqueue(t, q, note{N: -1}, stint.Unique())
			ids, err := q.EnqueueAll(t.Context(), []stint.Args{note{N: 1}, note{N: 2}, note{N: 3}, c.bad, note{N: 4}}, stint.Unique())
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, "args 3 of 5")
			require.Empty(t, ids)
			require.Equal(t, stint.Counts{Ready: 1, Parked: 1}, q.Counts())
			// Nothing of the failed call is in the way of the next.
			ids, err = q.EnqueueAll(t.Context(), []stint.Args{note{N: 1}, note{N: 2}, note{N: 3}, note{N: 4}}, stint.Unique())
			require.NoError(t, err)
			require.Len(t, ids, 4)
		})
	}

	scenario(t, "a failed call does not harm those that share its group", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		var good int
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i := range 40 {
			wg.Go(func() {
				if i%2 == 0 {
					_, err := q.EnqueueAll(context.Background(), []stint.Args{note{N: i}, note{N: i}}, stint.Unique())
					require.ErrorIs(t, err, stint.ErrDuplicate)
					return
				}
				enqueue(t, q, note{N: i})
				mu.Lock()
				defer mu.Unlock()
				good++
			})
		}
		wg.Wait()
		synctest.Wait()
		require.Equal(t, 20, good)
		require.Len(t, seen.ids(), 20)
		require.Zero(t, q.Counts())
	})
}

// numbered yields notes 0 … n-1 and calls at before each.
func numbered(n int, at func(i int)) iter.Seq[stint.Args] {
	return func(yield func(stint.Args) bool) {
		for i := range n {
			if at != nil {
				at(i)
			}
			if !yield(note{N: i}) {
				return
			}
		}
	}
}

func TestEnqueueSeq(t *testing.T) {
	t.Parallel()
	scenario(t, "2500 jobs are three commits, and never more than 1000 are held", func(t *testing.T) {
		q := open(t, nil)
		before := lastTx(q.DB())
		n, err := q.EnqueueSeq(t.Context(), numbered(2500, func(i int) {
			require.Equal(t, i/1000*1000, q.Counts().Ready, "what was yielded before is on disk, but for the group at hand")
		}))
		require.NoError(t, err)
		require.Equal(t, 2500, n)
		require.Equal(t, before+3, lastTx(q.DB()))
		require.Equal(t, 2500, q.Counts().Ready)
		next := 0
		for info, err := range q.Jobs(stint.Filter{OldestFirst: true}) {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf(`{"n":%d}`, next), string(info.Args))
			next++
		}
		require.Equal(t, 2500, next)
	})

	for _, n := range []int{0, 1, 999, 1000, 1001, 2000} {
		scenario(t, fmt.Sprintf("%d jobs", n), func(t *testing.T) {
			q := open(t, nil)
			before := lastTx(q.DB())
			stored, err := q.EnqueueSeq(t.Context(), numbered(n, nil))
			require.NoError(t, err)
			require.Equal(t, n, stored)
			require.Equal(t, n, q.Counts().Ready)
			require.Equal(t, before+(n+999)/1000, lastTx(q.DB()))
		})
	}

	scenario(t, "an error leaves the groups before it", func(t *testing.T) {
		q := open(t, nil)
		var yielded int
		seq := func(yield func(stint.Args) bool) {
			for i := range 5000 {
				var args stint.Args = note{N: i}
				if i == 1500 {
					args = broken{A: func() {}}
				}
				if yielded++; !yield(args) {
					return
				}
			}
		}
		n, err := q.EnqueueSeq(t.Context(), seq)
		require.ErrorIs(t, err, stint.ErrBadArgs)
		require.ErrorContains(t, err, "1000 jobs were stored before")
		require.Equal(t, 1000, n)
		require.Equal(t, 1000, q.Counts().Ready)
		require.LessOrEqual(t, yielded, 2000)
	})

	scenario(t, "no args in the middle", func(t *testing.T) {
		q := open(t, nil)
		n, err := q.EnqueueSeq(t.Context(), slices.Values([]stint.Args{note{}, nil, note{}}))
		require.ErrorIs(t, err, stint.ErrBadArgs)
		require.Zero(t, n)
		require.Zero(t, q.Counts())
	})

	scenario(t, "duplicates are passed over and not counted", func(t *testing.T) {
		q := open(t, nil)
		enqueue(t, q, note{N: 5}, stint.Unique())
		seq := func(yield func(stint.Args) bool) {
			for i := range 1500 {
				if !yield(note{N: i % 700}) {
					return
				}
			}
		}
		n, err := q.EnqueueSeq(t.Context(), seq, stint.Unique())
		require.NoError(t, err)
		require.Equal(t, 699, n)
		require.Equal(t, 700, q.Counts().Ready)
	})

	scenario(t, "a context that ends ends the sequence", func(t *testing.T) {
		q := open(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		last := 0
		n, err := q.EnqueueSeq(ctx, numbered(1_000_000, func(i int) {
			if last = i; i == 1200 {
				cancel()
			}
		}))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 1000, n)
		require.Equal(t, 1000, q.Counts().Ready)
		require.Less(t, last, 2000)
	})

	scenario(t, "a full queue ends the sequence, group by group", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 1500})
		n, err := q.EnqueueSeq(t.Context(), numbered(3000, nil))
		require.ErrorIs(t, err, stint.ErrQueueFull)
		require.Equal(t, 1000, n)
		require.Equal(t, 1000, q.Counts().Ready)
	})
}
