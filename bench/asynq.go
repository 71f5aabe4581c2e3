package main

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"
)

// asynqSystem is asynq on a Redis with an append-only file.
type asynqSystem struct {
	fsync string // Redis' appendfsync
	redis *redisServer
}

func (s *asynqSystem) Name() string { return "asynq redis " + s.fsync }

func (s *asynqSystem) Durability() string {
	if s.fsync == "always" {
		return "fsync before the answer"
	}
	return "fsync every second"
}

func (s *asynqSystem) Prepare(ctx context.Context, dir string) (err error) {
	s.redis, err = startRedis(ctx, dir, s.fsync)
	return err
}

// Open leaves dir empty: the data lies with the server.
func (s *asynqSystem) Open(ctx context.Context, _ string, opt Options) (Instance, error) {
	if err := s.redis.empty(ctx); err != nil {
		return nil, err
	}
	redis := asynq.RedisClientOpt{Addr: s.redis.addr, PoolSize: asynqConnections}
	return &asynqQueue{client: asynq.NewClient(redis), redis: redis, opt: opt}, nil
}

func (s *asynqSystem) Stop() error {
	if s.redis == nil {
		return nil
	}
	return s.redis.stop()
}

// asynqConnections is as many as the producers of any workload; asynq's own
// default is 10 for each processor.
const asynqConnections = 64

type asynqQueue struct {
	client *asynq.Client
	redis  asynq.RedisClientOpt
	opt    Options
}

func (q *asynqQueue) Enqueue(ctx context.Context, e Event) error {
	payload, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = q.client.EnqueueContext(ctx, asynq.NewTask(e.Kind(), payload))
	return err
}

// EnqueueMany uses all connections at once, because asynq has no call for
// more than one task, and no transactions.
func (q *asynqQueue) EnqueueMany(ctx context.Context, list []Event) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(asynqConnections, len(list)) {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return nil
				}
				if err := q.Enqueue(ctx, list[i]); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

func (q *asynqQueue) Work(ctx context.Context) error {
	s := asynq.NewServer(q.redis, asynq.Config{
		Concurrency: q.opt.Workers,
		// asynq polls, by default once a second, and that would be its latency.
		TaskCheckInterval: time.Millisecond,
		LogLevel:          asynq.FatalLevel,
		ShutdownTimeout:   2 * time.Second,
	})
	if err := s.Start(asynq.HandlerFunc(q.handle)); err != nil {
		return err
	}
	<-ctx.Done()
	s.Shutdown()
	return nil
}

func (q *asynqQueue) handle(ctx context.Context, t *asynq.Task) error {
	var e Event
	if err := json.Unmarshal(t.Payload(), &e); err != nil {
		return err
	}
	return q.opt.Handle(ctx, e)
}

func (q *asynqQueue) Close() error { return q.client.Close() }
