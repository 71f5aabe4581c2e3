package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// app is one call of the command: its streams, and the flags that all of its
// commands share.
type app struct {
	streams

	file, addr, token string
	keyFiles          []string
	output            string // table, wide, json or jsonl
	json, jsonl       bool
	ids               bool // -q
	utc               bool
	progress          string // auto, plain or none

	closed  bool // no program works on the file
	running bool // a command has begun: what fails from here on is no wrong usage
}

// run is the whole command; what it returns is its exit code.
func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.running {
		err = usage("%w", err)
	}
	return a.exit(ctx, err)
}

const rootHelp = `Look into the file of a Stint queue and operate it, whether a program works on
it or not.

The file is given by -f FILE or by the variable STINT_FILE; commands that take no
other argument also take it as theirs: "stint stats app.db". If no program has the
file open, stint opens it for as long as the command needs it. Otherwise stint asks
the program through the socket that dashboard.Handler opens beside the file. With
--addr it asks a dashboard elsewhere.

Data goes to stdout as a table, or as JSON with --json or --jsonl, everything else
goes to stderr. Characters that could control a terminal are escaped.

Exit codes: 0 done, 1 error, 2 wrong usage, 3 not found, 4 the file is in use and its
program cannot be reached, 130 interrupted.`

const rootExample = `  stint stats app.db
  export STINT_FILE=app.db
  stint jobs list --state dead --kind mail
  stint jobs retry --state dead --filter 'error:timeout' --dry-run
  stint jobs show 42 --json | jq .attempts
  stint queues pause mail --reason 'the provider is down'
  stint stats --addr https://app.example/jobs --watch`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "stint", Short: "Look into a Stint queue and operate it", Long: rootHelp, Example: rootExample,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.checkFlags(cmd) },
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.file, "file", "f", "", "the queue's `file` (or STINT_FILE)")
	f.StringVar(&a.addr, "addr", "", "ask the dashboard at this `URL`, such as https://app.example/jobs")
	f.StringVar(&a.token, "token", "", "send this bearer `token` with --addr (better in STINT_TOKEN, which ps does not show)")
	f.StringArrayVar(&a.keyFiles, "key-file", nil, "a `file` with the keys of an encrypted queue, in hex or base64, one a line (or STINT_KEYS, separated by commas)")
	f.StringVarP(&a.output, "output", "o", "table", "`form` of the output: table, wide, json or jsonl")
	f.BoolVar(&a.json, "json", false, "one JSON document; as -o json")
	f.BoolVar(&a.jsonl, "jsonl", false, "a JSON document per line; as -o jsonl")
	f.BoolVarP(&a.ids, "quiet", "q", false, "ids or names only, one per line")
	f.BoolVar(&a.utc, "utc", false, "times in UTC, not in the local zone")
	f.StringVar(&a.progress, "progress", "auto", "`how` to show progress: auto (a bar on a terminal), plain (a line every 5 s) or none")
	root.AddCommand(
		a.statsCommand(), a.jobsCommand(), a.queuesCommand(), a.kindsCommand(), a.schedulesCommand(), a.batchesCommand(),
		a.enqueueCommand(), a.tailCommand(), a.actionsCommand(),
		a.exportCommand(), a.importCommand(), a.backupCommand(),
		a.checkCommand(), a.repairCommand(), a.compactCommand(),
		a.benchCommand(), a.uiCommand(), a.versionCommand(),
	)
	choices := func(list ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
	}
	_ = root.RegisterFlagCompletionFunc("output", choices("table", "wide", "json", "jsonl")) // errors are those of unknown flags
	_ = root.RegisterFlagCompletionFunc("progress", choices("auto", "plain", "none"))
	a.noteBegin(root)
	return root
}

// noteBegin lets each command note that it has begun: flags are checked until
// the last moment.
func (a *app) noteBegin(cmd *cobra.Command) {
	if begin := cmd.RunE; begin != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.running = true
			return begin(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		a.noteBegin(sub)
	}
}

// checkFlags makes sense of the flags that all commands share.
func (a *app) checkFlags(cmd *cobra.Command) error {
	chosen := 0
	for _, on := range []bool{a.json, a.jsonl, cmd.Flags().Changed("output")} {
		if on {
			chosen++
		}
	}
	if chosen > 1 || a.ids && chosen > 0 && a.output != "wide" {
		return fmt.Errorf("choose one of --json, --jsonl, -o and -q")
	}
	switch {
	case a.json:
		a.output = "json"
	case a.jsonl:
		a.output = "jsonl"
	}
	if !strings.Contains(" table wide json jsonl ", " "+a.output+" ") {
		return fmt.Errorf("-o %s: the forms are table, wide, json and jsonl", a.output)
	}
	if !strings.Contains(" auto plain none ", " "+a.progress+" ") {
		return fmt.Errorf("--progress %s: it is auto, plain or none", a.progress)
	}
	if a.addr != "" && a.file != "" {
		return fmt.Errorf("--addr is instead of a file; leave one of them out")
	}
	if a.addr == "" && a.file == "" {
		a.file = os.Getenv("STINT_FILE")
	}
	if a.token == "" {
		a.token = os.Getenv("STINT_TOKEN")
	}
	return nil
}

// group is a command that has others below it and does nothing itself.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	g.AddCommand(commands...)
	return g
}

// takesFile lets a command without arguments of its own take the file as one.
func (a *app) takesFile(_ *cobra.Command, args []string) error {
	switch {
	case len(args) > 1:
		return fmt.Errorf("one file at a time, not %q", args)
	case len(args) == 1 && (a.file != "" || a.addr != ""):
		return fmt.Errorf("%q is one argument too many: the file is given by a flag already", args[0])
	case len(args) == 1:
		a.file = args[0]
	}
	return nil
}

// exactly wants named arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return fmt.Errorf("%s takes %s (and the file with -f or in STINT_FILE); see %s --help", cmd.CommandPath(), strings.Join(names, " and "), cmd.CommandPath())
		}
		return nil
	}
}
