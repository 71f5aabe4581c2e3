package stint

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// How Run ends.
//
//  1. Nothing more is claimed and what has not begun is given back.
//  2. Handlers that call Checkpoint are interrupted there. The others get
//     Config.ShutdownTimeout, then their contexts end, and after a short grace
//     those that still run are given back too.
//  3. Run returns when all of that is on disk.

// abort lets Run end because the store has failed.
func (r *runner) abort() { close(r.aborted) }

// shutdown is what Run does when it is to end.
func (r *runner) shutdown() error {
	r.q.commit.post(func() { r.q.commit.release(r) })
	r.q.ending.Store(true) // behind it: what is interrupted is not claimed again
	drained := r.await(r.q.cfg.ShutdownTimeout)
	if !drained {
		for _, e := range r.begun() {
			e.stop(ErrShutdown)
		}
		drained = r.await(shutdownGrace)
	}
	var stragglers []*execution
	if !drained {
		stragglers = r.begun()
		r.q.commit.post(func() { r.q.commit.giveBack(stragglers) })
	}
	if err := r.q.flush(); err != nil {
		return err
	}
	if len(stragglers) > 0 {
		names := make([]string, len(stragglers))
		for i, e := range stragglers {
			names[i] = fmt.Sprintf("%s %d", e.rec.kind, e.id)
		}
		return fmt.Errorf("stint: Run has ended, but the handlers of these jobs ignore the end of their context and still run: %s", strings.Join(names, ", "))
	}
	return nil
}

// await waits for the workers to end, for at most d.
func (r *runner) await(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.quiet:
		return true
	case <-timer.C:
		return false
	}
}

func (r *runner) begun() []*execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.active)
}

// release ends claiming and gives back what has not begun.
func (c *committer) release(r *runner) {
	if c.runner == r {
		c.runner = nil
		c.giveBack(r.withdraw(len(c.running)))
	}
	r.drain()
}

// drain lets await know when the last worker ends. Nothing is handed over any
// more.
func (r *runner) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	if r.alive == 0 {
		close(r.quiet)
	}
}

// giveBack makes claimed jobs ready again without a trace in their records.
// Those whose handlers still run stay barred from being claimed in this
// process.
func (c *committer) giveBack(claimed []*execution) {
	for _, e := range claimed {
		if c.claimed[e.id] != e {
			continue // it has ended meanwhile
		}
		c.dismiss(e)
		if e.started.Load() != 0 {
			c.claimed[e.id], e.straggler = e, true
			e.forfeit()
			continue
		}
		e.lane.add(e.id)
		c.given = append(c.given, e)
		c.q.mu.Lock()
		delete(c.q.live, e.id)
		c.q.mu.Unlock()
	}
}
