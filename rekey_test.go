package stint_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var rekeyKills = flag.Int("rekey.kills", 8, "how often a process that rekeys is killed")

func TestRekey(t *testing.T) {
	t.Parallel()
	if os.Getenv(encryptVariable) != "" {
		t.Skip("its plain files would not be")
	}
	scenario(t, "changes nothing but what can be read without the keys", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue")
		q := openWith(t, path, "")
		require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error { return appData(tx, "kept") }))
		plant(t, q)
		tellsAll := func(q *stint.Queue) []any {
			handleSecrets(t, q)
			require.NoError(t, q.Periodic("often", "@every 1h", secret{"of the schedule"}))
			require.NoError(t, planSecrets(q))
			sound(t, q)
			jobs, batches, schedules := allOf(t, q)
			return []any{jobs, batches, schedules, q.Counts(), stint.StoredItems(q.DB())}
		}
		jobs, batches, schedules := allOf(t, q)
		before := []any{jobs, batches, schedules, q.Counts(), stint.StoredItems(q.DB())}
		require.NoError(t, q.Close())

		keys := ""
		for _, next := range []string{"a", "b", "", "c", "cd", "d", ""} {
			var told []stint.Progress
			require.NoError(t, stint.Rekey(path, keyOf(keys), keyOf(next), func(p stint.Progress) { told = append(told, p) }))
			require.Equal(t, len(jobs), told[len(told)-1].Done)
			require.Equal(t, len(jobs), told[len(told)-1].Total)
			if keys = next; keys != "" {
				require.Empty(t, found(t, path))
			}
			q = openWith(t, path, keys)
			require.Equal(t, before, tellsAll(q), "with keys %q", keys)
			require.NoError(t, q.DB().View(func(tx *bolt.Tx) error {
				require.Equal(t, "kept", string(tx.Bucket([]byte("app")).Bucket([]byte("inner")).Get([]byte("k"))))
				return nil
			}))
			for _, args := range []secret{{"planted-unique"}, {"planted-period"}} {
				_, err := q.Enqueue(t.Context(), args, stint.Unique())
				require.ErrorIs(t, err, stint.ErrDuplicate, "with keys %q", keys)
			}
			require.NoError(t, q.Close())
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1)
	})
	for _, route := range [][2]string{{"", "a"}, {"a", "b"}, {"a", ""}} {
		scenario(t, "what it has left is worked off exactly, from keys \""+route[0]+"\" to \""+route[1]+"\"", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue")
			q := openWith(t, path, route[0])
			plant(t, q)
			require.NoError(t, q.Close())
			require.NoError(t, stint.Rekey(path, keyOf(route[0]), keyOf(route[1]), nil))

			q = openWith(t, path, route[1])
			handleSecrets(t, q)
			require.NoError(t, planSecrets(q))
			var parts atomic.Int32
			stint.Handle(q, func(context.Context, *stint.Job[part]) error { parts.Add(1); return nil }, nil)
			run(t, q)
			time.Sleep(9 * 24 * time.Hour)
			synctest.Wait()
			require.EqualValues(t, 1, parts.Load())
			var ends []stint.ID
			for info, err := range q.Batches(0) {
				require.NoError(t, err)
				if info.Schedule == "" {
					require.Equal(t, []int{2, 2, 0}, []int{info.Planned, info.Done, info.Dead})
					ends = append(ends, info.OnDone)
				} else {
					require.Equal(t, 2, info.Planned, "the planner that starts over doubles nothing")
					require.Equal(t, 1, info.Done)
				}
			}
			require.Len(t, ends, 1)
			require.JSONEq(t, `{"s":"planted-ondone"}`, string(get(t, q, ends[0]).Args))
			require.Equal(t, stint.Completed, get(t, q, ends[0]).State)
			sound(t, q)
		})
	}
	scenario(t, "carries what is in quarantine, and refuses what it cannot read", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue")
		q := openWith(t, path, "")
		bad := enqueue(t, q, secret{"planted-args"})
		require.NoError(t, q.Close())
		change(t, path, func(db *bolt.DB) error { return stint.FlipByte(db, bad, 0) })
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		require.ErrorIs(t, stint.Rekey(path, nil, keyOf("a"), nil), stint.ErrCorrupt)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, after)

		q = openWith(t, path, "")
		handleSecrets(t, q)
		stop := run(t, q)
		synctest.Wait()
		require.NoError(t, stop())
		require.NoError(t, q.Close())
		for _, route := range [][2]string{{"", "a"}, {"a", "b"}, {"b", ""}} {
			require.NoError(t, stint.Rekey(path, keyOf(route[0]), keyOf(route[1]), nil))
			if route[1] != "" {
				require.Empty(t, found(t, path))
			}
			q = openWith(t, path, route[1])
			n := 0
			for entry, err := range q.Quarantined() {
				require.NoError(t, err)
				require.Contains(t, string(entry.Raw), "planted-args")
				n++
			}
			require.Equal(t, 1, n)
			require.NoError(t, q.Close())
		}
	})
}

func appData(tx *bolt.Tx, value string) error {
	b, err := tx.CreateBucket([]byte("app"))
	if err != nil {
		return err
	}
	if b, err = b.CreateBucket([]byte("inner")); err != nil {
		return err
	}
	return b.Put([]byte("k"), []byte(value))
}

func TestRekeyRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue")
	q := openWith(t, path, "a")
	id := enqueue(t, q, secret{"planted-args"})
	require.ErrorIs(t, stint.Rekey(path, keyOf("a"), keyOf("b"), nil), stint.ErrLocked)
	require.NoError(t, q.Close())
	require.ErrorIs(t, stint.Rekey(path, keyOf("b"), keyOf("c"), nil), stint.ErrWrongKey)
	require.ErrorIs(t, stint.Rekey(path, nil, keyOf("c"), nil), stint.ErrWrongKey)
	require.ErrorIs(t, stint.Rekey(path, keyOf("aa"), keyOf("c"), nil), stint.ErrConfig)
	require.ErrorIs(t, stint.Rekey(path, keyOf("a"), [][]byte{{1}}, nil), stint.ErrConfig)
	require.ErrorIs(t, stint.Rekey(path+"x", keyOf("a"), nil, nil), os.ErrNotExist)
	require.NoFileExists(t, path+"x")

	q = openWith(t, path, "ba") // the secret has the new key, the job the old one
	require.NoError(t, q.Close())
	err := stint.Rekey(path, keyOf("b"), keyOf("c"), nil)
	require.ErrorIs(t, err, stint.ErrWrongKey)
	require.ErrorContains(t, err, stint.KeyName(keyOf("a")[0])+"; add that key to from")
	require.PanicsWithValue(t, "of progress", func() {
		_ = stint.Rekey(path, keyOf("ba"), keyOf("c"), func(stint.Progress) { panic("of progress") })
	})
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	other := []byte("of somebody else")
	require.ErrorIs(t, stint.Rekey(path, keyOf("ab"), keyOf("c"), func(stint.Progress) {
		require.NoError(t, os.Rename(path, path+"-moved"))
		require.NoError(t, os.WriteFile(path, other, 0o600))
	}), stint.ErrFileGone)
	now, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, other, now)
	require.NoError(t, os.Rename(path+"-moved", path))
	require.NoFileExists(t, path+".compacting")
	require.NoError(t, stint.Rekey(path, keyOf("ab"), keyOf("c"), nil))
	require.NotEmpty(t, get(t, openWith(t, path, "c"), id).Args)
}

func init() {
	childModes["rekey"] = func(args childArgs) {
		say("ready")
		for from, to := "a", "b"; ; from, to = to, from {
			if err := stint.Rekey(args.File, keyOf(from), keyOf(to), nil); err != nil {
				must(stint.Rekey(args.File, keyOf(to), keyOf(from), nil)) // the one before it left it so
			}
		}
	}
}

// A process that is killed while it rekeys leaves the old file or the new one.
func TestRekeyKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue")
	q, err := stint.Open(path, &stint.Config{Logger: quiet, Keys: keyOf("a")})
	require.NoError(t, err)
	ids, err := q.EnqueueAll(t.Context(), slices.Collect(func(yield func(stint.Args) bool) {
		for range 2000 {
			if !yield(secret{"planted-args"}) {
				return
			}
		}
	}))
	require.NoError(t, err)
	require.NoError(t, q.Close())
	rnd, seen := seeded(t), map[string]int{}
	for range *rekeyKills {
		c := startChild(t, childArgs{Mode: "rekey", File: path})
		c.await("ready", 1)
		time.Sleep(time.Duration(rnd.IntN(150)) * time.Millisecond)
		c.kill()
		keys := "a"
		q, err := stint.Open(path, &stint.Config{Logger: quiet, Keys: keyOf("a")})
		if err != nil {
			require.ErrorIs(t, err, stint.ErrWrongKey)
			keys = "b"
			q, err = stint.Open(path, &stint.Config{Logger: quiet, Keys: keyOf("b")})
		}
		require.NoError(t, err)
		seen[keys]++
		sound(t, q)
		require.Equal(t, len(ids), q.Counts().Ready)
		require.NotEmpty(t, get(t, q, ids[len(ids)-1]).Args)
		require.NoError(t, q.Close())
		require.Empty(t, found(t, path))
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1, "what a crash has left is removed")
	}
	t.Log(seen)
}
