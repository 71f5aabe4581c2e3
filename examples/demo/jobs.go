package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/stintq/stint"
)

// WelcomeMail greets a new customer.
type WelcomeMail struct {
	CustomerID int    `json:"customer_id"`
	To         string `json:"to"`
}

func (WelcomeMail) Kind() string { return "mail.welcome" }

// Newsletter is one copy of it.
type Newsletter struct {
	Issue string `json:"issue"`
	To    string `json:"to"`
}

func (Newsletter) Kind() string { return "mail.newsletter" }

// Resize makes thumbnails of a picture.
type Resize struct {
	Picture string `json:"picture"`
	Widths  []int  `json:"widths"`
}

func (Resize) Kind() string { return "picture.resize" }

// Webhook tells a partner about an order.
type Webhook struct {
	URL    string `json:"url"`
	Event  string `json:"event"`
	Order  Order  `json:"order"`
	APIKey string `json:"api_key"` // the dashboard does not show it
}

func (Webhook) Kind() string { return "webhook.deliver" }

// Order is what a webhook is about.
type Order struct {
	ID       int     `json:"id"`
	Total    float64 `json:"total"`
	Currency string  `json:"currency"`
}

// Payment captures the money of an order.
type Payment struct {
	OrderID int `json:"order_id"`
	Cents   int `json:"cents"`
}

func (Payment) Kind() string { return "payment.capture" }

// Report is long: it goes through all customers, and on where it was.
type Report struct {
	Month     string `json:"month"`
	Customers int    `json:"customers"`
}

func (Report) Kind() string { return "report.monthly" }

// Invoice is an item of the nightly batch.
type Invoice struct {
	Number int `json:"number"`
}

func (Invoice) Kind() string { return "invoice.send" }

// InvoicesSent is enqueued when all invoices of a night are through.
type InvoicesSent struct{}

func (InvoicesSent) Kind() string { return "invoice.summary" }

// Cleanup removes old carts.
type Cleanup struct {
	OlderThan string `json:"older_than"`
}

func (Cleanup) Kind() string { return "cart.cleanup" }

// Reindex rebuilds the search index.
type Reindex struct{}

func (Reindex) Kind() string { return "search.reindex" }

// LegacySync has no handler in this program: its jobs park.
type LegacySync struct {
	Table string `json:"table"`
}

func (LegacySync) Kind() string { return "legacy.sync" }

// open registers what the shop can do and when it does it by itself.
func open(q *stint.Queue) error {
	stint.Handle(q, sendWelcome, &stint.Policy{Queue: "mail", MaxAttempts: 8})
	stint.Handle(q, sendNewsletter, &stint.Policy{Queue: "newsletter", Priority: 3})
	stint.Handle(q, resize, &stint.Policy{Queue: "pictures", Concurrency: 4})
	stint.Handle(q, deliver, &stint.Policy{Queue: "webhooks", MaxAttempts: 3, Backoff: stint.Exponential(20*time.Second, 5*time.Minute)})
	stint.Handle(q, capture, &stint.Policy{Queue: "payments", Priority: 1, MaxAttempts: 5})
	stint.Handle(q, writeReport, &stint.Policy{Queue: "reports", Timeout: 5 * time.Minute})
	stint.Handle(q, summarize, nil)
	stint.Handle(q, cleanUp, nil)
	stint.Handle(q, reindex, &stint.Policy{Timeout: 2 * time.Minute})
	err := errors.Join(
		q.Periodic("cart-cleanup", "* * * * *", Cleanup{OlderThan: "48h"}),
		q.Periodic("search-index", "*/5 * * * *", Reindex{}),
		q.Periodic("monthly-report", "0 6 1 * *", Report{Month: "last", Customers: 400}, stint.InZone("Europe/Berlin")),
		q.Periodic("weekday-digest", "30 8 * * MON-FRI", Report{Month: "week", Customers: 120}, stint.InZone("America/New_York")),
		q.Periodic("old-import", "15 3 * * *", Cleanup{OlderThan: "1y"}),
	)
	if err != nil {
		return err
	}
	return stint.PeriodicBatch(q, "nightly-invoices", "*/3 * * * *", planInvoices, sendInvoice, &stint.BatchPolicy{
		Items:  &stint.Policy{Queue: "invoices", MaxAttempts: 2, Backoff: stint.Constant(15 * time.Second)},
		OnDone: InvoicesSent{},
		Repeat: true,
	})
}

func sendWelcome(ctx context.Context, job *stint.Job[WelcomeMail]) error {
	if err := work(ctx, 30*time.Millisecond, 250*time.Millisecond); err != nil {
		return err
	}
	if chance(0.04) {
		return fmt.Errorf("smtp: 451 4.7.1 <%s>: greylisted, try again later", job.Args.To)
	}
	return nil
}

func sendNewsletter(ctx context.Context, job *stint.Job[Newsletter]) error {
	return work(ctx, 10*time.Millisecond, 60*time.Millisecond)
}

func resize(ctx context.Context, job *stint.Job[Resize]) error {
	for i, width := range job.Args.Widths {
		job.Progress(i, len(job.Args.Widths), fmt.Sprintf("%d pixels", width))
		if err := work(ctx, 200*time.Millisecond, 900*time.Millisecond); err != nil {
			return err
		}
		job.Logger().Info("resized", "width", width, "picture", job.Args.Picture)
	}
	return job.SetResult(map[string]any{"files": len(job.Args.Widths), "bytes": 12_000 + rand.IntN(90_000)})
}

func deliver(ctx context.Context, job *stint.Job[Webhook]) error {
	job.Logger().Info("connecting", "url", job.Args.URL, "attempt", job.Attempt)
	if err := work(ctx, 40*time.Millisecond, 400*time.Millisecond); err != nil {
		return err
	}
	switch roll := rand.Float64(); {
	case roll < 0.10:
		return fmt.Errorf("POST %s: 503 Service Unavailable (request %08x)", job.Args.URL, rand.Uint32())
	case roll < 0.14:
		return fmt.Errorf("POST %s: dial tcp 203.0.113.%d:443: connect: connection refused", job.Args.URL, rand.IntN(250))
	case roll < 0.15:
		return stint.Kill(fmt.Errorf("POST %s: 410 Gone, the partner has left", job.Args.URL))
	case roll < 0.18:
		return stint.Snooze(30 * time.Second)
	}
	return job.SetResult(map[string]int{"status": 200})
}

func capture(ctx context.Context, job *stint.Job[Payment]) error {
	if err := work(ctx, 80*time.Millisecond, 300*time.Millisecond); err != nil {
		return err
	}
	if job.Args.OrderID%97 == 0 {
		return charge(nil, job.Args.Cents)
	}
	return nil
}

type account struct{ balance int }

// charge panics for a customer without an account, as such things do.
func charge(a *account, cents int) error {
	a.balance -= cents
	return nil
}

func writeReport(ctx context.Context, job *stint.Job[Report]) error {
	var at int
	if _, err := job.Resume(&at); err != nil {
		return err
	}
	for ; at < job.Args.Customers; at++ {
		if err := work(ctx, 100*time.Millisecond, 200*time.Millisecond); err != nil {
			return err
		}
		job.Progress(at+1, job.Args.Customers, "customers")
		if at%25 == 0 {
			job.Logger().Info("so far", "customers", at)
			if err := job.Checkpoint(ctx, at+1); err != nil {
				return err
			}
		}
	}
	return job.SetResult(map[string]any{"customers": job.Args.Customers, "file": "report-" + job.Args.Month + ".pdf"})
}

func planInvoices(ctx context.Context, p *stint.Planning[Invoice]) iter.Seq2[Invoice, error] {
	first := 0
	if p.After != nil {
		first = p.After.Number + 1
	}
	return func(yield func(Invoice, error) bool) {
		for n := first; n < 60; n++ {
			if !yield(Invoice{Number: n}, nil) {
				return
			}
		}
	}
}

func sendInvoice(ctx context.Context, job *stint.Job[Invoice]) error {
	if err := work(ctx, 300*time.Millisecond, 1500*time.Millisecond); err != nil {
		return err
	}
	if job.Args.Number%29 == 0 {
		return fmt.Errorf("invoice %d: the customer has no address", job.Args.Number)
	}
	return nil
}

func summarize(ctx context.Context, job *stint.Job[InvoicesSent]) error {
	batch, err := job.Batch()
	if err != nil {
		return err
	}
	job.Logger().Info("all invoices are through", "sent", batch.Done, "failed", batch.Dead)
	return nil
}

func cleanUp(ctx context.Context, job *stint.Job[Cleanup]) error {
	return work(ctx, time.Second, 3*time.Second)
}

func reindex(ctx context.Context, job *stint.Job[Reindex]) error {
	for _, name := range []string{"products", "customers", "orders"} {
		err := job.Step(ctx, name, func(ctx context.Context) error { return work(ctx, 4*time.Second, 12*time.Second) })
		if err != nil {
			return err
		}
	}
	return nil
}

// work takes some time, or ends with ctx.
func work(ctx context.Context, least, most time.Duration) error {
	timer := time.NewTimer(least + rand.N(most-least))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func chance(p float64) bool { return rand.Float64() < p }
