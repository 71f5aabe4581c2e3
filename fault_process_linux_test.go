package stint_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// What happens to the process: it has no file handles left, or it is stopped
// for a while.

func init() {
	childModes["handles"] = childHandles
}

// A queue needs no more handles than it has. What does need one says so.
func TestOutOfFileHandles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	c := startChild(t, childArgs{Mode: "handles", File: path})
	c.succeeds()
	c.await("finished", 1)
	for _, who := range []string{"open", "compact", "backup", "check", "checkfile"} {
		require.Len(t, c.said(who), 1, who)
		require.Contains(t, c.said(who)[0], "too many open files", who)
		require.Contains(t, c.said(who)[0], "stint: ", who)
	}
	check(t, path)
}

func childHandles(args childArgs) {
	q := childOpen(args, &stint.Config{})
	var runs atomic.Int32
	stint.Handle(q, func(context.Context, *stint.Job[note]) error { runs.Add(1); return nil }, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	work := func(n int) {
		before := runs.Load()
		_, err := q.EnqueueAll(ctx, notes(n))
		must(err)
		for runs.Load() < before+int32(n) || q.Counts().Running > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	work(20)

	var limit syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	free, err := os.Open(os.DevNull) // the lowest number that is free
	must(err)
	lowest := uint64(free.Fd())
	must(free.Close())
	must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: lowest, Max: limit.Max}))
	work(20)
	_, err = tryOpen(filepath.Join(filepath.Dir(args.File), "second.db"), &stint.Config{Logger: quiet})
	sayHandles("open", err)
	sayHandles("compact", q.Compact(ctx, nil))
	_, err = stint.CheckFile(args.File)
	sayHandles("checkfile", err)
	_, err = q.Backup(ctx, io.Discard)
	sayHandles("backup", err)
	_, err = q.Check(ctx)
	sayHandles("check", err)
	work(20)
	must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))

	must(q.Compact(ctx, nil))
	work(20)
	cancel()
	must(<-ran)
	must(q.Close())
	say("finished")
}

func sayHandles(who string, err error) {
	if !errors.Is(err, syscall.EMFILE) {
		say("%s strange %v", who, err)
		return
	}
	say("%s %v", who, err)
}

// A process that is stopped for a while, as on a laptop that is closed, goes
// on where it was.
func TestStoppedProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	c := startChild(t, childArgs{Mode: "busy", File: path})
	c.await("stored", 50)
	pause := time.Second
	if *allFaults {
		pause = time.Minute
	}
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGSTOP))
	time.Sleep(pause)
	_, err := tryOpen(path, &stint.Config{Logger: quiet, LockTimeout: -1})
	require.ErrorIs(t, err, stint.ErrLocked, "a stopped process still has its file")
	require.ErrorContains(t, err, strconv.Itoa(c.cmd.Process.Pid))
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGCONT))
	c.await("stored", len(c.said("stored"))+50)
	c.await("committed", len(c.said("committed"))+20)
	c.stop()
	for _, who := range []string{"enqueue", "commit", "run", "close", "twice"} {
		require.Empty(t, c.said(who))
	}
	acknowledged(t, path, c)
}

// A program that this one has started holds neither the file nor its lock.
func TestProgramsStartedKeepNoLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	started := exec.Command("sleep", "60")
	require.NoError(t, started.Start())
	defer func() {
		_ = started.Process.Kill()
		_ = started.Wait()
	}()
	require.NoError(t, q.Close())
	q, err = tryOpen(path, &stint.Config{Logger: quiet, LockTimeout: -1})
	require.NoError(t, err)
	require.NoError(t, q.Close())
}
