package stint_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// On a full disk a step waits until it can be stored, as its function has run
// already. A checkpoint does not wait, is not tried all the time, and is
// stored with the next one.
func TestPuttingByOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openAt(t, path, nil)
	next, answers := make(chan bool), make(chan error, 10)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
		<-next
		answers <- job.Checkpoint(ctx, 1)
		<-next
		if job.Args.N > 0 {
			runs := 0
			answers <- job.Step(ctx, "one", func(context.Context) error { runs++; return nil }, &runs)
		} else {
			answers <- job.Checkpoint(ctx, 2)
		}
		<-next
		return nil
	}, &stint.Policy{Timeout: -1})
	makeRoom(t, q)
	for what, n := range map[string]int{"Checkpoint": 0, "Step": 1} {
		id := enqueue(t, q, note{n})
		stop := run(t, q)
		eventually(t, func() bool { return get(t, q, id).State == stint.Running }, "it runs")
		disk := descriptorOf(t, path)
		disk.leadTo(t, "/dev/full")
		next <- true
		require.NoError(t, receive(t, answers))
		before := processorTime(t)
		time.Sleep(100 * time.Millisecond)
		require.Less(t, processorTime(t)-before, 80*time.Millisecond, "it is not tried all the time")
		require.Empty(t, get(t, q, id).Checkpoint)
		if n > 0 {
			next <- true
			time.Sleep(20 * time.Millisecond)
			require.Empty(t, answers, "the step waits")
			disk.restore(t)
		} else {
			disk.restore(t)
			next <- true
		}
		require.NoError(t, receive(t, answers), what)
		want := map[int]string{0: "2", 1: "1"}[n]
		eventually(t, func() bool { return string(get(t, q, id).Checkpoint) == want }, "the checkpoint")
		require.Len(t, get(t, q, id).Steps, n)
		next <- true
		eventually(t, func() bool { return q.Counts() == stint.Counts{} }, "the end")
		require.NoError(t, stop())
	}
}
