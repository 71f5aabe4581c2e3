package stinttest_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/stinttest"
)

// diary collects the mails that were sent, from any goroutine.
type diary struct {
	mu   sync.Mutex
	sent []string
}

func (d *diary) send(m mail) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent = append(d.sent, m.To)
	return nil
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.sent)
}

func TestWork(t *testing.T) {
	t.Parallel()
	t.Run("one job at a time, in the order of Run", func(t *testing.T) {
		t.Parallel()
		q, d := stinttest.New(t, nil), diary{}
		handle(q, d.send, nil)
		enqueue(t, q, mail{"ana"})
		enqueue(t, q, mail{"eva"})
		enqueue(t, q, mail{"first"}, stint.Priority(1))
		for i, want := range []string{"first", "ana", "eva"} {
			info := stinttest.Work(t, q)
			require.Equal(t, stint.Completed, info.State)
			require.False(t, info.FinishedAt.IsZero())
			require.JSONEq(t, `{"to":"`+want+`"}`, string(info.Args))
			require.Len(t, d.read(), i+1)
			require.Equal(t, 2-i, q.Counts().Ready)
		}
		require.Equal(t, []string{"first", "ana", "eva"}, d.read())
	})
	t.Run("says how a job ended", func(t *testing.T) {
		t.Parallel()
		deaths := 0
		q := stinttest.New(t, &stint.Config{OnDeath: func(stint.Info) { deaths++ }})
		outcome := error(nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[mail]) error {
			job.Logger().Info("sending", "to", job.Args.To)
			return outcome
		}, nil)
		enqueue(t, q, mail{"ana"})

		outcome = stint.Snooze(time.Hour)
		info := stinttest.Work(t, q)
		require.Equal(t, stint.Scheduled, info.State)
		require.Equal(t, 1, info.Snoozes)

		require.NoError(t, q.Retry(t.Context(), info.ID))
		outcome = errDown
		info = stinttest.Work(t, q)
		require.Equal(t, stint.Retrying, info.State)
		require.Equal(t, "smtp is down", info.Attempts[0].Error)
		require.Contains(t, info.Attempts[0].Log, "sending to=ana")

		require.NoError(t, q.Retry(t.Context(), info.ID))
		outcome = stint.Kill(errDown)
		info = stinttest.Work(t, q)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "smtp is down", info.Reason)
		require.Equal(t, 1, deaths, "OnDeath has been called")

		require.NoError(t, q.Retry(t.Context(), info.ID))
		outcome = nil
		info = stinttest.Work(t, q)
		require.Equal(t, stint.Completed, info.State)
		require.Contains(t, info.Log, "sending to=ana", "though it is not kept")
	})
	t.Run("an attempt that is due at once is another call", func(t *testing.T) {
		t.Parallel()
		q, calls := stinttest.New(t, nil), 0
		handle(q, func(mail) error { calls++; return errDown }, &stint.Policy{Backoff: stint.Constant(0), MaxAttempts: 3})
		enqueue(t, q, mail{"ana"})
		for want := 1; want <= 3; want++ {
			info := stinttest.Work(t, q)
			require.Equal(t, want, calls)
			require.Equal(t, want, info.Failures)
		}
		require.Equal(t, 1, q.Counts().Dead)
	})
	t.Run("what a handler enqueues is not worked", func(t *testing.T) {
		t.Parallel()
		q := stinttest.New(t, nil)
		handle(q, func(r report) error {
			_, err := q.Enqueue(context.Background(), mail{"eva"})
			return err
		}, nil)
		handle(q, func(mail) error { return nil }, nil)
		enqueue(t, q, report{1})
		require.Equal(t, "report", stinttest.Work(t, q).Kind)
		stinttest.RequireEnqueued[mail](t, q)
	})
	t.Run("fails and says why if no job is ready", func(t *testing.T) {
		t.Parallel()
		q := stinttest.New(t, nil)
		handle(q, func(mail) error { return nil }, nil)
		enqueue(t, q, report{1})
		enqueue(t, q, mail{"ana"}, stint.In(time.Hour))
		r := record(t, func(t testing.TB) { stinttest.Work(t, q) })
		require.Contains(t, r.errors.String(), "stinttest: no job is ready; the queue has these jobs:\n\tjob 1  report {\"N\":1}  ready, but its kind has no handler")
		require.Contains(t, r.errors.String(), `job 2  mail {"to":"ana"}  scheduled for another `)
		require.NoError(t, q.Close())
		r = record(t, func(t testing.TB) { stinttest.Work(t, q) })
		require.Contains(t, r.errors.String(), "stinttest: working the queue: stint: the queue is closed")
	})
	t.Run("one crash suspect at a time", func(t *testing.T) {
		t.Parallel()
		q := stinttest.New(t, &stint.Config{Workers: 2})
		enqueue(t, q, mail{"ana"})
		enqueue(t, q, mail{"eva"})
		for range 2 {
			q = crashed(t, q)
		}
		d := diary{}
		handle(q, d.send, nil)
		require.Equal(t, 2, stinttest.Work(t, q).Crashes)
		require.Equal(t, []string{"ana"}, d.read())
		require.Equal(t, 1, q.Counts().Ready)
		stinttest.Work(t, q)
		require.Equal(t, []string{"ana", "eva"}, d.read())
	})
}

// crashed is the queue as a process leaves it that dies while it runs two
// jobs.
func crashed(t *testing.T, q *stint.Queue) *stint.Queue {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crashed.db")
	var both sync.WaitGroup
	both.Add(2)
	saved := make(chan struct{})
	stint.Handle(q, func(ctx context.Context, job *stint.Job[mail]) error {
		both.Done()
		both.Wait()
		if job.Args.To != "ana" {
			<-saved // so that it runs in the backup too
			return nil
		}
		defer close(saved)
		f, err := os.Create(path)
		require.NoError(t, err)
		_, err = q.Backup(ctx, f)
		require.NoError(t, err)
		return f.Close()
	}, nil)
	require.Equal(t, 2, stinttest.Drain(t, q))
	q, err := stint.Open(path, &stint.Config{Workers: 2})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, q.Close()) })
	return q
}

func TestDrain(t *testing.T) {
	t.Parallel()
	t.Run("works what jobs and deaths enqueue, and waits for nothing", func(t *testing.T) {
		t.Parallel()
		var q *stint.Queue
		d := diary{}
		q = stinttest.New(t, &stint.Config{OnDeath: func(info stint.Info) {
			_, err := q.Enqueue(context.Background(), mail{"about " + info.ID.String()})
			require.NoError(t, err)
		}})
		handle(q, d.send, nil)
		handle(q, func(r report) error {
			if r.N == 0 {
				return stint.Kill(errDown)
			}
			_, err := q.Enqueue(context.Background(), report{r.N - 1})
			return err
		}, nil)
		require.Zero(t, stinttest.Drain(t, q))
		enqueue(t, q, report{3})
		enqueue(t, q, mail{"later"}, stint.In(time.Hour))
		require.Equal(t, 5, stinttest.Drain(t, q), "3, 2, 1, 0 and the mail about the death")
		require.Equal(t, []string{"about 5"}, d.read())
		require.Equal(t, stint.Counts{Scheduled: 1, Dead: 1}, q.Counts())
	})
	t.Run("counts attempts, many of them", func(t *testing.T) {
		t.Parallel()
		q, d := stinttest.New(t, nil), diary{}
		handle(q, d.send, nil)
		handle(q, func(report) error { return errDown }, &stint.Policy{Backoff: stint.Constant(0), MaxAttempts: 4})
		for range 5000 {
			enqueue(t, q, mail{"ana"})
		}
		enqueue(t, q, report{})
		require.Equal(t, 5004, stinttest.Drain(t, q))
		require.Len(t, d.read(), 5000)
	})
	t.Run("one after the other with one worker", func(t *testing.T) {
		t.Parallel()
		q, d := stinttest.New(t, &stint.Config{Workers: 1}), diary{}
		handle(q, d.send, nil)
		want := []string{}
		for i := range 100 {
			name := string(rune('a' + i%26))
			want = append(want, name)
			enqueue(t, q, mail{name})
		}
		require.Equal(t, 100, stinttest.Drain(t, q))
		require.Equal(t, want, d.read())
	})
	t.Run("leaves parked and paused jobs alone", func(t *testing.T) {
		t.Parallel()
		q := stinttest.New(t, nil)
		handle(q, func(mail) error { return nil }, nil)
		enqueue(t, q, report{})
		enqueue(t, q, mail{"ana"}, stint.OnQueue("slow"))
		require.NoError(t, q.Pause(t.Context(), "slow", "test"))
		require.Zero(t, stinttest.Drain(t, q))
		require.Equal(t, 2, q.Counts().Ready)
	})
	t.Run("fails for jobs without an end", func(t *testing.T) {
		t.Parallel()
		q := stinttest.New(t, nil)
		handle(q, func(r report) error {
			_, err := q.Enqueue(context.Background(), r)
			return err
		}, nil)
		enqueue(t, q, report{1})
		r := record(t, func(t testing.TB) { stinttest.DrainAtMost(t, q, 50) })
		require.Contains(t, r.errors.String(), "stinttest: after 50 attempts there are still jobs to work; the queue has these jobs:\n\tjob 51  report {\"N\":1}  ready\n")
		r = record(t, func(t testing.TB) { require.Equal(t, 1, stinttest.DrainAtMost(t, q, 1)) })
		require.Contains(t, r.errors.String(), "after 1 attempts")
	})
	t.Run("fails beside another Run", func(t *testing.T) {
		t.Parallel()
		q := stinttest.New(t, nil)
		handle(q, func(mail) error { return nil }, nil)
		go func() { _ = q.Run(context.Background()) }()
		id := enqueue(t, q, mail{"ana"})
		for q.Counts().Ready > 0 {
			_, _ = q.Wait(t.Context(), id) // Run is at work when the job has ended
		}
		r := record(t, func(t testing.TB) { stinttest.Drain(t, q) })
		require.Contains(t, r.errors.String(), "stinttest: Run is working the queue already; let it end first")
	})
}

func TestFastForward(t *testing.T) {
	t.Parallel()
	t.Run("delays, retries and schedules come due in their time", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q, began := stinttest.New(t, nil), time.Now()
			var at []time.Duration
			handle(q, func(m mail) error {
				if at = append(at, time.Since(began)); len(at) < 3 {
					return errDown
				}
				return nil
			}, &stint.Policy{Backoff: stint.Constant(time.Hour)})
			days := 0
			handle(q, func(report) error { days++; return nil }, nil)
			require.NoError(t, q.Periodic("daily", "@daily", report{}, stint.InZone("UTC")))
			enqueue(t, q, mail{"ana"}, stint.In(30*time.Minute))

			require.Zero(t, stinttest.Drain(t, q))
			stinttest.FastForward(t, q, 29*time.Minute)
			require.Empty(t, at)
			stinttest.FastForward(t, q, time.Minute)
			require.Equal(t, []time.Duration{30 * time.Minute}, at, "due at the last moment")
			_, info := stinttest.RequireEnqueued[mail](t, q)
			require.Equal(t, stint.Retrying, info.State)
			stinttest.FastForward(t, q, 10*24*time.Hour)
			require.Equal(t, []time.Duration{30 * time.Minute, 90 * time.Minute, 150 * time.Minute}, at)
			require.Equal(t, 10, days)
			require.Equal(t, 10*24*time.Hour+30*time.Minute, time.Since(began))
		})
	})
	t.Run("Work takes what has become due while nothing worked", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q, d := stinttest.New(t, nil), diary{}
			handle(q, d.send, nil)
			enqueue(t, q, mail{"ana"}, stint.In(time.Hour))
			time.Sleep(time.Hour)
			require.Equal(t, stint.Completed, stinttest.Work(t, q).State)
			require.Equal(t, []string{"ana"}, d.read())
		})
	})
	t.Run("a handler that takes longer is stopped", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := stinttest.New(t, nil)
			stint.Handle(q, func(ctx context.Context, _ *stint.Job[mail]) error {
				<-ctx.Done()
				return context.Cause(ctx)
			}, &stint.Policy{Timeout: -1})
			enqueue(t, q, mail{"ana"})
			stinttest.FastForward(t, q, time.Hour)
			_, info := stinttest.RequireEnqueued[mail](t, q)
			require.Equal(t, stint.Ready, info.State)
			require.Zero(t, info.Failures)
		})
	})
	t.Run("only lets time pass while Run is at work", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q, d := stinttest.New(t, nil), diary{}
			handle(q, d.send, nil)
			go func() { _ = q.Run(context.Background()) }()
			synctest.Wait()
			enqueue(t, q, mail{"ana"}, stint.In(time.Hour))
			stinttest.FastForward(t, q, time.Hour)
			require.Equal(t, []string{"ana"}, d.read())
		})
	})
	t.Run("fails outside a bubble", func(t *testing.T) {
		t.Parallel()
		q := stinttest.New(t, nil)
		r := record(t, func(t testing.TB) { stinttest.FastForward(t, q, time.Hour) })
		require.Contains(t, r.errors.String(), "stinttest: FastForward needs virtual time: call it inside synctest.Test")
	})
	t.Run("fails on a queue that is closed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := stinttest.New(t, nil)
			require.NoError(t, q.Close())
			r := record(t, func(t testing.TB) { stinttest.FastForward(t, q, time.Hour) })
			require.Contains(t, r.errors.String(), "stint: the queue is closed")
		})
	})
}
