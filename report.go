package stint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// report is a failure or a death that is on disk: it is logged, and a death
// goes to Config.OnDeath. Both run user code, so neither happens under a lock
// nor in the committer's goroutine.
type report struct {
	level slog.Level
	text  string
	info  Info
	delay time.Duration
	death bool

	failure string // the error of the attempt
	attrs   []any  // instead of those of a job
}

// reports is what waits to be told. A goroutine that tells it lives only as
// long as there is something.
type reports struct {
	mu      sync.Mutex
	waiting []report
	telling bool
	lost    []string // jobs whose end could not be recorded
}

func (q *Queue) report(list []report) {
	if len(list) == 0 {
		return
	}
	q.reports.mu.Lock()
	defer q.reports.mu.Unlock()
	q.reports.waiting = append(q.reports.waiting, list...)
	if !q.reports.telling {
		q.reports.telling = true
		q.background.Go(q.tellReports)
	}
}

func (q *Queue) tellReports() {
	var list []report
	defer func() {
		if len(list) > 0 { // OnDeath has ended this goroutine by runtime.Goexit
			q.reports.mu.Lock()
			q.reports.waiting = append(list[1:], q.reports.waiting...)
			q.reports.mu.Unlock()
			q.background.Go(q.tellReports)
		}
	}()
	for {
		q.reports.mu.Lock()
		list = q.reports.waiting
		q.reports.waiting = nil
		q.reports.telling = len(list) > 0
		q.reports.mu.Unlock()
		if len(list) == 0 {
			q.toldAll()
			return
		}
		for ; len(list) > 0; list = list[1:] {
			q.tell(list[0])
		}
	}
}

func (q *Queue) tell(r report) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("stint: Config.OnDeath panicked", "job_id", uint64(r.info.ID), "panic", p)
		}
	}()
	attrs := []any{"job_id", uint64(r.info.ID), "kind", r.info.Kind, "queue", r.info.Queue, "failures", r.info.Failures}
	switch {
	case r.death:
		attrs = append(attrs, "reason", r.info.Reason)
	case r.failure != "":
		attrs = append(attrs, "retry_in", r.delay, "error", r.failure)
	}
	if r.attrs != nil {
		attrs = r.attrs
	}
	q.log.Log(context.Background(), r.level, r.text, attrs...)
	if r.death && q.cfg.OnDeath != nil {
		q.cfg.OnDeath(r.info)
	}
}

// lost notes a job whose end could not be recorded.
func (q *Queue) lost(e *execution, err error) {
	if e.outcome.to == Ready {
		return
	}
	q.reports.mu.Lock()
	q.reports.lost = append(q.reports.lost, fmt.Sprintf("%s %d", e.rec.kind, e.id))
	q.reports.mu.Unlock()
	q.log.Error("stint: the end of a job could not be recorded, it will run again", "job_id", e.id, "kind", e.rec.kind, "error", err)
}

// lostJobs names them, for Close.
func (q *Queue) lostJobs() error {
	q.reports.mu.Lock()
	defer q.reports.mu.Unlock()
	if len(q.reports.lost) == 0 {
		return nil
	}
	return errors.Join(fmt.Errorf("stint: these jobs have run, but it could not be recorded, so they will run again: %v", q.reports.lost))
}
