package dashboard

import (
	"net/http"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var apiJobRoutes = []route{
	{method: "GET", path: "/api/v1/jobs", role: View, show: (*dashboard).apiJobs},
	{method: "GET", path: "/api/v1/jobs/{id}", role: View, show: (*dashboard).apiJob},
	{method: "GET", path: "/api/v1/jobs/{id}/stack", role: Operate, show: (*dashboard).apiStack},
	{method: "GET", path: "/api/v1/count", role: View, show: (*dashboard).apiCount},
}

func (d *dashboard) apiJobs(w http.ResponseWriter, r *request) error {
	query, state, err := r.filter()
	if err != nil {
		return err
	}
	limit, err := r.limit()
	if err != nil {
		return err
	}
	page, err := d.search(r.Context(), query, state, r.URL.Query().Get("after"), limit)
	if err != nil {
		return err
	}
	jobs := wired(page.infos, func(info stint.Info) wire.Job { return d.job(info, false) })
	replyJSON(w, http.StatusOK, wire.Jobs{Jobs: jobs, Next: page.next, Searched: page.searched, Partial: page.partial})
	return nil
}

// filter is what jobs are narrowed by.
func (r *request) filter() (query, stint.State, error) {
	state, err := readStateParam(r.URL.Query().Get("state"))
	if err != nil {
		return query{}, 0, err
	}
	parsed, err := parseQuery(r.URL.Query().Get("q"))
	if err != nil {
		return query{}, 0, asBad(err)
	}
	return parsed, state, nil
}

// asBad is an error about what was sent, whatever it is made of.
func asBad(err error) error {
	if f := asFailure(err); f.status != http.StatusInternalServerError {
		return f
	}
	return &failure{http.StatusBadRequest, err.Error(), err}
}

func (d *dashboard) apiJob(w http.ResponseWriter, r *request) error {
	id, err := r.id()
	if err != nil {
		return err
	}
	info, err := d.q.Get(id)
	if err != nil {
		return err
	}
	replyJSON(w, http.StatusOK, d.job(info, true))
	return nil
}

func (d *dashboard) apiStack(w http.ResponseWriter, r *request) error {
	id, err := r.id()
	if err != nil {
		return err
	}
	stack, err := d.q.Stack(id)
	if err != nil {
		return err
	}
	info, err := d.q.Get(id)
	if err != nil {
		return err
	}
	replyJSON(w, http.StatusOK, wire.Stack{Stack: d.text(info.Kind, stack)})
	return nil
}

func (d *dashboard) apiCount(w http.ResponseWriter, r *request) error {
	query, state, err := r.filter()
	if err != nil {
		return err
	}
	n, exact, err := d.countMatches(r.Context(), query, state)
	if err != nil {
		return err
	}
	replyJSON(w, http.StatusOK, wire.Count{Count: n, Partial: !exact})
	return nil
}
