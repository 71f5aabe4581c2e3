package stint_test

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestEqualItems(t *testing.T) {
	t.Parallel()
	long := func(n int) stint.Args { return other{strings.Repeat("x", 300) + fmt.Sprint(n)} }
	for name, item := range map[string]func(int) stint.Args{"short": func(n int) stint.Args { return note{n} }, "long": long} {
		items := func(end int) iter.Seq[stint.Args] {
			return func(yield func(stint.Args) bool) {
				for i := range end {
					yield(item(i / 2)) // each twice
				}
			}
		}
		scenario(t, "with "+name+" args are passed over while one of them is unfinished", func(t *testing.T) {
			q := open(t, nil)
			first := enqueueBatch(t, q, items(100))
			require.Equal(t, []int{50, 50}, []int{batch(t, q, first).Planned, batch(t, q, first).Skipped})
			second := enqueueBatch(t, q, items(120))
			require.Equal(t, []int{10, 110}, []int{batch(t, q, second).Planned, batch(t, q, second).Skipped})
			enqueue(t, q, item(0)) // an ordinary job is no item

			killed, err := q.KillAll(t.Context(), stint.Filter{Batch: first}, "make room")
			require.NoError(t, err)
			require.Equal(t, 50, killed)
			third := enqueueBatch(t, q, items(120))
			require.Equal(t, []int{50, 70}, []int{batch(t, q, third).Planned, batch(t, q, third).Skipped})

			retried, err := q.RetryAll(t.Context(), stint.Filter{Batch: first, State: stint.Dead})
			require.NoError(t, err)
			require.Equal(t, 50, retried, "Retry is a person's will")
			deleted, err := q.DeleteAll(t.Context(), stint.Filter{Batch: first})
			require.NoError(t, err)
			require.Equal(t, 50, deleted)
			fourth := enqueueBatch(t, q, items(120))
			require.Equal(t, []int{0, 120}, []int{batch(t, q, fourth).Planned, batch(t, q, fourth).Skipped})
			require.Equal(t, []int{0, 50}, []int{batch(t, q, first).Dead, batch(t, q, first).Removed})
		})
		scenario(t, "with "+name+" args are stored with Repeat", func(t *testing.T) {
			q := open(t, nil)
			for range 2 {
				id, err := q.EnqueueBatch(t.Context(), items(100), &stint.BatchPolicy{Repeat: true})
				require.NoError(t, err)
				require.Equal(t, []int{100, 0}, []int{batch(t, q, id).Planned, batch(t, q, id).Skipped})
			}
		})
	}
	scenario(t, "so are those whose Unique place is taken", func(t *testing.T) {
		q := open(t, nil)
		id, err := q.EnqueueBatch(t.Context(), between(0, 100), &stint.BatchPolicy{Options: []stint.Option{stint.Unique(stint.ByKey("one"))}})
		require.NoError(t, err)
		require.Equal(t, []int{1, 99}, []int{batch(t, q, id).Planned, batch(t, q, id).Skipped})
	})
	scenario(t, "a retried item bars equal ones again", func(t *testing.T) {
		q := open(t, nil)
		first := enqueueBatch(t, q, between(0, 1))
		_, err := q.KillAll(t.Context(), stint.Filter{Batch: first}, "")
		require.NoError(t, err)
		_, err = q.RetryAll(t.Context(), stint.Filter{Batch: first})
		require.NoError(t, err)
		require.Equal(t, 1, batch(t, q, enqueueBatch(t, q, between(0, 1))).Skipped)
	})
}

// Items that are finished bar equal ones until their batch is stored.
func TestFinishedItemsAreForgotten(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		path := t.TempDir() + "/queue.db"
		q := openAt(t, path, nil)
		id := enqueueBatch(t, q, func(yield func(stint.Args) bool) {
			for args := range between(0, 2000) {
				yield(args)
			}
			synctest.Wait()
			killed, err := q.KillAll(t.Context(), stint.Filter{State: stint.Ready}, "")
			require.NoError(t, err)
			require.Equal(t, 2000, killed)
			for args := range between(500, 2500) {
				yield(args)
			}
		})
		require.Equal(t, []int{2500, 1500}, []int{batch(t, q, id).Planned, batch(t, q, id).Skipped})
		require.Equal(t, 2500, stint.StoredItems(q.DB()))
		require.NoError(t, q.Close())

		q = openAt(t, path, nil) // as Run has not been called, it is left to the next process
		run(t, q)
		synctest.Wait()
		require.Equal(t, 500, stint.StoredItems(q.DB()), "those that are unfinished")
	})
}

func TestJobsOfABatch(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		id := enqueueBatch(t, q, notesThen(1500, func(yield func(stint.Args) bool) {
			enqueue(t, q, other{}) // between its ranges
			enqueue(t, q, other{})
			for args := range between(2000, 3500) {
				yield(args)
			}
		}))
		enqueueBatch(t, q, between(5000, 5100))
		list := func(f stint.Filter) (ids []stint.ID) {
			f.Batch = id
			for info, err := range q.Jobs(f) {
				require.NoError(t, err)
				require.Equal(t, id, info.BatchID)
				ids = append(ids, info.ID)
			}
			return ids
		}
		want := list(stint.Filter{OldestFirst: true})
		require.Len(t, want, 3000)
		require.True(t, slices.IsSorted(want))
		for _, i := range []int{5, 999, 1000, 1001, 2999} {
			require.NoError(t, q.Delete(t.Context(), want[i]))
		}
		want = slices.DeleteFunc(want, func(id stint.ID) bool { _, err := q.Get(id); return err != nil })
		require.Equal(t, want, list(stint.Filter{OldestFirst: true, State: stint.Ready}))
		slices.Reverse(want)
		require.Equal(t, want, list(stint.Filter{}))

		var paged []stint.ID
		for f := (stint.Filter{Batch: id, Limit: 700}); ; {
			before := len(paged)
			for info := range q.Jobs(f) {
				paged, f.After = append(paged, info.ID), info.Cursor
			}
			if len(paged) == before {
				break
			}
		}
		require.Equal(t, want, paged)
		require.NoError(t, q.Kill(t.Context(), want[10], ""))
		require.Equal(t, want[10:11], list(stint.Filter{State: stint.Dead}))
		require.Empty(t, list(stint.Filter{State: stint.Running}))
	})
}
