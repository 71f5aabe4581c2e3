package stint_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// around is a queue with enqueue middleware.
func around(t *testing.T, chain ...stint.EnqueueMiddleware) *stint.Queue {
	t.Helper()
	return open(t, &stint.Config{EnqueueMiddleware: chain})
}

func TestEnqueueMiddleware(t *testing.T) {
	t.Parallel()
	scenario(t, "the first is outermost, and each sees the jobs and the outcome", func(t *testing.T) {
		var trace []string
		note1 := func(name string) stint.EnqueueMiddleware {
			return func(ctx context.Context, jobs []*stint.NewJob, next func(context.Context) error) error {
				trace = append(trace, fmt.Sprintf("%s before %d", name, len(jobs)))
				err := next(ctx)
				trace = append(trace, fmt.Sprintf("%s after %v", name, err))
				return err
			}
		}
		q := around(t, note1("a"), note1("b"))
		enqueue(t, q, note{})
		_, err := q.EnqueueAll(t.Context(), []stint.Args{note{}, note{}, other{}})
		require.NoError(t, err)
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
			_, err := q.EnqueueTx(tx, note{})
			return err
		}))
		n, err := q.EnqueueSeq(t.Context(), numbered(1001, nil))
		require.NoError(t, err)
		require.Equal(t, 1001, n)
		var want []string
		for _, size := range []int{1, 3, 1, 1000, 1} {
			want = append(want, fmt.Sprint("a before ", size), fmt.Sprint("b before ", size), "b after <nil>", "a after <nil>")
		}
		require.Equal(t, want, trace)
		require.Equal(t, 1006, q.Counts().Ready)
	})

	scenario(t, "it sees what options and Policy say, and may change all of it", func(t *testing.T) {
		at := time.Now().Add(time.Hour)
		q := around(t, func(ctx context.Context, jobs []*stint.NewJob, next func(context.Context) error) error {
			j := jobs[0]
			require.Equal(t, note{N: 1}, j.Args)
			require.Equal(t, "mail", j.Queue)
			require.Equal(t, 3, j.Priority)
			require.Equal(t, []string{"a"}, j.Tags)
			require.True(t, j.RunAt.IsZero())
			require.Zero(t, j.MaxAttempts)
			*j = stint.NewJob{Args: other{S: "x"}, Queue: "low", Priority: 4, RunAt: at, MaxAttempts: 2, Tags: []string{"b"}}
			return next(ctx)
		})
		handle[note](q, nil, &stint.Policy{Queue: "mail", Priority: 3})
		info := get(t, q, enqueue(t, q, note{N: 1}, stint.Tags("a")))
		require.Equal(t, "other", info.Kind)
		require.JSONEq(t, `{"S":"x"}`, string(info.Args))
		require.Equal(t, "low", info.Queue)
		require.Equal(t, 4, info.Priority)
		require.Equal(t, stint.Scheduled, info.State)
		require.True(t, at.Equal(info.RunAt))
		require.Equal(t, 2, info.MaxAttempts)
		require.Equal(t, []string{"b"}, info.Tags)
	})

	scenario(t, "options that are not its business stay", func(t *testing.T) {
		q := around(t, func(ctx context.Context, jobs []*stint.NewJob, next func(context.Context) error) error {
			for _, j := range jobs {
				j.Tags = append(j.Tags, "seen")
			}
			return next(ctx)
		})
		first := enqueue(t, q, note{}, stint.Unique(), stint.ExpiresIn(time.Hour))
		require.False(t, get(t, q, first).ExpiresAt.IsZero())
		id, err := q.Enqueue(t.Context(), note{}, stint.Unique())
		require.ErrorIs(t, err, stint.ErrDuplicate)
		require.Equal(t, first, id)
		n, err := q.EnqueueSeq(t.Context(), numbered(3, nil), stint.Unique())
		require.NoError(t, err)
		require.Equal(t, 2, n)
	})

	scenario(t, "what it spoils is refused", func(t *testing.T) {
		var spoil func(*stint.NewJob)
		q := around(t, func(ctx context.Context, jobs []*stint.NewJob, next func(context.Context) error) error {
			spoil(jobs[len(jobs)-1])
			return next(ctx)
		})
		for want, fn := range map[error]func(*stint.NewJob){
			stint.ErrBadArgs:      func(j *stint.NewJob) { j.Args = nil },
			stint.ErrBadOption:    func(j *stint.NewJob) { j.Queue = "no such name" },
			stint.ErrArgsTooLarge: func(j *stint.NewJob) { j.Args = blobOf(2 << 20) },
		} {
			spoil = fn
			_, err := q.Enqueue(t.Context(), note{})
			require.ErrorIs(t, err, want)
			_, err = q.EnqueueAll(t.Context(), []stint.Args{note{}, note{}})
			require.ErrorIs(t, err, want)
			_ = q.DB().Update(func(tx *bolt.Tx) error {
				_, err = q.EnqueueTx(tx, note{})
				return nil
			})
			require.ErrorIs(t, err, want)
		}
		spoil = func(j *stint.NewJob) { j.Priority, j.MaxAttempts = 9, -1 }
		_, err := q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrBadOption)
		synctest.Wait()
		require.Zero(t, q.Counts())
	})

	scenario(t, "its refusal is the caller's error, and nothing is stored", func(t *testing.T) {
		q := around(t, func(ctx context.Context, jobs []*stint.NewJob, next func(context.Context) error) error {
			if slices.ContainsFunc(jobs, func(j *stint.NewJob) bool { return j.Args.(note).N == 13 }) {
				return errRefused
			}
			return next(ctx)
		})
		enqueue(t, q, note{N: 12})
		id, err := q.Enqueue(t.Context(), note{N: 13})
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, id)
		_, err = q.EnqueueAll(t.Context(), []stint.Args{note{N: 12}, note{N: 13}})
		require.ErrorIs(t, err, errRefused)
		n, err := q.EnqueueSeq(t.Context(), numbered(20, nil))
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, n)
		_ = q.DB().Update(func(tx *bolt.Tx) error {
			id, err = q.EnqueueTx(tx, note{N: 13})
			return nil
		})
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, id)
		require.Equal(t, 1, q.Counts().Ready)
	})

	scenario(t, "one that swallows the job gets no id of another", func(t *testing.T) {
		drop := false
		q := around(t, func(ctx context.Context, _ []*stint.NewJob, next func(context.Context) error) error {
			if drop {
				return nil
			}
			return next(ctx)
		})
		for range 3 {
			drop = false
			enqueue(t, q, note{})
			drop = true
			id, err := q.Enqueue(t.Context(), note{})
			require.NoError(t, err)
			require.Zero(t, id)
			ids, err := q.EnqueueAll(t.Context(), []stint.Args{note{}, note{}})
			require.NoError(t, err)
			require.Equal(t, []stint.ID{0, 0}, ids)
			n, err := q.EnqueueSeq(t.Context(), numbered(3, nil))
			require.NoError(t, err)
			require.Zero(t, n)
		}
		require.Equal(t, 3, q.Counts().Ready)
	})

	scenario(t, "it may try again after a failure", func(t *testing.T) {
		tries := 0
		q := open(t, &stint.Config{MaxJobs: 1, EnqueueMiddleware: []stint.EnqueueMiddleware{
			func(ctx context.Context, _ []*stint.NewJob, next func(context.Context) error) error {
				err := next(ctx)
				for err != nil && strings.Contains(err.Error(), "full") {
					tries++
					time.Sleep(time.Minute)
					err = next(ctx)
				}
				return err
			},
		}})
		seen := handle(q, func(context.Context, *stint.Job[note]) error { time.Sleep(150 * time.Second); return nil }, &stint.Policy{Timeout: -1})
		run(t, q)
		first := enqueue(t, q, note{N: 1})
		second := enqueue(t, q, note{N: 2})
		require.Equal(t, 3, tries)
		time.Sleep(time.Hour)
		require.Equal(t, []stint.ID{first, second}, seen.ids())
	})

	scenario(t, "the middleware's context is the one that counts", func(t *testing.T) {
		q := around(t, func(ctx context.Context, _ []*stint.NewJob, next func(context.Context) error) error {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(errRefused)
			return next(ctx)
		})
		_, err := q.Enqueue(t.Context(), note{})
		require.ErrorIs(t, err, errRefused)
		require.Zero(t, q.Counts())
	})

	// With a real lock and real time, as in TestEnqueueWithAContextThatEnds.
	t.Run("it may try again after a context of its own has ended", func(t *testing.T) {
		var tx *bolt.Tx
		q := around(t, func(ctx context.Context, _ []*stint.NewJob, next func(context.Context) error) error {
			short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, next(short), context.DeadlineExceeded)
			require.NoError(t, tx.Rollback())
			return next(ctx)
		})
		for range 3 {
			var err error
			tx, err = q.DB().Begin(true)
			require.NoError(t, err)
			enqueue(t, q, note{})
		}
		require.Equal(t, 3, q.Counts().Ready)
	})
}
