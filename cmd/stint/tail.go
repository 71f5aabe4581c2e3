package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stintq/stint/internal/wire"
)

func (a *app) tailCommand() *cobra.Command {
	var types []string
	cmd := &cobra.Command{
		Use: "tail [FILE]", Short: "Tell what happens to jobs, as it happens", Args: a.takesFile,
		Long: `Tell what happens to jobs, as it happens, until ^C or until the program ends.
Nothing happens in a file that no program has open.`,
		Example: "  stint tail app.db\n  stint tail app.db --type job_failed,job_died --jsonl",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.tail(cmd.Context(), types) },
	}
	cmd.Flags().StringSliceVar(&types, "type", nil, "only these `types`: job_enqueued, job_ready, job_started, job_completed, job_failed, job_snoozed, job_died, job_removed, job_moved, queue_paused, queue_resumed")
	return cmd
}

func (a *app) tail(ctx context.Context, types []string) error {
	if a.output == "json" {
		return usage("events make no single document; use --jsonl")
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.close() }()
	if c.offline {
		return unreachable("no program has %s open, so nothing happens in it", a.file)
	}
	query := url.Values{}
	if len(types) > 0 {
		query.Set("types", strings.Join(types, ","))
	}
	answer, err := c.request(ctx, "GET", "events?"+query.Encode(), "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lost, err := a.events(answer.Body)
	switch {
	case ctx.Err() != nil:
		return nil // ^C is how this ends
	case lost != nil && a.addr != "":
		return unreachable("the connection is lost: %w", lost)
	case err == nil:
		fmt.Fprintln(a.err, "the program has ended")
	}
	return err
}

// maxEvent bounds a line: names are short.
const maxEvent = 1 << 20

// events tells them until the stream ends, or is lost.
func (a *app) events(r io.Reader) (lost, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue // it keeps the connection alive
		}
		var b bytes.Buffer
		if err := a.event(&b, lines.Bytes()); err != nil {
			return nil, err
		}
		if _, err := a.out.Write(b.Bytes()); err != nil {
			return nil, err
		}
	}
	return lines.Err(), nil
}

func (a *app) event(b *bytes.Buffer, line []byte) error {
	var e struct {
		wire.Event
		Count uint64
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("the stream of events cannot be read: %w", err)
	}
	switch {
	case e.Type == "dropped" && a.output != "jsonl":
		fmt.Fprintf(a.err, "%s events came too fast and are left out\n", number(e.Count))
	case a.output == "jsonl":
		writeLine(b, line)
	case a.ids && e.ID != 0:
		fmt.Fprintln(b, e.ID)
	case a.ids:
	case e.ID == 0:
		fmt.Fprintf(b, "%s  %-13s  %s\n", a.when(e.At), e.Type, cleanLine("queue "+e.Queue))
	default:
		fmt.Fprintf(b, "%s  %-13s  %s\n", a.when(e.At), e.Type, cleanLine(fmt.Sprintf("job %d  %s  queue %s", e.ID, e.Kind, e.Queue)))
	}
	return nil
}
