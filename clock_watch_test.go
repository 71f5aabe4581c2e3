package stint

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// StallTimer lets the timer of a queue stand, as it does while the machine
// sleeps.
func StallTimer(q *Queue) {
	q.commit.post(func() { q.commit.timer.Reset(forever) })
}

// NoticeJump is what the watch does after a jump.
func NoticeJump(q *Queue) { q.commit.post(q.commit.clockChanged) }

// fakeAlarm is an alarm that jumps so many times.
type fakeAlarm struct {
	jumps  int
	armErr error
	told   []string
}

func (f *fakeAlarm) wait() error {
	if f.jumps--; f.jumps < 0 {
		return os.ErrClosed
	}
	f.told = append(f.told, "jump")
	return nil
}

func (f *fakeAlarm) arm() error {
	f.told = append(f.told, "arm")
	return f.armErr
}

func (f *fakeAlarm) close() error { return nil }

func TestHeed(t *testing.T) {
	for name, test := range map[string]struct {
		fake fakeAlarm
		want []string
	}{
		"an alarm that is closed ends it":            {fakeAlarm{}, nil},
		"each jump arms, and then is told":           {fakeAlarm{jumps: 2}, []string{"jump", "arm", "told", "jump", "arm", "told"}},
		"what cannot be armed any more tells it too": {fakeAlarm{jumps: 2, armErr: errors.New("oops")}, []string{"jump", "arm", "told"}},
	} {
		t.Run(name, func(t *testing.T) {
			heed(&test.fake, func() { test.fake.told = append(test.fake.told, "told") })
			require.Equal(t, test.want, test.fake.told)
		})
	}
}

func TestJumped(t *testing.T) {
	wall := time.Date(2026, 3, 29, 1, 59, 30, 0, time.UTC)
	const mono = 5 * time.Hour
	for name, test := range map[string]struct {
		wall, mono time.Duration // that have passed
		want       bool
	}{
		"both went on for a minute":        {time.Minute, time.Minute, false},
		"the clock is slewed":              {time.Minute + 30*time.Millisecond, time.Minute, false},
		"a second is tolerated":            {time.Minute + time.Second, time.Minute, false},
		"and a second back":                {time.Minute - time.Second, time.Minute, false},
		"set forward":                      {time.Hour, time.Minute, true},
		"set forward by little":            {time.Minute + time.Second + 1, time.Minute, true},
		"set back":                         {-time.Hour, time.Minute, true},
		"set back by little":               {time.Minute - time.Second - 1, time.Minute, true},
		"asleep while the monotonic stood": {8 * time.Hour, time.Minute, true},
		"the look came late":               {9 * time.Minute, 9 * time.Minute, false},
		"set by centuries":                 {-250 * 365 * 24 * time.Hour, time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, jumped(wall, mono, wall.Add(test.wall), mono+test.mono))
		})
	}
}

func TestCompareClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		var watch sync.WaitGroup
		watch.Go(func() {
			compareClocks(stopped, func() { t.Error("no clock has jumped") })
		})
		time.Sleep(24 * time.Hour)
		close(stopped)
		watch.Wait()
		compareClocks(stopped, nil) // returns
	})
}

func TestVirtualTime(t *testing.T) {
	require.False(t, virtualTime(time.Now, kernelTime))

	clock := func(step time.Duration) func() time.Time {
		at, looks := time.Unix(1e9, 0), 0
		return func() time.Time {
			if looks++; looks%100 == 0 { // a coarse one
				at = at.Add(step)
			}
			return at
		}
	}
	fine := func() func() time.Time {
		at := time.Unix(1e9, 0)
		return func() time.Time { at = at.Add(time.Nanosecond); return at }
	}
	require.False(t, virtualTime(fine(), clock(time.Microsecond)))
	require.False(t, virtualTime(fine(), clock(-time.Hour)), "set back meanwhile")
	require.True(t, virtualTime(clock(0), clock(time.Microsecond)))
}

func TestWatchClockInVirtualTime(t *testing.T) {
	for _, when := range []string{"in 2000", "today"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if when == "today" {
					time.Sleep(time.Until(kernelTime()))
				}
				goroutines := runtime.NumGoroutine()
				stop := watchClock(func() { t.Error("no clock has jumped") })
				defer stop()
				require.Equal(t, goroutines, runtime.NumGoroutine())
			})
		})
	}
}

func TestWatchClockLeavesNothing(t *testing.T) {
	once := func() { watchClock(func() { t.Error("no clock has jumped") })() }
	once()
	goroutines := runtime.NumGoroutine()
	for range 1000 {
		once()
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		runtime.Gosched() // stop has waited, but a goroutine may still be on its way out
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
}
