package stint_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func init() { childModes["import"] = childImport }

// refuses says that Import leaves nothing behind when it refuses an export.
func refuses(t testing.TB, export string, as error, texts ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "imported.db")
	err := stint.Import(path, strings.NewReader(export), encrypted(nil), nil)
	require.ErrorIs(t, err, as)
	for _, text := range texts {
		require.ErrorContains(t, err, text)
	}
	require.True(t, strings.HasPrefix(err.Error(), "stint: "), err)
	require.Empty(t, filesBeside(t, path))
}

func filesBeside(t testing.TB, path string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	require.NoError(t, err)
	return names
}

// furnishedExport is that of a queue with everything.
func furnishedExport(t *testing.T) (text string) {
	bubble(t, func(t *testing.T) {
		q, _ := furnished(t)
		text = export(t, q)
	})
	return text
}

// edited says in its last line that an export was changed.
func edited(export string) string {
	return export[:strings.LastIndex(export, `{"line":"end"`)] + `{"line":"end"}` + "\n"
}

func TestImportRefusesWhatIsNoWholeExport(t *testing.T) {
	t.Parallel()
	whole := furnishedExport(t)
	t.Run("cut short, wherever", func(t *testing.T) {
		for at := 1; at < len(whole)-1; at += 1 + len(whole)/150 {
			refuses(t, whole[:at], map[bool]error{true: stint.ErrCorrupt, false: stint.ErrNotStint}[at > strings.Index(whole, "\n")])
		}
		lines := strings.SplitAfter(whole, "\n")
		refuses(t, strings.Join(lines[:len(lines)-2], ""), stint.ErrCorrupt, "its last line is missing")
		imports(t, strings.TrimSuffix(whole, "\n"))
	})
	t.Run("changed or continued", func(t *testing.T) {
		refuses(t, strings.Replace(whole, `"somebody"`, `"somebodY"`, 1), stint.ErrCorrupt, "are not those that were exported", `{"line":"end"}`)
		refuses(t, whole+whole, stint.ErrCorrupt, "more follows")
	})
	t.Run("something else", func(t *testing.T) {
		for _, text := range []string{"", "\n", "no JSON", `{"line":"job"}`, `[]`, `null`, "{}\n" + whole, "\x00\x00"} {
			refuses(t, text, map[bool]error{true: stint.ErrCorrupt, false: stint.ErrNotStint}[text == ""])
		}
		refuses(t, strings.Replace(whole, `"version":1`, `"version":2,"more":"fields"`, 1), stint.ErrNewerFormat, "version 2")
	})
	t.Run("that cannot be read", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "imported.db")
		require.ErrorIs(t, stint.Import(path, &brokenReader{text: whole[:len(whole)/2]}, encrypted(nil), nil), errOops)
		require.Panics(t, func() {
			_ = stint.Import(path, &brokenReader{text: whole[:len(whole)/2], panics: true}, encrypted(nil), nil)
		})
		require.Empty(t, filesBeside(t, path))
	})
	t.Run("to a place that is taken", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "imported.db")
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		err := stint.Import(path, strings.NewReader(whole), encrypted(nil), nil)
		require.ErrorIs(t, err, fs.ErrExist)
		require.ErrorContains(t, err, "give another path")
		require.Zero(t, fileSize(t, path))
		require.NoError(t, os.Remove(path))
		err = stint.Import(path, &brokenReader{text: whole, last: func() { _ = os.WriteFile(path, []byte("faster"), 0o600) }}, encrypted(nil), nil)
		require.ErrorIs(t, err, fs.ErrExist)
		require.EqualValues(t, len("faster"), fileSize(t, path))
		require.Equal(t, []string{path}, filesBeside(t, path))
		require.ErrorContains(t, stint.Import(filepath.Join(path, "a.db"), strings.NewReader(whole), encrypted(nil), nil), "not a directory")
	})
}

// brokenReader reads a text and then fails, or calls last.
type brokenReader struct {
	text   string
	panics bool
	last   func()
}

func (r *brokenReader) Read(p []byte) (int, error) {
	switch n := copy(p, r.text); {
	case n > 0:
		r.text = r.text[n:]
		if r.text == "" && r.last != nil {
			r.last()
		}
		return n, nil
	case r.panics:
		panic("of the reader")
	case r.last != nil:
		return 0, io.EOF
	}
	return 0, errOops
}

func TestImportNamesTheLineAndTheField(t *testing.T) {
	t.Parallel()
	whole := edited(furnishedExport(t))
	lines := strings.SplitAfter(whole, "\n")
	for _, c := range []struct{ line, from, to, field string }{
		{"export", `"file":"[0-9a-f]+"`, `"file":"12"`, `"file"`},
		{"export", `"last_id":\d+`, `"last_id":9000000000000000`, `"last_id"`},
		{"export", `"last_id":\d+`, `"last_id":281474976710655`, `"last_id"`}, // behind it there would be none
		{"queue", `"name":"paused"`, `"name":"pau sed"`, `"name"`},
		{"action", `"at":"[^"]*"`, `"at":"1969-12-31T23:59:59Z"`, `"at"`},
		{"action", `"by"`, `"who"`, `"who"`},
		{"queue", `"paused":"[^"]*"`, `"paused":"yesterday"`, `"paused": "yesterday" is no time`},
		{"schedule", `"overlap":"[^"]*"`, `"overlap":"never"`, `"overlap"`},
		{"schedule", `"state":"[^"]*"`, `"state":"tired"`, `"runs.state"`},
		{"batch", `"items":\d+`, `"items":77`, `"ranges"`},
		{"batch", `"done":\d+`, `"done":-1`, `counts`},
		{"batch", `"ranges":\[\[\d+`, `"ranges":[[0`, `"ranges"`},
		{"batch", `"end":\d+,`, ``, `"end"`},
		{"item", `"batch":\d+`, `"batch":4711`, `"batch"`},
		{"lane", `"processed":\d+`, `"processed":-5`, `"processed"`},
		{"lane", `"priority":\d+`, `"priority":9`, `Priority(9)`},
		{"job", `"id":\d+`, `"id":0`, `"id"`},
		{"job", `"id":\d+`, `"id":-1`, `"id": number -1`},
		{"job", `"state":"[^"]*"`, `"state":"asleep"`, `"state"`},
		{"job", `"state":"[^"]*"`, `"state":"none"`, `"state"`},
		{"job", `\}\n$`, `} {"line":"job"}` + "\n", `more follows behind its object: "{\"line\":`},
		{"job", `"kind":"[^"]*"`, `"kind":""`, `"kind"`},
		{"job", `"args":`, `"arks":`, `unknown field "arks"`},
		{"job", `"args":[^}]*},`, ``, `"args" is missing`},
		{"job", `"enqueued":"2000`, `"enqueued":"1900`, `1970`},
		{"job", `"finished":"[^"]*"`, `"finished":"1970-01-01T00:00:00Z"`, `"finished" is missing`},
		{"job", `"duration":"[^"]*"|"tags":\["a tag"`, `"tags":["","a tag"`, `tag ""`},
		{"quarantined", `"record":"`, `"record":"§`, `illegal base64`},
		{"quarantined", `"id":\d+`, `"id":1`, `among the jobs`},
		{"job", `\{"line":"job"`, `{"line":"jobs"`, `"line"`},
		{"job", `\{"line":"job"`, `{"line":"queue"`, `must not come behind`},
	} {
		t.Run(c.line+" "+c.to, func(t *testing.T) {
			pattern := regexp.MustCompile(c.from)
			at := slices.IndexFunc(lines, func(line string) bool {
				return strings.HasPrefix(line, `{"line":"`+c.line+`"`) && pattern.MatchString(line)
			})
			require.GreaterOrEqual(t, at, 0, "no such line")
			changed := slices.Clone(lines)
			changed[at] = strings.Replace(lines[at], pattern.FindString(lines[at]), c.to, 1)
			refuses(t, strings.Join(changed, ""), stint.ErrCorrupt, fmt.Sprintf("the export, line %d: ", at+1), c.field)
		})
	}
	t.Run("twice the same", func(t *testing.T) {
		for at := 1; at < len(lines)-2; at++ {
			if !strings.HasPrefix(lines[at], `{"line":"quarantined"`) && !strings.HasPrefix(lines[at], `{"line":"action"`) && !strings.HasPrefix(lines[at], `{"line":"queue"`) {
				refuses(t, strings.Join(slices.Insert(slices.Clone(lines), at, lines[at]), ""), stint.ErrCorrupt, fmt.Sprintf("line %d: ", at+2))
			}
		}
	})
}

func TestImportOfAnEditedExport(t *testing.T) {
	t.Parallel()
	without := func(t *testing.T, export, pattern string) string {
		t.Helper()
		var kept []string
		for line := range strings.Lines(export) {
			if !regexp.MustCompile(pattern).MatchString(line) {
				kept = append(kept, line)
			}
		}
		require.Less(t, len(kept), strings.Count(export, "\n"), "nothing matches")
		return edited(strings.Join(kept, ""))
	}
	scenario(t, "leaves out what it likes", func(t *testing.T) {
		q, _ := furnished(t)
		text := export(t, q)
		for _, pattern := range []string{
			`^{"line":"job"`, `^{"line":"batch"|^{"line":"item"`, `^{"line":"schedule"`, `^{"line":"lane"`, `^{"line":"item"`, `^{"line":"queue"`,
			`"state":"dead"`, `"state":"ready"`, `"state":"running"`, `"state":"retrying"`, `"kind":"piece"`, `"kind":"plan/nightly"`,
			`^{"line":"(schedule|batch|item|lane|job|quarantined|place|queue)"`,
		} {
			imports(t, without(t, text, pattern)) // and is checked
		}
	})
	scenario(t, "gives no id again that one of its lines knows", func(t *testing.T) {
		q, _ := furnished(t)
		text := regexp.MustCompile(`"last_id":\d+`).ReplaceAllString(export(t, q), `"last_id":0`)
		imported := imports(t, without(t, text, `^{"line":"(job|schedule|lane|quarantined)"`))
		for info, err := range q.Jobs(stint.Filter{}) {
			require.NoError(t, err)
			if info.BatchID != 0 {
				require.Greater(t, enqueue(t, imported, note{1}), info.ID)
				break // the newest
			}
		}
	})
	scenario(t, "ends the batches and runs whose jobs it leaves out", func(t *testing.T) {
		q, _ := furnished(t)
		imported := imports(t, without(t, export(t, q), `^{"line":"job".*"state":"(running|retrying)"`))
		ended := 0
		for batch, err := range imported.Batches(0) {
			require.NoError(t, err)
			require.NotZero(t, batch.FinishedAt, batch.Name)
			ended++
			if batch.Name == "open" {
				require.Equal(t, 1, batch.Removed)
			}
			if batch.Name == "nightly" {
				require.Contains(t, batch.PlanError, "not in the export")
			}
		}
		require.Equal(t, 4, ended)
		e := newEverything(true)
		e.register(t, imported)
		run(t, imported)
		synctest.Wait()
		require.ElementsMatch(t, []string{"open", "nightly"}, e.ended)
	})
	scenario(t, "adds jobs, and writes them as it likes", func(t *testing.T) {
		q := open(t, nil)
		enqueue(t, q, note{1})
		text := export(t, q)
		at := strings.Index(text, `{"line":"end"`)
		imported := imports(t, text[:at]+
			`{ "id": 7, "line": "job", "state": "ready", "queue": "mine", "kind": "note", "priority": 1, "args": { "n" : 2 }, "enqueued": "2024-05-06T07:08:09.123456+02:00" }`+"\n"+`{"line":"end"}`)
		info := get(t, imported, 7)
		require.Equal(t, `{"n":2}`, string(info.Args))
		require.Equal(t, "mine", info.Queue)
		require.True(t, time.Date(2024, 5, 6, 5, 8, 9, 123456000, time.UTC).Equal(info.EnqueuedAt))
		require.EqualValues(t, 8, enqueue(t, imported, note{}))
	})
}

func TestImportKeepsUniquePlaces(t *testing.T) {
	t.Parallel()
	scenario(t, "and periods that outlive their jobs, until they end", func(t *testing.T) {
		q := open(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, nil)
		period := stint.Unique(stint.ForPeriod(time.Hour))
		first := enqueue(t, q, note{1}, period)
		held := enqueue(t, q, other{"held"}, stint.Unique(stint.ByKey("x")))
		stop := run(t, q)
		synctest.Wait()
		require.NoError(t, stop())
		text := export(t, q)
		require.Contains(t, text, `{"line":"place",`)

		imported := imports(t, text)
		stint.Handle(imported, func(context.Context, *stint.Job[note]) error { return nil }, nil)
		id, err := imported.Enqueue(t.Context(), note{1}, period)
		require.ErrorIs(t, err, stint.ErrDuplicate)
		require.Equal(t, first, id)
		id, err = imported.Enqueue(t.Context(), other{"else"}, stint.Unique(stint.ByKey("x")))
		require.ErrorIs(t, err, stint.ErrDuplicate)
		require.Equal(t, held, id)
		run(t, imported)
		time.Sleep(time.Hour)
		enqueue(t, imported, note{1}, period)
	})
}

func TestExportOfAnEncryptedFile(t *testing.T) {
	t.Parallel()
	scenario(t, "is plain, and is encrypted again by Import", func(t *testing.T) {
		keys := [][]byte{bytes.Repeat([]byte{7}, 32)}
		q := open(t, &stint.Config{Workers: 8, KeepCompleted: -1, Keys: keys})
		before := newEverything(false)
		before.furnish(t, q)
		text := export(t, q)
		require.Contains(t, text, `"args":{"n":10}`)
		require.Contains(t, text, "no <luck>")
		require.NoError(t, q.Close())

		path := filepath.Join(t.TempDir(), "imported.db")
		require.NoError(t, stint.Import(path, strings.NewReader(text), &stint.Config{Keys: [][]byte{bytes.Repeat([]byte{9}, 32)}}, nil))
		stored, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotContains(t, string(stored), "no <luck>")
		require.NotContains(t, string(stored), `{"n":10}`)
		_, err = stint.Open(path, &stint.Config{Keys: keys, Logger: quiet, LockTimeout: -1})
		require.ErrorIs(t, err, stint.ErrWrongKey)
		imported := openAt(t, path, &stint.Config{Workers: 8, KeepCompleted: -1, Keys: [][]byte{bytes.Repeat([]byte{9}, 32)}})
		worksOff(t, imported, before)
	})
}

// childImport imports what is on its standard input, and dies behind line N.
func childImport(args childArgs) {
	in, out, err := os.Pipe()
	must(err)
	go func() {
		f, err := os.Open(args.Log)
		must(err)
		lines := bufio.NewScanner(f)
		for n := 1; lines.Scan(); n++ {
			if n == args.N {
				time.Sleep(50 * time.Millisecond) // until it has taken in what it has
				killMyself()
			}
			_, err := out.Write(append(lines.Bytes(), '\n'))
			must(err)
		}
		must(out.Close())
	}()
	must(stint.Import(args.File, in, encrypted(nil), nil))
	say("imported")
}

func TestKillDuringAnImport(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	for range 2 {
		_, err := q.EnqueueAll(t.Context(), notes(1000))
		require.NoError(t, err)
	}
	text := export(t, q)
	from := filepath.Join(t.TempDir(), "export.jsonl")
	require.NoError(t, os.WriteFile(from, []byte(text), 0o600))
	lines := strings.Count(text, "\n")
	children := map[int]*child{}
	path := func(n int) string { return filepath.Join(filepath.Dir(from), fmt.Sprint(n), "imported.db") }
	for _, n := range []int{1, 2, 1500, lines, lines + 1} {
		require.NoError(t, os.Mkdir(filepath.Dir(path(n)), 0o700))
		children[n] = startChild(t, childArgs{Mode: "import", File: path(n), Log: from, N: n})
	}
	for n, c := range children {
		code := c.wait()
		_, err := os.Stat(path(n))
		if n > lines {
			require.Zero(t, code, c.stderr.String())
			require.NoError(t, err)
			check(t, path(n))
			continue
		}
		require.Equal(t, -1, code, c.stderr.String())
		require.ErrorIs(t, err, os.ErrNotExist)
		require.NoError(t, stint.Import(path(n), strings.NewReader(text), encrypted(nil), nil), "what was left is in nobody's way")
	}
}
