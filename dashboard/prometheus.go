package dashboard

import (
	"net/http"
	"path/filepath"
	"runtime"
	"time"

	"github.com/stintq/stint"
)

// Metrics for Prometheus are at /metrics, as text; the documentation of the
// package says how to scrape them. prometheus/alerts.yml has rules that are
// worth an alert, and prometheus/grafana.json a board.
//
// Labels are queues, kinds and schedules, which programs name; never ids, args
// or errors.
var metricsRoutes = []route{
	{method: "GET", path: "/metrics", role: View, show: (*dashboard).metrics},
}

func (d *dashboard) metrics(w http.ResponseWriter, r *request) error {
	schedules, err := d.q.Schedules()
	if err != nil && schedules == nil {
		return err
	}
	stats, queues := d.q.Stats(), d.q.Queues()
	e := &exposition{}
	d.flowMetrics(e)
	queueMetrics(e, queues)
	d.workMetrics(e, stats)
	scheduleMetrics(e, schedules)
	d.storeMetrics(e, stats)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = e.text.WriteTo(w) // an error means that the reader has gone
	return nil
}

// flowMetrics are of the jobs that this process has seen.
func (d *dashboard) flowMetrics(e *exposition) {
	m := d.q.Metrics()
	enqueued := e.family("stint_jobs_enqueued_total", "counter", "Jobs that were enqueued.")
	for _, k := range m.Kinds {
		enqueued.add(float64(k.Enqueued), "queue", k.Queue, "kind", k.Kind)
	}
	processed := e.family("stint_jobs_processed_total", "counter", "Attempts that have ended, by result: ok, error (tried again), dead, cancelled, snoozed, interrupted.")
	runs := map[string]stint.Histogram{}
	for _, k := range m.Kinds {
		for _, one := range []struct {
			result string
			n      uint64
		}{{"ok", k.Completed}, {"error", k.Failed}, {"dead", k.Died}, {"cancelled", k.Cancelled}, {"snoozed", k.Snoozed}, {"interrupted", k.Interrupted}} {
			processed.add(float64(one.n), "queue", k.Queue, "kind", k.Kind, "result", one.result)
		}
		runs[k.Kind] = together(runs[k.Kind], k.Run)
	}
	run := e.family("stint_job_run_duration_seconds", "histogram", "How long handlers took, however they ended.")
	for _, kind := range sortedKeys(runs) {
		run.histogram(runs[kind], "kind", kind)
	}
	wait := e.family("stint_job_wait_duration_seconds", "histogram", "How long jobs waited from when they could run to their start.")
	for _, one := range m.Queues {
		wait.histogram(one.Wait, "queue", one.Queue)
	}
	e.family("stint_jobs_recovered_total", "counter", "Jobs found running when the file was opened, as the process before had died.").add(float64(m.Recovered))
	e.family("stint_store_commit_duration_seconds", "histogram", "How long commits to the file took.").histogram(m.CommitTime)
	e.family("stint_store_commit_changes", "histogram", "How many changes shared a commit.").histogram(m.CommitJobs)
}

func queueMetrics(e *exposition, queues []stint.QueueInfo) {
	jobs := e.family("stint_jobs", "gauge", "Jobs in the file by state.")
	for _, q := range queues {
		for _, one := range []struct {
			state stint.State
			n     int
		}{
			{stint.Ready, q.Ready}, {stint.Scheduled, q.Scheduled}, {stint.Retrying, q.Retrying},
			{stint.Running, q.Running}, {stint.Completed, q.Completed}, {stint.Dead, q.Dead},
		} {
			jobs.add(float64(one.n), "queue", q.Name, "state", one.state.String())
		}
	}
	for _, one := range []struct {
		name, help string
		value      func(stint.QueueInfo) float64
	}{
		{"stint_queue_parked", "Ready jobs that no handler of this process is for.", func(q stint.QueueInfo) float64 { return float64(q.Parked) }},
		{"stint_queue_oldest_seconds", "How long the first ready job has been waiting.", func(q stint.QueueInfo) float64 { return q.OldestWait.Seconds() }},
		{"stint_queue_paused", "1 while the queue is paused.", func(q stint.QueueInfo) float64 { return truth(q.Paused) }},
		{"stint_queue_workers_limit", "Handlers of the queue that may run at once; 0 for no limit of its own.", func(q stint.QueueInfo) float64 { return float64(q.Workers) }},
	} {
		f := e.family(one.name, "gauge", one.help)
		for _, q := range queues {
			f.add(one.value(q), "queue", q.Name)
		}
	}
}

func (d *dashboard) workMetrics(e *exposition, s stint.Stats) {
	e.gauge("stint_workers_busy", "Jobs that are running.", float64(s.Running))
	e.gauge("stint_workers_limit", "Handlers that may run at once.", float64(s.Workers))
	e.gauge("stint_working", "1 while Run works the queue.", truth(s.Working))
	e.gauge("stint_healthy", "1 while the queue can do its work: the file takes writes, Run is working, commits end.", truth(d.q.Health() == nil))
	e.gauge("stint_jobs_stuck", "Running jobs long past their timeout.", float64(s.Stuck))
	e.gauge("stint_jobs_quarantined", "Records that could not be read and were set aside.", float64(s.Quarantined))
	e.gauge("stint_opened_timestamp_seconds", "When this process has opened the file.", unix(s.OpenedAt))
	e.family("stint_build_info", "gauge", "1, with the versions of stint and of Go.").add(1, "version", version(), "go", runtime.Version())
}

func scheduleMetrics(e *exposition, schedules []stint.ScheduleInfo) {
	last := e.family("stint_schedule_last_run_timestamp_seconds", "gauge", "The occurrence of the last run; none before the first.")
	for _, s := range schedules {
		if !s.Last.IsZero() {
			last.add(unix(s.Last), "schedule", s.Name)
		}
	}
	next := e.family("stint_schedule_next_run_timestamp_seconds", "gauge", "The occurrence to come; none while the schedule is paused.")
	for _, s := range schedules {
		if !s.Next.IsZero() {
			next.add(unix(s.Next), "schedule", s.Name)
		}
	}
	paused := e.family("stint_schedule_paused", "gauge", "1 while the schedule is paused.")
	for _, s := range schedules {
		paused.add(truth(!s.PausedSince.IsZero()), "schedule", s.Name)
	}
}

func (d *dashboard) storeMetrics(e *exposition, s stint.Stats) {
	e.gauge("stint_store_size_bytes", "Size of the file.", float64(s.FileSize))
	e.gauge("stint_store_free_bytes", "Bytes of the file that hold nothing.", float64(s.FileFree))
	if disk := diskOf(filepath.Dir(d.file)); disk.Known {
		e.gauge("stint_store_disk_free_bytes", "Bytes that are free on the disk of the file.", float64(disk.Free))
		e.gauge("stint_store_disk_size_bytes", "Size of the disk of the file.", float64(disk.Size))
	}
	e.family("stint_store_syncs_total", "counter", "Syncs of the file to the disk.").add(float64(s.Syncs))
	e.family("stint_store_written_bytes_total", "counter", "Bytes written to the file.").add(float64(s.BytesWritten))
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
