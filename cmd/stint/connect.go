package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"regexp"
	"strings"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/dashboard"
)

// How a command reaches the queue. All ways lead to the same HTTP API, so what
// is shown is the same by construction.
//
//  1. With --addr, over the network.
//  2. If the file can be locked, it is opened, and the handler of the dashboard
//     is called in this process. The file is let go of as soon as the command
//     has its data: a program that starts meanwhile waits for it.
//  3. Otherwise through the control socket of the program that has it.

const (
	lockTimeout = 250 * time.Millisecond
	lockTries   = 3 // another stint may have the file for a moment
	dialTimeout = 2 * time.Second

	// answerTimeout is for an answer to begin: a program that is stopped takes
	// connections too. What takes long is a task, and answers at once.
	answerTimeout = time.Minute
)

// connect is a client, to be closed soon.
func (a *app) connect(ctx context.Context) (*client, error) {
	if a.addr != "" {
		return a.remote()
	}
	if err := a.needFile(); err != nil {
		return nil, err
	}
	var locked error
	for range lockTries {
		c, err := a.open()
		if !errors.Is(err, stint.ErrLocked) {
			return c, err
		}
		locked = err
		if c, err = a.dial(ctx); c != nil || err != nil {
			return c, err
		}
	}
	return nil, a.inUse(locked)
}

// with calls fn with a client for as long as it takes.
func (a *app) with(ctx context.Context, fn func(*client) error) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	err = fn(c)
	return errors.Join(err, c.close())
}

// needFile wants a file that is there: a queue is never made by a slip of the
// hand.
func (a *app) needFile() error {
	if a.file == "" {
		return usage("which file? Name it with -f FILE or in STINT_FILE, or a dashboard with --addr")
	}
	info, err := os.Stat(a.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return notFound("there is no file %s", a.file)
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory, not the file of a queue", a.file)
	}
	return err
}

// open opens the file and serves the dashboard's API in this process.
func (a *app) open() (*client, error) {
	q, err := a.openFile(a.file)
	if err != nil {
		return nil, err
	}
	me := dashboard.Access{Role: dashboard.Admin, User: userName()}
	handler := dashboard.Handler(q, &dashboard.Config{
		NoControlSocket: true,
		Authorize:       func(*http.Request) dashboard.Access { return me },
		Logger:          slog.New(slog.DiscardHandler), // the answer says it as well
	})
	direct := &inProcess{handler: handler}
	a.closed = true
	return &client{
		base: local + "api/v1/", http: http.Client{Transport: direct}, offline: true,
		close: func() error {
			direct.wait()
			return q.Close()
		},
	}, nil
}

// openFile opens a queue to look at it, and never to work: nothing of what its
// program keeps may be removed by what this command is told by default.
func (a *app) openFile(path string) (*stint.Queue, error) {
	keys, err := a.keys()
	if err != nil {
		return nil, err
	}
	q, err := stint.Open(path, &stint.Config{
		LockTimeout: lockTimeout, Keys: keys, KeepCompleted: -1, KeepDead: -1, MaxDead: -1,
		Logger: slog.New(slog.DiscardHandler),
	})
	if errors.Is(err, stint.ErrWrongKey) {
		return nil, fmt.Errorf("%w (keys are given with --key-file or in STINT_KEYS)", err)
	}
	return q, err
}

// dial asks the program that has the file; neither client nor error if there
// is no socket that somebody listens at.
func (a *app) dial(ctx context.Context) (*client, error) {
	path, err := dashboard.ControlPath(a.file)
	if err != nil {
		return nil, nil // the system has none
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, unreachable("%s is in use, and its control socket %s belongs to another user: %w", a.file, path, err)
	}
	if err != nil {
		return nil, ctx.Err()
	}
	_ = conn.Close() // that was to see whether it answers
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
		ResponseHeaderTimeout: answerTimeout,
	}
	return &client{
		base: local + "api/v1/", http: http.Client{Transport: transport}, user: userName(),
		close: func() error { transport.CloseIdleConnections(); return nil },
	}, nil
}

var holder = regexp.MustCompile(`is open in process (\d+)`)

func (a *app) inUse(err error) error {
	by := ""
	if found := holder.FindStringSubmatch(err.Error()); found != nil {
		by = " by pid " + found[1]
	}
	return unreachable("%s is in use%s and offers no control socket; mount dashboard.Handler in the application (it opens one) or stop it", a.file, by)
}

// remote asks a dashboard elsewhere.
func (a *app) remote() (*client, error) {
	u, err := url.Parse(a.addr)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usage("--addr %q is no address such as https://app.example/jobs", a.addr)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerTimeout
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+"/api/v1/", ""
	u.RawQuery, u.Fragment = "", ""
	c := &client{
		base: u.String(), http: http.Client{Transport: transport}, token: a.token,
		close: func() error { transport.CloseIdleConnections(); return nil },
	}
	// A login page is no answer, and a POST must not become a GET.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// userName is who it is, for the action log.
func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return "cli:" + u.Username
	}
	return "cli"
}
