package dashboard

import (
	"cmp"
	"fmt"
	"net/http"

	"github.com/stintq/stint"
)

var batchRoutes = []route{
	{method: "GET", path: "/batches", role: View, show: (*dashboard).batches},
	{method: "GET", path: "/batches/{id}", role: View, show: (*dashboard).batch},
	{method: "POST", path: "/batches/{id}/cancel", role: Operate, act: (*dashboard).cancelBatch},
}

const (
	batchesShown  = 50
	failuresShown = 50
)

// batchesPage is a page of the list.
type batchesPage struct {
	List *sheet
	Next stint.ID // the last one shown, if there are more
}

func (d *dashboard) batches(w http.ResponseWriter, r *request) error {
	data := batchesPage{List: &sheet{
		Caption: "Batches, newest first", Hidden: true, Head: columns("Batch", "State", "Progress", "#Items", "#Dead", "Started", "Ended"),
	}}
	var last stint.ID
	var below stint.ID
	if text := r.URL.Query().Get("below"); text != "" {
		var err error
		if below, err = parseID(text); err != nil {
			return err
		}
	}
	for b, err := range d.q.Batches(below) {
		if err != nil {
			return err
		}
		if len(data.List.Rows) == batchesShown {
			data.Next = last
			break
		}
		id := fmt.Sprint(b.ID)
		dead := words(count(b.Dead))
		if b.Dead > 0 {
			dead[0].Class = "strong"
		}
		data.List.add(link("batches/"+id, cmp.Or(b.Name, "batch")+" "+id), batchState(&b), batchBar(&b), words(count(b.Planned)), dead, timeCell(b.StartedAt), timeCell(b.FinishedAt))
		last = b.ID
	}
	return d.render(w, r, "batches", page{Title: "Batches", Section: "Batches", Refresh: true}, data)
}

func batchState(b *stint.BatchInfo) cell {
	var c cell
	switch {
	case b.CancelledBy != "":
		return c.badge("bad", "cancelled by "+b.CancelledBy)
	case b.PlanError != "":
		return c.badge("bad", "planning failed")
	case b.Planning:
		return c.badge("", "planning")
	case b.FinishedAt.IsZero():
		return c.badge("", "under way")
	case b.Dead > 0 || b.Bad > 0:
		return c.badge("bad", "ended with failures")
	}
	return c.badge("good", "done")
}

// batchBar is how many items have ended.
func batchBar(b *stint.BatchInfo) cell {
	ended := b.Done + b.Dead + b.Removed
	text := count(ended) + " of " + count(b.Planned)
	if b.Planning {
		text += " so far"
	}
	return cell{{Meter: &meter{Part: ended, Whole: b.Planned, Text: "items that have ended", Progress: true}}, {Text: text, Class: "small nowrap"}}
}

// batchPage is what the page of a batch shows.
type batchPage struct {
	stint.BatchInfo
	Cancel   *form  // if there is something to cancel
	Problems *sheet // items that are dead, or failed and are tried again
	More     bool   // there are more of them
}

// State and Bar are those of the list.
func (p batchPage) State() cell { return batchState(&p.BatchInfo) }
func (p batchPage) Bar() cell   { return batchBar(&p.BatchInfo) }

func (d *dashboard) batch(w http.ResponseWriter, r *request) error {
	id, err := r.id()
	if err != nil {
		return err
	}
	b, err := d.batchOf(id)
	if err != nil {
		return err
	}
	data := batchPage{BatchInfo: b, Problems: &sheet{Caption: "Items that are dead or failed", Hidden: true, Head: columns("Job", "State", "Attempt", "Error")}}
	if b.FinishedAt.IsZero() && b.CancelledBy == "" {
		ask := fmt.Sprintf("Cancel batch %d? What waits becomes dead, and what runs is told to stop.", id)
		data.Cancel = &form{Role: "operate", Action: fmt.Sprintf("batches/%d/cancel", id), Buttons: []button{{Text: "Cancel batch", Class: "danger", Ask: ask}}}
	}
	if b.Failed > 0 || b.Dead > 0 {
		if err := d.findProblems(&data); err != nil {
			return err
		}
	}
	title := fmt.Sprintf("Batch %d", id)
	if b.Name != "" {
		title = b.Name + " · batch " + fmt.Sprint(id)
	}
	return d.render(w, r, "batch", page{Title: title, Section: "Batches", Refresh: true}, data)
}

// batchOf is a batch as it may be seen: its errors may quote args.
func (d *dashboard) batchOf(id stint.ID) (stint.BatchInfo, error) {
	b, err := d.q.Batch(id)
	return d.redactBatch(b), err
}

// redactBatch redacts what a batch says. Its items may be of any kind.
func (d *dashboard) redactBatch(b stint.BatchInfo) stint.BatchInfo {
	b.PlanError = d.text("", b.PlanError)
	b.Errors = wired(b.Errors, func(text string) string { return d.text("", text) })
	return b
}

// findProblems looks for items that need somebody.
func (d *dashboard) findProblems(data *batchPage) error {
	limits := d.maxAttempts()
	for _, state := range []stint.State{stint.Dead, stint.Retrying} {
		for info, err := range d.q.Jobs(stint.Filter{Batch: data.ID, State: state, Limit: failuresShown + 1}) {
			if err != nil {
				return err
			}
			if len(data.Problems.Rows) == failuresShown {
				data.More = true
				return nil
			}
			job := d.brief(info)
			data.Problems.add(jobLink(job.ID, fmt.Sprint(job.Kind, " ", job.ID)), stateCell(job.State), words(attemptsText(job.Failures, cmp.Or(job.MaxAttempts, limits[job.Kind]))), words(job.Error))
		}
	}
	return nil
}

func (d *dashboard) cancelBatch(r *request) (outcome, error) {
	id, err := r.id()
	if err != nil {
		return outcome{}, err
	}
	out := outcome{verb: "cancel", target: fmt.Sprintf("batch %d", id), note: r.params.get("reason")}
	return out, d.q.CancelBatch(r.Context(), id, r.who())
}
