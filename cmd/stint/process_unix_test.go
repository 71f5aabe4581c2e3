//go:build unix

package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint/dashboard"
)

// process is the command as a process of its own.
type process struct {
	cmd  *exec.Cmd
	out  *bufio.Reader
	errs *lockedText
}

type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func begin(t *testing.T, args ...string) *process {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	p := &process{cmd: exec.Command(program, args...), errs: &lockedText{}}
	p.cmd.Env = append(os.Environ(), asCommand+"=yes", "TMPDIR="+t.TempDir())
	p.cmd.Stderr = p.errs
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.out = bufio.NewReader(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

// line is the next one of its output.
func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(t, err, p.errs)
	return strings.TrimSuffix(line, "\n")
}

// lines are those of its output, as they come.
func (p *process) lines() chan string {
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for {
			line, err := p.out.ReadString('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	return lines
}

// interrupt is a ^C, and answers the exit code.
func (p *process) interrupt(t *testing.T) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	return p.wait()
}

func (p *process) wait() int {
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func TestTailTellsWhatHappens(t *testing.T) {
	t.Parallel()
	s := openShop(t, stock(t), nil, &dashboard.Config{}, true)
	p := begin(t, "tail", s.path, "--type", "job_enqueued,job_completed,queue_paused")
	lines := p.lines()
	require.Eventually(t, func() bool { // until it has subscribed
		ok(t, "enqueue", "mail", `{"to":"ida@example.org"}`, "-f", s.path)
		return len(lines) >= 2
	}, 20*time.Second, 50*time.Millisecond)
	ok(t, "queues", "pause", "default", "-f", s.path)
	seen := ""
	for line := range lines {
		if seen += line; strings.Contains(line, "queue_paused") {
			break
		}
	}
	require.Regexp(t, `job_enqueued   job \d+  mail  queue default`, seen)
	require.Contains(t, seen, "job_completed  job ")
	require.Contains(t, seen, "queue_paused   queue default")
	require.Equal(t, exitDone, p.interrupt(t), "^C is how it ends: %s", p.errs)

	p = begin(t, "tail", s.path, "--jsonl")
	lines = p.lines()
	require.Eventually(t, func() bool {
		ok(t, "enqueue", "mail", `{"to":"ida@example.org"}`, "-f", s.path)
		return len(lines) > 0
	}, 20*time.Second, 50*time.Millisecond)
	requireJSON(t, "--jsonl", <-lines)
	s.stop()
	require.Equal(t, exitDone, p.wait(), p.errs)
	require.Contains(t, p.errs.String(), "the program has ended")
}

func TestWatchLeavesTheFileAlone(t *testing.T) {
	t.Parallel()
	path := stock(t)
	p := begin(t, "stats", path, "--watch=200ms", "--jsonl")
	requireJSON(t, "--jsonl", p.line(t))
	s := openShop(t, path, nil, &dashboard.Config{}, true) // nobody keeps it from the file
	require.Eventually(t, func() bool { return strings.Contains(p.line(t), `"working":true`) }, 20*time.Second, time.Millisecond)
	s.stop()
	require.Eventually(t, func() bool { return strings.Contains(p.line(t), `"working":false`) }, 20*time.Second, time.Millisecond)
	require.Equal(t, exitDone, p.interrupt(t), p.errs)
}

func TestUIShowsACopy(t *testing.T) {
	t.Parallel()
	tw := newTwins(t)
	for _, path := range []string{tw.closed, tw.live.path} {
		p := begin(t, "ui", path)
		address := p.line(t)
		get := func(url string) (int, string) {
			answer, err := http.Get(url)
			require.NoError(t, err)
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			return answer.StatusCode, string(body)
		}
		status, page := get(address + "jobs?state=dead")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, page, "shop.db")
		require.Contains(t, page, "ben@example.org")
		root := address[:strings.Index(address[len("http://"):], "/")+len("http://")]
		status, _ = get(root + "/")
		require.Equal(t, http.StatusNotFound, status, "nobody finds it by its port")
		answer, err := http.Post(address+"api/v1/jobs/2/retry", "", nil)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusForbidden, answer.StatusCode)
		tmp := ""
		for _, one := range p.cmd.Env {
			if value, found := strings.CutPrefix(one, "TMPDIR="); found {
				tmp = value
			}
		}
		require.Equal(t, "dead", stateOf(t, path, 2))
		require.Equal(t, exitDone, p.interrupt(t), p.errs)
		left, err := os.ReadDir(tmp)
		require.NoError(t, err)
		require.Empty(t, left, "the copy is deleted")
	}
}

func stateOf(t *testing.T, path string, id int) string {
	t.Helper()
	for line := range strings.Lines(ok(t, "jobs", "show", strconv.Itoa(id), "-f", path)) {
		if name, value, _ := strings.Cut(line, ":"); name == "state" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestInterruptEndsWithoutTraces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := begin(t, "bench", dir, "--jobs", "100000000", "--progress", "none")
	require.Eventually(t, func() bool {
		found, err := filepath.Glob(filepath.Join(dir, ".stint-bench-*", "bench.db"))
		return err == nil && len(found) == 1
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, exitInterrupted, p.interrupt(t), p.errs)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	reader, writer, err := os.Pipe() // a stdin on which nothing comes
	require.NoError(t, err)
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	path := filepath.Join(dir, "new.db")
	require.Equal(t, exitInterrupted, run(ctx, []string{"import", "-f", path, "-"}, streams{in: reader, out: io.Discard, err: io.Discard}))
	left, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTheHolderIsNamed(t *testing.T) {
	t.Parallel()
	path := stock(t)
	s := openShop(t, path, nil, nil, true)
	p := begin(t, "stats", s.path)
	require.Equal(t, exitUnreachable, p.wait())
	text := p.errs.String()
	if strings.Contains(text, "by pid") { // where the system tells
		require.Contains(t, text, " is in use by pid "+strconv.Itoa(os.Getpid())+" and offers no control socket")
	}
}

func TestAReaderThatHasSeenEnough(t *testing.T) {
	t.Parallel()
	path := stock(t)
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	code := run(t.Context(), []string{"jobs", "list", path}, streams{in: strings.NewReader(""), out: writer, err: io.Discard})
	require.Equal(t, exitDone, code)
	require.NoError(t, writer.Close())
}
