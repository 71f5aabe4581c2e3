package dashboard

import (
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var overviewRoutes = []route{
	{method: "GET", path: "/{$}", role: View, show: (*dashboard).overview},
}

// overviewPage answers "is it all right?" before anything else.
type overviewPage struct {
	Health   health
	Tiles    []tile
	Choices  []choice
	Charts   []drawing // the most important ones
	More     []drawing
	Failing  *sheet
	AllSeen  bool // Failing is of all retrying and dead jobs
	Longest  *sheet
	Next     *sheet
	Queues   *sheet
	NoQueues int // that are not in Queues
	HasJobs  bool
}

type tile struct{ Value, Name, Page string }

// drawing is a chart on a page.
type drawing struct {
	Name    string
	Picture template.HTML
}

// atWork is a running job.
type atWork struct {
	wire.Job
	For   time.Duration
	Limit time.Duration // the timeout of its kind, 0 without one
}

const (
	longestRows  = 10
	nextRows     = 5
	overviewRows = 12    // queues
	runningSeen  = 2_000 // jobs that are looked at for the longest
)

func (d *dashboard) overview(w http.ResponseWriter, r *request) error {
	now := time.Now()
	current := stretchOf(r, overviewStretches)
	t, err := d.past(current, now)
	if err != nil {
		return err
	}
	hour := t
	if current.Key != lastHour.Key {
		if hour, err = d.past(lastHour, now); err != nil {
			return err
		}
	}
	starts, _ := d.q.Starts()       // what cannot be read is left out, and
	schedules, _ := d.q.Schedules() // health tells of it
	data := &overviewPage{
		Health: d.health(), Choices: stretchChoices(r, overviewStretches, current),
		Next: nextSheet(nextSchedules(schedules)), Tiles: d.tiles(hour),
	}
	charts := overviewCharts(t, starts)
	data.Charts, data.More = charts[:2], charts[2:]
	queues := d.queueRows(hour)
	slices.SortStableFunc(queues, byUrgency)
	data.HasJobs, data.NoQueues = len(queues) > 0, len(queues)-overviewRows
	data.Queues = queueSheet(queues[:min(len(queues), overviewRows)], hour, false)
	if data.Failing, data.AllSeen, err = d.failing(""); err != nil {
		return err
	}
	longest, err := d.longest(now)
	if err != nil {
		return err
	}
	data.Longest = longestSheet(longest)
	return d.render(w, r, "overview", page{Title: "Overview", Section: "Overview", Refresh: true}, data)
}

// tiles are the numbers of now, each a link to what it counts.
func (d *dashboard) tiles(hour *past) []tile {
	s := d.q.Stats()
	return []tile{
		{count(s.Ready), "ready", "jobs?state=ready"},
		{count(s.Running) + " / " + count(s.Workers), "running / workers", "jobs?state=running"},
		{count(s.Scheduled), "scheduled", "jobs?state=scheduled"},
		{count(s.Retrying), "retrying", "jobs?state=retrying"},
		{count(s.Dead), "dead", "jobs?state=dead"},
		{perMinute(hour, hour.now.Sub(s.OpenedAt)), "completed / min", "kinds"},
		{roughly(s.OldestWait), "oldest wait", "queues"},
	}
}

// roughly is a duration that has room in a tile.
func roughly(d time.Duration) string {
	switch {
	case d >= 10*time.Hour:
		return duration(d.Truncate(time.Hour))
	case d >= 10*time.Minute:
		return duration(d.Truncate(time.Minute))
	case d >= 10*time.Second:
		return duration(d.Truncate(time.Second))
	}
	return duration(d)
}

// perMinute is the mean of the last five whole minutes, or of those for which
// this process has had the file.
func perMinute(hour *past, uptime time.Duration) string {
	minutes := int(min(max(uptime/time.Minute, 1), 5))
	n := uint64(0)
	last := len(hour.Periods) - 1 // still under way
	for _, p := range hour.Periods[last-minutes : last] {
		n += p.Completed
	}
	if rate := float64(n) / float64(minutes); n > 0 && rate < 10 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return count(n / uint64(minutes))
}

func overviewCharts(t *past, starts []stint.Start) []drawing {
	counted := func(of func(p *stint.Period) uint64) []float64 {
		return t.values(func(p *stint.Period) float64 { return float64(of(p)) })
	}
	done := t.chart("Completed and failed per "+t.Per, inCounts,
		series{"completed", "c-completed", counted(func(p *stint.Period) uint64 { return p.Completed })},
		series{"failed", "c-failed", counted(func(p *stint.Period) uint64 { return p.Failed })})
	done.Marks = t.marks(starts)

	depth := t.chart("Jobs waiting", inCounts, series{"ready", "c-ready", t.values(func(p *stint.Period) float64 {
		n := 0
		for _, flow := range p.Queues {
			n += flow.Ready
		}
		return float64(n)
	})})
	depth.Empty = "No job had to wait."

	run := func(p *stint.Period) stint.Histogram { return p.Run }
	runs := t.chart("How long handlers took", inSeconds,
		series{"p50", "c-line", t.quantiles(0.5, run)}, series{"p95", "c-line2", t.quantiles(0.95, run)})
	waits := t.chart("How long jobs waited", inSeconds,
		series{"p50", "c-line", t.quantiles(0.5, waitOfAll)}, series{"p95", "c-line2", t.quantiles(0.95, waitOfAll)})

	var list []drawing
	for _, c := range []*chart{done, depth, waits, runs} {
		list = append(list, drawing{c.Name, c.Draw()})
	}
	return list
}

// waitOfAll is how jobs of all queues waited.
func waitOfAll(p *stint.Period) (all stint.Histogram) {
	for _, flow := range p.Queues {
		addHistogram(&all, flow.Wait)
	}
	return all
}

// longest are the jobs that have been at work for longest.
func (d *dashboard) longest(now time.Time) ([]atWork, error) {
	var running []stint.Info
	for info, err := range d.q.Jobs(stint.Filter{State: stint.Running, OldestFirst: true, Limit: runningSeen}) {
		if err != nil {
			return nil, err
		}
		if !info.StartedAt.IsZero() {
			running = append(running, info)
		}
	}
	slices.SortStableFunc(running, func(a, b stint.Info) int { return a.StartedAt.Compare(b.StartedAt) })
	timeouts := map[string]time.Duration{}
	for _, k := range d.q.Kinds() {
		timeouts[k.Name] = max(k.Policy.Timeout, 0)
	}
	var list []atWork
	for _, info := range running[:min(len(running), longestRows)] {
		list = append(list, atWork{d.brief(info), now.Sub(info.StartedAt).Truncate(time.Second / 10), timeouts[info.Kind]})
	}
	return list, nil
}

func longestSheet(list []atWork) *sheet {
	s := &sheet{Head: columns("Job", "For", "Progress")}
	for _, job := range list {
		lasts := duration(job.For)
		if job.Limit > 0 {
			lasts += " of " + duration(job.Limit)
		}
		s.add(runningJob(&job.Job), words(lasts), progressOf(job.Progress))
	}
	return s
}

// runningJob is what a row about a running job begins with.
func runningJob(job *wire.Job) cell {
	stuck := ""
	if job.Stuck {
		stuck = "stuck"
	}
	return jobLink(job.ID, fmt.Sprint(job.Kind, " ", job.ID)).badge("bad", stuck)
}

func progressOf(p *wire.Progress) cell {
	if p == nil {
		return words("–")
	}
	var c cell
	if p.Total > 0 {
		c = c.and(part{Meter: &meter{Part: p.Done, Whole: p.Total, Text: fmt.Sprintf("%d of %d", p.Done, p.Total), Progress: true}})
	}
	return c.and(remark(p.Text))
}

func nextSheet(list []stint.ScheduleInfo) *sheet {
	s := &sheet{Head: columns("Schedule", "Next", "")}
	for _, one := range list {
		s.add(link(pageOf("schedule", one.Name), one.Name).and(under(one.Words)), timeCell(one.Next), runForm(&one).in())
	}
	return s
}

// nextSchedules are those that fire next.
func nextSchedules(all []stint.ScheduleInfo) []stint.ScheduleInfo {
	next := slices.DeleteFunc(all, func(s stint.ScheduleInfo) bool { return s.Next.IsZero() })
	slices.SortStableFunc(next, func(a, b stint.ScheduleInfo) int {
		return cmp.Or(a.Next.Compare(b.Next), cmp.Compare(a.Name, b.Name))
	})
	return next[:min(len(next), nextRows)]
}
