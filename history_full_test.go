package stint_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestHistoryOfAFullFile(t *testing.T) {
	t.Parallel()
	scenario(t, "waits in memory, and jobs come first", func(t *testing.T) {
		q := open(t, &stint.Config{MaxFileSize: 1 << 20})
		n := 0
		for range 50 {
			for {
				_, err := q.Enqueue(t.Context(), other{strings.Repeat("x", 5000)})
				if err != nil {
					require.ErrorIs(t, err, stint.ErrFileFull)
					break
				}
				n++
			}
			time.Sleep(time.Minute)
		}
		d := 0
		got, err := q.History(10*time.Minute, time.Time{})
		require.NoError(t, err)
		for _, p := range got {
			d += int(p.Enqueued)
		}
		require.Equal(t, n, d)
		require.Greater(t, n, 80)
	})

	scenario(t, "is not what a job is refused for", func(t *testing.T) {
		q := open(t, &stint.Config{MaxFileSize: 1 << 20})
		for i := range 60 { // each of which every minute has to tell of
			enqueue(t, q, other{}, stint.OnQueue(fmt.Sprint(strings.Repeat("q", 60), i)))
		}
		big := other{strings.Repeat("x", 5000)}
		var err error
		for n := 0; err == nil; n++ {
			time.Sleep(time.Minute)
			_, err = q.Enqueue(t.Context(), big)
		}
		require.ErrorIs(t, err, stint.ErrFileFull)
		stint.ForgetHistory(q)
		_, err = q.Enqueue(t.Context(), big)
		require.ErrorIs(t, err, stint.ErrFileFull, "without the history there is no room either")
	})
}

func TestHistoryThatIsNotCounted(t *testing.T) {
	t.Parallel()
	scenario(t, "is told, but for the last minutes", func(t *testing.T) {
		q := open(t, nil)
		minutes := func(n int) {
			for range n {
				enqueue(t, q, other{})
				time.Sleep(time.Minute)
			}
		}
		minutes(5)
		require.NoError(t, stint.LowerHistoryWrites(q.DB(), 0))
		got, err := q.History(time.Minute, time.Time{})
		require.ErrorIs(t, err, stint.ErrCorrupt)
		require.Len(t, got, 6)
		minutes(3)
		got, err = q.History(time.Minute, time.Time{})
		require.NoError(t, err, "the next writes are counted again")
		total := 0
		for _, p := range got {
			total += int(p.Enqueued)
		}
		require.Equal(t, 8, total)
	})
}
