package stint

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
)

const (
	maxStacks     = 64 << 20 // of all goroutines
	maxStackShown = 64 << 10
)

// Stack is what the handler of a running job is doing right now: the stacks of
// its goroutine and of those that this one has started, and they in turn, as
// the runtime prints them, at most 64 KiB. What an earlier job of the same
// worker has started and not ended is among them. All goroutines are stopped
// for a moment, a longer one the more there are. ErrNotRunning if its handler
// is not at work in this process.
func (q *Queue) Stack(id ID) (string, error) {
	e := q.liveJob(uint64(id))
	var goroutine int64
	if e != nil {
		goroutine = e.goroutine.Load()
	}
	if goroutine == 0 {
		return "", fmt.Errorf("%w: no handler is at work on job %d in this process", ErrNotRunning, id)
	}
	stacks, whole := allStacks()
	family := familyOf(goroutine, stacks)
	switch {
	case e.goroutine.Load() != goroutine, family == "" && whole:
		return "", fmt.Errorf("%w: the attempt at job %d has just ended", ErrNotRunning, id)
	case family == "":
		return "", fmt.Errorf("stint: the stacks of all goroutines are more than %d MiB, and that of job %d is not among the first: %w", maxStacks>>20, id, errors.ErrUnsupported)
	}
	return cut(family, maxStackShown), nil
}

// goroutineID is the number of the calling goroutine. The runtime tells it
// nobody but who reads a stack, of which this is the beginning.
func goroutineID() int64 {
	var line [64]byte
	id, _ := goroutineOf(line[:runtime.Stack(line[:], false)])
	return id
}

// goroutineOf reads "goroutine 7 [running]:".
func goroutineOf(stack []byte) (id int64, ok bool) {
	rest, ok := bytes.CutPrefix(stack, []byte("goroutine "))
	if !ok {
		return 0, false
	}
	number, _, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseInt(string(number), 10, 64)
	return id, err == nil && id > 0
}

// allStacks are the stacks of all goroutines, or as many of them as fit.
func allStacks() (stacks []byte, whole bool) {
	for size := 256 << 10; ; size *= 2 {
		stacks = make([]byte, size)
		n := runtime.Stack(stacks, true)
		if n < size || size >= maxStacks {
			return stacks[:n], n < size
		}
	}
}

// workerFrame is in the stacks of workers.
var workerFrame = []byte("\ngithub.com/stintq/stint.(*runner).work(")

// familyOf picks the stack of a worker's goroutine, and those of the ones that
// it and they have started. Workers start each other; those are no family.
func familyOf(root int64, stacks []byte) string {
	var own []byte
	children := map[int64][]goroutine{}
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		stack = bytes.TrimRight(stack, "\n")
		id, ok := goroutineOf(stack)
		switch {
		case !ok:
		case id == root:
			own = stack
		case !bytes.Contains(stack, workerFrame):
			if parent := creatorOf(stack); parent != 0 {
				children[parent] = append(children[parent], goroutine{id, stack})
			}
		}
	}
	if own == nil {
		return ""
	}
	var out strings.Builder
	out.Write(own)
	for next := children[root]; len(next) > 0 && out.Len() < maxStackShown; next = next[1:] {
		out.WriteString("\n\n")
		out.Write(next[0].stack)
		next = append(next, children[next[0].id]...)
	}
	out.WriteByte('\n')
	return out.String()
}

type goroutine struct {
	id    int64
	stack []byte
}

// creatorOf reads "created by main.f in goroutine 7", the line before the
// last, or 0 if there is none.
func creatorOf(stack []byte) int64 {
	_, line, ok := bytes.Cut(stack, []byte("\ncreated by "))
	if !ok {
		return 0
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	_, number, _ := bytes.Cut(line, []byte(" in goroutine "))
	id, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return 0
	}
	return id
}
