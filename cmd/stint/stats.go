package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/stintq/stint/internal/wire"
)

func (a *app) statsCommand() *cobra.Command {
	var watch time.Duration
	cmd := &cobra.Command{
		Use: "stats [FILE]", Short: "Tell how the queue is", Args: a.takesFile,
		Long: `Tell how the queue is: first in one sentence, then in numbers.

--watch tells it again and again until ^C. A file that no program works on is
opened anew each time, so that a program can start meanwhile.`,
		Example: "  stint stats app.db\n  stint stats app.db --watch\n  stint stats app.db --watch=10s --jsonl >> stats.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("watch") {
				return a.stats(cmd.Context())
			}
			return a.watch(cmd.Context(), watch)
		},
	}
	cmd.Flags().DurationVar(&watch, "watch", 2*time.Second, "tell it every so often, until ^C")
	cmd.Flags().Lookup("watch").NoOptDefVal = "2s"
	return cmd
}

func (a *app) stats(ctx context.Context) error {
	raw, err := a.read(ctx, "stats", nil)
	if err != nil {
		return err
	}
	if done, err := a.printedJSON(raw); done {
		return err
	}
	var b bytes.Buffer
	if err := a.statsTable(&b, raw); err != nil {
		return err
	}
	_, err = a.out.Write(b.Bytes())
	return err
}

const clearScreen = "\x1b[H\x1b[2J"

// watch tells the stats until ctx ends. Once they were there, a file that is in
// the way for a moment is no reason to end.
func (a *app) watch(ctx context.Context, every time.Duration) error {
	if every < 100*time.Millisecond {
		return usage("--watch=%s: 100ms is the least", every)
	}
	if a.output == "json" {
		return usage("--watch makes no single document; use --jsonl")
	}
	for first := true; ; first = false {
		raw, err := a.read(ctx, "stats", nil)
		if ctx.Err() != nil {
			return nil // ^C is how this ends
		}
		if err != nil && first {
			return err
		}
		var b bytes.Buffer
		switch {
		case err != nil:
			fmt.Fprintln(a.err, "stint: "+cleanText(err.Error()))
		case a.output == "jsonl":
			writeLine(&b, raw)
		default:
			if a.color {
				b.WriteString(clearScreen)
			} else if !first {
				b.WriteByte('\n')
			}
			if err := a.statsTable(&b, raw); err != nil {
				return err
			}
		}
		if _, err := a.out.Write(b.Bytes()); err != nil {
			return err
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *app) statsTable(b *bytes.Buffer, raw json.RawMessage) error {
	var s wire.Stats
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	workers, health := fmt.Sprintf("none: pid %d has the file open, but no Run works it", s.PID), s.Health
	switch {
	case a.closed:
		workers, health = "no program has the file open", "" // it would be about this command
	case s.Working:
		workers = fmt.Sprintf("%d of %d busy, pid %d", s.Running, s.Workers, s.PID)
	}
	list := []fact{
		{"health", health},
		{"workers", workers},
		{"ready", number(s.Ready)},
		{"scheduled", number(s.Scheduled)},
		{"retrying", number(s.Retrying)},
		{"running", number(s.Running)},
		{"completed", number(s.Completed)},
		{"dead", number(s.Dead)},
	}
	if s.Working {
		list = append(list, fact{"parked", number(s.Parked)}, fact{"stuck", number(s.Stuck)})
	}
	list = append(list,
		fact{"quarantined", number(s.Quarantined)},
		fact{"done ever", number(s.Processed)},
		fact{"failed ever", number(s.Failed)},
		fact{"died ever", number(s.Died)},
		fact{"oldest wait", seconds(s.OldestWait)},
	)
	if s.Working {
		list = append(list,
			fact{"wait", fmt.Sprintf("%s median, %s p99", seconds(s.WaitP50), seconds(s.WaitP99))},
			fact{"run", fmt.Sprintf("%s median, %s p99", seconds(s.RunP50), seconds(s.RunP99))},
		)
	}
	list = append(list, fact{"file", size(s.FileSize)}, fact{"free in it", size(s.FileFree)})
	if a.output == "wide" {
		list = append(list, fact{"opened", a.when(s.OpenedAt)}, fact{"version", s.Version})
	}
	a.facts(b, list)
	return nil
}
