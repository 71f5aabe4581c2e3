package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"
)

func (a *app) backupCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "backup DEST", Short: "Copy the file, also while it is worked on", Args: exactly("DEST"),
		Long: `Copy the file as it is at one moment, also while a program works on it. The copy
appears under its name when all of it is on disk. It is a queue file like the first
one: never work both.`,
		Example: "  stint backup -f app.db backup/app-$(date +%F).db\n  stint backup --addr https://app.example/jobs app.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			dest := args[0]
			err := save(dest, force, func(w io.Writer) error { return a.download(cmd.Context(), "backup", w) })
			if err != nil {
				return err
			}
			info, err := os.Stat(dest)
			if err != nil {
				return err
			}
			return a.say("backup", dest, size(info.Size()))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return cmd
}
