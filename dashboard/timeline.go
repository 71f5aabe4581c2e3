package dashboard

import (
	"time"

	"github.com/stintq/stint"
)

// moment is a step of a job's life: what happened, when, and for how long.
type moment struct {
	What  string
	State string // whose color it has
	Note  string
	At    time.Time // zero if it is not known
	Took  time.Duration
	Bar   int // Took as a share of the longest, in percent
}

// timelineOf tells a job's life from what its record has: failed attempts have
// times, the ones before the last ten are only counted, and so are snoozes and
// crashes. The wall clock may have been set back in between, so a span that
// would be negative is left out.
func timelineOf(info *stint.Info) []moment {
	l := &timeline{info: info, last: info.EnqueuedAt}
	l.add(moment{What: "Enqueued", State: "ready", At: info.EnqueuedAt})
	if n := info.Failures - len(info.Attempts); n > 0 && len(info.Attempts) > 0 {
		l.add(moment{What: plural(n, "earlier attempt failed", "earlier attempts failed"), State: "retrying", Note: "only the last ten are kept"})
		l.gap = true
	}
	for _, a := range info.Attempts {
		l.attempt(&a)
	}
	if info.Snoozes > 0 {
		l.add(moment{What: "Snoozed " + plural(info.Snoozes, "time", "times"), State: "scheduled", Note: "costs no attempt"})
	}
	if info.Crashes > 0 {
		l.add(moment{What: "Process died " + plural(info.Crashes, "time", "times"), State: "retrying", Note: "while the job was running"})
	}
	l.end()
	scale(l.list)
	return l.list
}

type timeline struct {
	info  *stint.Info
	list  []moment
	last  time.Time // when what came last was over
	tried bool      // an attempt was made
	gap   bool      // what came between is not known
}

func (l *timeline) add(m moment) { l.list = append(l.list, m) }

// attempt adds one that failed. One that the end of its process cut off has no
// duration: when it began is not known, only when that was found out.
func (l *timeline) attempt(a *stint.Attempt) {
	what, took := "Attempt "+count(a.Number)+" failed", max(a.Duration, 0)
	if a.Duration == 0 {
		what = "Attempt " + count(a.Number) + " was cut off"
		l.before(a.StartedAt, "Waited and ran", "ready")
	} else {
		l.wait(a.StartedAt)
	}
	l.add(moment{What: what, State: "dead", At: a.StartedAt, Took: took})
	l.last = a.StartedAt.Add(took)
	l.tried = true
}

// wait adds the time before something, in which the job waited.
func (l *timeline) wait(until time.Time) {
	if l.tried {
		l.before(until, "Waited to try again", "retrying")
	} else {
		l.before(until, "Waited", "ready")
	}
}

// before adds the time from what came last, if it is known.
func (l *timeline) before(until time.Time, what, state string) {
	if took := until.Sub(l.last); took > 0 && !l.gap {
		l.add(moment{What: what, State: state, Took: took})
	}
	l.gap = false
}

// end adds what the job is about now, or how it ended.
func (l *timeline) end() {
	info := l.info
	switch info.State {
	case stint.Running:
		if info.StartedAt.IsZero() {
			l.add(moment{What: "Is about to start", State: "running"})
			return
		}
		l.wait(info.StartedAt)
		l.add(moment{What: "Runs, attempt " + count(info.Failures+1), State: "running", At: info.StartedAt})
	case stint.Completed:
		l.add(moment{What: "Completed", State: "completed", At: info.FinishedAt, Took: max(info.FinishedAt.Sub(l.last), 0), Note: "wait and run together"})
	case stint.Dead:
		l.add(moment{What: "Dead", State: "dead", At: info.FinishedAt})
	case stint.Scheduled:
		l.add(moment{What: "Scheduled", State: "scheduled", At: info.RunAt})
	case stint.Retrying:
		l.add(moment{What: "Next attempt", State: "retrying", At: info.RunAt})
	default:
		since := later(info.EnqueuedAt, info.RunAt)
		if since.After(info.EnqueuedAt) {
			l.wait(since)
		}
		l.add(moment{What: "Waits for a worker", State: "ready", At: since})
	}
}

// scale makes bars of the spans.
func scale(list []moment) {
	longest := time.Duration(0)
	for _, m := range list {
		longest = max(longest, m.Took)
	}
	for i := range list {
		if list[i].Took > 0 {
			list[i].Bar = max(1, int(100*float64(list[i].Took)/float64(longest)))
		}
	}
}
