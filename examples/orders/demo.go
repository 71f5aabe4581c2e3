package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/stintq/stint"
)

const (
	demoBusyEach = 40 // recipients, of which one is told to come again later
	demoBackoff  = 200 * time.Millisecond
)

// demo is one night at full speed, with n orders.
func demo(ctx context.Context, n int, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "orders")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	office, err := openPostOffice(demoBusyEach)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, office.close()) }()
	s, err := openShop(options{
		file: filepath.Join(dir, "orders.db"), smtp: office.address, from: "Shop <shop@shop.example>",
		spec: "15 3 * * *", zone: "Europe/Berlin",
		backoff: stint.Constant(demoBackoff), logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	waiting, err := s.stock(n, stdout)
	if err != nil {
		return err
	}
	if err := s.runNight(ctx, waiting, stderr); err != nil {
		return err
	}
	digests := office.lettersTo(s.mailer.from.Address)
	if len(digests) != 1 {
		return fmt.Errorf("%d digests instead of one", len(digests))
	}
	fmt.Fprintf(stdout, "\nTo: %s\nSubject: %s\n\n%s\n", digests[0].to, digests[0].subject, digests[0].body)
	mails, err := s.audit(office)
	if err != nil {
		return err
	}
	if mails.repeated > 0 {
		return fmt.Errorf("%d mails were accepted more than once", mails.repeated)
	}
	fmt.Fprintf(stdout, "OK: exactly one mail was accepted for each of %d orders, none for the %d others.\n", mails.sent, n-mails.sent)
	return nil
}

// stock invents orders and takes them over from a CSV file.
func (s *shop) stock(n int, stdout io.Writer) (waiting int, err error) {
	var table bytes.Buffer
	if err := writeCSV(&table, inventOrders(n)); err != nil {
		return 0, err
	}
	taken, bad, err := s.orders.takeOver(readCSV(&table))
	if err = errors.Join(err, errors.Join(bad...)); err != nil {
		return 0, err
	}
	for _, err := range s.orders.waiting(0) {
		if err != nil {
			return 0, err
		}
		waiting++
	}
	fmt.Fprintf(stdout, "%d orders, %d of them to be confirmed by mail to %s\n", taken, waiting, s.mailer.server)
	fmt.Fprintf(stdout, "the next night is %s; this one is now\n", s.nextNight().Format("Mon 2 Jan 2006, 15:04 MST"))
	return waiting, nil
}

// runNight lets the night begin at once, and returns when its digest is sent.
func (s *shop) runNight(ctx context.Context, waiting int, stderr io.Writer) (err error) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.queue.Run(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	id, err := s.queue.RunSchedule(ctx, nightName)
	if err != nil {
		return err
	}
	bar := progressbar.NewOptions(waiting,
		progressbar.OptionSetWriter(stderr),
		progressbar.OptionSetDescription("mails"),
		progressbar.OptionSetWidth(40),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(50*time.Millisecond),
		progressbar.OptionOnCompletion(func() { fmt.Fprintln(stderr) }))
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		night, err := s.queue.Batch(id)
		if err != nil {
			return err
		}
		_ = bar.Set(night.Done + night.Dead) // a terminal that is gone must not end the night
		if over, err := s.isOver(night); over || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-ended:
			ended <- nil
			return errors.Join(err, context.Cause(ctx))
		case <-look.C:
		}
	}
}

// isOver says whether all mails of a night, and its digest, are through.
func (s *shop) isOver(night stint.BatchInfo) (bool, error) {
	if night.FinishedAt.IsZero() {
		return false, nil
	}
	digest, err := s.queue.Get(night.OnDone)
	switch {
	case errors.Is(err, stint.ErrNotFound):
		return true, nil // it is completed, and not kept
	case err == nil && digest.State == stint.Dead:
		return true, fmt.Errorf("the digest was not sent: %s", digest.Reason)
	}
	return false, err
}

// audited counts the mails of an audit.
type audited struct {
	sent     int // orders that were notified
	repeated int // mails that were accepted again, with the same Message-Id
}

// audit compares what the shop believes about its orders with what the post
// office has accepted.
func (s *shop) audit(office *postOffice) (mails audited, err error) {
	letters := office.letters()
	for order, err := range s.orders.all() {
		if err != nil {
			return mails, err
		}
		wanted := order.Status == "confirmed" && !strings.HasSuffix(order.Email, "@"+movedAway)
		switch {
		case !wanted && !order.NotifiedAt.IsZero():
			return mails, fmt.Errorf("order %d of %s is marked, but no mail can have been accepted", order.Number, order.Email)
		case !wanted:
			continue
		case order.NotifiedAt.IsZero():
			return mails, fmt.Errorf("order %d is not marked", order.Number)
		}
		same := letters[order.MessageID]
		if len(same) == 0 || same[0].to != order.Email {
			return mails, fmt.Errorf("order %d is marked, but its mail %s was not accepted", order.Number, order.MessageID)
		}
		mails.sent++
		mails.repeated += len(same) - 1
		delete(letters, order.MessageID)
	}
	for id, same := range letters {
		if same[0].to != s.mailer.from.Address {
			return mails, fmt.Errorf("mail %s to %s belongs to no order", id, same[0].to)
		}
	}
	return mails, nil
}
