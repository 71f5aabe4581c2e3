package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// server is a program that a peer needs and that listens on loopback.
//
//  1. startServer starts it; what it says goes to a file.
//  2. ready asks it again and again whether it answers.
//  3. stop asks it to end, and kills it when it does not.
type server struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

// startServer starts cmd. It is not bound to a context: an interrupted run
// must stop it in order, or its data directory cannot be removed.
func startServer(cmd *exec.Cmd, log string) (*server, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(s.ended)
	}()
	return s, nil
}

// ready returns when ping succeeds, or with the reason why it never will.
func (s *server) ready(ctx context.Context, ping func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s has ended: %s", filepath.Base(s.cmd.Path), s.said())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w: %s", filepath.Base(s.cmd.Path), err, s.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// said is the end of what the program wrote.
func (s *server) said() string {
	all, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(all[max(0, len(all)-1000):])
}

func (s *server) stop() error {
	if s == nil {
		return nil
	}
	// An interrupt makes PostgreSQL end its sessions and Redis write what it
	// has; PostgreSQL would wait for its clients on a plain termination.
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("%s did not end within 20 s and was killed", filepath.Base(s.cmd.Path))
	}
}

// freePort is a port of loopback that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}
