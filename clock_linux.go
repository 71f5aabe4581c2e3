package stint

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// clockTimer is a timer of the kernel that never goes off. It is there for
// TFD_TIMER_CANCEL_ON_SET: a read of it fails with ECANCELED when the wall
// clock jumps, also when the machine wakes up. The descriptor does not block,
// so the read waits in Go's poller and holds no thread.
type clockTimer struct{ *os.File }

// newAlarm fails where a filter of system calls forbids timerfd.
func newAlarm() (alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	c := clockTimer{os.NewFile(uintptr(fd), "timerfd")}
	if err := c.arm(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c clockTimer) wait() error { return waitCanceled(c.Read) }

// arm sets the timer to the end of time, as far as the system can count. After
// a jump that no read has told of, the kernel answers ECANCELED, and has armed
// it all the same.
func (c clockTimer) arm() error {
	raw, err := c.SyscallConn() // keeps the descriptor from being closed meanwhile
	if err != nil {
		return err
	}
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt}}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil)
	})
	if errors.Is(refused, unix.ECANCELED) {
		refused = nil
	}
	return errors.Join(err, refused)
}

func (c clockTimer) close() error { return c.Close() }

var errWentOff = errors.New("stint: the timer for the end of time went off")

// waitCanceled waits for a read that fails with ECANCELED.
func waitCanceled(read func([]byte) (int, error)) error {
	var expirations [8]byte
	_, err := read(expirations[:])
	switch {
	case errors.Is(err, unix.ECANCELED):
		return nil
	case err == nil:
		return errWentOff
	}
	return err
}
