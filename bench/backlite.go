package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"github.com/mikestefanello/backlite"
)

// backliteSystem is backlite on a SQLite file with a write-ahead log.
type backliteSystem struct {
	synchronous string // SQLite's pragma: "NORMAL" or "FULL"
}

func (s *backliteSystem) Name() string { return "backlite sqlite " + s.synchronous }

func (s *backliteSystem) Durability() string {
	if s.synchronous == "FULL" {
		return "fsync per commit"
	}
	return "fsync at checkpoints"
}

func (s *backliteSystem) Prepare(ctx context.Context, dir string) error {
	db, err := openSQLite(ctx, filepath.Join(dir, "backlite.db"), s.synchronous)
	if err != nil {
		return fmt.Errorf("SQLite: %w; its driver is written in C: install gcc and do not set CGO_ENABLED=0", err)
	}
	return db.Close()
}

func (s *backliteSystem) Open(ctx context.Context, dir string, opt Options) (Instance, error) {
	db, err := openSQLite(ctx, filepath.Join(dir, "backlite.db"), s.synchronous)
	if err != nil {
		return nil, err
	}
	client, err := backlite.NewClient(backlite.ClientConfig{
		DB:              db,
		NumWorkers:      opt.Workers,
		ReleaseAfter:    10 * time.Minute,
		CleanupInterval: time.Hour,
	})
	if err == nil {
		err = client.Install()
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	client.Register(backlite.NewQueue(func(ctx context.Context, task backliteTask) error {
		return opt.Handle(ctx, Event(task))
	}))
	return &backliteQueue{db: db, client: client}, nil
}

func (s *backliteSystem) Stop() error { return nil }

// openSQLite opens a file as backlite's documents recommend, with the
// write-ahead log and 5 s to wait for the lock. The one connection is our
// addition: writers then wait in a line. With any number of connections, the
// default, calls can fail with "database is locked" under load.
func openSQLite(ctx context.Context, path, synchronous string) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", fmt.Sprintf("file:%s?_journal=WAL&_timeout=5000&_sync=%s", path, synchronous))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// backliteTask is Event with the method that backlite asks for. Without a
// Retention completed tasks are deleted.
type backliteTask Event

func (backliteTask) Config() backlite.QueueConfig {
	return backlite.QueueConfig{Name: "event", MaxAttempts: 5, Backoff: 5 * time.Second}
}

type backliteQueue struct {
	db     *sql.DB
	client *backlite.Client
}

func (q *backliteQueue) Enqueue(ctx context.Context, e Event) error {
	_, err := q.client.Add(backliteTask(e)).Ctx(ctx).Save()
	return err
}

func (q *backliteQueue) EnqueueMany(ctx context.Context, list []Event) error {
	tasks := make([]backlite.Task, len(list))
	for i, e := range list {
		tasks[i] = backliteTask(e)
	}
	_, err := q.client.Add(tasks...).Ctx(ctx).Save()
	return err
}

func (q *backliteQueue) Work(ctx context.Context) error {
	// The end of this context would cut off the completion of running tasks.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	q.client.Start(work)
	<-ctx.Done()
	// Stop waits for tasks that were fetched for a worker and that no worker
	// will take any more, so in the middle of a backlog only the time limit
	// ends it.
	limit, done := context.WithTimeout(work, time.Second)
	defer done()
	q.client.Stop(limit)
	return nil
}

func (q *backliteQueue) Close() error { return q.db.Close() }
