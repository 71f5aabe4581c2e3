package dashboard

import (
	"net/http"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

var apiScheduleRoutes = []route{
	{method: "GET", path: "/api/v1/schedules", role: View, show: (*dashboard).apiSchedules},
	{method: "GET", path: "/api/v1/schedules/one", role: View, show: (*dashboard).apiSchedule},
	{method: "GET", path: "/api/v1/schedules/next", role: View, show: (*dashboard).apiNext},
}

const shownUpcoming = 10 // of a single schedule

func (d *dashboard) apiSchedules(w http.ResponseWriter, r *request) error {
	all, err := d.allSchedules()
	if err != nil {
		return err
	}
	return list(w, wired(all, wireSchedule))
}

func (d *dashboard) apiSchedule(w http.ResponseWriter, r *request) error {
	name, err := r.needed("schedule")
	if err != nil {
		return err
	}
	info, err := d.scheduleNamed(name)
	if err != nil {
		return err
	}
	one := wireSchedule(info)
	if one.Upcoming, err = d.q.Upcoming(name, shownUpcoming); err != nil {
		return err
	}
	replyJSON(w, http.StatusOK, one)
	return nil
}

func wireSchedule(info stint.ScheduleInfo) wire.Schedule {
	return wire.Schedule{
		Name: info.Name, Spec: info.Spec, Zone: info.Zone, Words: info.Words, Kind: info.Kind,
		Next: info.Next, Last: info.Last, LastJob: uint64(info.LastJob),
		Paused: !info.PausedSince.IsZero(), PausedBy: info.PausedBy, PausedSince: info.PausedSince,
		Orphaned: info.Orphaned, Waiting: info.Waiting,
		Missed: info.Missed.String(), Overlap: info.Overlap.String(),
		Runs: wired(info.Runs, func(run stint.ScheduleRun) wire.ScheduleRun {
			out := wire.ScheduleRun{
				At: run.At, Job: uint64(run.Job), Missed: run.Missed, Skipped: run.Skipped,
				Reason: run.Reason, EndedAt: run.EndedAt,
			}
			if run.State != 0 {
				out.State = run.State.String()
			}
			return out
		}),
	}
}

// apiNext says when a spec would run, before anybody registers it.
func (d *dashboard) apiNext(w http.ResponseWriter, r *request) error {
	spec, err := r.needed("spec")
	if err != nil {
		return err
	}
	n, err := r.number("n", shownUpcoming, maxLimit)
	if err != nil {
		return err
	}
	if zone := r.URL.Query().Get("zone"); zone != "" {
		spec = "CRON_TZ=" + zone + " " + spec // one that names a zone as well is refused
	}
	words, err := stint.Describe(spec)
	if err != nil {
		return err
	}
	times, err := stint.Occurrences(spec, time.Now(), n)
	if err != nil {
		return err
	}
	if times == nil {
		times = []time.Time{}
	}
	replyJSON(w, http.StatusOK, wire.Next{Words: words, Times: times})
	return nil
}
