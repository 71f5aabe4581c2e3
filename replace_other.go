//go:build !((linux && !android) || darwin || dragonfly || freebsd || netbsd || openbsd)

package stint

import (
	"errors"
	"os"
)

func createLike(*os.File, string, string) (*os.File, error) { return nil, errors.ErrUnsupported }
