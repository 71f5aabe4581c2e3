package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// bulk is an action on jobs: on some, by their ids, or on all that match.
type bulk struct {
	verb, doing, short string
	destroys           bool
	reason             bool     // it takes one
	moves              bool     // it takes a queue
	states             []string // of the jobs it can be done to

	filter
	sure
	why, to string
}

func (a *app) bulkCommand(b bulk) *cobra.Command {
	cmd := &cobra.Command{
		Use: b.verb + " [ID …]", Short: b.short,
		Long:    b.short + ": those with these ids, or all that match.\n\n" + filterHelp + b.careful(),
		Example: b.examples(),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.bulk(cmd.Context(), &b, args) },
	}
	b.filter.flags(cmd, "all jobs there are")
	b.sure.flags(cmd)
	if b.reason {
		cmd.Flags().StringVar(&b.why, "reason", "", "`why`, for who looks at the dead jobs")
	}
	if b.moves {
		cmd.Flags().StringVar(&b.to, "to", "", "the `queue` to move to")
		_ = cmd.MarkFlagRequired("to") // an error is that of an unknown flag
	}
	return cmd
}

func (b *bulk) careful() string {
	if !b.destroys {
		return ""
	}
	return "\n\nIt tells how many there are and asks; where nobody can be asked, it needs --yes."
}

func (b *bulk) examples() string {
	to := ""
	if b.moves {
		to = " --to low"
	}
	text := "  stint jobs VERB 42 -f app.dbTO\n  stint jobs VERB -f app.db --kind mail --filter 'error:timeout' --dry-runTO\n  stint jobs list -q -f app.db --tag test | xargs stint jobs VERB -f app.dbTO"
	if b.destroys {
		text += " --yes"
	}
	return strings.NewReplacer("VERB", b.verb, "TO", to).Replace(text)
}

func (a *app) bulk(ctx context.Context, b *bulk, args []string) error {
	ids, err := parseIDs(args)
	switch {
	case err != nil:
		return err
	case len(ids) == 0 && !b.narrows() && !b.all:
		return usage("which jobs? Give ids or a filter, or --all for all of them")
	case len(ids) > 0 && (b.narrows() || b.all):
		return usage("give ids or a filter, not both")
	case b.all && b.narrows():
		return usage("--all is for all jobs there are; leave it out with a filter")
	case len(ids) == 1:
		return a.single(ctx, b, ids[0])
	}
	n, partial, err := a.countFor(ctx, b, ids)
	if err != nil {
		return err
	}
	about := plural(n, "job")
	if partial {
		about = "at least " + about
	}
	if b.dryRun {
		return a.say("would "+b.verb, about, b.chosen())
	}
	if n == 0 {
		return a.say(b.verb, about, "")
	}
	if b.destroys {
		if err := a.ask(ctx, &b.sure, b.doing+" "+about+"?"); err != nil {
			return err
		}
	}
	f := fields{"verb": b.verb, "reason": b.why, "queue": b.to, "expect": n, "shown": n}
	if len(ids) > 0 {
		f["ids"] = ids
	} else {
		f["scope"], f["q"], f["state"] = "all", b.query(), b.state
	}
	if partial {
		f["more"] = "yes"
	}
	var raw json.RawMessage
	err = a.with(ctx, func(c *client) error {
		raw, err = a.task(ctx, c, "bulk", f)
		return err
	})
	if err != nil {
		return err
	}
	return a.printTask(raw)
}

// countFor tells how many jobs are meant, and whether there may be more.
func (a *app) countFor(ctx context.Context, b *bulk, ids []string) (n int, partial bool, err error) {
	if len(ids) > 0 {
		return len(ids), false, nil
	}
	err = a.with(ctx, func(c *client) error {
		for _, state := range b.reach() {
			in, more, err := b.count(ctx, c, state)
			if err != nil {
				return err
			}
			n, partial = n+in, partial || more
		}
		return nil
	})
	return n, partial, err
}

// reach are the states of the jobs that it is done to. To retry all that match
// is not to run once more what has completed, or waits for its time.
func (b *bulk) reach() []string {
	switch {
	case b.state != "":
		return []string{b.state}
	case b.verb == "retry" && !strings.Contains(b.query(), "state:"):
		return []string{"dead", "retrying"}
	}
	return b.states
}

// chosen repeats what the jobs were chosen by.
func (b *bulk) chosen() string {
	if b.state == "" {
		return b.query()
	}
	return strings.TrimSpace("state:" + b.state + " " + b.query())
}

// single acts on one job, so that what is wrong with it can be told.
func (a *app) single(ctx context.Context, b *bulk, id string) error {
	if b.dryRun || b.destroys && !b.yes {
		raw, err := a.read(ctx, "jobs/"+id, nil)
		if err != nil {
			return err
		}
		var j struct{ Kind, State string }
		if err := json.Unmarshal(raw, &j); err != nil {
			return err
		}
		about := fmt.Sprintf("job %s (%s, %s)", id, j.Kind, j.State)
		if b.dryRun {
			return a.say("would "+b.verb, about, "")
		}
		if err := a.ask(ctx, &b.sure, b.doing+" "+about+"?"); err != nil {
			return err
		}
	}
	return a.action(ctx, "jobs/"+id+"/"+b.verb, fields{"reason": b.why, "queue": b.to})
}
