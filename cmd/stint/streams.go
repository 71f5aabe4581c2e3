package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// streams are where a command reads and writes, and what is known about them.
type streams struct {
	in       io.Reader
	out, err io.Writer

	asks     bool // in and err are a terminal: somebody can be asked
	terminal bool // out is a terminal
	live     bool // err is a terminal
	width    int  // of out, 0 if it has none
	color    bool // out may have colors
	outFile  bool // out is a regular file: writing there waits for nobody
}

func osStreams() streams {
	out, err := int(os.Stdout.Fd()), int(os.Stderr.Fd())
	s := streams{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		terminal: term.IsTerminal(out), live: term.IsTerminal(err),
	}
	s.asks = s.live && term.IsTerminal(int(os.Stdin.Fd()))
	if s.terminal {
		s.width, _, _ = term.GetSize(out) // 0 cuts nothing
	}
	s.color = s.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if info, err := os.Stdout.Stat(); err == nil {
		s.outFile = info.Mode().IsRegular()
	}
	return s
}
