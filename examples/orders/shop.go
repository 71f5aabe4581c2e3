package main

import (
	"errors"
	"log/slog"
	"time"

	"github.com/stintq/stint"
)

// options say what a shop is opened with.
type options struct {
	file           string
	smtp           string
	from           string
	user, password string // of the mail server, empty for none
	spec, zone     string // of the night
	http           string // where the dashboard is served, empty for nowhere

	backoff stint.Backoff // between attempts to send a mail; nil: that of the queue
	logger  *slog.Logger  // nil: the default one
}

// senders is how many mails are on their way at the same time. Mail servers
// do not like to be overrun.
const senders = 16

// shop is the whole application: the file with its orders and jobs, and what
// is to be done every night.
type shop struct {
	queue  *stint.Queue
	orders *orders
	mailer *mailer
	zone   *time.Location
	http   string // where the dashboard is served, empty for nowhere
}

// openShop opens the file and declares the night. Nothing runs before
// queue.Run.
func openShop(opt options) (*shop, error) {
	mailer, err := newMailer(opt)
	if err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(opt.zone)
	if err != nil {
		return nil, err
	}
	queue, err := stint.Open(opt.file, &stint.Config{Workers: senders, Logger: opt.logger})
	if err != nil {
		return nil, err
	}
	s := &shop{queue: queue, orders: &orders{queue}, mailer: mailer, zone: zone, http: opt.http}
	if err := errors.Join(s.orders.createBuckets(), s.declareNight(opt)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *shop) close() error { return s.queue.Close() }
