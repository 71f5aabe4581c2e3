package stint_test

import (
	"context"
	"fmt"
	"iter"

	"github.com/stintq/stint"
)

type Invoice struct {
	Customer int `json:"customer"`
}

func (Invoice) Kind() string { return "invoice" }

type InvoicesSent struct{}

func (InvoicesSent) Kind() string { return "invoices_sent" }

func ExampleQueue_EnqueueBatch() {
	q, clean := temporary(nil)
	defer clean()

	stint.Handle(q, func(_ context.Context, job *stint.Job[Invoice]) error {
		if job.Args.Customer == 13 {
			return stint.Kill(fmt.Errorf("customer 13 has no address"))
		}
		return nil
	}, nil)
	stint.Handle(q, func(_ context.Context, job *stint.Job[InvoicesSent]) error {
		batch, err := job.Batch()
		fmt.Println(batch.Name, "is over:", batch.Done, "done,", batch.Dead, "dead")
		return err
	}, nil)

	customers := func(yield func(stint.Args) bool) { // rows of a table, lines of a file …
		for id := range 2500 {
			if !yield(Invoice{id}) {
				return
			}
		}
	}
	_, err := q.EnqueueBatch(context.Background(), customers, &stint.BatchPolicy{Name: "August", OnDone: InvoicesSent{}})
	if err != nil {
		fmt.Println("nothing of it will run:", err)
	}
	work(q) // q.Run(ctx)
	// Output: August is over: 2499 done, 1 dead
}

func ExamplePeriodicBatch() {
	q, clean := temporary(nil)
	defer clean()
	ctx := context.Background()

	// The planner finds the items. After a crash it may start over: what is
	// stored is passed over. It spares itself the way if it goes on behind the
	// last one.
	plan := func(ctx context.Context, p *stint.Planning[Invoice]) iter.Seq2[Invoice, error] {
		return func(yield func(Invoice, error) bool) {
			first := 0
			if p.After != nil {
				first = p.After.Customer + 1
			}
			for id := first; id < 2500; id++ { // SELECT … WHERE id > ? ORDER BY id
				if !yield(Invoice{id}, nil) {
					return
				}
			}
		}
	}
	each := func(ctx context.Context, job *stint.Job[Invoice]) error { return nil }

	err := stint.PeriodicBatch(q, "invoices", "0 3 1 * *", plan, each, &stint.BatchPolicy{OnDone: InvoicesSent{}})
	if err != nil {
		fmt.Println(err)
	}
	stint.Handle(q, func(_ context.Context, job *stint.Job[InvoicesSent]) error {
		batch, err := job.Batch()
		fmt.Println(batch.Name, "is over:", batch.Done, "of", batch.Planned)
		return err
	}, nil)

	q.RunSchedule(ctx, "invoices") // now, and not only on the first of the month at three
	work(q)                        // q.Run(ctx)
	// Output: invoices is over: 2500 of 2500
}
