//go:build linux || darwin || freebsd

package dashboard

import "syscall"

// diskOf is the room on the disk of a directory.
func diskOf(dir string) diskSpace {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return diskSpace{}
	}
	block := uint64(s.Bsize)
	return diskSpace{Known: true, Free: uint64(s.Bavail) * block, Size: uint64(s.Blocks) * block}
}
