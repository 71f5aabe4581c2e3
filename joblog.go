package stint

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// Logger is a logger for the handler's own lines. They go to Config.Logger
// with the attributes job_id, kind, queue, attempt and, of a job that a
// schedule enqueued, schedule. Those from level Info on, whatever
// Config.Logger takes, are also kept with the job, as text with their own
// attributes: the last 16 KiB of whole lines, of which the first says how many
// came before. Get shows them in Info.Log while the job runs and when it is
// kept, and in Attempt.Log when the attempt has failed. They are stored with
// what else is stored of the job, so a crash may lose the last ones. A snooze
// or an interruption does not begin a new log, a new attempt does.
//
// It may be used from several goroutines. A job that does not call it pays
// nothing.
func (w *Work) Logger() *slog.Logger {
	e := w.run
	e.mu.Lock()
	logger, log := e.keep().logger, newLogTail(e.keep().logText())
	e.mu.Unlock()
	if logger != nil {
		return logger
	}
	attrs := []any{"job_id", e.id, "kind", w.Kind, "queue", w.Queue, "attempt", w.Attempt}
	if w.Schedule != "" {
		attrs = append(attrs, "schedule", w.Schedule)
	}
	logger = slog.New(&jobLogHandler{
		to:   e.q.log.With(attrs...).Handler(), // may be the user's code, so not under the mutex
		kept: slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: shortTime}),
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.keeper.logger == nil {
		e.keeper.logger, e.keeper.log = logger, log
	}
	return e.keeper.logger
}

// logText is the log as it is to be stored. e.mu is held.
func (k *keeper) logText() string {
	switch {
	case k.log != nil:
		return k.log.String()
	case k.e.rec.stash != nil:
		return k.e.rec.stash.log
	}
	return ""
}

// shortTime leaves the date out: the attempt has it.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		a.Value = slog.StringValue(a.Value.Time().Format("15:04:05.000"))
	}
	return a
}

// jobLogHandler is both: Config.Logger's handler, and the one that keeps.
type jobLogHandler struct{ to, kept slog.Handler }

func (h *jobLogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.to.Enabled(ctx, level)
}

func (h *jobLogHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		_ = h.kept.Handle(ctx, r.Clone()) // writes to memory
	}
	if !h.to.Enabled(ctx, r.Level) {
		return nil
	}
	return h.to.Handle(ctx, r)
}

func (h *jobLogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &jobLogHandler{h.to.WithAttrs(attrs), h.kept.WithAttrs(attrs)}
}

func (h *jobLogHandler) WithGroup(name string) slog.Handler {
	return &jobLogHandler{h.to.WithGroup(name), h.kept.WithGroup(name)}
}

const (
	maxLogSize  = 16 << 10
	maxLogLines = maxLogSize - 64 // leaves room for the first line
	droppedLine = "(%d earlier lines were dropped)\n"
)

// logTail keeps the last lines that are written to it.
type logTail struct {
	mu      sync.Mutex
	lines   []byte // guarded by mu
	dropped int    // guarded by mu
}

// newLogTail goes on with a text of String.
func newLogTail(text string) *logTail {
	l := &logTail{lines: []byte(text)}
	if n, _ := fmt.Sscanf(text, droppedLine, &l.dropped); n == 1 {
		l.lines = l.lines[bytes.IndexByte(l.lines, '\n')+1:]
	}
	return l
}

// Write adds a line, one to a call as a slog handler does it.
func (l *logTail) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(line) > maxLogLines {
		l.lines = append(l.lines, cut(string(line), maxLogLines-len("…\n"))...)
		l.lines = append(l.lines, "…\n"...)
	} else {
		l.lines = append(l.lines, line...)
	}
	from := 0
	for len(l.lines)-from > maxLogLines {
		from += bytes.IndexByte(l.lines[from:], '\n') + 1
		l.dropped++
	}
	l.lines = l.lines[:copy(l.lines, l.lines[from:])]
	return len(line), nil
}

func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dropped == 0 {
		return string(l.lines)
	}
	return fmt.Sprintf(droppedLine, l.dropped) + string(l.lines)
}
