package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress shows how far the events have come: on a terminal as one line that
// is written over, elsewhere (a log, a pipe) as a few lines.
type progress struct {
	out      io.Writer
	terminal bool
	total    int
	quarters int // that were shown, of those few lines
}

const barWidth = 40

func newProgress(out io.Writer, total int) *progress {
	p := &progress{out: out, total: total}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) show(accepted, processed int) {
	if p.terminal {
		done, stored := processed*barWidth/p.total, accepted*barWidth/p.total
		bar := strings.Repeat("#", done) + strings.Repeat("+", max(stored-done, 0))
		fmt.Fprintf(p.out, "\r  [%-*s] accepted %s, processed %s ", barWidth, bar, thousands(accepted), thousands(processed))
		return
	}
	if quarters := 4 * processed / p.total; quarters > p.quarters {
		p.quarters = quarters
		fmt.Fprintf(p.out, "  accepted %s, processed %s of %s\n", thousands(accepted), thousands(processed), thousands(p.total))
	}
}

// end leaves the cursor on a line of its own.
func (p *progress) end() {
	if p.terminal {
		fmt.Fprintln(p.out)
	}
}
