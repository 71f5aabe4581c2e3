package stint

import "time"

// pace is how quickly the jobs of a queue end, one after the other, while any
// of them runs. The committer keeps it from what it learns anyway, under
// Queue.mu.
type pace struct {
	ended    int64 // jobs, in paceUnits
	spent    int64 // microseconds in which they did
	at       int64 // when it was told last
	busy     bool  // some were running then
	counting bool  // and before that, so what ended then counts
}

// paceSpan is about how far back a pace goes.
const paceSpan = 2 * time.Minute

// note is told of jobs that have ended by now, and whether more are running;
// more than once if a transaction has ended jobs of several kinds.
func (p *pace) note(now, ended int64, busy bool) {
	if now != p.at {
		if p.spent > paceSpan.Microseconds() { // all that has ended in it is counted by now
			p.spent /= 2
			p.ended /= 2
		}
		if p.counting = p.busy; p.counting {
			p.spent += max(now-p.at, 0)
		}
		p.at = now
	}
	if p.counting {
		p.ended += ended * paceUnit
	}
	p.busy = busy
}

// paceUnit is one job, so that halves count.
const paceUnit = 1 << 10

// perJob is the time from one end to the next, or 0 if that is not known.
func (p *pace) perJob() time.Duration {
	if p.ended == 0 {
		return 0
	}
	return time.Duration(float64(p.spent) * paceUnit / float64(p.ended) * float64(time.Microsecond))
}
