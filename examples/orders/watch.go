package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/stintq/stint/dashboard"
)

// watch lets people see the daemon's jobs: through the stint command, and, if
// there is an address for it, in a browser.
func (s *shop) watch() (end func() error, err error) {
	pages := dashboard.Handler(s.queue, &dashboard.Config{Title: "Orders"})
	if s.http == "" {
		return func() error { return nil }, nil
	}
	listener, err := net.Listen("tcp", s.http)
	if err != nil {
		return nil, fmt.Errorf("%w; -http names another address", err)
	}
	slog.Info("the dashboard is ready", "url", "http://"+listener.Addr().String())
	server := &http.Server{Handler: pages, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		if end := <-served; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
		return err
	}, nil
}
