package dashboard

import (
	"net/http"
	"os"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var apiQueueRoutes = []route{
	{method: "GET", path: "/api/v1/stats", role: View, show: (*dashboard).apiStats},
	{method: "GET", path: "/api/v1/queues", role: View, show: (*dashboard).apiQueues},
	{method: "GET", path: "/api/v1/queues/one", role: View, show: (*dashboard).apiQueue},
	{method: "GET", path: "/api/v1/kinds", role: View, show: (*dashboard).apiKinds},
}

func (d *dashboard) apiStats(w http.ResponseWriter, r *request) error {
	s, h := d.q.Stats(), d.health()
	replyJSON(w, http.StatusOK, wire.Stats{
		Counts:    wireCounts(s.Counts),
		Processed: s.Processed, Failed: s.Failed, Died: s.Died,
		Workers: s.Workers, Working: s.Working, Stuck: s.Stuck, Quarantined: s.Quarantined,
		OldestWait: seconds(s.OldestWait),
		WaitP50:    seconds(s.WaitP50), WaitP99: seconds(s.WaitP99), RunP50: seconds(s.RunP50), RunP99: seconds(s.RunP99),
		FileSize: s.FileSize, FileFree: s.FileFree, OpenedAt: s.OpenedAt,
		Health: h.Sentence, Level: h.Level, Version: version(), PID: os.Getpid(),
	})
	return nil
}

func wireCounts(c stint.Counts) wire.Counts {
	return wire.Counts{
		Ready: c.Ready, Scheduled: c.Scheduled, Retrying: c.Retrying, Running: c.Running,
		Completed: c.Completed, Dead: c.Dead, Parked: c.Parked,
	}
}

func (d *dashboard) apiQueues(w http.ResponseWriter, r *request) error {
	return list(w, wired(d.q.Queues(), wireQueue))
}

func (d *dashboard) apiQueue(w http.ResponseWriter, r *request) error {
	name, err := r.needed("queue")
	if err != nil {
		return err
	}
	for _, info := range d.q.Queues() {
		if info.Name == name {
			replyJSON(w, http.StatusOK, wireQueue(info))
			return nil
		}
	}
	return missing("there is no queue %q", name)
}

func wireQueue(info stint.QueueInfo) wire.Queue {
	return wire.Queue{
		Name: info.Name, Counts: wireCounts(info.Counts), Processed: info.Processed, Failed: info.Failed,
		Workers: info.Workers, OldestWait: seconds(info.OldestWait),
		Paused: info.Paused, PausedBy: info.PausedBy, PausedSince: info.PausedSince,
	}
}

func (d *dashboard) apiKinds(w http.ResponseWriter, r *request) error {
	return list(w, wired(d.q.Kinds(), wireKind))
}

func wireKind(info stint.KindInfo) wire.Kind {
	return wire.Kind{
		Name: info.Name, Counts: wireCounts(info.Counts), Processed: info.Processed, Failed: info.Failed, Died: info.Died,
		Handled: info.Handled,
	}
}
