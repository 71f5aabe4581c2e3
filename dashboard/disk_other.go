//go:build !(linux || darwin || freebsd)

package dashboard

// diskOf knows nothing on this system.
func diskOf(dir string) diskSpace { return diskSpace{} }
