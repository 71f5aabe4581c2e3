package dashboard

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var jobsRoutes = []route{
	{method: "GET", path: "/jobs", role: View, show: (*dashboard).listJobs},
}

const (
	jobsOfPage     = 50
	maxSuggestions = 200
)

// jobsPage is the list of jobs.
type jobsPage struct {
	Tabs    []stateTab
	State   string
	Q       string
	Problem string
	Chips   []chip
	Suggest []string
	Rows    []jobRow
	Verbs   []jobVerb
	Queues  []string
	Lookup  uint64   // a job with the id that the line consists of
	Empty   []string // what to say if there are no rows
	Code    string   // and to show

	After, Next    string
	Partial        bool
	Searched, Jobs int // looked at on the pages so far, and how many there are
}

type stateTab struct {
	State   string
	Count   int
	Current bool
}

// chip is a term of the filter, and the filter without it.
type chip struct{ Text, Rest string }

// jobRow is a job in a list.
type jobRow struct {
	wire.Job
	Pills []pill
	Bar   *wire.Progress // while it runs
	When  time.Time
	What  string // what happened or happens then
	Span  string // what took the time
	Took  time.Duration
	Tries int // attempts so far, with the present one
}

type pill struct{ Key, Value string }

// listJobs shows the jobs that match.
func (d *dashboard) listJobs(w http.ResponseWriter, r *request) error {
	values := r.URL.Query()
	p := &jobsPage{State: values.Get("state"), Q: values.Get("q"), After: values.Get("after")}
	status, err := http.StatusOK, d.findJobs(r, p, values.Get("searched"))
	if f := (*failure)(nil); errors.As(err, &f) && f.status == http.StatusBadRequest {
		p.Problem, status = f.text, f.status
	} else if err != nil {
		return err
	}
	return d.renderStatus(w, r, status, "jobs", page{Title: "Jobs", Section: "Jobs", Refresh: p.Problem == ""}, p)
}

// findJobs fills the page.
func (d *dashboard) findJobs(r *request, p *jobsPage, before string) error {
	state, err := readStateParam(p.State)
	if err != nil {
		p.State = ""
	}
	d.surround(p, state, r.access.Role)
	if err != nil {
		return err
	}
	qy, err := parseQuery(p.Q)
	if err != nil {
		return err
	}
	for i, t := range qy.terms {
		p.Chips = append(p.Chips, chip{t.String(), qy.without(i)})
	}
	result, err := d.search(r.Context(), qy, state, p.After, jobsOfPage)
	if errors.Is(err, stint.ErrBadFilter) {
		return bad("the link to this page of the list is not one of this list; begin at the first page")
	}
	if err != nil {
		return err
	}
	p.Next, p.Partial = result.next, result.partial
	earlier, _ := strconv.Atoi(before) // only what a reader is told
	p.Searched = max(earlier, 0) + result.searched
	p.Jobs = max(countOf(d.q.Counts(), state), p.Searched)
	p.Lookup = d.lookup(qy, result.infos)
	limits, now := d.maxAttempts(), time.Now()
	for i := range result.infos {
		p.Rows = append(p.Rows, d.row(&result.infos[i], limits, now))
	}
	p.suggestTags()
	p.explain()
	return nil
}

const firstJob = `type Welcome struct{ UserID int64 }

func (Welcome) Kind() string { return "welcome" }

id, err := q.Enqueue(ctx, Welcome{UserID: 42})`

// explain says why there are no rows.
func (p *jobsPage) explain() {
	switch {
	case p.Tabs[0].Count == 0:
		p.Code = firstJob
		p.Empty = []string{"No jobs yet.", "A completed job leaves the file at once, unless Config.KeepCompleted keeps it. This enqueues one:"}
	case p.Partial:
		p.Empty = []string{"No match so far."}
	case p.After != "":
		p.Empty = []string{"There are no more."}
	case p.Q != "":
		p.Empty = []string{"No " + strings.TrimSpace(p.State+" job") + " matches " + p.Q}
	case p.State == "dead":
		p.Empty = []string{"No job is dead. One dies when it is out of attempts, or killed, or cancelled, and then waits here for Retry."}
	case p.State == "completed":
		p.Empty = []string{"None is kept. Config.KeepCompleted keeps completed jobs for a while."}
	default:
		p.Empty = []string{"No job is " + p.State + " right now."}
	}
}

// surround fills in what does not depend on the filter.
func (d *dashboard) surround(p *jobsPage, state stint.State, role Role) {
	counts := d.q.Counts()
	p.Tabs = []stateTab{{"", countOf(counts, 0), state == 0}}
	for _, s := range allStates {
		p.Tabs = append(p.Tabs, stateTab{s.String(), countOf(counts, s), s == state})
	}
	p.Verbs = verbsFor(state, role)
	for _, queue := range d.q.Queues() {
		p.Queues = append(p.Queues, queue.Name)
		p.suggest("queue", queue.Name)
	}
	for _, kind := range d.q.Kinds() {
		p.suggest("kind", kind.Name)
	}
}

func (p *jobsPage) suggest(field, value string) {
	text := filterTerm(field, value)
	if len(p.Suggest) < maxSuggestions && !slices.Contains(p.Suggest, text) {
		p.Suggest = append(p.Suggest, text)
	}
}

func (p *jobsPage) suggestTags() {
	for _, row := range p.Rows {
		for _, tag := range row.Tags {
			p.suggest("tag", tag)
		}
	}
}

// lookup is the id of a job that somebody searches by nothing but its id, if
// it is not on the page: with many jobs it is far away.
func (d *dashboard) lookup(qy query, infos []stint.Info) uint64 {
	if len(qy.terms) != 1 || qy.terms[0].field != "" || qy.terms[0].not {
		return 0
	}
	id, err := parseID(qy.terms[0].value)
	if err != nil || slices.ContainsFunc(infos, func(info stint.Info) bool { return info.ID == id }) {
		return 0
	}
	if _, err := d.q.Get(id); err != nil {
		return 0
	}
	return uint64(id)
}

// row is a job as a list shows it.
func (d *dashboard) row(info *stint.Info, limits map[string]int, now time.Time) jobRow {
	row := jobRow{Tries: tries(info)}
	switch {
	case len(info.Args) <= maxListed:
		row.Job = d.job(*info, false)
		row.Pills = pillsOf(row.Args)
	default:
		row.Job = d.brief(*info)
		if !d.cfg.HideArgs {
			row.Pills = []pill{{"args", byteSize(len(info.Args))}}
		}
	}
	row.MaxAttempts = cmp.Or(row.MaxAttempts, limits[row.Kind])
	switch info.State {
	case stint.Ready:
		row.What, row.When = "ready", later(info.EnqueuedAt, info.RunAt)
		row.Span, row.Took = "waits", now.Sub(row.When)
	case stint.Scheduled, stint.Retrying:
		row.What, row.When = "due", info.RunAt
	case stint.Running:
		row.What, row.When = "started", info.StartedAt
		if row.Progress != nil && row.Progress.Total > 0 {
			row.Bar = row.Progress
		}
		if !row.When.IsZero() {
			row.Span, row.Took = "runs", now.Sub(row.When)
		}
	default:
		row.What, row.When = "ended", info.FinishedAt
	}
	if n := len(info.Attempts); n > 0 && slices.Contains([]stint.State{stint.Retrying, stint.Dead}, info.State) {
		row.Span, row.Took = "ran", info.Attempts[n-1].Duration
	}
	row.Took = max(row.Took, 0)
	return row
}

// tries are the attempts so far, with the present one.
func tries(info *stint.Info) int {
	if info.State == stint.Running || info.State == stint.Completed {
		return info.Failures + 1
	}
	return info.Failures
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

const (
	maxPills = 5
	maxPill  = 40 // bytes of a value

	maxListed = 32 << 10 // bytes of args that a list looks into
)

// pillsOf are the first scalar args.
func pillsOf(args json.RawMessage) (pills []pill) {
	node, err := treeOf(args)
	if err != nil || node == nil {
		return nil
	}
	children := node.Children
	if node.Sort == "" {
		children = []*treeNode{node}
	}
	for _, child := range children {
		if child.Sort == "" && len(pills) < maxPills {
			pills = append(pills, pill{child.Key, short(child.Text, maxPill)})
		}
	}
	return pills
}
