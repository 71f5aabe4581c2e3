package stint_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestPerform(t *testing.T) {
	t.Parallel()
	scenario(t, "runs the handler here and now and stores nothing", func(t *testing.T) {
		q := open(t, nil)
		type key struct{}
		var got *stint.Job[other]
		stint.Handle(q, func(ctx context.Context, job *stint.Job[other]) error {
			require.Equal(t, "value", ctx.Value(key{}))
			got = job
			return nil
		}, &stint.Policy{Queue: "mail", Priority: 3, MaxAttempts: 7})
		before := lastTx(q.DB())
		require.NoError(t, q.Perform(context.WithValue(t.Context(), key{}, "value"), other{S: "x"}))
		require.Equal(t, "x", got.Args.S)
		require.Equal(t, stint.Work{Kind: "other", Queue: "mail", Priority: 3, Attempt: 1, MaxAttempts: 7, EnqueuedAt: got.EnqueuedAt},
			stint.Work{ID: got.ID, Kind: got.Kind, Queue: got.Queue, Priority: got.Priority, Tags: got.Tags, Attempt: got.Attempt, MaxAttempts: got.MaxAttempts, EnqueuedAt: got.EnqueuedAt})
		require.Equal(t, before, lastTx(q.DB()))
		require.Zero(t, q.Counts())
		require.Zero(t, q.Stats().Processed)
	})

	scenario(t, "returns what the handler returns", func(t *testing.T) {
		q := open(t, nil)
		want := error(nil)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return want }, nil)
		for _, want = range []error{nil, errRefused, stint.Kill(errRefused), stint.Snooze(time.Hour), stint.RetryAfter(time.Hour, errRefused)} {
			require.Equal(t, want, q.Perform(t.Context(), note{}))
		}
		require.Zero(t, q.Counts())
	})

	scenario(t, "a panic is an error", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { panic(errRefused) }, nil)
		err := q.Perform(t.Context(), note{})
		require.ErrorIs(t, err, errRefused)
		require.ErrorContains(t, err, "panic: refused")
	})

	scenario(t, "the Policy's timeout ends the context", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, time.Minute, time.Until(deadline))
			<-ctx.Done()
			return context.Cause(ctx)
		}, &stint.Policy{Timeout: time.Minute})
		begin := time.Now()
		require.ErrorIs(t, q.Perform(t.Context(), note{}), stint.ErrTimeout)
		require.Equal(t, time.Minute, time.Since(begin))
	})

	scenario(t, "so does the caller's context, and one that has ended runs nothing", func(t *testing.T) {
		q := open(t, nil)
		seen := handle(q, func(ctx context.Context, _ *stint.Job[note]) error { <-ctx.Done(); return context.Cause(ctx) }, &stint.Policy{Timeout: -1})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Hour, func() { cancel(errRefused) })
		require.ErrorIs(t, q.Perform(ctx, note{}), errRefused)
		require.ErrorIs(t, q.Perform(ctx, note{}), errRefused)
		require.Len(t, seen.ids(), 1)
	})

	scenario(t, "needs a handler and good args", func(t *testing.T) {
		q := open(t, nil)
		err := q.Perform(t.Context(), note{})
		require.ErrorIs(t, err, stint.ErrUnknownKind)
		require.ErrorContains(t, err, `"note"`)
		require.ErrorIs(t, q.Perform(t.Context(), nil), stint.ErrBadArgs)
		require.ErrorIs(t, q.Perform(t.Context(), (*note)(nil)), stint.ErrBadArgs)
		stint.Handle(q, func(context.Context, *stint.Job[broken]) error { return nil }, nil)
		require.ErrorIs(t, q.Perform(t.Context(), broken{A: make(chan int)}), stint.ErrBadArgs)
	})

	scenario(t, "Commit and CompleteTx inside it write, and complete nothing", func(t *testing.T) {
		q := open(t, nil)
		bystander := enqueue(t, q, blobOf(10))
		gate := make(chan struct{})
		stint.Handle(q, func(context.Context, *stint.Job[blob]) error { <-gate; return nil }, nil)
		followers := handle[other](q, nil, nil)
		save := func(tx *bolt.Tx) error {
			orders, err := tx.CreateBucketIfNotExists(ordersBucket)
			if err != nil {
				return err
			}
			if _, err := q.EnqueueTx(tx, other{}); err != nil {
				return err
			}
			return orders.Put([]byte{byte(orders.Stats().KeyN)}, []byte("paid"))
		}
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			switch job.Args.N {
			case 1:
				return job.Commit(save)
			case 2:
				return job.Commit(func(tx *bolt.Tx) error { _ = save(tx); return errRefused })
			case 3:
				return q.DB().Update(func(tx *bolt.Tx) error {
					if err := save(tx); err != nil {
						return err
					}
					return job.CompleteTx(tx)
				})
			}
			return nil
		}, nil)
		run(t, q)
		for range 2 {
			require.NoError(t, q.Perform(t.Context(), note{N: 1}))
			require.ErrorIs(t, q.Perform(t.Context(), note{N: 2}), errRefused)
			require.NoError(t, q.Perform(t.Context(), note{N: 3}))
		}
		require.NoError(t, q.DB().View(func(tx *bolt.Tx) error {
			require.Equal(t, 4, tx.Bucket(ordersBucket).Stats().KeyN)
			return nil
		}))
		time.Sleep(time.Second)
		require.Len(t, followers.ids(), 4)
		require.Equal(t, stint.Running, get(t, q, bystander).State, "the worker's job is not touched")
		require.Equal(t, stint.Counts{Running: 1}, q.Counts())
		close(gate)
		time.Sleep(time.Second)
		require.Zero(t, q.Counts())
	})

	scenario(t, "many at once do not get in each other's way", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error {
			time.Sleep(time.Second)
			return errors.New(job.Args.S)
		}, nil)
		results := make(chan error, 50)
		for i := range 50 {
			go func() {
				err := q.Perform(context.Background(), other{S: strings.Repeat("x", i)})
				if len(err.Error()) == i {
					err = nil
				}
				results <- err
			}()
		}
		for range 50 {
			require.NoError(t, <-results)
		}
	})

	scenario(t, "work middleware runs around it", func(t *testing.T) {
		var trace []string
		q := open(t, &stint.Config{WorkMiddleware: []stint.WorkMiddleware{
			func(ctx context.Context, job *stint.Work, next func(context.Context) error) error {
				trace = append(trace, job.Kind)
				return next(ctx)
			},
		}})
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { trace = append(trace, "handler"); return nil }, nil)
		require.NoError(t, q.Perform(t.Context(), note{}))
		require.Equal(t, []string{"note", "handler"}, trace)
	})
}
