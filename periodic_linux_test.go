package stint_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// A schedule that fires onto a full disk loses nothing and says what it has
// missed, once there is room.
func TestSchedulesWaitForRoomOnTheDisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		path := newPath(t)
		q, d := keeping(t, path, 0)
		makeRoom(t, q)
		periodic(t, q, "@every 1h")
		require.NoError(t, q.Periodic("all", "@every 1h", nightly{N: 2}, stint.Missed(stint.All(9, 9*time.Hour))))
		run(t, q)
		disk := descriptorOf(t, path)
		disk.leadTo(t, "/dev/full")
		time.Sleep(3*time.Hour + 30*time.Minute)
		require.Empty(t, d.times(dayLayout))
		before := q.Stats().Wakeups
		time.Sleep(time.Minute)
		require.InDelta(t, before+12, q.Stats().Wakeups, 1, "it tries each 5 s")
		disk.restore(t)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		missed := map[string]int{}
		for _, run := range d.runs {
			missed[run.Schedule+run.ScheduledFor.UTC().Format(" 15:04")] = run.Missed
		}
		require.Equal(t, map[string]int{"report 03:00": 2, "all 01:00": 0, "all 02:00": 0, "all 03:00": 0}, missed)
		require.Len(t, d.times(dayLayout), 4)
	})
}
