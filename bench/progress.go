package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells on stderr what runs and how long it still takes: on a
// terminal in one line that is written over, elsewhere line by line.
type progress struct {
	w        io.Writer
	terminal bool
	shown    bool

	planned, done time.Duration // by the plan
	spent         time.Duration // in truth
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// plan tells about how long everything takes.
func (p *progress) plan(d time.Duration) { p.planned = d }

// begin shows what runs now. What it returns is to be called at its end.
func (p *progress) begin(what string, cost time.Duration) (end func()) {
	text := what
	if left := p.left(); left > 0 {
		text += " · " + about(left) + " left"
	}
	p.say(text)
	start := time.Now()
	return func() {
		p.done += cost
		p.spent += time.Since(start)
	}
}

// left is the rest of the plan, at the speed at which its first part went.
func (p *progress) left() time.Duration {
	rest := max(p.planned-p.done, 0)
	if p.done == 0 {
		return rest
	}
	return time.Duration(float64(rest) * float64(p.spent) / float64(p.done))
}

func about(d time.Duration) string {
	if d < 90*time.Second {
		return fmt.Sprintf("about %d s", int(d.Seconds())+1)
	}
	return fmt.Sprintf("about %d min", int(d.Minutes()+0.5))
}

// say shows a text until the next one.
func (p *progress) say(text string) {
	if !p.terminal {
		fmt.Fprintln(p.w, text)
		return
	}
	p.clear()
	if r := []rune(text); len(r) > 78 {
		text = string(r[:77]) + "…"
	}
	fmt.Fprint(p.w, text)
	p.shown = true
}

// line prints something that stays.
func (p *progress) line(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, "bench: "+format+"\n", args...)
}

// clear takes away what say has shown.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
