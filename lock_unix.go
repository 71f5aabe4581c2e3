//go:build (linux && !android) || darwin || dragonfly || freebsd || netbsd || openbsd

package stint

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// The lock is the one that bbolt takes, on the same descriptor, so that any
// program with bbolt sees it. It is taken here because bbolt takes it too
// late: after it has created the file, and without a word about who has it.

const lockIsOurs = true

// tryLock takes the exclusive lock of a file, or answers false when another
// descriptor has it.
func tryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}

// unlock lets go at once. Closing the descriptor is not enough when this
// process is starting another, which has a copy of it for a moment.
func unlock(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
}

// lockHolder is the process that has the lock of a file, or 0 when the system
// does not tell. Linux does, but not on btrfs and for processes outside of
// the container.
func lockHolder(f *os.File) int {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	return holderIn(string(locks), uint64(stat.Dev), uint64(stat.Ino))
}

// holderIn finds the holder in the text of /proc/locks, whose lines are:
//
//	1: FLOCK  ADVISORY  WRITE 4711 08:02:1234567 0 EOF
func holderIn(locks string, dev, inode uint64) int {
	major := dev>>8&0xfff | dev>>32&^0xfff
	minor := dev&0xff | dev>>12&^0xff
	file := fmt.Sprintf("%02x:%02x:%d", major, minor, inode)
	for line := range strings.Lines(locks) {
		field := strings.Fields(line)
		// A line of somebody who waits has "->" in place of the kind.
		if len(field) >= 6 && field[1] == "FLOCK" && field[5] == file {
			pid, _ := strconv.Atoi(field[4])
			return max(pid, 0)
		}
	}
	return 0
}
