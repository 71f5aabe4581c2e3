package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/dashboard"
)

// asCommand makes the test binary the command itself, for tests that need a
// process.
const asCommand = "STINT_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	for _, name := range []string{"STINT_FILE", "STINT_KEYS", "STINT_TOKEN"} {
		_ = os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

// answer is what a call of the command has done.
type answer struct {
	code     int
	out, err string
}

// stintWith calls the command in this process.
func stintWith(t *testing.T, s streams, args ...string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	s.out, s.err = &out, &errs
	if s.in == nil {
		s.in = strings.NewReader("")
	}
	code := run(t.Context(), args, s)
	return answer{code, out.String(), errs.String()}
}

func stintCLI(t *testing.T, args ...string) answer {
	t.Helper()
	return stintWith(t, streams{}, args...)
}

// ok calls the command, which has to succeed, and answers its output.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	a := stintCLI(t, args...)
	require.Equal(t, exitDone, a.code, "stint %q: %s", args, a.err)
	return a.out
}

// mail is a job that the handler of a shop sends away, or not.
type mail struct {
	To   string `json:"to"`
	Do   string `json:"do,omitempty"`
	Note string `json:"note,omitempty"`
}

func (mail) Kind() string { return "mail" }

type report struct {
	Month int `json:"month"`
}

func (report) Kind() string { return "report" }

// evil is what would rewrite a terminal: colors, a title, a clear screen, a
// C1 control, and text from right to left.
const evil = "\x1b[31m\x1b]0;owned\x07\x1b[2J\u009b1m\u202eabc\r\x7f"

// shop is a program that works on a queue and shows a dashboard.
type shop struct {
	q    *stint.Queue
	stop func()
	path string
}

// openShop opens a file and, if it is to work, lets it run.
func openShop(t *testing.T, path string, cfg *stint.Config, board *dashboard.Config, work bool) *shop {
	t.Helper()
	if cfg == nil {
		cfg = &stint.Config{}
	}
	cfg.KeepCompleted, cfg.Logger = time.Hour, slog.New(slog.DiscardHandler)
	q, err := stint.Open(path, cfg)
	require.NoError(t, err)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[mail]) error {
		switch job.Args.Do {
		case "die":
			return stint.Kill(errors.New("no such address: " + evil))
		case "fail":
			return errors.New("the server is busy")
		case "hang":
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}, &stint.Policy{Backoff: stint.Constant(time.Hour)})
	stint.Handle(q, func(context.Context, *stint.Job[report]) error { return nil }, nil)
	require.NoError(t, q.Periodic("new-year", "0 0 1 1 *", report{Month: 1}))
	if board != nil {
		board.Logger = cfg.Logger
		dashboard.Handler(q, board)
	}
	s := &shop{q: q, path: path}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if work {
		running.Go(func() { _ = q.Run(ctx) })
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		require.NoError(t, q.Close())
	})
	t.Cleanup(s.stop)
	return s
}

// stock fills a file with jobs in all states that do not move by themselves,
// and closes it.
func stock(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	s := openShop(t, path, nil, nil, true)
	ctx := t.Context()
	require.NoError(t, s.q.Pause(ctx, "low", "ana"))
	require.NoError(t, s.q.PauseSchedule(ctx, "new-year", "ana"))
	var last stint.ID
	for _, job := range []mail{
		{To: "ana@example.org"}, {To: "ben@example.org", Do: "die", Note: evil}, {To: "cem@example.org", Do: "die"}, {To: "dora@example.org", Do: "fail"},
	} {
		id, err := s.q.Enqueue(ctx, job, stint.Tags("vip"))
		require.NoError(t, err)
		last = id
	}
	for i := range 3 {
		_, err := s.q.Enqueue(ctx, report{Month: i + 1}, stint.OnQueue("low"), stint.Priority(3))
		require.NoError(t, err)
	}
	_, err := s.q.Enqueue(ctx, mail{To: "eve@example.org"}, stint.At(time.Date(2040, 1, 2, 3, 4, 5, 0, time.UTC)))
	require.NoError(t, err)
	_, err = s.q.EnqueueBatch(ctx, func(yield func(stint.Args) bool) {
		_ = yield(report{Month: 11}) && yield(report{Month: 12})
	}, &stint.BatchPolicy{Name: "quarter", Options: []stint.Option{stint.OnQueue("low")}})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := s.q.Get(last)
		c := s.q.Counts()
		return err == nil && info.State == stint.Retrying && c.Dead == 2 && c.Running == 0 && c.Completed == 1
	}, 20*time.Second, 5*time.Millisecond)
	s.stop()
	return path
}

// twins are two files with the same state: one that a program works on, and
// one that nobody has open.
type twins struct {
	live   *shop
	closed string
}

func newTwins(t *testing.T) *twins {
	t.Helper()
	return twinsOf(t, stock(t))
}

func twinsOf(t *testing.T, closed string) *twins {
	t.Helper()
	live := filepath.Join(t.TempDir(), "shop.db")
	content, err := os.ReadFile(closed)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(live, content, 0o600))
	return &twins{live: openShop(t, live, nil, &dashboard.Config{}, true), closed: closed}
}

// both calls the command on the two files, and wants the same from both. It
// answers what the closed one has said.
func (tw *twins) both(t *testing.T, args ...string) answer {
	t.Helper()
	live := stintCLI(t, append(args, "-f", tw.live.path)...)
	closed := stintCLI(t, append(args, "-f", tw.closed)...)
	require.Equal(t, closed.code, live.code, "stint %q: %s %s", args, live.err, closed.err)
	require.Equal(t, tw.masked(withoutProcess(closed.out)), tw.masked(withoutProcess(live.out)), "stint %q", args)
	require.Equal(t, tw.masked(closed.err), tw.masked(live.err), "stint %q", args)
	return closed
}

// masks are what differs from one process or moment to another.
var masks = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?`), "TIME"},
	{regexp.MustCompile(`\b(\d+(\.\d+)?(ns|µs|ms|s|m|h))+\b`), "SPAN"},
	{regexp.MustCompile(`"(id|seconds)":("[0-9A-Z]{12}"|[0-9.e-]+)`), `"$1":N`},
	{regexp.MustCompile(`[0-9.]+ ([KM]i)?B`), "SIZE"},
	{regexp.MustCompile(`  +`), "  "},
}

func (tw *twins) masked(text string) string {
	text = strings.NewReplacer(tw.live.path, "FILE", tw.closed, "FILE").Replace(text)
	for _, m := range masks {
		text = m.what.ReplaceAllString(text, m.as)
	}
	return text
}
