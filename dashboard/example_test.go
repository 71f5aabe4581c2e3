package dashboard_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/stintq/stint"
	"github.com/stintq/stint/dashboard"
)

// temporary is a queue in a directory of its own.
func temporary() (q *stint.Queue, clean func()) {
	dir, err := os.MkdirTemp("", "stint")
	if err != nil {
		panic(err)
	}
	q, err = stint.Open(filepath.Join(dir, "app.db"), &stint.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	return q, func() {
		if err := q.Close(); err != nil {
			panic(err)
		}
		_ = os.RemoveAll(dir)
	}
}

func ExampleHandler() {
	q, clean := temporary() // stint.Open("app.db", nil)
	defer clean()

	mux := http.NewServeMux()
	mux.Handle("/jobs/", http.StripPrefix("/jobs", dashboard.Handler(q, nil)))

	server := httptest.NewServer(mux) // http.ListenAndServe("localhost:8080", mux)
	defer server.Close()
	for _, path := range []string{"/jobs/", "/jobs/queues", "/jobs/healthz"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		response.Body.Close()
		fmt.Println(path, response.Status)
	}
	// Output:
	// /jobs/ 200 OK
	// /jobs/queues 200 OK
	// /jobs/healthz 200 OK
}

// People are let in by a token here. An application has its own sessions.
func ExampleConfig_authorize() {
	q, clean := temporary()
	defer clean()
	people := map[string]dashboard.Access{
		"Bearer anas-token": {Role: dashboard.Operate, User: "ana@example.org"},
		"Bearer bens-token": {Role: dashboard.View, User: "ben@example.org"},
	}
	h := dashboard.Handler(q, &dashboard.Config{
		Environment: "production",
		Authorize: func(r *http.Request) dashboard.Access {
			return people[r.Header.Get("Authorization")] // the zero Access may do nothing
		},
	})

	for _, token := range []string{"anas-token", "bens-token", "no-token"} {
		r := httptest.NewRequest("POST", "/api/v1/queues/pause", strings.NewReader(`{"queue":"mail","reason":"bounces"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(token, w.Code)
	}
	for action, err := range q.Actions() {
		fmt.Println(action.By, action.Verb, action.Target, action.Note, err)
	}
	// Output:
	// anas-token 200
	// bens-token 403
	// no-token 403
	// ana@example.org pause queue mail bounces <nil>
}

// Redact hides what only the application knows to be private.
func ExampleConfig_redact() {
	q, clean := temporary()
	defer clean()
	h := dashboard.Handler(q, &dashboard.Config{
		Authorize: func(*http.Request) dashboard.Access { return dashboard.Access{Role: dashboard.View} },
		Redact: func(kind string, data []byte) []byte {
			return []byte(strings.ReplaceAll(string(data), "ana@example.org", "[mail]"))
		},
	})
	id, err := q.EnqueueJSON(context.Background(), "welcome", []byte(`{"to":"ana@example.org","password":"hunter2"}`))
	if err != nil {
		fmt.Println(err)
		return
	}

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/jobs/"+id.String(), nil))
	fmt.Println(strings.Contains(w.Body.String(), `"args":{"to":"[mail]","password":"[redacted]"}`))
	// Output: true
}
