package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/dashboard"
)

// options say what a service is started with.
type options struct {
	addr    string
	db      string
	key     *ecdsa.PublicKey // nil: signatures are not looked at
	workers int
	maxJobs int
}

// service is the whole application: a file, the workers on it and the web
// server in front.
type service struct {
	queue    *stint.Queue
	url      string
	web      *http.Server
	stopWork context.CancelFunc
	parts    sync.WaitGroup // the workers and the web server
	ended    chan error     // one from each of them
}

// How long the parts may take to end: together less than the 30 s that most
// hosts grant.
const (
	webShutdownTimeout  = 5 * time.Second
	workShutdownTimeout = 15 * time.Second
)

// start opens the file and returns when requests are answered.
func start(opt options) (*service, error) {
	queue, err := stint.Open(opt.db, &stint.Config{
		Workers:         opt.workers,
		MaxJobs:         opt.maxJobs,
		ShutdownTimeout: workShutdownTimeout,
	})
	if err != nil {
		return nil, err
	}
	if err := createBuckets(queue); err != nil {
		return nil, errors.Join(err, queue.Close())
	}
	stint.Handle(queue, countEvent, nil)
	listener, err := net.Listen("tcp", opt.addr)
	if err != nil {
		return nil, errors.Join(err, queue.Close())
	}

	pages := &server{queue: queue, key: opt.key, jobs: dashboard.Handler(queue, &dashboard.Config{Title: "Mailings", BackURL: "/"})}
	work, stopWork := context.WithCancel(context.Background())
	s := &service{
		queue: queue,
		url:   urlOf(listener.Addr().(*net.TCPAddr)),
		web: &http.Server{
			Handler:           pages.routes(),
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      60 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
		},
		stopWork: stopWork,
		ended:    make(chan error, 2),
	}
	s.parts.Go(func() { s.ended <- queue.Run(work) })
	s.parts.Go(func() { s.ended <- s.web.Serve(listener) })
	return s, nil
}

// urlOf is where a person can open the page: a listener on every address is
// reached as localhost.
func urlOf(addr *net.TCPAddr) string {
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// wait returns when ctx ends, or when the workers or the web server do: one
// without the other would only look healthy.
func (s *service) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case err := <-s.ended:
		s.ended <- err // stop reports it
	}
}

// stop ends the service from the front to the back: requests first, because
// what they have accepted needs the queue, then the workers, then the file.
func (s *service) stop() error {
	grace, cancel := context.WithTimeout(context.Background(), webShutdownTimeout)
	defer cancel()
	err := s.web.Shutdown(grace)
	if err != nil {
		err = fmt.Errorf("requests still open after %v were cut off: %w", webShutdownTimeout, errors.Join(err, s.web.Close()))
	}
	s.stopWork()
	s.parts.Wait()
	close(s.ended)
	for ended := range s.ended {
		if !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
	}
	return errors.Join(err, s.queue.Close())
}
