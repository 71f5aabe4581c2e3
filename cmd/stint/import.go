package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

func (a *app) importCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import EXPORT", Short: "Read what export has written", Args: exactly("EXPORT"),
		Long: `Read what export has written; - is stdin.

If the file is not there it is made, with all that was exported: ids, times and the
identity of the file stay as they were, so never work the old file and this one both.
Keys that are given encrypt it.

Into a file that is there, or a program that runs, the unfinished jobs of the export
are stored as new jobs with new ids. Doing that twice stores them twice.`,
		Example: "  stint import -f new.db jobs.jsonl\n  stint export old.db | stint import -f app.db -",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.importFrom(cmd.Context(), args[0]) },
	}
}

func (a *app) importFrom(ctx context.Context, name string) error {
	in, total := a.input, int64(0)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			total = info.Size()
		}
		in = func(ctx context.Context) io.Reader { return &endingReader{ctx, f} }
	}
	if a.addr == "" && a.file != "" {
		if _, err := os.Stat(a.file); errors.Is(err, fs.ErrNotExist) {
			return a.importNew(in(ctx))
		}
	}
	return a.importInto(ctx, in(ctx), total)
}

// importNew makes a file.
func (a *app) importNew(in io.Reader) error {
	keys, err := a.keys()
	if err != nil {
		return err
	}
	bar := a.startProgress("import jobs", false)
	defer bar.end()
	jobs := 0
	err = stint.Import(a.file, in, &stint.Config{Keys: keys, Logger: slog.New(slog.DiscardHandler)}, func(p stint.Progress) {
		jobs = p.Done
		bar.show(wire.Progress{Done: p.Done, Total: p.Total, Text: p.Text})
	})
	if err != nil {
		return err
	}
	bar.end()
	raw, err := json.Marshal(wire.Imported{Stored: jobs, Lines: []wire.Refused{}})
	if err != nil {
		return err
	}
	return a.printImported(raw)
}

// importInto stores new jobs.
func (a *app) importInto(ctx context.Context, in io.Reader, total int64) error {
	var raw json.RawMessage
	err := a.with(ctx, func(c *client) (err error) {
		bar := a.startProgress("import", true)
		defer bar.end()
		counted := io.TeeReader(in, &counting{w: io.Discard, p: bar, total: total})
		raw, err = c.whole(c.request(ctx, "POST", "import", "application/x-ndjson", counted))
		return err
	})
	if err != nil {
		return err
	}
	return a.printImported(raw)
}

func (a *app) printImported(raw json.RawMessage) error {
	var done wire.Imported
	if err := json.Unmarshal(raw, &done); err != nil {
		return err
	}
	for _, line := range done.Lines {
		fmt.Fprintf(a.err, "line %d: %s\n", line.Line, cleanLine(line.Error))
	}
	if printed, err := a.printedJSON(raw); err != nil {
		return err
	} else if !printed {
		if err := a.say("import", a.file+a.addr, plural(done.Stored, "job")+" stored"); err != nil {
			return err
		}
	}
	if done.Refused > 0 {
		return fmt.Errorf("%s refused", plural(done.Refused, "line"))
	}
	return nil
}

// endingReader ends with its context.
type endingReader struct {
	ctx context.Context
	r   io.Reader
}

func (e *endingReader) Read(p []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.r.Read(p)
}
