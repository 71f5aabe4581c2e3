//go:build !linux

package main

import "os"

// fdatasync is Sync where the system has no other.
func fdatasync(f *os.File) error { return f.Sync() }

func inMemory(string) bool { return false }
