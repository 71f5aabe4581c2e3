package stint

import (
	"context"
	"log/slog"
)

// calmHandler keeps a Config.Logger that panics from ending the process: we
// log in goroutines of our own, where nobody else could recover it. What it
// had to say is lost.
type calmHandler struct{ to slog.Handler }

func (h calmHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() {
		if recover() != nil {
			enabled = false
		}
	}()
	return h.to.Enabled(ctx, level)
}

func (h calmHandler) Handle(ctx context.Context, r slog.Record) error {
	defer func() { _ = recover() }()
	return h.to.Handle(ctx, r)
}

func (h calmHandler) WithAttrs(attrs []slog.Attr) (with slog.Handler) {
	defer func() {
		if recover() != nil {
			with = h
		}
	}()
	return calmHandler{h.to.WithAttrs(attrs)}
}

func (h calmHandler) WithGroup(name string) (with slog.Handler) {
	defer func() {
		if recover() != nil {
			with = h
		}
	}()
	return calmHandler{h.to.WithGroup(name)}
}
