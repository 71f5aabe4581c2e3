package main

import (
	"os"
	"syscall"
)

// datasync is the sync that bbolt uses.
func datasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
