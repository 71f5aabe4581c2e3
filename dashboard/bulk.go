package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stintq/stint"
)

// Bulk actions are done to many jobs, those whose ids are given or all that
// match a filter:
//
//  1. Their number is counted, and who wants to act on all that match is
//     asked; large deletes want the number typed.
//  2. A task looks for them and acts on up to 500 in a transaction, so that
//     the workers go on. The queue looks once more whether each is still in
//     the state in which it was found.
//  3. It tells its progress, and can be stopped between two groups.
var bulkRoutes = []route{
	{method: "POST", path: "/bulk", role: Operate, act: (*dashboard).bulk},
	{method: "GET", path: "/tasks/{id}", role: View, show: (*dashboard).showTask},
	{method: "POST", path: "/tasks/{id}/stop", role: Operate, act: (*dashboard).stopTask},
}

const (
	bulkGroup    = 500
	maxBulkIDs   = 10_000
	typedDelete  = 1000                   // a delete of more wants the number typed
	bulkPatience = 700 * time.Millisecond // a short task is over by then
)

// selection is what a bulk action is done to.
type selection struct {
	jobVerb
	how    manner
	ids    []stint.ID // or all that match:
	qy     query
	state  stint.State
	count  int
	exact  bool
	within []stint.State // states that are acted on
}

// bulk starts a bulk action, or asks.
func (d *dashboard) bulk(r *request) (outcome, error) {
	s, err := d.selectJobs(r)
	if err != nil {
		return outcome{}, err
	}
	if err := d.agree(r, s); err != nil {
		return outcome{}, err
	}
	out := outcome{verb: s.name, target: s.target(), note: s.how.note(&s.jobVerb)}
	done := make(chan string, 1)
	one, err := d.start(r, s.name, out.target, func(ctx context.Context, report func(stint.Progress)) (string, error) {
		note, err := d.actOnAll(ctx, s, report)
		done <- note
		return note, err
	})
	if err != nil {
		return out, err
	}
	out.goTo = "tasks/" + one.id
	out.data = d.wireTask(one)
	if s.ids == nil {
		out.note = joinNote(out.note, "under way")
		return out, nil
	}
	select {
	case note := <-done:
		out.goTo, out.data, out.note = "", d.wireTask(one), note
	case <-time.After(bulkPatience):
		out.note = joinNote(out.note, "under way")
	case <-r.Context().Done():
	}
	return out, nil
}

// selectJobs reads which jobs are meant. A form says scope=all if it means all
// that match; else it needs ids, so that a press on a button with nothing
// checked does not hit everything.
func (d *dashboard) selectJobs(r *request) (*selection, error) {
	v, err := verbNamed(r.params.get("verb"))
	if err != nil {
		return nil, err
	}
	if v.role > r.access.Role {
		return nil, d.forbidden(r, v.role)
	}
	s := &selection{jobVerb: v}
	if s.how, err = v.readManner(r); err != nil {
		return nil, err
	}
	if s.state, err = readStateParam(r.params.get("state")); err != nil {
		return nil, err
	}
	scope, q := r.params.get("scope"), r.params.get("q")
	all := scope == "all" || scope == "" && r.api && len(r.params.all("ids")) == 0 && (q != "" || s.state != 0)
	if !all {
		return s, s.readIDs(r.params.all("ids"))
	}
	if s.qy, err = parseQuery(q); err != nil {
		return nil, err
	}
	s.within = v.reach(s.state, s.qy.exact("state") == "")
	if s.state != 0 && !v.takes(s.state) {
		return nil, bad("%s is for jobs that are %s, not for those that are %s", v.name, stateList(v.states), s.state)
	}
	s.count, s.exact, err = d.countStates(r.Context(), s.qy, s.state, s.within)
	return s, err
}

func (s *selection) readIDs(texts []string) error {
	for _, text := range texts {
		for one := range strings.SplitSeq(text, ",") {
			id, err := parseID(one)
			if err != nil {
				return err
			}
			s.ids = append(s.ids, id)
		}
	}
	slices.Sort(s.ids)
	s.ids = slices.Compact(s.ids)
	s.count, s.exact, s.within = len(s.ids), true, s.states
	switch {
	case len(s.ids) == 0:
		return bad("no job is chosen; check some, or choose all that match")
	case len(s.ids) > maxBulkIDs:
		return bad("%d ids are more than %d at once; use a filter", len(s.ids), maxBulkIDs)
	}
	return nil
}

func (s *selection) target() string {
	if s.ids != nil {
		if len(s.ids) == 1 {
			return "job " + s.ids[0].String()
		}
		return plural(len(s.ids), "job", "jobs")
	}
	words := []string{"all jobs"}
	if s.state != 0 {
		words = []string{"all " + s.state.String() + " jobs"}
	}
	if q := s.qy.String(); q != "" {
		words = append(words, "that match", q)
	}
	return strings.Join(words, " ")
}

// bulkQuestion is the page that asks before a bulk action.
type bulkQuestion struct {
	Verb    jobVerb
	Q       string
	States  string // that are acted on
	Queue   string // to move to
	Count   int
	Exact   bool
	Type    bool // the number
	Back    string
	Problem string
	Fields  []pill // that the form sends along
}

// agree is nil if whoever asks has agreed to as many jobs as there are. expect
// is how many that are, shown what the page of ask has said, and more is set
// if that could not count them all.
func (d *dashboard) agree(r *request, s *selection) error {
	mustType := s.name == "delete" && s.count > typedDelete
	given := strings.NewReplacer(" ", "", "\u202f", "", ",", "", ".", "").Replace(r.params.get("expect"))
	if !mustType && (s.ids != nil || r.api && given == "") {
		return nil
	}
	if s.count == 0 && s.exact && s.ids == nil {
		return bad("no job matches that could take it: %s is for jobs that are %s", s.name, stateList(s.within))
	}
	problem := ""
	if given != "" {
		expect, err := strconv.Atoi(given)
		shown, _ := strconv.Atoi(r.params.get("shown")) // of the page's own form
		switch {
		case err != nil || mustType && shown != 0 && expect != shown:
			problem = "That is not the number. Nothing was done."
		case r.params.get("more") == "" && s.count > expect+expect/10+100:
			problem = "There are many more by now. Nothing was done."
		case mustType && shown == 0 && expect != s.count:
			problem = "That is not the number of jobs. Nothing was done."
		default:
			return nil
		}
	}
	return d.ask(r, s, mustType, problem)
}

// ask answers with the page that asks, and the API with a conflict.
func (d *dashboard) ask(r *request, s *selection, mustType bool, problem string) error {
	p := bulkQuestion{
		Verb: s.jobVerb, Q: s.qy.String(), Count: s.count, Exact: s.exact,
		Type: mustType, Back: backTo(r.params.get("back")), Problem: problem,
	}
	if s.name == "move" {
		p.Queue = s.how.queue
	}
	p.States = stateList(s.within)
	if s.state != 0 {
		p.States = s.state.String()
	}
	number := strconv.Itoa(s.count)
	p.Fields = []pill{{"verb", s.name}, {"q", p.Q}, {"reason", s.how.reason}, {"queue", s.how.queue}, {"back", p.Back}}
	if s.state != 0 {
		p.Fields = append(p.Fields, pill{"state", s.state.String()})
	}
	for _, id := range s.ids {
		p.Fields = append(p.Fields, pill{"ids", id.String()})
	}
	if s.ids == nil {
		p.Fields = append(p.Fields, pill{"scope", "all"})
	}
	than, hidden := "", "expect"
	if mustType {
		hidden = "shown"
	}
	p.Fields = append(p.Fields, pill{hidden, number})
	if !s.exact {
		than = "more than "
		p.Fields = append(p.Fields, pill{"more", "1"})
	}
	return &askAgain{
		failure: failure{http.StatusConflict, fmt.Sprintf("%s%d jobs match; say expect=%d to %s them", than, s.count, s.count, s.name), nil},
		name:    "bulk", page: page{Title: s.label + "?", Section: "Jobs"}, data: p,
	}
}

// askAgain is an answer to a form that is not done yet: a page with a form.
// The API gets the failure.
type askAgain struct {
	failure
	name string
	page page
	data any
}

func (a *askAgain) Unwrap() error { return &a.failure }

// actOnAll does a bulk action, and says what came of it.
func (d *dashboard) actOnAll(ctx context.Context, s *selection, report func(stint.Progress)) (string, error) {
	b := &bulkRun{d: d, selection: s, report: report}
	err := b.run(ctx)
	note := fmt.Sprintf("%s %s", plural(b.acted, "job", "jobs"), s.past)
	if s.name == "move" {
		note += " to " + s.how.queue
	}
	if left := b.met - b.acted; left > 0 {
		note += fmt.Sprintf(", %s could not take it", count(left))
	}
	if errors.Is(err, context.Canceled) {
		return "stopped: " + note, nil
	}
	if err != nil {
		return note, fmt.Errorf("%w (after %s)", err, note)
	}
	return note, nil
}

// bulkRun is a bulk action under way.
type bulkRun struct {
	d *dashboard
	*selection
	report func(stint.Progress)

	byState map[stint.State][]stint.ID
	held    int // in byState
	met     int
	acted   int
}

func (b *bulkRun) run(ctx context.Context) error {
	b.byState = map[stint.State][]stint.ID{}
	b.report(stint.Progress{Total: b.count})
	if b.ids != nil {
		return b.runIDs(ctx)
	}
	_, err := b.d.scan(ctx, b.qy, b.state, "", budget{}, func(info *stint.Info) (bool, error) {
		if !slices.Contains(b.within, info.State) {
			return true, nil
		}
		return true, b.take(ctx, info)
	})
	if err != nil {
		return err
	}
	return b.flush(ctx)
}

func (b *bulkRun) runIDs(ctx context.Context) error {
	for _, id := range slices.Backward(b.ids) {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := b.d.q.Get(id)
		if err != nil || !slices.Contains(b.within, info.State) {
			b.met++ // it has gone, or cannot take it
			continue
		}
		if err := b.take(ctx, &info); err != nil {
			return err
		}
	}
	return b.flush(ctx)
}

func (b *bulkRun) take(ctx context.Context, info *stint.Info) error {
	b.byState[info.State] = append(b.byState[info.State], info.ID)
	if b.held++; b.held < bulkGroup {
		return nil
	}
	return b.flush(ctx)
}

// flush acts on the jobs at hand, those of one state at a time, so that the
// queue can see which have moved meanwhile.
func (b *bulkRun) flush(ctx context.Context) error {
	for _, state := range b.within {
		ids := b.byState[state]
		if len(ids) == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f := stint.Filter{IDs: ids, State: state, Kind: b.qy.exact("kind"), Queue: b.qy.exact("queue"), Tag: b.qy.exact("tag"), Batch: b.qy.batch()}
		n, err := b.all(b.d.q, ctx, f, b.how)
		b.acted += n
		if err != nil {
			b.met += n
			return err
		}
		b.met += len(ids)
		b.report(stint.Progress{Done: b.met, Total: max(b.count, b.met)})
	}
	clear(b.byState)
	b.held = 0
	return nil
}

// showTask shows a task and its progress.
func (d *dashboard) showTask(w http.ResponseWriter, r *request) error {
	one, err := d.tasks.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	t := d.wireTask(one)
	return d.render(w, r, "task", page{Title: capital(t.Verb) + " " + t.Target, Section: "Jobs", Refresh: t.EndedAt.IsZero()}, t)
}

// stopTask stops a task between two of its steps.
func (d *dashboard) stopTask(r *request) (outcome, error) {
	one, err := d.tasks.find(r.PathValue("id"))
	if err != nil {
		return outcome{}, err
	}
	t := d.wireTask(one)
	out := outcome{verb: "stop", target: t.Verb + " of " + t.Target, note: "what is done stays done", goTo: "tasks/" + t.ID, data: t}
	if !t.EndedAt.IsZero() {
		out.note = "it had ended already"
	}
	one.cancel()
	return out, nil
}
