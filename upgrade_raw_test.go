package stint

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// What tests of upgrades do behind the queue's back.

// WithinUpgrade lets fn run in the transaction of the step from a format, when
// all of it is written.
func WithinUpgrade(format int, fn func() error) (restore func()) {
	step := upgrades[format]
	upgrades[format] = func(root *bolt.Bucket) error {
		if err := step(root); err != nil {
			return err
		}
		return fn()
	}
	return func() { upgrades[format] = step }
}

// FormatOf is the format of a closed file.
func FormatOf(path string) (format int) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return 0
	}
	defer LetGo()
	defer db.Close()
	_ = db.View(func(tx *bolt.Tx) error {
		format = int(tx.Bucket(rootBucket).Bucket(bucketNames[bucketMeta]).Get(keyFormat)[0])
		return nil
	})
	return format
}

// CurrentFormat is that of new files.
const CurrentFormat = formatVersion

// The step from format 1 adds what it says, and changes nothing else.
func TestAddChecksums(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/queue.db"
	old, err := os.ReadFile("testdata/format1.bolt")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, old, 0o600))
	db, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	defer db.Close()
	before := contents(t, db)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error { return addChecksums(tx.Bucket(rootBucket)) }))
	after := contents(t, db)

	for name, old := range before {
		require.Len(t, after[name], len(old), "bucket %s", bucketNames[name])
		for key, value := range old {
			got := after[name][key]
			switch {
			case name == bucketQuarantine:
				entry, err := decodeQuarantined(keyID([]byte(key)), []byte(got))
				require.NoError(t, err)
				require.Equal(t, value, string(entry.raw))
				continue
			case name == bucketLanes || name == bucketQueues || name == bucketPlaces, name == bucketBatches && key[0] != batchEnded,
				name == bucketItems && key[0] == 0, name == bucketMeta && key != string(keyFormat):
				opened, ok := openValue([]byte(key), []byte(got))
				require.True(t, ok, "%s %q", bucketNames[name], key)
				got = string(opened)
			}
			require.Equal(t, value, got, "%s %q", bucketNames[name], key)
		}
	}
}

func contents(t *testing.T, db *bolt.DB) map[bucketName]map[string]string {
	all := map[bucketName]map[string]string{}
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		for name := range bucketsOf(1) {
			b := tx.Bucket(rootBucket).Bucket(bucketNames[name])
			all[name] = map[string]string{}
			require.NoError(t, b.ForEach(func(k, v []byte) error { all[name][string(k)] = string(v); return nil }))
			if name != bucketQueues {
				require.NotEmpty(t, all[name], "the file of the test has nothing in %s", bucketNames[name])
			}
		}
		last, _ := lastID(tx.Bucket(rootBucket).Bucket(bucketNames[bucketJobs]))
		require.EqualValues(t, 38, last)
		return nil
	}))
	return all
}

func TestChangeValuesGoesOverAll(t *testing.T) {
	t.Parallel()
	db, err := bolt.Open(t.TempDir()+"/queue.db", 0o600, nil)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("b"))
		require.NoError(t, err)
		for i := range uint64(2500) {
			require.NoError(t, b.Put(appendID(nil, i), []byte{byte(i)}))
		}
		long := bytes.Repeat([]byte("x"), 1000) // pages split under the cursor
		require.NoError(t, changeValues(b, func(k, v []byte) []byte {
			if keyID(k)%7 == 0 {
				return nil
			}
			return append(bytes.Clone(v), long...)
		}))
		n := 0
		require.NoError(t, b.ForEach(func(k, v []byte) error {
			n++
			want := 1001
			if keyID(k)%7 == 0 {
				want = 1
			}
			require.Len(t, v, want)
			require.Equal(t, byte(keyID(k)), v[0])
			return nil
		}))
		require.Equal(t, 2500, n)
		return nil
	}))
}
