package stint_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// badEnds are the ways of an attempt to end without completing the job.
var badEnds = map[string]func(ctx context.Context) error{
	"an error":          func(context.Context) error { return errOops },
	"a panic":           func(context.Context) error { panic("oops") },
	"runtime.Goexit":    func(context.Context) error { runtime.Goexit(); return nil },
	"RetryAfter":        func(context.Context) error { return stint.RetryAfter(time.Minute, errOops) },
	"Snooze":            func(context.Context) error { return stint.Snooze(time.Minute) },
	"a timeout":         func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
	"a timeout ignored": func(context.Context) error { time.Sleep(time.Hour); return errOops },
}

// inRuns runs a job until it has ended. fn gets the number of the run, from 1.
func inRuns(t *testing.T, cfg *stint.Config, fn func(ctx context.Context, job *stint.Job[note], run int) error) (*stint.Queue, stint.Info) {
	t.Helper()
	q := open(t, cfg)
	runs := 0
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error { runs++; return fn(ctx, job, runs) }, hour)
	id := enqueue(t, q, note{})
	return q, runUntil(t, q, id)
}

// runUntil works the queue, in virtual time, and returns when a job has ended.
func runUntil(t *testing.T, q *stint.Queue, id stint.ID) stint.Info {
	t.Helper()
	end := wait(t.Context(), q, id)
	synctest.Wait() // it must not be gone before
	run(t, q)
	w := <-end
	require.NoError(t, w.err)
	synctest.Wait() // the handler may have more to say after Commit
	return w.info
}

// crashed is the file of a queue as a kill would leave it now.
func crashed(t *testing.T, q *stint.Queue) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crashed.db")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, q.DB().View(func(tx *bolt.Tx) error { _, err := tx.WriteTo(f); return err }))
	require.NoError(t, f.Close())
	return path
}

// threeSteps runs three steps and calls between after each.
func threeSteps(ctx context.Context, job *stint.Job[note], ran map[string]int, between func(step int) error) error {
	for i := 1; i <= 3; i++ {
		var number int
		var texts []string
		name := fmt.Sprintf("step %d", i)
		err := job.Step(ctx, name, func(context.Context) error {
			ran[name]++
			number, texts = 10*i, strings.Split("abc"[:i], "")
			return nil
		}, &number, &texts)
		if err != nil {
			return err
		}
		if number != 10*i || strings.Join(texts, "") != "abc"[:i] {
			return stint.Kill(fmt.Errorf("step %d kept %d and %v", i, number, texts))
		}
		if err := between(i); err != nil {
			return err
		}
	}
	return nil
}

var ranOnce = map[string]int{"step 1": 1, "step 2": 1, "step 3": 1}

func TestStepRunsOnce(t *testing.T) {
	t.Parallel()
	for what, end := range badEnds {
		scenario(t, "also after "+what, func(t *testing.T) {
			ran := map[string]int{}
			_, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
				return threeSteps(ctx, job, ran, func(step int) error {
					if step == run {
						return end(ctx)
					}
					return nil
				})
			})
			require.Equal(t, stint.Completed, info.State, info.Reason)
			require.Equal(t, ranOnce, ran)
			require.Equal(t, []string{"step 1", "step 2", "step 3"}, info.Steps)
		})
	}
	scenario(t, "also after a crash, but for the step that was running", func(t *testing.T) {
		ran, began, proceed := map[string]int{}, make(chan bool), make(chan bool)
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			return threeSteps(ctx, job, ran, func(int) error {
				began <- true
				<-proceed
				return job.Step(ctx, "step 2", func(context.Context) error {
					ran["step 2"]++
					began <- true
					<-proceed
					return errOops
				})
			})
		}, hour)
		id := enqueue(t, q, note{})
		run(t, q)
		<-began
		require.Equal(t, []string{"step 1"}, get(t, q, id).Steps, "on disk when Step has returned")
		proceed <- true
		<-began
		again := openAt(t, crashed(t, q), nil)
		stint.Handle(again, func(ctx context.Context, job *stint.Job[note]) error {
			return threeSteps(ctx, job, ran, func(int) error { return nil })
		}, hour)
		require.Equal(t, stint.Completed, runUntil(t, again, id).State)
		require.Equal(t, map[string]int{"step 1": 1, "step 2": 2, "step 3": 1}, ran)
		close(proceed)
	})
	scenario(t, "also after a shutdown and in another process", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		ran := map[string]int{}
		var id stint.ID
		for life := 1; life <= 3; life++ {
			q := openAt(t, path, &stint.Config{ShutdownTimeout: time.Second, KeepCompleted: -1})
			stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
				return threeSteps(ctx, job, ran, func(step int) error {
					if step == life && life < 3 {
						<-ctx.Done()
						return context.Cause(ctx)
					}
					return nil
				})
			}, nil)
			if life == 1 {
				id = enqueue(t, q, note{})
			}
			stop := run(t, q)
			synctest.Wait()
			require.NoError(t, stop())
			info := get(t, q, id)
			require.Len(t, info.Steps, life)
			require.Zero(t, info.Failures+info.Snoozes+info.Crashes)
			require.NoError(t, q.Close())
		}
		require.Equal(t, ranOnce, ran)
	})
	scenario(t, "also after Retry of a dead job; Retry of a completed one begins anew", func(t *testing.T) {
		ran := map[string]int{}
		q, info := inRuns(t, &stint.Config{KeepCompleted: -1}, func(ctx context.Context, job *stint.Job[note], run int) error {
			return threeSteps(ctx, job, ran, func(step int) error {
				if run == 1 && step == 2 {
					return stint.Kill(errOops)
				}
				return job.SetResult(run)
			})
		})
		require.Equal(t, stint.Dead, info.State)
		require.NoError(t, q.Retry(t.Context(), info.ID))
		synctest.Wait()
		require.Equal(t, stint.Completed, get(t, q, info.ID).State)
		require.Equal(t, ranOnce, ran)
		require.NoError(t, q.Pause(t.Context(), "default", "me"))
		require.NoError(t, q.Retry(t.Context(), info.ID))
		require.Empty(t, get(t, q, info.ID).Result)
		require.Empty(t, get(t, q, info.ID).Steps)
		require.NoError(t, q.Resume(t.Context(), "default"))
		synctest.Wait()
		require.Equal(t, map[string]int{"step 1": 2, "step 2": 2, "step 3": 2}, ran)
	})
}

func TestStepThatFails(t *testing.T) {
	t.Parallel()
	scenario(t, "returns the error as it is and stores nothing", func(t *testing.T) {
		tries := 0
		_, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
			err := job.Step(ctx, "one", func(context.Context) error {
				if tries++; tries < 4 {
					return errOops
				}
				return nil
			})
			if run == 1 {
				require.Equal(t, errOops, err)
				require.Equal(t, errOops, job.Step(ctx, "one", func(context.Context) error { tries++; return errOops }), "it may be tried again")
			}
			return err
		})
		require.Equal(t, stint.Completed, info.State)
		require.Equal(t, 4, tries)
		require.Equal(t, 2, info.Failures)
	})
	scenario(t, "lets a panic and runtime.Goexit through", func(t *testing.T) {
		_, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
			err := job.Step(ctx, "one", func(ctx context.Context) error {
				switch run {
				case 1:
					panic("in the step")
				case 2:
					runtime.Goexit()
				}
				return nil
			})
			require.Equal(t, 3, run)
			return err
		})
		require.Len(t, info.Attempts, 2)
		require.Equal(t, "panic: in the step", info.Attempts[0].Error)
		require.Contains(t, info.Attempts[1].Error, "Goexit")
	})
}

func TestStepRefusals(t *testing.T) {
	t.Parallel()
	nothing := func(context.Context) error { return nil }
	never := func(context.Context) error { panic("it must not be run") }
	var kept int
	cases := map[string]struct {
		do   func(ctx context.Context, job *stint.Job[note]) error
		want error
		says string
	}{
		"an empty name": {func(ctx context.Context, job *stint.Job[note]) error {
			return job.Step(ctx, "", never)
		}, stint.ErrBadOption, "no name"},
		"a name twice": {func(ctx context.Context, job *stint.Job[note]) error {
			require.NoError(t, job.Step(ctx, "one", nothing))
			return job.Step(ctx, "one", never)
		}, stint.ErrBadOption, `"one"`},
		"a step inside a step": {func(ctx context.Context, job *stint.Job[note]) error {
			return job.Step(ctx, "one", func(ctx context.Context) error { return job.Step(ctx, "two", never) })
		}, stint.ErrBadOption, `"two"`},
		"more than 1000": {func(ctx context.Context, job *stint.Job[note]) error {
			for i := range 1000 {
				require.NoError(t, job.Step(ctx, fmt.Sprint(i), nothing))
			}
			return job.Step(ctx, "one", never)
		}, stint.ErrBadOption, "Checkpoint"},
		"a value that is no pointer": {func(ctx context.Context, job *stint.Job[note]) error {
			return job.Step(ctx, "one", never, kept)
		}, stint.ErrBadOption, "int"},
		"a nil pointer": {func(ctx context.Context, job *stint.Job[note]) error {
			return job.Step(ctx, "one", never, &kept, (*int)(nil))
		}, stint.ErrBadOption, "*int"},
		"no pointer at all": {func(ctx context.Context, job *stint.Job[note]) error {
			return job.Step(ctx, "one", never, nil)
		}, stint.ErrBadOption, "nil"},
		"what cannot be JSON": {func(ctx context.Context, job *stint.Job[note]) error {
			var c chan int
			return job.Step(ctx, "one", nothing, &kept, &c)
		}, stint.ErrBadOption, "*chan int"},
		"a value too large": {func(ctx context.Context, job *stint.Job[note]) error {
			text := strings.Repeat("x", 1000)
			return job.Step(ctx, "one", nothing, &text)
		}, stint.ErrArgsTooLarge, "MaxArgsSize"},
		"too much in all": {func(ctx context.Context, job *stint.Job[note]) error {
			text := strings.Repeat("x", 400)
			require.NoError(t, job.Step(ctx, "one", nothing, &text))
			require.NoError(t, job.Step(ctx, "two", nothing, &text))
			return job.Step(ctx, "three", nothing, &text)
		}, stint.ErrArgsTooLarge, "MaxArgsSize"},
		"a job that Commit has completed": {func(ctx context.Context, job *stint.Job[note]) error {
			require.NoError(t, job.Commit(count("effect")))
			return job.Step(ctx, "one", never)
		}, stint.ErrNotRunning, "completed"},
		"a context that has ended": {func(ctx context.Context, job *stint.Job[note]) error {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(errOops)
			return job.Step(ctx, "one", never)
		}, errOops, "oops"},
	}
	for what, c := range cases {
		scenario(t, what, func(t *testing.T) {
			var got error
			limit := 1000
			if what == "more than 1000" {
				limit = 100_000
			}
			_, info := inRuns(t, &stint.Config{MaxArgsSize: limit}, func(ctx context.Context, job *stint.Job[note], _ int) error {
				got = c.do(ctx, job)
				return stint.Kill(got)
			})
			require.ErrorIs(t, got, c.want)
			require.ErrorContains(t, got, c.says)
			require.NotContains(t, info.Steps, "three")
		})
	}
	scenario(t, "after the handler has returned", func(t *testing.T) {
		var kept *stint.Job[note]
		inRuns(t, nil, func(_ context.Context, job *stint.Job[note], _ int) error { kept = job; return nil })
		require.ErrorIs(t, kept.Step(t.Context(), "one", never), stint.ErrNotRunning)
	})
	for what, misfit := range map[string]struct {
		keep []any
		says string
	}{
		"another type":     {[]any{new(string), new([]string)}, "*string"},
		"fewer values":     {[]any{new(int)}, "2 values"},
		"no values at all": {nil, "2 values"},
	} {
		scenario(t, "stored values that do not fit any more: "+what, func(t *testing.T) {
			_, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
				if run == 1 {
					return threeSteps(ctx, job, map[string]int{}, func(int) error { return errOops })
				}
				return stint.Kill(job.Step(ctx, "step 1", never, misfit.keep...))
			})
			require.Contains(t, info.Reason, `"step 1"`)
			require.Contains(t, info.Reason, misfit.says)
		})
	}
}

// What is kept comes back as it was stored, whatever the variables hold.
func TestStepKeeps(t *testing.T) {
	t.Parallel()
	type address struct {
		Street string
		Lines  []string `json:",omitempty"`
	}
	scenario(t, "values of any type, in place of what is there", func(t *testing.T) {
		_, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
			at := address{Street: "old", Lines: []string{"old"}}
			sums := map[string]int{"old": 1}
			var next *address
			var whatever any
			err := job.Step(ctx, "one", func(context.Context) error {
				at, sums, next, whatever = address{Street: "Main"}, map[string]int{"a": 1 << 30}, &address{Street: "Next"}, "w"
				return nil
			}, &at, &sums, &next, &whatever)
			require.NoError(t, err)
			require.Equal(t, address{Street: "Main"}, at)
			require.Equal(t, map[string]int{"a": 1 << 30}, sums)
			require.Equal(t, &address{Street: "Next"}, next)
			require.Equal(t, "w", whatever)
			if run == 1 {
				return errOops
			}
			return nil
		})
		require.Equal(t, 1, info.Failures)
	})
	scenario(t, "half of what does not fit changes nothing", func(t *testing.T) {
		inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
			a, b := 1, "b"
			if run == 1 {
				return job.Step(ctx, "one", func(context.Context) error { a = 2; return nil }, &a, &b)
			}
			c, d := 7, 8
			require.Error(t, job.Step(ctx, "one", nil, &c, &d))
			require.Equal(t, []int{7, 8}, []int{c, d})
			return nil
		})
	})
}

// A step rewrites the record, in which Cancel has left its word for the case
// of a crash.
func TestStepKeepsTheWordOfCancel(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		entered, proceed := make(chan bool), make(chan bool)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			ctx := context.Background() // it does not listen
			err := job.Step(ctx, "one", func(context.Context) error { entered <- true; <-proceed; return nil })
			entered <- true
			<-proceed
			return err
		}, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		<-entered
		require.NoError(t, q.Cancel(t.Context(), id, "eva"))
		proceed <- true
		<-entered
		again := openAt(t, crashed(t, q), nil)
		info := get(t, again, id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "cancelled by eva", info.Reason)
		require.Equal(t, []string{"one"}, info.Steps)
		close(proceed)
	})
}

// Whoever was given back at the end of Run saves nothing any more.
func TestStragglersPutNothingBy(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		errs := make(chan error, 10)
		proceed := make(chan bool)
		var runs atomic.Int32
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			ctx := context.Background()
			if runs.Add(1) > 1 {
				return job.SetResult("second")
			}
			errs <- job.Step(ctx, "before", func(context.Context) error { return nil })
			errs <- job.Checkpoint(ctx, 1)
			<-proceed
			errs <- job.Step(ctx, "behind", func(context.Context) error { panic("it must not be run") })
			errs <- job.Checkpoint(ctx, 2)
			errs <- job.CommitProgress(count("effect"), 3)
			return errOops
		}, &stint.Policy{Timeout: -1})
		id := enqueue(t, q, note{})
		w := begin(q)
		synctest.Wait()
		w.end()
		require.ErrorContains(t, <-w.result, "still run")
		for range 2 {
			require.NoError(t, <-errs)
		}
		run(t, q)
		close(proceed)
		synctest.Wait()
		for range 3 {
			require.ErrorIs(t, <-errs, stint.ErrNotRunning)
		}
		require.Empty(t, counters(q.DB()))
		info := get(t, q, id)
		require.Equal(t, stint.Completed, info.State)
		require.Equal(t, []string{"before"}, info.Steps)
		require.Equal(t, "1", string(info.Checkpoint))
	})
}
