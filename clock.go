package stint

import (
	"sync"
	"syscall"
	"time"
)

// The wall clock may jump: somebody sets it, NTP steps it, or the machine
// sleeps and the clock of Go's timers stands meanwhile. What is due by the
// wall clock would then wait for the next thing that happens in the queue.
//
//  1. Run starts a watch: one goroutine, which lives as long as Run.
//  2. On Linux the kernel tells it of a jump (clock_linux.go). It sleeps until
//     then, so an idle queue stays idle.
//  3. Elsewhere, and if the kernel refuses, it compares the wall clock with the
//     monotonic one once a minute.
//  4. After a jump the committer arms its timer anew and looks for what is due.

// alarm is told by the system when the wall clock jumps.
type alarm interface {
	// wait blocks until the next jump. Any error is the end of the alarm.
	wait() error

	// arm makes it ready for another jump.
	arm() error

	// close ends wait.
	close() error
}

const (
	lookEvery = time.Minute
	tolerance = time.Second // NTP slews by less in a minute
)

// watchClock calls changed after each jump of the wall clock, until stop,
// which waits for a call under way. Call stop once.
func watchClock(changed func()) (stop func()) {
	if virtualTime(time.Now, kernelTime) {
		return func() {}
	}
	bell, err := newAlarm()
	stopped := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		if err == nil {
			heed(bell, changed)
		}
		compareClocks(stopped, changed)
	})
	return func() {
		close(stopped)
		if err == nil {
			_ = bell.close()
		}
		watch.Wait()
	}
}

// virtualTime says whether time.Now is that of a testing/synctest bubble. What
// the kernel says about its clock means nothing there, and a goroutine that
// waits for the kernel would keep the bubble's time from ever passing. There
// is no official way to ask. But a bubble's time passes only when all of its
// goroutines wait, so it stands while this one looks, and the kernel's goes on.
func virtualTime(now, kernel func() time.Time) bool {
	before, k := now(), kernel()
	for range maxLooks {
		if !kernel().Equal(k) {
			return now().Equal(before)
		}
	}
	return true // a kernel whose clock stands has no jumps to tell
}

// maxLooks is far more than it takes the coarsest clock to go on, 16 ms.
const maxLooks = 1 << 24

// kernelTime is the wall clock without the runtime in between.
func kernelTime() time.Time {
	var tv syscall.Timeval
	_ = syscall.Gettimeofday(&tv) // cannot fail
	return time.Unix(int64(tv.Sec), int64(tv.Usec)*1000)
}

// heed passes the notices of an alarm on until it ends. It arms first: what
// jumps afterwards is another notice, what jumped before is seen with this one.
func heed(bell alarm, changed func()) {
	for bell.wait() == nil {
		err := bell.arm()
		changed()
		if err != nil {
			return
		}
	}
}

// compareClocks is the watch without the kernel's help.
func compareClocks(stopped <-chan struct{}, changed func()) {
	select {
	case <-stopped:
		return
	default:
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	start := time.Now()
	wall, mono := start.Round(0), time.Duration(0)
	for {
		select {
		case <-stopped:
			return
		case <-tick.C:
		}
		now := time.Now()
		if jumped(wall, mono, now.Round(0), now.Sub(start)) {
			changed()
		}
		wall, mono = now.Round(0), now.Sub(start)
	}
}

// jumped says whether the wall clock and the monotonic one have gone apart
// between two looks at both. The wall times must have no monotonic reading.
func jumped(wall1 time.Time, mono1 time.Duration, wall2 time.Time, mono2 time.Duration) bool {
	return (wall2.Sub(wall1) - (mono2 - mono1)).Abs() > tolerance
}

// clockChanged lets the loop look again at everything that depends on the wall
// clock. The round that it is posted to does.
func (c *committer) clockChanged() {
	c.timerAt = 0
	c.clockLooked = false
	c.cautiousUntil = min(c.cautiousUntil, micros(time.Now().Add(caution))) // else a clock set back would prolong it
}
