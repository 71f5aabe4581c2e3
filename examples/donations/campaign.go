package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// campaign sends emails and plays the donors who follow them.
type campaign struct {
	donations   int
	fundraisers int
	donors      int // at the same time
}

const prospects = 400 // who get an email, for each fundraiser

func (c campaign) run(ctx context.Context, s *site, out io.Writer) error {
	if err := c.sendEmails(s.queue); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d emails ask for donations to %d fundraisers; %d donors at a time post theirs to %s/donate\n",
		c.fundraisers*prospects, c.fundraisers, c.donors, s.url)
	began := time.Now()
	if err := c.donate(ctx, s.url); err != nil {
		return err
	}
	fmt.Fprintf(out, "donations  %d stored in %.2f s, each in one transaction with its follow-up job\n", c.donations, time.Since(began).Seconds())
	if err := s.settled(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "booked     all of them after %.2f s\n\n", time.Since(began).Seconds())
	return c.report(s, out)
}

// sendEmails notes who gets one. The second time they are there already.
func (c campaign) sendEmails(queue *stint.Queue) error {
	return queue.Update(func(tx *bolt.Tx) error {
		for f := range c.fundraisers {
			for n := range prospects {
				id := emailID(fundraiser(f), n)
				if tx.Bucket(emailsBucket).Get([]byte(id)) != nil {
					continue
				}
				if err := addEmail(tx, id, Email{Fundraiser: fundraiser(f), To: address(n)}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func fundraiser(n int) string                 { return fmt.Sprintf("fundraiser-%d", n+1) }
func address(n int) string                    { return fmt.Sprintf("alumna%d@example.edu", n) }
func emailID(fundraiser string, n int) string { return fmt.Sprintf("%s-%04d", fundraiser, n) }

// donation makes the same donation for the same number in each run. Most
// donors follow the link in their email, some come by themselves, and some of
// those never got one.
func (c campaign) donation(n int) Donation {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	who := random.IntN(2 * prospects)
	d := Donation{
		Reference:  fmt.Sprintf("payment-%06d", n),
		Fundraiser: fundraiser(random.IntN(c.fundraisers)),
		Cents:      100 * (5 + random.Int64N(200)),
		Donor:      address(who),
	}
	if who < prospects && random.IntN(4) > 0 {
		d.Email = emailID(d.Fundraiser, who)
	}
	return d
}

// donate posts all donations, and gives up at the first that is not accepted.
func (c campaign) donate(ctx context.Context, site string) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c.donors}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var donors sync.WaitGroup
	for range c.donors {
		donors.Go(func() {
			for n := int(next.Add(1)) - 1; n < c.donations && ctx.Err() == nil; n = int(next.Add(1)) - 1 {
				if err := post(ctx, client, site, c.donation(n)); err != nil {
					cancel(err)
				}
			}
		})
	}
	donors.Wait()
	return context.Cause(ctx)
}

func post(ctx context.Context, client *http.Client, site string, d Donation) error {
	form := url.Values{
		"reference": {d.Reference}, "fundraiser": {d.Fundraiser}, "cents": {strconv.FormatInt(d.Cents, 10)},
		"donor": {d.Donor}, "email_id": {d.Email},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, site+"/donate", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		reason, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("POST /donate answered %s: %s", response.Status, reason)
	}
	return nil
}

// settled waits until no job is left to run.
func (s *site) settled(ctx context.Context) error {
	for {
		n := s.queue.Counts()
		if n.Ready+n.Running+n.Scheduled+n.Retrying == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
