package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// replyJSON answers the API. Texts keep <, > and &: nobody shows them as
// markup, since the answer says what it is and may not be sniffed.
func replyJSON(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // an error means that the reader has gone
}

// answer is an outcome for the API.
func (o outcome) answer() any {
	if o.data != nil {
		return o.data
	}
	return wire.Done{Did: o.verb, Target: o.target, Note: o.note}
}

// seeOther sends a browser on after an action, with a note of what it did. The
// Location is relative: only the browser knows where the handler is mounted.
func (d *dashboard) seeOther(w http.ResponseWriter, r *request, out outcome) {
	goTo := out.goTo
	if goTo == "" {
		goTo = backTo(r.params.get("back"))
	}
	u, err := url.Parse(goTo)
	if err != nil {
		u = &url.URL{}
	}
	query := u.Query()
	query.Set("note", d.notes.add(out.text()))
	u.RawQuery = query.Encode()
	w.Header().Set("Location", r.base+u.String())
	w.WriteHeader(http.StatusSeeOther)
}

// backTo is the page a form says it is on, from the root; nothing that leads
// elsewhere.
func backTo(back string) string {
	u, err := url.Parse(back)
	if err != nil || u.Scheme != "" || u.Host != "" || strings.HasPrefix(u.Path, "/") || strings.Contains(u.Path, "..") || strings.Contains(back, "\\") {
		return ""
	}
	return u.String()
}

// text is an outcome as a note.
func (o outcome) text() string {
	text := capital(o.verb) + " " + o.target
	if o.note != "" {
		text += ": " + o.note
	}
	return text + "."
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// refuse answers with an error, as a page or as JSON.
func (d *dashboard) refuse(w http.ResponseWriter, hr *http.Request, err error) {
	f := asFailure(err)
	if f.status == http.StatusInternalServerError {
		d.log.Error("stint dashboard: a request failed", "path", hr.URL.Path, "error", err)
	}
	r := d.request(hr)
	if r.api {
		replyJSON(w, f.status, wire.Error{Error: f.text, Status: f.status})
		return
	}
	if r.access.Role < View {
		http.Error(w, f.text, f.status) // no page: it would show the title
		return
	}
	if err := d.renderStatus(w, r, f.status, "error", page{Title: http.StatusText(f.status)}, f.text); err != nil {
		d.log.Error("stint dashboard: the page of an error failed", "path", hr.URL.Path, "error", err)
		http.Error(w, f.text, f.status)
	}
}

// statusOf is the status of an error of the queue.
func statusOf(err error) int {
	for _, one := range []struct {
		err    error
		status int
	}{
		{stint.ErrNotFound, http.StatusNotFound},
		{stint.ErrNoSchedule, http.StatusNotFound},
		{stint.ErrRunning, http.StatusConflict},
		{stint.ErrNotRunning, http.StatusConflict},
		{stint.ErrDuplicate, http.StatusConflict},
		{stint.ErrWrongKey, http.StatusConflict},
		{stint.ErrBadArgs, http.StatusBadRequest},
		{stint.ErrBadOption, http.StatusBadRequest},
		{stint.ErrBadFilter, http.StatusBadRequest},
		{stint.ErrBadSpec, http.StatusBadRequest},
		{stint.ErrArgsTooLarge, http.StatusRequestEntityTooLarge},
		{stint.ErrQueueFull, http.StatusInsufficientStorage},
		{stint.ErrFileFull, http.StatusInsufficientStorage},
		{stint.ErrClosed, http.StatusServiceUnavailable},
		{stint.ErrSyncFailed, http.StatusServiceUnavailable},
		{stint.ErrFileGone, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, one.err) {
			return one.status
		}
	}
	return http.StatusInternalServerError
}
