package stint_test

import (
	"context"
	"fmt"
	"time"

	"github.com/stintq/stint"
)

type Publish struct {
	Page    int
	Version int
}

func (Publish) Kind() string { return "publish" }

func ExampleReplace() {
	q, clean := temporary(nil)
	defer clean()
	stint.Handle(q, func(_ context.Context, job *stint.Job[Publish]) error {
		fmt.Println("page", job.Args.Page, "is published as of version", job.Args.Version)
		return nil
	}, nil)

	latest := stint.Unique(stint.ByKey("page 7"), stint.Replace())
	for version := range 3 {
		if _, err := q.Enqueue(context.Background(), Publish{Page: 7, Version: version + 1}, latest); err != nil {
			fmt.Println(err)
		}
	}
	work(q)
	// Output: page 7 is published as of version 3
}

func ExampleDebounce() {
	q, clean := temporary(nil)
	defer clean()
	ctx := context.Background()

	// Publish when nobody has typed for a minute, but once in ten at least.
	settled := stint.Unique(stint.ByKey("page 7"), stint.Debounce(time.Minute, 10*time.Minute))
	first, _ := q.Enqueue(ctx, Publish{Page: 7, Version: 1}, settled)
	before, _ := q.Get(first)
	again, err := q.Enqueue(ctx, Publish{Page: 7, Version: 2}, settled)
	after, _ := q.Get(first)

	fmt.Println("one job:", again == first, err)
	fmt.Println("later than before:", after.RunAt.After(before.RunAt))
	fmt.Printf("%v with %s\n", after.State, after.Args)
	// Output:
	// one job: true <nil>
	// later than before: true
	// scheduled with {"Page":7,"Version":2}
}

type Opened struct {
	Mailing string
	Times   int
}

func (Opened) Kind() string { return "opened" }

func ExampleMerge() {
	q, clean := temporary(&stint.Config{Workers: 1})
	defer clean()
	stint.Handle(q, func(_ context.Context, job *stint.Job[Opened]) error {
		fmt.Println(job.Args.Mailing, "was opened", job.Args.Times, "times")
		return nil
	}, nil)

	sum := stint.Merge(func(waiting, added Opened) Opened {
		waiting.Times += added.Times
		return waiting
	})
	for n := range 30 {
		mailing := [...]string{"spring", "summer", "spring"}[n%3]
		if _, err := q.Enqueue(context.Background(), Opened{mailing, 1}, stint.Unique(stint.ByKey(mailing), sum)); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(q.Counts().Ready, "jobs")
	work(q)
	// Output:
	// 2 jobs
	// spring was opened 20 times
	// summer was opened 10 times
}
