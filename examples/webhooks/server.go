package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/stintq/stint"
)

// server answers the web requests.
type server struct {
	queue *stint.Queue
	key   *ecdsa.PublicKey // nil: signatures are not looked at
	jobs  http.Handler     // the dashboard, for who is on this machine
}

// maxBody bounds a request; SendGrid's batches stay below 1 MB.
const maxBody = 4 << 20

// retryAfter is when a refused sender should come again, in seconds.
const retryAfter = "10"

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook", s.receive)
	mux.HandleFunc("GET /mailings", s.mailings)
	mux.HandleFunc("GET /{$}", s.page)
	if s.jobs != nil {
		mux.Handle("/jobs/", http.StripPrefix("/jobs", s.jobs))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy(""))
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// policy is a Content-Security-Policy that allows nothing but the styles that
// the style source names.
func policy(style string) string {
	rules := "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if style != "" {
		rules += "; style-src " + style
	}
	return rules
}

// receive stores a batch of events. SendGrid sends a batch again until it
// gets a 2xx, so that is said only once the whole batch is on disk.
func (s *server) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(w, "the body is larger than 4 MiB: send the events in smaller batches", http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "the body could not be read to its end", http.StatusBadRequest)
		return
	}
	if s.key != nil {
		if err := verify(s.key, r.Header, body, time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
	}
	events, err := parseEvents(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if len(events) > 0 {
		if _, err := s.queue.EnqueueAll(r.Context(), events); err != nil {
			refuse(w, err)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// refuse tells the sender what to do about a batch that was not stored.
func refuse(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, stint.ErrQueueFull), errors.Is(err, stint.ErrFileFull), errors.Is(err, stint.ErrClosed):
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "no room for the events right now: send them again later", http.StatusServiceUnavailable)
	case errors.Is(err, stint.ErrArgsTooLarge):
		http.Error(w, "an event is too large", http.StatusRequestEntityTooLarge)
	case errors.Is(err, context.Canceled): // the sender has gone; nobody reads this
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		slog.Error("events were not stored", "err", err)
		http.Error(w, "the events could not be stored: send them again later", http.StatusInternalServerError)
	}
}

func (s *server) mailings(w http.ResponseWriter, _ *http.Request) {
	counted, err := newReport(s.queue)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counted) // an error here means that the reader has gone
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"thousands": thousands[uint64]}).Parse(pageText))

// maxRows bounds the table of the page; /mailings has them all.
const maxRows = 100

// view is what page.html is filled with.
type view struct {
	report
	Rows  []Mailing
	More  int
	Nonce string
}

func (s *server) page(w http.ResponseWriter, _ *http.Request) {
	counted, err := newReport(s.queue)
	if err != nil {
		fail(w, err)
		return
	}
	rows := counted.Mailings[:min(len(counted.Mailings), maxRows)]
	view := view{report: counted, Rows: rows, More: len(counted.Mailings) - len(rows), Nonce: rand.Text()}

	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy("'nonce-"+view.Nonce+"'"))
	_ = pageTemplate.Execute(w, view)
}

func fail(w http.ResponseWriter, err error) {
	slog.Error("the counters could not be read", "err", err)
	http.Error(w, "the counters could not be read", http.StatusInternalServerError)
}
