package stint_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stintq/stint"
)

// What a process has said of its file, and what the file may therefore have at
// any moment.
//
// A subject goes through stages. What is acknowledged lies behind it for good,
// what may be lies before it; the file has one of the stages from the one to
// the other.
//
//	job 7        ""; waiting n: unfinished, and n attempts have ended;
//	             running n/c: and at work, after c crashes; kept, dead; gone; counted: gone
//	             together with its effect
//	step 7 one   done, as long as there is the job
//	progress 7   how many items of it have had their effect
//	record 3     saved
//	batch 5      sealed: all its items are there
//	paused slow  true or false
//	file         open: it is there

// history is what was said of one subject.
type history struct {
	kind    string // the subject's first word
	id      stint.ID
	stages  []string
	unasked int // the stage that it may reach before anybody can say so
	marks   []mark
}

// mark says that from a line on a stage may be reached, or is.
type mark struct {
	line  int
	stage int
	is    bool
}

// testimony is all that was said.
type testimony map[string]*history

func newTestimony(lines []string) (testimony, error) {
	said := testimony{}
	for i, line := range lines {
		verb, rest, _ := strings.Cut(line, " ")
		subject, stage, ok := strings.Cut(rest, " = ")
		if !ok {
			return nil, fmt.Errorf("the child said %q", line)
		}
		h := said[subject]
		if h == nil {
			h = &history{stages: []string{""}}
			h.kind, rest, _ = strings.Cut(subject, " ")
			_, _ = fmt.Sscan(rest, &h.id)
			if stage := unasked(h.kind); stage != "" {
				h.stages, h.unasked = append(h.stages, stage), 1
			}
			said[subject] = h
		}
		at := -1
		for i, s := range h.stages {
			if s == stage && verb == "is" {
				at = i
			}
		}
		if at < 0 {
			at = len(h.stages)
			h.stages = append(h.stages, stage)
		}
		h.marks = append(h.marks, mark{i, at, verb != "may"})
	}
	return said, nil
}

// unasked is where a call leads to that names its subject only in its answer.
func unasked(kind string) string {
	switch kind {
	case "job":
		return "waiting 0"
	case "record":
		return "saved"
	case "batch":
		return "sealed"
	case "step":
		return "done"
	case "file":
		return "open"
	}
	return ""
}

// allowed are the stages in which a subject may be when so many lines have been
// said.
func (h *history) allowed(lines int) []string {
	low, high := 0, h.unasked
	for _, m := range h.marks {
		if m.line >= lines {
			break
		}
		high = max(high, m.stage)
		if m.is {
			low = max(low, m.stage)
		}
	}
	return h.stages[low : high+1]
}

// doubt is nil if one of the labels that a state has for a subject is allowed.
func (said testimony) doubt(subject string, lines int, labels ...string) error {
	h := said[subject]
	if h == nil {
		return fmt.Errorf("%s is %q, and nobody has ever spoken of it", subject, labels)
	}
	allowed := h.allowed(lines)
	for _, label := range labels {
		if slices.Contains(allowed, label) {
			return nil
		}
	}
	return fmt.Errorf("%s is %q, and can only be %q", subject, labels, allowed)
}
