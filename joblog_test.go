package stint_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// logLines are the lines of a kept log.
func logLines(log string) []string {
	if log == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(log, "\n"), "\n")
}

func TestJobLog(t *testing.T) {
	t.Parallel()
	scenario(t, "goes to Config.Logger with the job's attributes, and is kept as text", func(t *testing.T) {
		var out bytes.Buffer
		_, info := inRuns(t, &stint.Config{
			Logger:        slog.New(slog.NewJSONHandler(&out, nil)),
			KeepCompleted: -1,
		}, func(_ context.Context, job *stint.Job[note], _ int) error {
			log := job.Logger()
			log.Debug("not seen")
			log.Info("began", "size", 7)
			time.Sleep(1234 * time.Millisecond)
			log.With("a", 1).WithGroup("g").With("b", "two words").Warn("look", slog.Group("h", "c", time.Second))
			require.Same(t, log, job.Logger())
			return nil
		})
		lines := logLines(out.String())
		require.Len(t, lines, 2)
		require.Regexp(t, `"msg":"began","job_id":1,"kind":"note","queue":"default","attempt":1,"size":7`, lines[0])
		require.Regexp(t, `"msg":"look","job_id":1,.*"a":1,"g":\{"b":"two words","h":\{"c":1000000000\}\}`, lines[1])
		at := info.EnqueuedAt
		require.Equal(t, "time="+at.Format("15:04:05.000")+" level=INFO msg=began size=7\n"+
			"time="+at.Add(1234*time.Millisecond).Format("15:04:05.000")+` level=WARN msg=look a=1 g.b="two words" g.h.c=1s`+"\n", info.Log)
	})
	scenario(t, "is kept from Info on although Config.Logger takes nothing, and Debug goes only to it", func(t *testing.T) {
		var out bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}))
		levels := func(_ context.Context, job *stint.Job[note], _ int) error {
			for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
				job.Logger().Log(context.Background(), level, "at "+level.String())
			}
			return nil
		}
		_, info := inRuns(t, &stint.Config{Logger: logger}, levels)
		require.Len(t, logLines(info.Log), 3)
		require.Len(t, logLines(out.String()), 1)

		out.Reset()
		logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		_, info = inRuns(t, &stint.Config{Logger: logger}, levels)
		require.Len(t, logLines(info.Log), 3)
		require.Contains(t, out.String(), "at DEBUG")
	})
	scenario(t, "is that of each attempt", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			job.Logger().Info(fmt.Sprintf("attempt %d", job.Attempt))
			time.Sleep(time.Minute)
			switch job.Attempt {
			case 1:
				return errOops
			case 2:
				panic("oops")
			}
			return stint.Kill(errOops)
		}, hour)
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		require.Contains(t, get(t, q, id).Log, "attempt 1", "while it runs")
		time.Sleep(2 * time.Minute)
		info := get(t, q, id)
		require.Contains(t, info.Attempts[0].Log, "attempt 1")
		require.Equal(t, info.Attempts[0].Log, info.Log, "of the attempt that was the last")
		info, err := q.Wait(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, info.Attempts, 3)
		for i, a := range info.Attempts {
			require.Contains(t, a.Log, fmt.Sprintf("attempt %d", i+1))
			require.Len(t, logLines(a.Log), 1)
		}
		require.Equal(t, info.Attempts[2].Log, info.Log)
	})
	scenario(t, "goes on over snoozes, slices and shutdowns of an attempt", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		var id stint.ID
		for life := range 2 {
			q := openAt(t, path, &stint.Config{KeepCompleted: -1, ShutdownTimeout: time.Second})
			runs := 0
			stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
				if runs++; life == 1 && runs == 1 {
					return stint.Snooze(time.Second) // without a line of its own
				}
				job.Logger().Info(fmt.Sprintf("run %d of life %d", runs, life))
				time.Sleep(9 * time.Second)
				switch {
				case life == 0 && runs == 1:
					return job.Checkpoint(ctx, 1)
				case life == 0:
					<-ctx.Done()
					return context.Cause(ctx)
				}
				return nil
			}, &stint.Policy{Timeout: 10 * time.Second})
			if life == 0 {
				id = enqueue(t, q, note{})
				stop := run(t, q)
				time.Sleep(15 * time.Second)
				require.NoError(t, stop())
				require.NoError(t, q.Close())
				continue
			}
			info := runUntil(t, q, id)
			require.Regexp(t, `(?s)run 1 of life 0.*run 2 of life 0.*run 2 of life 1`, info.Log)
			require.Len(t, logLines(info.Log), 3)
		}
	})
	scenario(t, "keeps the last 16 KiB of whole lines, also over slices", func(t *testing.T) {
		const lines = 5000
		_, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
			for i := range lines {
				job.Logger().Info("line", "n", run*10_000+i, "text", strings.Repeat("é", i%40))
			}
			if run < 3 {
				return stint.Snooze(time.Second)
			}
			return stint.Kill(errOops)
		})
		require.LessOrEqual(t, len(info.Log), 16<<10)
		require.Greater(t, len(info.Log), 15<<10)
		got := logLines(info.Log)
		require.Equal(t, fmt.Sprintf("(%d earlier lines were dropped)", 3*lines-len(got)+1), got[0])
		for i, line := range got[1:] {
			require.Regexp(t, fmt.Sprintf(`^time=\S+ level=INFO msg=line n=%d text=`, 35_000-len(got)+1+i), line)
		}
	})
	scenario(t, "cuts a line that is too long, and keeps those behind it", func(t *testing.T) {
		_, info := inRuns(t, nil, func(_ context.Context, job *stint.Job[note], _ int) error {
			job.Logger().Info("before")
			job.Logger().Info(strings.Repeat("ü\n", 20_000))
			job.Logger().Info("behind")
			return stint.Kill(errOops)
		})
		got := logLines(info.Log)
		require.LessOrEqual(t, len(info.Log), 16<<10)
		require.Len(t, got, 2)
		require.Equal(t, "(2 earlier lines were dropped)", got[0])
		require.Contains(t, got[1], "behind")
	})
	scenario(t, "names the schedule that has enqueued the job", func(t *testing.T) {
		var out lockedBuffer
		q := open(t, &stint.Config{Logger: slog.New(slog.NewTextHandler(&out, nil))})
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error { job.Logger().Info("from the job"); return nil }, nil)
		require.NoError(t, q.Periodic("nightly", "0 2 * * *", note{}))
		run(t, q)
		time.Sleep(24 * time.Hour)
		require.Contains(t, out.String(), `msg="from the job" job_id=1 kind=note queue=default attempt=1 schedule=nightly`)
	})
}

func TestJobLogFromManyGoroutines(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		_, info := inRuns(t, nil, func(_ context.Context, job *stint.Job[note], _ int) error {
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					for i := range 200 {
						job.Logger().Info("line", "g", g, "i", i)
					}
				})
			}
			wg.Wait()
			return stint.Kill(errOops)
		})
		lines := logLines(info.Log)
		whole := regexp.MustCompile(`^time=\d\d:\d\d:\d\d\.\d\d\d level=INFO msg=line g=\d i=\d+$`)
		for _, line := range lines[1:] {
			require.Regexp(t, whole, line)
		}
		require.Equal(t, fmt.Sprintf("(%d earlier lines were dropped)", 1600-len(lines)+1), lines[0])
	})
}
