package dashboard

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/stintq/stint"
)

// found is a page of what a search has found.
type found struct {
	infos    []stint.Info // redacted where they are shown, by job
	next     string       // after of the next page, "" at the end
	searched int          // jobs looked at
	partial  bool         // stopped at the budget
}

// budget bounds what a search may cost: jobs it looks at, and time. 0 is the
// default.
type budget struct {
	jobs int
	time time.Duration
}

const (
	searchJobs = 50_000
	searchTime = 60 * time.Millisecond
	countTime  = 300 * time.Millisecond // of a person who wants to act on all
	maxFound   = 8 << 20                // bytes of args of a page
	quickArgs  = 4 << 10                // bytes of args that take no time
)

// search looks for up to limit jobs of a state (0 for all) that match, behind
// after, under a budget of time and jobs.
func (d *dashboard) search(ctx context.Context, qy query, state stint.State, after string, limit int) (found, error) {
	var out found
	size := 0
	within := budget{cmp.Or(d.budget.jobs, searchJobs), cmp.Or(d.budget.time, searchTime)}
	s, err := d.scan(ctx, qy, state, after, within, func(info *stint.Info) (taken bool, err error) {
		if size += len(info.Args); len(out.infos) == limit || len(out.infos) > 0 && size > maxFound {
			return false, nil
		}
		out.infos = append(out.infos, *info)
		return true, nil
	})
	if err != nil {
		return found{}, err
	}
	out.searched = s.searched
	if !s.atEnd {
		out.next, out.partial = s.last, len(out.infos) < limit
	}
	return out, nil
}

// countMatches is how many jobs match. It is not exact if there are more than
// could be counted in time.
func (d *dashboard) countMatches(ctx context.Context, qy query, state stint.State) (n int, exact bool, err error) {
	return d.countStates(ctx, qy, state, allStates)
}

// countStates counts only jobs of some states.
func (d *dashboard) countStates(ctx context.Context, qy query, state stint.State, states []stint.State) (n int, exact bool, err error) {
	if n, ok := d.knownCount(qy, state, states); ok {
		return n, true, nil
	}
	within := budget{d.budget.jobs, cmp.Or(d.budget.time, countTime)}
	s, err := d.scan(ctx, qy, state, "", within, func(info *stint.Info) (bool, error) {
		if slices.Contains(states, info.State) {
			n++
		}
		return true, nil
	})
	return n, s.atEnd, err
}

// knownCount answers what the queue counts anyway: all jobs, or those of a
// single queue or kind.
func (d *dashboard) knownCount(qy query, state stint.State, states []stint.State) (n int, ok bool) {
	var counts stint.Counts
	switch kind, queue := qy.exact("kind"), qy.exact("queue"); {
	case len(qy.terms) == 0:
		counts = d.q.Counts()
	case len(qy.terms) == 1 && kind != "":
		counts = d.kindCounts(kind)
	case len(qy.terms) == 1 && queue != "":
		counts = d.queueCounts(queue)
	default:
		return 0, false
	}
	for _, s := range states {
		if state == 0 || s == state {
			n += countOf(counts, s)
		}
	}
	return n, true
}

func (d *dashboard) kindCounts(name string) stint.Counts {
	for _, kind := range d.q.Kinds() {
		if kind.Name == name {
			return kind.Counts
		}
	}
	return stint.Counts{}
}

func (d *dashboard) queueCounts(name string) stint.Counts {
	for _, queue := range d.q.Queues() {
		if queue.Name == name {
			return queue.Counts
		}
	}
	return stint.Counts{}
}

// countOf is one of the counts, or all jobs for state 0.
func countOf(c stint.Counts, state stint.State) int {
	switch state {
	case stint.Ready:
		return c.Ready
	case stint.Scheduled:
		return c.Scheduled
	case stint.Retrying:
		return c.Retrying
	case stint.Running:
		return c.Running
	case stint.Completed:
		return c.Completed
	case stint.Dead:
		return c.Dead
	}
	return c.Ready + c.Scheduled + c.Retrying + c.Running + c.Completed + c.Dead
}

// scanned is how far a scan has come.
type scanned struct {
	last     string // the cursor of the last job that was looked at
	searched int
	atEnd    bool
}

// scan calls visit for each job that matches, newest first, until there are no
// more, visit does not take one, or the budget is spent; a budget of 0 is
// none. What was not taken comes again in a scan after last.
//
// The queue's filter gets only what it has an index for: for anything else it
// would itself look at all jobs before it answers, and no budget would hold.
func (d *dashboard) scan(ctx context.Context, qy query, state stint.State, after string, within budget, visit func(*stint.Info) (taken bool, err error)) (scanned, error) {
	s := scanned{last: after}
	if d.nothing(qy, state) {
		s.atEnd = true
		return s, nil
	}
	start := time.Now()
	m := &matcher{d: d, now: start}
	slow := false // the last job may have taken long
	for info, err := range d.q.Jobs(indexed(qy, state, after)) {
		if err != nil {
			return s, err
		}
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if s.searched > 0 && (within.jobs > 0 && s.searched >= within.jobs || within.time > 0 && (s.searched%16 == 0 || slow) && time.Since(start) > within.time) {
			return s, nil
		}
		if (state == 0 || info.State == state) && m.matches(&info, qy) {
			if taken, err := visit(&info); !taken || err != nil {
				return s, err
			}
		}
		slow = len(info.Args) > quickArgs
		s.searched++
		s.last = info.Cursor
	}
	s.atEnd = true
	return s, nil
}

// nothing says that no job can match, as its kind or queue has none.
func (d *dashboard) nothing(qy query, state stint.State) bool {
	if kind := qy.exact("kind"); kind != "" && countOf(d.kindCounts(kind), state) == 0 {
		return true
	}
	queue := qy.exact("queue")
	return queue != "" && countOf(d.queueCounts(queue), state) == 0
}

// indexed is the part of a query that the queue can look up.
func indexed(qy query, state stint.State, after string) stint.Filter {
	f := stint.Filter{After: after}
	switch ids, batch := qy.ids(), qy.batch(); {
	case ids != nil:
		f.IDs = ids
	case batch != 0:
		f.Batch = batch
	default:
		if f.State = state; f.State == 0 {
			f.State = stateNamed(qy.exact("state"))
		}
		if f.State == stint.Ready {
			f.Kind, f.Queue = qy.exact("kind"), qy.exact("queue")
		}
	}
	return f
}
