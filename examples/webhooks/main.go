// Webhooks receives the event webhook of SendGrid and counts opens and clicks
// per mailing. A large mailing brings thousands of events within seconds; the
// web server only stores them as jobs and answers, and the workers count them
// evenly afterwards. Every event is counted exactly once, also when the
// process is killed or SendGrid sends it twice.
//
// Without flags it demonstrates that on a temporary file:
//
//	go run ./examples/webhooks
//
// As a service, with the verification key from SendGrid's settings page:
//
//	go run ./examples/webhooks -serve :8080 -db events.db -key MFkw…
//
// Only /webhook is protected, by the signature. The page and the counters are
// for everybody who reaches the port: let a proxy pass /webhook alone to the
// internet. The dashboard at /jobs/ is for browsers on this machine only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// defaultWorkers is large because a worker here does nothing but wait for the
// sync to disk that it shares with the others: so many events share one.
const defaultWorkers = 256

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so a second Ctrl-C does not wait for the first
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "webhooks:", err)
		os.Exit(1)
	}
}

// errUsage: the command line makes no sense.
var errUsage = errors.New("webhooks -h lists the flags")

// run is main with its surroundings passed in.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("webhooks", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("serve", "", "serve on this `address`, such as :8080, instead of running the demonstration")
	db := flags.String("db", "events.db", "with -serve: the `file` of jobs and counters")
	keyText := flags.String("key", "", "with -serve: SendGrid's verification `key`, in base64 or the name of a PEM file")
	maxJobs := flags.Int("max-jobs", 0, "with -serve: answer 503 while this many events wait (0: no bound)")
	workers := flags.Int("workers", defaultWorkers, "events counted at the same time")
	events := flags.Int("events", 20_000, "demonstration: events to send")
	mailings := flags.Int("mailings", 8, "demonstration: mailings they belong to")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage // Parse has printed the reason
	}
	if err := checkUsage(flags, *addr != ""); err != nil {
		return err
	}
	if *addr == "" {
		return demo(ctx, demoOptions{events: *events, mailings: *mailings, workers: *workers}, stdout, stderr)
	}

	opt := options{addr: *addr, db: *db, workers: *workers, maxJobs: *maxJobs}
	if *keyText == "" {
		slog.Warn("no -key given: everybody who reaches /webhook can invent events")
	} else {
		key, err := parseKey(*keyText)
		if err != nil {
			return err
		}
		opt.key = key
	}
	return serve(ctx, opt, stdout)
}

// checkUsage refuses what would silently have no effect.
func checkUsage(flags *flag.FlagSet, serving bool) error {
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; %w", flags.Arg(0), errUsage)
	}
	var err error
	flags.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "db", "key", "max-jobs":
			if !serving {
				err = fmt.Errorf("-%s needs -serve; %w", f.Name, errUsage)
			}
		case "events", "mailings":
			if serving {
				err = fmt.Errorf("-%s is for the demonstration, not for -serve; %w", f.Name, errUsage)
			} else if f.Value.(flag.Getter).Get().(int) < 1 {
				err = fmt.Errorf("-%s must be at least 1; %w", f.Name, errUsage)
			}
		case "workers":
			if f.Value.(flag.Getter).Get().(int) < 1 {
				err = fmt.Errorf("-workers must be at least 1; %w", errUsage)
			}
		}
	})
	return err
}

// serve is the service until ctx ends.
func serve(ctx context.Context, opt options, stdout io.Writer) error {
	s, err := start(opt)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "listening on", s.url)
	fmt.Fprintln(stdout, "the jobs are at", s.url+"/jobs/")
	s.wait(ctx)
	slog.Info("stopping: no new requests, running jobs may end")
	return s.stop()
}
