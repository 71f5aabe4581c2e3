package dashboard

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// taskRequest is what a task is started by.
func taskRequest() *request {
	return &request{Request: localRequest("POST", "/", nil), access: Access{Role: Admin, User: "ana"}}
}

func TestTaskThatPanics(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	d := newDashboard(q, &Config{Logger: slog.New(slog.DiscardHandler)})
	one, err := d.start(taskRequest(), "check", "file", func(context.Context, func(stint.Progress)) (string, error) { panic("oops") })
	require.NoError(t, err)
	d.tasks.group.Wait()
	require.Contains(t, one.wire().Error, "the task check has panicked: oops")
	require.False(t, one.wire().EndedAt.IsZero())
	for a, err := range q.Actions() {
		require.NoError(t, err)
		require.Contains(t, a.Note, "oops", "it is in the log as well")
	}
}

// Close stops the tasks, waits for them, and lets none begin.
func TestTasksEndWithTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := routesQueue(t)
		d := newDashboard(q, &Config{Logger: slog.New(slog.DiscardHandler)})
		slow, err := d.start(taskRequest(), "check", "file", func(ctx context.Context, _ func(stint.Progress)) (string, error) {
			<-ctx.Done()
			time.Sleep(time.Minute) // it takes its time to stop
			return "stopped", ctx.Err()
		})
		require.NoError(t, err)
		synctest.Wait()
		require.False(t, slow.over())
		began := time.Now()
		require.NoError(t, q.Close())
		require.True(t, slow.over())
		require.Equal(t, time.Minute, time.Since(began))
		_, err = d.start(taskRequest(), "check", "file", nil)
		require.ErrorIs(t, err, stint.ErrClosed)
	})
}

func TestTasksAreBounded(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	d := newDashboard(q, &Config{Logger: slog.New(slog.DiscardHandler)})
	end := make(chan struct{})
	wait := func(context.Context, func(stint.Progress)) (string, error) { <-end; return "", nil }
	for range maxRunning {
		_, err := d.start(taskRequest(), "check", "file", wait)
		require.NoError(t, err)
	}
	_, err := d.start(taskRequest(), "check", "file", wait)
	require.Equal(t, http.StatusServiceUnavailable, asFailure(err).status)
	close(end)
	d.tasks.group.Wait()
	for range 2 * maxTasks {
		_, err := d.start(taskRequest(), "check", "file", wait)
		require.NoError(t, err)
		d.tasks.group.Wait()
	}
	require.Len(t, d.tasks.all(), maxTasks)
}
