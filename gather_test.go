package stint_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// resting is a queue whose only worker has done many jobs, has many more before
// it, and is busy for an hour.
func resting(t *testing.T, before func(q *stint.Queue, ids []stint.ID)) *stint.Queue {
	t.Helper()
	q := open(t, &stint.Config{Workers: 1})
	n := 0
	stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
		if n++; n%100 == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
			}
		}
		return nil
	}, &stint.Policy{Timeout: 2 * time.Hour})
	before(q, stock(t, q, 2000))
	run(t, q)
	return q
}

// While workers have enough to do, completions wait for more of them, but not
// for long, and not while somebody waits.
func TestGroupsRest(t *testing.T) {
	t.Parallel()
	scenario(t, "what is done is stored soon", func(t *testing.T) {
		q := resting(t, func(*stint.Queue, []stint.ID) {})
		for hour := range 5 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			require.EqualValues(t, 100*(hour+1)-1, q.Stats().Processed)
			time.Sleep(time.Hour - 10*time.Millisecond)
		}
	})
	scenario(t, "a caller does not wait", func(t *testing.T) {
		q := resting(t, func(*stint.Queue, []stint.ID) {})
		for range 5 {
			start := time.Now()
			id := enqueue(t, q, other{})
			require.NoError(t, q.Delete(t.Context(), id))
			require.Zero(t, time.Since(start))
			time.Sleep(time.Hour + time.Millisecond)
		}
	})
	scenario(t, "nor does who waits for a job", func(t *testing.T) {
		var all sync.WaitGroup
		start := time.Now()
		resting(t, func(q *stint.Queue, ids []stint.ID) {
			for at, hours := range map[int]int{0: 0, 50: 0, 98: 0, 198: 1, 298: 2, 398: 3} {
				all.Go(func() {
					_, err := q.Wait(t.Context(), ids[at])
					assert.NoError(t, err)
					assert.Equal(t, time.Duration(hours)*time.Hour, time.Since(start))
				})
			}
			synctest.Wait()
		})
		all.Wait()
	})
}
