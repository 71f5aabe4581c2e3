// Orders is the daemon of a small shop. Every night it sends a mail for each
// order that has been confirmed and not been notified yet, and when the last
// one is through, a digest to the shop. The orders lie in the file of the
// queue, so an order is marked in the same transaction that ends its job.
//
// Without flags it shows one night at full speed, on a temporary file and with
// an SMTP server of its own, and checks that no mail was lost or sent twice:
//
//	go run ./examples/orders
//
// As a daemon, with the orders of a CSV file and somebody's mail server, whose
// credentials may be in SMTP_USER and SMTP_PASSWORD:
//
//	go run ./examples/orders -generate 500 >orders.csv
//	go run ./examples/orders -daemon -import orders.csv -smtp mail.example.com:587 -from shop@example.com
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
	_ "time/tzdata" // so that -zone is known on every machine

	"github.com/stintq/stint"
)

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
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

// errUsage: the command line makes no sense.
var errUsage = errors.New("orders -h lists the flags")

// run is main with its surroundings passed in.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opt := options{user: os.Getenv("SMTP_USER"), password: os.Getenv("SMTP_PASSWORD")}
	flags := flag.NewFlagSet("orders", flag.ContinueOnError)
	flags.SetOutput(stderr)
	serve := flags.Bool("daemon", false, "run until SIGTERM, and send the mails every night")
	flags.StringVar(&opt.file, "db", "orders.db", "the `file` of orders and jobs")
	flags.StringVar(&opt.smtp, "smtp", "localhost:25", "the mail server, `host:port`")
	flags.StringVar(&opt.from, "from", "Shop <shop@shop.example>", "the sender's `address`, which also gets the digest")
	flags.StringVar(&opt.spec, "at", "15 3 * * *", "when the night's mails go out, as in a crontab")
	flags.StringVar(&opt.zone, "zone", "Europe/Berlin", "the time zone of -at")
	flags.StringVar(&opt.http, "http", "", "with -daemon: serve the dashboard at this `address`, such as localhost:8080")
	now := flags.Bool("now", false, "with -daemon: send what is to be sent now, too")
	table := flags.String("import", "", "take the orders of this CSV `file` over")
	generate := flags.Int("generate", 0, "write a CSV file of `n` invented orders to stdout")
	invented := flags.Int("orders", 3000, "orders of the demonstration")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage // Parse has printed the reason
	}

	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; %w", flags.Arg(0), errUsage)
	case *now && !*serve:
		return fmt.Errorf("-now needs -daemon; %w", errUsage)
	case opt.http != "" && !*serve:
		return fmt.Errorf("-http needs -daemon; %w", errUsage)
	case *generate < 0 || *invented < 1:
		return fmt.Errorf("-generate and -orders must be at least 1; %w", errUsage)
	case *generate > 0:
		return writeCSV(stdout, inventOrders(*generate))
	case !*serve && *table == "":
		return demo(ctx, *invented, stdout, stderr)
	}
	s, err := openShop(opt)
	if err != nil {
		return err
	}
	if *table != "" {
		err = importFile(s.orders, *table, stderr)
	}
	if *serve && err == nil {
		err = daemon(ctx, s, *now)
	}
	return errors.Join(err, s.close())
}

// importFile takes a CSV file over. Lines that make no sense are named, and do
// not hold up the others.
func importFile(orders *orders, name string, stderr io.Writer) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	taken, bad, err := orders.takeOver(readCSV(file))
	for _, line := range bad {
		fmt.Fprintf(stderr, "%s:%v\n", name, line)
	}
	fmt.Fprintf(stderr, "%s: %d orders taken over, %d lines passed over\n", name, taken, len(bad))
	return err
}

// daemon works until ctx ends. What is under way then goes on at the next
// start, also after a kill -9.
func daemon(ctx context.Context, s *shop, now bool) error {
	if now {
		_, err := s.queue.RunSchedule(ctx, nightName)
		if err != nil && !errors.Is(err, stint.ErrRunning) { // one that a crash has interrupted goes on
			return err
		}
	}
	end, err := s.watch()
	if err != nil {
		return err
	}
	slog.Info("working", "next night", s.nextNight())
	return errors.Join(s.queue.Run(ctx), end())
}
