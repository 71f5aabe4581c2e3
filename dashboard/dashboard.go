package dashboard

import (
	"cmp"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/stintq/stint"
)

// Config says who may use the dashboard and how it looks. nil is a good one.
type Config struct {
	// Authorize says what the sender of a request may do, and who it is. It is
	// asked for each request, also for files and streams, and must be quick.
	// Without it, who is on this machine may do everything, and nobody else
	// anything: requests that have come through a proxy, or under a name that
	// is not this machine's, are refused. A proxy that hides that it is one, as
	// a bare proxy_pass of nginx may, cannot be told from a person at this
	// machine, so behind any proxy set Authorize.
	Authorize func(*http.Request) Access

	// Title is shown above each page; the name of the file by default.
	Title string

	// Environment is a label beside the title, such as "production".
	Environment string

	// BackURL is where "Back to app" leads; without it there is no such link.
	BackURL string

	// Redact replaces what nobody may see in args, results, checkpoints, and
	// in logs and errors, which it gets as a JSON string. It is called after
	// the values of keys that look like secrets (password, token, secret, …)
	// have been masked, and before anything is shown, searched or sent by the
	// API. It must not change its argument. kind is empty for what belongs to no
	// single kind: batches, the action log and tasks. Kinds, queues, tags and
	// names are shown as they are. Jobs that are duplicated or exported by an
	// Admin keep their real args.
	Redact func(kind string, data []byte) []byte

	// HideArgs shows no args, results and checkpoints at all, so that no job can
	// be duplicated on its page. Exports and backups have them.
	HideArgs bool

	// NoControlSocket switches off the socket beside the file, through which
	// the stint command speaks to the running program; see ControlPath.
	NoControlSocket bool

	// Logger gets what went wrong; slog.Default() by default.
	Logger *slog.Logger
}

// Handler serves the dashboard of a queue. Paths are relative to where it is
// mounted: take the prefix away with http.StripPrefix. A process needs one
// Handler for a queue; each keeps its own bulk tasks. Streams end when the
// queue's Run does, so that http.Server.Shutdown is not held up.
func Handler(q *stint.Queue, cfg *Config) http.Handler {
	d := newDashboard(q, cfg)
	h := d.handler()
	if !d.cfg.NoControlSocket {
		d.listen(h)
	}
	return h
}

// dashboard is a Handler.
type dashboard struct {
	q       *stint.Queue
	file    string // its path, which the database forgets when it is closed
	cfg     Config
	log     *slog.Logger
	pages   pageSet
	notes   notes
	tasks   tasks
	streams streams
	closed  chan struct{} // when the queue is

	budget       budget // of a search
	lastFailing  failingCache
	redactFaults redactFaults
}

func newDashboard(q *stint.Queue, cfg *Config) *dashboard {
	d := &dashboard{q: q, file: q.DB().Path(), closed: make(chan struct{})}
	if cfg != nil {
		d.cfg = *cfg
	}
	d.log = cmp.Or(d.cfg.Logger, slog.Default())
	if d.cfg.Title == "" {
		d.cfg.Title = filepath.Base(cmp.Or(d.file, "stint"))
	}
	d.pages = parsePages()
	q.OnClose(func() {
		close(d.closed)
		d.tasks.close()
	})
	return d
}
