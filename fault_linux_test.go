package stint_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// A disk that is full, or broken. Three ways to have one, from the most
// convenient to the most real: the descriptor of the file leads to a device
// for a while; a small file system is filled; strace lets system calls of a
// child fail.

func init() {
	childModes["limited"] = childLimited
	childModes["busy"] = childBusy
}

// descriptor is the open file of a queue in this process.
type descriptor struct{ fd, saved int }

func descriptorOf(t *testing.T, path string) *descriptor {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	require.NoError(t, err)
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, entry := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + entry.Name()); target == path {
			fd, err := strconv.Atoi(entry.Name())
			require.NoError(t, err)
			saved, err := syscall.Dup(fd)
			require.NoError(t, err)
			syscall.CloseOnExec(saved)
			return &descriptor{fd, saved}
		}
	}
	require.FailNow(t, "the file is not open", path)
	return nil
}

// leadTo lets everything written to the file go to a device. With /dev/full
// every write fails as on a full disk; with /dev/null only the sync fails.
func (d *descriptor) leadTo(t *testing.T, device string) {
	t.Helper()
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Dup3(int(f.Fd()), d.fd, syscall.O_CLOEXEC))
	require.NoError(t, f.Close())
}

// restore is for good.
func (d *descriptor) restore(t *testing.T) {
	t.Helper()
	require.NoError(t, syscall.Dup3(d.saved, d.fd, syscall.O_CLOEXEC))
	d.close()
}

// close ends the lock, which the copy of the descriptor would keep.
func (d *descriptor) close() { _ = syscall.Close(d.saved) }

// jammed is a queue with jobs whose handlers wait to be released.
type jammed struct {
	*stint.Queue
	ids     []stint.ID
	log     *lockedBuffer
	ran     chan error // what Run returned
	release chan struct{}
	runs    [100]atomic.Int32
	commits atomic.Int32 // of job.Commit that returned nil
}

// jam opens a queue and lets n jobs begin. By turns they complete, complete
// with Commit, and fail with a long error.
func jam(t *testing.T, path string, n int) *jammed {
	t.Helper()
	j := &jammed{log: &lockedBuffer{}, release: make(chan struct{}), ran: make(chan error, 1)}
	q, err := tryOpen(path, &stint.Config{
		Workers:         n,
		ShutdownTimeout: 50 * time.Millisecond,
		Logger:          slog.New(slog.NewTextHandler(j.log, nil)),
	})
	require.NoError(t, err)
	j.Queue = q
	started := make(chan struct{}, len(j.runs))
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		j.runs[job.Args.N].Add(1)
		started <- struct{}{}
		<-j.release
		switch job.Args.N % 3 {
		case 0:
			return nil
		case 1:
			err := job.Commit(func(tx *bolt.Tx) error { return increment(tx, counterKey) })
			if err == nil {
				j.commits.Add(1)
			}
			return err
		}
		return errors.New(strings.Repeat("x", 9000))
	}, &stint.Policy{Timeout: -1})
	makeRoom(t, q)
	j.ids, err = q.EnqueueAll(t.Context(), notes(n))
	require.NoError(t, err)
	go func() { j.ran <- q.Run(context.Background()) }()
	t.Cleanup(func() { _ = q.Close() })
	for range n {
		receive(t, started)
	}
	return j
}

// makeRoom lets the file grow and leaves free pages in it, so that the next
// writes are writes into the file and not its growth.
func makeRoom(t *testing.T, q *stint.Queue) {
	t.Helper()
	var ids []stint.ID
	for range 100 {
		id, err := q.Enqueue(t.Context(), other{S: strings.Repeat("z", 3000)})
		require.NoError(t, err)
		ids = append(ids, id)
	}
	for _, id := range ids {
		require.NoError(t, q.Delete(t.Context(), id))
	}
}

// settled checks that everything was recorded once.
func (j *jammed) settled(t *testing.T, n int) {
	t.Helper()
	good, failed := (n+2)/3+(n+1)/3, n/3
	eventually(t, func() bool {
		s := j.Stats()
		return s.Retrying == failed && s.Running == 0 && int(s.Processed) == good
	}, "%d completed and %d failed", good, failed)
	eventually(t, func() bool { return int(j.commits.Load()) == (n+1)/3 }, "the answers of Commit")
	require.Equal(t, (n+1)/3, counters(j.DB())[string(counterKey)])
	for i := range n {
		require.EqualValues(t, 1, j.runs[i].Load(), "runs of job %d", i)
	}
}

func TestFullDiskLosesNoCompletion(t *testing.T) {
	const n = 12
	path := filepath.Join(t.TempDir(), "queue.db")
	j := jam(t, path, n)
	disk := descriptorOf(t, path)
	before := j.Counts()

	disk.leadTo(t, "/dev/full")
	_, err := j.Enqueue(t.Context(), note{N: 50})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotErrorIs(t, err, stint.ErrSyncFailed)
	require.ErrorContains(t, err, "nothing was changed")
	require.ErrorIs(t, j.Pause(t.Context(), "default", "me"), syscall.ENOSPC)
	require.Equal(t, before, j.Counts())
	close(j.release)
	eventually(t, func() bool { return strings.Contains(j.log.String(), "cannot be recorded") }, "the warning")
	_, err = j.Enqueue(t.Context(), note{N: 51}) // takes the completions along, in vain
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, before, j.Counts(), "what is not on disk is not counted")

	disk.restore(t)
	j.settled(t, n)
	require.Equal(t, 1, strings.Count(j.log.String(), "cannot be recorded"), "said once")
	_, err = j.Enqueue(t.Context(), note{N: 52})
	require.NoError(t, err)
	eventually(t, func() bool { return j.Counts().Ready+j.Counts().Running == 0 }, "work goes on")
	require.NoError(t, j.Close())
	require.NoError(t, receive(t, j.ran))
	check(t, path)
}

// A claim, too, needs the disk. Nobody else may come along to try again.
func TestWorkGoesOnByItselfAfterAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q := openAt(t, path, nil)
	ran := make(chan int, 10)
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		ran <- job.Args.N
		return nil
	}, nil)
	makeRoom(t, q)
	run(t, q)
	disk := descriptorOf(t, path)

	// A job becomes due while the disk is full.
	_, err := q.Enqueue(t.Context(), note{N: 1}, stint.In(30*time.Millisecond))
	require.NoError(t, err)
	disk.leadTo(t, "/dev/full")
	before := processorTime(t)
	time.Sleep(400 * time.Millisecond)
	require.Less(t, processorTime(t)-before, 200*time.Millisecond, "it is not tried all the time")
	require.Empty(t, ran, "a handler ran without a claim on disk")
	disk.restore(t)
	disk = descriptorOf(t, path)
	require.Equal(t, 1, receive(t, ran), "the due job")

	// A handler is registered while the disk is full.
	_, err = q.Enqueue(t.Context(), other{})
	require.NoError(t, err)
	disk.leadTo(t, "/dev/full")
	stint.Handle(q, func(context.Context, *stint.Job[other]) error { ran <- 2; return nil }, nil)
	time.Sleep(50 * time.Millisecond)
	require.Empty(t, ran, "a handler ran without a claim on disk")
	disk.restore(t)
	require.Equal(t, 2, receive(t, ran), "the claim is tried again")
	eventually(t, func() bool { return q.Counts() == stint.Counts{} }, "%v", q.Counts())
}

// A full disk must not keep a processor busy.
func TestFullDiskIsNotTriedAllTheTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	j := jam(t, path, 3)
	_, err := j.Enqueue(t.Context(), note{N: 60}, stint.In(20*time.Millisecond))
	require.NoError(t, err)
	disk := descriptorOf(t, path)
	disk.leadTo(t, "/dev/full")
	close(j.release)
	eventually(t, func() bool { return strings.Contains(j.log.String(), "cannot be recorded") }, "the warning")
	before := processorTime(t)
	time.Sleep(500 * time.Millisecond)
	require.Less(t, processorTime(t)-before, 250*time.Millisecond)
	disk.restore(t)
	eventually(t, func() bool { return j.runs[60].Load() == 1 }, "the due job")
	require.NoError(t, j.Close())
	check(t, path)
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// Close tries a last time, then says which jobs will run again.
func TestCloseOnAFullDiskNamesTheJobs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	j := jam(t, path, 3)
	disk := descriptorOf(t, path)
	disk.leadTo(t, "/dev/full")
	close(j.release)
	eventually(t, func() bool { return strings.Contains(j.log.String(), "cannot be recorded") }, "the warning")
	err := j.Close()
	disk.close()
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, fmt.Sprintf("note %d", j.ids[0]))
	require.ErrorContains(t, err, fmt.Sprintf("note %d", j.ids[2]))
	require.Equal(t, err, j.Close())
	require.ErrorIs(t, receive(t, j.ran), syscall.ENOSPC)
	check(t, path)

	q := openAt(t, path, nil)
	require.Equal(t, 3, q.Counts().Ready)
	require.Empty(t, counters(q.DB()))
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
	run(t, q)
	eventually(t, func() bool { return q.Counts() == stint.Counts{} }, "they run again")
}

// tmpfs is a small file system of the test's own.
func tmpfs(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

// fillDisk writes a file until the disk is full.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
}

// Open may fail on a full disk after a crash, but then it has changed nothing:
// the crash is counted once, by the Open that succeeds.
func TestOpenOnAFullDiskAfterACrash(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, "3m")
	path := filepath.Join(dir, "queue.db")
	var jobs []stint.Args
	for i := range 10 {
		jobs = append(jobs, note{N: i})
	}
	for range 500 { // so that the rewritten records need new pages
		jobs = append(jobs, other{S: strings.Repeat("y", 2000)})
	}
	ids := enqueueClosed(t, path, jobs...)
	c := startChild(t, childArgs{Mode: "sleep", File: path})
	c.await("running", 10)
	c.kill()
	fillDisk(t, filepath.Join(dir, "ballast"))
	failures := 0
	for range 3 {
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		if err == nil {
			_ = q.Close()
			break
		}
		failures++
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
	t.Logf("Open failed %d times of 3", failures)
	require.NoError(t, os.Remove(filepath.Join(dir, "ballast")))
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	for _, id := range ids[:10] {
		info, err := q.Get(id)
		require.NoError(t, err)
		require.Equal(t, 1, info.Crashes)
	}
	require.Equal(t, len(jobs), q.Counts().Ready)
	require.NoError(t, q.Close())
	check(t, path)
}

// A file system that is really full: pages that the file has already can be
// written again, new ones cannot.
func TestFullFileSystem(t *testing.T) {
	dir := tmpfs(t, "3m")
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	require.NoError(t, err)
	_, err = ballast.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	const n = 60
	path := filepath.Join(dir, "queue.db")
	j := jam(t, path, n)

	stored := 0
	for err = nil; err == nil && stored < 10_000; {
		_, err = j.Enqueue(t.Context(), other{S: strings.Repeat("y", 2000)})
		stored++
	}
	stored--
	require.ErrorIs(t, err, syscall.ENOSPC)
	fillDisk(t, ballast.Name())
	close(j.release)
	eventually(t, func() bool { return strings.Contains(j.log.String(), "cannot be recorded") }, "the warning")
	require.NoError(t, ballast.Close())
	require.NoError(t, os.Remove(ballast.Name()))

	eventually(t, func() bool { return j.Counts().Running == 0 }, "the completions")
	j.settled(t, n)
	require.Equal(t, stored, j.Counts().Parked)
	require.NoError(t, j.Close())
	check(t, path)
}

// A limit on the size of files acts on the growth of the file alone.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	c := startChild(t, childArgs{Mode: "limited", File: path})
	c.succeeds()
	c.await("done", 1)
	check(t, path)
}

func childLimited(args childArgs) {
	q := childOpen(args, &stint.Config{})
	release, started := make(chan struct{}), make(chan struct{}, 10)
	var runs atomic.Int32
	stint.Handle(q, func(context.Context, *stint.Job[note]) error {
		runs.Add(1)
		started <- struct{}{}
		<-release
		return nil
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { must(q.Run(ctx)) })
	for i := range 10 {
		_, err := q.Enqueue(ctx, note{N: i})
		must(err)
		<-started
	}
	info, err := os.Stat(args.File)
	must(err)
	var limit syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(info.Size()), Max: limit.Max}))
	stored := 0
	for err == nil && stored < 100_000 {
		if _, err = q.Enqueue(ctx, other{S: strings.Repeat("y", 2000)}); err == nil {
			stored++
		}
	}
	expect(err != nil && !errors.Is(err, stint.ErrSyncFailed), "an error that is none of the sync: %v", err)
	close(release)
	time.Sleep(50 * time.Millisecond) // some may find room in the pages that are there
	must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	for q.Counts().Running > 0 {
		time.Sleep(time.Millisecond)
	}
	_, err = q.Enqueue(ctx, other{S: strings.Repeat("y", 2000)})
	must(err)
	expect(q.Counts().Parked == stored+1, "%d jobs, not %d", q.Counts().Parked, stored+1)
	expect(runs.Load() == 10, "%d runs", runs.Load())
	cancel()
	wg.Wait()
	must(q.Close())
	say("done")
}

func expect(ok bool, format string, args ...any) {
	if !ok {
		must(fmt.Errorf(format, args...))
	}
}

// After a sync that failed nobody knows what the disk has, and it is made no
// worse.
func TestSyncErrorStopsTheQueue(t *testing.T) {
	const n = 4
	path := filepath.Join(t.TempDir(), "queue.db")
	j := jam(t, path, n)
	id, err := j.Enqueue(t.Context(), other{S: "before"})
	require.NoError(t, err)
	disk := descriptorOf(t, path)
	disk.leadTo(t, "/dev/null")

	_, err = j.Enqueue(t.Context(), other{S: "after"})
	require.ErrorIs(t, err, stint.ErrSyncFailed)
	require.ErrorIs(t, err, syscall.EINVAL, "what the system said")
	_, err = j.Enqueue(t.Context(), other{})
	require.ErrorIs(t, err, stint.ErrSyncFailed)
	require.ErrorIs(t, j.Kill(t.Context(), id, "no"), stint.ErrSyncFailed)
	require.ErrorIs(t, j.Pause(t.Context(), "default", "me"), stint.ErrSyncFailed)
	err = j.DB().View(func(*bolt.Tx) error { return nil })
	require.NoError(t, err, "reading is harmless")
	_, err = j.Get(id)
	require.NoError(t, err)
	close(j.release)
	require.ErrorIs(t, receive(t, j.ran), stint.ErrSyncFailed)
	require.ErrorIs(t, j.Run(t.Context()), stint.ErrSyncFailed)
	require.ErrorIs(t, j.Close(), stint.ErrSyncFailed)
	disk.close()
	require.ErrorContains(t, j.Close(), fmt.Sprintf("note %d", j.ids[0]))

	q := openAt(t, path, nil)
	_, err = q.Get(id)
	require.NoError(t, err)
	require.Equal(t, n+1, q.Counts().Ready)
}

// childBusy does a bit of everything until its input ends, and says what it
// was told. N is the size of the jobs that wait for a handler.
func childBusy(args childArgs) {
	q := childOpen(args, &stint.Config{})
	var runs [200_000]atomic.Int32
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		if job.Args.N < len(runs) && runs[job.Args.N].Add(1) > 1 {
			say("twice %d", job.ID)
		}
		if job.Args.N%2 == 0 {
			return nil
		}
		err := job.Commit(func(tx *bolt.Tx) error { return increment(tx, []byte(job.ID.String())) })
		if err == nil {
			say("committed %d", job.ID)
		} else {
			complain("commit", err)
		}
		return err
	}, nil)
	ctx := childContext()
	say("ready")
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := q.Run(ctx); err != nil {
			complain("run", err)
		}
	})
	var next atomic.Int64
	for range 3 {
		wg.Go(func() {
			for failed := 0; ctx.Err() == nil && failed < 2; {
				if id, err := q.Enqueue(context.Background(), note{N: int(next.Add(1))}); err != nil {
					complain("enqueue", err)
					time.Sleep(time.Millisecond)
					if errors.Is(err, stint.ErrSyncFailed) {
						failed++ // it will not get better
					}
				} else {
					say("working %d", id)
				}
				if id, err := q.Enqueue(context.Background(), other{S: strings.Repeat("y", args.N)}); err != nil {
					complain("enqueue", err)
				} else {
					say("stored %d", id)
				}
			}
		})
	}
	wg.Wait()
	for range 3 {
		if _, err := q.Enqueue(context.Background(), other{}); err != nil {
			complain("later", err)
		}
	}
	if err := q.Close(); err != nil {
		complain("close", err)
	}
}

// complain says of which kind an error is.
func complain(who string, err error) {
	what := "strange"
	switch {
	case errors.Is(err, stint.ErrSyncFailed):
		what = "sync"
	case errors.Is(err, syscall.EIO), strings.Contains(err.Error(), "file resize error"): // which bbolt does not wrap
		what = "EIO"
	}
	say("%s %s %s", who, what, strings.ReplaceAll(err.Error(), "\n", "; "))
}

// inject lets system calls of a running child fail until the returned
// function is called.
func inject(t *testing.T, c *child, call, how string) (end func()) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	var out lockedBuffer
	either := "/^" + call + "(64)?$" // ftruncate64 is what processes of 32 bits call
	cmd := exec.Command(strace, "-f", "-e", "trace="+either, "-e", "inject="+either+":"+how, "-p", strconv.Itoa(c.cmd.Process.Pid))
	cmd.Stderr = &out
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	end = sync.OnceFunc(func() {
		defer func() { t.Logf("%s: %d calls were met", call, strings.Count(out.String(), "INJECTED")) }()
		_ = cmd.Process.Signal(syscall.SIGTERM) // it detaches
		select {
		case <-ended:
		case <-time.After(2 * time.Second): // it waits for a thread that is no more
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	t.Cleanup(end)
	eventually(t, func() bool {
		select {
		case <-ended:
			return true
		default:
			return strings.Contains(out.String(), "attached")
		}
	}, "strace attaches")
	select {
	case <-ended:
		t.Skipf("strace may not attach: %s", out.String())
	default:
	}
	return end
}

// acknowledged checks that what the child was told is true of the file.
func acknowledged(t *testing.T, path string, c *child) {
	t.Helper()
	check(t, path)
	q := openAt(t, path, nil)
	for _, text := range c.said("stored") {
		id, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		_, err = q.Get(stint.ID(id))
		require.NoError(t, err)
	}
	done := counters(q.DB())
	for _, id := range c.said("committed") {
		require.Equal(t, 1, done[id])
	}
	for id, times := range done {
		require.Equal(t, 1, times, "job %s", id)
		n, err := strconv.ParseUint(id, 10, 64)
		require.NoError(t, err)
		_, err = q.Get(stint.ID(n))
		require.ErrorIs(t, err, stint.ErrNotFound, "it has had its effect")
	}
}

func TestSyncErrorInAProcess(t *testing.T) {
	t.Parallel()
	for _, count := range []string{"1+", "2+", "3+"} {
		t.Run("from call "+count, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			c := startChild(t, childArgs{Mode: "busy", File: path})
			c.await("stored", 50)
			c.await("committed", 20)
			end := inject(t, c, "fdatasync", "error=EIO:when="+count)
			c.await("enqueue sync", 3)
			c.await("run sync", 1)
			end()
			c.succeeds()
			require.Len(t, c.said("later sync"), 3, "every later write")
			require.Len(t, c.said("close sync"), 1)
			require.Contains(t, c.said("enqueue sync")[0], "input/output error")
			for _, who := range []string{"enqueue", "commit", "run", "close"} {
				require.Empty(t, c.said(who+" strange"))
				require.Empty(t, c.said(who+" EIO"))
			}
			require.Empty(t, c.said("twice"))
			acknowledged(t, path, c)
		})
	}
}

// A write that fails has changed nothing: its callers are told, completions
// are tried again, and work goes on.
func TestWriteErrorInAProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	c := startChild(t, childArgs{Mode: "busy", File: path})
	c.await("stored", 50)
	end := inject(t, c, "pwrite64", "error=EIO:when=2+31") // counted by thread
	c.await("enqueue EIO", 20)
	end()
	healed := len(c.said("stored"))
	c.await("stored", healed+50)
	c.await("committed", len(c.said("committed"))+20)
	c.stop()
	for _, who := range []string{"enqueue", "commit", "run", "close"} {
		require.Empty(t, c.said(who+" strange"))
		require.Empty(t, c.said(who+" sync"))
	}
	require.Empty(t, c.said("run"))
	require.Empty(t, c.said("close"))
	require.Empty(t, c.said("commit"), "Commit waits until it can be recorded")
	require.Empty(t, c.said("twice"))
	t.Logf("%d errors, %d jobs stored, %d committed", len(c.said("enqueue EIO")), len(c.said("stored")), len(c.said("committed")))
	acknowledged(t, path, c)
}
