package main

import (
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stintq/stint/internal/wire"
)

func (a *app) actionsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "actions [FILE]", Short: "Tell who did what, newest first", Args: a.takesFile,
		Long:    "Tell who did what through the dashboard and this command, newest first. The file\nremembers the last 1000.",
		Example: "  stint actions app.db --limit 20",
		RunE: func(cmd *cobra.Command, _ []string) error {
			raws, err := a.readList(cmd.Context(), "actions", url.Values{"limit": {strconv.Itoa(limit)}})
			if err != nil {
				return err
			}
			return a.actionList().print(a, raws)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many")
	return cmd
}

func (a *app) actionList() list[wire.Action] {
	return list[wire.Action]{
		columns: []column{{name: "AT"}, {name: "BY", cut: true}, {name: "DID"}, {name: "TO", cut: true}, {name: "NOTE", cut: true}},
		row: func(e wire.Action) []string {
			return []string{a.when(e.At), e.By, e.Verb, e.Target, e.Note}
		},
		id: func(e wire.Action) string { return e.Target },
	}
}
