package stint

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const familyAlbum = `goroutine 7 [running]:
main.f()
	/f.go:1 +0x1
created by main.main in goroutine 1
	/f.go:2 +0x2

goroutine 8 [select, 3 minutes]:
main.child()
created by main.f in goroutine 7
	/f.go:3 +0x3

goroutine 9 [select]:
main.grandchild()
created by main.child in goroutine 8

goroutine 10 [select]:
github.com/stintq/stint.(*runner).work(0x1)
created by main.f in goroutine 7

goroutine 70 [select]:
main.stranger()
created by main.f in goroutine 77
`

func TestFamilyOf(t *testing.T) {
	t.Parallel()
	family := familyOf(7, []byte(familyAlbum))
	require.Contains(t, family, "main.f()")
	require.Contains(t, family, "main.child()")
	require.True(t, strings.HasSuffix(family, "main.grandchild()\ncreated by main.child in goroutine 8\n"))
	require.NotContains(t, family, "work")
	require.NotContains(t, family, "stranger")
	require.Empty(t, familyOf(71, []byte(familyAlbum)))
}

func FuzzFamilyOf(f *testing.F) {
	f.Add(int64(7), familyAlbum)
	f.Add(int64(1), "goroutine 1 [running]:\ncreated by f in goroutine 1\n\ngoroutine 1 [x]:\ncreated by f in goroutine 1")
	f.Add(int64(2), "goroutine 3 [x]:\ncreated by f in goroutine 4\n\ngoroutine 4 [x]:\ncreated by f in goroutine 3")
	f.Fuzz(func(t *testing.T, root int64, stacks string) {
		family := familyOf(root, []byte(stacks))
		require.LessOrEqual(t, len(family), maxStackShown+len(stacks)+1)
		if family == "" {
			return
		}
		id, ok := goroutineOf([]byte(family))
		require.True(t, ok)
		require.Equal(t, root, id)
	})
}
