package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stintq/stint"
)

var queueRoutes = []route{
	{method: "GET", path: "/queues", role: View, show: (*dashboard).queues},
	{method: "GET", path: "/queue", role: View, show: (*dashboard).queue},
	{method: "POST", path: "/queues/pause", role: Operate, act: (*dashboard).pauseQueue},
	{method: "POST", path: "/queues/resume", role: Operate, act: (*dashboard).resumeQueue},
	{method: "POST", path: "/queues/workers", role: Operate, act: (*dashboard).setWorkers},
	{method: "POST", path: "/queues/purge", role: Admin, act: (*dashboard).purgeQueue},
}

// queueRow is a queue in a list.
type queueRow struct {
	stint.QueueInfo
	Late   bool
	Limit  int           // of its own, or that of all together
	Starts uint64        // in the last hour
	Wait   time.Duration // p95 in the last hour
}

func (d *dashboard) queueRows(hour *past) []*queueRow {
	workers := d.q.Stats().Workers
	total := hour.total()
	var rows []*queueRow
	for _, info := range d.q.Queues() {
		row := &queueRow{QueueInfo: info, Late: isLate(&info), Limit: cmp.Or(info.Workers, workers)}
		flow := total.Queues[info.Name]
		row.Starts = flow.Wait.Count()
		if row.Starts > 0 {
			row.Wait = time.Duration(flow.Wait.Quantile(0.95) * float64(time.Second))
		}
		rows = append(rows, row)
	}
	return rows
}

// byUrgency has first what somebody should look at.
func byUrgency(a, b *queueRow) int {
	rank := func(q *queueRow) int {
		switch {
		case q.Late:
			return 0
		case q.Paused:
			return 1
		}
		return 2
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Starts, a.Starts), strings.Compare(a.Name, b.Name))
}

// queueSheet lists queues; whole is for the page that is about them.
func queueSheet(rows []*queueRow, hour *past, whole bool) *sheet {
	s := &sheet{Head: columns("Queue", "State", "#Ready", "Running", "#Oldest wait", "Last hour")}
	if whole {
		s.Head = append(s.Head, columns("#Wait p95", "#Failed", "")...)
	}
	for _, q := range rows {
		row := []cell{
			link(pageOf("queue", q.Name), q.Name), q.state(), words(count(q.Ready)),
			bar(q.Running, q.Limit, count(q.Running)+" / "+count(q.Limit)), words(duration(q.OldestWait.Truncate(time.Second))), q.spark(hour),
		}
		if whole {
			row = append(row, orNone(q.Starts > 0, duration(q.Wait)), words(count(q.Failed)), q.pauseForm().in())
		}
		s.add(row...)
	}
	return s
}

func (q *queueRow) state() cell {
	switch {
	case q.Paused && q.PausedBy != "":
		return cell{}.badge("", "paused by "+q.PausedBy)
	case q.Paused:
		return cell{}.badge("", "paused")
	case q.Late:
		return cell{}.badge("bad", "late")
	}
	return cell{}.badge("good", "open")
}

// spark has the starts in the last hour.
func (q *queueRow) spark(hour *past) cell {
	if q.Starts == 0 {
		return words("–")
	}
	starts := hour.values(func(p *stint.Period) float64 { flow := p.Queues[q.Name]; return float64(flow.Wait.Count()) })
	return cell{{Picture: spark(starts, fmt.Sprintf("%s started in the last hour, at most %s in a minute; 95 %% waited for less than %s",
		plural(int(q.Starts), "job", "jobs"), count(int(slices.Max(starts))), duration(q.Wait)))}}
}

// pauseForm pauses a queue, or lets it go on.
func (q *queueRow) pauseForm() *form {
	f := &form{Role: "operate", Action: "queues/pause", Hidden: []hidden{{"queue", q.Name}}, Reason: "Reason to pause " + q.Name}
	f.Buttons = []button{{Text: "Pause", Label: "Pause " + q.Name}}
	if q.Paused {
		f.Action, f.Reason = "queues/resume", ""
		f.Buttons = []button{{Text: "Resume", Label: "Resume " + q.Name}}
	}
	return f
}

type queuesPage struct {
	Queues  *sheet
	Workers int
}

func (d *dashboard) queues(w http.ResponseWriter, r *request) error {
	hour, err := d.past(lastHour, time.Now())
	if err != nil {
		return err
	}
	rows, turns := turn(r, d.queueRows(hour))
	data := &queuesPage{queueSheet(rows, hour, true), d.q.Stats().Workers}
	data.Queues.Turns = turns
	return d.render(w, r, "queues", page{Title: "Queues", Section: "Queues", Refresh: true}, data)
}

type queuePage struct {
	queueRow
	Jobs    []tile
	Choices []choice
	Charts  []drawing
	Kinds   *sheet
}

// State and PauseForm are those of the list.
func (p *queuePage) State() cell      { return p.state() }
func (p *queuePage) PauseForm() *form { return p.pauseForm() }

// PurgeForm deletes what is ready; if that is much, people type how much.
func (p *queuePage) PurgeForm() *form {
	jobs := plural(p.Ready, "ready job", "ready jobs")
	f := &form{Role: "admin", Action: "queues/purge", Hidden: []hidden{{"queue", p.Name}}}
	if p.Ready > askFrom {
		f.Expect = p.Ready
	}
	f.Buttons = []button{{Text: "Purge " + jobs, Class: "danger", Ask: fmt.Sprintf("Delete %s of %s?", jobs, p.Name)}}
	return f
}

func (d *dashboard) queue(w http.ResponseWriter, r *request) error {
	name := r.URL.Query().Get("name")
	now := time.Now()
	hour, err := d.past(lastHour, now)
	if err != nil {
		return err
	}
	rows := d.queueRows(hour)
	i := slices.IndexFunc(rows, func(q *queueRow) bool { return q.Name == name })
	if i < 0 {
		return missing("there is no queue %q", name)
	}
	current := stretchOf(r, overviewStretches)
	t := hour
	if current.Key != lastHour.Key {
		if t, err = d.past(current, now); err != nil {
			return err
		}
	}
	data := &queuePage{
		queueRow: *rows[i], Jobs: jobLinks(rows[i].Counts, filterTerm("queue", name)),
		Choices: stretchChoices(r, overviewStretches, current), Charts: queueCharts(t, name), Kinds: kindsOfQueue(d.q.Metrics().Kinds, name),
	}
	return d.render(w, r, "queue", page{Title: "Queue " + name, Section: "Queues", Refresh: true}, data)
}

// kindsOfQueue are the kinds in a queue.
func kindsOfQueue(metrics []stint.KindMetrics, queue string) *sheet {
	s := &sheet{Caption: "Since this process has begun", Head: columns("Kind", "#Enqueued", "#Completed", "#Failed", "#Died", "#p50", "#p95")}
	for _, m := range metrics {
		if m.Queue == queue {
			some := m.Run.Count() > 0
			s.add(link(pageOf("kind", m.Kind), m.Kind), words(count(m.Enqueued)), words(count(m.Completed)), words(count(m.Failed)), words(count(m.Died)),
				orNone(some, duration(quantile(m.Run, 0.5))), orNone(some, duration(quantile(m.Run, 0.95))))
		}
	}
	return s
}

func queueCharts(t *past, name string) []drawing {
	wait := func(p *stint.Period) stint.Histogram { return p.Queues[name].Wait }
	started := t.chart("Jobs started per "+t.Per, inCounts, series{"started", "c-completed", t.values(func(p *stint.Period) float64 { h := wait(p); return float64(h.Count()) })})
	depth := t.chart("Jobs waiting", inCounts, series{"ready", "c-ready", t.values(func(p *stint.Period) float64 { return float64(p.Queues[name].Ready) })})
	depth.Empty = "No job had to wait."
	waits := t.chart("How long jobs waited", inSeconds, series{"p50", "c-line", t.quantiles(0.5, wait)}, series{"p95", "c-line2", t.quantiles(0.95, wait)})
	total := t.total()
	spread := bars("Waits by length", "waited", wait(&total), noNumbers)
	var list []drawing
	for _, c := range []*chart{started, depth, waits, spread} {
		list = append(list, drawing{c.Name, c.Draw()})
	}
	return list
}

func quantile(h stint.Histogram, p float64) time.Duration {
	return time.Duration(h.Quantile(p) * float64(time.Second))
}

// jobLinks lead to the jobs that a filter line finds, by state.
func jobLinks(c stint.Counts, q string) (list []tile) {
	for _, one := range []struct {
		state string
		n     int
	}{{"ready", c.Ready}, {"running", c.Running}, {"scheduled", c.Scheduled}, {"retrying", c.Retrying}, {"dead", c.Dead}} {
		page := "jobs?" + url.Values{"state": {one.state}, "q": {q}}.Encode()
		list = append(list, tile{count(one.n), one.state, page})
	}
	return list
}

func (d *dashboard) pauseQueue(r *request) (outcome, error) {
	name, reason := r.params.get("queue"), strings.TrimSpace(r.params.get("reason"))
	if name == "" {
		return outcome{}, bad("queue is missing")
	}
	return outcome{verb: "pause", target: "queue " + name, note: reason}, d.q.Pause(r.Context(), name, r.who())
}

func (d *dashboard) resumeQueue(r *request) (outcome, error) {
	name := r.params.get("queue")
	if name == "" {
		return outcome{}, bad("queue is missing")
	}
	return outcome{verb: "resume", target: "queue " + name}, d.q.Resume(r.Context(), name)
}

// setWorkers without a queue is about all of them together.
func (d *dashboard) setWorkers(r *request) (outcome, error) {
	n, err := r.params.number("n")
	if err != nil {
		return outcome{}, err
	}
	target := "all queues"
	if name := r.params.get("queue"); name != "" {
		target = "queue " + name
	}
	note := plural(n, "worker", "workers")
	if n == 0 {
		note = "as configured"
	}
	return outcome{verb: "change workers", target: target, note: note}, d.q.SetWorkers(r.Context(), r.params.get("queue"), n)
}

const (
	askFrom    = 1000 // jobs, above which people type their number
	purgeGroup = 2000 // jobs between two reports
)

// purgeQueue deletes the ready jobs of a queue, as many as there are now.
func (d *dashboard) purgeQueue(r *request) (outcome, error) {
	name := r.params.get("queue")
	ready, err := d.readyIn(name)
	if err != nil {
		return outcome{}, err
	}
	if ready > askFrom {
		// Jobs come and go meanwhile, but not many more may be deleted than
		// somebody has agreed to.
		expect, err := r.params.number("expect")
		if err != nil || expect+expect/10 < ready {
			return outcome{}, &failure{http.StatusConflict, fmt.Sprintf("nothing was deleted: %d ready jobs of queue %s would be; give this number as expect", ready, name), nil}
		}
	}
	target := "queue " + name
	one, err := d.start(r, "purge", target, func(ctx context.Context, report func(stint.Progress)) (string, error) {
		n, err := d.purge(ctx, name, ready, report)
		return plural(n, "job", "jobs") + " deleted", err
	})
	if err != nil {
		return outcome{verb: "purge", target: target}, err
	}
	return outcome{verb: "purge", target: target, note: plural(ready, "job", "jobs") + " to delete", goTo: "tasks/" + one.id, data: d.wireTask(one)}, nil
}

func (d *dashboard) readyIn(queue string) (int, error) {
	for _, info := range d.q.Queues() {
		if info.Name == queue {
			return info.Ready, nil
		}
	}
	return 0, missing("there is no queue %q", queue)
}

// purge deletes the oldest ready jobs of a queue.
func (d *dashboard) purge(ctx context.Context, queue string, total int, report func(stint.Progress)) (done int, err error) {
	for done < total {
		n, err := d.q.DeleteAll(ctx, stint.Filter{State: stint.Ready, Queue: queue, OldestFirst: true, Limit: min(purgeGroup, total-done)})
		done += n
		report(stint.Progress{Done: done, Total: total})
		if err != nil || n == 0 {
			return done, err
		}
	}
	return done, nil
}
