package dashboard

import (
	"net/http"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var apiTaskRoutes = []route{
	{method: "GET", path: "/api/v1/tasks", role: View, show: (*dashboard).apiTasks},
	{method: "GET", path: "/api/v1/tasks/{id}", role: View, show: (*dashboard).apiTask},
	{method: "GET", path: "/api/v1/actions", role: View, show: (*dashboard).apiActions},
}

func (d *dashboard) apiTasks(w http.ResponseWriter, r *request) error {
	return list(w, wired(d.tasks.all(), d.wireTask))
}

func (d *dashboard) apiTask(w http.ResponseWriter, r *request) error {
	one, err := d.tasks.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	replyJSON(w, http.StatusOK, d.wireTask(one))
	return nil
}

// apiActions is the action log, newest first.
func (d *dashboard) apiActions(w http.ResponseWriter, r *request) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	all, err := d.actions(limit)
	if err != nil {
		return err
	}
	return list(w, wired(all, wireAction))
}

// actions are the newest entries of the action log, as they may be seen: notes
// may be errors, and targets have what somebody has searched for.
func (d *dashboard) actions(limit int) (list []stint.Action, err error) {
	for a, err := range d.q.Actions() {
		if err != nil {
			return nil, err
		}
		a.Target, a.Note = d.text("", a.Target), d.text("", a.Note)
		if list = append(list, a); len(list) == limit {
			break
		}
	}
	return list, nil
}

func wireAction(a stint.Action) wire.Action {
	return wire.Action{At: a.At, By: a.By, Verb: a.Verb, Target: a.Target, Note: a.Note}
}
