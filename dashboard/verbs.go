package dashboard

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/stintq/stint"
)

// jobVerb is something that people do to jobs.
type jobVerb struct {
	name   string
	label  string // of its button
	past   string
	states []stint.State // the jobs it can be done to
	role   Role
	danger bool

	// unasked are those of the states that it is done to when a filter, which
	// names no state, selects the jobs.
	unasked []stint.State

	one func(q *stint.Queue, ctx context.Context, id stint.ID, how manner) error
	all func(q *stint.Queue, ctx context.Context, f stint.Filter, how manner) (int, error)
}

// manner is what a verb has to know besides the jobs.
type manner struct{ by, reason, queue string }

// canceller is who cancels, and why.
func (m manner) canceller() string {
	if m.reason == "" {
		return m.by
	}
	return m.by + ": " + m.reason
}

func (m manner) killReason() string {
	return cmp.Or(m.reason, "killed by "+m.by)
}

func retryOne(q *stint.Queue, ctx context.Context, id stint.ID, _ manner) error {
	return q.Retry(ctx, id)
}

func retryAll(q *stint.Queue, ctx context.Context, f stint.Filter, _ manner) (int, error) {
	return q.RetryAll(ctx, f)
}

// idle jobs are not at work, unended ones are not over.
var (
	idle    = []stint.State{stint.Ready, stint.Scheduled, stint.Retrying, stint.Completed, stint.Dead}
	unended = []stint.State{stint.Ready, stint.Scheduled, stint.Retrying, stint.Running}
)

var jobVerbs = []jobVerb{
	{
		name: "run", label: "Run now", past: "made ready", role: Operate,
		states: []stint.State{stint.Scheduled, stint.Retrying}, one: retryOne, all: retryAll,
	}, {
		name: "retry", label: "Retry", past: "made ready", role: Operate,
		states: []stint.State{stint.Dead, stint.Completed, stint.Retrying, stint.Scheduled}, unasked: []stint.State{stint.Dead, stint.Retrying},
		one: retryOne, all: retryAll,
	}, {
		name: "cancel", label: "Cancel", past: "cancelled", role: Operate, danger: true, states: unended,
		one: func(q *stint.Queue, ctx context.Context, id stint.ID, how manner) error {
			return q.Cancel(ctx, id, how.canceller())
		},
		all: func(q *stint.Queue, ctx context.Context, f stint.Filter, how manner) (int, error) {
			return q.CancelAll(ctx, f, how.canceller())
		},
	}, {
		name: "delete", label: "Delete", past: "deleted", role: Admin, danger: true, states: idle,
		one: func(q *stint.Queue, ctx context.Context, id stint.ID, _ manner) error { return q.Delete(ctx, id) },
		all: func(q *stint.Queue, ctx context.Context, f stint.Filter, _ manner) (int, error) {
			return q.DeleteAll(ctx, f)
		},
	}, {
		name: "kill", label: "Kill", past: "killed", role: Operate, danger: true, states: unended,
		one: func(q *stint.Queue, ctx context.Context, id stint.ID, how manner) error {
			return q.Kill(ctx, id, how.killReason())
		},
		all: func(q *stint.Queue, ctx context.Context, f stint.Filter, how manner) (int, error) {
			return q.KillAll(ctx, f, how.killReason())
		},
	}, {
		name: "move", label: "Move to queue", past: "moved", role: Operate, states: idle,
		one: func(q *stint.Queue, ctx context.Context, id stint.ID, how manner) error {
			return q.Move(ctx, id, how.queue)
		},
		all: func(q *stint.Queue, ctx context.Context, f stint.Filter, how manner) (int, error) {
			return q.MoveAll(ctx, f, how.queue)
		},
	},
}

func verbNamed(name string) (jobVerb, error) {
	names := make([]string, len(jobVerbs))
	for i, v := range jobVerbs {
		if names[i] = v.name; v.name == name {
			return v, nil
		}
	}
	return jobVerb{}, bad("verb must be one of %s, not %q", strings.Join(names, ", "), name)
}

// takes says whether a job in a state can be acted on.
func (v *jobVerb) takes(state stint.State) bool { return slices.Contains(v.states, state) }

// reach are the states of the jobs that it is done to. A filter without a
// state means those that one would expect: to retry all is not to run what has
// completed once more.
func (v *jobVerb) reach(state stint.State, byFilter bool) []stint.State {
	if state == 0 && byFilter && v.unasked != nil {
		return v.unasked
	}
	return v.states
}

// verbsFor are the verbs that somebody can use on jobs in a state, or on some
// for state 0.
func verbsFor(state stint.State, role Role) (list []jobVerb) {
	for _, v := range jobVerbs {
		switch {
		case v.role > role || state != 0 && !v.takes(state):
		case v.name == "retry" && (state == stint.Scheduled || state == stint.Retrying): // Run now is the same
		default:
			list = append(list, v)
		}
	}
	return list
}

// Field is what its form asks for besides the jobs.
func (v jobVerb) Field() string {
	switch v.name {
	case "kill":
		return "reason"
	case "move":
		return "queue"
	}
	return ""
}

// Path is the last part of the address of its action on a single job.
func (v jobVerb) Path() string {
	if v.name == "run" {
		return "retry" // the same for a job at hand
	}
	return v.name
}

// Name, Label and Danger are for templates.
func (v jobVerb) Name() string  { return v.name }
func (v jobVerb) Label() string { return v.label }
func (v jobVerb) Danger() bool  { return v.danger }

// readManner reads what the verb needs besides the jobs.
func (v *jobVerb) readManner(r *request) (manner, error) {
	how := manner{by: r.access.User, reason: strings.TrimSpace(r.params.get("reason")), queue: strings.TrimSpace(r.params.get("queue"))}
	if v.name == "move" && how.queue == "" {
		return how, bad("name the queue to move to, in the field queue")
	}
	return how, nil
}

// note is what the action log has on the manner.
func (m manner) note(v *jobVerb) string {
	switch {
	case v.name == "move":
		return "to queue " + m.queue
	case m.reason != "" && v.danger:
		return m.reason
	}
	return ""
}
