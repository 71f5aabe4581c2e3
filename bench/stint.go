package main

import (
	"context"
	"log/slog"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

const stintName = "stint"

// stintSystem is Stint with its defaults and the workers that are asked for.
type stintSystem struct{}

func (stintSystem) Name() string                          { return stintName }
func (stintSystem) Durability() string                    { return "fsync, shared" }
func (stintSystem) Prepare(context.Context, string) error { return nil }
func (stintSystem) Stop() error                           { return nil }

func (stintSystem) Open(_ context.Context, dir string, opt Options) (Instance, error) {
	q, err := openStint(dir, opt.Workers)
	if err != nil {
		return nil, err
	}
	stint.Handle(q, func(ctx context.Context, job *stint.Job[Event]) error { return opt.Handle(ctx, job.Args) }, nil)
	return stintInstance{q}, nil
}

// openStint opens the queue in dir. It logs nothing: what goes wrong is an
// error of the measurement.
func openStint(dir string, workers int) (*stint.Queue, error) {
	return stint.Open(filepath.Join(dir, "queue.db"), &stint.Config{Workers: workers, Logger: slog.New(slog.DiscardHandler)})
}

type stintInstance struct{ q *stint.Queue }

func (s stintInstance) Enqueue(ctx context.Context, e Event) error {
	_, err := s.q.Enqueue(ctx, e)
	return err
}

func (s stintInstance) EnqueueMany(ctx context.Context, list []Event) error {
	args := make([]stint.Args, len(list))
	for i := range list {
		args[i] = list[i]
	}
	_, err := s.q.EnqueueAll(ctx, args)
	return err
}

func (s stintInstance) Work(ctx context.Context) error { return s.q.Run(ctx) }
func (s stintInstance) Close() error                   { return s.q.Close() }
func (s stintInstance) database() *bolt.DB             { return s.q.DB() }
