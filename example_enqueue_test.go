package stint_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

type Reminder struct{ To string }

func (Reminder) Kind() string { return "reminder" }

func ExampleQueue_Enqueue() {
	q, clean := temporary(nil)
	defer clean()
	ctx := context.Background()

	q.Enqueue(ctx, Reminder{"now"})
	q.Enqueue(ctx, Reminder{"in a week"}, stint.In(7*24*time.Hour))
	q.Enqueue(ctx, Reminder{"at a time"}, stint.At(time.Date(2100, 1, 1, 9, 0, 0, 0, time.UTC)))
	q.Enqueue(ctx, Reminder{"first of its queue"}, stint.OnQueue("mail"), stint.Priority(1))
	q.Enqueue(ctx, Reminder{"once, then dead"}, stint.MaxAttempts(1), stint.Tags("experiment"))
	q.Enqueue(ctx, Reminder{"today or never"}, stint.ExpiresIn(24*time.Hour))

	counts := q.Counts()
	fmt.Println(counts.Ready, "ready,", counts.Scheduled, "scheduled")
	// Output: 4 ready, 2 scheduled
}

func ExampleUnique() {
	q, clean := temporary(nil)
	defer clean()
	ctx := context.Background()

	first, _ := q.Enqueue(ctx, Reminder{"ana"}, stint.Unique())
	again, err := q.Enqueue(ctx, Reminder{"ana"}, stint.Unique())
	fmt.Println(errors.Is(err, stint.ErrDuplicate), again == first)

	// By a key of your own, and at most once an hour.
	hourly := stint.Unique(stint.ByKey("report"), stint.ForPeriod(time.Hour))
	_, err = q.Enqueue(ctx, Reminder{"boss"}, hourly)
	fmt.Println(err)
	_, err = q.Enqueue(ctx, Reminder{"other boss"}, hourly)
	fmt.Println(err)
	// Output:
	// true true
	// <nil>
	// stint: an equal job is already there: job 2
}

func ExampleQueue_EnqueueAll() {
	q, clean := temporary(nil)
	defer clean()

	ids, err := q.EnqueueAll(context.Background(), []stint.Args{Reminder{"ana"}, Reminder{"ben"}, WelcomeEmail{7}})
	fmt.Println(len(ids), "jobs in one commit, or none:", err)
	// Output: 3 jobs in one commit, or none: <nil>
}

func ExampleQueue_EnqueueSeq() {
	q, clean := temporary(nil)
	defer clean()

	users := func(yield func(stint.Args) bool) {
		for id := range int64(2500) { // rows of a table, lines of a file …
			if !yield(WelcomeEmail{UserID: id}) {
				return
			}
		}
	}
	n, err := q.EnqueueSeq(context.Background(), users)
	fmt.Println(n, err)
	// Output: 2500 <nil>
}

func ExampleQueue_EnqueueTx() {
	q, clean := temporary(nil)
	defer clean()

	// The user and the mail to the user: both, or neither.
	err := q.Update(func(tx *bolt.Tx) error {
		users, err := tx.CreateBucketIfNotExists([]byte("users"))
		if err != nil {
			return err
		}
		if err := users.Put([]byte("42"), []byte("ana@example.com")); err != nil {
			return err
		}
		_, err = q.EnqueueTx(tx, WelcomeEmail{UserID: 42})
		return err
	})
	fmt.Println(err, q.View(func(tx *bolt.Tx) error {
		fmt.Printf("%s\n", tx.Bucket([]byte("users")).Get([]byte("42")))
		return nil
	}))
	// Output:
	// ana@example.com
	// <nil> <nil>
}

func ExampleQueue_Perform() {
	q, clean := temporary(nil)
	defer clean()
	stint.Handle(q, func(_ context.Context, job *stint.Job[Reminder]) error {
		return fmt.Errorf("nobody is called %s", job.Args.To)
	}, nil)

	fmt.Println(q.Perform(context.Background(), Reminder{"zoe"}))
	// Output: nobody is called zoe
}
