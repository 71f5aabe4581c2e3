package dashboard

import (
	"net/http"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var apiHistoryRoutes = []route{
	{method: "GET", path: "/api/v1/history", role: View, show: (*dashboard).apiHistory},
	{method: "GET", path: "/api/v1/starts", role: View, show: (*dashboard).apiStarts},
}

// apiHistory answers with periods of a length, by default all that the file
// has of it.
func (d *dashboard) apiHistory(w http.ResponseWriter, r *request) error {
	step := time.Minute
	switch text := r.URL.Query().Get("step"); text {
	case "", "1m":
	case "10m":
		step = 10 * time.Minute
	case "24h":
		step = 24 * time.Hour
	default:
		return bad("step must be 1m, 10m or 24h, not %q", text)
	}
	since, err := r.moment("since")
	if err != nil {
		return err
	}
	periods, err := d.q.History(step, since)
	if err != nil {
		return err
	}
	return list(w, wired(periods, wirePeriod))
}

func wirePeriod(p stint.Period) wire.Period {
	out := wire.Period{Start: p.Start, Seconds: seconds(p.Length), Tally: wireTally(p.Tally)}
	out.Kinds = make(map[string]wire.Tally, len(p.Kinds))
	for kind, tally := range p.Kinds {
		out.Kinds[kind] = wireTally(tally)
	}
	out.Queues = make(map[string]wire.Flow, len(p.Queues))
	for queue, flow := range p.Queues {
		out.Queues[queue] = wire.Flow{Wait: wireTimes(flow.Wait), Ready: flow.Ready}
	}
	return out
}

func wireTally(t stint.Tally) wire.Tally {
	return wire.Tally{Enqueued: t.Enqueued, Completed: t.Completed, Failed: t.Failed, Died: t.Died, Run: wireTimes(t.Run)}
}

func wireTimes(h stint.Histogram) wire.Times {
	return wire.Times{Count: h.Count(), Sum: h.Sum, P50: h.Quantile(0.5), P95: h.Quantile(0.95), P99: h.Quantile(0.99)}
}

func (d *dashboard) apiStarts(w http.ResponseWriter, r *request) error {
	all, err := d.q.Starts()
	if err != nil {
		return err
	}
	return list(w, wired(all, wireStart))
}

func wireStart(s stint.Start) wire.Start {
	return wire.Start{
		At: s.At, Ended: s.Ended, Crashed: s.Crashed, Recovered: s.Recovered, PID: s.PID, Host: s.Host, Version: s.Version,
	}
}
