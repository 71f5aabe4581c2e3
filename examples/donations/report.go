package main

import (
	"encoding/json"
	"fmt"
	"io"

	bolt "go.etcd.io/bbolt"
)

// report prints what has come of it, and fails if anything was lost or counted
// twice.
func (c campaign) report(s *site, out io.Writer) error {
	if dead := s.queue.Counts().Dead; dead > 0 {
		return fmt.Errorf("%d jobs are dead", dead)
	}
	return s.queue.View(func(tx *bolt.Tx) error {
		var sum Totals
		fmt.Fprintf(out, "%-16s%10s%14s%10s\n", "", "donations", "amount", "recounts")
		for f := range c.fundraisers {
			t, err := totals(tx, fundraiser(f))
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%-16s%10d%14s%10d\n", fundraiser(f), t.Donations, dollars(t.Cents), t.Recounts)
			sum.Donations += t.Donations
			sum.Cents += t.Cents
			sum.Recounts += t.Recounts
			sum.Requests += t.Requests
		}
		fmt.Fprintf(out, "%-16s%10d%14s%10d\n\n", "total", sum.Donations, dollars(sum.Cents), sum.Recounts)
		marked, err := c.audit(tx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "emails     %d are marked as donated, which is right\n", marked)
		fmt.Fprintf(out, "recounts   %d for %d requests: %d runs were saved\n", sum.Recounts, sum.Requests, sum.Requests-sum.Recounts)
		fmt.Fprintf(out, "OK: the totals equal a full recount, and each of the %d donations was counted once.\n", sum.Donations)
		return nil
	})
}

// audit compares the books with the donations, from the first to the last, and
// returns how many emails are marked.
func (c campaign) audit(tx *bolt.Tx) (marked int, err error) {
	for n := range c.donations {
		d := c.donation(n)
		if stored, err := donation(tx, d.Fundraiser, d.Reference); err != nil || stored != d {
			return 0, fmt.Errorf("%s was accepted as %+v and is stored as %+v (%v)", d.Reference, d, stored, err)
		}
	}
	for f := range c.fundraisers {
		t, err := totals(tx, fundraiser(f))
		if err != nil {
			return 0, err
		}
		counted, err := countDonations(tx, fundraiser(f))
		switch {
		case err != nil:
			return 0, err
		case counted.Donations != t.Donations || counted.Cents != t.Cents:
			return 0, fmt.Errorf("%s has %d donations of %s, its totals say %d of %s", fundraiser(f), counted.Donations, dollars(counted.Cents), t.Donations, dollars(t.Cents))
		case t.Requests != t.Donations:
			return 0, fmt.Errorf("%s has %d donations, its recounts were asked for %d times", fundraiser(f), t.Donations, t.Requests)
		}
	}
	return auditEmails(tx)
}

// auditEmails wants marked what led to a donation, and nothing else.
func auditEmails(tx *bolt.Tx) (marked int, err error) {
	led := map[string]bool{}
	err = tx.Bucket(donationsBucket).ForEach(func(_, data []byte) error {
		var d Donation
		if err := json.Unmarshal(data, &d); err != nil {
			return err
		}
		if id, _, err := emailOf(tx, d); err == nil {
			led[string(id)] = true
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	err = tx.Bucket(emailsBucket).ForEach(func(id, data []byte) error {
		var e Email
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		if e.Donated != led[string(id)] {
			return fmt.Errorf("email %s is marked %t, and led to a donation: %t", id, e.Donated, led[string(id)])
		}
		if e.Donated {
			marked++
		}
		return nil
	})
	return marked, err
}

func dollars(cents int64) string { return fmt.Sprintf("$%d.%02d", cents/100, cents%100) }
