package stint_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/stintq/stint"
)

func ExampleQueue_Jobs() {
	q, clean := temporary(nil)
	defer clean()
	ctx := context.Background()
	stint.Handle(q, func(context.Context, *stint.Job[Reminder]) error { return stint.Kill(errors.New("the server is gone")) }, nil)
	for _, name := range []string{"ana", "ben", "cleo"} {
		q.Enqueue(ctx, Reminder{name}, stint.Tags("spring"))
	}
	work(q)

	for job, err := range q.Jobs(stint.Filter{State: stint.Dead, Tag: "spring", OldestFirst: true}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(job.ID, string(job.Args), job.Reason)
	}
	n, err := q.RetryAll(ctx, stint.Filter{State: stint.Dead, Kind: "reminder"})
	fmt.Println(n, "are ready again,", err)
	// Unordered output:
	// 1 {"To":"ana"} the server is gone
	// 2 {"To":"ben"} the server is gone
	// 3 {"To":"cleo"} the server is gone
	// 3 are ready again, <nil>
}

func ExampleQueue_Cancel() {
	q, clean := temporary(nil)
	defer clean()
	ctx := context.Background()
	id, _ := q.Enqueue(ctx, Reminder{"ana"})
	if err := q.Cancel(ctx, id, "ben"); err != nil {
		fmt.Println(err)
	}
	job, _ := q.Get(id)
	fmt.Println(job.State, "because", job.Reason)
	// Output: dead because cancelled by ben
}

func ExampleQueue_Pause() {
	q, clean := temporary(nil)
	defer clean()
	ctx := context.Background()
	stint.Handle(q, func(context.Context, *stint.Job[Reminder]) error { return nil }, nil)
	q.Enqueue(ctx, Reminder{"ana"}, stint.OnQueue("mail"))

	q.Pause(ctx, "mail", "ben") // also after a restart, until Resume
	for _, queue := range q.Queues() {
		fmt.Println(queue.Name, queue.Ready, "ready, paused by", queue.PausedBy)
	}
	q.Resume(ctx, "mail")
	work(q)
	fmt.Println(q.Stats().Processed, "processed")
	// Output:
	// mail 1 ready, paused by ben
	// 1 processed
}

func ExampleQueue_Subscribe() {
	q, clean := temporary(nil)
	defer clean()
	moves := q.Subscribe(100)
	stint.Handle(q, func(context.Context, *stint.Job[Reminder]) error { return nil }, nil)
	q.Enqueue(context.Background(), Reminder{"ana"})
	work(q)
	moves.Close()
	for move := range moves.C {
		fmt.Println(move.Kind, move.ID, "went from", move.From, "to", move.To)
	}
	// Output:
	// reminder 1 went from none to ready
	// reminder 1 went from ready to running
	// reminder 1 went from running to completed
}
