package stint_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestUpgradeOnAFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv(encryptVariable) != "" {
		t.Skip("its old file is a plain one, as all of its format are")
	}
	larger, _ := oldFile(t)
	db, err := bolt.Open(larger, 0o600, &bolt.Options{NoFreelistSync: true})
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error { // some 200 KiB that the upgrade writes anew
		for i := range 50 {
			if err := tx.Bucket([]byte("stint")).Bucket([]byte("quarantine")).Put([]byte("quarantined-"+strconv.Itoa(i)), make([]byte, 4000)); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, db.Close())
	contents, err := os.ReadFile(larger)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		room int
		text string
	}{
		"no room for the backup":  {100 << 10, "make room on the disk for a copy of the file"},
		"no room for the upgrade": {len(contents) + 100<<10, "no space left"},
		"room":                    {len(contents) + 2<<20, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(tmpfs(t, strconv.Itoa(len(contents)+c.room)), "queue.db")
			require.NoError(t, os.WriteFile(path, contents, 0o600))
			q, err := tryOpen(path, &stint.Config{Logger: quiet})
			if c.text == "" {
				require.NoError(t, err)
				require.NoError(t, q.Close())
				return
			}
			require.ErrorContains(t, err, "cannot upgrade")
			require.ErrorContains(t, err, c.text)
			require.Equal(t, 1, stint.FormatOf(path))
			require.Empty(t, backupsOf(t, path))
		})
	}
}
