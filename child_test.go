package stint_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// A crash can only be tested on a process that dies. The test binary starts
// itself again as that process: TestMain sees the variable childVariable and
// does what it says instead of running tests.
//
// Children talk by lines on their standard output. "ready" says that the
// queue is open, so nobody has to sleep until it is. When a child's standard
// input ends it stops in good order.

const childVariable = "STINT_TEST_CHILD"

// childArgs is what a child has to do.
type childArgs struct {
	Mode string // a key of childModes
	File string
	Log  string // a file for lines that must survive the child
	N    int
}

// childModes are filled by the files that use them.
var childModes = map[string]func(childArgs){}

func TestMain(m *testing.M) {
	if variable := os.Getenv(childVariable); variable != "" {
		var args childArgs
		must(json.Unmarshal([]byte(variable), &args))
		childModes[args.Mode](args)
		os.Exit(0)
	}
	flag.Parse()
	overlap()
	os.Exit(m.Run())
}

// overlap lets twice as many tests run at once as there are processors, if
// -parallel does not say otherwise: many of them wait for a child or the disk.
func overlap() {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		must(flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))))
	}
}

var crashSeed = flag.Uint64("crash.seed", 0, "seed of the crash tests; 0 takes a new one")

// seeded is a source of random moments; its seed is logged.
func seeded(t testing.TB) *rand.Rand {
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with -crash.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// --- In the child.

// must ends a child that cannot go on with a status of its own.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(exitBroken)
	}
}

const exitBroken = 9

var sayMutex sync.Mutex

// say writes a line in one system call, so that a kill cannot cut it in two.
func say(format string, args ...any) {
	line := fmt.Sprintf(format+"\n", args...)
	sayMutex.Lock()
	defer sayMutex.Unlock()
	_, _ = os.Stdout.WriteString(line)
}

// childOpen opens the queue of a child and says so.
func childOpen(args childArgs, cfg *stint.Config) *stint.Queue {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	q, err := tryOpen(args.File, cfg)
	must(err)
	return q
}

// childContext ends with SIGTERM, or when the parent closes the standard
// input.
func childContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	ctx, _ = signal.NotifyContext(ctx, syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

// workUntilEmpty runs the queue until no job is left to be done, or ctx ends.
func workUntilEmpty(ctx context.Context, q *stint.Queue) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for ctx.Err() == nil {
			if c := q.Counts(); c.Ready+c.Running+c.Retrying+c.Scheduled == 0 {
				cancel()
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	must(q.Run(ctx))
	must(q.Close())
}

// appendLine writes to a file that outlives the process.
func appendLine(path, format string, args ...any) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(err)
	_, err = fmt.Fprintf(f, format+"\n", args...)
	must(err)
	must(f.Close())
}

// killMyself is SIGKILL: nothing of the process runs after it.
func killMyself() {
	self, err := os.FindProcess(os.Getpid())
	must(err)
	must(self.Kill())
	select {}
}

// --- In the parent.

// receive is <-c, and a failure instead of a test that hangs.
func receive[T any](t testing.TB, c <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-c:
	case <-time.After(20 * time.Second):
		require.FailNow(t, "nothing comes")
	}
	return value
}

// child is a started process.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{} // it has ended and all its lines are read

	started, first, ended time.Time // of the process, of its first line; read after done

	mu     sync.Mutex
	lines  []string      // guarded by mu
	more   chan struct{} // guarded by mu: closed by the next line
	stderr lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startChild starts a process. It is killed when the test ends, if it still
// runs.
func startChild(t testing.TB, args childArgs) *child {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	variable, err := json.Marshal(args)
	require.NoError(t, err)
	c := &child{t: t, cmd: exec.Command(self), done: make(chan struct{}), more: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(variable))
	c.cmd.Stderr = &c.stderr
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	c.started = time.Now()
	require.NoError(t, c.cmd.Start())
	go func() {
		in := bufio.NewScanner(stdout)
		for in.Scan() {
			if c.first.IsZero() {
				c.first = time.Now()
			}
			c.mu.Lock()
			c.lines = append(c.lines, in.Text())
			close(c.more)
			c.more = make(chan struct{})
			c.mu.Unlock()
		}
		_ = c.cmd.Wait()
		c.ended = time.Now()
		close(c.done)
	}()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() && c.stderr.String() != "" {
			t.Logf("standard error of child %s:\n%.4000s", args.Mode, c.stderr.String())
		}
	})
	return c
}

// await waits for the nth line, counted from 1, that begins with a word, and
// returns the rest of it.
func (c *child) await(word string, nth int) string {
	c.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		c.mu.Lock()
		found := c.having(word)
		more := c.more
		c.mu.Unlock()
		if len(found) >= nth {
			return found[nth-1]
		}
		select {
		case <-more:
		case <-c.done:
			if found := c.said(word); len(found) >= nth {
				return found[nth-1]
			}
			require.FailNow(c.t, "the child ended before it said "+word, c.stderr.String())
		case <-deadline:
			require.FailNow(c.t, "the child does not say "+word, c.stderr.String())
		}
	}
}

func (c *child) having(word string) (found []string) {
	for _, line := range c.lines {
		if line == word {
			found = append(found, "")
		} else if rest, ok := strings.CutPrefix(line, word+" "); ok {
			found = append(found, rest)
		}
	}
	return found
}

// said is what followed a word in the lines so far.
func (c *child) said(word string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.having(word)
}

// kill is SIGKILL. It returns when the process is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

// worked is how long the child lived after its first line.
func (c *child) worked() time.Duration {
	<-c.done
	if c.first.IsZero() {
		return 0
	}
	return c.ended.Sub(c.first)
}

// stop lets the child stop in good order.
func (c *child) stop() {
	c.t.Helper()
	_ = c.stdin.Close()
	c.succeeds()
}

// wait returns the exit status, -1 for a signal.
func (c *child) wait() int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(2 * time.Minute):
		require.FailNow(c.t, "the child does not end", c.stderr.String())
	}
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) succeeds() {
	c.t.Helper()
	require.Zero(c.t, c.wait(), c.stderr.String())
}

// endsWithin reports whether the child ended by itself within d.
func (c *child) endsWithin(d time.Duration) bool {
	select {
	case <-c.done:
		return true
	case <-time.After(d):
		return false
	}
}
