// Hello sends a welcome now and another in two seconds. Stop it in between:
// the second one is not lost, the next start sends it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/stintq/stint"
)

type WelcomeEmail struct {
	UserID int64 `json:"user_id"`
}

func (WelcomeEmail) Kind() string { return "welcome_email" }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, "hello.db"); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, file string) error {
	q, err := stint.Open(file, nil)
	if err != nil {
		return err
	}
	defer q.Close()

	stint.Handle(q, func(ctx context.Context, job *stint.Job[WelcomeEmail]) error {
		fmt.Println("welcome, user", job.Args.UserID)
		return nil
	}, nil)

	if _, err := q.Enqueue(ctx, WelcomeEmail{UserID: 42}); err != nil {
		return err
	}
	if _, err := q.Enqueue(ctx, WelcomeEmail{UserID: 42}, stint.In(2*time.Second)); err != nil {
		return err
	}
	return q.Run(ctx)
}
