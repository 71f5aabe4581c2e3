package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a Redis of its own with an append-only file.
type redisServer struct {
	*server
	addr string
}

// startRedis starts a Redis that syncs its append-only file as fsync says:
// "everysec" or "always". Snapshots are off: beside the append-only file they
// add no durability and take time.
func startRedis(ctx context.Context, dir, fsync string) (*redisServer, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redis-server is not installed; on Debian: apt-get install redis-server")
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--bind", "127.0.0.1", "--port", port, "--daemonize", "no",
		"--appendonly", "yes", "--appendfsync", fsync, "--save", "")
	cmd.Dir = dir
	s, err := startServer(cmd, filepath.Join(dir, "redis.log"))
	if err != nil {
		return nil, err
	}
	r := &redisServer{server: s, addr: net.JoinHostPort("127.0.0.1", port)}
	client := r.client()
	defer client.Close()
	if err := s.ready(ctx, func(ctx context.Context) error { return client.Ping(ctx).Err() }); err != nil {
		_ = s.stop()
		return nil, err
	}
	return r, nil
}

func (r *redisServer) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: r.addr})
}

// empty removes all data, and the log of what has been, so that Redis does
// not rewrite its append-only file in the middle of a measurement.
func (r *redisServer) empty(ctx context.Context) error {
	client := r.client()
	defer client.Close()
	if err := client.FlushAll(ctx).Err(); err != nil {
		return err
	}
	if err := client.BgRewriteAOF(ctx).Err(); err != nil && !strings.Contains(err.Error(), "already in progress") {
		return err
	}
	for {
		info, err := client.Info(ctx, "persistence").Result()
		if err != nil {
			return err
		}
		if strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0") {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
