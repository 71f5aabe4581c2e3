package dashboard

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the dashboard adds to a program in pages, styles and scripts.
func TestEmbeddedFilesAreSmall(t *testing.T) {
	t.Parallel()
	total := int64(0)
	for _, files := range []fs.FS{templateFiles, staticFiles} {
		require.NoError(t, fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				var info fs.FileInfo
				if info, err = entry.Info(); err == nil {
					total += info.Size()
				}
			}
			return err
		}))
	}
	require.Less(t, total, int64(60_000), "bytes")
}
