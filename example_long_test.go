package stint_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

type Order struct{ Number int }

func (Order) Kind() string { return "order" }

func ExampleWork_Step() {
	q, clean := temporary(nil)
	defer clean()

	mails := 0
	stint.Handle(q, func(ctx context.Context, job *stint.Job[Order]) error {
		var receipt string
		err := job.Step(ctx, "charge", func(context.Context) error {
			fmt.Println("charging order", job.Args.Number)
			receipt = "R-77"
			return nil
		}, &receipt)
		if err != nil {
			return err
		}
		return job.Step(ctx, "mail", func(context.Context) error {
			if mails++; mails == 1 {
				fmt.Println("the mail server is away")
				return stint.RetryAfter(time.Millisecond, errors.New("away"))
			}
			fmt.Println("mailing receipt", receipt) // kept from the first attempt
			return nil
		})
	}, nil)

	id, _ := q.Enqueue(context.Background(), Order{Number: 5})
	workUntil(q, id)
	// Output:
	// charging order 5
	// the mail server is away
	// mailing receipt R-77
}

type Import struct{ Rows int }

func (Import) Kind() string { return "import" }

func ExampleWork_Checkpoint() {
	q, clean := temporary(nil)
	defer clean()

	stint.Handle(q, func(ctx context.Context, job *stint.Job[Import]) error {
		next := 1
		if _, err := job.Resume(&next); err != nil {
			return err
		}
		for ; next <= job.Args.Rows; next++ {
			fmt.Println("row", next)
			// The error, if there is one, only says that it is time to stop
			// for now: Run is ending, or others want their turn.
			if err := job.Checkpoint(ctx, next+1); err != nil {
				return err
			}
			if next == 2 && job.Attempt == 1 {
				return stint.RetryAfter(time.Millisecond, errors.New("connection lost"))
			}
		}
		return nil
	}, nil)

	id, _ := q.Enqueue(context.Background(), Import{Rows: 4})
	workUntil(q, id)
	// Output:
	// row 1
	// row 2
	// row 3
	// row 4
}

func ExampleWork_CommitProgress() {
	q, clean := temporary(nil)
	defer clean()

	stint.Handle(q, func(_ context.Context, job *stint.Job[Import]) error {
		next := 1
		if _, err := job.Resume(&next); err != nil {
			return err
		}
		for next <= job.Args.Rows {
			// The row and the cursor behind it are one transaction: whatever
			// happens, each row is there once.
			err := job.CommitProgress(func(tx *bolt.Tx) error {
				rows, err := tx.CreateBucketIfNotExists([]byte("rows"))
				if err != nil {
					return err
				}
				n, err := rows.NextSequence()
				if err != nil {
					return err
				}
				return rows.Put([]byte{byte(n)}, fmt.Appendf(nil, "row %d", next))
			}, next+1)
			if err != nil {
				return err
			}
			next++
		}
		return nil
	}, nil)

	id, _ := q.Enqueue(context.Background(), Import{Rows: 3})
	workUntil(q, id)
	_ = q.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("rows")).ForEach(func(k, v []byte) error {
			fmt.Println(k[0], string(v))
			return nil
		})
	})
	// Output:
	// 1 row 1
	// 2 row 2
	// 3 row 3
}

func ExampleQueue_Wait() {
	q, clean := temporary(nil)
	defer clean()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	stint.Handle(q, func(_ context.Context, job *stint.Job[Order]) error {
		return job.SetResult(map[string]int{"total": 3 * job.Args.Number})
	}, nil)
	go q.Run(ctx)

	id, _ := q.Enqueue(ctx, Order{Number: 5})
	info, err := q.Wait(ctx, id) // on disk, and kept for an hour, as it has a result
	fmt.Println(info.State, err)
	result, err := stint.Result[map[string]int](q, id)
	fmt.Println(result["total"], err)
	// Output:
	// completed <nil>
	// 15 <nil>
}

func ExampleWork_Progress() {
	q, clean := temporary(nil)
	defer clean()

	stint.Handle(q, func(_ context.Context, job *stint.Job[Import]) error {
		for row := 1; row <= job.Args.Rows; row++ {
			job.Progress(row, job.Args.Rows, "importing")
		}
		info, err := q.Get(job.ID) // from anywhere in the program
		p := info.Progress
		fmt.Printf("%d of %d, %s\n", p.Done, p.Total, p.Text)
		return err
	}, nil)

	id, _ := q.Enqueue(context.Background(), Import{Rows: 20})
	workUntil(q, id)
	// Output: 20 of 20, importing
}

// workUntil runs the queue until a job has ended.
func workUntil(q *stint.Queue, id stint.ID) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		_, _ = q.Wait(ctx, id)
	}()
	go func() { ended <- q.Run(ctx) }()
	<-waited
	cancel()
	if err := <-ended; err != nil {
		panic(err)
	}
}
