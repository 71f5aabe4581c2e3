package stint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a child asks the system to do to its files, recorded by strace: every
// call that changes a file or makes it safe, with its bytes, in the order in
// which the calls of all threads began and ended. Lines that the child says
// are calls as well, so they have their place in that order.

// tracedCalls are all by which a Go program changes files. Those that the
// replay does not model make it fail, so that none is passed over.
const tracedCalls = "write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range,splice,ftruncate,truncate,fallocate," +
	"fsync,fdatasync,sync_file_range,openat,creat,close,dup,dup2,dup3,lseek,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mmap"

const (
	tracedSize  = 16 << 20 // of the bytes of one call, as far as they are recorded
	neverEnded  = 1 << 30
	traceBudget = 2 * time.Minute
)

// call is one system call. Between start and end, which count all beginnings
// and ends, it may have had its effect or not.
type call struct {
	name       string
	args       []string
	start, end int
	result     int64
	failed     bool
}

// bytes is an argument that is a string.
func (c *call) bytes(i int) []byte { return unquote(c.args[i]) }

// path is an argument that is a path; where names a directory before it, that
// must be the current one.
func (c *call) path(i int) string { return filepath.Clean(string(c.bytes(i))) }

// number is an argument that is one. AT_FDCWD and the like are -1.
func (c *call) number(i int) int64 {
	n, err := strconv.ParseInt(c.args[i], 0, 64)
	if err != nil {
		return -1
	}
	return n
}

// traceable says why children cannot be recorded here, if so.
func traceable() error {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("strace is not installed: %w", err)
	}
	if out, err := exec.Command(strace, "-f", "--seccomp-bpf", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return fmt.Errorf("strace does not work here: %w: %s", err, out)
	}
	return nil
}

// recordChild runs a child to its end and returns its calls. Further
// arguments are strace's.
func recordChild(args childArgs, more ...string) ([]*call, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	variable, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	trace := args.File + ".trace"
	defer os.Remove(trace)
	ctx, cancel := context.WithTimeout(context.Background(), traceBudget)
	defer cancel()
	flags := []string{"-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-s", strconv.Itoa(tracedSize), "-o", trace, "-e", "trace=" + tracedCalls}
	cmd := exec.CommandContext(ctx, "strace", append(append(flags, more...), self)...)
	cmd.Env = append(os.Environ(), childVariable+"="+string(variable))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil && args.Log != "dies" {
		return nil, fmt.Errorf("the child %s: %w: %.4000s", args.Mode, err, stderr.String())
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		return nil, err
	}
	return parseTrace(b)
}

// parseTrace reads what strace has written.
func parseTrace(b []byte) (calls []*call, err error) {
	begun := map[string][]byte{} // by thread
	starts := map[string]int{}
	for i := 0; len(b) > 0; i++ {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		word, text, _ := bytes.Cut(line, []byte(" "))
		thread := string(word)
		text = bytes.TrimLeft(text, " ")
		start := 2 * i
		if bytes.HasPrefix(text, []byte("<... ")) {
			_, rest, ok := bytes.Cut(text, []byte(" resumed>"))
			if !ok || begun[thread] == nil {
				return nil, fmt.Errorf("line %d ends what has not begun: %.100q", i+1, line)
			}
			text, start = append(begun[thread], rest...), starts[thread]
			delete(begun, thread)
		} else if head, ok := cutUnfinished(text); ok {
			begun[thread], starts[thread] = slices.Clone(head), start
			continue
		}
		if len(text) == 0 || text[0] == '+' || text[0] == '-' {
			continue // a thread or a signal
		}
		c, err := parseCall(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %.100q", i+1, err, line)
		}
		c.start, c.end = start, 2*i+1
		calls = append(calls, c)
	}
	for thread, head := range begun {
		c, err := parseCall(append(head, ") = ?"...))
		if err != nil {
			return nil, fmt.Errorf("%w: %.100q", err, head)
		}
		c.start, c.end = starts[thread], neverEnded
		calls = append(calls, c)
	}
	slices.SortFunc(calls, func(a, b *call) int { return a.start - b.start })
	return calls, nil
}

// cutUnfinished takes off what strace puts where a call has not ended. Of a
// process that was killed it may say that it has detached.
func cutUnfinished(text []byte) ([]byte, bool) {
	for _, end := range []string{" <unfinished ...>", " <detached ...>"} {
		if head, ok := bytes.CutSuffix(text, []byte(end)); ok {
			return head, true
		}
	}
	return text, false
}

// parseCall reads name(arg, arg, …) = result.
func parseCall(text []byte) (*call, error) {
	name, rest, ok := bytes.Cut(text, []byte("("))
	if !ok {
		return nil, fmt.Errorf("no call")
	}
	c := &call{name: string(name)}
	depth, quoted, from := 0, false, 0
	for i := 0; i < len(rest); i++ {
		switch b := rest[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '[' || b == '{' || b == '(':
			depth++
		case depth > 0 && (b == ']' || b == '}' || b == ')'):
			depth--
		case depth > 0:
		case b == ',' || b == ')':
			if arg := string(bytes.TrimSpace(rest[from:i])); arg != "" {
				c.args = append(c.args, arg)
			}
			from = i + 1
			if b == ')' {
				return c, c.returned(string(rest[i+1:]))
			}
		}
	}
	return nil, fmt.Errorf("a call without an end")
}

func (c *call) returned(text string) error {
	_, text, ok := strings.Cut(text, "= ")
	if !ok {
		return fmt.Errorf("no result")
	}
	word, _, _ := strings.Cut(text, " ")
	if word == "?" { // the process ended in it
		c.result = -1
		return nil
	}
	n, err := strconv.ParseInt(word, 0, 64)
	c.result, c.failed = n, n < 0
	return err
}

// unquote reads a string of C. It is nil if strace has left its end out.
func unquote(s string) []byte {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return nil
	}
	s = s[1 : len(s)-1]
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		if at := strings.IndexByte("ntrvf", s[i]); at >= 0 {
			out = append(out, "\n\t\r\v\f"[at])
			continue
		}
		if s[i] < '0' || s[i] > '7' {
			out = append(out, s[i])
			continue
		}
		n := 0
		for last := i + 3; i < len(s) && i < last && s[i] >= '0' && s[i] <= '7'; i++ {
			n = n<<3 | int(s[i]-'0')
		}
		i--
		out = append(out, byte(n))
	}
	return out
}

func TestParseTrace(t *testing.T) {
	t.Parallel()
	calls, err := parseTrace([]byte(`7 openat(AT_FDCWD, "/a, \"b\"", O_RDWR|O_CREAT, 0666) = 5
8 pwrite64(5, "a\0b\0001\377\\\n)", 9, 4096 <unfinished ...>
7 fsync(5) = -1 EIO (Input/output error) (INJECTED)
8 <... pwrite64 resumed>)         = 9
7 write(1, "hi", 2 <detached ...>
7 +++ killed by SIGKILL +++
`))
	require.NoError(t, err)
	require.Len(t, calls, 4)
	require.Equal(t, `/a, "b"`, calls[0].path(1))
	require.EqualValues(t, 5, calls[0].result)
	require.Equal(t, []byte("a\x00b\x001\xff\\\n)"), calls[1].bytes(1))
	require.EqualValues(t, 4096, calls[1].number(3))
	require.Less(t, calls[1].start, calls[2].start)
	require.Greater(t, calls[1].end, calls[2].end)
	require.True(t, calls[2].failed)
	require.Equal(t, neverEnded, calls[3].end)
	require.Equal(t, []byte("hi"), calls[3].bytes(1))
}
