package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stintq/stint/internal/wire"
)

// filter says which jobs are meant.
type filter struct {
	state, line   string
	kinds, queues []string
	tags          []string
	batch         uint64
	all           bool
}

const filterHelp = `Jobs are chosen by flags and by --filter, a line as on the dashboard; a job has to
match all of it:

  kind:mail  queue:low  tag:vip  batch:17  priority:1  attempt:>3  age:>1h
  error:"timed out"  args.user.id:42  -tag:test  any other text`

func (f *filter) flags(cmd *cobra.Command, all string) {
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "only jobs in this `state`: ready, scheduled, retrying, running, completed or dead")
	flags.StringArrayVar(&f.kinds, "kind", nil, "only jobs of this `kind`")
	flags.StringArrayVar(&f.queues, "queue", nil, "only jobs of this `queue`")
	flags.StringArrayVar(&f.tags, "tag", nil, "only jobs with this `tag`")
	flags.Uint64Var(&f.batch, "batch", 0, "only jobs of the batch with this `id`")
	flags.StringVar(&f.line, "filter", "", "only jobs that match this `line`")
	flags.BoolVar(&f.all, "all", false, all)
	states := cobra.FixedCompletions([]string{"ready", "scheduled", "retrying", "running", "completed", "dead"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("state", states) // an error is that of an unknown flag
}

// narrows says whether anything was chosen.
func (f *filter) narrows() bool { return f.state != "" || f.query() != "" }

// query is the filter as a line.
func (f *filter) query() string {
	var terms []string
	for _, field := range []struct {
		name   string
		values []string
	}{{"kind", f.kinds}, {"queue", f.queues}, {"tag", f.tags}} {
		for _, value := range field.values {
			terms = append(terms, field.name+":"+quoted(value))
		}
	}
	if f.batch != 0 {
		terms = append(terms, "batch:"+id(f.batch))
	}
	if line := strings.TrimSpace(f.line); line != "" {
		terms = append(terms, line)
	}
	return strings.Join(terms, " ")
}

func (f *filter) values() url.Values {
	values := url.Values{}
	if q := f.query(); q != "" {
		values.Set("q", q)
	}
	if f.state != "" {
		values.Set("state", f.state)
	}
	return values
}

var plainValue = regexp.MustCompile(`^[\pL\pN_*][\pL\pN_.:/@*-]*$`)

// quoted is a value as a filter line has it: names with a * stand for many.
func quoted(value string) string {
	if plainValue.MatchString(value) {
		return value
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}

// count asks how many jobs of a state match, and whether there may be more.
func (f *filter) count(ctx context.Context, c *client, state string) (n int, partial bool, err error) {
	values := f.values()
	values.Set("state", state)
	raw, err := c.get(ctx, "count", values)
	if err != nil {
		return 0, false, err
	}
	var counted wire.Count
	err = json.Unmarshal(raw, &counted)
	return counted.Count, counted.Partial, err
}

// parseID reads an id as people write it, and answers it in digits.
func parseID(text string) (string, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "#"), 10, 64)
	if err != nil || n == 0 {
		return "", usage("%q is no id; ids are numbers", text)
	}
	return id(n), nil
}

func parseIDs(texts []string) ([]string, error) {
	var ids []string
	for _, text := range texts {
		for one := range strings.FieldsSeq(strings.ReplaceAll(text, ",", " ")) {
			n, err := parseID(one)
			if err != nil {
				return nil, err
			}
			ids = append(ids, n)
		}
	}
	if len(texts) > 0 && len(ids) == 0 {
		return nil, &failure{exitUsage, errors.New("there is no id among the arguments")}
	}
	return ids, nil
}
