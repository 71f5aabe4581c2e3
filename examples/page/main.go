// Page is hello with a web server: the smallest program that shows its jobs.
// Open http://localhost:8080/jobs/ while it runs.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/dashboard"
)

type WelcomeEmail struct {
	UserID int64 `json:"user_id"`
}

func (WelcomeEmail) Kind() string { return "welcome_email" }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", "localhost:8080")
	if err == nil {
		err = run(ctx, "page.db", listener)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, file string, listener net.Listener) error {
	q, err := stint.Open(file, nil)
	if err != nil {
		return err
	}
	defer q.Close()

	stint.Handle(q, func(ctx context.Context, job *stint.Job[WelcomeEmail]) error {
		fmt.Println("welcome, user", job.Args.UserID)
		return nil
	}, nil)

	mux := http.NewServeMux()
	mux.Handle("/jobs/", http.StripPrefix("/jobs", dashboard.Handler(q, nil)))
	mux.HandleFunc("POST /users", func(w http.ResponseWriter, r *http.Request) {
		if _, err := q.Enqueue(r.Context(), WelcomeEmail{UserID: time.Now().Unix()}); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	err = q.Run(ctx)
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = errors.Join(err, server.Shutdown(grace))
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
