// Command bench measures Stint beside other job queues and beside the floor,
// what the disk and bbolt alone do with the same bytes.
//
//	cd bench && go run . -quick
//
// README.md says what is measured and how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	quick, json, verdict, huge, update bool

	run, systems *regexp.Regexp
	rounds       int
	svg, dir     string
	baseline     string
	delay        time.Duration // asked for
	delayed      time.Duration // of this process, which runs under strace
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opt, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if opt.delay > 0 && opt.delayed == 0 {
		return underStrace(ctx, opt.delay, args, stdout, stderr)
	}
	dir, err := newDirectory(opt.dir)
	if err != nil {
		return fmt.Errorf("cannot make a directory for the files: %w; give one with -dir", err)
	}
	defer os.RemoveAll(dir)
	if inMemory(dir) {
		fmt.Fprintf(stderr, "bench: %s is in memory, where a sync costs nothing; give a directory on a disk with -dir\n", dir)
	}
	b := newBench(opt, dir, stdout, stderr)
	if opt.baseline != "" {
		return b.compare(ctx)
	}
	defer b.stop()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	err = b.measureAll(ctx)
	if reporting := b.report(); err == nil {
		err = reporting
	}
	return err
}

// newDirectory makes a directory that servers, which may run as another user,
// can reach from wherever they are.
func newDirectory(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "stint-bench-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var opt options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&opt.quick, "quick", false, "a short version of everything, about 3 minutes")
	flags.BoolVar(&opt.json, "json", false, "print a line of JSON for each measurement instead of the tables")
	flags.BoolVar(&opt.verdict, "verdict", false, "also print what is promised, and whether it was kept")
	flags.BoolVar(&opt.huge, "huge", false, "also measure a backlog of 10,000,000 jobs, which needs 5 GB of disk")
	flags.BoolVar(&opt.update, "update", false, "with -baseline: write the file instead of comparing with it")
	only := flags.String("run", "", "measure the workloads whose name matches this `regexp`")
	names := flags.String("systems", "", "measure the systems whose name matches this `regexp`; floors are always measured")
	flags.IntVar(&opt.rounds, "rounds", 0, "how often each is measured; medians are reported (default 3, with -quick 1)")
	flags.StringVar(&opt.svg, "svg", "", "draw a chart into this `file`")
	flags.StringVar(&opt.dir, "dir", "", "the `directory` where files lie while they are measured (default "+os.TempDir()+")")
	flags.StringVar(&opt.baseline, "baseline", "", "run a short set, and fail if it is clearly worse than this `file` says")
	flags.DurationVar(&opt.delay, "delay", 0, "make each fsync take so much longer; needs strace, and leaves out servers")
	if err := flags.Parse(args); err != nil {
		return opt, err
	}
	var err error
	if opt.run, err = regexp.Compile(*only); err != nil {
		return opt, fmt.Errorf("-run: %w; give names of workloads such as 'drain|flow'", err)
	}
	if opt.systems, err = regexp.Compile("(?i)" + *names); err != nil {
		return opt, fmt.Errorf("-systems: %w; give names of systems such as 'stint|redis'", err)
	}
	opt.delayed, _ = time.ParseDuration(os.Getenv(delayedBy))
	return opt, opt.check(flags)
}

// check completes the options and says what does not go together.
func (opt *options) check(flags *flag.FlagSet) error {
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is no flag; -help lists them", flags.Arg(0))
	case opt.rounds < 0:
		return fmt.Errorf("-rounds is %d; give 1 or more", opt.rounds)
	case opt.delay < 0 || opt.delay >= time.Minute:
		return fmt.Errorf("-delay is %v; give a time such as 5ms", opt.delay)
	case opt.update && opt.baseline == "":
		return errors.New("-update writes a baseline; name its file with -baseline")
	case opt.baseline != "" && opt.delay != 0:
		return errors.New("-baseline compares what was measured without a delay; leave -delay out")
	}
	if opt.rounds == 0 {
		opt.rounds = 3
		if opt.quick {
			opt.rounds = 1
		}
	}
	return nil
}
