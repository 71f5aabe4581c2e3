package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/stintq/stint/internal/wire"
)

// progress shows on stderr how far something long has got: as a bar on a
// terminal, or as a line every few seconds, for logs. What is over soon shows
// nothing.
type progress struct {
	w     io.Writer
	what  string
	bytes bool // the numbers are bytes
	form  string
	bar   *progressbar.ProgressBar
	told  time.Time // for the last time, or when it began
}

const (
	plainEvery = 5 * time.Second
	barAfter   = 500 * time.Millisecond
	barEvery   = 100 * time.Millisecond
)

func (a *app) startProgress(what string, bytes bool) *progress {
	form := a.progress
	if form == "auto" && a.live {
		form = "bar"
	}
	return &progress{w: a.err, what: cleanLine(what), bytes: bytes, form: form, told: time.Now()}
}

// show tells where it is; a total of 0 is one that nobody knows.
func (p *progress) show(now wire.Progress) {
	switch {
	case p.form == "bar":
		p.showBar(now)
	case p.form == "plain" && time.Since(p.told) >= plainEvery:
		p.told = time.Now()
		p.line(now)
	}
}

func (p *progress) showBar(now wire.Progress) {
	if p.bar == nil && time.Since(p.told) < barAfter {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(-1,
			progressbar.OptionSetWriter(p.w), progressbar.OptionShowBytes(p.bytes), progressbar.OptionShowCount(),
			progressbar.OptionThrottle(barEvery), progressbar.OptionFullWidth(),
			progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine of its own draws on when it has ended
		)
	}
	if now.Total > 0 && p.bar.GetMax() != now.Total {
		p.bar.ChangeMax(now.Total)
	}
	text := p.what
	if now.Text != "" {
		text += ": " + cleanLine(now.Text)
	}
	p.bar.Describe(text)
	if now.Total == 0 || now.Done < now.Total { // the bar ends when it is full: end does that
		_ = p.bar.Set(now.Done) // an error says that the terminal has gone
	}
}

func (p *progress) line(now wire.Progress) {
	done, total := number(now.Done), number(now.Total)
	if p.bytes {
		done, total = size(int64(now.Done)), size(int64(now.Total))
	}
	text := p.what + ": " + done
	if now.Total > 0 {
		text += fmt.Sprintf(" of %s (%d %%)", total, int64(now.Done)*100/int64(now.Total))
	}
	if now.Text != "" {
		text += ", " + cleanLine(now.Text)
	}
	fmt.Fprintln(p.w, text)
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
	}
}

// counting is a writer that shows how much went through it.
type counting struct {
	w     io.Writer
	p     *progress
	done  int64
	total int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.done += int64(n)
	c.p.show(wire.Progress{Done: asInt(c.done), Total: asInt(c.total)})
	return n, err
}

// asInt is a number of bytes as progress has it, which 32 bits bound.
func asInt(n int64) int { return int(min(n, math.MaxInt)) }
