package dashboard

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"path/filepath"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var systemRoutes = []route{
	{method: "GET", path: "/system", role: View, show: (*dashboard).system},
	{method: "GET", path: "/system/backup", role: Admin, show: (*dashboard).apiBackup, stream: true},
	{method: "POST", path: "/system/compact", role: Admin, act: (*dashboard).compact},
	{method: "POST", path: "/system/check", role: Admin, act: (*dashboard).check},
	{method: "POST", path: "/system/repair", role: Admin, act: (*dashboard).repair},
}

// systemPage is what the page of the system shows.
type systemPage struct {
	stint.Stats
	Path        string
	Disk        diskSpace
	Metrics     stint.Metrics
	Forms       []*form
	Live        *sheet
	Starts      *sheet
	Actions     *sheet
	Tasks       *sheet
	Quarantined *sheet
	Problem     string // of Queue.Health
}

const (
	liveShown    = 100
	startsShown  = 20
	actionsShown = 50
	asideShown   = 20

	// worthCompacting is the free share of a file from which on compacting it
	// is advised, if it is not small.
	worthCompacting = 0.5
	smallFile       = 16 << 20
)

// Compactable says whether compacting would give much back.
func (s systemPage) Compactable() bool {
	return s.FileSize >= smallFile && float64(s.FileFree) >= worthCompacting*float64(s.FileSize)
}

// Jobs per commit and so on, from a histogram's quantile.
func (s systemPage) CommitP(p float64) time.Duration {
	return time.Duration(s.Metrics.CommitTime.Quantile(p) * float64(time.Second))
}

func (d *dashboard) system(w http.ResponseWriter, r *request) error {
	data := systemPage{Stats: d.q.Stats(), Path: d.file, Disk: diskOf(filepath.Dir(d.file)), Metrics: d.q.Metrics(), Forms: systemForms()}
	if err := d.q.Health(); err != nil {
		data.Problem = err.Error()
	}
	var running []wire.Job
	for info, err := range d.q.Jobs(stint.Filter{State: stint.Running, OldestFirst: true, Limit: liveShown}) {
		if err != nil {
			return err
		}
		running = append(running, d.brief(info))
	}
	data.Live = runningSheet(running)
	starts, err := d.q.Starts()
	if err != nil {
		return err
	}
	data.Starts = startSheet(starts[:min(len(starts), startsShown)])
	actions, err := d.actions(actionsShown)
	if err != nil {
		return err
	}
	data.Actions = actionSheet(actions)
	aside, err := firstOf(d.q.Quarantined(), asideShown)
	if err != nil {
		return err
	}
	data.Quarantined = quarantineSheet(aside)
	var tasks []wire.Task
	for _, one := range d.tasks.all() {
		tasks = append(tasks, d.wireTask(one))
	}
	data.Tasks = taskSheet(tasks)
	return d.render(w, r, "system", page{Title: "System", Section: "System", Refresh: true}, data)
}

func systemForms() []*form {
	return []*form{
		{Role: "admin", Action: "system/compact", Buttons: []button{{Text: "Compact"}}},
		{Role: "admin", Action: "system/check", Buttons: []button{{Text: "Check"}}},
		{Role: "admin", Action: "system/repair", Buttons: []button{{Text: "Repair", Ask: "Repair what follows from the jobs' records? While it works no job begins."}}},
	}
}

// firstOf are the first n of a sequence.
func firstOf[T any](all iter.Seq2[T, error], n int) (list []T, err error) {
	for one, err := range all {
		if err != nil {
			return nil, err
		}
		if list = append(list, one); len(list) == n {
			break
		}
	}
	return list, nil
}

func (d *dashboard) compact(r *request) (outcome, error) {
	base := filepath.Base(d.file)
	return d.task(r, "compact", "file "+base, func(ctx context.Context, report func(stint.Progress)) (string, error) {
		before := d.q.Stats().FileSize
		if err := d.q.Compact(ctx, report); err != nil {
			return "", err
		}
		return byteSize(before) + " became " + byteSize(d.q.Stats().FileSize), nil
	})
}

func (d *dashboard) check(r *request) (outcome, error) {
	return d.faults(r, "check", d.q.Check)
}

func (d *dashboard) repair(r *request) (outcome, error) {
	return d.faults(r, "repair", d.q.Repair)
}

// faults looks for faults, and keeps the texts of the first ones.
func (d *dashboard) faults(r *request, verb string, look func(context.Context) ([]stint.Fault, error)) (outcome, error) {
	return d.task(r, verb, "file "+filepath.Base(d.file), func(ctx context.Context, report func(stint.Progress)) (string, error) {
		faults, err := look(ctx)
		keepFaults(ctx, faults)
		if err != nil || len(faults) == 0 {
			return "no faults", err
		}
		repaired := 0
		for _, fault := range faults {
			if fault.Repaired {
				repaired++
			}
		}
		note := plural(len(faults), "fault", "faults")
		if verb == "repair" {
			note += fmt.Sprintf(", %d repaired", repaired)
		}
		for _, fault := range faults[:min(len(faults), 10)] {
			note += "; " + fault.Text
		}
		return note, nil
	})
}

// task starts a task and sends a browser to its page.
func (d *dashboard) task(r *request, verb, target string, do func(context.Context, func(stint.Progress)) (string, error)) (outcome, error) {
	one, err := d.start(r, verb, target, do)
	out := outcome{verb: verb, target: target, note: "begun"}
	if err != nil {
		return out, err
	}
	out.goTo, out.data = "tasks/"+one.id, d.wireTask(one)
	return out, nil
}
