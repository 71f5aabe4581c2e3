package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stintq/stint/dashboard"
)

func (a *app) uiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ui [FILE]", Short: "Show the dashboard on a copy of the file", Args: a.takesFile,
		Long: `Show the dashboard on a copy of the file, to look at and not to change anything, until
^C. The copy is as the file is at this moment; jobs that run in it are shown as ready.
It is served on this machine only, at an address that nobody can guess, and deleted
at the end.`,
		Example: "  stint ui app.db",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.ui(cmd.Context()) },
	}
}

func (a *app) ui(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "stint-ui-*") // for its owner only
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "copy.db")
	if err := save(path, false, func(w io.Writer) error { return a.download(ctx, "backup", w) }); err != nil {
		return err
	}
	q, err := a.openFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	prefix := "/" + strings.ToLower(rand.Text())
	title := filepath.Base(a.file)
	if a.addr != "" {
		title = a.addr
	}
	handler := http.StripPrefix(prefix, dashboard.Handler(q, &dashboard.Config{
		NoControlSocket: true, Title: title, Environment: "copy of " + time.Now().Format("15:04:05"),
		Authorize: func(*http.Request) dashboard.Access { return dashboard.Access{Role: dashboard.View, User: userName()} },
		Logger:    slog.New(slog.NewTextHandler(a.err, nil)),
	}))
	return a.serve(ctx, listener, prefix, handler)
}

// serve shows it until ctx ends. Requests that are under way then, streams
// among them, are cut off: nothing can be lost.
func (a *app) serve(ctx context.Context, listener net.Listener, prefix string, handler http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", handler)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	failed := make(chan error, 1)
	serving.Go(func() { failed <- server.Serve(listener) })
	defer serving.Wait()
	defer func() { _ = server.Close() }()
	if _, err := fmt.Fprintf(a.out, "http://%s%s/\n", listener.Addr(), prefix); err != nil {
		return err
	}
	fmt.Fprintln(a.err, "^C ends it")
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}
