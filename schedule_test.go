package stint_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// When a job runs, and in which order.

func TestDelay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		opts func() []stint.Option
		want time.Duration
	}{
		{"In", func() []stint.Option { return []stint.Option{stint.In(7 * time.Minute)} }, 7 * time.Minute},
		{"At", func() []stint.Option { return []stint.Option{stint.At(time.Now().Add(49 * time.Hour))} }, 49 * time.Hour},
		{"At in another time zone", func() []stint.Option {
			return []stint.Option{stint.At(time.Now().Add(time.Hour).In(time.FixedZone("", 9*3600)))}
		}, time.Hour},
		{"a microsecond", func() []stint.Option { return []stint.Option{stint.In(time.Microsecond)} }, time.Microsecond},
		{"a nanosecond, rounded up so that nothing is early", func() []stint.Option { return []stint.Option{stint.In(1)} }, time.Microsecond},
		{"a hundred years", func() []stint.Option { return []stint.Option{stint.In(100 * 365 * 24 * time.Hour)} }, 100 * 365 * 24 * time.Hour},
		{"In(0) is at once", func() []stint.Option { return []stint.Option{stint.In(0)} }, 0},
		{"a negative In is at once", func() []stint.Option { return []stint.Option{stint.In(-time.Hour)} }, 0},
		{"At in the past is at once", func() []stint.Option { return []stint.Option{stint.At(time.Now().Add(-time.Hour))} }, 0},
		{"At now is at once", func() []stint.Option { return []stint.Option{stint.At(time.Now())} }, 0},
		{"At before 1970 is at once", func() []stint.Option { return []stint.Option{stint.At(time.Date(1815, 12, 10, 0, 0, 0, 0, time.UTC))} }, 0},
		{"At the zero time is at once", func() []stint.Option { return []stint.Option{stint.At(time.Time{})} }, 0},
		{"the last option holds", func() []stint.Option { return []stint.Option{stint.In(time.Hour), stint.In(time.Minute)} }, time.Minute},
		{"In(0) undoes At", func() []stint.Option { return []stint.Option{stint.At(time.Now().Add(time.Hour)), stint.In(0)} }, 0},
	} {
		scenario(t, c.name, func(t *testing.T) {
			q := open(t, nil)
			seen := handle[note](q, nil, nil)
			run(t, q)
			begin := time.Now()
			id := enqueue(t, q, note{}, c.opts()...)
			if c.want > 0 {
				info := get(t, q, id)
				require.Equal(t, stint.Scheduled, info.State)
				require.True(t, begin.Add(c.want).Equal(info.RunAt), "%v", info.RunAt)
				require.Equal(t, stint.Counts{Scheduled: 1}, q.Counts())
			}
			time.Sleep(c.want + time.Nanosecond)
			synctest.Wait()
			require.Equal(t, c.want, seen.at(t, id).Sub(begin))
		})
	}

	scenario(t, "the end of time is never reached, and nothing overflows", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		for _, at := range []time.Time{
			time.Now().Add(math.MaxInt64), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Unix(1<<60, 0), time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC),
		} {
			id := enqueue(t, q, note{}, stint.At(at))
			time.Sleep(time.Hour)
			info := get(t, q, id)
			require.Equal(t, stint.Scheduled, info.State, "%v", at)
			_, err := info.RunAt.MarshalJSON()
			require.NoError(t, err, "a page may show it")
		}
		require.Empty(t, seen.ids())
	})

	scenario(t, "all that became due while nobody worked run", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		var want []stint.ID
		for i := range 1200 {
			want = append(want, enqueue(t, q, note{}, stint.In(time.Hour-time.Duration(i)*time.Second)))
		}
		require.NoError(t, q.Close())
		time.Sleep(2 * time.Hour)
		q = openAt(t, path, &stint.Config{Workers: 1})
		seen := handle[note](q, nil, nil)
		run(t, q)
		synctest.Wait()
		require.Len(t, seen.ids(), 1200)
		require.ElementsMatch(t, want, seen.ids())
		require.Zero(t, q.Counts())
	})

	scenario(t, "many due at different times each run at theirs", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		begin := time.Now()
		due := map[stint.ID]time.Duration{}
		for i := range 100 {
			in := time.Duration(i*37%100+1) * time.Second
			due[enqueue(t, q, note{}, stint.In(in))] = in
		}
		time.Sleep(101 * time.Second)
		for id, in := range due {
			require.Equal(t, in, seen.at(t, id).Sub(begin))
		}
	})

	scenario(t, "a commit that fails does not let a due job be forgotten", func(t *testing.T) {
		q := open(t, &stint.Config{MaxFileSize: 256 << 10})
		seen := handle[note](q, nil, nil)
		run(t, q)
		const n = 60
		for i := range n {
			enqueue(t, q, note{}, stint.In(time.Duration(i+1)*time.Second))
		}
		for i := range n {
			time.Sleep(time.Second)
			// Often in one group with the job that becomes due now.
			_, err := q.Enqueue(t.Context(), blobOf(300_000))
			require.ErrorIs(t, err, stint.ErrFileFull)
			synctest.Wait()
			require.Len(t, seen.ids(), i+1)
		}
	})
}

func TestOrder(t *testing.T) {
	t.Parallel()
	scenario(t, "by priority, then by id", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		seen := handle[note](q, nil, nil)
		others := handle(q, func(_ context.Context, job *stint.Job[other]) error { seen.note(job.ID); return nil }, nil)
		byPriority := map[int][]stint.ID{}
		for i := range 60 {
			p := 1 + i*7%4
			var args stint.Args = note{N: i}
			if i%3 == 0 {
				args = other{S: fmt.Sprint(i)}
			}
			byPriority[p] = append(byPriority[p], enqueue(t, q, args, stint.Priority(p)))
		}
		run(t, q)
		synctest.Wait()
		var want []stint.ID
		for p := 1; p <= 4; p++ {
			want = append(want, byPriority[p]...)
		}
		require.Equal(t, want, seen.ids())
		require.Len(t, others.ids(), 20)
	})

	scenario(t, "a backlog larger than the window in memory", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		seen := handle[note](q, nil, nil)
		n, err := q.EnqueueSeq(t.Context(), numbered(2500, nil))
		require.NoError(t, err)
		require.Equal(t, 2500, n)
		run(t, q)
		synctest.Wait()
		got := seen.ids()
		require.Len(t, got, 2500)
		require.IsIncreasing(t, got)
	})

	// The front of a lane is in memory once a job of it has run.
	front := func(t *testing.T, q *stint.Queue, n int) (seen *starts, ids []stint.ID) {
		t.Helper()
		seen = handle[note](q, nil, nil)
		run(t, q)
		ids = append(ids, enqueue(t, q, note{}))
		synctest.Wait()
		require.NoError(t, q.Pause(t.Context(), "default", "me"))
		for range n {
			ids = append(ids, enqueue(t, q, note{}))
		}
		return seen, ids
	}

	scenario(t, "deleted jobs at the front hold nothing up", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 3})
		seen, ids := front(t, q, 20)
		for _, id := range ids[1:16] {
			require.NoError(t, q.Delete(t.Context(), id))
		}
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Second)
		require.ElementsMatch(t, append(ids[16:], ids[0]), seen.ids())
	})

	scenario(t, "nor do dead ones, and those that came back run once", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 2})
		seen, ids := front(t, q, 12)
		for _, id := range ids[1:12] {
			require.NoError(t, q.Kill(t.Context(), id, "not wanted"))
		}
		require.NoError(t, q.Retry(t.Context(), ids[3]))
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Second)
		require.ElementsMatch(t, []stint.ID{ids[0], ids[3], ids[12]}, seen.ids())
		require.Equal(t, stint.Counts{Dead: 10}, q.Counts())
	})

	scenario(t, "a job that was retried to the front runs before its juniors", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		seen, ids := front(t, q, 5)
		require.NoError(t, q.Kill(t.Context(), ids[2], "not now"))
		late := enqueue(t, q, note{}, stint.In(time.Minute))
		last := enqueue(t, q, note{})
		time.Sleep(time.Hour)
		require.NoError(t, q.Retry(t.Context(), ids[2]))
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Second)
		require.Equal(t, append(ids, late, last), seen.ids())
	})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	dies := func(t *testing.T, q *stint.Queue, id stint.ID, at time.Time) {
		t.Helper()
		info := get(t, q, id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "expired: it had not started by "+at.UTC().Format(time.RFC3339), info.Reason)
		require.True(t, at.Equal(info.FinishedAt), "%v", info.FinishedAt)
		require.True(t, at.Equal(info.ExpiresAt))
		require.Empty(t, info.Attempts)
	}

	scenario(t, "a job nobody can run dies at its time", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		at := time.Now().Add(time.Minute)
		id := enqueue(t, q, note{}, stint.ExpiresIn(time.Minute))
		time.Sleep(time.Minute - 1)
		require.Equal(t, stint.Ready, get(t, q, id).State)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		dies(t, q, id, at)
		require.Equal(t, stint.Counts{Dead: 1}, q.Counts())
	})

	scenario(t, "also in a paused queue", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		require.NoError(t, q.Pause(t.Context(), "default", "me"))
		at := time.Now().Add(time.Minute)
		id := enqueue(t, q, note{}, stint.ExpiresIn(time.Minute))
		time.Sleep(2 * time.Minute)
		dies(t, q, id, at)
		require.NoError(t, q.Resume(t.Context(), "default"))
		time.Sleep(time.Minute)
		require.Empty(t, seen.ids())
	})

	scenario(t, "also one that is scheduled for later", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		at := time.Now().Add(time.Hour)
		id := enqueue(t, q, note{}, stint.In(2*time.Hour), stint.ExpiresIn(time.Hour))
		time.Sleep(3 * time.Hour)
		dies(t, q, id, at)
		require.Empty(t, seen.ids())
	})

	scenario(t, "also one that was claimed ahead for a worker who is not yet free", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 1})
		seen := handle(q, func(_ context.Context, job *stint.Job[note]) error {
			time.Sleep(time.Duration(job.Args.N) * time.Hour)
			return nil
		}, &stint.Policy{Timeout: -1})
		enqueue(t, q, note{N: 0})
		enqueue(t, q, note{N: 1})
		at := time.Now().Add(time.Minute)
		id := enqueue(t, q, note{}, stint.ExpiresIn(time.Minute))
		run(t, q)
		time.Sleep(time.Minute + time.Second)
		dies(t, q, id, at)
		time.Sleep(2 * time.Hour)
		require.Len(t, seen.ids(), 2)
	})

	scenario(t, "not one that has started", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: time.Hour})
		handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(20 * time.Second); return nil }, nil)
		run(t, q)
		id := enqueue(t, q, note{}, stint.ExpiresIn(time.Second))
		time.Sleep(time.Minute)
		require.Equal(t, stint.Completed, get(t, q, id).State)
	})

	scenario(t, "not one that has failed or snoozed and waits to run again", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: 24 * time.Hour})
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if job.Attempt == 1 {
				return errors.New("not yet")
			}
			return nil
		}, hour)
		snoozed := false
		handle(q, func(context.Context, *stint.Job[other]) error {
			if !snoozed {
				snoozed = true
				return stint.Snooze(time.Hour)
			}
			return nil
		}, nil)
		run(t, q)
		failed := enqueue(t, q, note{}, stint.ExpiresIn(time.Minute))
		snooze := enqueue(t, q, other{}, stint.ExpiresIn(time.Minute))
		time.Sleep(30 * time.Minute)
		require.Equal(t, stint.Retrying, get(t, q, failed).State)
		require.Equal(t, stint.Scheduled, get(t, q, snooze).State)
		time.Sleep(time.Hour)
		require.Equal(t, stint.Completed, get(t, q, failed).State)
		require.Equal(t, stint.Completed, get(t, q, snooze).State)
	})

	scenario(t, "not one that ran in time", func(t *testing.T) {
		q := open(t, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		id := enqueue(t, q, note{}, stint.In(time.Minute), stint.ExpiresIn(time.Hour))
		time.Sleep(2 * time.Hour)
		require.Equal(t, []stint.ID{id}, seen.ids())
		require.Zero(t, q.Counts())
	})

	scenario(t, "of 2500 that expired while nobody worked none runs", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		_, err := q.EnqueueSeq(t.Context(), numbered(2500, nil), stint.ExpiresIn(time.Minute))
		require.NoError(t, err)
		fresh := enqueue(t, q, note{N: -1}, stint.ExpiresIn(3*time.Hour))
		require.NoError(t, q.Close())
		time.Sleep(2 * time.Hour)
		q = openAt(t, path, nil)
		seen := handle[note](q, nil, nil)
		run(t, q)
		synctest.Wait()
		require.Equal(t, []stint.ID{fresh}, seen.ids())
		require.Equal(t, stint.Counts{Dead: 2500}, q.Counts())
	})

	scenario(t, "an expired job can be retried, and then runs however late", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		id := enqueue(t, q, note{}, stint.ExpiresIn(time.Minute))
		time.Sleep(time.Hour)
		require.Equal(t, stint.Dead, get(t, q, id).State)
		require.NoError(t, q.Retry(t.Context(), id))
		time.Sleep(time.Hour)
		info := get(t, q, id)
		require.Equal(t, stint.Ready, info.State)
		require.Empty(t, info.Reason)
		require.True(t, info.ExpiresAt.IsZero())
		seen := handle[note](q, nil, nil)
		time.Sleep(time.Second)
		require.Equal(t, []stint.ID{id}, seen.ids())
	})
}
