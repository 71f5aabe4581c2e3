package main

import (
	"context"
	"time"

	"github.com/stintq/stint"
	bolt "go.etcd.io/bbolt"
)

// FollowUp is what a donation entails that its donor need not wait for.
type FollowUp struct {
	Fundraiser string `json:"fundraiser"`
	Reference  string `json:"reference"`
}

// Kind makes FollowUp the args of a job.
func (FollowUp) Kind() string { return "follow_up" }

// Recount asks for new totals of a fundraiser, for so many new donations.
type Recount struct {
	Fundraiser string `json:"fundraiser"`
	Donations  int    `json:"donations"`
}

// Kind makes Recount the args of a job.
func (Recount) Kind() string { return "recount" }

// recountAfter is how far the totals may be behind. Requests that come
// meanwhile fold into the first, which keeps its time.
const recountAfter = 100 * time.Millisecond

// requestRecount is part of the caller's transaction.
func (s *site) requestRecount(tx *bolt.Tx, fundraiser string) error {
	_, err := s.queue.EnqueueTx(tx, Recount{Fundraiser: fundraiser, Donations: 1},
		stint.In(recountAfter),
		stint.Unique(stint.ByKey(fundraiser), stint.Merge(func(waiting, added Recount) Recount {
			waiting.Donations += added.Donations
			return waiting
		})))
	return err
}

// followUp is a handler: the mark on the email, the request for a recount and
// the end of the job are one transaction.
func (s *site) followUp(_ context.Context, job *stint.Job[FollowUp]) error {
	return job.Commit(func(tx *bolt.Tx) error {
		d, err := donation(tx, job.Args.Fundraiser, job.Args.Reference)
		if err != nil {
			return err
		}
		if err := markEmail(tx, d); err != nil {
			return err
		}
		return s.requestRecount(tx, d.Fundraiser)
	})
}

// recount is the other handler. It reads without holding anybody up and only
// writes in the transaction. A donation that comes in between has a follow-up,
// whose request finds this job running and so becomes one more.
func (s *site) recount(_ context.Context, job *stint.Job[Recount]) error {
	var counted Totals
	err := s.queue.View(func(tx *bolt.Tx) (err error) {
		counted, err = countDonations(tx, job.Args.Fundraiser)
		return err
	})
	if err != nil {
		return err
	}
	return job.Commit(func(tx *bolt.Tx) error {
		before, err := totals(tx, job.Args.Fundraiser)
		if err != nil {
			return err
		}
		counted.Recounts = before.Recounts + 1
		counted.Requests = before.Requests + job.Args.Donations
		return putTotals(tx, job.Args.Fundraiser, counted)
	})
}
