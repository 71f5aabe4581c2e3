package stint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// fastDir is a directory in memory where there is one: most tests here sync
// often, and what they look at does not depend on the disk.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "stint-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// openFileConfig is a config for openFile, and what it logs.
func openFileConfig(wait time.Duration) (*Config, *bytes.Buffer) {
	var log bytes.Buffer
	return &Config{LockTimeout: wait, Logger: slog.New(slog.NewTextHandler(&log, nil))}, &log
}

// openQuick opens without waiting for the lock.
func openQuick(path string) (*bolt.DB, bool, error) {
	cfg, _ := openFileConfig(0)
	return openDB(path, cfg, fillBucket)
}

// openDB is openFile for tests that want the database only.
func openDB(path string, cfg *Config, fill func(*bolt.DB) error) (*bolt.DB, bool, error) {
	file, created, err := openFile(path, cfg, fill)
	if err != nil {
		return nil, created, err
	}
	return file.db, created, nil
}

func fillBucket(db *bolt.DB) error {
	return db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("filled"))
		if err != nil {
			return err
		}
		return b.Put([]byte("key"), []byte("value"))
	})
}

// requireFilled looks for what fillBucket wrote, and closes the database.
func requireFilled(t *testing.T, db *bolt.DB) {
	t.Helper()
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("filled"))
		require.NotNil(t, b)
		require.Equal(t, "value", string(b.Get([]byte("key"))))
		return nil
	}))
	require.NoError(t, db.Close())
}

// requireOnly checks that a directory has these names and no others.
func requireOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	found := []string{}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	require.ElementsMatch(t, names, found)
}

// openDescriptors counts those of this process, or is 0 where it cannot.
func openDescriptors() int {
	if r, w, err := os.Pipe(); err == nil { // from now on the runtime has those that it keeps itself
		_, _ = r.Close(), w.Close()
	}
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

func TestOpenFileCreates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // on the disk, for once
	path := filepath.Join(dir, "queue.db")

	db, created, err := openQuick(path)
	require.NoError(t, err)
	require.True(t, created)
	requireOnly(t, dir, "queue.db")
	info, err := os.Stat(path)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	}
	require.LessOrEqual(t, info.Size(), int64(64<<10))
	requireFilled(t, db)

	fail := func(*bolt.DB) error { t.Fatal("fill was called for a file that exists"); return nil }
	cfg, log := openFileConfig(0)
	db, created, err = openDB(path, cfg, fail)
	require.NoError(t, err)
	require.False(t, created)
	require.Empty(t, log)
	requireFilled(t, db)
}

// A small queue stays a small file, and Config.MaxFileSize is kept.
func TestOpenFileGrowsInSmallSteps(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 512 << 10, 3 << 20, 20 << 20} {
		path := filepath.Join(fastDir(t), "queue.db")
		cfg, _ := openFileConfig(0)
		cfg.MaxFileSize = limit
		db, _, err := openDB(path, cfg, fillBucket)
		require.NoError(t, err)
		put := func(key string, size int) error {
			return db.Update(func(tx *bolt.Tx) error {
				return tx.Bucket([]byte("filled")).Put([]byte(key), make([]byte, size))
			})
		}
		size := func() int {
			info, err := os.Stat(path)
			require.NoError(t, err)
			return int(info.Size())
		}
		require.NoError(t, put("first", 10_000))
		require.Less(t, size(), 2<<20)
		for i := 0; limit > 0 && err == nil; i++ {
			err = put(strconv.Itoa(i), 50_000)
		}
		if limit > 0 {
			require.ErrorIs(t, err, berrors.ErrMaxSizeReached)
			require.LessOrEqual(t, size(), limit)
			require.Greater(t, size(), limit/2)
		}
		require.NoError(t, db.Close())
	}
}

func TestOpenFileTakesAnEmptyFileForNew(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	path := filepath.Join(dir, "queue.db")
	require.NoError(t, os.WriteFile(path, nil, 0o644))

	db, created, err := openQuick(path)
	require.NoError(t, err)
	require.True(t, created)
	requireOnly(t, dir, "queue.db")
	requireFilled(t, db)
}

func TestOpenFileFollowsLinks(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data", "deep"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "links"), 0o700))
	link := filepath.Join(dir, "links", "queue.db")
	if err := os.Symlink("../data/deep/queue.db", link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	require.NoError(t, os.Symlink("links", filepath.Join(dir, "alias")))

	for i, path := range []string{link, filepath.Join(dir, "alias", "queue.db"), filepath.Join(dir, "data/deep/queue.db")} {
		db, created, err := openQuick(path)
		require.NoError(t, err)
		require.Equal(t, i == 0, created)
		requireFilled(t, db)
	}
	requireOnly(t, filepath.Join(dir, "links"), "queue.db")
	requireOnly(t, filepath.Join(dir, "data", "deep"), "queue.db")

	loop := filepath.Join(dir, "loop")
	require.NoError(t, os.Symlink("loop", loop))
	_, _, err := openQuick(loop)
	require.ErrorIs(t, err, syscall.ELOOP)
}

func TestOpenFileLeavesNothingWhenFillFails(t *testing.T) {
	dir := fastDir(t)
	path := filepath.Join(dir, "queue.db")
	cfg, _ := openFileConfig(0)
	before := openDescriptors()

	boom := errors.New("boom")
	_, _, err := openDB(path, cfg, func(*bolt.DB) error { return boom })
	require.ErrorIs(t, err, boom)
	require.ErrorContains(t, err, path)
	requireOnly(t, dir)

	require.PanicsWithValue(t, "boom", func() {
		_, _, _ = openDB(path, cfg, func(*bolt.DB) error { panic("boom") })
	})
	requireOnly(t, dir)
	require.Equal(t, before, openDescriptors())

	db, created, err := openQuick(path)
	require.NoError(t, err)
	require.True(t, created)
	requireFilled(t, db)
}

// Each case is refused with these words, nothing is left behind, and no
// descriptor and no lock either.
func TestOpenFileRefuses(t *testing.T) {
	old := func(t *testing.T, path string, content []byte) {
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
	padded := func(begin string) []byte { return append([]byte(begin), make([]byte, 20_000)...) }
	for name, tc := range map[string]struct {
		make func(t *testing.T, path string)
		is   error
		says string
	}{
		"directory": {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, syscall.EISDIR, "give the path of a file"},
		"no parent": {func(t *testing.T, path string) { require.NoError(t, os.Remove(filepath.Dir(path))) }, fs.ErrNotExist, "create its directory first"},
		"file for a directory": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Dir(path)))
			old(t, filepath.Dir(path), nil)
		}, syscall.ENOTDIR, "where a directory should be"},
		"text":   {func(t *testing.T, path string) { old(t, path, []byte("hello\n")) }, ErrNotStint, "not a bbolt file"},
		"sqlite": {func(t *testing.T, path string) { old(t, path, padded("SQLite format 3\x00\x10\x00\x01\x01\x00")) }, ErrNotStint, "not a bbolt file"},
		"gzip":   {func(t *testing.T, path string) { old(t, path, padded("\x1f\x8b\x08\x00")) }, ErrNotStint, "not a bbolt file"},
		"zeros":  {func(t *testing.T, path string) { old(t, path, padded("")) }, ErrNotStint, "not a bbolt file"},
		"cut to a part of a page": {func(t *testing.T, path string) {
			makeBoltFile(t, path, 4096)
			require.NoError(t, os.Truncate(path, 50))
		}, ErrCorrupt, "cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(fastDir(t), "dir")
			require.NoError(t, os.Mkdir(dir, 0o700))
			path := filepath.Join(dir, "queue.db")
			tc.make(t, path)
			content, _ := os.ReadFile(path)
			before := openDescriptors()

			db, created, err := openQuick(path)
			require.ErrorIs(t, err, tc.is)
			require.True(t, strings.HasPrefix(err.Error(), "stint: "), err)
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, tc.says)
			require.Nil(t, db)
			require.False(t, created)

			require.Equal(t, before, openDescriptors())
			after, _ := os.ReadFile(path)
			require.Equal(t, content, after)
			requireOpensOnceMended(t, path)
		})
	}
}

// requireOpensOnceMended removes what was refused, and opens.
func requireOpensOnceMended(t *testing.T, path string) {
	t.Helper()
	if info, err := os.Stat(filepath.Dir(path)); err == nil && !info.IsDir() {
		require.NoError(t, os.Remove(filepath.Dir(path)))
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.RemoveAll(path))
	db, created, err := openQuick(path)
	require.NoError(t, err)
	require.True(t, created)
	requireFilled(t, db)
	requireOnly(t, filepath.Dir(path), filepath.Base(path))
}

func TestOpenFileRefusesAnEmptyPath(t *testing.T) {
	t.Parallel()
	_, _, err := openQuick("")
	require.ErrorIs(t, err, ErrConfig)
}

func TestOpenFileWithoutPermission(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may do everything")
	}
	if runtime.GOOS == "windows" {
		t.Skip("no Unix permissions")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "queue.db")
	makeBoltFile(t, path, 4096)
	require.NoError(t, os.Chmod(path, 0o400))
	_, _, err := openQuick(path)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "let this user read and write")

	require.NoError(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	_, _, err = openQuick(filepath.Join(dir, "new.db"))
	require.ErrorIs(t, err, fs.ErrPermission)
	requireOnly(t, dir, "queue.db")
}

func TestOpenFileOnAReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	path := filepath.Join(dir, "queue.db")
	makeBoltFile(t, path, 4096)
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount read-only: %v: %s", err, out)
	}
	for _, path := range []string{path, filepath.Join(dir, "new.db")} {
		_, _, err := openQuick(path)
		require.ErrorIs(t, err, syscall.EROFS)
		require.ErrorContains(t, err, "stint: cannot")
		require.ErrorContains(t, err, path)
	}
}

func TestOpenFileOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 48<<10), 0o600))
	_, _, err := openQuick(filepath.Join(dir, "queue.db"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "make room")
	requireOnly(t, dir, "ballast")
}

func TestOpenFileWarnsOfReaders(t *testing.T) {
	t.Parallel()
	path := filepath.Join(fastDir(t), "queue.db")
	makeBoltFile(t, path, 4096)
	for mode, warns := range map[fs.FileMode]bool{0o600: false, 0o640: true, 0o604: true} {
		require.NoError(t, os.Chmod(path, mode))
		cfg, log := openFileConfig(0)
		db, _, err := openDB(path, cfg, fillBucket)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		require.Equal(t, warns && runtime.GOOS != "windows", strings.Contains(log.String(), "level=WARN"), "%v: %s", mode, log)
	}
}

func TestOpenFileTwiceInOneProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(fastDir(t), "queue.db")
	db, _, err := openQuick(path)
	require.NoError(t, err)
	wait := time.Duration(0)
	if lockHolderIsKnown() {
		wait = time.Minute // and not waited for
	}
	cfg, _ := openFileConfig(wait)
	start := time.Now()
	_, _, err = openDB(path, cfg, fillBucket)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, path)
	require.Less(t, time.Since(start), 5*time.Second)
	if lockHolderIsKnown() {
		require.ErrorContains(t, err, "already open in this process")
	}
	requireFilled(t, db)
	db, _, err = openQuick(path)
	require.NoError(t, err)
	requireFilled(t, db)
}

// lockHolderIsKnown asks the system about a lock of ours.
func lockHolderIsKnown() bool {
	dir, err := os.MkdirTemp("/dev/shm", "stint-*")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	defer letGo(f)
	_, _ = tryLock(f)
	return lockHolder(f) == os.Getpid()
}

// TestOpenFileChild is no test: it is what the other processes of the tests
// below do. It opens the file, says so, and closes it when its input ends.
func TestOpenFileChild(t *testing.T) {
	t.Parallel()
	path := os.Getenv("STINT_OPEN_FILE_CHILD")
	if path == "" {
		t.Skip("only for other tests")
	}
	cfg, _ := openFileConfig(10 * time.Second)
	db, created, err := openDB(path, cfg, fillBucket)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("filled")).Put([]byte("by "+strconv.Itoa(os.Getpid())), []byte{1})
	}))
	fmt.Printf("open %v\n", created)
	_, _ = io.Copy(io.Discard, os.Stdin)
	require.NoError(t, db.Close())
}

// otherProcess is one with the file open.
type otherProcess struct {
	cmd   *exec.Cmd
	stdin io.Closer
	said  *strings.Builder
}

func startOther(t *testing.T, path string) *otherProcess {
	t.Helper()
	c := &otherProcess{cmd: exec.Command(os.Args[0], "-test.run=^TestOpenFileChild$"), said: &strings.Builder{}}
	c.cmd.Env = append(os.Environ(), "STINT_OPEN_FILE_CHILD="+path)
	stdin, err := c.cmd.StdinPipe()
	require.NoError(t, err)
	c.stdin = stdin
	return c
}

// holding starts it and waits until it has the file.
func (c *otherProcess) holding(t *testing.T) *otherProcess {
	t.Helper()
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	line := make([]byte, 64)
	n, err := out.Read(line)
	require.NoError(t, err)
	require.Contains(t, string(line[:n]), "open ")
	return c
}

func TestOpenFileHeldByAnotherProcess(t *testing.T) {
	path := filepath.Join(fastDir(t), "queue.db")
	holder := startOther(t, path).holding(t)

	before := openDescriptors()
	for _, wait := range []time.Duration{0, 120 * time.Millisecond} {
		cfg, log := openFileConfig(wait)
		start := time.Now()
		_, _, err := openDB(path, cfg, fillBucket)
		require.ErrorIs(t, err, ErrLocked)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "Config.LockTimeout")
		require.GreaterOrEqual(t, time.Since(start), wait)
		require.Less(t, time.Since(start), wait+2*time.Second)
		require.Equal(t, wait > 0, strings.Count(log.String(), "level=INFO") == 1, log)
		if lockHolderIsKnown() {
			pid := strconv.Itoa(holder.cmd.Process.Pid)
			require.ErrorContains(t, err, "process "+pid)
			require.True(t, wait == 0 || strings.Contains(log.String(), "pid="+pid), log)
		}
	}
	require.Equal(t, before, openDescriptors())

	time.AfterFunc(100*time.Millisecond, func() { holder.stdin.Close() })
	cfg, _ := openFileConfig(20 * time.Second)
	db, created, err := openDB(path, cfg, fillBucket)
	require.NoError(t, err)
	require.False(t, created)
	requireFilled(t, db)
}

// Several processes meet at a name where no file is, or an empty one. All get
// the same file, or one of them would lose its jobs.
func TestOpenFileCreatedByManyProcesses(t *testing.T) {
	t.Parallel()
	for _, empty := range []bool{false, true} {
		dir := fastDir(t)
		path := filepath.Join(dir, "queue.db")
		if empty {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}
		var wg sync.WaitGroup
		outputs := make([]string, 6)
		pids := make([]int, len(outputs))
		for i := range outputs {
			c := startOther(t, path)
			require.NoError(t, c.stdin.Close())
			wg.Go(func() {
				out, err := c.cmd.CombinedOutput()
				outputs[i] = string(out)
				if err == nil {
					pids[i] = c.cmd.Process.Pid
				}
			})
		}
		wg.Wait()
		all := strings.Join(outputs, "")
		require.Equal(t, 1, strings.Count(all, "open true"), all)
		require.Equal(t, len(outputs)-1, strings.Count(all, "open false"), all)
		requireOnly(t, dir, "queue.db")
		db, _, err := openQuick(path)
		require.NoError(t, err)
		require.NoError(t, db.View(func(tx *bolt.Tx) error {
			for _, pid := range pids {
				require.NotNil(t, tx.Bucket([]byte("filled")).Get([]byte("by "+strconv.Itoa(pid))))
			}
			return nil
		}))
		requireFilled(t, db)
	}
}

// The lock is on the file, not on its name: who waited for a file that was
// replaced meanwhile must get the new one.
func TestOpenFileReplacedWhileWaiting(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	path, other := filepath.Join(dir, "queue.db"), filepath.Join(dir, "other.db")
	db, _, err := openQuick(other)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("other")); return err }))
	require.NoError(t, db.Close())

	holder := startOther(t, path).holding(t)
	time.AfterFunc(100*time.Millisecond, func() {
		_ = os.Rename(other, path)
		holder.stdin.Close()
	})
	cfg, _ := openFileConfig(20 * time.Second)
	db, _, err = openDB(path, cfg, fillBucket)
	require.NoError(t, err)
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		require.NotNil(t, tx.Bucket([]byte("other")))
		return nil
	}))
	requireFilled(t, db)
}

func TestPutInPlaceReplacesNothing(t *testing.T) {
	t.Parallel()
	noLinks := func(string, string) error { return syscall.EPERM }
	for name, link := range map[string]func(string, string) error{"links": os.Link, "no links": noLinks} {
		t.Run(name, func(t *testing.T) {
			dir := fastDir(t)
			made, path := filepath.Join(dir, "made"), filepath.Join(dir, "path")
			require.NoError(t, os.WriteFile(made, []byte("made"), 0o600))
			require.NoError(t, putInPlace(made, path, link))
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "made", string(content))

			require.NoError(t, os.WriteFile(made, []byte("again"), 0o600))
			for _, there := range []string{"", "something"} {
				require.NoError(t, os.Remove(path))
				require.NoError(t, os.WriteFile(path, []byte(there), 0o600))
				require.ErrorIs(t, putInPlace(made, path, link), fs.ErrExist)
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, there, string(content))
			}
		})
	}
}

// recorder is a file in memory that counts what is written to it.
type recorder struct {
	bytes.Reader
	writes []string
	err    error
}

func (r *recorder) WriteAt(b []byte, at int64) (int, error) {
	r.writes = append(r.writes, fmt.Sprintf("%d %s", at, b))
	return len(b), r.err
}

func TestReassert(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	r.Reset([]byte("aaaabbbbcccc"))
	synced := 0
	sync := func() error { synced = len(r.writes); return nil }
	require.NoError(t, reassert(r, 4, sync))
	require.Equal(t, []string{"0 aaaa", "4 bbbb"}, r.writes)
	require.Equal(t, 2, synced)

	r.err = syscall.EIO
	require.ErrorIs(t, reassert(r, 4, sync), syscall.EIO)
	r.err = nil
	require.ErrorIs(t, reassert(r, 4, func() error { return syscall.EIO }), syscall.EIO)
}

// Damage that gets past the preflight is still no panic where bbolt panics in
// our own goroutine, and the lock is free afterwards.
func TestCallBoltRecovers(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	for name, damage := range map[string]func(b []byte){
		"list of free pages": func(b []byte) { nativeOrder.PutUint16(b[2*4096+8:], boltLeaf) },
		"both meta pages":    func(b []byte) { b[pageHeader+9]++; b[4096+pageHeader+9]++ },
	} {
		path := filepath.Join(dir, "queue.db")
		db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 4096}) // its first list of free pages is page 2
		require.NoError(t, err)
		require.NoError(t, db.Close())
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		damage(content)
		require.NoError(t, os.WriteFile(path, content, 0o600))

		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		cfg, _ := openFileConfig(0)
		o := &opener{name: path, path: path, cfg: cfg}
		_, err = o.callBolt(f)
		require.ErrorIs(t, err, ErrCorrupt, name)
		letGo(f)

		_, _, err = openQuick(path)
		require.ErrorIs(t, err, ErrCorrupt, name)
		require.NoError(t, os.Remove(path))
		db, _, err = openQuick(path)
		require.NoError(t, err)
		requireFilled(t, db)
		require.NoError(t, os.Remove(path))
	}
}
