//go:build (linux && !android) || darwin || dragonfly || freebsd || netbsd || openbsd

package stint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHolderIn(t *testing.T) {
	t.Parallel()
	const locks = `1: POSIX  ADVISORY  WRITE 10 08:02:77 0 EOF
2: FLOCK  ADVISORY  WRITE 11 08:03:77 0 EOF
3: FLOCK  ADVISORY  WRITE 12 08:02:77 0 EOF
3: -> FLOCK  ADVISORY  WRITE 13 08:02:77 0 EOF
4: FLOCK  ADVISORY  WRITE -1 08:02:78 0 EOF
5: FLOCK
`
	require.Equal(t, 12, holderIn(locks, 8<<8|2, 77))
	require.Equal(t, 0, holderIn(locks, 8<<8|2, 78))
	require.Equal(t, 0, holderIn(locks, 8<<8|2, 79))
	require.Equal(t, 0, holderIn("", 8<<8|2, 77))
}
