// Donations is a small fundraising site. A donor must not wait for the
// bookkeeping, and the bookkeeping must not miss a donor:
//
//  1. The form stores the donation and its follow-up job in one transaction:
//     both are on disk when the donor gets the answer, or neither.
//  2. The follow-up marks the email that brought the donor as donated, and
//     asks for a recount of the fundraiser's totals, again in one transaction.
//  3. Recounts are expensive, so requests for one fundraiser merge into the
//     recount that waits. It knows how many donations it stands for.
//
// Without flags it demonstrates that on a temporary file:
//
//	go run ./examples/donations
//
// With -db the file stays. Kill the program in the middle and start it again
// with the same flags: it goes on, and in the end every donation is counted
// once.
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
	"syscall"
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
		fmt.Fprintln(os.Stderr, "donations:", err)
		os.Exit(1)
	}
}

// errUsage: the command line makes no sense.
var errUsage = errors.New("donations -h lists the flags")

// run is main with its surroundings passed in.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("donations", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var c campaign
	flags.IntVar(&c.donations, "donations", 3000, "donations that come in")
	flags.IntVar(&c.fundraisers, "fundraisers", 5, "fundraisers they are for")
	flags.IntVar(&c.donors, "donors", 16, "donors who press the button at the same time")
	db := flags.String("db", "", "`file` of donations and jobs (none: a temporary one)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage // Parse has printed the reason
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; %w", flags.Arg(0), errUsage)
	}
	if c.donations < 1 || c.fundraisers < 1 || c.donors < 1 {
		return fmt.Errorf("-donations, -fundraisers and -donors must be at least 1; %w", errUsage)
	}
	if *db == "" {
		dir, err := os.MkdirTemp("", "donations")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		*db = filepath.Join(dir, "donations.db")
	}
	s, err := openSite(*db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return c.run(ctx, s, stdout)
}
