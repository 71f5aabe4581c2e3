package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stintq/stint/internal/wire"
)

func (a *app) queuesCommand() *cobra.Command {
	return group("queues", "List, pause, resume and empty queues, and set their workers",
		a.queuesListCommand(), a.queuesPauseCommand(), a.queuesResumeCommand(), a.queuesWorkersCommand(), a.queuesPurgeCommand())
}

func (a *app) queuesListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list [FILE]", Short: "List the queues", Args: a.takesFile,
		Example: "  stint queues list app.db\n  stint queues list app.db --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			raws, err := a.readList(cmd.Context(), "queues", nil)
			if err != nil {
				return err
			}
			return a.queueList().print(a, raws)
		},
	}
}

func (a *app) queueList() list[wire.Queue] {
	return list[wire.Queue]{
		columns: []column{
			{name: "QUEUE", cut: true}, {name: "READY", right: true}, {name: "RUNNING", right: true}, {name: "SCHEDULED", right: true}, {name: "RETRYING", right: true},
			{name: "DEAD", right: true}, {name: "COMPLETED", right: true, wide: true}, {name: "OLDEST", right: true}, {name: "WORKERS", right: true, wide: true},
			{name: "DONE EVER", right: true, wide: true}, {name: "FAILED EVER", right: true, wide: true}, {name: "PAUSED", cut: true},
		},
		row: func(q wire.Queue) []string {
			workers := ""
			if q.Workers > 0 {
				workers = number(q.Workers)
			}
			return []string{
				q.Name, number(q.Ready), number(q.Running), number(q.Scheduled), number(q.Retrying),
				number(q.Dead), number(q.Completed), seconds(q.OldestWait), workers,
				number(q.Processed), number(q.Failed), a.paused(q.Paused, q.PausedBy, a.when(q.PausedSince)),
			}
		},
		id: func(q wire.Queue) string { return q.Name },
	}
}

// paused says who did it, and when.
func (a *app) paused(on bool, by, since string) string {
	if !on {
		return ""
	}
	text := "paused"
	if by != "" {
		text += " by " + by
	}
	if since != "" {
		text += " at " + since
	}
	return text
}

func (a *app) queuesPauseCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "pause QUEUE", Short: "Let no job of a queue begin until it is resumed", Args: exactly("QUEUE"),
		Long:    "Let no job of a queue begin until it is resumed, also after a restart. Jobs that run go on.",
		Example: "  stint queues pause mail -f app.db --reason 'the provider is down'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.noteUnknown(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.action(cmd.Context(), "queues/pause", fields{"queue": args[0], "reason": reason})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`why`, for who sees it paused")
	return cmd
}

// noteUnknown says that a name may be a slip of the hand: a queue can be paused
// before its first job comes.
func (a *app) noteUnknown(ctx context.Context, queue string) error {
	_, err := a.read(ctx, "queues/one", url.Values{"queue": {queue}})
	if err == nil || codeOf(err) != exitNotFound {
		return err
	}
	_, err = fmt.Fprintf(a.err, "no job has come to a queue %s yet\n", cleanLine(queue))
	return err
}

func (a *app) queuesResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume QUEUE", Short: "Let the jobs of a paused queue begin again", Args: exactly("QUEUE"),
		Example: "  stint queues resume mail -f app.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.noteUnknown(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.action(cmd.Context(), "queues/resume", fields{"queue": args[0]})
		},
	}
}

func (a *app) queuesWorkersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "workers QUEUE N", Short: "Set how many jobs of a queue run at once, until the program ends", Args: exactly("QUEUE", "N"),
		Example: "  stint queues workers mail 2 -f app.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return usage("%q is no number of workers", args[1])
			}
			return a.act(cmd.Context(), "queues/workers", fields{"queue": args[0], "n": n}, "and the file does not keep the number of workers")
		},
	}
}

func (a *app) queuesPurgeCommand() *cobra.Command {
	var s sure
	cmd := &cobra.Command{
		Use: "purge QUEUE", Short: "Delete the ready jobs of a queue", Args: exactly("QUEUE"),
		Example: "  stint queues purge low -f app.db --dry-run\n  stint queues purge low -f app.db --yes",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.purge(cmd.Context(), &s, args[0]) },
	}
	s.flags(cmd)
	return cmd
}

func (a *app) purge(ctx context.Context, s *sure, queue string) error {
	raw, err := a.read(ctx, "queues/one", url.Values{"queue": {queue}})
	if err != nil {
		return err
	}
	var q wire.Queue
	if err := json.Unmarshal(raw, &q); err != nil {
		return err
	}
	if s.dryRun {
		return a.say("would delete", plural(q.Ready, "ready job"), "queue "+queue)
	}
	if err := a.ask(ctx, s, fmt.Sprintf("Delete %s of the queue %s?", plural(q.Ready, "ready job"), queue)); err != nil {
		return err
	}
	return a.action(ctx, "queues/purge", fields{"queue": queue, "expect": q.Ready})
}
