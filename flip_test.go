package stint_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Damage to a real file: flipped bits, pages that are lost, and files that end
// too early. Whatever it is, Open must end
//
//   - in an error, with the file byte for byte as it was, or
//   - in a queue that reports the damage: Check names it, or the log does, or
//   - in a queue with everything in it, where the damage met nothing.
//
// Children do it, for damage can end a process; the parent then knows by
// what, and goes on behind it.

var (
	flips    = flag.String("flips", "1500", "how many bits TestFlippedBits flips, or all: those of the first 64 KiB, and 2000 others")
	flipFile = flag.String("flips.file", "", "the file that a failed TestFlippedBits has left, to be used again")
)

// wound is one damage. What At and N are depends on What.
type wound struct {
	What  string // of wounds
	At, N int
}

func (w wound) String() string { return fmt.Sprintf("%s %d %d", w.What, w.At, w.N) }

// wounds change content, which is the child's own, and return it.
var wounds = map[string]func(content []byte, w wound) []byte{
	"nothing": func(content []byte, _ wound) []byte { return content },
	"bit": func(content []byte, w wound) []byte {
		content[w.At/8] ^= 1 << (w.At % 8)
		return content
	},
	"cut":  func(content []byte, w wound) []byte { return content[:w.At] },
	"zero": func(content []byte, w wound) []byte { clear(content[w.At:][:w.N]); return content },
	"noise": func(content []byte, w wound) []byte {
		rnd := rand.NewChaCha8([32]byte{byte(w.At), byte(w.At >> 8), byte(w.At >> 16)})
		_, _ = rnd.Read(content[w.At:][:w.N])
		return content
	},
	"swap": func(content []byte, w wound) []byte { // pages
		a, b := content[w.At*pageSize:][:pageSize], content[w.N*pageSize:][:pageSize]
		for i := range a {
			a[i], b[i] = b[i], a[i]
		}
		return content
	},
	"copy": func(content []byte, w wound) []byte { // of page N in the place of page At
		copy(content[w.At*pageSize:][:pageSize], content[w.N*pageSize:][:pageSize])
		return content
	},
}

var pageSize = os.Getpagesize() // that of bbolt's files

// ward lets children treat wounds of one file.
type ward struct {
	t        *testing.T
	original string
	mu       sync.Mutex
	counts   map[string]int
	bad      []string
}

// treatAll shares the wounds out to a child for each processor.
func treatAll(t *testing.T, original []byte, list []wound) {
	t.Helper()
	w := &ward{t: t, original: filepath.Join(inMemory(t), "original.db"), counts: map[string]int{}}
	require.NoError(t, os.WriteFile(w.original, original, 0o600))
	start := time.Now()
	var all sync.WaitGroup
	children := max(1, min(runtime.NumCPU(), len(list)/100))
	for i := range children {
		var share []wound
		for at := i; at < len(list); at += children {
			share = append(share, list[at])
		}
		all.Go(func() { w.work(share) })
	}
	all.Wait()
	var lines []string
	for what, n := range w.counts {
		lines = append(lines, fmt.Sprintf("%s: %d", what, n))
	}
	slices.Sort(lines)
	t.Logf("%d wounds of a file of %d bytes, %.0f a second: %s", len(list), len(original), float64(len(list))/time.Since(start).Seconds(), strings.Join(lines, ", "))
	if len(w.bad) > 0 {
		kept := filepath.Join(os.TempDir(), fmt.Sprintf("stint-flips-%d.db", os.Getpid()))
		require.NoError(t, os.WriteFile(kept, original, 0o600))
		slices.Sort(w.bad)
		t.Errorf("%d wounds end badly; the file is kept, repeat with -flips.file=%s:\n%.6000s", len(w.bad), kept, strings.Join(w.bad, "\n"))
	}
}

// work lets one child after the other treat wounds, until all are treated.
func (w *ward) work(list []wound) {
	dir := inMemory(w.t)
	plan := woundPlan{Original: w.original, Scratch: filepath.Join(dir, "queue.db"), Progress: filepath.Join(dir, "progress"), MendEach: 1, Wounds: list}
	if len(list) > 10_000 {
		plan.MendEach = 10 // it takes most of the time
	}
	raw, err := json.Marshal(plan)
	must(err)
	planFile := filepath.Join(dir, "plan")
	must(os.WriteFile(planFile, raw, 0o600))
	for from := 0; from < len(list); {
		must(os.WriteFile(plan.Progress, make([]byte, 8), 0o600))
		c := startChild(w.t, childArgs{Mode: "wound", File: planFile, N: from})
		hung := w.watch(c, plan.Progress)
		w.note(c)
		if !hung && c.wait() == 0 {
			return
		}
		raw, err := os.ReadFile(plan.Progress)
		must(err)
		at := int(binary.BigEndian.Uint64(raw))
		what := fmt.Sprintf("the process died: %.600s", c.stderr.String())
		if hung {
			what = "it hangs"
		}
		w.mu.Lock()
		w.bad = append(w.bad, fmt.Sprintf("%v: %s", list[at], what))
		w.mu.Unlock()
		if len(w.bad) > 20 {
			return
		}
		from = at + 1
	}
}

// watch waits for the end of a child, and kills one that is stuck.
func (w *ward) watch(c *child, progress string) (hung bool) {
	var last []byte
	for !c.endsWithin(30 * time.Second) {
		now, err := os.ReadFile(progress)
		must(err)
		if bytes.Equal(now, last) {
			c.kill()
			return true
		}
		last = now
	}
	return false
}

func (w *ward) note(c *child) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad = append(w.bad, c.said("bad")...)
	for _, line := range c.said("count") {
		var n int
		_, err := fmt.Sscan(line, &n)
		must(err)
		_, what, _ := strings.Cut(line, " ")
		w.counts[what] += n
	}
}

// TestFlippedBits flips bits one at a time: some of every page, or as many as
// -flips says.
func TestFlippedBits(t *testing.T) {
	if *flipFile != "" {
		content, err := os.ReadFile(*flipFile)
		require.NoError(t, err)
		treatAll(t, content, flipPlan(t, content))
		return
	}
	w := makeWoundable(t)
	for _, f := range []struct {
		name    string
		content []byte
	}{{"a file that Close has left", w.closed}, {"a file that a killed process has left", w.killed}} {
		t.Run(f.name, func(t *testing.T) { treatAll(t, f.content, flipPlan(t, f.content)) })
	}
}

func flipPlan(t *testing.T, content []byte) (list []wound) {
	rnd := seeded(t)
	bits, dense := 8*len(content), 8*64<<10
	if *flips == "all" {
		for bit := range dense {
			list = append(list, wound{"bit", bit, 0})
		}
		for range 2000 {
			list = append(list, wound{"bit", dense + rnd.IntN(bits-dense), 0})
		}
		return list
	}
	var n int
	_, err := fmt.Sscan(*flips, &n)
	require.NoError(t, err)
	pages := len(content) / pageSize
	for i := range n / 4 { // of each file; as many in the head of a page as elsewhere
		at := (i % pages) * pageSize * 8
		list = append(list, wound{"bit", at + rnd.IntN(1024), 0}, wound{"bit", at + rnd.IntN(8*pageSize), 0})
	}
	return list
}

func TestLostPages(t *testing.T) {
	w := makeWoundable(t)
	rnd := seeded(t)
	for _, content := range [][]byte{w.closed, w.killed} {
		var list []wound
		pages := len(content) / pageSize
		for page := range pages {
			at := page * pageSize
			list = append(list, wound{"zero", at, pageSize}, wound{"noise", at, pageSize}, wound{"zero", at + 512*rnd.IntN(8), 512}, wound{"noise", at + 512*rnd.IntN(8), 512})
			list = append(list, wound{"swap", page, rnd.IntN(pages)}, wound{"copy", page, rnd.IntN(pages)})
		}
		treatAll(t, content, list)
	}
}

func TestCutFiles(t *testing.T) {
	content := makeWoundable(t).closed
	var list []wound
	for at := 0; at < len(content); at += 512 {
		list = append(list, wound{"cut", max(at, 1), 0}, wound{"cut", at + 1 + at%511, 0}) // an empty file is a new one
	}
	treatAll(t, content, list)
}

// TestFlippedBitsOfMetaPages flips all bits of the two pages by which bbolt
// finds all others. It can then only go back to the commit before.
func TestFlippedBitsOfMetaPages(t *testing.T) {
	w := makeWoundable(t)
	for _, content := range [][]byte{w.closed, w.killed} {
		var list []wound
		for bit := range 8 * 80 {
			list = append(list, wound{"bit", bit, 0}, wound{"bit", 8*pageSize + bit, 0})
		}
		treatAll(t, content, list)
	}
}
