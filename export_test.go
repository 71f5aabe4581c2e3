package stint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// export is what Export writes.
func export(t testing.TB, q *stint.Queue) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, q.Export(t.Context(), &out, nil))
	return out.String()
}

// linesOf are the objects of an export.
func linesOf(t testing.TB, export string) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(export) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object), line)
		lines = append(lines, object)
	}
	return lines
}

// furnished is a queue with everything, and what has happened in it.
func furnished(t *testing.T) (q *stint.Queue, e *household) {
	t.Helper()
	q = open(t, &stint.Config{Workers: 8, KeepCompleted: -1})
	e = newEverything(false)
	e.furnish(t, q)
	for _, verb := range []string{"retry", "pause queue"} {
		require.NoError(t, q.LogAction(t.Context(), stint.Action{By: "Eve", Verb: verb, Target: "the house", Note: "a \"note\" <&>"}))
	}
	return q, e
}

// sortItems sorts the lines of items, the order of which follows from the
// secret of an encrypted file.
func sortItems(lines []map[string]any) {
	isItem := func(line map[string]any) bool { return line["line"] == "item" }
	first := slices.IndexFunc(lines, isItem)
	n := slices.IndexFunc(lines[first:], func(line map[string]any) bool { return !isItem(line) })
	slices.SortFunc(lines[first:first+n], func(a, b map[string]any) int { return strings.Compare(a["key"].(string), b["key"].(string)) })
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	scenario(t, "keep everything, and the work goes on where it was", func(t *testing.T) {
		q, before := furnished(t)
		first := export(t, q)
		for _, line := range linesOf(t, first) {
			if line["line"] == "job" {
				require.Equal(t, get(t, q, stint.ID(line["id"].(float64))).State.String(), line["state"])
			}
		}
		require.Len(t, backupsOf(t, q.DB().Path()), 0, "the copy is gone")
		require.NoError(t, q.Close())
		start := time.Now() // the handlers of the old queue had some time to end

		path := filepath.Join(t.TempDir(), "imported.db")
		require.NoError(t, stint.Import(path, strings.NewReader(first), encrypted(nil), nil))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		check(t, path)
		imported := openAt(t, path, &stint.Config{Workers: 8, KeepCompleted: -1})
		require.Equal(t, start, time.Now())

		one, two := linesOf(t, first), linesOf(t, export(t, imported))
		require.Len(t, two, len(one))
		sortItems(one)
		sortItems(two)
		kinds := map[any]int{}
		for i := range one {
			kinds[one[i]["line"]]++
			if i == 0 {
				delete(one[i], "at")
				delete(two[i], "at")
			}
			if one[i]["state"] == "running" {
				require.Equal(t, "ready", two[i]["state"])
				one[i]["state"] = "ready"
			}
			if i < len(one)-1 {
				require.Equal(t, one[i], two[i])
			}
		}
		require.Equal(t, map[any]int{
			"export": 1, "queue": 1, "schedule": 4, "batch": 4, "item": 4, "lane": 8, "job": 33, "quarantined": 1, "action": 2, "end": 1,
		}, kinds)
		result, err := stint.Result[[]int](imported, 5)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 3}, result)
		log := actions(t, imported)
		require.Equal(t, []string{"pause queue", "retry"}, []string{log[0].Verb, log[1].Verb})
		require.NoError(t, imported.LogAction(t.Context(), stint.Action{Verb: "more"}))
		require.Len(t, actions(t, imported), 3)
		worksOff(t, imported, before)
	})
	scenario(t, "keep the identity of the file and the last id", func(t *testing.T) {
		keyOf := func(q *stint.Queue) (key string) {
			stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error { key = job.Key(); return nil }, nil)
			stop := run(t, q)
			synctest.Wait()
			require.NoError(t, stop())
			return key
		}
		q := open(t, nil)
		enqueue(t, q, note{})
		require.NoError(t, q.Delete(t.Context(), enqueue(t, q, note{})))
		text := export(t, q)
		imported := imports(t, text)
		require.EqualValues(t, 3, enqueue(t, imported, other{}), "no id is given twice")
		require.Equal(t, keyOf(q), keyOf(imported))
	})
	scenario(t, "keep args byte for byte", func(t *testing.T) {
		q := open(t, nil)
		for _, raw := range []string{`{}`, `null`, `"<&>\u2028 ` + "\u2028" + `"`, `1.0`, `123456789012345678901234567890`, `{"base64":"eA=="}`, "\"\xff\"", `[[[]]]`, `{"a":1,"a":2}`} {
			enqueue(t, q, rawArgs(raw))
		}
		imported := imports(t, export(t, q))
		for info, err := range q.Jobs(stint.Filter{}) {
			require.NoError(t, err)
			require.Equal(t, string(info.Args), string(get(t, imported, info.ID).Args))
		}
	})
}

// rawArgs are written as they are.
type rawArgs string

func (rawArgs) Kind() string                   { return "raw" }
func (a rawArgs) MarshalJSON() ([]byte, error) { return []byte(a), nil }

// imports opens what Import makes of an export.
func imports(t testing.TB, export string) *stint.Queue {
	t.Helper()
	path := filepath.Join(t.TempDir(), "imported.db")
	require.NoError(t, stint.Import(path, strings.NewReader(export), encrypted(nil), nil))
	return openAt(t, path, nil)
}

func TestExportWhileTheQueueIsInUse(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	for range 3 {
		_, err := q.EnqueueAll(t.Context(), notes(1000))
		require.NoError(t, err)
	}
	out := &heldWriter{begun: make(chan struct{}), goOn: make(chan struct{})}
	result := make(chan error, 1)
	go func() { result <- q.Export(t.Context(), out, nil) }()
	receive(t, out.begun)
	before := fileSize(t, q.DB().Path())
	for range 20 { // pages are used again, as no transaction is open
		id := enqueue(t, q, other{strings.Repeat("x", 100_000)})
		require.NoError(t, q.Delete(t.Context(), id))
	}
	require.LessOrEqual(t, fileSize(t, q.DB().Path()), before+2<<20)
	close(out.goOn)
	require.NoError(t, receive(t, result))
	require.Len(t, linesOf(t, out.String()), 1+1+3000+1, "as it was when Export was called")
}

type heldWriter struct {
	bytes.Buffer
	begun, goOn chan struct{}
}

func (w *heldWriter) Write(p []byte) (int, error) {
	if w.Len() == 0 {
		close(w.begun)
		<-w.goOn
	}
	return w.Buffer.Write(p)
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}

func TestExportThatFails(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	for range 3 {
		_, err := q.EnqueueAll(t.Context(), notes(1000))
		require.NoError(t, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, q.Export(ended, io.Discard, nil), context.Canceled)
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, q.Export(ctx, io.Discard, func(p stint.Progress) {
		if p.Done > 0 {
			cancel()
		}
	}), context.Canceled)
	require.ErrorIs(t, q.Export(t.Context(), brokenWriter{}, nil), errOops)
	require.Panics(t, func() { _ = q.Export(t.Context(), panickingWriter{}, nil) })
	require.Empty(t, backupsOf(t, q.DB().Path()), "no copy is left")
	require.NoError(t, q.Close())
	require.ErrorIs(t, q.Export(t.Context(), io.Discard, nil), stint.ErrClosed)
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errOops }

type panickingWriter struct{}

func (panickingWriter) Write([]byte) (int, error) { panic("of the writer") }

func TestExportSetsUnreadableRecordsAside(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := tryOpen(path, &stint.Config{Logger: quiet})
	require.NoError(t, err)
	defer q.Close()
	good, bad := enqueue(t, q, note{1}), enqueue(t, q, note{2})
	require.NoError(t, stint.FlipByte(q.DB(), bad, 0))
	imported := imports(t, export(t, q))
	get(t, imported, good)
	gone(t, imported, bad)
	for entry, err := range imported.Quarantined() {
		require.NoError(t, err)
		require.Equal(t, bad, entry.ID)
		require.Contains(t, entry.Reason, "checksum")
		require.Contains(t, string(entry.Raw), "note")
	}
}

var exportJobs = flag.Int("export.jobs", 2500, "jobs of the test of Export's memory")

// Both hold some lines in memory, not all: of 12 MB by default.
func TestExportAndImportInConstantMemory(t *testing.T) {
	n := *exportJobs
	q := open(t, nil)
	stored, err := q.EnqueueSeq(t.Context(), func(yield func(stint.Args) bool) {
		for range n {
			if !yield(other{strings.Repeat("x", 5000)}) {
				return
			}
		}
	})
	require.NoError(t, err)
	require.Equal(t, n, stored)
	f, err := os.Create(filepath.Join(t.TempDir(), "export.jsonl"))
	require.NoError(t, err)
	defer f.Close()

	p := watchProgress(t)
	require.NoError(t, q.Export(t.Context(), f, p.call))
	p.complete(n)
	_, err = f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	p = watchProgress(t)
	path := filepath.Join(t.TempDir(), "imported.db")
	require.NoError(t, stint.Import(path, f, encrypted(nil), p.call))
	p.complete(n)
	require.Equal(t, n, openAt(t, path, nil).Counts().Ready)
}

// progress watches what is told, and the heap.
type progress struct {
	t     testing.TB
	last  stint.Progress
	calls int
	heap  uint64 // before
}

func watchProgress(t testing.TB) *progress {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return &progress{t: t, heap: m.HeapAlloc}
}

func (p *progress) call(now stint.Progress) {
	require.GreaterOrEqual(p.t, now.Done, p.last.Done)
	require.GreaterOrEqual(p.t, max(now.Total, now.Done), p.last.Total)
	require.NotEmpty(p.t, now.Text)
	p.last = now
	if p.calls++; p.calls%max(*exportJobs/2500, 1) == 0 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		require.Less(p.t, int64(m.HeapAlloc)-int64(p.heap), int64(8<<20), "after %d of %d", now.Done, now.Total)
	}
}

func (p *progress) complete(n int) {
	p.t.Helper()
	require.Equal(p.t, n, p.last.Done)
	require.Equal(p.t, n, p.last.Total)
	require.GreaterOrEqual(p.t, p.calls, n/1000)
}
