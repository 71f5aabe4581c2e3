package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverPostgres is River on a PostgreSQL with synchronous_commit on.
type riverPostgres struct {
	postgres *postgresServer
}

func (s *riverPostgres) Name() string { return "river postgres" }

func (s *riverPostgres) Durability() string { return "fsync per commit" }

func (s *riverPostgres) Prepare(ctx context.Context, dir string) (err error) {
	s.postgres, err = startPostgres(ctx, dir)
	return err
}

// Open leaves dir empty: the data lies with the server, in a database of its own.
func (s *riverPostgres) Open(ctx context.Context, _ string, opt Options) (Instance, error) {
	name, err := s.postgres.createDatabase(ctx)
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(s.postgres.url(name))
	if err != nil {
		return nil, err
	}
	config.MaxConns = riverConnections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return openRiver(ctx, riverpgxv5.New(pool), opt, func() error {
		pool.Close()
		return s.postgres.dropDatabase(context.WithoutCancel(ctx), name)
	})
}

func (s *riverPostgres) Stop() error {
	if s.postgres == nil {
		return nil
	}
	return s.postgres.stop()
}

// riverConnections is more than pgx' default, one for each processor and at
// least 4: connections that commit at the same time share an fsync.
const riverConnections = 32

// riverQueue works with each driver of River.
type riverQueue[Tx any] struct {
	client *river.Client[Tx]
	close  func() error
}

// openRiver makes River's tables and a client for them. It owns closeDB, also
// when it fails.
func openRiver[Tx any](ctx context.Context, driver riverdriver.Driver[Tx], opt Options, closeDB func() error) (Instance, error) {
	q := &riverQueue[Tx]{close: closeDB}
	if err := q.open(ctx, driver, opt); err != nil {
		_ = closeDB()
		return nil, err
	}
	return q, nil
}

func (q *riverQueue[Tx]) open(ctx context.Context, driver riverdriver.Driver[Tx], opt Options) error {
	quiet := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[Event]) error {
		return opt.Handle(ctx, job.Args)
	}))
	q.client, err = river.NewClient(driver, &river.Config{
		// The default of 100 ms allows ten fetches a second, each of at most
		// MaxWorkers jobs. These are the values of River's own benchmark.
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Logger:            quiet,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: opt.Workers}},
		Workers:           workers,
	})
	return err
}

func (q *riverQueue[Tx]) Enqueue(ctx context.Context, e Event) error {
	_, err := q.client.Insert(ctx, e, nil)
	return err
}

func (q *riverQueue[Tx]) EnqueueMany(ctx context.Context, list []Event) error {
	params := make([]river.InsertManyParams, len(list))
	for i, e := range list {
		params[i].Args = e
	}
	_, err := q.client.InsertManyFast(ctx, params)
	return err
}

func (q *riverQueue[Tx]) Work(ctx context.Context) error {
	work := context.WithoutCancel(ctx)
	if err := q.client.Start(work); err != nil {
		return err
	}
	<-ctx.Done()
	return q.client.Stop(work)
}

func (q *riverQueue[Tx]) Close() error { return q.close() }
