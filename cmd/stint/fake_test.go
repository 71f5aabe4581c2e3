package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint/internal/wire"
)

// fake is an API that answers what a test wants, for what is hard to bring
// about with a queue.
func fake(t *testing.T, routes map[string]http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /api/v1/"+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			handler(w, r)
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func send(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func TestInterruptStopsATask(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var stopped, asked atomic.Int32
	task := func() wire.Task {
		one := wire.Task{ID: "T1", Verb: "delete", Target: "all dead jobs", StartedAt: time.Now(), Progress: wire.Progress{Done: 7, Total: 9}}
		if stopped.Load() > 0 && asked.Add(1) > 2 { // the step it is at takes a while
			one.EndedAt, one.Note = time.Now(), "stopped: 7 jobs deleted"
		}
		return one
	}
	address := fake(t, map[string]http.HandlerFunc{
		"GET count":          func(w http.ResponseWriter, _ *http.Request) { send(w, wire.Count{Count: 9}) },
		"POST bulk":          func(w http.ResponseWriter, _ *http.Request) { send(w, task()) },
		"GET tasks/T1":       func(w http.ResponseWriter, _ *http.Request) { cancel(); send(w, task()) },
		"POST tasks/T1/stop": func(w http.ResponseWriter, _ *http.Request) { stopped.Add(1); send(w, wire.Done{Did: "stop"}) },
	})
	var out, errs strings.Builder
	code := run(ctx, []string{"jobs", "delete", "--state", "dead", "--yes", "--addr", address}, streams{in: strings.NewReader(""), out: &out, err: &errs})
	require.Equal(t, exitInterrupted, code, errs.String())
	require.EqualValues(t, 1, stopped.Load())
	require.Equal(t, "stopped: 7 jobs deleted\nstint: interrupted\n", errs.String())
	require.Empty(t, out.String())
}

func TestATaskThatFails(t *testing.T) {
	t.Parallel()
	address := fake(t, map[string]http.HandlerFunc{
		"POST system/compact": func(w http.ResponseWriter, _ *http.Request) { send(w, wire.Task{ID: "T1", Verb: "compact"}) },
		"GET tasks/T1": func(w http.ResponseWriter, _ *http.Request) {
			send(w, wire.Task{ID: "T1", Verb: "compact", EndedAt: time.Now(), Error: "stint: no room on the disk"})
		},
	})
	a := stintCLI(t, "compact", "--addr", address)
	require.Equal(t, exitError, a.code)
	require.Equal(t, "stint: no room on the disk\n", a.err)
}

func TestASearchThatStopsAtItsBudgetGoesOn(t *testing.T) {
	t.Parallel()
	var asked []string
	address := fake(t, map[string]http.HandlerFunc{
		"GET jobs": func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			asked = append(asked, fmt.Sprintf("%s after %s", q.Get("limit"), q.Get("after")))
			switch len(asked) {
			case 1:
				send(w, wire.Jobs{Jobs: []wire.Job{}, Next: "a", Searched: 1000, Partial: true})
			case 2:
				send(w, wire.Jobs{Jobs: []wire.Job{{ID: 9}, {ID: 8}}, Next: "b", Searched: 1000, Partial: true})
			default:
				send(w, wire.Jobs{Jobs: []wire.Job{{ID: 7}}, Next: "c"})
			}
		},
	})
	a := stintCLI(t, "jobs", "list", "--limit", "3", "-q", "--addr", address, "--after", "z")
	require.Equal(t, exitDone, a.code, a.err)
	require.Equal(t, "9\n8\n7\n", a.out)
	require.Equal(t, []string{"3 after z", "3 after a", "1 after b"}, asked)
	require.Equal(t, "there may be more: --all, --limit 30, or --after c\n", a.err)
}

func TestABarIsShownWhenATaskTakesLong(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	address := fake(t, map[string]http.HandlerFunc{
		"POST system/compact": func(w http.ResponseWriter, _ *http.Request) {
			send(w, wire.Task{ID: "T1", Verb: "compact", Target: "file " + evil})
		},
		"GET tasks/T1": func(w http.ResponseWriter, _ *http.Request) {
			one := wire.Task{ID: "T1", Verb: "compact", Target: "file", Note: "smaller", Progress: wire.Progress{Done: 5, Total: 10}}
			if time.Since(begin) > 2*barAfter {
				one.EndedAt = time.Now()
			}
			send(w, one)
		},
	})
	a := stintWith(t, streams{live: true}, "compact", "--addr", address)
	require.Equal(t, exitDone, a.code, a.err)
	require.Equal(t, "compact file: smaller\n", a.out, "data and progress do not mix")
	require.Contains(t, a.err, "50%")
	require.Contains(t, a.err, cleanLine(evil))
	require.NotContains(t, a.err, "\x1b]0;")
	begin = time.Now()
	require.Empty(t, stintCLI(t, "compact", "--addr", address).err, "not where nobody looks")
}

func TestNoTokenIsNamed(t *testing.T) {
	t.Parallel()
	address := fake(t, map[string]http.HandlerFunc{"GET stats": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		send(w, wire.Error{Error: "you may not see this"})
	}})
	named := " (no token was sent; it is given with --token or in STINT_TOKEN)\n"
	require.Equal(t, answer{exitError, "", "stint: you may not see this" + named}, stintCLI(t, "stats", "--addr", address))
	require.Equal(t, answer{exitError, "", "stint: you may not see this\n"}, stintCLI(t, "stats", "--addr", address, "--token", "x"))
	withUser := strings.Replace(address, "http://", "http://ana:secret@", 1)
	require.Equal(t, answer{exitError, "", "stint: you may not see this\n"}, stintCLI(t, "stats", "--addr", withUser))
}

// A password in the address is not shown.
func TestAddressIsRedacted(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<p>hello")) }))
	defer server.Close()
	a := stintCLI(t, "stats", "--addr", strings.Replace(server.URL, "http://", "http://ana:secret@", 1))
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.err, "text/html and no JSON; is a dashboard there?")
	require.NotContains(t, a.err, "secret")
}

// A program that is stopped takes connections, and answers nothing.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	a := &app{addr: "http://" + listener.Addr().String()}
	c, err := a.connect(t.Context())
	require.NoError(t, err)
	transport := c.http.Transport.(*http.Transport)
	require.Equal(t, answerTimeout, transport.ResponseHeaderTimeout)
	transport.ResponseHeaderTimeout = time.Millisecond
	_, err = c.get(t.Context(), "stats", nil)
	require.ErrorContains(t, err, "there was no answer for 1m0s")
	require.Equal(t, exitUnreachable, codeOf(err))
}
