package dashboard

import (
	"net/http"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var apiBatchRoutes = []route{
	{method: "GET", path: "/api/v1/batches", role: View, show: (*dashboard).apiBatches},
	{method: "GET", path: "/api/v1/batches/{id}", role: View, show: (*dashboard).apiBatch},
}

// apiBatches lists those below an id; the next page begins below the last one.
func (d *dashboard) apiBatches(w http.ResponseWriter, r *request) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	below := stint.ID(0)
	if text := r.URL.Query().Get("below"); text != "" {
		if below, err = parseID(text); err != nil {
			return err
		}
	}
	var all []wire.Batch
	for info, err := range d.q.Batches(below) {
		if err != nil {
			return err
		}
		if all = append(all, wireBatch(d.redactBatch(info))); len(all) == limit {
			break
		}
	}
	return list(w, all)
}

func (d *dashboard) apiBatch(w http.ResponseWriter, r *request) error {
	id, err := r.id()
	if err != nil {
		return err
	}
	info, err := d.batchOf(id)
	if err != nil {
		return err
	}
	replyJSON(w, http.StatusOK, wireBatch(info))
	return nil
}

func wireBatch(info stint.BatchInfo) wire.Batch {
	return wire.Batch{
		ID: uint64(info.ID), Name: info.Name, Schedule: info.Schedule,
		Planned: info.Planned, Done: info.Done, Dead: info.Dead, Removed: info.Removed,
		Failed: info.Failed, Skipped: info.Skipped, Bad: info.Bad,
		Planning:    info.Planning,
		PlanError:   info.PlanError,
		Errors:      info.Errors,
		CancelledBy: info.CancelledBy,
		StartedAt:   info.StartedAt, PlannedAt: info.PlannedAt, FinishedAt: info.FinishedAt,
		OnDone: uint64(info.OnDone),
	}
}
