package stint_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stintq/stint"
)

type WelcomeEmail struct {
	UserID int64 `json:"user_id"`
}

func (WelcomeEmail) Kind() string { return "welcome_email" }

// temporary opens a queue in a new directory; clean closes it and removes the
// directory.
func temporary(cfg *stint.Config) (q *stint.Queue, clean func()) {
	dir, err := os.MkdirTemp("", "stint")
	if err != nil {
		panic(err)
	}
	if cfg == nil {
		cfg = &stint.Config{}
	}
	cfg.Logger = quiet
	if q, err = stint.Open(filepath.Join(dir, "app.db"), cfg); err != nil {
		panic(err)
	}
	return q, func() {
		if err := q.Close(); err != nil {
			panic(err)
		}
		os.RemoveAll(dir)
	}
}

// work runs the queue until nothing is ready or running.
func work(q *stint.Queue) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	moves := q.Subscribe(10_000)
	defer moves.Close()
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	for c := q.Counts(); c.Ready-c.Parked+c.Running > 0; c = q.Counts() {
		<-moves.C
	}
	cancel()
	if err := <-ended; err != nil {
		panic(err)
	}
}

func Example() {
	q, clean := temporary(nil) // stint.Open("app.db", nil)
	defer clean()

	stint.Handle(q, func(ctx context.Context, job *stint.Job[WelcomeEmail]) error {
		fmt.Println("welcome, user", job.Args.UserID)
		return nil // an error would run the job again, later
	}, nil)

	if _, err := q.Enqueue(context.Background(), WelcomeEmail{UserID: 42}); err != nil {
		fmt.Println(err)
	}
	work(q) // q.Run(ctx)
	// Output: welcome, user 42
}
