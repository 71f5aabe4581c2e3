package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) exportCommand() *cobra.Command {
	var to string
	var force bool
	cmd := &cobra.Command{
		Use: "export [FILE]", Short: "Write everything as JSON lines", Args: a.takesFile,
		Long: `Write everything that is in the queue as JSON lines, as it is at one moment, for
import, other programs and people. Args and results are written as they are, also
those of an encrypted file: keep the export accordingly.`,
		Example: "  stint export app.db > jobs.jsonl\n  stint export app.db --to jobs.jsonl\n  stint export app.db | jq -c 'select(.line == \"job\" and .state == \"dead\")'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if to != "" {
				return save(to, force, func(w io.Writer) error { return a.download(ctx, "export", w) })
			}
			return a.exportOut(ctx)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "write it to this `file`, which appears when all is written")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return cmd
}

// exportOut writes to stdout. On a terminal its lines are made harmless, which
// their checksum does not forgive; in a file or a pipe they are as they came.
func (a *app) exportOut(ctx context.Context) error {
	if a.terminal {
		clean := &cleanLines{w: a.out}
		if err := spool(clean, func(w io.Writer) error { return a.download(ctx, "export", w) }); err != nil {
			return err
		}
		return clean.flush()
	}
	if a.outFile || a.addr != "" {
		return a.download(ctx, "export", a.out)
	}
	return spool(a.out, func(w io.Writer) error { return a.download(ctx, "export", w) })
}

// download writes what the API streams at a path.
func (a *app) download(ctx context.Context, path string, w io.Writer) error {
	return a.with(ctx, func(c *client) error {
		answer, err := c.request(ctx, "GET", path, "", nil)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		bar := a.startProgress(path, true)
		defer bar.end()
		_, err = io.Copy(&counting{w: w, p: bar, total: max(0, answer.ContentLength)}, answer.Body)
		return err
	})
}
