package stint_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// actions is the whole log.
func actions(t testing.TB, q *stint.Queue) (all []stint.Action) {
	t.Helper()
	for a, err := range q.Actions() {
		require.NoError(t, err)
		all = append(all, a)
	}
	return all
}

func TestLogAction(t *testing.T) {
	t.Parallel()
	scenario(t, "is listed newest first, also by the next process", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		require.Empty(t, actions(t, q))
		begin := time.Now()
		require.NoError(t, q.LogAction(t.Context(), stint.Action{At: begin.Add(-time.Hour), By: "Eve", Verb: "retry", Target: "job 42", Note: "why not"}))
		time.Sleep(time.Minute)
		require.NoError(t, q.LogAction(t.Context(), stint.Action{}))
		want := []stint.Action{{At: begin.Add(time.Minute)}, {At: begin, By: "Eve", Verb: "retry", Target: "job 42", Note: "why not"}}
		require.Equal(t, want, actions(t, q))
		require.NoError(t, q.Close())
		check(t, path)
		q = openAt(t, path, nil)
		require.Equal(t, want, actions(t, q))
	})

	scenario(t, "cuts long texts and mends wild ones", func(t *testing.T) {
		q := open(t, nil)
		long := strings.Repeat("ü", 2000)
		require.NoError(t, q.LogAction(t.Context(), stint.Action{By: long, Verb: long, Target: long, Note: "a\xffb"}))
		a := actions(t, q)[0]
		require.Equal(t, long[:1000], a.By)
		require.Equal(t, []string{a.By, a.By, "a\uFFFDb"}, []string{a.Verb, a.Target, a.Note})
	})

	scenario(t, "keeps the last 1000", func(t *testing.T) {
		q := open(t, nil)
		for i := range 1105 {
			require.NoError(t, q.LogAction(t.Context(), stint.Action{Note: fmt.Sprint(i)}))
		}
		all := actions(t, q)
		require.Len(t, all, 1000)
		for i, a := range all {
			require.Equal(t, fmt.Sprint(1104-i), a.Note)
		}
	})

	scenario(t, "a listing goes on while the log does", func(t *testing.T) {
		q := open(t, nil)
		for i := range 1000 {
			require.NoError(t, q.LogAction(t.Context(), stint.Action{Note: fmt.Sprint(i)}))
		}
		next := 999
		for a, err := range q.Actions() {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(next), a.Note)
			next--
			if next > 500 {
				require.NoError(t, q.LogAction(t.Context(), stint.Action{Note: "new"}))
			}
		}
		require.Equal(t, 498-1, next, "498 new ones have pushed out as many")
	})

	scenario(t, "refuses when the queue is closed or nobody waits", func(t *testing.T) {
		q := open(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, q.LogAction(ctx, stint.Action{}), context.Canceled)
		require.Empty(t, actions(t, q))
		require.NoError(t, q.Close())
		require.ErrorIs(t, q.LogAction(t.Context(), stint.Action{}), stint.ErrClosed)
		for _, err := range q.Actions() {
			require.ErrorIs(t, err, stint.ErrClosed)
		}
	})

	scenario(t, "is readable in an encrypted file, and survives Compact", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openWith(t, path, "a")
		require.NoError(t, q.LogAction(t.Context(), stint.Action{Note: "planted-action"}))
		require.NoError(t, q.Compact(t.Context(), nil))
		require.Equal(t, "planted-action", actions(t, q)[0].Note)
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Contains(raw, []byte("planted-action")))
	})
}

func TestLogActionByMany(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				if err := q.LogAction(context.Background(), stint.Action{By: fmt.Sprint(i), Note: fmt.Sprint(n)}); err != nil {
					t.Error(err)
				}
				for _, err := range q.Actions() {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	last := map[string]int{}
	for _, a := range actions(t, q) {
		last[a.By]++
		require.Equal(t, fmt.Sprint(50-last[a.By]), a.Note)
	}
	require.Len(t, last, 8)
}

// Damage to the log costs the entry that it meets, and no other.
func TestDamagedActionLog(t *testing.T) {
	t.Parallel()
	scenario(t, "is passed over, named by Check, and taken away by Repair", func(t *testing.T) {
		q := open(t, nil)
		for i := range 5 {
			require.NoError(t, q.LogAction(t.Context(), stint.Action{Note: fmt.Sprint(i)}))
		}
		require.NoError(t, stint.SpoilActions(q.DB()))
		notes := func() (all string) {
			for _, a := range actions(t, q) {
				all += a.Note
			}
			return all
		}
		require.Equal(t, "4320", notes())
		faults, err := q.Check(t.Context())
		require.NoError(t, err)
		require.Len(t, faults, 3, "a flipped bit, another format, a strange key")
		for _, f := range faults {
			require.Contains(t, f.Text, "action log")
			require.True(t, f.Repairable)
		}
		require.NoError(t, q.LogAction(t.Context(), stint.Action{Note: "5"}))
		require.Contains(t, notes(), "43")
		require.Contains(t, notes(), "5")
		faults, err = q.Repair(t.Context())
		require.NoError(t, err)
		require.Len(t, faults, 3)
		for _, f := range faults {
			require.True(t, f.Repaired, "%+v", f)
		}
		require.NoError(t, q.LogAction(t.Context(), stint.Action{Note: "6"}))
		require.Len(t, notes(), 6)
		sound(t, q)
	})
}
