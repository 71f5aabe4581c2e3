package dashboard

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// healthQueue is a queue in a bubble that is worked until the test ends.
func healthQueue(t *testing.T, path string, workers int) *stint.Queue {
	t.Helper()
	q, err := stint.Open(path, &stint.Config{Workers: workers, Logger: slog.New(slog.DiscardHandler), ShutdownTimeout: time.Second})
	require.NoError(t, err)
	q.DB().NoSync = true
	return q
}

func healthRun(t *testing.T, q *stint.Queue) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended       // with an error if a handler is stuck
		_ = q.Close() // and so does this
		time.Sleep(8 * time.Hour)
	})
	synctest.Wait()
}

// healthJobs enqueues jobs of a kind that is handled for as long as they say.
type healthJob struct{ For time.Duration }

func (healthJob) Kind() string { return "sleep" }

func (healthJob) handle(_ context.Context, job *stint.Job[healthJob]) error {
	time.Sleep(job.Args.For)
	return nil
}

func healthEnqueue(t *testing.T, q *stint.Queue, n int, args stint.Args, opts ...stint.Option) {
	t.Helper()
	for range n {
		_, err := q.Enqueue(t.Context(), args, opts...)
		require.NoError(t, err)
	}
}

// Each cause is brought about, and the sentence says what is so.
func TestHealthOfAQueue(t *testing.T) {
	t.Parallel()
	on := stint.OnQueue
	for _, c := range []struct {
		name      string
		bring     func(t *testing.T, q *stint.Queue)
		want      health
		noRun     bool
		elsewhere []string // of More
	}{
		{name: "nothing", bring: func(t *testing.T, q *stint.Queue) {
			healthEnqueue(t, q, 2, healthJob{time.Hour})
			time.Sleep(30 * time.Second)
		}, want: health{Level: "good", Sentence: "All good: 2 running, nothing late."}},
		{name: "not running", noRun: true, bring: func(*testing.T, *stint.Queue) {}, want: health{
			Level: "bad", Sentence: "No Run works the queue; call Queue.Run.", Page: "system"}},
		{name: "one late queue", bring: func(t *testing.T, q *stint.Queue) {
			healthEnqueue(t, q, 3, healthJob{time.Hour}, on("a/b:c"))
			time.Sleep(61 * time.Second)
		}, want: health{Level: "late", Sentence: "The queue a/b:c is late: its oldest job has been waiting for 1 min 1 s.", Page: "queue?name=a%2Fb%3Ac"}},
		{name: "two late queues, the worse first", bring: func(t *testing.T, q *stint.Queue) {
			healthEnqueue(t, q, 2, healthJob{time.Hour})
			healthEnqueue(t, q, 1, healthJob{}, on("a"))
			time.Sleep(3 * time.Minute)
			healthEnqueue(t, q, 1, healthJob{}, on("b"))
			time.Sleep(time.Minute + time.Second)
		}, want: health{Level: "late", Sentence: "2 queues are late: the oldest job of a has been waiting for 4 min 1 s.", Page: "queues"}},
		{name: "a minute is not late", bring: func(t *testing.T, q *stint.Queue) {
			healthEnqueue(t, q, 3, healthJob{time.Hour})
			time.Sleep(59 * time.Second)
		}, want: health{Level: "good", Sentence: "All good: 2 running, nothing late."}},
		{name: "a stuck handler", bring: func(t *testing.T, q *stint.Queue) {
			healthEnqueue(t, q, 1, healthJob{7 * time.Hour})
			time.Sleep(6*time.Hour + time.Minute)
		}, want: health{Level: "bad", Sentence: "1 handler is stuck: it goes on long past its timeout.", Page: "jobs?state=running"}},
		{name: "a paused queue", bring: func(t *testing.T, q *stint.Queue) {
			require.NoError(t, q.Pause(t.Context(), "low", "ana (new importer)"))
			healthEnqueue(t, q, 2, healthJob{}, on("low"))
			time.Sleep(time.Hour)
		}, want: health{Level: "late", Sentence: "The queue low is paused by ana (new importer), and 2 jobs wait in it.", Page: "queue?name=low"}},
		{name: "two paused queues", bring: func(t *testing.T, q *stint.Queue) {
			for _, name := range []string{"low", "lower", "empty"} {
				require.NoError(t, q.Pause(t.Context(), name, "ana"))
			}
			healthEnqueue(t, q, 2, healthJob{}, on("low"))
			healthEnqueue(t, q, 1, healthJob{}, on("lower"))
		}, want: health{Level: "late", Sentence: "2 queues are paused, and 3 jobs wait in them.", Page: "queues"}},
		{name: "an empty paused queue", bring: func(t *testing.T, q *stint.Queue) {
			require.NoError(t, q.Pause(t.Context(), "low", "ana"))
		}, want: health{Level: "good", Sentence: "All good: 0 running, nothing late."}},
		{name: "a parked kind", bring: func(t *testing.T, q *stint.Queue) {
			healthEnqueue(t, q, 1, simulatedOther{})
			time.Sleep(time.Hour)
		}, want: health{Level: "late", Sentence: "1 job waits for a handler: this process has none for the kind legacy.sync.", Page: "kind?name=legacy.sync"}},
		{name: "two parked kinds", bring: func(t *testing.T, q *stint.Queue) {
			healthEnqueue(t, q, 2, simulatedOther{})
			healthEnqueue(t, q, 1, simulatedMail{})
		}, want: health{Level: "late", Sentence: "3 jobs wait for handlers: this process has none for 2 kinds, such as legacy.sync.", Page: "kinds"}},
		{name: "all of it, the worst first", bring: func(t *testing.T, q *stint.Queue) {
			healthEnqueue(t, q, 3, healthJob{7 * time.Hour})
			healthEnqueue(t, q, 1, simulatedOther{})
			require.NoError(t, q.Pause(t.Context(), "low", "ana"))
			healthEnqueue(t, q, 1, healthJob{}, on("low"))
			time.Sleep(6*time.Hour + time.Minute)
		}, want: health{Level: "bad", Sentence: "2 handlers are stuck: they go on long past their timeouts.", Page: "jobs?state=running"},
			elsewhere: []string{
				"The queue default is late: its oldest job has been waiting for 6 h 1 min.",
				"The queue low is paused by ana, and 1 job waits in it.",
				"1 job waits for a handler: this process has none for the kind legacy.sync.",
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := healthQueue(t, filepath.Join(t.TempDir(), "jobs.db"), 2)
				stint.Handle(q, healthJob{}.handle, &stint.Policy{Timeout: 6 * time.Hour})
				if !c.noRun {
					healthRun(t, q)
				} else {
					t.Cleanup(func() { require.NoError(t, q.Close()) })
				}
				c.bring(t, q)
				synctest.Wait()
				d := newDashboard(q, &Config{Logger: slog.New(slog.DiscardHandler)})
				got := d.health()
				var more []string
				for _, one := range got.More {
					more = append(more, one.Sentence)
				}
				got.More = nil
				require.Equal(t, c.want, got)
				require.Equal(t, c.elsewhere, more)
				_, body := get(t, testHandler(q, View), "/")
				require.Contains(t, body, c.want.Sentence)
			})
		})
	}
}

// A crash is news for an hour.
func TestHealthAfterACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "jobs.db")
		q := healthQueue(t, path, 2)
		stint.Handle(q, healthJob{}.handle, nil)
		healthRun(t, q)
		healthEnqueue(t, q, 2, healthJob{time.Minute})
		synctest.Wait()
		var file bytes.Buffer
		_, err := q.Backup(t.Context(), &file) // as a crash leaves it
		require.NoError(t, err)
		crashed := filepath.Join(t.TempDir(), "crashed.db")
		require.NoError(t, os.WriteFile(crashed, file.Bytes(), 0o600))

		time.Sleep(time.Hour)
		again := healthQueue(t, crashed, 2)
		stint.Handle(again, healthJob{}.handle, nil)
		healthRun(t, again)
		time.Sleep(5 * time.Minute)
		d := newDashboard(again, &Config{Logger: slog.New(slog.DiscardHandler)})
		require.Equal(t, health{Level: "late", Sentence: "The process before this one crashed; this one started 5 min ago and recovered 2 jobs.", Page: "system"}, d.health())
		time.Sleep(time.Hour)
		require.Equal(t, "good", d.health().Level)
	})
}

// What cannot be brought about in a test is told to the judge.
func TestHealthOfASituation(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	behind := stint.ScheduleInfo{Name: "nightly", Next: now.Add(-2 * time.Minute)}
	older := stint.ScheduleInfo{Name: "hourly", Next: now.Add(-time.Hour)}
	paused, orphaned, jitter, soon, never := behind, behind, behind, behind, behind
	paused.PausedSince, orphaned.Orphaned, jitter.Jitter, soon.Next, never.Next = now, true, 90*time.Second, now.Add(-59*time.Second), time.Time{}
	for _, c := range []struct {
		situation
		level, sentence, page string
	}{
		{situation{}, "good", "All good: 0 running, nothing late.", ""},
		{situation{err: errors.Join(errors.New("stint: a"), errors.New("stint: b."))}, "bad", "A; b.", "system"},
		{situation{disk: diskSpace{true, 200 << 20, 1 << 30}}, "bad", "The disk is nearly full: 200 MiB of 1.00 GiB are free.", "system"},
		{situation{disk: diskSpace{true, 4 << 30, 100 << 30}}, "bad", "The disk is nearly full: 4.00 GiB of 100 GiB are free.", "system"},
		{situation{disk: diskSpace{true, 6 << 30, 100 << 30}}, "good", "All good: 0 running, nothing late.", ""},
		{situation{disk: diskSpace{false, 0, 0}}, "good", "All good: 0 running, nothing late.", ""},
		{situation{stats: stint.Stats{Quarantined: 1}}, "bad", "1 record could not be read and was set aside.", "system"},
		{situation{stats: stint.Stats{Quarantined: 1200}}, "bad", "1\u202f200 records could not be read and were set aside.", "system"},
		{situation{schedulesErr: errors.New("stint: corrupt: schedule x")}, "bad", "Corrupt: schedule x.", "system"},
		{situation{schedules: []stint.ScheduleInfo{behind, paused}}, "late", "The schedule nightly is 2 min behind.", "schedule?name=nightly"},
		{situation{schedules: []stint.ScheduleInfo{behind, older}}, "late", "2 schedules are behind: hourly should have run 1 h ago.", "schedules"},
		{situation{schedules: []stint.ScheduleInfo{paused, orphaned, jitter, soon, never}}, "good", "All good: 0 running, nothing late.", ""},
		{situation{starts: []stint.Start{{At: now.Add(-time.Minute)}, {Crashed: true}}}, "late", "The process before this one crashed; this one started 1 min ago.", "system"},
		{situation{starts: []stint.Start{{At: now.Add(-time.Minute), Recovered: 1}, {Crashed: true}}}, "late", "The process before this one crashed; this one started 1 min ago and recovered 1 job.", "system"},
		{situation{starts: []stint.Start{{At: now}, {}, {Crashed: true}}}, "good", "All good: 0 running, nothing late.", ""},
	} {
		c.now = now
		got := c.health()
		require.Equal(t, health{Level: c.level, Sentence: c.sentence, Page: c.page}, got)
	}
}
