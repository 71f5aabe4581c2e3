package stint_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

type sum struct {
	Total int
	By    map[string]int
}

// completions are the ways of a handler to complete its job.
var completions = map[string]func(q *stint.Queue, job *stint.Work) error{
	"nil":        func(*stint.Queue, *stint.Work) error { return nil },
	"Commit":     func(_ *stint.Queue, job *stint.Work) error { return job.Commit(count("effect")) },
	"CompleteTx": func(q *stint.Queue, job *stint.Work) error { return q.DB().Update(job.CompleteTx) },
	"CompleteTx inside Commit": func(_ *stint.Queue, job *stint.Work) error {
		return job.Commit(job.CompleteTx)
	},
}

func TestResult(t *testing.T) {
	t.Parallel()
	for way, complete := range completions {
		scenario(t, "is stored with a completion by "+way+" and kept for an hour", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			q := openAt(t, path, nil)
			var late error
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				require.NoError(t, job.SetResult("first"))
				require.NoError(t, job.SetResult(sum{Total: 3, By: map[string]int{"a": 3}}))
				err := complete(q, &job.Work)
				if way != "nil" {
					late = job.SetResult("late")
				}
				return err
			}, nil)
			id := enqueue(t, q, note{})
			run(t, q)
			synctest.Wait()
			if way != "nil" {
				require.ErrorIs(t, late, stint.ErrNotRunning)
			}
			require.NoError(t, q.Close())
			q = openAt(t, path, nil)
			run(t, q)
			time.Sleep(time.Hour - time.Microsecond)
			got, err := stint.Result[sum](q, id)
			require.NoError(t, err)
			require.Equal(t, sum{Total: 3, By: map[string]int{"a": 3}}, got)
			require.Equal(t, stint.Counts{Completed: 1}, q.Counts())
			_, err = stint.Result[string](q, id)
			require.ErrorContains(t, err, "string")
			time.Sleep(time.Microsecond)
			synctest.Wait()
			_, err = stint.Result[sum](q, id)
			require.ErrorIs(t, err, stint.ErrNotFound)
			require.Zero(t, q.Counts())
		})
	}
	scenario(t, "is kept as long as Config.KeepCompleted says", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: 10 * time.Hour})
		handle(q, func(_ context.Context, job *stint.Job[note]) error { return job.SetResult(nil) }, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(10*time.Hour - time.Second)
		got, err := stint.Result[*sum](q, id)
		require.NoError(t, err)
		require.Nil(t, got)
		time.Sleep(time.Second)
		synctest.Wait()
		gone(t, q, id)
	})
	scenario(t, "those without one are deleted at once beside those that have one", func(t *testing.T) {
		q := open(t, nil)
		handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if job.Args.N%2 == 0 {
				return nil
			}
			return job.SetResult(job.Args.N)
		}, nil)
		for n := range 10 {
			enqueue(t, q, note{n})
		}
		run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Counts{Completed: 5}, q.Counts())
	})
	scenario(t, "of an attempt that fails is dropped", func(t *testing.T) {
		q, info := inRuns(t, nil, func(_ context.Context, job *stint.Job[note], run int) error {
			if run == 1 {
				return errors.Join(job.SetResult("dropped"), errOops)
			}
			return stint.Kill(job.SetResult("dropped"))
		})
		require.Equal(t, stint.Dead, info.State)
		require.Empty(t, info.Result)
		_, err := stint.Result[string](q, info.ID)
		require.ErrorIs(t, err, stint.ErrNotFound)
		require.ErrorContains(t, err, "dead")
	})
	scenario(t, "none was set", func(t *testing.T) {
		q, info := inRuns(t, &stint.Config{KeepCompleted: -1}, func(context.Context, *stint.Job[note], int) error { return nil })
		_, err := stint.Result[string](q, info.ID)
		require.ErrorIs(t, err, stint.ErrNotFound)
		require.ErrorContains(t, err, "SetResult")
	})
	scenario(t, "refuses what it cannot store", func(t *testing.T) {
		inRuns(t, &stint.Config{MaxArgsSize: 100}, func(_ context.Context, job *stint.Job[note], _ int) error {
			require.ErrorIs(t, job.SetResult(make(chan int)), stint.ErrBadOption)
			require.ErrorIs(t, job.SetResult(strings.Repeat("x", 99)), stint.ErrArgsTooLarge)
			return nil
		})
	})
}

// waited is what a Wait in the background returns.
type waited struct {
	info stint.Info
	err  error
}

func wait(ctx context.Context, q *stint.Queue, id stint.ID) <-chan waited {
	c := make(chan waited, 1)
	go func() {
		info, err := q.Wait(ctx, id)
		c <- waited{info, err}
	}()
	return c
}

func TestWait(t *testing.T) {
	t.Parallel()
	for _, keep := range []time.Duration{0, time.Hour} {
		for way, complete := range completions {
			scenario(t, "returns when the job is completed by "+way+", with KeepCompleted "+keep.String(), func(t *testing.T) {
				q := open(t, &stint.Config{KeepCompleted: keep})
				stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
					time.Sleep(time.Minute)
					job.Progress(1, 1, "done")
					return complete(q, &job.Work)
				}, nil)
				id := enqueue(t, q, note{N: 7}, stint.Tags("a"))
				both := []<-chan waited{wait(t.Context(), q, id), wait(t.Context(), q, id)}
				synctest.Wait()
				run(t, q)
				time.Sleep(time.Minute)
				for _, c := range both {
					w := <-c
					require.NoError(t, w.err)
					require.Equal(t, id, w.info.ID)
					require.Equal(t, stint.Completed, w.info.State)
					require.True(t, w.info.FinishedAt.Equal(time.Now()))
					require.JSONEq(t, `{"n":7}`, string(w.info.Args))
					require.Equal(t, []string{"a"}, w.info.Tags)
					require.Equal(t, "done", w.info.Progress.Text)
					w.info.Args[2], w.info.Tags[0] = 'x', "x" // a copy
				}
			})
		}
	}
	scenario(t, "returns with the result, at once when it has ended already", func(t *testing.T) {
		q := open(t, nil)
		handle(q, func(_ context.Context, job *stint.Job[note]) error { return job.SetResult(job.Args.N) }, nil)
		id := enqueue(t, q, note{N: 7})
		first := wait(t.Context(), q, id)
		run(t, q)
		w := <-first
		require.NoError(t, w.err)
		require.Equal(t, "7", string(w.info.Result))
		info, err := q.Wait(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, w.info, info)
	})
	dead := map[string]func(t *testing.T, q *stint.Queue, id stint.ID){
		"Kill":   func(t *testing.T, q *stint.Queue, id stint.ID) { require.NoError(t, q.Kill(t.Context(), id, "no")) },
		"Cancel": func(t *testing.T, q *stint.Queue, id stint.ID) { require.NoError(t, q.Cancel(t.Context(), id, "eva")) },
		"KillAll": func(t *testing.T, q *stint.Queue, id stint.ID) {
			_, err := q.KillAll(t.Context(), stint.Filter{Kind: "note"}, "no")
			require.NoError(t, err)
		},
		"expiry": func(t *testing.T, q *stint.Queue, id stint.ID) { run(t, q); time.Sleep(time.Hour) },
		"its handler": func(t *testing.T, q *stint.Queue, id stint.ID) {
			stint.Handle(q, func(context.Context, *stint.Job[note]) error { return stint.Kill(errOops) }, nil)
			run(t, q)
		},
		"Cancel while it runs": func(t *testing.T, q *stint.Queue, id stint.ID) {
			stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error { <-ctx.Done(); return ctx.Err() }, nil)
			run(t, q)
			synctest.Wait()
			require.NoError(t, q.Cancel(t.Context(), id, "eva"))
		},
	}
	for what, end := range dead {
		scenario(t, "returns when the job dies by "+what, func(t *testing.T) {
			q := open(t, nil)
			id := enqueue(t, q, note{}, stint.ExpiresIn(time.Hour))
			c := wait(t.Context(), q, id)
			synctest.Wait()
			end(t, q, id)
			w := <-c
			require.NoError(t, w.err)
			require.Equal(t, stint.Dead, w.info.State)
			require.NotEmpty(t, w.info.Reason)
			require.Equal(t, get(t, q, id), w.info)
		})
	}
	scenario(t, "goes on over failures", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{})
		var attempts atomic.Int32
		stint.Handle(q, failing(&attempts), &stint.Policy{MaxAttempts: 5, Backoff: stint.Constant(time.Hour)})
		info := runUntil(t, q, id)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, 5, info.Failures)
	})
	scenario(t, "answers ErrNotFound for a job that is not stored or is deleted", func(t *testing.T) {
		q := open(t, nil)
		_, err := q.Wait(t.Context(), 77)
		require.ErrorIs(t, err, stint.ErrNotFound)
		id := enqueue(t, q, note{})
		c := wait(t.Context(), q, id)
		synctest.Wait()
		require.NoError(t, q.Delete(t.Context(), id))
		w := <-c
		require.ErrorIs(t, w.err, stint.ErrNotFound)
		require.ErrorContains(t, w.err, "deleted")
	})
	scenario(t, "of a job whose record is damaged ends when that is found", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		id := enqueueClosed(t, path, note{})[0]
		q := openAt(t, path, nil)
		c := wait(t.Context(), q, id)
		synctest.Wait()
		require.NoError(t, stint.FlipByte(q.DB(), id, 0))
		handle[note](q, nil, nil)
		run(t, q)
		require.ErrorIs(t, (<-c).err, stint.ErrNotFound)
	})
	scenario(t, "returns the cause of its context", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{})
		ctx, cancel := context.WithCancelCause(t.Context())
		c := wait(ctx, q, id)
		synctest.Wait()
		cancel(errOops)
		require.Equal(t, errOops, (<-c).err)
		_, err := q.Wait(ctx, id)
		require.Equal(t, errOops, err)
	})
	scenario(t, "returns ErrClosed when the queue closes", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{})
		c := wait(t.Context(), q, id)
		synctest.Wait()
		require.NoError(t, q.Close())
		require.ErrorIs(t, (<-c).err, stint.ErrClosed)
		_, err := q.Wait(t.Context(), id)
		require.ErrorIs(t, err, stint.ErrClosed)
	})
	scenario(t, "returns what has failed when the store takes no more writes", func(t *testing.T) {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "app.db"), 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
		require.NoError(t, err)
		q, err := stint.New(db, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		id := enqueue(t, q, note{})
		c := wait(t.Context(), q, id)
		synctest.Wait()
		require.NoError(t, db.Close())
		_, err = q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrClosed)
		require.Equal(t, err, (<-c).err)
		_, again := q.Wait(t.Context(), id)
		require.Equal(t, err, again)
		_ = q.Close()
	})
	// The end is in a transaction that does not know of the Wait.
	scenario(t, "that begins while the job is being completed does not miss it", func(t *testing.T) {
		q := open(t, nil)
		gate := make(chan bool)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			return job.Commit(func(tx *bolt.Tx) error {
				err := job.CompleteTx(tx)
				gate <- true
				<-gate
				return err
			})
		}, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		<-gate
		c := wait(t.Context(), q, id)
		synctest.Wait()
		require.Empty(t, c)
		gate <- true
		require.ErrorIs(t, (<-c).err, stint.ErrNotFound, "it has ended before, and is not kept")
	})
	scenario(t, "learns of a completion although OnCommit functions of the application panic", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			time.Sleep(time.Second)
			func() {
				defer func() { _ = recover() }()
				_ = q.DB().Update(func(tx *bolt.Tx) error {
					tx.OnCommit(func() { panic("on purpose") })
					return job.CompleteTx(tx)
				})
			}()
			return nil
		}, nil)
		id := enqueue(t, q, note{})
		require.Equal(t, stint.Completed, runUntil(t, q, id).State)
	})
	scenario(t, "learns of that also from a handler whose job was given back", func(t *testing.T) {
		q := open(t, nil)
		proceed := make(chan bool)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			<-proceed
			func() {
				defer func() { _ = recover() }()
				_ = q.DB().Update(func(tx *bolt.Tx) error {
					tx.OnCommit(func() { panic("on purpose") })
					return job.CompleteTx(tx)
				})
			}()
			<-proceed
			return nil
		}, &stint.Policy{Timeout: -1})
		id := enqueue(t, q, note{})
		w := begin(q)
		synctest.Wait()
		w.end()
		require.ErrorContains(t, <-w.result, "still run")
		c := wait(t.Context(), q, id)
		synctest.Wait()
		proceed <- true
		synctest.Wait()
		require.Empty(t, c)
		proceed <- true
		require.Equal(t, stint.Completed, (<-c).info.State)
	})
}

// Nobody misses the end of a job, whenever it comes.
func TestWaitUnderLoad(t *testing.T) {
	t.Parallel()
	q := open(t, &stint.Config{Workers: 8})
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		if err := job.SetResult(job.Args.N); err != nil {
			return err
		}
		switch job.Args.N % 3 {
		case 0:
			return job.Commit(count("effect"))
		case 1:
			return q.DB().Update(job.CompleteTx)
		}
		return nil
	}, nil)
	run(t, q)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 40 {
				n := 100*w + i
				id, err := q.Enqueue(context.Background(), note{n})
				if err != nil {
					t.Error(err)
					return
				}
				info, err := q.Wait(context.Background(), id)
				if got, e := stint.Result[int](q, id); err != nil || e != nil || got != n || info.State != stint.Completed {
					t.Errorf("job %d: %v, %v, %d, %v", n, err, e, got, info.State)
				}
			}
		})
	}
	wg.Wait()
}

// A transaction that somebody holds open does not hold up who wants to leave.
func TestWaitBehindALongTransaction(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	id := enqueue(t, q, note{})
	tx, err := q.DB().Begin(true)
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	c := wait(ctx, q, id)
	cancel(errOops)
	require.Equal(t, errOops, receive(t, c).err)

	c = wait(t.Context(), q, id)
	require.NoError(t, tx.Rollback())
	require.NoError(t, q.Kill(t.Context(), id, "no"))
	require.Equal(t, stint.Dead, receive(t, c).info.State)
}
