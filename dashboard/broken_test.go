package dashboard

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// everyPage is what a GET of each route answers; names and ids are of things
// that are there.
func everyPage(t *testing.T, h http.Handler, look func(target string, w *answered)) {
	t.Helper()
	for _, rt := range routes() {
		if rt.show == nil || rt.stream {
			continue
		}
		target := strings.NewReplacer("{$}", "", "{id}", "1", "{name}", "all.css").Replace(rt.path)
		query := map[string]string{
			"/schedule": "?name=nightly", "/queue": "?name=default", "/kind": "?name=test",
			"/api/v1/queues/one": "?queue=default", "/api/v1/schedules/one": "?schedule=nightly", "/api/v1/schedules/next": "?spec=@hourly",
		}[target]
		response, text := get(t, h, target+query)
		look(target, &answered{response.StatusCode, text})
	}
}

type answered struct {
	code int
	text string
}

// brokenQueue has a job and a schedule.
func brokenQueue(t *testing.T) (*stint.Queue, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jobs.db")
	q, err := stint.Open(path, &stint.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	require.NoError(t, q.Periodic("nightly", "@daily", testArgs{}))
	_, err = q.Enqueue(t.Context(), testArgs{})
	require.NoError(t, err)
	return q, path
}

func TestPagesOfAClosedQueue(t *testing.T) {
	t.Parallel()
	q, _ := brokenQueue(t)
	h := testHandler(q, Admin)
	require.NoError(t, q.Close())
	memory := []string{"/static/all.css", "/api/v1/openapi.json", "/api/v1/queues", "/api/v1/kinds", "/api/v1/queues/one", "/api/v1/tasks", "/api/v1/schedules/next"}
	everyPage(t, h, func(target string, w *answered) {
		switch {
		case target == "/api/v1/stats":
			require.Contains(t, w.text, "closed", "its sentence on health")
		case w.code == http.StatusOK && !strings.HasPrefix(target, "/static/") && !strings.HasPrefix(target, "/api/") && target != "/metrics":
			require.Contains(t, w.text, "The queue is closed", target)
		case w.code != http.StatusOK && !strings.Contains(target, "tasks/") && !strings.HasSuffix(target, "/stack"):
			require.Equal(t, http.StatusServiceUnavailable, w.code, "%s: %s", target, w.text)
			require.Contains(t, w.text, "closed", target)
		case w.code == http.StatusOK && strings.HasPrefix(target, "/api/"):
			require.Contains(t, append(memory, "/api/v1/count"), target)
		}
	})
	for _, rt := range routes() {
		if rt.act == nil || strings.Contains(rt.path, "/tasks/") {
			continue
		}
		form := map[string][]string{
			"queue": {"default"}, "n": {"1"}, "schedule": {"nightly"}, "from": {"2026-01-01"}, "to": {"2026-01-02"},
			"kind": {"test"}, "verb": {"kill"}, "ids": {"1"},
		}
		response, text := post(t, h, strings.Replace(rt.path, "{id}", "1", 1), form)
		if strings.HasSuffix(rt.path, "/import") {
			continue // it takes no form
		}
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode, "%s: %s", rt.path, text)
		require.Contains(t, text, "closed", rt.path)
	}
}

// A queue whose file is gone still shows what it knows, and each page says what
// has happened.
func TestPagesOfAFailedQueue(t *testing.T) {
	t.Parallel()
	q, path := brokenQueue(t)
	h := testHandler(q, Admin)
	require.NoError(t, os.Remove(path))
	_, err := q.Enqueue(t.Context(), testArgs{})
	require.ErrorIs(t, err, stint.ErrFileGone)
	everyPage(t, h, func(target string, w *answered) {
		require.NotEqual(t, http.StatusInternalServerError, w.code, "%s: %s", target, w.text)
		switch {
		case target == "/healthz":
			require.Equal(t, &answered{http.StatusServiceUnavailable, "failed\n"}, w)
		case strings.HasPrefix(target, "/api/"), strings.HasPrefix(target, "/static/"), target == "/metrics":
		default:
			require.Contains(t, strings.ToLower(w.text), "the file is not there any more", target)
		}
	})
	for _, path := range []string{"/jobs/1/delete", "/queues/pause", "/enqueue"} {
		response, text := post(t, h, path, map[string][]string{"queue": {"default"}, "kind": {"test"}})
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode, path)
		require.Contains(t, text, "the file is not there any more", path)
	}
}
