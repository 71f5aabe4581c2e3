package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/stintq/stint"
)

// The exit codes.
const (
	exitDone        = 0
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
	exitInterrupted = 130 // as shells have it: 128 and the number of the signal
)

// failure is an error with its exit code.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func usage(format string, args ...any) error {
	return &failure{exitUsage, fmt.Errorf(format, args...)}
}
func notFound(format string, args ...any) error {
	return &failure{exitNotFound, fmt.Errorf(format, args...)}
}
func unreachable(format string, args ...any) error {
	return &failure{exitUnreachable, fmt.Errorf(format, args...)}
}

// exit tells what went wrong, and is the exit code.
func (a *app) exit(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, syscall.EPIPE):
		return exitDone // who read has seen enough
	case ctx.Err() != nil: // whatever that has made of it
		fmt.Fprintln(a.err, "stint: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(a.err, "stint: "+cleanText(strings.TrimPrefix(err.Error(), "stint: ")))
	return codeOf(err)
}

func codeOf(err error) int {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f.code
	}
	switch {
	case errors.Is(err, stint.ErrLocked):
		return exitUnreachable
	case errors.Is(err, stint.ErrNotFound), errors.Is(err, stint.ErrNoSchedule), errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	}
	return exitError
}
