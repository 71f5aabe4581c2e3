package stint

import (
	"context"

	"github.com/stintq/stint/internal/hook"
)

// trial is a Run that package stinttest has bounded: the engine's side of
// hook.Trial.
//
//  1. Each committed claim uses up one of the attempts; with none left nothing
//     is claimed any more.
//  2. As an attempt begins it is noted, and its end waited for as by Wait.
//  3. When the committer has nothing more to do at once, nothing runs and the
//     reporter has told all, it closes idle, at which Run ends.
type trial struct {
	*hook.Trial[Info]
	left  int           // the committer's
	over  bool          // idle is closed; the committer's
	idle  chan struct{} // ends Run
	told  []chan ending // of the waiters, in step with Began; guarded by runner.mu
	queue *Queue
}

// newTrial is the trial that Run's context asks for, or nil.
func newTrial(ctx context.Context, q *Queue) *trial {
	asked := hook.TrialIn[Info](ctx)
	if asked == nil {
		return nil
	}
	return &trial{Trial: asked, left: asked.Attempts, idle: make(chan struct{}), queue: q}
}

// isOver is closed at the end of the trial, and nil where there is none.
func (tr *trial) isOver() <-chan struct{} {
	if tr == nil {
		return nil
	}
	return tr.idle
}

// isSpent says whether no attempt is left.
func (tr *trial) isSpent() bool { return tr != nil && tr.left <= 0 }

// claimed counts what a committed transaction has claimed and given back.
func (tr *trial) claimed(taken, returned int) {
	if tr != nil {
		tr.left -= taken - returned
	}
}

// begin notes an attempt. runner.mu is held.
func (tr *trial) begin(e *execution) {
	if tr == nil {
		return
	}
	tr.Began = append(tr.Began, e.id)
	if tr.Ended == nil {
		return
	}
	if told, err := tr.queue.waiters.add(e.id); err == nil { // otherwise the queue stops, and Run says why
		tr.told = append(tr.told, told)
	}
}

// endTrial ends a trial that has nothing to do any more. The loop calls it
// when it would wait.
func (c *committer) endTrial() {
	r := c.runner
	if r == nil || r.trial == nil || r.trial.over || len(c.running)+len(c.kept) > 0 || c.retryIn > 0 || c.q.isTelling() {
		return
	}
	r.trial.over = true
	close(r.trial.idle)
}

// finish tells the ends of the jobs, once all attempts are over.
func (tr *trial) finish() {
	if tr == nil {
		return
	}
	for i, told := range tr.told {
		select {
		case end := <-told:
			if info, err := end.tell(); err == nil {
				tr.Ended(info)
			}
		default:
		}
		tr.queue.waiters.remove(tr.Began[i], told)
	}
}

func (q *Queue) isTelling() bool {
	q.reports.mu.Lock()
	defer q.reports.mu.Unlock()
	return q.reports.telling
}

// toldAll lets a trial that waits for the reporter go on.
func (q *Queue) toldAll() {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.runner != nil && q.runner.trial != nil {
		q.commit.wake()
	}
}
