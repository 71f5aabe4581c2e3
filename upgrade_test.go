package stint_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// testdata/format1.bolt was written by the last version with format 1: a
// queue of household.furnish, copied while it ran, so that two jobs of it are
// running, and compacted.
const format1 = "testdata/format1.bolt"

func init() { childModes["upgrade"] = childUpgrade }

// oldFile is a copy of it, and what is in it.
func oldFile(t testing.TB) (path string, contents []byte) {
	t.Helper()
	contents, err := os.ReadFile(format1)
	require.NoError(t, err)
	path = filepath.Join(t.TempDir(), "queue.db")
	require.NoError(t, os.WriteFile(path, contents, 0o600))
	return path, contents
}

func backupsOf(t testing.TB, path string) []string {
	t.Helper()
	names, err := filepath.Glob(path + "?*")
	require.NoError(t, err)
	return names
}

func TestOpenUpgradesTheFile(t *testing.T) {
	t.Parallel()
	if os.Getenv(encryptVariable) != "" {
		t.Skip("its old file is a plain one, as all of its format are")
	}
	scenario(t, "keeping a backup, and all that was in it", func(t *testing.T) {
		time.Sleep(2*time.Hour + 5*time.Minute) // when it was copied
		path, contents := oldFile(t)
		log := &lockedBuffer{}
		q := openAt(t, path, &stint.Config{Workers: 8, KeepCompleted: -1, Logger: slog.New(slog.NewTextHandler(log, nil))})
		kept, err := os.ReadFile(path + ".format1-backup")
		require.NoError(t, err)
		require.Equal(t, contents, kept)
		info, err := os.Stat(path + ".format1-backup")
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		require.Contains(t, log.String(), "backup="+path+".format1-backup")
		require.Len(t, backupsOf(t, path), 1, "and no other file is left")

		states := map[stint.State][]stint.ID{}
		for info, err := range q.Jobs(stint.Filter{OldestFirst: true}) {
			require.NoError(t, err)
			states[info.State] = append(states[info.State], info.ID)
		}
		require.Equal(t, map[stint.State][]stint.ID{
			stint.Ready:     {7, 8, 10, 11, 12, 28, 30},
			stint.Scheduled: {4, 6},
			stint.Retrying:  {2, 20, 36},
			stint.Completed: {1, 5, 9, 14, 15, 17, 18, 21, 25, 29, 31, 32, 33, 34, 37, 38},
			stint.Dead:      {3, 19, 23, 24, 35},
		}, states)
		result, err := stint.Result[[]int](q, 5)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 3}, result)
		require.Equal(t, []string{"fetch"}, get(t, q, 4).Steps)
		require.JSONEq(t, `{"row":17}`, string(get(t, q, 4).Checkpoint))
		require.Equal(t, 1, get(t, q, 28).Crashes)
		batch, err := q.Batch(30)
		require.NoError(t, err)
		require.Equal(t, 5, batch.Planned)
		var aside []stint.ID
		for entry, err := range q.Quarantined() {
			require.NoError(t, err)
			require.NotEmpty(t, entry.Raw)
			aside = append(aside, entry.ID)
		}
		require.Equal(t, []stint.ID{27}, aside)

		before := newEverything(false)
		midnight := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		before.fired["tick"] = times(midnight.Add(30*time.Minute), midnight.Add(2*time.Hour+time.Minute), 30*time.Minute)
		worksOff(t, q, before)
	})
	t.Run("once", func(t *testing.T) {
		path, _ := oldFile(t)
		for range 2 {
			q, err := tryOpen(path, &stint.Config{Logger: quiet})
			require.NoError(t, err)
			require.NoError(t, q.Close())
			require.Equal(t, stint.CurrentFormat, stint.FormatOf(path))
			require.Equal(t, []string{path + ".format1-backup"}, backupsOf(t, path))
		}
		check(t, path)
	})
	t.Run("beside backups that are there", func(t *testing.T) {
		path, contents := oldFile(t)
		require.NoError(t, os.WriteFile(path+".format1-backup", []byte("of somebody else"), 0o600))
		openAt(t, path, nil)
		kept, err := os.ReadFile(path + ".format1-backup")
		require.NoError(t, err)
		require.Equal(t, "of somebody else", string(kept))
		kept, err = os.ReadFile(path + ".format1-backup-2")
		require.NoError(t, err)
		require.Equal(t, contents, kept)
	})
	t.Run("of the application's own database", func(t *testing.T) {
		path, contents := oldFile(t)
		db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoFreelistSync: true})
		require.NoError(t, err)
		q, err := stint.New(db, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		require.Equal(t, 7, q.Counts().Ready)
		require.NoError(t, q.Close())
		require.NoError(t, db.Close())
		kept, err := os.ReadFile(path + ".format1-backup")
		require.NoError(t, err)
		require.Equal(t, contents, kept)
		check(t, path)
	})
}

// testdata/format2.bolt and format2-encrypted.bolt are like format1.bolt, of the
// last version with format 2.
func TestOpenUpgradesTheFileOfFormat2(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"format2", "format2-encrypted"} {
		scenario(t, name, func(t *testing.T) {
			time.Sleep(2*time.Hour + 5*time.Minute) // when it was copied
			contents, err := os.ReadFile("testdata/" + name + ".bolt")
			require.NoError(t, err)
			path := filepath.Join(t.TempDir(), "queue.db")
			require.NoError(t, os.WriteFile(path, contents, 0o600))
			faults, err := stint.CheckFile(path)
			require.NoError(t, err)
			require.Empty(t, faults, "it lacks nothing that its format has")

			cfg := &stint.Config{Workers: 8, KeepCompleted: -1, Logger: quiet, Keys: [][]byte{bytes.Repeat([]byte{7}, 32)}}
			if name == "format2" {
				cfg.Keys = nil
			}
			if name == "format2" && os.Getenv(encryptVariable) != "" {
				t.Skip("it is a plain file")
			}
			q := openAt(t, path, cfg)
			kept, err := os.ReadFile(path + ".format2-backup")
			require.NoError(t, err)
			require.Equal(t, contents, kept)
			require.Equal(t, stint.Counts{Ready: 7, Scheduled: 2, Retrying: 3, Completed: 16, Dead: 5, Parked: 7}, q.Counts())
			got, err := q.History(time.Minute, time.Time{})
			require.NoError(t, err)
			require.Len(t, got, 1, "only what waits now")
			before := newEverything(false)
			midnight := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
			before.fired["tick"] = times(midnight.Add(30*time.Minute), midnight.Add(2*time.Hour+time.Minute), 30*time.Minute)
			worksOff(t, q, before)
			starts, err := q.Starts()
			require.NoError(t, err)
			require.Len(t, starts, 1)
			require.Equal(t, 2, starts[0].Recovered)
		})
	}
}

func TestUpgradeThatFailsChangesNothing(t *testing.T) {
	if os.Getenv(encryptVariable) != "" {
		t.Skip("its old file is a plain one, as all of its format are")
	}
	unchanged := func(t *testing.T, path string, contents []byte, text string) {
		t.Helper()
		_, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.ErrorContains(t, err, text)
		require.ErrorContains(t, err, "cannot upgrade "+path+" from format 1 to ")
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, contents, now)
		require.Empty(t, backupsOf(t, path), "nothing is left beside it")
	}
	t.Run("no name for the backup", func(t *testing.T) {
		short, contents := oldFile(t)
		path := filepath.Join(filepath.Dir(short), strings.Repeat("n", 250))
		require.NoError(t, os.Rename(short, path))
		unchanged(t, path, contents, "the backup that is made first cannot be written: file name too long")
	})
	t.Run("no right to the directory", func(t *testing.T) {
		path, contents := oldFile(t)
		dir := filepath.Dir(path)
		require.NoError(t, os.Chmod(dir, 0o500))
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
		if f, err := os.Create(filepath.Join(dir, "probe")); err == nil {
			require.NoError(t, f.Close())
			t.Skip("this user may write everywhere")
		}
		unchanged(t, path, contents, "let this user write to the directory")
	})
	t.Run("a step that fails", func(t *testing.T) {
		path, contents := oldFile(t)
		defer stint.WithinUpgrade(1, func() error { return errOops })()
		unchanged(t, path, contents, "oops")
		backup := path + ".format1-backup"
		require.NoError(t, os.WriteFile(backup, contents, 0o600))
		_, err := stint.Open(path, &stint.Config{Logger: quiet})
		require.ErrorContains(t, err, "oops")
		require.Equal(t, []string{backup}, backupsOf(t, path), "one that was there stays")
	})
	t.Run("keys", func(t *testing.T) {
		path, contents := oldFile(t)
		_, err := stint.Open(path, &stint.Config{Logger: quiet, Keys: keyOf("a")})
		require.ErrorIs(t, err, stint.ErrWrongKey)
		require.ErrorContains(t, err, "Open it once without")
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, contents, now)
		require.Empty(t, backupsOf(t, path))
	})
	t.Run("a step that panics", func(t *testing.T) {
		path, contents := oldFile(t)
		defer stint.WithinUpgrade(1, func() error { panic("oops") })()
		unchanged(t, path, contents, "oops")
	})
}

// upgradeDeaths are the moments at which a child dies.
var upgradeDeaths = []string{"before", "within", "after"}

func childUpgrade(args childArgs) {
	die := upgradeDeaths[args.N]
	if die == "within" {
		stint.WithinUpgrade(1, func() error { killMyself(); return nil })
	}
	childOpen(args, &stint.Config{Logger: slog.New(&dyingLog{die})})
	say("alive")
}

// dyingLog kills the process at a record of the log.
type dyingLog struct{ at string }

func (d *dyingLog) Enabled(context.Context, slog.Level) bool { return true }
func (d *dyingLog) WithAttrs([]slog.Attr) slog.Handler       { return d }
func (d *dyingLog) WithGroup(string) slog.Handler            { return d }
func (d *dyingLog) Handle(_ context.Context, r slog.Record) error {
	if before := strings.Contains(r.Message, "and is upgraded"); before && d.at == "before" || !before && d.at == "after" {
		killMyself()
	}
	return nil
}

func TestKillDuringAnUpgrade(t *testing.T) {
	if os.Getenv(encryptVariable) != "" {
		t.Skip("its old file is a plain one, as all of its format are")
	}
	for i, moment := range upgradeDeaths {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			path, contents := oldFile(t)
			c := startChild(t, childArgs{Mode: "upgrade", File: path, N: i})
			require.Equal(t, -1, c.wait(), c.stderr.String())
			require.Empty(t, c.said("alive"))

			format, backup := map[string]int{"before": 1, "within": 1, "after": stint.CurrentFormat}[moment], path+".format1-backup"
			require.Equal(t, format, stint.FormatOf(path))
			kept, err := os.ReadFile(backup)
			if moment == "before" {
				require.ErrorIs(t, err, os.ErrNotExist)
			} else {
				require.NoError(t, err)
				require.Equal(t, contents, kept)
			}
			q := openAt(t, path, nil)
			require.Equal(t, stint.Counts{Ready: 7, Scheduled: 2, Retrying: 3, Completed: 16, Dead: 5, Parked: 7}, q.Counts())
			require.Equal(t, []string{backup}, backupsOf(t, path), "the one of the first try is used")
		})
	}
}
