package stint_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// shortContext ends after so many transactions.
type shortContext struct {
	context.Context
	left int
}

func (c *shortContext) Done() <-chan struct{} { return nil }

func (c *shortContext) Err() error {
	if c.left == 0 {
		return context.Canceled
	}
	c.left--
	return nil
}

func TestCancelBatch(t *testing.T) {
	t.Parallel()
	scenario(t, "cancels what waits and what runs, and then ends the batch with OnDone", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 10})
		told := ends(q)
		var cancelled atomic.Int32
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			<-ctx.Done()
			if errors.Is(context.Cause(ctx), stint.ErrCancelled) {
				cancelled.Add(1)
			}
			return context.Cause(ctx)
		}, nil)
		id := enqueueBatch(t, q, between(0, 2500))
		run(t, q)
		synctest.Wait()
		require.NoError(t, q.CancelBatch(t.Context(), id, "ops"))
		require.Len(t, told(), 1)
		require.Equal(t, "ops", told()[0].CancelledBy)
		require.Equal(t, 2500, told()[0].Dead)
		require.EqualValues(t, 10, cancelled.Load())
		for info := range q.Jobs(stint.Filter{Batch: id, Limit: 50}) {
			require.Equal(t, "cancelled by ops", info.Reason)
		}
		require.NoError(t, q.CancelBatch(t.Context(), id, "again"))
		require.Equal(t, "ops", batch(t, q, id).CancelledBy)
		require.ErrorIs(t, q.CancelBatch(t.Context(), id+1_000_000, ""), stint.ErrNotFound)
	})
	scenario(t, "reaches items that wait for their time or have no handler", func(t *testing.T) {
		q := open(t, nil)
		id, err := q.EnqueueBatch(t.Context(), between(0, 600), &stint.BatchPolicy{Options: []stint.Option{stint.In(time.Hour)}})
		require.NoError(t, err)
		require.NoError(t, q.CancelBatch(t.Context(), id, ""))
		info := batch(t, q, id)
		require.Equal(t, []int{600, 600}, []int{info.Planned, info.Dead})
		require.Equal(t, "somebody", info.CancelledBy)
		require.NotZero(t, info.FinishedAt)
	})
	scenario(t, "holds for items that it could not reach, until the batch has ended", func(t *testing.T) {
		q := open(t, &stint.Config{Workers: 5})
		var ran atomic.Int32
		told := ends(q)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { ran.Add(1); return nil }, nil)
		id := enqueueBatch(t, q, between(0, 3000))
		require.ErrorIs(t, q.CancelBatch(&shortContext{t.Context(), 2}, id, "ops"), context.Canceled)
		require.Equal(t, 2500, q.Counts().Ready)
		run(t, q)
		require.Len(t, told(), 1)
		require.Zero(t, ran.Load())
		require.Equal(t, 3000, told()[0].Dead)

		_, err := q.RetryAll(t.Context(), stint.Filter{Batch: id})
		require.NoError(t, err)
		synctest.Wait()
		require.EqualValues(t, 3000, ran.Load(), "a person wants them to run all the same")
		require.Len(t, told(), 1)
	})
	scenario(t, "and the OnDone job of a batch that ended as its last items were not started runs", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		run(t, q)
		enqueueBatch(t, q, between(0, 0)) // such a job is nothing new
		require.Len(t, told(), 1)
		id := enqueueBatch(t, q, between(0, 600))
		require.ErrorIs(t, q.CancelBatch(&shortContext{t.Context(), 2}, id, "ops"), context.Canceled)
		require.Equal(t, 100, q.Counts().Parked)
		stint.Handle(q, noItem, nil)
		require.Len(t, told(), 2)
	})
	scenario(t, "does nothing to a batch that has ended", func(t *testing.T) {
		q := open(t, nil)
		id := enqueueBatch(t, q, between(0, 10))
		_, err := q.KillAll(t.Context(), stint.Filter{Batch: id}, "enough")
		require.NoError(t, err)
		_, err = q.RetryAll(t.Context(), stint.Filter{Batch: id})
		require.NoError(t, err)
		require.NoError(t, q.CancelBatch(t.Context(), id, "ops"))
		require.Equal(t, 10, q.Counts().Ready-1)
		require.Empty(t, batch(t, q, id).CancelledBy)
	})
}

func TestCancelBatchWhileItIsPlanned(t *testing.T) {
	t.Parallel()
	scenario(t, "stops the planner", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		runs := new([10_000]atomic.Int32)
		planned(t, q, func(ctx context.Context, _ *stint.Planning[note]) noteSeq {
			return func(yield func(note, error) bool) {
				for i := 0; yield(note{i}, nil); i++ {
					time.Sleep(time.Millisecond)
				}
			}
		}, onceEach(runs), nil)
		run(t, q)
		id := startBatch(t, q)
		time.Sleep(3500 * time.Millisecond)
		require.NoError(t, q.CancelBatch(t.Context(), id, "ops"))
		time.Sleep(time.Second)
		require.Len(t, told(), 1)
		info := told()[0]
		require.Equal(t, "ops", info.CancelledBy)
		require.Empty(t, info.PlanError)
		require.False(t, info.Planning)
		require.Equal(t, stint.Dead, get(t, q, id).State)
		require.Equal(t, "cancelled by ops", get(t, q, id).Reason)
		require.Equal(t, info.Planned, info.Done+info.Dead)
		require.GreaterOrEqual(t, info.Done, 3000)
		schedules, err := q.Schedules()
		require.NoError(t, err)
		require.Equal(t, stint.Dead, schedules[0].Runs[0].State)

		require.NoError(t, q.Retry(t.Context(), id))
		synctest.Wait()
		require.Equal(t, stint.Dead, get(t, q, id).State, "it is cancelled for good")
	})
	scenario(t, "before its planner began ends it at once", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		planned(t, q, planNotes(10), noItem, nil)
		id := startBatch(t, q)
		require.NoError(t, q.CancelBatch(t.Context(), id, "ops"))
		run(t, q)
		require.Len(t, told(), 1)
		require.Zero(t, told()[0].Planned)
	})
}
