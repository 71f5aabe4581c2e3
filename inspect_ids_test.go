package stint_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// Jobs that are listed, and acted on, by their ids.

func TestFilterByIDs(t *testing.T) {
	t.Parallel()
	scenario(t, "lists them in their order, as far as they are there and match", func(t *testing.T) {
		q := open(t, nil)
		var ids []stint.ID
		for i := range 10 {
			ids = append(ids, enqueue(t, q, note{N: i}, stint.Tags([]string{"even", "odd"}[i%2])))
		}
		later := enqueue(t, q, other{}, stint.In(time.Hour), stint.OnQueue("mail"))
		mixed := []stint.ID{ids[3], 1 << 40, later, ids[8], 0, ids[1], ids[3]}
		for _, oldest := range []bool{false, true} {
			listed := func(f stint.Filter) []stint.ID {
				f.OldestFirst = oldest
				return idsOf(list(t, q, f))
			}
			require.Equal(t, []stint.ID{ids[3], later, ids[8], ids[1], ids[3]}, listed(stint.Filter{IDs: mixed}))
			require.Equal(t, []stint.ID{ids[3], ids[1], ids[3]}, listed(stint.Filter{IDs: mixed, Tag: "odd"}))
			require.Equal(t, []stint.ID{later}, listed(stint.Filter{IDs: mixed, State: stint.Scheduled}))
			require.Equal(t, []stint.ID{later}, listed(stint.Filter{IDs: mixed, Kind: "other", Queue: "mail"}))
			require.Empty(t, listed(stint.Filter{IDs: mixed, Batch: 7}))
			require.Empty(t, listed(stint.Filter{IDs: mixed, State: stint.Dead}))
			require.Equal(t, []stint.ID{ids[3], later}, listed(stint.Filter{IDs: mixed, Limit: 2}))
			require.Empty(t, listed(stint.Filter{IDs: []stint.ID{}}))
			require.Len(t, listed(stint.Filter{}), 11)
		}
	})

	scenario(t, "goes on behind a cursor, also over many pages", func(t *testing.T) {
		q := open(t, nil)
		_, err := q.EnqueueSeq(t.Context(), numbered(2500, nil))
		require.NoError(t, err)
		ids := idsOf(list(t, q, stint.Filter{}))
		for i := 0; i < len(ids); i += 3 { // some that are not there
			ids[i] += 1 << 30
		}
		want := slices.DeleteFunc(slices.Clone(ids), func(id stint.ID) bool { return id > 1<<30 })
		require.Equal(t, want, idsOf(list(t, q, stint.Filter{IDs: ids})))
		var got []stint.ID
		for f := (stint.Filter{IDs: ids, Limit: 333, State: stint.Ready}); ; {
			page := list(t, q, f)
			if got = append(got, idsOf(page)...); len(page) < 333 {
				break
			}
			f.After = page[332].Cursor
		}
		require.Equal(t, want, got)
		absent := make([]stint.ID, 10_000)
		absent[9_999] = want[0]
		require.Equal(t, want[:1], idsOf(list(t, q, stint.Filter{IDs: absent})))
	})

	scenario(t, "refuses too many, and cursors of other listings", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{}, stint.In(time.Hour))
		due := list(t, q, stint.Filter{State: stint.Scheduled})[0].Cursor
		for _, f := range []stint.Filter{
			{IDs: make([]stint.ID, 10_001)}, {IDs: []stint.ID{id}, State: stint.Scheduled, After: due}, {IDs: []stint.ID{id}, State: 9}, {IDs: []stint.ID{id}, After: "x"},
		} {
			for _, err := range q.Jobs(f) {
				require.ErrorIs(t, err, stint.ErrBadFilter)
			}
			n, err := q.DeleteAll(t.Context(), f)
			require.ErrorIs(t, err, stint.ErrBadFilter)
			require.Zero(t, n)
		}
		require.Empty(t, list(t, q, stint.Filter{IDs: []stint.ID{id}, After: "ffffffffffffffff"}))
		require.Equal(t, 1, q.Counts().Scheduled)
	})

	for _, verb := range verbs {
		scenario(t, verb.name+"All of some ids", func(t *testing.T) {
			q, ids := oneOfEach(t)
			var of []stint.ID
			want := 0
			for s, id := range ids {
				of = append(of, id)
				if verb.to[s] != s || s == stint.Running && verb.errs[s] == nil {
					want++
				}
			}
			n, err := verb.all(q, stint.Filter{IDs: []stint.ID{}})
			require.NoError(t, err, "none is some")
			require.Zero(t, n)
			n, err = verb.all(q, stint.Filter{IDs: append(of, of...)})
			require.NoError(t, err)
			if stop := verb.to[stint.Running] == stint.Dead; stop {
				want++ // a running job can be told twice
			}
			require.Equal(t, want, n)
			synctest.Wait()
			for s, id := range ids {
				if verb.to[s] == removed {
					gone(t, q, id)
				} else {
					require.Equal(t, verb.to[s], get(t, q, id).State)
				}
			}
			recount(t, q)
		})
	}
}
