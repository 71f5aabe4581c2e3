package stint_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// How long ended jobs are kept.

func TestKeepCompleted(t *testing.T) {
	t.Parallel()
	scenario(t, "not at all by default", func(t *testing.T) {
		q := open(t, nil)
		handle[note](q, nil, nil)
		run(t, q)
		id := enqueue(t, q, note{})
		synctest.Wait()
		gone(t, q, id)
	})

	scenario(t, "for the time asked for, to the microsecond", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: time.Hour})
		handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(time.Minute); return nil }, &stint.Policy{Timeout: -1})
		run(t, q)
		id := enqueue(t, q, note{N: 4}, stint.Tags("a"))
		time.Sleep(time.Minute)
		synctest.Wait()
		info := get(t, q, id)
		require.Equal(t, stint.Completed, info.State)
		require.True(t, time.Now().Equal(info.FinishedAt))
		require.Equal(t, `{"n":4}`, string(info.Args))
		require.Equal(t, []string{"a"}, info.Tags)
		time.Sleep(time.Hour - time.Microsecond)
		require.Equal(t, stint.Completed, get(t, q, id).State)
		time.Sleep(time.Microsecond)
		synctest.Wait()
		gone(t, q, id)
		require.Zero(t, q.Counts())
	})

	scenario(t, "for ever, if negative", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: -1})
		handle[note](q, nil, nil)
		run(t, q)
		id := enqueue(t, q, note{})
		time.Sleep(50 * 365 * 24 * time.Hour)
		require.Equal(t, stint.Completed, get(t, q, id).State)
	})

	scenario(t, "of 2500 that ended together all go, in groups", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: time.Hour})
		handle[note](q, nil, nil)
		run(t, q)
		_, err := q.EnqueueSeq(t.Context(), numbered(2500, nil))
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, 2500, q.Counts().Completed)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, q.Counts())
	})

	scenario(t, "what the Config says after a restart holds for those from before", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, &stint.Config{KeepCompleted: -1})
		handle[note](q, nil, nil)
		run(t, q)
		id := enqueue(t, q, note{})
		time.Sleep(30 * time.Minute)
		require.NoError(t, q.Close())
		q = openAt(t, path, &stint.Config{KeepCompleted: time.Hour})
		run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Completed, get(t, q, id).State)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		gone(t, q, id)
	})
}

func TestDeadSet(t *testing.T) {
	t.Parallel()
	kill := func(t *testing.T, q *stint.Queue, n int) (ids []stint.ID) {
		for range n {
			id := enqueue(t, q, note{})
			require.NoError(t, q.Kill(t.Context(), id, "no"))
			ids = append(ids, id)
			time.Sleep(time.Second)
		}
		return ids
	}

	scenario(t, "bounded by MaxDead, the oldest go first", func(t *testing.T) {
		q := open(t, &stint.Config{MaxDead: 5})
		ids := kill(t, q, 12)
		require.Equal(t, ids[7:], idsOf(list(t, q, stint.Filter{State: stint.Dead, OldestFirst: true})))
		require.Equal(t, stint.Counts{Dead: 5}, q.Counts())
		require.EqualValues(t, 12, q.Stats().Died)
		gone(t, q, ids[0])
	})

	scenario(t, "also when many die in one transaction, in several queues", func(t *testing.T) {
		q := open(t, &stint.Config{MaxDead: 5})
		for i := range 40 {
			enqueue(t, q, note{}, stint.OnQueue([]string{"a", "b", "c"}[i%3]), stint.Tags("all"))
		}
		n, err := q.KillAll(t.Context(), stint.Filter{Tag: "all"}, "no")
		require.NoError(t, err)
		require.Equal(t, 40, n)
		require.Equal(t, stint.Counts{Dead: 5}, q.Counts())
		recount(t, q)
	})

	scenario(t, "also after a restart with a smaller bound", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		kill(t, q, 12)
		require.NoError(t, q.Close())
		q = openAt(t, path, &stint.Config{MaxDead: 5})
		last := kill(t, q, 1)[0]
		require.Equal(t, 5, q.Counts().Dead)
		require.Equal(t, last, list(t, q, stint.Filter{State: stint.Dead})[0].ID)
	})

	scenario(t, "without bound, if negative", func(t *testing.T) {
		q := open(t, &stint.Config{MaxDead: -1, KeepDead: -1})
		run(t, q)
		kill(t, q, 12)
		time.Sleep(200 * 365 * 24 * time.Hour)
		require.Equal(t, 12, q.Counts().Dead)
	})

	scenario(t, "bounded by KeepDead", func(t *testing.T) {
		q := open(t, &stint.Config{KeepDead: time.Hour})
		run(t, q)
		ids := kill(t, q, 3)
		time.Sleep(time.Hour - 3*time.Second - time.Microsecond)
		require.Equal(t, 3, q.Counts().Dead)
		for i := range 3 {
			time.Sleep(time.Microsecond)
			synctest.Wait()
			require.Equal(t, 2-i, q.Counts().Dead)
			gone(t, q, ids[i])
			time.Sleep(time.Second - time.Microsecond)
		}
	})

	scenario(t, "180 days by default", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		kill(t, q, 1)
		time.Sleep(180*24*time.Hour - time.Minute)
		require.Equal(t, 1, q.Counts().Dead)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Zero(t, q.Counts())
	})

	scenario(t, "pruning makes room for nothing that is unfinished", func(t *testing.T) {
		q := open(t, &stint.Config{KeepDead: time.Hour})
		run(t, q)
		id := kill(t, q, 1)[0]
		require.NoError(t, q.Retry(t.Context(), id))
		time.Sleep(24 * time.Hour)
		require.Equal(t, stint.Ready, get(t, q, id).State)
	})
}
