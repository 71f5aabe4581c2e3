package dashboard

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// testQueue is a queue in a file of its own, checked when the test ends.
func testQueue(t testing.TB, cfg *stint.Config) *stint.Queue {
	t.Helper()
	if cfg == nil {
		cfg = &stint.Config{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	q, err := stint.Open(filepath.Join(t.TempDir(), "jobs.db"), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		faults, err := q.Check(context.Background())
		if err == nil {
			require.Empty(t, faults)
		}
		require.NoError(t, q.Close())
	})
	return q
}

// testHandler is its dashboard, without a control socket, for somebody with a
// role.
func testHandler(q *stint.Queue, role Role) http.Handler {
	return Handler(q, &Config{
		NoControlSocket: true, Logger: slog.New(slog.DiscardHandler),
		Authorize: func(*http.Request) Access { return Access{Role: role, User: "ana"} },
	})
}

// get asks for a path and returns the answer with its body.
func get(t testing.TB, h http.Handler, path string) (*http.Response, string) {
	t.Helper()
	return answer(t, h, httptest.NewRequest(http.MethodGet, path, nil))
}

// post sends a form.
func post(t testing.TB, h http.Handler, path string, form url.Values) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return answer(t, h, r)
}

// postJSON sends a JSON object.
func postJSON(t testing.TB, h http.Handler, path, body string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return answer(t, h, r)
}

func answer(t testing.TB, h http.Handler, r *http.Request) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	result := w.Result()
	body, err := io.ReadAll(result.Body)
	require.NoError(t, err)
	return result, string(body)
}

// task is a kind whose handler a test chooses.
type testArgs struct {
	Text string `json:"text"`
}

func (testArgs) Kind() string { return "test" }
