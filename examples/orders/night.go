package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/stintq/stint"
	bolt "go.etcd.io/bbolt"
)

// The night, as a batch of the queue:
//
//  1. The schedule enqueues the planner. It yields the orders to be notified,
//     and each becomes a job, while the first mails are on their way already.
//  2. Each job sends one mail, and marks its order in the transaction that
//     ends the job. A mail server that is busy is asked again later, one that
//     refuses an address is not.
//  3. The transaction that ends the last of them enqueues the digest.
//
// A crash anywhere loses nothing: what had been planned is there, what had not
// been is found again. Only a mail that the server had accepted while its
// order was not marked yet goes out twice, with the same Message-Id.

const nightName = "order-confirmations"

// Confirmation is the job of one mail. It has the number alone: the order may
// change before its turn comes.
type Confirmation struct {
	Order uint64 `json:"order"`
}

// Kind makes Confirmation the args of a job.
func (Confirmation) Kind() string { return "order_confirmation" }

// Digest is the job that ends a night.
type Digest struct{}

// Kind makes Digest the args of a job.
func (Digest) Kind() string { return "order_digest" }

func (s *shop) declareNight(opt options) error {
	mails := &stint.Policy{Queue: "mail", Timeout: time.Minute, Backoff: opt.backoff}
	stint.Handle(s.queue, s.sendDigest, mails)
	return stint.PeriodicBatch(s.queue, nightName, opt.spec, s.planNight, s.confirm,
		&stint.BatchPolicy{Items: mails, OnDone: Digest{}}, stint.InZone(opt.zone))
}

// planNight yields the orders to be notified. An attempt that was interrupted
// is gone on with, not started over.
func (s *shop) planNight(_ context.Context, job *stint.Planning[Confirmation]) iter.Seq2[Confirmation, error] {
	var after uint64
	if job.After != nil {
		after = job.After.Order
	}
	return func(yield func(Confirmation, error) bool) {
		for number, err := range s.orders.waiting(after) {
			if !yield(Confirmation{number}, err) {
				return
			}
		}
	}
}

// confirm sends the mail for one order.
func (s *shop) confirm(ctx context.Context, job *stint.Job[Confirmation]) error {
	order, err := s.orders.get(job.Args.Order)
	if errors.Is(err, errNoOrder) {
		return stint.Kill(err)
	}
	if err != nil || !order.waits() { // somebody may have cancelled it since
		return err
	}
	mail := confirmationOf(order)
	mail.id = s.mailer.messageID(job.Key())
	if err := s.deliver(ctx, mail); err != nil {
		return err
	}
	at := time.Now()
	return job.Commit(func(tx *bolt.Tx) error {
		return markNotified(tx, order.Number, mail.id, at)
	})
}

// deliver tells the queue what an answer of the mail server means for a job:
// an error tries again after a while, Kill does not. The next night tries
// again even so, as the address may have been corrected by then.
func (s *shop) deliver(ctx context.Context, mail letter) error {
	err := s.mailer.send(ctx, mail)
	if errors.Is(err, errRefused) {
		return stint.Kill(err)
	}
	return err
}

// sendDigest tells the shop how its night was.
func (s *shop) sendDigest(ctx context.Context, job *stint.Job[Digest]) error {
	night, err := job.Batch()
	if err != nil {
		return err
	}
	text, err := s.digestOf(night)
	if err != nil {
		return err
	}
	return s.deliver(ctx, letter{
		id:      s.mailer.messageID(job.Key()),
		to:      *s.mailer.from,
		subject: fmt.Sprintf("%d orders confirmed, %d refused", night.Done, night.Dead),
		body:    text,
	})
}

// maxListed bounds the refused addresses that a digest names.
const maxListed = 10

func (s *shop) digestOf(night stint.BatchInfo) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "The night of %s\n\n", night.StartedAt.In(s.zone).Format("Monday, 2 January 2006"))
	fmt.Fprintf(&text, "%8d orders were to be confirmed\n", night.Planned)
	fmt.Fprintf(&text, "%8d mails have been accepted\n", night.Done)
	fmt.Fprintf(&text, "%8d have been refused for good\n", night.Dead)
	fmt.Fprintf(&text, "%8d attempts failed and were made again\n", night.Failed-night.Dead)
	fmt.Fprintf(&text, "%8s from the first to the last\n", night.FinishedAt.Sub(night.StartedAt).Round(100*time.Millisecond))
	if night.PlanError != "" {
		fmt.Fprintf(&text, "\nNot all orders could be found: %s\n", night.PlanError)
	}
	if night.Dead == 0 {
		return text.String(), nil
	}
	fmt.Fprintf(&text, "\nRefused:\n")
	for job, err := range s.queue.Jobs(stint.Filter{Batch: night.ID, State: stint.Dead, Limit: maxListed, OldestFirst: true}) {
		if err != nil {
			return "", err
		}
		var args Confirmation
		if err := json.Unmarshal(job.Args, &args); err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "  order %d: %s\n", args.Order, job.Reason)
	}
	if more := night.Dead - maxListed; more > 0 {
		fmt.Fprintf(&text, "  and %d more\n", more)
	}
	return text.String(), nil
}

// nextNight is when the schedule fires next.
func (s *shop) nextNight() time.Time {
	schedules, err := s.queue.Schedules()
	if err != nil {
		return time.Time{}
	}
	for _, schedule := range schedules {
		if schedule.Name == nightName {
			return schedule.Next.In(s.zone)
		}
	}
	return time.Time{}
}
