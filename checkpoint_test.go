package stint_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// iterate goes through items up to n, each of which takes a time, from the
// checkpoint on.
func iterate(ctx context.Context, job *stint.Job[note], n int, each time.Duration, item func(int)) error {
	next := 0
	if _, err := job.Resume(&next); err != nil {
		return err
	}
	for next < n {
		item(next)
		time.Sleep(each)
		next++
		if err := job.Checkpoint(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

func TestCheckpoint(t *testing.T) {
	t.Parallel()
	for what, end := range badEnds {
		scenario(t, "what "+what+" ends goes on at the last one", func(t *testing.T) {
			var resumed []int
			_, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
				at := -1
				found, err := job.Resume(&at)
				require.NoError(t, err)
				require.Equal(t, run > 1, found)
				resumed = append(resumed, at)
				for i := range 100 {
					require.NoError(t, job.Checkpoint(ctx, 1000*run+i))
				}
				if run < 4 {
					return end(ctx)
				}
				return nil
			})
			require.Equal(t, []int{-1, 1099, 2099, 3099}, resumed)
			require.Equal(t, "4099", string(info.Checkpoint))
		})
	}
	scenario(t, "is saved in the background, many in one commit", func(t *testing.T) {
		q := open(t, nil)
		proceed := make(chan bool)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			<-proceed
			for i := range 10_000 {
				require.NoError(t, job.Checkpoint(ctx, map[string]int{"at": i}))
			}
			<-proceed
			return nil
		}, nil)
		id := enqueue(t, q, note{})
		h := holder(t, q, 1)
		before := lastTx(q.DB())
		proceed <- true
		synctest.Wait()
		require.Empty(t, get(t, q, id).Checkpoint)
		h.release()
		synctest.Wait()
		info := get(t, q, id)
		require.Equal(t, stint.Running, info.State)
		require.JSONEq(t, `{"at":9999}`, string(info.Checkpoint))
		require.LessOrEqual(t, lastTx(q.DB())-before, 3)

		again := openAt(t, crashed(t, q), nil)
		info = get(t, again, id)
		require.Equal(t, stint.Ready, info.State)
		require.JSONEq(t, `{"at":9999}`, string(info.Checkpoint), "and survives a crash")
		close(proceed)
	})
	scenario(t, "Resume tells within an attempt, too", func(t *testing.T) {
		inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], _ int) error {
			type place struct{ File, Line int }
			at := place{File: 9}
			found, err := job.Resume(&at)
			require.NoError(t, err)
			require.False(t, found)
			require.Equal(t, place{File: 9}, at)
			require.NoError(t, job.Checkpoint(ctx, place{Line: 7}))
			found, err = job.Resume(&at)
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, place{Line: 7}, at)
			return nil
		})
	})
	scenario(t, "returns the cause of a context that has ended, and is saved all the same", func(t *testing.T) {
		var cause error
		_, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], _ int) error {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(errOops)
			cause = job.Checkpoint(ctx, 5)
			return stint.Kill(cause)
		})
		require.Equal(t, errOops, cause)
		require.Equal(t, "5", string(info.Checkpoint))
	})
	scenario(t, "of a cancelled job returns that, and the job is dead", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			return iterate(ctx, job, 1000, time.Second, func(int) {})
		}, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(5500 * time.Millisecond)
		require.NoError(t, q.Cancel(t.Context(), id, "eva"))
		time.Sleep(time.Second)
		info := get(t, q, id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "cancelled by eva", info.Reason)
		require.Equal(t, "6", string(info.Checkpoint))
	})
	scenario(t, "refuses what it cannot save", func(t *testing.T) {
		var kept *stint.Job[note]
		inRuns(t, &stint.Config{MaxArgsSize: 100}, func(ctx context.Context, job *stint.Job[note], run int) error {
			kept = job
			if run == 2 {
				var text string
				found, err := job.Resume(&text)
				require.ErrorContains(t, err, "*string")
				require.False(t, found)
				return nil
			}
			require.NoError(t, job.Checkpoint(ctx, 1))
			for _, do := range []func(any) error{
				func(v any) error { return job.Checkpoint(ctx, v) },
				func(v any) error { return job.CommitProgress(count("effect"), v) },
			} {
				require.ErrorIs(t, do(make(chan int)), stint.ErrBadOption)
				require.ErrorContains(t, do(make(chan int)), "chan int")
				require.ErrorIs(t, do(strings.Repeat("x", 99)), stint.ErrArgsTooLarge)
			}
			_, err := job.Resume(7)
			require.ErrorIs(t, err, stint.ErrBadOption)
			_, err = job.Resume(nil)
			require.ErrorIs(t, err, stint.ErrBadOption)
			return errOops
		})
		require.ErrorIs(t, kept.Checkpoint(t.Context(), 1), stint.ErrNotRunning)
		require.ErrorIs(t, kept.CommitProgress(count("effect"), 1), stint.ErrNotRunning)
	})
}

// A job of 100 s with a Timeout of 10 s gets its time in slices of 8 s.
func TestSlices(t *testing.T) {
	t.Parallel()
	short := &stint.Policy{Timeout: 10 * time.Second}
	wrappings := map[string]func(error) error{
		"as it is": func(err error) error { return err },
		"wrapped":  func(err error) error { return fmt.Errorf("while iterating: %w", err) },
	}
	for how, wrap := range wrappings {
		scenario(t, "end the turn of a job, and nothing else, if the error is returned "+how, func(t *testing.T) {
			q := open(t, &stint.Config{Workers: 1})
			var items, runs []int
			var others atomic.Int32
			var atOthers []int32
			stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
				if job.Args.N > 0 {
					others.Add(1)
					time.Sleep(time.Second)
					return nil
				}
				require.Equal(t, 1, job.Attempt)
				runs = append(runs, len(items))
				atOthers = append(atOthers, others.Load())
				err := iterate(ctx, job, 100, time.Second, func(i int) { items = append(items, i) })
				if err != nil {
					return wrap(err)
				}
				return nil
			}, short)
			long := enqueue(t, q, note{})
			for n := range 5 {
				enqueue(t, q, note{N: n + 1})
			}
			run(t, q)
			time.Sleep(8*time.Second + 500*time.Microsecond)
			info := get(t, q, long)
			require.Equal(t, stint.Scheduled, info.State)
			require.Equal(t, "8", string(info.Checkpoint))
			time.Sleep(10 * time.Second)
			require.Equal(t, stint.Running, get(t, q, long).State)
			info, err := q.Wait(t.Context(), long)
			require.NoError(t, err)
			require.Equal(t, stint.Completed, info.State)
			require.Zero(t, info.Failures+info.Snoozes+info.Crashes)
			require.Empty(t, info.Attempts)
			require.Equal(t, []int{0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96}, runs)
			require.Len(t, items, 100, "each once")
			require.Equal(t, []int32{0, 1, 2, 3, 4, 5}, atOthers[:6], "one other had its turn between two slices")
			require.Zero(t, q.Stats().Failed)
		})
	}
	scenario(t, "do not begin without a Timeout", func(t *testing.T) {
		q := open(t, nil)
		var runs atomic.Int32
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			runs.Add(1)
			return iterate(ctx, job, 1000, time.Hour, func(int) {})
		}, &stint.Policy{Timeout: -1})
		id := enqueue(t, q, note{})
		runUntil(t, q, id)
		require.EqualValues(t, 1, runs.Load())
	})
	scenario(t, "may be exceeded by a handler that ignores the error, up to its Timeout", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			yields := 0
			for i := range 10 {
				time.Sleep(time.Second - time.Millisecond)
				if job.Checkpoint(ctx, i) != nil {
					yields++
				}
			}
			return job.SetResult(yields)
		}, short)
		id := enqueue(t, q, note{})
		runUntil(t, q, id)
		yields, err := stint.Result[int](q, id)
		require.NoError(t, err)
		require.Equal(t, 2, yields)
	})
	scenario(t, "do not let a job expire that has begun", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			return iterate(ctx, job, 100, time.Second, func(int) {})
		}, short)
		id := enqueue(t, q, note{}, stint.ExpiresIn(20*time.Second))
		info := runUntil(t, q, id)
		require.Equal(t, stint.Completed, info.State, info.Reason)
	})
	scenario(t, "keep the unique place", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			return iterate(ctx, job, 20, time.Second, func(int) {})
		}, short)
		id := enqueue(t, q, note{}, stint.Unique())
		run(t, q)
		for range 19 {
			time.Sleep(time.Second)
			duplicate(t, q, id, note{}, stint.Unique())
		}
	})
}

func TestCheckpointAtShutdown(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"Checkpoint", "CommitProgress"} {
		scenario(t, way+" interrupts as soon as Run is to end, and the next Run goes on", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			var items []int
			var told error
			var id stint.ID
			for life := range 4 {
				q := openAt(t, path, nil)
				stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) (err error) {
					next := 0
					_, err = job.Resume(&next)
					require.NoError(t, err)
					for ; next < 35; next++ {
						time.Sleep(time.Second)
						items = append(items, next)
						if way == "Checkpoint" {
							err = job.Checkpoint(ctx, next+1)
						} else {
							err = job.CommitProgress(count(strconv.Itoa(next)), next+1)
						}
						if told = err; err != nil {
							return err
						}
					}
					return nil
				}, &stint.Policy{Timeout: -1})
				if life == 0 {
					id = enqueue(t, q, note{})
				}
				stop := run(t, q)
				time.Sleep(9*time.Second + 500*time.Millisecond)
				begun := time.Now()
				require.NoError(t, stop())
				require.LessOrEqual(t, time.Since(begun), time.Second, "not after ShutdownTimeout")
				if life == 3 {
					gone(t, q, id)
					break
				}
				require.ErrorIs(t, told, stint.ErrShutdown)
				info := get(t, q, id)
				require.Equal(t, stint.Ready, info.State)
				require.Equal(t, strconv.Itoa(10*(life+1)), string(info.Checkpoint))
				require.Zero(t, info.Failures+info.Snoozes+info.Crashes)
				require.Empty(t, info.Attempts)
				require.NoError(t, q.Close())
			}
			require.Len(t, items, 35)
		})
	}
	scenario(t, "the error may be ignored for as long as ShutdownTimeout", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			for i := range 20 {
				_ = job.Checkpoint(ctx, i)
				time.Sleep(time.Second)
			}
			return nil
		}, nil)
		id := enqueue(t, q, note{})
		stop := run(t, q)
		time.Sleep(time.Second)
		require.NoError(t, stop())
		gone(t, q, id)
	})
	scenario(t, "an interruption without a checkpoint writes nothing", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			job.Progress(1, 2, "half")
			<-ctx.Done()
			return context.Cause(ctx)
		}, &stint.Policy{Timeout: -1})
		id := enqueue(t, q, note{})
		stop := run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Progress{Done: 1, Total: 2, Text: "half"}, get(t, q, id).Progress)
		require.NoError(t, stop())
		require.Zero(t, get(t, q, id).Progress)
	})
}

func TestProgress(t *testing.T) {
	t.Parallel()
	scenario(t, "is shown while the job runs, and kept with what is stored", func(t *testing.T) {
		q := open(t, nil)
		next := make(chan bool)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			if job.Attempt > 1 {
				<-next
				return nil
			}
			job.Progress(1, 10, "reading")
			<-next
			job.Progress(2, 10, strings.Repeat("ü", 1000))
			<-next
			return errOops
		}, hour)
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		before := lastTx(q.DB())
		require.Equal(t, stint.Progress{Done: 1, Total: 10, Text: "reading"}, get(t, q, id).Progress)
		next <- true
		synctest.Wait()
		want := stint.Progress{Done: 2, Total: 10, Text: strings.Repeat("ü", 500)}
		require.Equal(t, want, list(t, q, stint.Filter{State: stint.Running})[0].Progress)
		require.Equal(t, before, lastTx(q.DB()), "nothing is written for it")
		next <- true
		synctest.Wait()
		info := get(t, q, id)
		require.Equal(t, stint.Retrying, info.State)
		require.Equal(t, want, info.Progress)
		time.Sleep(time.Hour)
		require.Equal(t, want, get(t, q, id).Progress, "until the next attempt says something else")
		next <- true
	})
}

// In Perform all that a handler puts by stays in memory.
func TestPerformPutsNothingBy(t *testing.T) {
	t.Parallel()
	scenario(t, "of what a handler keeps", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			var kept int
			step := func(context.Context) error { kept = 7; return nil }
			require.NoError(t, job.Step(ctx, "one", step, &kept))
			require.ErrorIs(t, job.Step(ctx, "one", step, &kept), stint.ErrBadOption)
			require.NoError(t, job.Step(ctx, "two", step, &kept))
			require.Equal(t, 7, kept)
			time.Sleep(9 * time.Second)
			require.NoError(t, job.Checkpoint(ctx, 1), "no slices")
			at := 0
			found, err := job.Resume(&at)
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, 1, at)
			require.NoError(t, job.CommitProgress(count("effect"), 2))
			_, err = job.Resume(&at)
			require.NoError(t, err)
			require.Equal(t, 2, at)
			job.Progress(1, 2, "half")
			job.Logger().Info("hello")
			require.NoError(t, job.SetResult("dropped"))
			time.Sleep(2 * time.Second)
			return job.Checkpoint(ctx, 3)
		}, &stint.Policy{Timeout: 10 * time.Second})
		run(t, q)
		require.ErrorIs(t, q.Perform(t.Context(), note{}), stint.ErrTimeout)
		require.Equal(t, map[string]int{"effect": 1}, counters(q.DB()))
		require.Zero(t, q.Counts())
		require.Empty(t, list(t, q, stint.Filter{}))
	})
}
