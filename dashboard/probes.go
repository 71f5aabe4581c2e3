package dashboard

import (
	"errors"
	"io"
	"net/http"

	"github.com/stintq/stint"
)

// Probes are for whoever starts and watches the program. They often come
// without a name and from elsewhere, so they are answered without a role, and
// then with a word that says nothing of the jobs.
//
//   - /healthz is alive as long as the file takes writes: after a failed sync,
//     a file that is gone or Close, only to start the program again helps.
//   - /readyz is ready while the queue does its work; see Queue.Health. Who may
//     view the dashboard reads what is wrong.
var healthRoutes = []route{
	{method: "GET", path: "/healthz", role: None, show: (*dashboard).alive},
	{method: "GET", path: "/readyz", role: None, show: (*dashboard).ready},
}

func (d *dashboard) alive(w http.ResponseWriter, r *request) error {
	switch err := d.q.Health(); {
	case errors.Is(err, stint.ErrClosed):
		return probe(w, http.StatusServiceUnavailable, "closed\n")
	case errors.Is(err, stint.ErrSyncFailed), errors.Is(err, stint.ErrFileGone), errors.Is(err, stint.ErrCorrupt):
		return probe(w, http.StatusServiceUnavailable, "failed\n")
	}
	return probe(w, http.StatusOK, "ok\n")
}

func (d *dashboard) ready(w http.ResponseWriter, r *request) error {
	err := d.q.Health()
	switch {
	case err == nil:
		return probe(w, http.StatusOK, "ok\n")
	case r.access.Role < View:
		return probe(w, http.StatusServiceUnavailable, "not ready\n")
	}
	return probe(w, http.StatusServiceUnavailable, "not ready\n"+err.Error()+"\n") // a line for each cause
}

func probe(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // an error means that the reader has gone
	return nil
}
