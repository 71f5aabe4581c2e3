package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var jobRoutes = slices.Concat([]route{
	{method: "GET", path: "/jobs/{id}", role: View, show: (*dashboard).showJob},
}, verbRoutes())

// verbRoutes are the actions on a single job.
func verbRoutes() (list []route) {
	for _, v := range jobVerbs {
		if v.Path() != v.name {
			continue
		}
		list = append(list, route{method: "POST", path: "/jobs/{id}/" + v.name, role: v.role, act: func(d *dashboard, r *request) (outcome, error) {
			return d.actOnJob(r, v)
		}})
	}
	return list
}

// jobPage is one job.
type jobPage struct {
	Job      wire.Job
	Info     *stint.Info // for times and numbers only: its texts are not redacted
	Verbs    []jobVerb
	Queues   []string
	Values   []jobValue
	Hidden   bool // args and so on
	Timeline []moment
	Attempts []attemptView // newest first
	Running  bool
	Facts    []fact
	Stack    *stackView
}

// fact is a line about a job.
type fact struct {
	Name, Text string
	Page       string // that Text leads to, from the root
	List       []string
	At         time.Time
	Note       string
}

// jobValue is a JSON value of a job: a tree, and as it is.
type jobValue struct {
	Name string
	Tree *treeNode
	Raw  string
}

type attemptView struct {
	stint.Attempt // its texts are replaced by redacted ones
	Frames        *stackView
}

// showJob shows one job.
func (d *dashboard) showJob(w http.ResponseWriter, r *request) error {
	id, err := r.id()
	if err != nil {
		return err
	}
	info, err := d.q.Get(id)
	if errors.Is(err, stint.ErrNotFound) {
		return missing("there is no job %d. A job that has completed is kept only with Config.KeepCompleted, a dead one for Config.KeepDead", id)
	}
	if err != nil {
		return err
	}
	p := &jobPage{Job: d.job(info, true), Info: &info, Verbs: verbsFor(info.State, r.access.Role), Hidden: d.cfg.HideArgs}
	p.Running = info.State == stint.Running
	p.Timeline = timelineOf(&info)
	p.Facts = factsOf(&p.Job, tries(&info))
	p.fill()
	if n := len(p.Attempts); n > 0 && !p.Running && p.Job.Log == p.Attempts[0].Log {
		p.Job.Log = "" // it stands with the attempt
	}
	for _, queue := range d.q.Queues() {
		p.Queues = append(p.Queues, queue.Name)
	}
	if r.URL.Query().Get("stack") != "" {
		if p.Stack, err = d.liveStack(r, &info); err != nil {
			return err
		}
	}
	title := fmt.Sprintf("%s %d", info.Kind, info.ID)
	return d.render(w, r, "job", page{Title: title, Section: "Jobs", Refresh: slices.Contains(unended, info.State) && p.Stack == nil}, p)
}

// fill makes trees and lists of what the job has, redacted.
func (p *jobPage) fill() {
	for _, value := range []struct {
		name string
		raw  json.RawMessage
	}{{"Args", p.Job.Args}, {"Result", p.Job.Result}, {"Checkpoint", p.Job.Checkpoint}} {
		if len(value.raw) == 0 {
			continue
		}
		tree, _ := treeOf(value.raw) // nil is shown raw
		p.Values = append(p.Values, jobValue{value.name, tree, indented(value.raw)})
	}
	for i, a := range slices.Backward(p.Info.Attempts) {
		shown := p.Job.Attempts[i]
		a.Error, a.Stack, a.Log = shown.Error, shown.Stack, shown.Log
		p.Attempts = append(p.Attempts, attemptView{a, readStack(shown.Stack)})
	}
}

// attemptsText is how many there were, and of how many if this process knows:
// it is the handler that has the policy.
func attemptsText(tries, limit int) string {
	if limit == 0 {
		return count(tries)
	}
	return count(tries) + " of " + count(limit)
}

// factsOf are the lines that have something in them.
func factsOf(j *wire.Job, tries int) []fact {
	list := []fact{
		{Name: "Id", Text: strconv.FormatUint(j.ID, 10)},
		{Name: "Kind", Text: j.Kind, Page: pageOf("kind", j.Kind)},
		{Name: "More", Text: "Jobs of this kind", Page: pageLink("jobs", "q", filterTerm("kind", j.Kind))},
		{Name: "Priority", Text: count(j.Priority), Note: "1 first, 4 last"},
		{Name: "Attempts", Text: attemptsText(tries, j.MaxAttempts)},
		{Name: "Tags", List: j.Tags},
		{Name: "Enqueued", At: j.EnqueuedAt},
		{Name: "Due", At: j.RunAt},
		{Name: "Started", At: j.StartedAt},
		{Name: "Ended", At: j.FinishedAt},
		{Name: "Expires", At: j.ExpiresAt},
		{Name: "Schedule", Text: j.Schedule, Page: pageOf("schedule", j.Schedule)},
		{Name: "For", At: j.ScheduledFor},
		{Name: "Steps done", List: j.Steps},
	}
	if j.Missed > 0 {
		list = append(list, fact{Name: "Stands for", Text: plural(j.Missed, "missed run", "missed runs") + " as well"})
	}
	if j.BatchID != 0 {
		id := strconv.FormatUint(j.BatchID, 10)
		list = append(list, fact{Name: "Batch", Text: id, Page: "batches/" + id})
	}
	return slices.DeleteFunc(list, func(f fact) bool { return f.Text == "" && len(f.List) == 0 && f.At.IsZero() })
}

// liveStack is what a running job is doing.
func (d *dashboard) liveStack(r *request, info *stint.Info) (*stackView, error) {
	if r.access.Role < Operate {
		return nil, d.forbidden(r, Operate)
	}
	text, err := d.q.Stack(info.ID)
	if errors.Is(err, stint.ErrNotRunning) {
		return &stackView{Gone: true}, nil
	}
	if err != nil {
		return nil, err
	}
	return readStack(d.text(info.Kind, text)), nil
}

// actOnJob does something to one job.
func (d *dashboard) actOnJob(r *request, v jobVerb) (outcome, error) {
	id, err := r.id()
	if err != nil {
		return outcome{}, err
	}
	how, err := v.readManner(r)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{verb: v.name, target: fmt.Sprintf("job %d", id), note: how.note(&v)}
	info, err := d.q.Get(id)
	switch {
	case err == nil && !v.takes(info.State):
		return out, &failure{http.StatusConflict, fmt.Sprintf("job %d is %s; %s is for jobs that are %s", id, info.State, v.name, stateList(v.states)), nil}
	case err != nil && v.name != "delete": // that removes records which cannot be read
		return out, err
	}
	if err := v.one(d.q, r.Context(), id, how); err != nil {
		return out, err
	}
	switch v.name {
	case "delete":
		out.goTo = "jobs"
	case "retry":
		out.note = "it is ready now"
	case "cancel", "kill":
		if info.State == stint.Running {
			out.note = joinNote(out.note, "it was told to stop, and is dead when its handler has returned")
		}
	}
	return out, nil
}

func joinNote(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// stateList is "ready, scheduled or retrying".
func stateList(states []stint.State) string {
	text := ""
	for i, s := range states {
		switch {
		case i == 0:
		case i == len(states)-1:
			text += " or "
		default:
			text += ", "
		}
		text += s.String()
	}
	return text
}
