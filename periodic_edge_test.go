package stint_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// What a clock that was wrong leaves behind. Each visit is a process whose
// clock begins at its time; the schedule is registered before Run or during it.
func TestSchedulesOutliveWrongClocks(t *testing.T) {
	t.Parallel()
	type visit struct {
		at, until time.Time
		do        func(t *testing.T, q *stint.Queue)
		want      []string
	}
	pause := func(t *testing.T, q *stint.Queue) {
		require.NoError(t, q.PauseSchedule(t.Context(), "report", "olga"))
	}
	resume := func(t *testing.T, q *stint.Queue) { require.NoError(t, q.ResumeSchedule(t.Context(), "report")) }
	for _, c := range []struct {
		name, spec string
		opts       []stint.PeriodicOption
		visits     []visit
	}{
		{"one that has never run does not wait for the wrong time", "0 3 * * *", nil, []visit{
			{utc(2099, 5, 1, 12, 0), utc(2099, 5, 1, 12, 1), nil, nil},
			{utc(2026, 11, 22, 12, 0), utc(2026, 11, 24, 12, 0), nil, []string{"11-23 03:00", "11-24 03:00"}},
		}},
		{"one that was paused meanwhile goes on as well", "0 3 * * *", nil, []visit{
			{utc(2099, 5, 1, 12, 0), utc(2099, 5, 2, 12, 1), pause, nil},
			{utc(2026, 11, 22, 12, 0), utc(2026, 11, 22, 12, 1), resume, nil},
			{utc(2026, 11, 22, 12, 2), utc(2026, 11, 24, 12, 0), nil, []string{"11-23 03:00", "11-24 03:00"}},
		}},
		{"resumed under Run", "0 3 * * *", nil, []visit{
			{utc(2099, 5, 1, 12, 0), utc(2099, 5, 2, 12, 1), pause, nil},
			{utc(2026, 11, 22, 12, 0), utc(2026, 11, 24, 12, 0), resume, []string{"11-23 03:00", "11-24 03:00"}},
		}},
		{"one whose Until seemed to have passed", "0 3 * * *", []stint.PeriodicOption{stint.Until(utc(2030, 1, 1, 0, 0))}, []visit{
			{utc(2026, 11, 20, 12, 0), utc(2026, 11, 21, 12, 0), nil, []string{"11-21 03:00"}},
			{utc(2099, 5, 1, 12, 0), utc(2099, 5, 2, 12, 0), nil, []string{"12-31 03:00"}},
			{utc(2026, 11, 22, 12, 0), utc(2026, 11, 24, 12, 0), nil, []string{"11-23 03:00", "11-24 03:00"}},
		}},
		{"@every keeps its phase over a boot in another year", "@every 24h", nil, []visit{
			{utc(2026, 11, 20, 12, 0), utc(2026, 11, 22, 11, 0), nil, []string{"11-21 12:00"}},
			{utc(2001, 1, 1, 5, 0), utc(2001, 1, 2, 5, 0), nil, []string{"01-01 12:00"}},
			{utc(2026, 11, 22, 13, 0), utc(2026, 11, 24, 11, 0), nil, []string{"11-22 12:00", "11-23 12:00"}},
		}},
	} {
		for _, first := range []string{"Periodic", "Run"} {
			t.Run(c.name+", first "+first, func(t *testing.T) {
				path := newPath(t)
				for _, v := range c.visits {
					bubble(t, func(t *testing.T) {
						sleepUntil(v.at)
						q, d := keeping(t, path, 0)
						opts := append([]stint.PeriodicOption{stint.InZone("UTC")}, c.opts...)
						if first == "Run" {
							run(t, q)
							enqueue(t, q, other{}) // so that it has looked at the clock
						}
						periodic(t, q, c.spec, opts...)
						if first == "Periodic" {
							run(t, q)
						}
						synctest.Wait()
						if v.do != nil {
							v.do(t, q)
						}
						sleepUntil(v.until)
						require.Equal(t, v.want, d.times(minuteLayout))
						require.NoError(t, q.Close())
					})
				}
			})
		}
	}
}

// spoil changes a byte of what the file knows of a schedule.
func spoil(t *testing.T, q *stint.Queue, name string) {
	t.Helper()
	require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("stint")).Bucket([]byte("schedules"))
		v := append([]byte(nil), b.Get([]byte(name))...)
		v[len(v)-1] ^= 1
		return b.Put([]byte(name), v)
	}))
}

func TestDamagedSchedule(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		periodic(t, q, "@every 1h")
		require.NoError(t, q.Periodic("other", "@every 1h", nightly{}))
		spoil(t, q, "report")
		run(t, q)
		time.Sleep(90 * time.Minute)
		require.Len(t, d.times(dayLayout), 1, "the other one goes on")
		list, err := q.Schedules()
		require.ErrorIs(t, err, stint.ErrCorrupt)
		require.ErrorContains(t, err, `"report"`)
		require.Len(t, list, 1, "and can be looked at")

		for _, err := range []error{
			q.Periodic("report", "@every 1h", nightly{}),
			q.PauseSchedule(t.Context(), "report", "olga"),
			q.ResumeSchedule(t.Context(), "report"),
		} {
			require.ErrorIs(t, err, stint.ErrCorrupt)
			require.ErrorContains(t, err, "DeleteSchedule")
		}
		enqueue(t, q, other{}) // the queue goes on
		require.NoError(t, q.DeleteSchedule(t.Context(), "report"))
		periodic(t, q, "@every 1h")
		time.Sleep(90 * time.Minute)
		require.Len(t, d.times(dayLayout), 3)
	})
}

func TestScheduleEdges(t *testing.T) {
	t.Parallel()
	scenario(t, "RunSchedule does not wait for the Jitter", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		periodic(t, q, "0 3 * * *", stint.Jitter(6*time.Hour))
		run(t, q)
		_, err := q.RunSchedule(t.Context(), "report")
		require.NoError(t, err)
		require.Len(t, d.times(dayLayout), 1)
	})
	scenario(t, "a run that waited expires in its time", func(t *testing.T) {
		q := open(t, nil)
		periodic(t, q, "*/10 * * * *", stint.Overlap(stint.QueueOne), stint.ExpiresIn(25*time.Minute))
		run(t, q) // nobody handles the kind
		for _, c := range []struct{ minute, dead int }{{36, 1}, {59, 1}, {61, 2}} {
			sleepUntil(utc(2000, 1, 1, 0, c.minute))
			synctest.Wait()
			require.Equal(t, c.dead, q.Counts().Dead, "after %d minutes", c.minute)
		}
	})
	scenario(t, "paused in the moment at which it is due, by the transaction that would fire it", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		periodic(t, q, "@every 1h")
		time.Sleep(time.Hour)
		release := stall(t, q)
		run(t, q)
		paused := make(chan error)
		go func() { paused <- q.PauseSchedule(context.Background(), "report", "olga") }()
		synctest.Wait()
		close(release)
		require.NoError(t, <-paused)
		require.Empty(t, d.times(dayLayout))
		commits := lastTx(q.DB())
		time.Sleep(24 * time.Hour)
		require.Empty(t, d.times(dayLayout))
		require.Equal(t, commits, lastTx(q.DB()))
	})
	scenario(t, "changed by the transaction that fires it, it fires once and wakes up for its next time", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		periodic(t, q, "@every 1h", stint.Overlap(stint.Allow))
		run(t, q)
		time.Sleep(time.Hour - time.Minute)
		release := stall(t, q)
		time.Sleep(time.Minute)
		ran := make(chan error)
		go func() { _, err := q.RunSchedule(context.Background(), "report"); ran <- err }()
		synctest.Wait()
		close(release)
		require.NoError(t, <-ran)
		require.Len(t, d.times(dayLayout), 2)
		commits := lastTx(q.DB())
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, commits, lastTx(q.DB()))
		time.Sleep(time.Second)
		require.Len(t, d.times(dayLayout), 1)
	})
	scenario(t, "Run stopped and started again is time in which nothing ran", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		periodic(t, q, "@every 1h")
		stop := run(t, q)
		time.Sleep(time.Hour)
		require.Len(t, d.times(dayLayout), 1)
		require.NoError(t, stop())
		time.Sleep(3*time.Hour + time.Minute)
		require.Empty(t, d.times(dayLayout))
		run(t, q)
		synctest.Wait()
		require.Equal(t, 2, d.runs[0].Missed)
		require.Len(t, d.times(dayLayout), 1)
	})
	scenario(t, "a run by hand of a paused schedule does not wait for runs that the pause holds", func(t *testing.T) {
		q, d := keeping(t, newPath(t), time.Minute)
		sleepUntil(utc(2000, 2, 1, 12, 0))
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		run(t, q)
		_, err := q.Backfill(t.Context(), "report", utc(2000, 1, 10, 3, 0), utc(2000, 1, 12, 3, 0))
		require.NoError(t, err)
		require.NoError(t, q.PauseSchedule(t.Context(), "report", "olga"))
		_, err = q.RunSchedule(t.Context(), "report")
		require.ErrorIs(t, err, stint.ErrRunning)
		time.Sleep(2 * time.Minute)
		id, err := q.RunSchedule(t.Context(), "report")
		require.NoError(t, err)
		require.NotZero(t, id)
		time.Sleep(2 * time.Minute)
		require.Len(t, d.times(dayLayout), 2)
		require.NoError(t, q.ResumeSchedule(t.Context(), "report"))
		time.Sleep(4 * time.Minute)
		require.Equal(t, []string{"01-11", "01-12"}, d.times(dayLayout))
	})
	scenario(t, "a run whose record is damaged gives way to the one that waits", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		sleepUntil(utc(2000, 2, 1, 12, 0))
		periodic(t, q, "0 3 1 1 *", stint.InZone("UTC"))
		n, err := q.Backfill(t.Context(), "report", utc(1998, 1, 1, 0, 0), utc(2000, 2, 1, 0, 0))
		require.NoError(t, err)
		require.Equal(t, 3, n)
		id := schedule(t, q).LastJob
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("stint")).Bucket([]byte("jobs"))
			key := []byte{0, 0, 0, 0, 0, 0, 0, byte(id)}
			v := append([]byte(nil), b.Get(key)...)
			v[len(v)-1] ^= 1
			return b.Put(key, v)
		}))
		run(t, q)
		require.Equal(t, []string{"1999", "2000"}, d.times("2006"))
		require.Contains(t, schedule(t, q).Runs[0].Reason, "damaged")
	})
	scenario(t, "a run that ends in the caller's transaction while its schedule is registered lets the next one start", func(t *testing.T) {
		path := newPath(t)
		q, _ := keeping(t, path, 0)
		sleepUntil(utc(2000, 2, 1, 12, 0))
		periodic(t, q, "0 3 1 1 *", stint.InZone("UTC"))
		_, err := q.Backfill(t.Context(), "report", utc(1999, 1, 1, 0, 0), utc(2000, 2, 1, 0, 0))
		require.NoError(t, err)
		require.NoError(t, q.Close())

		q = openAt(t, path, nil)
		begin, complete, completed, ran := make(chan bool), make(chan bool), make(chan bool), 0
		stint.Handle(q, func(_ context.Context, job *stint.Job[nightly]) error {
			if ran++; ran > 1 {
				return nil
			}
			<-complete
			defer close(completed)
			return q.DB().Update(job.CompleteTx)
		}, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
			<-begin
			return job.Commit(func(tx *bolt.Tx) error {
				tx.OnCommit(func() { close(complete); <-completed }) // memory does not know of the commit yet
				return nil
			})
		}, nil)
		enqueue(t, q, other{})
		run(t, q)
		synctest.Wait()
		release := stall(t, q)
		close(begin)
		synctest.Wait()
		go func() { _ = q.Periodic("report", "0 3 1 1 *", nightly{}, stint.InZone("UTC")) }()
		synctest.Wait()
		close(release)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 2, ran)
	})
	scenario(t, "what a paused schedule would have done counts as skipped, also if its spec changes meanwhile", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		run(t, q)
		require.NoError(t, q.PauseSchedule(t.Context(), "report", "olga"))
		sleepUntil(utc(2000, 1, 4, 12, 0))
		periodic(t, q, "0 4 * * *", stint.InZone("UTC"), stint.Until(utc(2000, 1, 6, 12, 0)))
		sleepUntil(utc(2000, 1, 10, 12, 0))
		require.NoError(t, q.ResumeSchedule(t.Context(), "report"))
		require.Empty(t, d.times(dayLayout))
		skipped := []int{}
		for _, r := range schedule(t, q).Runs {
			skipped = append(skipped, r.Skipped)
		}
		require.Equal(t, []int{4, 0, 2}, skipped)
	})
}

// Times that a clock shows again are not run again, and are in the history
// once, however often the program starts meanwhile.
func TestHeldBackIsInTheHistory(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for _, at := range []int{0, 10, 20} {
		bubble(t, func(t *testing.T) {
			sleepUntil(utc(2000, 1, 2, 0, at))
			q, d := keeping(t, path, 0)
			periodic(t, q, "30 0,1 * * *", stint.InZone("UTC"))
			run(t, q)
			if at == 0 {
				time.Sleep(2 * time.Hour)
				require.Len(t, d.times(dayLayout), 2)
			}
			synctest.Wait()
			info := schedule(t, q)
			require.True(t, info.Next.Equal(utc(2000, 1, 3, 0, 30)))
			next, err := q.Upcoming("report", 1)
			require.NoError(t, err)
			require.Equal(t, info.Next, next[0])
			if at > 0 {
				require.Len(t, info.Runs, 3)
				require.Equal(t, 2, info.Runs[2].Skipped)
				require.Contains(t, info.Runs[2].Reason, "until 2000-01-02 01:30:00 has run")
			}
			require.NoError(t, q.Close())
		})
	}
}

func TestScheduleBounds(t *testing.T) {
	t.Parallel()
	scenario(t, "a thousand runs wait, and no more", func(t *testing.T) {
		path := newPath(t)
		all := []stint.PeriodicOption{stint.InZone("UTC"), stint.Missed(stint.All(1000, 1000*time.Hour))}
		q := openAt(t, path, nil)
		sleepUntil(utc(2000, 1, 2, 0, 0))
		periodic(t, q, "* * * * *", all...)
		_, err := q.Backfill(t.Context(), "report", utc(2000, 1, 1, 0, 1), utc(2000, 1, 1, 10, 0))
		require.NoError(t, err)
		_, err = q.Backfill(t.Context(), "report", utc(2000, 1, 1, 0, 1), utc(2000, 1, 1, 10, 0))
		require.ErrorIs(t, err, stint.ErrBadOption)
		require.NoError(t, q.Close())
		time.Sleep(10*time.Hour + time.Second)
		q = openAt(t, path, nil)
		periodic(t, q, "* * * * *", all...)
		run(t, q)
		synctest.Wait()
		info := schedule(t, q)
		require.Equal(t, 1000, info.Waiting)
		require.Equal(t, 199, info.Runs[len(info.Runs)-1].Skipped)
	})
	scenario(t, "Starting and Until may change", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		run(t, q)
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"), stint.Starting(utc(2000, 1, 3, 0, 0)))
		require.True(t, schedule(t, q).Next.Equal(utc(2000, 1, 3, 3, 0)))
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"), stint.Until(utc(2000, 1, 2, 0, 0)))
		sleepUntil(utc(2000, 1, 5, 0, 0))
		require.Equal(t, []string{"01-01"}, d.times(dayLayout))
	})
	scenario(t, "All runs what is not late, whatever its age may be", func(t *testing.T) {
		path := newPath(t)
		all := []stint.PeriodicOption{stint.InZone("UTC"), stint.Missed(stint.All(5, 10*time.Second))}
		q := openAt(t, path, nil)
		periodic(t, q, "* * * * *", all...)
		require.NoError(t, q.Close())
		time.Sleep(5*time.Minute + 30*time.Second)
		q, d := keeping(t, path, 0)
		periodic(t, q, "* * * * *", all...)
		run(t, q)
		require.Equal(t, []string{"01-01 00:05"}, d.times(minuteLayout))
	})
}

// Items that end before their planner does are not forgotten when it ends.
func TestScheduleRemembersHowItsBatchEnded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		require.NoError(t, stint.PeriodicBatch(q, "report", "0 3 * * *",
			func(context.Context, *stint.Planning[nightly]) iter.Seq2[nightly, error] {
				return func(yield func(nightly, error) bool) {
					for n := range 1000 { // these are stored
						if !yield(nightly{n + 1}, nil) {
							return
						}
					}
					time.Sleep(time.Minute)
				}
			},
			func(_ context.Context, job *stint.Job[nightly]) error { return stint.Kill(errOops) }, nil))
		run(t, q)
		_, err := q.RunSchedule(t.Context(), "report")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, 1000, q.Counts().Dead)
		require.Equal(t, stint.Ready, schedule(t, q).Runs[0].State)
		time.Sleep(2 * time.Minute)
		last := schedule(t, q).Runs[0]
		require.Equal(t, stint.Completed, last.State)
		require.Equal(t, "1000 of 1000 items are dead", last.Reason)
	})
}

// However much was missed, a transaction makes up for a bounded part of it.
func TestMissedRunsAreEnqueuedInPortions(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		path := newPath(t)
		register := func(q *stint.Queue) {
			for i := range 5 {
				require.NoError(t, q.Periodic(fmt.Sprint("s", i), "* * * * *", nightly{}, stint.Missed(stint.All(800, 24*time.Hour)), stint.Overlap(stint.Allow)))
			}
		}
		q := openAt(t, path, nil)
		register(q)
		require.NoError(t, q.Close())
		time.Sleep(24*time.Hour + time.Second)
		q = openAt(t, path, nil)
		register(q)
		before := lastTx(q.DB())
		run(t, q)
		synctest.Wait()
		require.Equal(t, 4000, q.Counts().Ready)
		require.Equal(t, before+3, lastTx(q.DB()))
	})
}

// A thousand schedules that fire at the same second: when the last of their
// runs has begun.
func BenchmarkThousandSchedules(b *testing.B) {
	q := open(b, nil)
	begun := make(chan time.Time, 1000)
	stint.Handle(q, func(context.Context, *stint.Job[nightly]) error { begun <- time.Now(); return nil }, nil)
	for i := range 1000 {
		require.NoError(b, q.Periodic(fmt.Sprintf("s%d", i), "* * * * * *", nightly{}))
	}
	w := begin(q)
	took := time.Duration(0)
	for b.Loop() {
		var last time.Time
		for range 1000 {
			last = <-begun
		}
		took += last.Sub(last.Truncate(time.Second))
	}
	b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms-to-the-last")
	w.end()
	require.NoError(b, <-w.result)
}

type stalling struct{}

func (stalling) Kind() string { return "stalling" }

// stall keeps the committer in a transaction, so that what comes meanwhile is
// one group.
func stall(t *testing.T, q *stint.Queue) (release chan struct{}) {
	release = make(chan struct{})
	wait := stint.Unique(stint.Merge(func(a, _ stalling) stalling { <-release; return a }))
	enqueue(t, q, stalling{}, wait)
	go func() { _, _ = q.Enqueue(context.Background(), stalling{}, wait) }()
	synctest.Wait()
	return release
}
