package stint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// The Nth call of the system fails, for every N, from the first one of Open to
// the last one of Close.

func init() {
	childModes["errand"] = childErrand
}

// Each errand begins with the file of a process that crashed, so the first
// calls are those of the recovery. strace counts the calls of each thread for
// itself: which one of the process fails differs from run to run.
func TestNthCallFails(t *testing.T) {
	bounds := map[string]int{"pwrite64": 4, "fdatasync": 4, "fsync": 1, "ftruncate": 1}
	if *allFaults {
		bounds = map[string]int{"pwrite64": 60, "fdatasync": 40, "fsync": 6, "ftruncate": 6}
	}
	for call, bound := range bounds {
		for n := 1; n <= bound; n++ {
			t.Run(fmt.Sprintf("%s %d", call, n), func(t *testing.T) {
				t.Parallel()
				c := errand(t, call, fmt.Sprintf("error=EIO:when=%d", n))
				c.succeeds()
				c.await("finished", 1)
				syncing := call == "fdatasync" || call == "fsync"
				require.Empty(t, c.said("open strange"))
				for _, who := range []string{"enqueue", "commit", "run", "close"} {
					require.Empty(t, c.said(who+" strange"))
					if syncing {
						require.Empty(t, c.said(who+" EIO"))
					} else {
						require.Empty(t, c.said(who+" sync"))
					}
				}
				if !syncing {
					require.Empty(t, c.said("run"), "work goes on")
					require.Empty(t, c.said("commit"), "Commit waits until it can be recorded")
					require.Empty(t, c.said("twice"))
				}
			})
		}
	}
}

// errand starts a child that does its errand while calls fail.
func errand(t *testing.T, call, how string) *child {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "queue.db")
	jobs := notes(10)
	for range 50 {
		jobs = append(jobs, other{S: strings.Repeat("y", 2000)})
	}
	enqueueClosed(t, path, jobs...)
	crashed := startChild(t, childArgs{Mode: "sleep", File: path})
	crashed.await("running", 10)
	crashed.kill()

	c := startChild(t, childArgs{Mode: "errand", File: path, Log: filepath.Join(dir, "go")})
	c.await("waiting", 1)
	end := inject(t, c, call, how)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o600))
	select {
	case <-c.done:
	case <-time.After(60 * time.Second):
	}
	end()
	t.Cleanup(func() {
		if !t.Failed() {
			acknowledgedErrand(t, path, c)
		}
	})
	return c
}

// acknowledgedErrand checks that the effects of all jobs are there, once.
func acknowledgedErrand(t *testing.T, path string, c *child) {
	t.Helper()
	inspect(t, path, func(db *bolt.DB) {
		done := counters(db)
		for _, n := range c.said("stored") {
			require.Equal(t, 1, done[n], "effect of job %s", n)
		}
		for n, times := range done {
			require.Equal(t, 1, times, "effect of job %s", n)
		}
	})
}

// childErrand opens the queue, enqueues until 30 jobs are accepted and works
// until nothing is left. Where the queue stops it is closed and opened again.
func childErrand(args childArgs) {
	say("waiting")
	for {
		if _, err := os.Stat(args.Log); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	stored := 0
	for starts := 0; ; starts++ {
		expect(starts < 10, "it does not come to an end")
		if childErrandOnce(args, &stored) {
			break
		}
	}
	say("finished")
}

func childErrandOnce(args childArgs, stored *int) (finished bool) {
	q, err := tryOpen(args.File, &stint.Config{ShutdownTimeout: time.Second})
	if err != nil {
		complain("open", err)
		return false
	}
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		err := job.Commit(func(tx *bolt.Tx) error { return increment(tx, []byte(strconv.Itoa(job.Args.N))) })
		if err != nil {
			complain("commit", err)
		}
		return err
	}, &stint.Policy{Backoff: stint.Constant(time.Millisecond)})
	ran := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		err := q.Run(ctx)
		if err != nil {
			complain("run", err)
		}
		ran <- err
	}()
	broken, large := false, strings.Repeat("z", 80_000)
	for *stored < 30 && !broken {
		n := 1000 + *stored
		_, err := q.Enqueue(ctx, note{N: n}, stint.Unique())
		if err == nil || errors.Is(err, stint.ErrDuplicate) {
			say("stored %d", n)
			*stored++
			if _, err := q.Enqueue(ctx, other{S: large}); err != nil { // the file has to grow
				complain("enqueue", err)
			}
			continue
		}
		complain("enqueue", err)
		broken = errors.Is(err, stint.ErrSyncFailed)
		if n := *stored; broken && counters(q.DB())[strconv.Itoa(1000+n)] > 0 {
			*stored++ // it was stored and is done
		}
	}
	for idle := false; !broken && !idle; time.Sleep(time.Millisecond) {
		c := q.Counts()
		idle = c.Ready == c.Parked && c.Running+c.Retrying+c.Scheduled == 0
		select {
		case err := <-ran:
			ran <- err
			broken = true
		default:
		}
	}
	cancel()
	broken = <-ran != nil || broken
	if err := q.Close(); err != nil {
		complain("close", err)
		broken = true
	}
	return !broken
}

// What fails and heals again, in a process under load: a file system that
// turned read-only, a file that cannot grow.
func TestWriteErrorsThatHeal(t *testing.T) {
	for _, fault := range []struct{ call, how, text string }{
		{"pwrite64", "error=EROFS", "read-only file system"},
		{"pwrite64", "error=ENOSPC:when=1+3", "no space left on device"},
		{"pwrite64", "error=EDQUOT:when=2+2", "disk quota exceeded"},
		{"ftruncate", "error=EIO", "input/output error"},
		{"ftruncate", "error=EFBIG", "file too large"},
	} {
		t.Run(fault.call+" "+fault.text, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "queue.db")
			c := startChild(t, childArgs{Mode: "busy", File: path, N: 3000})
			c.await("stored", 50)
			end := inject(t, c, fault.call, fault.how)
			c.await("enqueue", 5)
			end()
			c.await("stored", len(c.said("stored"))+50)
			c.await("committed", len(c.said("committed"))+20)
			c.stop()
			detached := 0
			for _, line := range c.said("enqueue") {
				if detached == 0 && strings.Contains(line, syscall.ENOSYS.Error()) {
					detached++ // one call can be under way when strace detaches, which then leaves it without an end
				} else {
					require.Contains(t, line, fault.text)
				}
				require.Contains(t, line, "nothing was changed")
			}
			for _, who := range []string{"commit", "run", "close", "twice"} {
				require.Empty(t, c.said(who))
			}
			acknowledged(t, path, c)
		})
	}
}

// The sync after growing counts as much as the one of a commit.
func TestSyncErrorWhileGrowing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	c := startChild(t, childArgs{Mode: "busy", File: path, N: 3000})
	c.await("stored", 50)
	end := inject(t, c, "fsync", "error=EIO:when=1")
	c.await("enqueue sync", 3)
	c.await("run sync", 1)
	end()
	c.succeeds()
	require.Len(t, c.said("later sync"), 3)
	require.Len(t, c.said("close sync"), 1)
	acknowledged(t, path, c)
}

// A disk that takes its time makes everything late and nothing wrong.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	c := startChild(t, childArgs{Mode: "busy", File: path})
	c.await("stored", 50)
	end := inject(t, c, "fdatasync", "delay_exit=30000")
	c.await("stored", len(c.said("stored"))+20)
	c.await("committed", len(c.said("committed"))+5)
	end()
	c.stop()
	for _, who := range []string{"enqueue", "commit", "run", "close", "twice"} {
		require.Empty(t, c.said(who))
	}
	acknowledged(t, path, c)
}

// What Close writes last is for the speed of the next Open only.
func TestLastWriteOfCloseFails(t *testing.T) {
	for _, device := range []string{"/dev/full", "/dev/null"} {
		t.Run(device, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			q, err := tryOpen(path, &stint.Config{Logger: quiet})
			require.NoError(t, err)
			_, err = q.EnqueueAll(t.Context(), notes(100))
			require.NoError(t, err)
			disk := descriptorOf(t, path)
			disk.leadTo(t, device)
			require.NoError(t, q.Close())
			disk.close()
			require.Equal(t, 100, openAt(t, path, nil).Counts().Ready)
		})
	}
}
