package main

import (
	"bytes"
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

func TestExitCodesOfWrongUsage(t *testing.T) {
	t.Parallel()
	path := stock(t)
	for _, args := range [][]string{
		{"nonsense"}, {"jobs", "nonsense"}, {"stats", "--nonsense"}, {"stats"}, {"stats", path, "another"}, {"stats", path, "-f", path},
		{"jobs", "show"}, {"jobs", "show", "x", "-f", path}, {"jobs", "show", "0", "-f", path}, {"jobs", "retry", "-f", path},
		{"jobs", "retry", "1", "--kind", "mail", "-f", path}, {"jobs", "retry", "--all", "--kind", "mail", "-f", path}, {"jobs", "move", "1", "-f", path},
		{"jobs", "list", path, "--state", "lost"}, {"jobs", "list", path, "--filter", `"open`}, {"jobs", "list", path, "--limit", "0"},
		{"jobs", "list", path, "--all", "--limit", "3"}, {"jobs", "delete", "1", "-f", path}, {"queues", "purge", "low", "-f", path},
		{"stats", path, "--json", "--jsonl"}, {"stats", path, "-o", "xml"}, {"stats", path, "--progress", "loud"}, {"stats", path, "--watch", "--json"},
		{"stats", path, "--watch=1ms"}, {"enqueue", "mail", "{", "-f", path}, {"enqueue", "mail", "{}", "--at", "noon", "-f", path},
		{"enqueue", "mail", "{}", "--at", "2040-01-01", "--in", "1h", "-f", path}, {"schedules", "next", "every day"}, {"tail", path, "--json"},
		{"bench", "--jobs", "0"},
	} {
		a := stintCLI(t, args...)
		require.Equal(t, exitUsage, a.code, "%q: %s", args, a.err)
		require.Empty(t, a.out, "%q", args)
		require.True(t, strings.HasPrefix(a.err, "stint: "), a.err)
	}
	for _, args := range [][]string{{"jobs", "show", "999", "-f", path}, {"queues", "purge", "none", "-f", path}, {"schedules", "show", "none", "-f", path}, {"batches", "show", "1", "-f", path}} {
		require.Equal(t, exitNotFound, stintCLI(t, args...).code, "%q", args)
	}
	for _, args := range [][]string{{}, {"--help"}, {"jobs"}, {"jobs", "list", "--help"}, {"help", "jobs", "retry"}, {"version"}} {
		require.NotEmpty(t, ok(t, args...))
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	var look func(path []string)
	a := &app{}
	root := a.root()
	look = func(path []string) {
		cmd, _, err := root.Find(path)
		require.NoError(t, err)
		require.NotEmpty(t, cmd.Short, path)
		if !cmd.HasSubCommands() && cmd.Name() != "version" {
			require.NotEmpty(t, cmd.Example, path)
		}
		for _, sub := range cmd.Commands() {
			look(append(path[:len(path):len(path)], sub.Name()))
		}
	}
	look(nil)
}

func TestDestroyingAsksFirst(t *testing.T) {
	t.Parallel()
	path := stock(t)
	terminal := func(typed string, args ...string) answer {
		return stintWith(t, streams{in: strings.NewReader(typed), asks: true}, append(args, "-f", path)...)
	}
	a := terminal("n\n", "jobs", "delete", "--state", "dead")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.err, "Delete 2 jobs? [y/N] ")
	require.Contains(t, a.err, "nothing was done")
	require.Equal(t, exitError, terminal("", "jobs", "delete", "2").code, "the terminal has gone")
	require.Equal(t, "2\n3\n", reversed(ok(t, "jobs", "list", path, "--state", "dead", "-q")))

	a = stintCLI(t, "jobs", "delete", "--state", "dead", "-f", path)
	require.Equal(t, exitUsage, a.code)
	require.Contains(t, a.err, "Delete 2 jobs? There is nobody to ask here: add --yes")

	require.Equal(t, "would delete job 2 (mail, dead)\n", ok(t, "jobs", "delete", "2", "--dry-run", "-f", path))
	require.Equal(t, "would delete 2 jobs: state:dead kind:mail\n", ok(t, "jobs", "delete", "--state", "dead", "--kind", "mail", "--dry-run", "-f", path))
	require.Equal(t, "would retry 3 jobs\n", ok(t, "jobs", "retry", "--all", "--dry-run", "-f", path))

	a = terminal("y\n", "jobs", "delete", "2")
	require.Equal(t, exitDone, a.code, a.err)
	require.Contains(t, a.err, "Delete job 2 (mail, dead)? [y/N] ")
	require.Equal(t, "3\n", ok(t, "jobs", "list", path, "--state", "dead", "-q"))
	a = terminal("yes\n", "queues", "purge", "low")
	require.Contains(t, a.err, "Delete 5 ready jobs of the queue low? [y/N] ")
	require.Equal(t, exitDone, a.code, a.err)
	require.Empty(t, ok(t, "jobs", "list", path, "--queue", "low", "-q"))
	require.NotContains(t, terminal("", "jobs", "retry", "3").err, "[y/N]", "this destroys nothing")
}

func reversed(text string) string {
	lines := strings.SplitAfter(text, "\n")
	var b strings.Builder
	for i := len(lines) - 1; i >= 0; i-- {
		b.WriteString(lines[i])
	}
	return b.String()
}

func TestNothingControlsTheTerminal(t *testing.T) {
	t.Parallel()
	tw := newTwins(t)
	for _, args := range [][]string{
		{"jobs", "list"}, {"jobs", "list", "-o", "wide"}, {"jobs", "list", "--json"}, {"jobs", "list", "--jsonl"}, {"jobs", "show", "2"}, {"jobs", "show", "2", "--json"},
		{"jobs", "list", "--filter", evil}, {"queues", "pause", evil}, {"enqueue", evil, "{}"}, {"jobs", "list", "--state", evil}, {"export"},
		{"schedules", "show", evil}, {"schedules", "next", evil}, {"jobs", "show", evil}, {evil}, {"stats", "--" + evil}, {"jobs", "cancel", "2", "--reason", evil, "--yes"},
	} {
		for _, path := range []string{tw.live.path, tw.closed} {
			a := stintWith(t, streams{terminal: true, width: 1000}, append(args, "-f", path)...)
			for _, r := range strings.ReplaceAll(a.out+a.err, "\n", "") {
				require.False(t, isControl(r), "%q: %q is in %q", args, r, a.out+a.err)
			}
		}
	}
	require.Contains(t, ok(t, "jobs", "list", "-f", tw.closed), `\u001b[31m`, "it is shown as what it is")
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	tw := newTwins(t)
	dir := t.TempDir()
	for name, path := range map[string]string{"closed": tw.closed, "live": tw.live.path} {
		export, made := filepath.Join(dir, name+".jsonl"), filepath.Join(dir, name+".db")
		ok(t, "export", path, "--to", export)
		again := stintCLI(t, "export", path, "--to", export)
		require.Equal(t, exitError, again.code)
		require.Contains(t, again.err, "is there already")
		require.Contains(t, ok(t, "import", "-f", made, export), "10 jobs stored")
		require.Equal(t, tw.masked(ok(t, "jobs", "list", path, "--all")), tw.masked(ok(t, "jobs", "list", made, "--all")))
		content, err := os.ReadFile(export)
		require.NoError(t, err)
		require.Equal(t, lastButTimes(string(content)), lastButTimes(ok(t, "export", path)))

		// into the file that is there: the five that wait, the one that is
		// scheduled and the one that is retried
		a := stintWith(t, streams{in: bytes.NewReader(content)}, "import", "-f", path, "-", "--json")
		require.Equal(t, exitDone, a.code, a.err)
		var done struct{ Stored, Passed, Refused int }
		require.NoError(t, json.Unmarshal([]byte(a.out), &done))
		require.Equal(t, 7, done.Stored, a.out)
		require.Zero(t, done.Refused)
		a = stintWith(t, streams{in: strings.NewReader("{\"line\":\"job\",\n")}, "import", "-f", path, "-")
		require.Equal(t, exitError, a.code)
		require.Contains(t, a.err, "line 1: ")
	}
	a := stintWith(t, streams{in: strings.NewReader("no export")}, "import", "-f", filepath.Join(dir, "bad.db"), "-")
	require.Equal(t, exitError, a.code, a.err)
	require.NoFileExists(t, filepath.Join(dir, "bad.db"))
}

// lastButTimes are the lines of an export without the first, which tells when
// it was made, without the checksum of all, and without the actions: an export
// is one itself.
func lastButTimes(export string) []string {
	lines := strings.Split(strings.TrimSpace(export), "\n")
	return slices.DeleteFunc(lines[1:len(lines)-1], func(line string) bool {
		return strings.HasPrefix(line, `{"line":"action"`) // each export is one
	})
}

func TestBackupAndCompact(t *testing.T) {
	t.Parallel()
	tw := newTwins(t)
	for _, path := range []string{tw.closed, tw.live.path} {
		copied := filepath.Join(t.TempDir(), "copy.db")
		require.Contains(t, ok(t, "backup", copied, "-f", path), "backup "+copied)
		require.Equal(t, tw.masked(ok(t, "jobs", "list", path, "--all")), tw.masked(ok(t, "jobs", "list", copied, "--all")))
		again := stintCLI(t, "backup", copied, "-f", path)
		require.Equal(t, exitError, again.code)
		require.Contains(t, again.err, "is there already")
		ok(t, "backup", copied, "-f", path, "--force")
		info, err := os.Stat(copied)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		entries, err := os.ReadDir(filepath.Dir(copied))
		require.NoError(t, err)
		require.Len(t, entries, 1, "nothing is left of the ones before")
		require.Contains(t, ok(t, "compact", path), "compact file shop.db: ")
	}
}

func TestDamageIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	path := stock(t)
	db, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error { // the index forgets the dead jobs
		index := tx.Bucket([]byte("stint")).Bucket([]byte("dead"))
		var keys [][]byte
		for k := range keysOf(index) {
			keys = append(keys, bytes.Clone(k))
		}
		for _, k := range keys {
			if err := index.Delete(k); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, db.Close())
	tw := twinsOf(t, path)
	for _, args := range [][]string{{"check"}, {"check", "--json"}, {"check", "-q"}, {"repair"}, {"check"}, {"repair", "--jsonl"}} {
		a := tw.both(t, args...)
		switch {
		case args[0] == "check" && a.out != "no faults\n":
			require.Equal(t, exitError, a.code, a.out)
		default:
			require.Equal(t, exitDone, a.code, a.err)
		}
	}
	require.Equal(t, "no faults\n", ok(t, "check", path))
	require.FileExists(t, path+".before-repair")
	a := stintCLI(t, "check", path+".before-repair")
	require.Contains(t, a.out, "possible")
	require.Contains(t, a.err, " faults")
}

// keysOf are the keys of a bucket.
func keysOf(b *bolt.Bucket) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		c := b.Cursor()
		for k, _ := c.First(); k != nil && yield(k); k, _ = c.Next() {
		}
	}
}

func TestProgressInPlainText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := (&app{streams: streams{err: &b}, progress: "plain"}).startProgress("backup", true)
	p.line(wire.Progress{Done: 5 << 20, Total: 10 << 20, Text: evil})
	require.Equal(t, "backup: 5.0 MiB of 10.0 MiB (50 %), "+cleanLine(evil)+"\n", b.String())
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Contains(t, ok(t, "completion", shell), "stint")
	}
	require.Contains(t, ok(t, "__complete", "jobs", ""), "retry")
	require.Contains(t, ok(t, "__complete", "jobs", "list", "--state", ""), "retrying")
	require.Contains(t, ok(t, "__complete", "stats", "-o", ""), "jsonl")
}

func TestSchedulesNextNeedsNoFile(t *testing.T) {
	t.Parallel()
	text := ok(t, "schedules", "next", "0 9 * * MON-FRI", "--zone", "Europe/Berlin", "-n", "3")
	require.Contains(t, text, "Monday to Friday at 09:00")
	require.Equal(t, 3, strings.Count(text, ":00:00"))
	var next struct{ Times []string }
	require.NoError(t, json.Unmarshal([]byte(ok(t, "schedules", "next", "@daily", "--json")), &next))
	require.Len(t, next.Times, 10)
}

func TestEnqueueReadsStdin(t *testing.T) {
	t.Parallel()
	path := stock(t)
	a := stintWith(t, streams{in: strings.NewReader(`{"to":"hal@example.org"}`)}, "enqueue", "mail", "-", "-f", path, "--queue", "low", "--in", "1h", "--tag", "a", "--tag", "b", "-q")
	require.Equal(t, exitDone, a.code, a.err)
	text := ok(t, "jobs", "show", strings.TrimSpace(a.out), "-f", path)
	for _, part := range []string{"hal@example.org", "low", "scheduled", "a, b"} {
		require.Contains(t, text, part)
	}
	require.Contains(t, ok(t, "actions", path), "enqueue")
	n := `{"n":12345678901234567890.10}`
	id := strings.TrimSpace(ok(t, "enqueue", "unknown", n, "-f", path, "-q"))
	require.Contains(t, ok(t, "jobs", "show", id, "-f", path), n, "numbers keep their digits")
}

// What is deleted is what was told and agreed to, also where the API wants the
// number.
func TestPurge(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	s := openShop(t, path, nil, nil, false)
	jobs := slices.Repeat([]stint.Args{report{}}, 1200)
	_, err := s.q.EnqueueAll(t.Context(), jobs, stint.OnQueue("low"))
	require.NoError(t, err)
	_, err = s.q.EnqueueAll(t.Context(), jobs[:5], stint.OnQueue("low"), stint.In(time.Hour))
	require.NoError(t, err)
	s.stop()
	tw := twinsOf(t, path)
	require.NoError(t, tw.live.q.Pause(t.Context(), "low", "ana"))
	ok(t, "queues", "pause", "low", "-f", path)
	require.Equal(t, "would delete 1,200 ready jobs: queue low\n", tw.both(t, "queues", "purge", "low", "--dry-run").out)
	require.Equal(t, "purge queue low: 1\u202f200 jobs deleted\n", tw.both(t, "queues", "purge", "low", "--yes").out)
	require.Len(t, strings.Fields(tw.both(t, "jobs", "list", "--queue", "low", "-q").out), 5)
}

func TestPauseOfAnUnknownQueue(t *testing.T) {
	t.Parallel()
	tw := newTwins(t)
	for _, verb := range []string{"pause", "resume"} {
		a := tw.both(t, "queues", verb, "mial")
		require.Equal(t, verb+" queue mial\n", a.out)
		require.Empty(t, tw.both(t, "queues", verb, "low").err)
		if verb == "pause" {
			require.Equal(t, "no job has come to a queue mial yet\n", a.err)
		}
	}
}

// What only a program can do is not said to be done where none has the file.
func TestWhatNeedsAProgram(t *testing.T) {
	t.Parallel()
	tw := newTwins(t)
	for _, args := range [][]string{{"queues", "workers", "low", "3"}, {"schedules", "run", "new-year"}} {
		a := stintCLI(t, append(args, "-f", tw.closed)...)
		require.Equal(t, exitUnreachable, a.code, "%q", args)
		require.Empty(t, a.out)
		require.Contains(t, a.err, "no program has "+tw.closed+" open, and ")
		ok(t, append(args, "-f", tw.live.path)...)
	}
}

func TestNextTimesAreOfTheZone(t *testing.T) {
	t.Parallel()
	args := []string{"schedules", "next", "0 9 1 1 *", "--zone", "Asia/Tokyo", "-n", "1"}
	require.Regexp(t, `\n  \d{4}-01-01 09:00:00 \+09:00\n$`, ok(t, args...))
	require.Regexp(t, `\n  \d{4}-01-01 00:00:00Z\n$`, ok(t, append(args, "--utc")...))
}
