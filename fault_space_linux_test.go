package stint_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// Real file systems that fill up in the middle of everything.

// smallDisk is a file system of the test's own, of some 24 MB.
func smallDisk(t *testing.T, kind string) (dir string) {
	t.Helper()
	if kind == "tmpfs" {
		return tmpfs(t, "24M")
	}
	image := formatted(t, kind)
	dir = t.TempDir()
	mount(t, image, dir, "loop")
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

// formatted is a file with a file system, as small as they make it.
func formatted(t *testing.T, kind string) (image string) {
	t.Helper()
	how := map[string]struct {
		size   string
		format []string
	}{
		"ext4":  {"24M", []string{"mkfs.ext4", "-q", "-F"}},
		"xfs":   {"310M", []string{"mkfs.xfs", "-q", "-f"}},
		"btrfs": {"120M", []string{"mkfs.btrfs", "-q", "-f"}},
	}[kind]
	if _, err := exec.LookPath(how.format[0]); err != nil {
		t.Skipf("%s is not installed", how.format[0])
	}
	image = filepath.Join(t.TempDir(), "image")
	require.NoError(t, exec.Command("truncate", "-s", how.size, image).Run())
	output, err := exec.Command(how.format[0], append(how.format[1:], image)...).CombinedOutput()
	require.NoError(t, err, "%s", output)
	return image
}

func mount(t *testing.T, image, dir, options string) {
	t.Helper()
	if output, err := exec.Command("mount", "-o", options, image, dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a file needs root and a loop device: %s", output)
	}
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	output, err := exec.Command("umount", dir).CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// While the disk is full what is new is refused, and what is done is kept. As
// soon as there is room everything goes on, and nothing was lost.
func TestDiskFullUnderLoad(t *testing.T) {
	t.Parallel()
	kinds, rounds := []string{"tmpfs", "ext4"}, 1
	if *allFaults {
		kinds, rounds = append(kinds, "xfs", "btrfs"), 20
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			dir := smallDisk(t, kind)
			p := press(t, filepath.Join(dir, "queue.db"), nil)
			p.accepts(t, 300)
			for range rounds {
				fillDisk(t, filepath.Join(dir, "ballast"))
				p.growing.Store(true)
				p.refuses(t, 100)
				before := p.Stats().Processed
				time.Sleep(200 * time.Millisecond)
				t.Logf("full: %d completed meanwhile, %v", p.Stats().Processed-before, p.Counts())
				p.growing.Store(false)
				require.NoError(t, os.Remove(filepath.Join(dir, "ballast")))
				p.accepts(t, 300)
			}
			require.Len(t, p.reasons(), 1)
			require.Contains(t, p.reasons(), "no space left on device")
			p.comesThrough(t)
		})
	}
}

// Config.MaxFileSize refuses what is new, and nothing else.
func TestMaxFileSizeUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	p := press(t, path, &stint.Config{MaxFileSize: 2 << 20})
	p.accepts(t, 100)
	p.growing.Store(true)
	p.refuses(t, 100)
	p.growing.Store(false)
	require.Len(t, p.reasons(), 1)
	require.Contains(t, p.reasons(), stint.ErrFileFull.Error())
	stored := p.accepted.Load()
	eventually(t, func() bool { return p.finished.Load() >= stored }, "what is stored is worked off")

	deleted, err := p.DeleteAll(t.Context(), stint.Filter{Kind: "other"})
	require.NoError(t, err)
	p.parked.Add(-int64(deleted))
	p.accepts(t, 100)
	p.comesThrough(t)
}

// ext4 turns read-only when it has met an error, and stays so until it is
// repaired. Up to then nobody is told that something was stored.
func TestReadOnlyUnderLoad(t *testing.T) {
	t.Parallel()
	image, dir := formatted(t, "ext4"), t.TempDir()
	mount(t, image, dir, "loop,errors=remount-ro")
	device, err := exec.Command("findmnt", "-no", "SOURCE", dir).Output()
	require.NoError(t, err)
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(strings.TrimSpace(string(device))), "trigger_fs_error")
	path := filepath.Join(dir, "queue.db")
	p := press(t, path, &stint.Config{ShutdownTimeout: 100 * time.Millisecond})
	p.accepts(t, 200)
	if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
		t.Skipf("the kernel makes no errors on demand: %v", err)
	}
	p.refuses(t, 100)
	accepted := p.accepted.Load()
	p.refuses(t, 100)
	require.Equal(t, accepted, p.accepted.Load())
	for text := range p.reasons() {
		require.Contains(t, []string{"read-only file system", "input/output error", stint.ErrSyncFailed.Error()}, text)
	}
	p.stopping.Store(true)
	p.producers.Wait()
	err = p.Close()
	t.Logf("%d accepted, %d refused: %v; Close says: %.200v", accepted, p.refused.Load(), p.reasons(), err)
	unmount(t, dir)
	output, err := exec.Command("fsck.ext4", "-p", "-f", image).CombinedOutput()
	require.Less(t, err.(*exec.ExitError).ExitCode(), 4, "%s", output) // 1: repaired
	mount(t, image, dir, "loop")
	t.Cleanup(func() { unmount(t, dir) })

	p.stopping.Store(false)
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	waiting := map[int]bool{}
	for job, err := range q.Jobs(stint.Filter{}) {
		require.NoError(t, err)
		var args parcel
		require.NoError(t, json.Unmarshal(job.Args, &args))
		waiting[args.N] = true
	}
	for n := range int(p.next.Load()) + 1 {
		if p.stored[n].Load() && p.runs[n].Load() == 0 {
			require.True(t, waiting[n], "parcel %d was accepted and did not run", n)
		}
	}
	require.NoError(t, q.Close())
	check(t, path)
}
