package stint_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// No test can set the clock of the machine. What one sees of a jump is a
// timer that comes too late, which StallTimer makes, and the notice.
func TestNoticeOfAJump(t *testing.T) {
	t.Parallel()
	// waiting is a queue with a job that is due in an hour, and a timer that
	// has stopped.
	waiting := func(t *testing.T, delayed bool) (q *stint.Queue, done *atomic.Int32) {
		q, done = open(t, nil), new(atomic.Int32)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			if !delayed && job.Attempt == 1 {
				return errOops
			}
			done.Add(1)
			return nil
		}, hour)
		var opts []stint.Option
		if delayed {
			opts = append(opts, stint.In(time.Hour))
		}
		enqueue(t, q, note{}, opts...)
		run(t, q)
		synctest.Wait()
		stint.StallTimer(q)
		synctest.Wait()
		return q, done
	}
	for what, delayed := range map[string]bool{"a delayed job": true, "a retry": false} {
		scenario(t, what+" whose time has passed runs when the notice comes", func(t *testing.T) {
			q, done := waiting(t, delayed)
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			require.Zero(t, done.Load(), "the timer stands")
			stint.NoticeJump(q)
			synctest.Wait()
			require.EqualValues(t, 1, done.Load())
		})
		scenario(t, what+" whose time is to come runs then", func(t *testing.T) {
			q, done := waiting(t, delayed)
			stint.NoticeJump(q)
			time.Sleep(time.Hour - time.Millisecond)
			synctest.Wait()
			require.Zero(t, done.Load())
			time.Sleep(time.Millisecond)
			synctest.Wait()
			require.EqualValues(t, 1, done.Load())
		})
	}
	scenario(t, "a notice to an idle queue commits nothing", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		synctest.Wait()
		commits := lastTx(q.DB())
		for range 10 {
			stint.NoticeJump(q)
			synctest.Wait()
		}
		require.Equal(t, commits, lastTx(q.DB()))
	})
}
