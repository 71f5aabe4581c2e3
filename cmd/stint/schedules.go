package main

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stintq/stint/internal/wire"
)

func (a *app) schedulesCommand() *cobra.Command {
	return group("schedules", "List, run, pause and resume schedules, and see when they run",
		a.schedulesListCommand(), a.schedulesShowCommand(), a.schedulesRunCommand(), a.schedulesPauseCommand(), a.schedulesResumeCommand(), a.schedulesNextCommand())
}

func (a *app) schedulesListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list [FILE]", Short: "List the schedules", Args: a.takesFile,
		Example: "  stint schedules list app.db -o wide",
		RunE: func(cmd *cobra.Command, _ []string) error {
			raws, err := a.readList(cmd.Context(), "schedules", nil)
			if err != nil {
				return err
			}
			return a.scheduleList().print(a, raws)
		},
	}
}

func (a *app) scheduleList() list[wire.Schedule] {
	return list[wire.Schedule]{
		columns: []column{
			{name: "SCHEDULE", cut: true}, {name: "SPEC"}, {name: "ZONE", wide: true}, {name: "WHEN", cut: true}, {name: "KIND", wide: true},
			{name: "NEXT"}, {name: "LAST"}, {name: "JOB", right: true, wide: true}, {name: "WAITING", right: true, wide: true}, {name: "STATE", cut: true},
		},
		row: func(s wire.Schedule) []string {
			waiting := ""
			if s.Waiting > 0 {
				waiting = number(s.Waiting)
			}
			return []string{s.Name, s.Spec, s.Zone, s.Words, s.Kind, a.when(s.Next), a.when(s.Last), id(s.LastJob), waiting, a.scheduleState(s)}
		},
		id: func(s wire.Schedule) string { return s.Name },
	}
}

func (a *app) scheduleState(s wire.Schedule) string {
	if s.Orphaned && !s.Paused && !a.closed {
		return "not registered by the program"
	}
	return a.paused(s.Paused, s.PausedBy, a.when(s.PausedSince))
}

func (a *app) schedulesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Tell all about a schedule", Args: exactly("NAME"),
		Example: "  stint schedules show nightly -f app.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := a.read(cmd.Context(), "schedules/one", url.Values{"schedule": {args[0]}})
			if err != nil {
				return err
			}
			return show(a, raw, a.scheduleFacts, func(s wire.Schedule) string { return s.Name })
		},
	}
}

func (a *app) scheduleFacts(s wire.Schedule) []fact {
	var runs, upcoming []string
	for _, r := range s.Runs {
		runs = append(runs, a.runText(r))
	}
	for _, t := range s.Upcoming {
		upcoming = append(upcoming, a.when(t))
	}
	waiting := ""
	if s.Waiting > 0 {
		waiting = number(s.Waiting)
	}
	return []fact{
		{"name", s.Name}, {"spec", s.Spec}, {"zone", s.Zone}, {"when", s.Words}, {"kind", s.Kind}, {"state", a.scheduleState(s)},
		{"next", a.when(s.Next)}, {"last", a.when(s.Last)}, {"waiting", waiting}, {"missed runs", s.Missed}, {"overlap", s.Overlap},
		{"upcoming", lines(upcoming)}, {"runs", lines(runs)},
	}
}

// lines are texts below each other, also where there is one only.
func lines(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return "\n" + strings.Join(texts, "\n")
}

func (a *app) runText(r wire.ScheduleRun) string {
	text := a.when(r.At)
	if r.Job != 0 {
		text += " job " + id(r.Job)
	}
	if r.State != "" {
		text += " " + r.State
	}
	if !r.EndedAt.IsZero() {
		text += " at " + a.when(r.EndedAt)
	}
	if r.Missed > 0 {
		text += ", for " + plural(r.Missed, "missed run") + " as well"
	}
	if r.Skipped > 0 {
		text += ", " + plural(r.Skipped, "run") + " skipped"
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return cleanLine(text)
}

func (a *app) schedulesRunCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run NAME", Short: "Run a schedule now, besides its times", Args: exactly("NAME"),
		Example: "  stint schedules run nightly -f app.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd.Context(), "schedules/run", fields{"schedule": args[0]}, "and it is the program that knows what the schedule enqueues")
		},
	}
}

func (a *app) schedulesPauseCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "pause NAME", Short: "Let a schedule run no more until it is resumed", Args: exactly("NAME"),
		Example: "  stint schedules pause nightly -f app.db --reason 'moving house'",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.action(cmd.Context(), "schedules/pause", fields{"schedule": args[0], "reason": reason})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`why`, for who sees it paused")
	return cmd
}

func (a *app) schedulesResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume NAME", Short: "Let a paused schedule run again", Args: exactly("NAME"),
		Example: "  stint schedules resume nightly -f app.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.action(cmd.Context(), "schedules/resume", fields{"schedule": args[0]})
		},
	}
}

func (a *app) schedulesNextCommand() *cobra.Command {
	var zone string
	var n int
	cmd := &cobra.Command{
		Use: "next SPEC", Short: "Say in words when a spec runs, and the next times", Args: cobra.ExactArgs(1),
		Long:    "Say in words when a spec runs, and the next times. It needs no file.",
		Example: "  stint schedules next '0 9 * * MON-FRI' --zone Europe/Berlin\n  stint schedules next @daily -n 3 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.next(cmd.Context(), url.Values{"spec": {args[0]}, "zone": {zone}, "n": {strconv.Itoa(n)}})
		},
	}
	cmd.Flags().StringVar(&zone, "zone", "", "the time `zone`, such as Europe/Berlin")
	cmd.Flags().IntVarP(&n, "count", "n", 10, "how many times")
	return cmd
}

// next asks the API with an empty queue below it, so that it is the very
// parser of schedules that answers.
func (a *app) next(ctx context.Context, query url.Values) (err error) {
	dir, err := os.MkdirTemp("", "stint-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	empty := &app{streams: a.streams, file: filepath.Join(dir, "empty.db")}
	c, err := empty.open()
	if err != nil {
		return err
	}
	raw, err := c.get(ctx, "schedules/next", query)
	if closed := c.close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return show(a, raw, func(n wire.Next) []fact {
		var times []string
		for _, t := range n.Times {
			times = append(times, a.whenThere(t))
		}
		return []fact{{"when", n.Words}, {"next", lines(times)}}
	}, func(n wire.Next) string { return n.Words })
}
