package stint_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// nightly is the job of most schedules.
type nightly struct {
	N int `json:"n,omitempty"`
}

func (nightly) Kind() string { return "nightly" }

// logbook gathers the runs of schedules.
type logbook struct {
	mu   sync.Mutex
	runs []stint.Work
	took time.Duration // what each run takes
}

func (d *logbook) handle(ctx context.Context, job *stint.Job[nightly]) error {
	d.mu.Lock()
	d.runs = append(d.runs, job.Work)
	d.mu.Unlock()
	if d.took == 0 {
		return nil
	}
	select {
	case <-time.After(d.took):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// times are the occurrences that ran, in UTC, and forgets them.
func (d *logbook) times(layout string) (times []string) {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, run := range d.runs {
		times = append(times, run.ScheduledFor.UTC().Format(layout))
	}
	d.runs = nil
	return times
}

// keeping opens a queue at path with a logbook for its schedules. Handlers may
// take as long as they like.
func keeping(t *testing.T, path string, took time.Duration) (*stint.Queue, *logbook) {
	q := openAt(t, path, nil)
	d := &logbook{took: took}
	stint.Handle(q, d.handle, &stint.Policy{Timeout: -1})
	return q, d
}

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "queue.db") }

func periodic(t *testing.T, q *stint.Queue, spec string, opts ...stint.PeriodicOption) {
	t.Helper()
	require.NoError(t, q.Periodic("report", spec, nightly{}, opts...))
}

// schedule is the only one of the queue.
func schedule(t *testing.T, q *stint.Queue) stint.ScheduleInfo {
	t.Helper()
	list, err := q.Schedules()
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

// sleepUntil lets virtual time pass.
func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }

func utc(year int, month time.Month, day, hour, minute int) time.Time {
	return time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
}

const (
	dayLayout    = "01-02"
	minuteLayout = "01-02 15:04"
)

// A year of nights, with two clock changes: each night has one run.
func TestEachNightRunsOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		zone, err := time.LoadLocation("Europe/Berlin")
		require.NoError(t, err)
		periodic(t, q, "30 2 * * *", stint.InZone("Europe/Berlin"))
		run(t, q)
		sleepUntil(time.Date(2001, 1, 1, 0, 0, 0, 0, zone))
		synctest.Wait()

		nights := map[string]int{}
		for _, run := range d.runs {
			at := run.ScheduledFor.In(zone)
			nights[at.Format(time.DateOnly)]++
			want := "02:30"
			if at.Format(time.DateOnly) == "2000-03-26" {
				want = "03:00" // the end of the gap
			}
			require.Equal(t, want, at.Format("15:04"), "%v", at)
			require.Zero(t, run.Missed)
		}
		require.Len(t, nights, 366)
		require.Len(t, d.runs, 366)
		info := schedule(t, q)
		require.Equal(t, d.runs[365].ID, info.LastJob)
		require.Len(t, info.Runs, 20)
		require.Equal(t, stint.Completed, info.Runs[19].State)
	})
}

// Zones whose clocks change at midnight, by half an hour, or around the time
// of the schedule, for a year.
func TestNightsOfTheWorld(t *testing.T) {
	t.Parallel()
	specs := []struct{ zone, spec string }{
		{"Africa/Cairo", "30 0 * * *"}, {"America/Santiago", "30 0 * * *"}, {"Asia/Beirut", "30 0 * * *"},
		{"Australia/Lord_Howe", "15 2 * * *"}, {"America/New_York", "30 1 * * *"}, {"America/Los_Angeles", "0 2 * * *"},
		{"Africa/Casablanca", "30 2 * * *"}, {"Europe/Dublin", "30 1 * * *"}, {"America/Asuncion", "0 0 * * *"},
		{"Atlantic/Azores", "0 0 * * *"}, {"America/St_Johns", "1 2 * * *"}, {"Pacific/Auckland", "59 2 * * *"},
	}
	bubble(t, func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		sleepUntil(utc(2025, 6, 30, 0, 0))
		for _, s := range specs {
			require.NoError(t, q.Periodic(s.zone, s.spec, nightly{}, stint.InZone(s.zone)))
		}
		run(t, q)
		sleepUntil(utc(2026, 7, 2, 0, 0))
		synctest.Wait()
		nights := map[string]map[string]int{}
		for _, run := range d.runs {
			zone, err := time.LoadLocation(run.Schedule)
			require.NoError(t, err)
			if nights[run.Schedule] == nil {
				nights[run.Schedule] = map[string]int{}
			}
			nights[run.Schedule][run.ScheduledFor.In(zone).Format(time.DateOnly)]++
		}
		require.Len(t, nights, len(specs))
		for zone, dates := range nights {
			for day := utc(2025, 7, 1, 0, 0); day.Before(utc(2026, 7, 1, 0, 0)); day = day.AddDate(0, 0, 1) {
				require.Equal(t, 1, dates[day.Format(time.DateOnly)], "%s %v", zone, day)
			}
		}
	})
}

// The program is down for two weeks.
func TestMissed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy  stint.MissedPolicy
		spec    string
		want    []string // what runs at once
		missed  int
		skipped int
	}{
		{stint.Skip, "0 3 * * *", nil, 0, 14},
		{stint.Once, "0 3 * * *", []string{"01-16 03:00"}, 13, 0},
		{stint.All(10, 48*time.Hour), "0 3 * * *", []string{"01-15 03:00", "01-16 03:00"}, 0, 12},
		{stint.All(10, 1000*time.Hour), "0 3 * * *", []string{
			"01-07 03:00", "01-08 03:00", "01-09 03:00", "01-10 03:00", "01-11 03:00",
			"01-12 03:00", "01-13 03:00", "01-14 03:00", "01-15 03:00", "01-16 03:00",
		}, 0, 4},
		{stint.All(1, time.Hour), "0 3 * * *", nil, 0, 14},
		{stint.Skip, "* * * * * *", []string{"01-16 12:00"}, 0, 14 * 24 * 3600}, // the one of this second is not missed
		{stint.Once, "* * * * * *", []string{"01-16 12:00"}, 9999, 0},
		{stint.Once, "@every 1s", []string{"01-16 12:00"}, 9999, 0},
		{stint.All(3, time.Hour), "@every 10m", []string{"01-16 11:40", "01-16 11:50", "01-16 12:00"}, 0, 14*24*6 - 3},
		{stint.Once, "0 3 1 2 *", nil, 0, 0}, // nothing was missed
	} {
		for _, overlap := range []stint.OverlapPolicy{stint.Allow, stint.SkipIfRunning, stint.QueueOne} {
			scenario(t, c.spec+", "+c.policy.String()+", overlap "+overlap.String(), func(t *testing.T) {
				path := newPath(t)
				q, _ := keeping(t, path, 0)
				options := []stint.PeriodicOption{stint.InZone("UTC"), stint.Missed(c.policy), stint.Overlap(overlap)}
				sleepUntil(utc(2000, 1, 2, 12, 0))
				periodic(t, q, c.spec, options...)
				require.NoError(t, q.Close())
				sleepUntil(utc(2000, 1, 16, 12, 0))
				q, d := keeping(t, path, 0)
				periodic(t, q, c.spec, options...)
				stop := run(t, q)
				synctest.Wait()
				require.NoError(t, stop())
				runs := d.runs
				got := d.times(minuteLayout)
				slices.Sort(got) // overlapping runs start side by side
				require.Equal(t, c.want, got)
				if c.missed > 0 {
					require.Equal(t, c.missed, runs[0].Missed)
					require.True(t, runs[0].MissedSince.Before(utc(2000, 1, 3, 3, 1)))
				}
				skipped := 0
				for _, r := range schedule(t, q).Runs {
					require.Equal(t, r.Skipped > 0, r.Reason != "")
					skipped += r.Skipped
				}
				if c.skipped > 10_000 {
					c.skipped = 9999 // no further is counted, and one ran
				}
				require.Equal(t, c.skipped, skipped)
			})
		}
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy stint.OverlapPolicy
		want   string // occurrences of two hours and when they started; a run takes 24 minutes
		waits  int
		skips  int
	}{
		{stint.Allow, "00:10@00:10 00:20@00:20 00:30@00:30 00:40@00:40 00:50@00:50 01:00@01:00 01:10@01:10 01:20@01:20", 0, 0},
		{stint.SkipIfRunning, "00:10@00:10 00:40@00:40 01:10@01:10", 0, 5},
		{stint.QueueOne, "00:10@00:10 00:20@00:34 00:40@00:58 01:00@01:22", 0, 4},
	} {
		scenario(t, c.policy.String(), func(t *testing.T) {
			q := open(t, nil)
			var mu sync.Mutex
			var got []string
			stint.Handle(q, func(_ context.Context, job *stint.Job[nightly]) error {
				mu.Lock()
				got = append(got, job.ScheduledFor.UTC().Format("15:04")+"@"+time.Now().UTC().Format("15:04"))
				mu.Unlock()
				time.Sleep(24 * time.Minute)
				return nil
			}, &stint.Policy{Timeout: -1})
			periodic(t, q, "*/10 * * * *", stint.Overlap(c.policy), stint.Until(utc(2000, 1, 1, 1, 20)))
			run(t, q)
			sleepUntil(utc(2000, 1, 1, 3, 0))
			synctest.Wait()
			if c.policy == stint.QueueOne {
				got = got[:4]
			}
			require.Equal(t, c.want, strings.Join(got, " "))
			skips := 0
			for _, r := range schedule(t, q).Runs {
				if skips += r.Skipped; r.Skipped > 0 {
					require.Contains(t, r.Reason, "unfinished")
				}
			}
			require.Equal(t, c.skips, skips)
			require.True(t, schedule(t, q).Next.IsZero(), "Until has passed")
		})
	}

	scenario(t, "a run that waits for its retry is unfinished, a dead one is not", func(t *testing.T) {
		q := open(t, nil)
		runs := 0
		stint.Handle(q, func(context.Context, *stint.Job[nightly]) error { runs++; return errOops }, &stint.Policy{MaxAttempts: 2, Backoff: stint.Constant(25 * time.Minute)})
		periodic(t, q, "*/10 * * * *")
		run(t, q)
		sleepUntil(utc(2000, 1, 1, 0, 39))
		synctest.Wait()
		require.Equal(t, 2, runs)
		info := schedule(t, q)
		require.Equal(t, stint.Dead, info.Runs[0].State)
		require.Equal(t, "oops", info.Runs[0].Reason)
		require.Equal(t, 2, info.Runs[1].Skipped)
		sleepUntil(utc(2000, 1, 1, 0, 41))
		synctest.Wait()
		require.Equal(t, 3, runs)
	})
}

func TestScheduleOptions(t *testing.T) {
	t.Parallel()
	scenario(t, "Starting and Until bound it", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"), stint.Starting(utc(2000, 1, 5, 3, 0)), stint.Until(utc(2000, 1, 7, 3, 0)))
		run(t, q)
		sleepUntil(utc(2000, 2, 1, 0, 0))
		require.Equal(t, []string{"01-05", "01-06", "01-07"}, d.times(dayLayout))
		upcoming, err := q.Upcoming("report", 5)
		require.NoError(t, err)
		require.Empty(t, upcoming)
	})
	scenario(t, "Jitter delays a run, by the same in each process", func(t *testing.T) {
		delays := map[time.Duration]int{}
		q := open(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[nightly]) error {
			delays[time.Since(job.ScheduledFor)]++
			return nil
		}, nil)
		periodic(t, q, "0 * * * *", stint.Jitter(10*time.Minute))
		run(t, q)
		time.Sleep(24*time.Hour + 30*time.Minute)
		synctest.Wait()
		require.Len(t, delays, 24, "all of them differ")
		for d := range delays {
			require.LessOrEqual(t, d, 10*time.Minute)
		}
	})
	scenario(t, "options of Enqueue hold for each job, and the policy of its kind for the rest", func(t *testing.T) {
		q := open(t, nil)
		periodic(t, q, "0 3 * * *", stint.OnQueue("low"), stint.Tags("night"), stint.MaxAttempts(3))
		require.NoError(t, q.Periodic("second", "0 3 * * *", nightly{N: 2}, stint.Priority(4)))
		paused := make(chan *stint.Work, 2)
		stint.Handle(q, func(_ context.Context, job *stint.Job[nightly]) error { paused <- &job.Work; return nil }, &stint.Policy{Queue: "reports", Priority: 1})
		run(t, q)
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		byName := map[string]*stint.Work{}
		for range 2 {
			w := <-paused
			byName[w.Schedule] = w
		}
		require.Equal(t, "low", byName["report"].Queue)
		require.Equal(t, 1, byName["report"].Priority)
		require.Equal(t, []string{"night"}, byName["report"].Tags)
		require.Equal(t, 3, byName["report"].MaxAttempts)
		require.Equal(t, "reports", byName["second"].Queue)
		require.Equal(t, 4, byName["second"].Priority)
	})
	scenario(t, "Config.MaxJobs does not keep a schedule from firing", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 1})
		enqueue(t, q, other{})
		periodic(t, q, "0 3 * * *")
		run(t, q)
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		require.Equal(t, 2, q.Counts().Ready)
	})
}

func TestBadSchedules(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		for name, c := range map[string]struct {
			spec string
			args stint.Args
			opts []stint.PeriodicOption
			want error
		}{
			"no spec":          {"", nightly{}, nil, stint.ErrBadSpec},
			"a word":           {"hourly", nightly{}, nil, stint.ErrBadSpec},
			"empty zone":       {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.InZone("")}, stint.ErrBadSpec},
			"unknown zone":     {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.InZone("Mars/Olympus")}, stint.ErrBadSpec},
			"nil args":         {"0 3 * * *", nil, nil, stint.ErrBadArgs},
			"In":               {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.In(time.Hour)}, stint.ErrBadOption},
			"Unique":           {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.Unique()}, stint.ErrBadOption},
			"All(0)":           {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.Missed(stint.All(0, time.Hour))}, stint.ErrBadOption},
			"All without age":  {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.Missed(stint.All(1, 0))}, stint.ErrBadOption},
			"unknown overlap":  {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.Overlap(9)}, stint.ErrBadOption},
			"negative jitter":  {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.Jitter(-1)}, stint.ErrBadOption},
			"over before":      {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.Starting(utc(2002, 1, 1, 0, 0)), stint.Until(utc(2001, 1, 1, 0, 0))}, stint.ErrBadOption},
			"bad queue":        {"0 3 * * *", nightly{}, []stint.PeriodicOption{stint.OnQueue("a b")}, stint.ErrBadOption},
			"args are no JSON": {"0 3 * * *", badArgs{}, nil, stint.ErrBadArgs},
		} {
			err := q.Periodic("report", c.spec, c.args, c.opts...)
			require.ErrorIs(t, err, c.want, name)
			require.True(t, strings.HasPrefix(err.Error(), "stint: "), "%v", err)
			require.Contains(t, err.Error(), `(schedule "report")`)
		}
		require.ErrorIs(t, q.Periodic("a b", "0 3 * * *", nightly{}), stint.ErrBadOption)
		list, err := q.Schedules()
		require.NoError(t, err)
		require.Empty(t, list)

		ctx := t.Context()
		require.ErrorIs(t, q.PauseSchedule(ctx, "none", "me"), stint.ErrNoSchedule)
		require.ErrorIs(t, q.ResumeSchedule(ctx, "none"), stint.ErrNoSchedule)
		require.ErrorIs(t, q.DeleteSchedule(ctx, "none"), stint.ErrNoSchedule)
		_, err = q.RunSchedule(ctx, "none")
		require.ErrorIs(t, err, stint.ErrNoSchedule)
		_, err = q.Backfill(ctx, "none", time.Now(), time.Now())
		require.ErrorIs(t, err, stint.ErrNoSchedule)
		_, err = q.Upcoming("none", 3)
		require.ErrorIs(t, err, stint.ErrNoSchedule)
	})
}

type badArgs struct{ F func() }

func (badArgs) Kind() string { return "bad" }

func TestScheduleChanges(t *testing.T) {
	t.Parallel()
	scenario(t, "a changed spec keeps the history", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		run(t, q)
		sleepUntil(utc(2000, 1, 3, 12, 0))
		periodic(t, q, "0 4 * * *", stint.InZone("UTC"))
		sleepUntil(utc(2000, 1, 4, 12, 0))
		require.Equal(t, []string{"01-01 03:00", "01-02 03:00", "01-03 03:00", "01-04 04:00"}, d.times(minuteLayout))
		runs := schedule(t, q).Runs
		require.Len(t, runs, 5)
		require.Contains(t, runs[3].Reason, `"0 3 * * *" (UTC) to "0 4 * * *" (UTC)`)
	})
	scenario(t, "what the old spec had missed is made up for", func(t *testing.T) {
		path := newPath(t)
		q, _ := keeping(t, path, 0)
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		require.NoError(t, q.Close())
		sleepUntil(utc(2000, 1, 3, 12, 0))
		q, d := keeping(t, path, 0)
		periodic(t, q, "0 18 * * *", stint.InZone("UTC"))
		run(t, q)
		sleepUntil(utc(2000, 1, 4, 12, 0))
		require.Equal(t, []string{"01-03 03:00", "01-03 18:00"}, d.times(minuteLayout))
	})
	scenario(t, "registering the same again writes nothing", func(t *testing.T) {
		q, _ := keeping(t, newPath(t), 0)
		periodic(t, q, "0 3 * * *", stint.Jitter(time.Minute))
		before := lastTx(q.DB())
		periodic(t, q, "0 3 * * *", stint.Jitter(time.Minute))
		require.Equal(t, before, lastTx(q.DB()))
	})
	scenario(t, "one that the program does not register is orphaned and does not fire", func(t *testing.T) {
		path := newPath(t)
		q, _ := keeping(t, path, 0)
		periodic(t, q, "@every 1h")
		require.False(t, schedule(t, q).Orphaned)
		require.NoError(t, q.Close())
		q, d := keeping(t, path, 0)
		run(t, q)
		time.Sleep(100 * time.Hour)
		require.Empty(t, d.times(dayLayout))
		info := schedule(t, q)
		require.True(t, info.Orphaned)
		require.True(t, info.Next.IsZero())
		_, err := q.RunSchedule(t.Context(), "report")
		require.ErrorIs(t, err, stint.ErrNoSchedule)
		require.ErrorContains(t, err, "Periodic")
		require.NoError(t, q.DeleteSchedule(t.Context(), "report"))
		list, err := q.Schedules()
		require.NoError(t, err)
		require.Empty(t, list)
	})
	scenario(t, "deleted and added while Run works", func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		run(t, q)
		periodic(t, q, "@every 1h")
		time.Sleep(150 * time.Minute)
		require.Len(t, d.times(dayLayout), 2)
		require.NoError(t, q.DeleteSchedule(t.Context(), "report"))
		time.Sleep(150 * time.Minute)
		require.Empty(t, d.times(dayLayout))
		periodic(t, q, "@every 1h")
		time.Sleep(150 * time.Minute)
		require.Len(t, d.times(dayLayout), 2)
	})
	scenario(t, "@every keeps its phase over restarts", func(t *testing.T) {
		path := newPath(t)
		var all []string
		for range 10 { // more often than it fires
			q, d := keeping(t, path, 0)
			periodic(t, q, "@every 24h")
			run(t, q)
			time.Sleep(7 * time.Hour)
			all = append(all, d.times(minuteLayout)...)
			require.NoError(t, q.Close())
		}
		require.Equal(t, []string{"01-02 00:00", "01-03 00:00"}, all)
	})
}

func TestPauseSchedule(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		path := newPath(t)
		q, d := keeping(t, path, 0)
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		run(t, q)
		time.Sleep(24 * time.Hour)
		require.NoError(t, q.PauseSchedule(t.Context(), "report", "olga"))
		since := time.Now()
		require.NoError(t, q.PauseSchedule(t.Context(), "report", "somebody else"), "and the first stays")
		time.Sleep(72 * time.Hour)
		info := schedule(t, q)
		require.Equal(t, "olga", info.PausedBy)
		require.True(t, info.PausedSince.Equal(since))
		require.NoError(t, q.Close())

		q, d2 := keeping(t, path, 0)
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		run(t, q)
		id, err := q.RunSchedule(t.Context(), "report")
		require.NoError(t, err, "a paused one can be run by hand")
		require.NotZero(t, id)
		time.Sleep(24 * time.Hour)
		require.NoError(t, q.ResumeSchedule(t.Context(), "report"))
		time.Sleep(24 * time.Hour)
		require.Equal(t, []string{"01-01"}, d.times(dayLayout))
		require.Equal(t, []string{"01-05", "01-06"}, d2.times(dayLayout))
		runs := schedule(t, q).Runs
		require.Equal(t, 4, runs[2].Skipped)
		require.Equal(t, "paused by olga", runs[2].Reason)
	})
}

func TestRunScheduleAndBackfill(t *testing.T) {
	t.Parallel()
	scenario(t, "run now, but not beside an unfinished run", func(t *testing.T) {
		q, d := keeping(t, newPath(t), time.Hour)
		periodic(t, q, "0 3 * * *")
		run(t, q)
		id, err := q.RunSchedule(t.Context(), "report")
		require.NoError(t, err)
		_, err = q.RunSchedule(t.Context(), "report")
		require.ErrorIs(t, err, stint.ErrRunning)
		require.ErrorContains(t, err, id.String())
		require.Len(t, d.times(dayLayout), 1)
		time.Sleep(61 * time.Minute)
		_, err = q.RunSchedule(t.Context(), "report")
		require.NoError(t, err)
	})
	scenario(t, "a range is made up for, one run after the other", func(t *testing.T) {
		q, d := keeping(t, newPath(t), time.Hour)
		sleepUntil(utc(2000, 2, 1, 12, 0))
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		run(t, q)
		n, err := q.Backfill(t.Context(), "report", utc(2000, 1, 10, 3, 0), utc(2000, 1, 14, 3, 0))
		require.NoError(t, err)
		require.Equal(t, 5, n)
		synctest.Wait()
		require.Equal(t, 4, schedule(t, q).Waiting)
		require.Equal(t, []string{"01-10"}, d.times(dayLayout))
		time.Sleep(6 * time.Hour)
		require.Equal(t, []string{"01-11", "01-12", "01-13", "01-14"}, d.times(dayLayout))
		require.Zero(t, schedule(t, q).Waiting)

		_, err = q.Backfill(t.Context(), "report", utc(1990, 1, 1, 0, 0), utc(2000, 1, 1, 0, 0))
		require.ErrorIs(t, err, stint.ErrBadOption)
		_, err = q.Backfill(t.Context(), "report", time.Now(), time.Now().Add(time.Hour))
		require.ErrorIs(t, err, stint.ErrBadOption)
	})
	scenario(t, "what waits goes on after a restart", func(t *testing.T) {
		path := newPath(t)
		q, _ := keeping(t, path, 0)
		sleepUntil(utc(2000, 2, 1, 12, 0))
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		_, err := q.Backfill(t.Context(), "report", utc(2000, 1, 10, 3, 0), utc(2000, 1, 14, 3, 0))
		require.NoError(t, err)
		require.NoError(t, q.Close())
		q, d := keeping(t, path, 0)
		periodic(t, q, "0 3 * * *", stint.InZone("UTC"))
		run(t, q)
		require.Len(t, d.times(dayLayout), 5)
	})
	scenario(t, "what comes next", func(t *testing.T) {
		q, _ := keeping(t, newPath(t), 0)
		sleepUntil(utc(2000, 3, 25, 12, 0))
		periodic(t, q, "30 2 * * *", stint.InZone("Europe/Berlin"))
		times, err := q.Upcoming("report", 3)
		require.NoError(t, err)
		var got []string
		for _, at := range times {
			got = append(got, at.Format("01-02 15:04 MST"))
		}
		require.Equal(t, []string{"03-26 03:00 CEST", "03-27 02:30 CEST", "03-28 02:30 CEST"}, got)
		info := schedule(t, q)
		require.Equal(t, times[0], info.Next)
		require.Equal(t, "Europe/Berlin", info.Zone)
		require.Contains(t, info.Words, "02:30")
	})
}

// A clock that jumps: a queue closed in one bubble is opened in another, whose
// time begins in the year 2000 again.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	inBubbles := func(t *testing.T, spec string, visits ...func(t *testing.T, q *stint.Queue, d *logbook)) {
		path := newPath(t)
		for _, visit := range visits {
			bubble(t, func(t *testing.T) {
				q, d := keeping(t, path, 0)
				periodic(t, q, spec, stint.InZone("UTC"))
				run(t, q)
				visit(t, q, d)
				require.NoError(t, q.Close())
			})
		}
	}
	t.Run("hours back", func(t *testing.T) {
		inBubbles(t, "*/10 * * * *",
			func(t *testing.T, q *stint.Queue, d *logbook) {
				time.Sleep(3*time.Hour + time.Second)
				require.Len(t, d.times(dayLayout), 18)
			},
			func(t *testing.T, q *stint.Queue, d *logbook) {
				time.Sleep(time.Hour + time.Second)
				require.Len(t, d.times(dayLayout), 6, "what follows real time goes on")
				require.Contains(t, schedule(t, q).Runs[14-1].Reason, "set back by 3h0m")
			},
		)
		inBubbles(t, "0 1 * * *",
			func(t *testing.T, q *stint.Queue, d *logbook) {
				time.Sleep(3 * time.Hour)
				require.Len(t, d.times(dayLayout), 1)
			},
			func(t *testing.T, q *stint.Queue, d *logbook) {
				time.Sleep(24 * time.Hour)
				require.Empty(t, d.times(dayLayout), "a fixed time that has run does not run again")
				time.Sleep(2 * time.Hour)
				require.Equal(t, []string{"01-02"}, d.times(dayLayout))
			},
		)
	})
	t.Run("back, and what was lived through is not missed when it is right again", func(t *testing.T) {
		path := newPath(t)
		visit := func(at, until time.Time, want ...string) {
			bubble(t, func(t *testing.T) {
				sleepUntil(at)
				q, d := keeping(t, path, 0)
				periodic(t, q, "0 3 * * *", stint.InZone("UTC"), stint.Missed(stint.All(100, 10000*time.Hour)))
				run(t, q)
				sleepUntil(until)
				require.Equal(t, want, d.times(dayLayout))
				require.NoError(t, q.Close())
			})
		}
		visit(utc(2026, 11, 20, 12, 0), utc(2026, 11, 22, 12, 0), "11-21", "11-22")
		visit(utc(2001, 1, 1, 0, 0), utc(2001, 1, 2, 12, 0), "01-01", "01-02")
		visit(utc(2026, 11, 22, 13, 0), utc(2026, 11, 23, 12, 0), "11-23")
		visit(utc(2026, 11, 25, 12, 0), utc(2026, 11, 25, 12, 1), "11-24", "11-25")
	})
}

// A thousand schedules cost nothing between their times.
func TestIdleSchedulesDoNotWakeUp(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q, d := keeping(t, newPath(t), 0)
		for i := range 1000 { // two fire at each full minute from 03:00 on
			name, spec := fmt.Sprintf("s%d", i), fmt.Sprintf("%d %d * * *", i/2%60, 3+i/120)
			require.NoError(t, q.Periodic(name, spec, nightly{}, stint.InZone("UTC")))
		}
		run(t, q)
		synctest.Wait()
		before, commits := q.Stats().Wakeups, lastTx(q.DB())
		sleepUntil(utc(2000, 1, 1, 2, 59))
		require.Equal(t, before, q.Stats().Wakeups)
		require.Equal(t, commits, lastTx(q.DB()))
		sleepUntil(utc(2000, 1, 2, 2, 59))
		require.Len(t, d.times(dayLayout), 1000)
		require.Equal(t, before+500, q.Stats().Wakeups, "one for each minute in which something fires")
	})
}

// How late a job of a schedule starts, beside a thousand idle ones.
func BenchmarkScheduleLateness(b *testing.B) {
	q := open(b, nil)
	starts := make(chan time.Duration, 10)
	stint.Handle(q, func(_ context.Context, job *stint.Job[nightly]) error {
		starts <- time.Since(job.ScheduledFor)
		return nil
	}, nil)
	for i := range 1000 {
		require.NoError(b, q.Periodic(fmt.Sprintf("s%d", i), fmt.Sprintf("%d 3 1 1 *", i%60), nightly{}))
	}
	require.NoError(b, q.Periodic("each-second", "* * * * * *", nightly{}))
	w := begin(q)
	<-starts
	var late []time.Duration
	before := q.Stats().Wakeups
	b.ResetTimer()
	for b.Loop() {
		late = append(late, <-starts)
	}
	b.StopTimer()
	slices.Sort(late)
	b.ReportMetric(float64(late[len(late)/2].Microseconds())/1000, "ms-late-p50")
	b.ReportMetric(float64(late[len(late)-1].Microseconds())/1000, "ms-late-max")
	b.ReportMetric(float64(q.Stats().Wakeups-before)/float64(len(late)), "wakeups/fire")
	w.end()
	require.NoError(b, <-w.result)
}
