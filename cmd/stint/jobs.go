package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stintq/stint/internal/wire"
)

func (a *app) jobsCommand() *cobra.Command {
	return group("jobs", "List, show, retry, kill, cancel, delete and move jobs",
		a.jobsListCommand(), a.jobsShowCommand(),
		a.bulkCommand(bulk{verb: "retry", doing: "Retry", short: "Let jobs run again, or at once if they wait for their time", states: []string{"dead", "completed", "retrying", "scheduled"}}),
		a.bulkCommand(bulk{verb: "kill", doing: "Kill", short: "Make jobs dead, and end those that run", destroys: true, reason: true, states: unended}),
		a.bulkCommand(bulk{verb: "cancel", doing: "Cancel", short: "Cancel jobs that wait or run", destroys: true, reason: true, states: unended}),
		a.bulkCommand(bulk{verb: "delete", doing: "Delete", short: "Delete jobs that do not run", destroys: true, states: idle}),
		a.bulkCommand(bulk{verb: "move", doing: "Move", short: "Move jobs that do not run to another queue", moves: true, states: idle}))
}

// unended and idle are groups of states.
var (
	unended = []string{"ready", "scheduled", "retrying", "running"}
	idle    = []string{"ready", "scheduled", "retrying", "completed", "dead"}
)

const (
	pageSize  = 1000 // what the API gives at once
	listLimit = 50
)

// listing is a list of jobs that is asked for.
type listing struct {
	filter
	limit int
	after string
}

func (a *app) jobsListCommand() *cobra.Command {
	l := &listing{}
	cmd := &cobra.Command{
		Use: "list [FILE]", Short: "List jobs", Args: a.takesFile,
		Long: "List jobs, newest first.\n\n" + filterHelp,
		Example: `  stint jobs list app.db --state dead
  stint jobs list app.db --kind mail --filter 'error:timeout age:>1h' -o wide
  stint jobs list app.db --state ready --all --jsonl | jq .args
  stint jobs list -q --state dead --kind mail | xargs stint jobs retry`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listJobs(cmd.Context(), l) },
	}
	l.flags(cmd, "all of them, however many")
	cmd.Flags().IntVar(&l.limit, "limit", listLimit, "at most so many")
	cmd.Flags().StringVar(&l.after, "after", "", "go on behind this `place`, which the list before has told")
	cmd.MarkFlagsMutuallyExclusive("all", "limit")
	return cmd
}

func (a *app) listJobs(ctx context.Context, l *listing) error {
	if l.limit < 1 {
		return usage("--limit %d: 1 is the least; --all is for all", l.limit)
	}
	var raws []json.RawMessage
	var next string
	err := a.with(ctx, func(c *client) (err error) {
		raws, next, err = a.jobPages(ctx, c, l)
		return err
	})
	if err != nil {
		return err
	}
	if err := a.jobList().print(a, raws); err != nil {
		return err
	}
	if next != "" {
		fmt.Fprintf(a.err, "there may be more: --all, --limit %d, or --after %s\n", l.limit*10, cleanLine(next))
	}
	return nil
}

// jobPages gets jobs page by page. A search that has stopped at its budget is
// told to go on until there are enough.
func (a *app) jobPages(ctx context.Context, c *client, l *listing) (raws []json.RawMessage, next string, err error) {
	bar := a.startProgress("jobs searched", false)
	defer bar.end()
	searched := 0
	for next = l.after; ; {
		query := l.values()
		query.Set("limit", strconv.Itoa(pageSize))
		if !l.all {
			query.Set("limit", strconv.Itoa(min(pageSize, l.limit-len(raws))))
		}
		if next != "" {
			query.Set("after", next)
		}
		raw, err := c.get(ctx, "jobs", query)
		if err != nil {
			return nil, "", err
		}
		var page struct {
			Jobs     []json.RawMessage
			Next     string
			Searched int
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, "", err
		}
		raws, next, searched = append(raws, page.Jobs...), page.Next, searched+page.Searched
		if next == "" || !l.all && len(raws) >= l.limit {
			return raws, next, nil
		}
		bar.show(wire.Progress{Done: searched})
	}
}

func (a *app) jobList() list[wire.Job] {
	return list[wire.Job]{
		columns: []column{
			{name: "ID", right: true}, {name: "KIND", cut: true}, {name: "QUEUE", cut: true}, {name: "STATE"}, {name: "ATTEMPT", right: true},
			{name: "PRIORITY", right: true, wide: true}, {name: "AT"}, {name: "ENQUEUED", wide: true}, {name: "BATCH", right: true, wide: true},
			{name: "TAGS", wide: true, cut: true}, {name: "ARGS", cut: true}, {name: "ERROR", cut: true},
		},
		row: func(j wire.Job) []string {
			return []string{
				id(j.ID), j.Kind, j.Queue, a.jobState(j), attemptOf(j, "/"),
				strconv.Itoa(j.Priority), a.jobTime(j), a.when(j.EnqueuedAt), id(j.BatchID),
				strings.Join(j.Tags, ","), oneLine(j.Args), j.Error,
			}
		},
		id: func(j wire.Job) string { return id(j.ID) },
	}
}

func (a *app) jobState(j wire.Job) string {
	switch {
	case j.Stuck:
		return j.State + ", stuck"
	case j.Progress != nil && j.Progress.Total > 0:
		return fmt.Sprintf("%s %d %%", j.State, int64(j.Progress.Done)*100/int64(j.Progress.Total))
	}
	return j.State
}

// jobTime is the time that says most about a job in its state.
func (a *app) jobTime(j wire.Job) string {
	for _, t := range []string{a.when(j.FinishedAt), a.when(j.StartedAt), a.when(j.RunAt)} {
		if t != "" {
			return t
		}
	}
	return a.when(j.EnqueuedAt)
}

// oneLine is a JSON text without blanks.
func oneLine(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}
