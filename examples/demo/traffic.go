package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/stintq/stint"
)

// trade brings customers until ctx ends.
func trade(ctx context.Context, q *stint.Queue, rate float64) {
	if err := stock(ctx, q); err != nil && ctx.Err() == nil {
		slog.Error("demo: the first jobs were not stored", "err", err)
	}
	ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticker.Stop()
	for order := 1; ; order++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := serveCustomer(ctx, q, order); err != nil && ctx.Err() == nil && !errors.Is(err, stint.ErrDuplicate) {
			slog.Error("demo: a job was not stored", "err", err)
		}
	}
}

// stock is what lies there from the beginning: a queue that is paused, jobs for
// later, and some that nobody here can do.
func stock(ctx context.Context, q *stint.Queue) error {
	if q.Counts() != (stint.Counts{}) {
		return nil // the file is not new
	}
	letters := make([]stint.Args, 240)
	for i := range letters {
		letters[i] = Newsletter{Issue: "autumn", To: address(i)}
	}
	_, err1 := q.EnqueueAll(ctx, letters, stint.Tags("autumn"))
	err2 := q.Pause(ctx, "newsletter", "ana (waiting for the new subject line)")
	var rest error
	for i, table := range []string{"articles", "prices", "suppliers"} {
		_, err := q.Enqueue(ctx, LegacySync{Table: table}, stint.OnQueue("legacy"))
		_, later := q.Enqueue(ctx, WelcomeMail{CustomerID: i, To: address(i)}, stint.In(time.Duration(i+1)*time.Hour), stint.Tags("reminder"))
		rest = errors.Join(rest, err, later)
	}
	_, err3 := q.Enqueue(ctx, Report{Month: "2026-10", Customers: 400})
	return errors.Join(err1, err2, err3, rest)
}

// serveCustomer is what follows from one customer.
func serveCustomer(ctx context.Context, q *stint.Queue, order int) error {
	var err error
	switch roll := rand.IntN(100); {
	case roll < 38:
		_, err = q.Enqueue(ctx, WelcomeMail{CustomerID: 1000 + order, To: address(order)})
	case roll < 58:
		_, err = q.Enqueue(ctx, Webhook{
			URL: fmt.Sprintf("https://partner-%d.example.com/hooks", order%5), Event: "order.paid",
			Order: Order{ID: order, Total: float64(rand.IntN(20000)) / 100, Currency: "EUR"}, APIKey: fmt.Sprintf("sk_live_%016x", rand.Uint64()),
		}, stint.Tags("orders", fmt.Sprintf("partner-%d", order%5)))
	case roll < 72:
		_, err = q.Enqueue(ctx, Payment{OrderID: order, Cents: 500 + rand.IntN(20000)}, stint.Unique(stint.ForPeriod(time.Minute)))
	case roll < 92:
		_, err = q.Enqueue(ctx, Resize{Picture: fmt.Sprintf("article-%04d.jpg", order%300), Widths: []int{320, 640, 1280}})
	case roll < 93:
		_, err = q.Enqueue(ctx, Report{Month: fmt.Sprintf("2026-%02d", 1+order%12), Customers: 60 + rand.IntN(200)}, stint.Priority(1+order%4))
	case roll < 97:
		_, err = q.Enqueue(ctx, WelcomeMail{CustomerID: order, To: address(order)}, stint.In(rand.N(10*time.Minute)), stint.Tags("reminder"))
	default:
		_, err = q.Enqueue(ctx, WelcomeMail{CustomerID: order, To: address(order)}, stint.ExpiresIn(5*time.Second), stint.Priority(4))
	}
	return err
}

var names = []string{"ada", "grace", "edsger", "barbara", "ken", "margaret", "donald", "radia"}

func address(i int) string { return fmt.Sprintf("%s.%d@example.com", names[i%len(names)], i) }
