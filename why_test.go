package stint_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// why is what Why says of a job that must be there.
func why(t testing.TB, q *stint.Queue, id stint.ID) []stint.Reason {
	t.Helper()
	reasons, err := q.Why(id)
	require.NoError(t, err)
	for _, r := range reasons {
		require.NotEmpty(t, r.Text)
		require.NotRegexp(t, `\.$|stint:`, r.Text)
	}
	return reasons
}

// causes are those of the reasons alone.
func causes(t testing.TB, q *stint.Queue, id stint.ID) (list []string) {
	t.Helper()
	for _, r := range why(t, q, id) {
		list = append(list, r.Cause)
	}
	return list
}

// only is the single reason of a job.
func only(t testing.TB, q *stint.Queue, id stint.ID, cause string) stint.Reason {
	t.Helper()
	require.Equal(t, []string{cause}, causes(t, q, id))
	return why(t, q, id)[0]
}

// blocks has handlers that wait until they are told to go on, or Run ends.
func blocks(ctx context.Context, _ *stint.Job[note]) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

var endless = &stint.Policy{Timeout: -1}

func TestWhyItsTimeHasNotCome(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) string {
		return time.Now().Add(d).UTC().Format("2006-01-02 15:04:05 UTC")
	}
	scenario(t, "scheduled, and nothing else counts", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{}, stint.In(90*time.Minute), stint.OnQueue("mail"))
		require.NoError(t, q.Pause(t.Context(), "mail", "ana"))
		require.Equal(t, stint.Reason{Cause: "scheduled", Text: "scheduled for " + at(90*time.Minute), Until: time.Now().Add(90 * time.Minute)}, only(t, q, id, "scheduled"))
		debounced := enqueue(t, q, note{N: 1}, stint.Unique(stint.Debounce(time.Minute, time.Hour)))
		require.Equal(t, "scheduled for "+at(time.Minute), only(t, q, debounced, "scheduled").Text)

		time.Sleep(2 * time.Hour)
		require.Equal(t, stint.Scheduled, get(t, q, id).State, "nobody has made it ready")
		require.Equal(t, []string{"not_running", "paused", "no_handler"}, causes(t, q, id), "it is due")
		require.Equal(t, []string{"not_running", "no_handler"}, causes(t, q, debounced))
	})
	scenario(t, "retrying", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return errOops }, hour)
		id := enqueue(t, q, note{})
		few := enqueue(t, q, note{}, stint.MaxAttempts(4))
		run(t, q)
		time.Sleep(2*time.Hour + time.Minute)
		r := only(t, q, id, "retrying")
		require.Equal(t, "the third of 25 attempts failed; the next is due at "+at(59*time.Minute), r.Text)
		require.Equal(t, get(t, q, id).RunAt, r.Until)
		require.Equal(t, "the third of 4 attempts failed; the next is due at "+at(59*time.Minute), only(t, q, few, "retrying").Text)
		time.Sleep(time.Hour)
		require.Empty(t, why(t, q, few), "it is dead")
		time.Sleep(18 * time.Hour)
		require.Contains(t, only(t, q, id, "retrying").Text, "the 22nd of 25 attempts")
	})
	scenario(t, "snoozed", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return stint.Snooze(time.Hour) }, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		require.Equal(t, "its handler has put it off until "+at(time.Hour), only(t, q, id, "snoozed").Text)
	})
	scenario(t, "yielded", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			time.Sleep(9 * time.Second)
			return job.Checkpoint(ctx, 1)
		}, &stint.Policy{Timeout: 10 * time.Second})
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		time.Sleep(9 * time.Second)
		synctest.Wait()
		require.Equal(t, stint.Scheduled, get(t, q, id).State)
		only(t, q, id, "yielded")
		require.NoError(t, q.Cancel(t.Context(), id, "the test"))
	})
	scenario(t, "locked", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue")
		q := openWith(t, path, "a")
		id := enqueue(t, q, secret{"planted-args"})
		later := enqueue(t, q, secret{"planted-args"}, stint.In(time.Hour))
		require.NoError(t, q.Close())
		require.NoError(t, openWith(t, path, "ba").Close())
		q = openWith(t, path, "b")
		require.Equal(t, []string{"not_running", "no_handler", "locked"}, causes(t, q, id))
		handleSecrets(t, q)
		require.Equal(t, []string{"not_running", "locked"}, causes(t, q, id))
		run(t, q)
		synctest.Wait()
		r := only(t, q, id, "locked")
		require.Equal(t, fmt.Sprintf("it is encrypted with the key %s, which is not in Config.Keys; the next look is at %s", stint.KeyName(keyOf("a")[0]), at(5*time.Minute)), r.Text)
		require.Equal(t, get(t, q, id).RunAt, r.Until)
		only(t, q, later, "scheduled")
	})
}

func TestWhySomethingIsWrong(t *testing.T) {
	t.Parallel()
	scenario(t, "not_running, paused, no_handler, and all of them", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{}, stint.OnQueue("mail"))
		require.NoError(t, q.Pause(t.Context(), "mail", "ana"))
		since := time.Now().UTC().Format("2006-01-02 15:04:05 UTC")
		time.Sleep(time.Hour)
		require.Equal(t, []stint.Reason{
			{Cause: "not_running", Text: "no Run works the queue"},
			{Cause: "paused", Text: "queue mail has been paused by ana since " + since},
			{Cause: "no_handler", Text: "no handler for kind note in this process"},
		}, why(t, q, id))
		run(t, q)
		synctest.Wait()
		require.Equal(t, []string{"paused", "no_handler"}, causes(t, q, id))
		require.NoError(t, q.Resume(t.Context(), "mail"))
		only(t, q, id, "no_handler")
		require.NoError(t, q.Pause(t.Context(), "mail", ""))
		stint.Handle(q, blocks, endless)
		require.NotContains(t, only(t, q, id, "paused").Text, " by ")
		require.NoError(t, q.Resume(t.Context(), "mail"))
		synctest.Wait()
		require.Empty(t, why(t, q, id), "it is at work")
	})
	scenario(t, "stopping", func(t *testing.T) {
		for _, closes := range []bool{false, true} {
			q := open(t, &stint.Config{Workers: 1, ShutdownTimeout: time.Minute})
			stint.Handle(q, blocks, endless)
			enqueue(t, q, note{})
			id := enqueue(t, q, note{})
			w := begin(q)
			synctest.Wait()
			only(t, q, id, "workers")
			closed := make(chan error, 1)
			if closes {
				go func() { closed <- q.Close() }()
			} else {
				w.end()
				closed <- nil
			}
			synctest.Wait()
			only(t, q, id, "stopping")
			require.NoError(t, <-w.result)
			require.NoError(t, <-closed)
			w.end()
			if !closes {
				only(t, q, id, "not_running")
			}
		}
	})
	scenario(t, "failed", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		w := begin(q)
		defer w.end()
		id := enqueue(t, q, note{})
		later := enqueue(t, q, note{}, stint.In(time.Hour))
		require.NoError(t, os.Remove(path))
		_, err = q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrFileGone)
		require.ErrorIs(t, <-w.result, stint.ErrFileGone)
		require.Equal(t, []string{"failed", "not_running", "no_handler"}, causes(t, q, id))
		require.Contains(t, why(t, q, id)[0].Text, "the file takes no more writes: the file is not there any more")
		require.Equal(t, []string{"failed", "scheduled"}, causes(t, q, later))
		require.ErrorIs(t, q.Close(), stint.ErrFileGone)
	})
	scenario(t, "no job, and a closed queue", func(t *testing.T) {
		q := open(t, nil)
		_, err := q.Why(7)
		require.ErrorIs(t, err, stint.ErrNotFound)
		id := enqueue(t, q, note{})
		require.NoError(t, q.Kill(t.Context(), id, "no"))
		require.Empty(t, why(t, q, id))
		require.NoError(t, q.Close())
		_, err = q.Why(id)
		require.ErrorIs(t, err, stint.ErrClosed)
	})
}

// Crash suspects; see suspect_test.go for how a crash is made.
func TestWhySuspectsRunAlone(t *testing.T) {
	t.Parallel()
	l, ids := suspicious(t, 3)
	q := l.open(stint.Config{})
	l.begun(1)
	late, err := q.Enqueue(t.Context(), note{N: 9})
	require.NoError(t, err)
	require.Empty(t, why(t, q, ids[0]), "it is at work")
	require.Equal(t, "it was running at 2 crashes of the process, so it runs alone: after job 1, for which that holds too", only(t, q, ids[1], "suspect").Text)
	only(t, q, ids[2], "suspect")
	require.Equal(t, "job 1 runs alone, as it was running when the process crashed", only(t, q, late, "alone").Text)

	// Paused, they hold nobody back, and then wait until nothing runs.
	require.NoError(t, q.Pause(t.Context(), "default", "ana"))
	aside, err := q.Enqueue(t.Context(), note{N: 10}, stint.OnQueue("aside"))
	require.NoError(t, err)
	l.let(ids[0], nil)
	require.Equal(t, []stint.ID{aside}, l.begun(1))
	require.Equal(t, []string{"paused", "suspect"}, causes(t, q, ids[1]))
	require.Equal(t, []string{"paused"}, causes(t, q, late))
	require.NoError(t, q.Resume(t.Context(), "default"))
	require.Equal(t, "it was running at 2 crashes of the process, so it runs alone: once the 1 job at work has ended", only(t, q, ids[1], "suspect").Text)
	require.Contains(t, only(t, q, ids[2], "suspect").Text, "after job 2,")
	require.Equal(t, "job 2 is to run alone first, as it was running when the process crashed", only(t, q, late, "alone").Text)
	for _, id := range []stint.ID{aside, ids[1], ids[2]} {
		l.let(id, nil)
	}
	l.let(late, nil)
	require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 10*time.Second, time.Millisecond)
	q.Close()
}

func TestWhyOthersComeFirst(t *testing.T) {
	t.Parallel()
	scenario(t, "workers, with how many and how long", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 8, ShutdownTimeout: time.Hour})
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(2 * time.Minute); return nil }, endless)
		var ids []stint.ID
		for n := range 200 {
			ids = append(ids, enqueue(t, q, note{N: n}))
		}
		stop := run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Reason{Cause: "workers", Text: "all 8 workers are busy, 41 jobs of its queue come first", Ahead: 41}, only(t, q, ids[49], "workers"), "nothing is known of the pace")
		require.Equal(t, "all 8 workers are busy, it is the next of its queue", only(t, q, ids[8], "workers").Text)
		require.Equal(t, "all 8 workers are busy, 1 job of its queue comes first", only(t, q, ids[9], "workers").Text)
		time.Sleep(20*time.Minute + time.Second)
		require.Equal(t, stint.Running, get(t, q, ids[87]).State)
		r := only(t, q, ids[88+39], "workers")
		require.Equal(t, 39, r.Ahead)
		require.InDelta(t, 10*time.Minute, r.About, float64(time.Minute), "40 times a quarter of a minute")
		require.Equal(t, "all 8 workers are busy, 39 jobs of its queue come first, about 10 min", r.Text)
		require.NoError(t, q.Pause(t.Context(), "default", "the test"))
		require.NoError(t, stop())
	})
	scenario(t, "workers, queue_limit and kind_limit, each and all", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 4, ShutdownTimeout: 1, Queues: map[string]stint.QueueConfig{"mail": {Workers: 1}}})
		stint.Handle(q, blocks, &stint.Policy{Timeout: -1, Concurrency: 2})
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[other]) error { <-ctx.Done(); return context.Cause(ctx) }, endless)
		run(t, q)
		enqueue(t, q, note{}, stint.OnQueue("mail"))
		limited := enqueue(t, q, other{}, stint.OnQueue("mail"))
		synctest.Wait()
		require.Equal(t, "the only worker of queue mail is busy, it is the next of its queue", only(t, q, limited, "queue_limit").Text)
		enqueue(t, q, note{})
		kind := enqueue(t, q, note{})
		synctest.Wait()
		require.Equal(t, "2 jobs of kind note may run at a time and do, it is the next of its queue", only(t, q, kind, "kind_limit").Text)
		enqueue(t, q, other{})
		enqueue(t, q, other{})
		all := enqueue(t, q, note{}, stint.OnQueue("mail"))
		synctest.Wait()
		require.Equal(t, []string{"kind_limit", "queue_limit", "workers"}, causes(t, q, all))
		for _, r := range why(t, q, all) {
			require.Equal(t, 1, r.Ahead, "the other one of mail")
		}
		require.NoError(t, q.SetWorkers(t.Context(), "mail", 2))
		require.Equal(t, []string{"kind_limit", "workers"}, causes(t, q, all))
	})
	scenario(t, "behind and starting, while the commit that claims them is under way", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
			return job.Commit(func(*bolt.Tx) error { time.Sleep(time.Second); return nil })
		}, nil)
		var ids []stint.ID
		for n := range 3 {
			ids = append(ids, enqueue(t, q, note{N: n}))
		}
		enqueue(t, q, other{})
		run(t, q)
		synctest.Wait()
		only(t, q, ids[2], "no_handler")
		handle[note](q, nil, nil)
		require.Equal(t, stint.Reason{Cause: "behind", Text: "2 jobs of its queue come first", Ahead: 2}, only(t, q, ids[2], "behind"))
		only(t, q, ids[0], "starting")
		time.Sleep(2 * time.Second)
		require.Zero(t, q.Counts())
	})
	scenario(t, "starting, once it is claimed", func(t *testing.T) {
		q := open(t, nil)
		var seen []stint.Reason
		handle[note](q, nil, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
			return job.Commit(func(tx *bolt.Tx) error {
				id, err := q.EnqueueTx(tx, note{})
				tx.OnCommit(func() { seen, _ = q.Why(id) })
				return err
			})
		}, nil)
		enqueue(t, q, other{})
		run(t, q)
		synctest.Wait()
		require.Equal(t, []stint.Reason{{Cause: "starting", Text: "it is claimed, and a worker is about to begin it"}}, seen)
	})
}

// Ahead is what a listing would count.
func TestWhyCountsWhoIsAhead(t *testing.T) {
	t.Parallel()
	scenario(t, "after anything that moves jobs", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 2, MaxDead: -1, ShutdownTimeout: 1})
		stint.Handle(q, blocks, endless)
		handle[other](q, nil, nil)
		handle[blob](q, nil, nil)
		for range 2 {
			enqueue(t, q, note{}, stint.OnQueue("b"))
		}
		run(t, q)
		synctest.Wait()
		r := rand.New(rand.NewPCG(1, 2))
		var ids []stint.ID
		for n := range 600 {
			args := []stint.Args{note{n}, other{}, blob{}, named{"parked"}}[r.IntN(4)]
			opts := []stint.Option{stint.Priority(1 + r.IntN(4)), stint.OnQueue([]string{"a", "b", "bb"}[r.IntN(3)])}
			if r.IntN(5) == 0 {
				opts = append(opts, stint.In(time.Duration(r.IntN(90))*time.Minute))
			}
			ids = append(ids, enqueue(t, q, args, opts...))
		}
		ctx := t.Context()
		for range 200 {
			switch id := ids[r.IntN(len(ids))]; r.IntN(3) {
			case 0:
				_ = q.Kill(ctx, id, "chance")
			case 1:
				_ = q.Retry(ctx, id)
			case 2:
				_ = q.Delete(ctx, id)
			}
		}
		time.Sleep(45 * time.Minute)
		synctest.Wait()
		compared := 0
		for _, queue := range []string{"a", "b", "bb"} {
			waiting := list(t, q, stint.Filter{State: stint.Ready, Queue: queue})
			for _, info := range waiting {
				if info.Parked {
					only(t, q, info.ID, "no_handler")
					continue
				}
				before := 0
				for _, o := range waiting {
					if !o.Parked && (o.Priority < info.Priority || o.Priority == info.Priority && o.ID < info.ID) {
						before++
					}
				}
				require.Equal(t, before, only(t, q, info.ID, "workers").Ahead, "job %d", info.ID)
				compared++
			}
		}
		require.Greater(t, compared, 200)
	})
}
