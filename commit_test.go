package stint_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// count is a function for Commit that counts under a name.
func count(name string) func(*bolt.Tx) error {
	return func(tx *bolt.Tx) error { return increment(tx, []byte(name)) }
}

func TestCommit(t *testing.T) {
	t.Parallel()
	scenario(t, "stores the effect and the completion as one", func(t *testing.T) {
		q := open(t, &stint.Config{KeepCompleted: time.Hour})
		committed, proceed := make(chan error), make(chan struct{})
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			committed <- job.Commit(count("effect"))
			<-proceed
			return errors.New("too late to fail")
		}, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		require.NoError(t, <-committed)
		require.Equal(t, stint.Completed, get(t, q, id).State, "before the handler has returned")
		require.Equal(t, map[string]int{"effect": 1}, counters(q.DB()))
		require.Equal(t, stint.Counts{Completed: 1}, q.Counts())
		close(proceed)
		synctest.Wait()
		require.Equal(t, stint.Completed, get(t, q, id).State)
		require.Empty(t, get(t, q, id).Attempts)
	})
	undone := map[string]struct {
		leave func() error
		text  string
	}{
		"an error":        {func() error { return errOops }, "oops"},
		"a panic":         {func() error { panic("in fn") }, "panic: in fn"},
		"runtime.Goexit":  {func() error { runtime.Goexit(); return nil }, "runtime.Goexit"},
		"a control error": {func() error { return stint.Kill(errOops) }, "oops"},
	}
	for what, c := range undone {
		scenario(t, "is undone by "+what+" of the function, and the job goes on running", func(t *testing.T) {
			q := open(t, nil)
			result, proceed := make(chan error), make(chan struct{})
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
				result <- job.Commit(func(tx *bolt.Tx) error {
					if err := count("effect")(tx); err != nil {
						return err
					}
					if _, err := q.EnqueueTx(tx, other{}); err != nil {
						return err
					}
					return c.leave()
				})
				<-proceed
				return errors.New("after all")
			}, hour)
			id := enqueue(t, q, note{})
			run(t, q)
			require.ErrorContains(t, <-result, c.text)
			require.Empty(t, counters(q.DB()))
			require.Equal(t, stint.Counts{Running: 1}, q.Counts())
			require.Equal(t, stint.Running, get(t, q, id).State)
			close(proceed)
			synctest.Wait()
			require.Equal(t, stint.Retrying, get(t, q, id).State)
			require.Equal(t, "after all", get(t, q, id).Attempts[0].Error)
			enqueue(t, q, other{})
		})
	}
	scenario(t, "may be tried again after it failed", func(t *testing.T) {
		q := open(t, nil)
		var attempts atomic.Int32
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			attempts.Add(1)
			for i := range 5 {
				err := job.Commit(func(tx *bolt.Tx) error {
					if err := count("effect")(tx); err != nil || i == 4 {
						return err
					}
					return errOops
				})
				if (err == nil) != (i == 4) {
					return stint.Kill(err)
				}
			}
			return nil
		}, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		gone(t, q, id)
		require.Equal(t, map[string]int{"effect": 1}, counters(q.DB()))
	})
	scenario(t, "of one fails alone, and the function of the others is called again", func(t *testing.T) {
		q := open(t, nil)
		var calls atomic.Int32
		results := make(chan error, 3)
		proceed := [4]chan struct{}{1: make(chan struct{}), 2: make(chan struct{}), 3: make(chan struct{})}
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			<-proceed[job.Args.N]
			err := job.Commit(func(tx *bolt.Tx) error {
				calls.Add(1)
				if job.Args.N == 2 {
					return errOops
				}
				return count(strconv.Itoa(job.Args.N))(tx)
			})
			results <- err
			return err
		}, hour)
		for n := range 3 {
			enqueue(t, q, note{n + 1})
		}
		h := holder(t, q, 1)
		stored := make(chan error, 1)
		go func() {
			_, err := q.Enqueue(context.Background(), other{S: "beside"}, stint.In(time.Hour))
			stored <- err
		}()
		for _, n := range []int{1, 2, 3} {
			close(proceed[n])
			synctest.Wait()
		}
		h.release()
		synctest.Wait()
		require.NoError(t, <-stored)
		failed := 0
		for range 3 {
			if err := <-results; err != nil {
				require.ErrorIs(t, err, errOops)
				failed++
			}
		}
		require.Equal(t, 1, failed)
		require.EqualValues(t, 4, calls.Load(), "the first one twice")
		require.Equal(t, map[string]int{"1": 1, "3": 1}, counters(q.DB()))
		require.Equal(t, stint.Counts{Retrying: 1, Scheduled: 1}, q.Counts())
	})
	scenario(t, "after the timeout still counts", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			<-ctx.Done()
			return errors.Join(job.Commit(count("effect")), ctx.Err())
		}, &stint.Policy{Timeout: time.Second})
		id := enqueue(t, q, note{})
		run(t, q)
		time.Sleep(time.Hour)
		gone(t, q, id)
		require.Equal(t, map[string]int{"effect": 1}, counters(q.DB()))
	})
	scenario(t, "of a cancelled job completes it", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			<-ctx.Done()
			return errors.Join(job.Commit(count("effect")), ctx.Err())
		}, nil)
		id := enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		require.NoError(t, q.Cancel(t.Context(), id, "eva"))
		synctest.Wait()
		gone(t, q, id)
	})
	scenario(t, "brings follow-up jobs with it", func(t *testing.T) {
		q := open(t, nil)
		var last atomic.Int64
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if job.Args.N == 0 {
				last.Add(1)
				return nil
			}
			return job.Commit(func(tx *bolt.Tx) error {
				_, err := q.EnqueueTx(tx, note{job.Args.N - 1})
				return err
			})
		}, nil)
		run(t, q)
		for range 5 {
			enqueue(t, q, note{30})
		}
		synctest.Wait()
		require.EqualValues(t, 5, last.Load())
		require.Zero(t, q.Counts())
		require.EqualValues(t, 5*31, q.Stats().Processed)
	})
}

// Many goroutines share groups; a good part of the functions fails in each of
// the ways there are. Whatever happened, in the end each job has counted once.
func TestCommitUnderLoad(t *testing.T) {
	t.Parallel()
	q := open(t, &stint.Config{Workers: 30})
	const jobs = 400
	var attempts [jobs]atomic.Int32
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		n := job.Args.N
		try := attempts[n].Add(1)
		return job.Commit(func(tx *bolt.Tx) error {
			if err := errors.Join(count(strconv.Itoa(n))(tx), count("all")(tx)); err != nil {
				return err
			}
			if _, err := q.EnqueueTx(tx, other{S: strconv.Itoa(n)}); err != nil {
				return err
			}
			switch {
			case try > 1:
			case n%5 == 1:
				return errOops
			case n%5 == 2:
				panic("on purpose")
			case n%5 == 3:
				runtime.Goexit()
			}
			return nil
		})
	}, &stint.Policy{Backoff: stint.Constant(time.Millisecond)})
	var followed [jobs]atomic.Int32
	stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
		n, _ := strconv.Atoi(job.Args.S)
		followed[n].Add(1)
		return nil
	}, nil)
	run(t, q)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := w; n < jobs; n += 4 {
				if _, err := q.Enqueue(context.Background(), note{n}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return q.Counts() == stint.Counts{} }, 20*time.Second, time.Millisecond)
	got := counters(q.DB())
	require.Equal(t, jobs, got["all"])
	for n := range jobs {
		require.Equal(t, 1, got[strconv.Itoa(n)], "job %d", n)
		require.EqualValues(t, 1, followed[n].Load(), "job %d", n)
	}
}
