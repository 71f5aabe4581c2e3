package stint_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

type Click struct{ Mailing string }

func (Click) Kind() string { return "click" }

func ExampleWork_Commit() {
	q, clean := temporary(nil)
	defer clean()

	// count + 1 is safe: the counter and the end of the job are one
	// transaction, so a crash undoes both or none.
	stint.Handle(q, func(_ context.Context, job *stint.Job[Click]) error {
		return job.Commit(func(tx *bolt.Tx) error {
			clicks, err := tx.CreateBucketIfNotExists([]byte("clicks"))
			if err != nil {
				return err
			}
			key := []byte(job.Args.Mailing)
			var n uint64
			if v := clicks.Get(key); v != nil {
				n = binary.BigEndian.Uint64(v)
			}
			return clicks.Put(key, binary.BigEndian.AppendUint64(nil, n+1))
		})
	}, nil)

	for range 3 {
		q.Enqueue(context.Background(), Click{"spring"})
	}
	work(q)
	q.View(func(tx *bolt.Tx) error {
		fmt.Println(binary.BigEndian.Uint64(tx.Bucket([]byte("clicks")).Get([]byte("spring"))))
		return nil
	})
	// Output: 3
}

func ExampleWork_CompleteTx() {
	q, clean := temporary(nil)
	defer clean()

	stint.Handle(q, func(_ context.Context, job *stint.Job[Click]) error {
		return q.Update(func(tx *bolt.Tx) error {
			if _, err := q.EnqueueTx(tx, Reminder{"follow-up"}, stint.In(time.Hour)); err != nil {
				return err
			}
			return job.CompleteTx(tx)
		})
	}, nil)

	q.Enqueue(context.Background(), Click{"spring"})
	work(q)
	fmt.Printf("%+v\n", q.Counts())
	// Output: {Ready:0 Scheduled:1 Retrying:0 Running:0 Completed:0 Dead:0 Parked:0}
}

func ExampleKill() {
	q, clean := temporary(nil)
	defer clean()

	errNoUser := errors.New("no such user")
	stint.Handle(q, func(_ context.Context, job *stint.Job[WelcomeEmail]) error {
		switch job.Args.UserID {
		case 1:
			return stint.Kill(errNoUser) // dead at once: trying again is no use
		case 2:
			return stint.Snooze(time.Hour) // later, and no attempt is counted
		case 3:
			return stint.RetryAfter(time.Minute, errors.New("429 too many requests"))
		}
		return errors.New("smtp is down") // the backoff of the policy
	}, nil)

	for id := range int64(4) {
		q.Enqueue(context.Background(), WelcomeEmail{UserID: id + 1})
	}
	work(q)
	for job, err := range q.Jobs(stint.Filter{OldestFirst: true}) {
		if err != nil {
			fmt.Println(err)
		}
		fmt.Println(job.ID, job.State, job.Failures, "failures")
	}
	// Output:
	// 1 dead 1 failures
	// 2 scheduled 0 failures
	// 3 retrying 1 failures
	// 4 retrying 1 failures
}

func ExamplePolicy() {
	q, clean := temporary(nil)
	defer clean()

	stint.Handle(q, func(_ context.Context, job *stint.Job[Reminder]) error {
		return errors.New("not today")
	}, &stint.Policy{
		MaxAttempts: 2,
		Timeout:     10 * time.Second,
		Backoff:     stint.Constant(0),
		Queue:       "mail",
		Concurrency: 3,
	})
	id, _ := q.Enqueue(context.Background(), Reminder{"ana"})
	for q.Counts().Dead == 0 {
		work(q)
	}
	job, _ := q.Get(id)
	fmt.Println(job.Queue, job.State, job.Reason)
	for _, attempt := range job.Attempts {
		fmt.Println(attempt.Number, attempt.Error)
	}
	// Output:
	// mail dead not today
	// 1 not today
	// 2 not today
}

func ExampleConfig() {
	q, clean := temporary(&stint.Config{
		Workers: 20,
		Queues: map[string]stint.QueueConfig{
			"mail":    {Weight: 3},  // three workers for one of the others, when all are busy
			"reports": {Workers: 2}, // never more than two at once
		},
		WorkMiddleware: []stint.WorkMiddleware{
			func(ctx context.Context, job *stint.Work, next func(context.Context) error) error {
				err := next(ctx)
				fmt.Println(job.Kind, "attempt", job.Attempt, "ended with", err)
				return err
			},
		},
	})
	defer clean()
	stint.Handle(q, func(context.Context, *stint.Job[Reminder]) error { return nil }, nil)
	q.Enqueue(context.Background(), Reminder{"ana"}, stint.OnQueue("mail"))
	work(q)
	// Output: reminder attempt 1 ended with <nil>
}
