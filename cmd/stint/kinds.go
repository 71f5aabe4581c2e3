package main

import (
	"github.com/spf13/cobra"

	"github.com/stintq/stint/internal/wire"
)

func (a *app) kindsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kinds [FILE]", Short: "List the kinds of jobs", Args: a.takesFile,
		Example: "  stint kinds app.db",
		RunE: func(cmd *cobra.Command, _ []string) error {
			raws, err := a.readList(cmd.Context(), "kinds", nil)
			if err != nil {
				return err
			}
			return kindList.print(a, raws)
		},
	}
}

var kindList = list[wire.Kind]{
	columns: []column{
		{name: "KIND", cut: true}, {name: "READY", right: true}, {name: "RUNNING", right: true}, {name: "SCHEDULED", right: true}, {name: "RETRYING", right: true},
		{name: "DEAD", right: true}, {name: "COMPLETED", right: true, wide: true}, {name: "DONE EVER", right: true}, {name: "FAILED EVER", right: true},
		{name: "DIED EVER", right: true}, {name: "HANDLER", wide: true},
	},
	row: func(k wire.Kind) []string {
		return []string{
			k.Name, number(k.Ready), number(k.Running), number(k.Scheduled), number(k.Retrying),
			number(k.Dead), number(k.Completed), number(k.Processed), number(k.Failed), number(k.Died), yes(k.Handled),
		}
	},
	id: func(k wire.Kind) string { return k.Name },
}
