//go:build !linux

package main

import "os"

// datasync is the sync that bbolt uses.
func datasync(f *os.File) error { return f.Sync() }
