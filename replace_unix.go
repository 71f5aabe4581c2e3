//go:build (linux && !android) || darwin || dragonfly || freebsd || netbsd || openbsd

package stint

import (
	"errors"
	"os"
	"syscall"
)

// createLike makes an empty file with the owner and the mode of another one,
// and takes its lock. The file calls itself label.
func createLike(old *os.File, name, label string) (*os.File, error) {
	info, err := old.Stat()
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	if stat.Nlink != 1 {
		return nil, errors.New("the file has several names (hard links), and only one could lead to the new file; remove the others")
	}
	fd, err := syscall.Open(name, syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), label)
	if err := likeOld(f, info, stat); err != nil {
		letGo(f)
		_ = os.Remove(name)
		return nil, err
	}
	return f, nil
}

func likeOld(f *os.File, info os.FileInfo, stat *syscall.Stat_t) error {
	if ok, err := tryLock(f); err != nil {
		return err
	} else if !ok {
		return ErrLocked
	}
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if own, ok := now.Sys().(*syscall.Stat_t); !ok || own.Uid != stat.Uid || own.Gid != stat.Gid {
		if err := f.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(info.Mode().Perm())
}
