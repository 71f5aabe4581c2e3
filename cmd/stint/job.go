package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stintq/stint/internal/wire"
)

func (a *app) jobsShowCommand() *cobra.Command {
	var stack bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Tell all about a job, and why it waits", Args: exactly("ID"),
		Example: "  stint jobs show 42 -f app.db\n  stint jobs show 42 -f app.db --json | jq .attempts\n  stint jobs show 42 -f app.db --stack",
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := parseID(args[0])
			if err != nil {
				return err
			}
			if stack {
				raw, err := a.read(cmd.Context(), "jobs/"+n+"/stack", nil)
				if err != nil {
					return err
				}
				return a.printStack(raw)
			}
			raw, err := a.read(cmd.Context(), "jobs/"+n, nil)
			if err != nil {
				return err
			}
			return show(a, raw, a.jobFacts, func(j wire.Job) string { return id(j.ID) })
		},
	}
	cmd.Flags().BoolVar(&stack, "stack", false, "tell where the code of a running job is at this moment")
	return cmd
}

func (a *app) printStack(raw json.RawMessage) error {
	if done, err := a.printedJSON(raw); done {
		return err
	}
	var s wire.Stack
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.out, cleanText(strings.ReplaceAll(strings.TrimRight(s.Stack, "\n"), "\t", "    ")))
	return err
}

func (a *app) jobFacts(j wire.Job) []fact {
	list := []fact{
		{"id", id(j.ID)}, {"kind", j.Kind}, {"queue", j.Queue}, {"state", a.jobState(j)},
		{"why", a.whyText(j.Why)}, {"reason", j.Reason}, {"priority", strconv.Itoa(j.Priority)}, {"tags", strings.Join(j.Tags, ", ")},
		{"attempt", attemptOf(j, " of ")}, {"failures", some(j.Failures)}, {"snoozes", some(j.Snoozes)}, {"crashes", some(j.Crashes)},
		{"enqueued", a.when(j.EnqueuedAt)}, {"runs at", a.when(j.RunAt)}, {"expires", a.when(j.ExpiresAt)},
		{"started", a.when(j.StartedAt)}, {"finished", a.when(j.FinishedAt)},
		{"schedule", j.Schedule}, {"scheduled for", a.when(j.ScheduledFor)}, {"missed runs", some(j.Missed)}, {"batch", id(j.BatchID)},
	}
	if p := j.Progress; p != nil {
		list = append(list, fact{"progress", strings.TrimSpace(fmt.Sprintf("%d of %d %s", p.Done, p.Total, p.Text))})
	}
	list = append(list,
		fact{"steps", strings.Join(j.Steps, ", ")}, fact{"args", indented(j.Args)}, fact{"checkpoint", indented(j.Checkpoint)},
		fact{"result", indented(j.Result)}, fact{"error", j.Error}, fact{"log", block(j.Log)})
	for _, at := range j.Attempts {
		list = append(list, fact{fmt.Sprintf("attempt %d", at.Number), a.attemptText(at)})
	}
	return list
}

// attemptOf is the attempt, and of how many if the program tells: that is for
// the policy of the kind to say.
func attemptOf(j wire.Job, of string) string {
	if j.MaxAttempts == 0 {
		return strconv.Itoa(j.Attempt)
	}
	return fmt.Sprintf("%d%s%d", j.Attempt, of, j.MaxAttempts)
}

// some is a number that matters only if there is one.
func some(n int) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

// whyText is why a job waits. What is missing in this command is no reason.
func (a *app) whyText(why []wire.Reason) string {
	var texts []string
	for _, r := range why {
		if a.closed && (r.Cause == "not_running" || r.Cause == "no_handler") {
			continue
		}
		text := r.Text
		if r.About > 0 {
			text += ", about " + seconds(math.Round(r.About))
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

// indented is JSON for people, on one line if it is short.
func indented(raw json.RawMessage) string {
	if line := oneLine(raw); len(line) <= 80 {
		return line
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// block is text that keeps its lines, also if it is one only.
func block(text string) string {
	if text == "" {
		return ""
	}
	return "\n" + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\t", "    ")
}

func (a *app) attemptText(at wire.Attempt) string {
	text := "\n" + a.when(at.StartedAt)
	if at.Seconds > 0 { // else its process ended, and nobody knows
		text += ", ran " + seconds(at.Seconds)
	}
	text += "\n" + at.Error
	if at.Stack != "" {
		text += block(at.Stack)
	}
	if at.Log != "" {
		text += "\nlog:" + block(at.Log)
	}
	return strings.ReplaceAll(text, "\t", "    ")
}
