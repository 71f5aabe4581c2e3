package stint

import (
	"os"
	"syscall"
)

// roomFor answers ENOSPC when the file system of f has no room for so many
// bytes and an eighth more. To find out by filling it would let the writes of
// everybody else fail as well.
func roomFor(f *os.File, size int64) error {
	var stat syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &stat); err != nil {
		return nil // it does not tell
	}
	if uint64(size+size/8)/uint64(stat.Bsize) >= stat.Bavail {
		return syscall.ENOSPC
	}
	return nil
}
