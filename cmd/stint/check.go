package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Look for damage in the file", Args: a.takesFile,
		Long: `Look for damage in the file; nothing is changed. The exit code is 1 if there is any.
A file that a program has open is checked by that program, while it works on.`,
		Example: "  stint check app.db\n  stint check app.db --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.faults(cmd.Context(), "check", checkUntil(cmd.Context()))
		},
	}
}

// checkUntil is CheckFile, which ^C ends: it changes nothing, so it may go on
// until the process has ended.
func checkUntil(ctx context.Context) func(string) ([]stint.Fault, error) {
	type result struct {
		faults []stint.Fault
		err    error
	}
	return func(path string) ([]stint.Fault, error) {
		done := make(chan result, 1)
		go func() {
			faults, err := stint.CheckFile(path)
			done <- result{faults, err}
		}()
		select {
		case r := <-done:
			return r.faults, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (a *app) repairCommand() *cobra.Command {
	return &cobra.Command{
		Use: "repair [FILE]", Short: "Mend what check finds", Args: a.takesFile,
		Long: `Mend what check finds, as far as it can be mended. The exit code is 1 if damage is
left. A file that no program has open is copied beside itself first, as
FILE.before-repair; one that is open is repaired by its program, while it works on.`,
		Example: "  stint repair app.db",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.faults(cmd.Context(), "repair", stint.RepairFile)
		},
	}
}

// faults looks into a closed file by itself, since Open refuses one that is
// damaged, and lets the program do it that has the file open.
func (a *app) faults(ctx context.Context, verb string, look func(string) ([]stint.Fault, error)) error {
	if a.addr != "" {
		return a.askFaults(ctx, verb)
	}
	if err := a.needFile(); err != nil {
		return err
	}
	found, err := look(a.file)
	if errors.Is(err, stint.ErrLocked) {
		return a.askFaults(ctx, verb)
	}
	if err != nil {
		return err
	}
	faults := make([]wire.Fault, len(found))
	for i, f := range found {
		faults[i] = wire.Fault{Job: uint64(f.Job), Text: f.Text, Repairable: f.Repairable, Repaired: f.Repaired}
	}
	return a.printFaults(faults)
}

func (a *app) askFaults(ctx context.Context, verb string) error {
	var raw json.RawMessage
	err := a.with(ctx, func(c *client) (err error) {
		raw, err = a.task(ctx, c, "system/"+verb, nil)
		return err
	})
	if err != nil {
		return err
	}
	one, err := taskOf(raw)
	if err != nil {
		return err
	}
	return a.printFaults(one.Faults)
}

// printFaults is an error if damage is left.
func (a *app) printFaults(faults []wire.Fault) error {
	raws := make([]json.RawMessage, len(faults))
	left := 0
	for i, f := range faults {
		raw, err := json.Marshal(f)
		if err != nil {
			return err
		}
		raws[i] = raw
		if !f.Repaired {
			left++
		}
	}
	if len(faults) == 0 && !a.ids && (a.output == "table" || a.output == "wide") {
		_, err := fmt.Fprintln(a.out, "no faults")
		return err
	}
	if err := a.faultList().print(a, raws); err != nil {
		return err
	}
	switch {
	case left > 0 && left < len(faults):
		return fmt.Errorf("%s of %d could not be mended", plural(left, "fault"), len(faults))
	case left > 0:
		return errors.New(plural(left, "fault"))
	}
	return nil
}

func (a *app) faultList() list[wire.Fault] {
	return list[wire.Fault]{
		columns: []column{{name: "JOB", right: true}, {name: "REPAIR"}, {name: "FAULT"}},
		row: func(f wire.Fault) []string {
			repair := "impossible"
			if f.Repaired {
				repair = "done"
			} else if f.Repairable {
				repair = "possible"
			}
			return []string{id(f.Job), repair, f.Text}
		},
		id: func(f wire.Fault) string { return id(f.Job) },
	}
}

func (a *app) compactCommand() *cobra.Command {
	return &cobra.Command{
		Use: "compact [FILE]", Short: "Give the free space of the file back to the disk", Args: a.takesFile,
		Long: `Give the free space of the file back to the disk, also while a program works on it.
It needs so much free disk as the content takes.`,
		Example: "  stint compact app.db",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			var raw json.RawMessage
			err := a.with(ctx, func(c *client) (err error) {
				raw, err = a.task(ctx, c, "system/compact", nil)
				return err
			})
			if err != nil {
				return err
			}
			return a.printTask(bytes.TrimSpace(raw))
		},
	}
}
