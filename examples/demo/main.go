// Demo is a small shop that is always busy: it sends mails, resizes pictures,
// delivers webhooks that fail, writes long reports, and does its nightly work
// every few minutes. It is there to be looked at:
//
//	go run ./examples/demo
//
// prints the address of its dashboard. Everything in it is invented, but each
// job really runs. The file is a temporary one unless -db names another.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/dashboard"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so a second Ctrl-C does not wait for the first
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// errUsage: the command line makes no sense, and the flag package has said so.
var errUsage = errors.New("demo -h lists the flags")

// options are the flags.
type options struct {
	addr, db, prefix string
	rate             float64
}

// run is main with its surroundings passed in.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var opt options
	flags.StringVar(&opt.addr, "addr", "127.0.0.1:7878", "`address` of the dashboard; port 0 takes a free one")
	flags.StringVar(&opt.db, "db", "", "`file` of the jobs (default: a temporary one)")
	flags.StringVar(&opt.prefix, "prefix", "/", "`path` below which the dashboard is, such as /a/b/")
	flags.Float64Var(&opt.rate, "rate", 4, "jobs a second")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if opt.rate <= 0 || opt.rate > 10_000 {
		return fmt.Errorf("-rate must be above 0 and at most 10000, not %v", opt.rate)
	}
	if opt.db == "" {
		dir, err := os.MkdirTemp("", "stint-demo-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		opt.db = filepath.Join(dir, "shop.db")
	}
	return serve(ctx, opt, stdout, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError})))
}

// serve is the shop and its dashboard until ctx ends.
func serve(ctx context.Context, opt options, stdout io.Writer, log *slog.Logger) (err error) {
	q, err := stint.Open(opt.db, &stint.Config{
		Workers:         12,
		Queues:          map[string]stint.QueueConfig{"reports": {Workers: 2}, "mail": {Weight: 3}},
		KeepCompleted:   15 * time.Minute,
		ShutdownTimeout: 5 * time.Second,
		Logger:          log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	if err := open(q); err != nil {
		return err
	}

	listener, err := net.Listen("tcp", opt.addr)
	if err != nil {
		return fmt.Errorf("%w; -addr names another address", err)
	}
	prefix := "/" + strings.Trim(opt.prefix, "/")
	pages := dashboard.Handler(q, &dashboard.Config{Title: "Corner shop", Environment: "demo", Logger: log})
	mux := http.NewServeMux()
	mux.Handle(strings.TrimSuffix(prefix, "/")+"/", http.StripPrefix(strings.TrimSuffix(prefix, "/"), pages))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()
	fmt.Fprintf(stdout, "the dashboard is at http://%s%s/ – Ctrl-C ends it\n", listener.Addr(), strings.TrimSuffix(prefix, "/"))

	working := make(chan error, 1)
	go func() { working <- q.Run(ctx) }()
	trade(ctx, q, opt.rate)
	err = <-working
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = errors.Join(err, server.Shutdown(end))
	if served := <-serving; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
