//go:build unix

package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// ordinaryUser is whom PostgreSQL's programs run as, because they refuse to be
// root, and makes dir theirs. It is nil where we are an ordinary user.
func ordinaryUser(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		as := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return &syscall.SysProcAttr{Credential: as}, giveTo(as, dir)
	}
	return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is no user postgres or nobody; run as another user")
}

// giveTo makes the user the owner of dir and lets it through to there. The
// directory above dir is the run's own, closed to others when it was made. What
// lies above that is not ours to open.
func giveTo(as *syscall.Credential, dir string) error {
	if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	for up := parent; ; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 {
			if up != parent {
				return fmt.Errorf("PostgreSQL refuses to run as root, and another user cannot reach %s; choose a directory elsewhere, or chmod o+x %s", dir, up)
			}
			if err := os.Chmod(up, info.Mode().Perm()|0o001); err != nil {
				return err
			}
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}
