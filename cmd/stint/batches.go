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

func (a *app) batchesCommand() *cobra.Command {
	return group("batches", "List and cancel batches", a.batchesListCommand(), a.batchesShowCommand(), a.batchesCancelCommand())
}

func (a *app) batchesListCommand() *cobra.Command {
	var limit int
	var below uint64
	cmd := &cobra.Command{
		Use: "list [FILE]", Short: "List the batches, newest first", Args: a.takesFile,
		Example: "  stint batches list app.db --limit 10",
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			if below > 0 {
				query.Set("below", id(below))
			}
			raws, err := a.readList(cmd.Context(), "batches", query)
			if err != nil {
				return err
			}
			return a.batchList().print(a, raws)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many")
	cmd.Flags().Uint64Var(&below, "below", 0, "only those with a smaller `id`: the next page")
	return cmd
}

func (a *app) batchList() list[wire.Batch] {
	return list[wire.Batch]{
		columns: []column{
			{name: "ID", right: true}, {name: "NAME", cut: true}, {name: "STATE", cut: true}, {name: "ITEMS", right: true}, {name: "DONE", right: true},
			{name: "DEAD", right: true}, {name: "REMOVED", right: true, wide: true}, {name: "SKIPPED", right: true, wide: true}, {name: "BAD", right: true, wide: true},
			{name: "STARTED"}, {name: "FINISHED"},
		},
		row: func(b wire.Batch) []string {
			return []string{
				id(b.ID), b.Name, batchState(b), number(b.Planned), number(b.Done),
				number(b.Dead), number(b.Removed), number(b.Skipped), number(b.Bad),
				a.when(b.StartedAt), a.when(b.FinishedAt),
			}
		},
		id: func(b wire.Batch) string { return id(b.ID) },
	}
}

func batchState(b wire.Batch) string {
	switch {
	case b.CancelledBy != "":
		return "cancelled by " + b.CancelledBy
	case b.PlanError != "":
		return "planning failed"
	case b.Planning:
		return "planning"
	case b.FinishedAt.IsZero():
		return "running"
	}
	return "finished"
}

func (a *app) batchesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Tell all about a batch", Args: exactly("ID"),
		Example: "  stint batches show 17 -f app.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := a.readBatch(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return show(a, raw, a.batchFacts, func(b wire.Batch) string { return id(b.ID) })
		},
	}
}

func (a *app) readBatch(ctx context.Context, text string) (json.RawMessage, error) {
	n, err := parseID(text)
	if err != nil {
		return nil, err
	}
	return a.read(ctx, "batches/"+n, nil)
}

func (a *app) batchFacts(b wire.Batch) []fact {
	return []fact{
		{"id", id(b.ID)}, {"name", b.Name}, {"schedule", b.Schedule}, {"state", batchState(b)}, {"items", number(b.Planned)},
		{"done", number(b.Done)}, {"dead", number(b.Dead)}, {"removed", number(b.Removed)}, {"failed attempts", number(b.Failed)},
		{"skipped", number(b.Skipped)}, {"bad", number(b.Bad)}, {"started", a.when(b.StartedAt)}, {"planned", a.when(b.PlannedAt)},
		{"finished", a.when(b.FinishedAt)}, {"job at the end", id(b.OnDone)}, {"planning failed", b.PlanError}, {"bad items", lines(b.Errors)},
	}
}

func (a *app) batchesCancelCommand() *cobra.Command {
	var s sure
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "Cancel a batch and its unfinished jobs", Args: exactly("ID"),
		Example: "  stint batches cancel 17 -f app.db --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := a.readBatch(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.cancelBatch(cmd.Context(), &s, raw)
		},
	}
	s.flags(cmd)
	return cmd
}

func (a *app) cancelBatch(ctx context.Context, s *sure, raw json.RawMessage) error {
	var b wire.Batch
	if err := json.Unmarshal(raw, &b); err != nil {
		return err
	}
	left := plural(b.Planned-b.Done-b.Dead-b.Removed, "unfinished job")
	if s.dryRun {
		return a.say("would cancel", "batch "+id(b.ID), left)
	}
	if err := a.ask(ctx, s, fmt.Sprintf("Cancel batch %d (%s) with %s?", b.ID, b.Name, left)); err != nil {
		return err
	}
	return a.action(ctx, "batches/"+id(b.ID)+"/cancel", nil)
}
