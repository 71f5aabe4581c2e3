package stint

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestWaitCanceled(t *testing.T) {
	read := func(err error) func([]byte) (int, error) {
		return func(b []byte) (int, error) {
			require.Len(t, b, 8, "the kernel refuses less")
			return 0, err
		}
	}
	require.NoError(t, waitCanceled(read(&fs.PathError{Op: "read", Path: "timerfd", Err: unix.ECANCELED})))
	require.ErrorIs(t, waitCanceled(read(fs.ErrClosed)), fs.ErrClosed)
	require.ErrorIs(t, waitCanceled(read(unix.EAGAIN)), unix.EAGAIN, "not in the poller")
	require.ErrorIs(t, waitCanceled(read(nil)), errWentOff)
}

func TestClockTimer(t *testing.T) {
	bell, err := newAlarm()
	require.NoError(t, err)
	raw, err := bell.(clockTimer).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		_, err := unix.Read(int(fd), make([]byte, 8))
		require.ErrorIs(t, err, unix.EAGAIN, "nothing to read")
		var armed unix.ItimerSpec
		require.NoError(t, unix.TimerfdGettime(int(fd), &armed))
		require.Positive(t, armed.Value.Sec)
		require.Zero(t, armed.Interval)
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		require.NoError(t, err)
		require.Regexp(t, `(?m)^clockid: 0$`, string(info), "the wall clock")
		require.Regexp(t, `(?m)^settime flags: 03$`, string(info), "absolute, and cancelled by a jump")
		flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC, "no child gets it")
	}))

	ended := make(chan error)
	go func() { ended <- bell.wait() }()
	require.NoError(t, bell.arm(), "again, while it is waited for")
	require.Eventually(t, func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return regexp.MustCompile(`\[IO wait\]:\n(.+\n)+github\.com/stintq/stint\.clockTimer\.wait`).Match(stacks)
	}, 10*time.Second, time.Millisecond, "it waits in the poller")
	require.NoError(t, bell.close())
	require.ErrorIs(t, <-ended, fs.ErrClosed)
	require.Error(t, bell.arm(), "and not the next descriptor of that number")
}

func TestRunHasTheClockTimer(t *testing.T) {
	timers := func() (n int) {
		fds, err := filepath.Glob("/proc/self/fd/*")
		require.NoError(t, err)
		for _, fd := range fds {
			if target, _ := os.Readlink(fd); target == "anon_inode:[timerfd]" {
				n++
			}
		}
		return n
	}
	before := timers()
	q, err := Open(filepath.Join(t.TempDir(), "queue.db"), nil)
	require.NoError(t, err)
	defer q.Close()
	require.Equal(t, before, timers(), "without Run nothing is due")
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- q.Run(ctx) }()
	require.Eventually(t, func() bool { return timers() == before+1 }, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-result)
	require.Equal(t, before, timers())
}
