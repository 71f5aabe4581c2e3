package main

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// newJob is a job on its way.
type newJob struct {
	queue       string
	priority    int
	in          time.Duration
	at          string
	tags        []string
	maxAttempts int
}

func (a *app) enqueueCommand() *cobra.Command {
	j := &newJob{}
	cmd := &cobra.Command{
		Use: "enqueue KIND JSON", Short: "Store a job", Args: exactly("KIND", "JSON"),
		Long: `Store a job with these args; - reads them from stdin. Numbers keep their digits.
If a program has the file open, the job is stored as the program itself would do it:
the args have to fit the handler, and the policy of the kind says which queue.
Otherwise it goes into the queue "default" without --queue, and waits for a handler.`,
		Example: `  stint enqueue mail '{"to":"ana@example.org"}' -f app.db
  stint enqueue report - -f app.db --queue low --in 1h --tag monthly < args.json
  id=$(stint enqueue mail '{}' -f app.db -q)`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.enqueue(cmd.Context(), j, args[0], args[1]) },
	}
	f := cmd.Flags()
	f.StringVar(&j.queue, "queue", "", "the `queue`, instead of the kind's own")
	f.IntVar(&j.priority, "priority", 0, "from `1`, first, to 4, last")
	f.DurationVar(&j.in, "in", 0, "not before so much time, such as 90s or 1h30m")
	f.StringVar(&j.at, "at", "", "not before this `time`: 2026-11-22T14:00:00Z, or 2026-11-22 14:00 in the local zone")
	f.StringArrayVar(&j.tags, "tag", nil, "mark the job with this `word`")
	f.IntVar(&j.maxAttempts, "max-attempts", 0, "give up after so many attempts")
	cmd.MarkFlagsMutuallyExclusive("in", "at")
	return cmd
}

const maxArgs = 16 << 20

func (a *app) enqueue(ctx context.Context, j *newJob, kind, args string) error {
	if args == "-" {
		raw, err := io.ReadAll(io.LimitReader(a.input(ctx), maxArgs+1))
		if err != nil {
			return err
		}
		args = string(raw)
	}
	if !json.Valid([]byte(args)) {
		return usage("the args are no JSON: %s", shorten(args, 60))
	}
	f := fields{"kind": kind, "args": json.RawMessage(args)}
	if j.queue != "" {
		f["queue"] = j.queue
	}
	if j.priority != 0 {
		f["priority"] = j.priority
	}
	if j.in != 0 {
		f["in"] = j.in.String()
	}
	if j.at != "" {
		at, err := a.parseTime(j.at)
		if err != nil {
			return err
		}
		f["at"] = at.UTC().Format(time.RFC3339Nano)
	}
	if len(j.tags) > 0 {
		f["tags"] = j.tags
	}
	if j.maxAttempts != 0 {
		f["max_attempts"] = j.maxAttempts
	}
	return a.enqueueFields(ctx, f)
}

// stored is the answer to it.
type stored struct{ ID uint64 }

func (a *app) enqueueFields(ctx context.Context, f fields) error {
	var raw json.RawMessage
	err := a.with(ctx, func(c *client) (err error) {
		raw, err = c.post(ctx, "enqueue", f)
		return err
	})
	if err != nil {
		return err
	}
	return show(a, raw, func(stored stored) []fact { return []fact{{"stored", "job " + id(stored.ID)}} }, func(stored stored) string { return id(stored.ID) })
}

// parseTime reads a time as people write it.
func (a *app) parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	zone := time.Local
	if a.utc {
		zone = time.UTC
	}
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, text, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("%q is no time; write 2026-11-22T14:00:00Z or 2026-11-22 14:00", text)
}

// input is stdin, which ends with ctx: a read from a terminal cannot be broken
// off, so it goes on behind a pipe until the process ends.
func (a *app) input(ctx context.Context) io.Reader {
	reader, writer := io.Pipe()
	context.AfterFunc(ctx, func() { _ = reader.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.Copy(writer, a.in)
		_ = writer.CloseWithError(err)
	}()
	return reader
}
