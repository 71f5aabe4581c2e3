package stint

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// What a person, or a program in a person's place, does to stored jobs and to
// queues.

// Retry makes a dead, retrying, scheduled or completed job ready now. A dead
// job gets one more attempt at least, which goes on behind its finished steps
// and its checkpoint; a completed one begins anew. ErrDuplicate if another job has taken
// its Unique place meanwhile, ErrRunning if it is running; for a ready job
// nothing is to be done.
func (q *Queue) Retry(ctx context.Context, id ID) error {
	return q.act(ctx, &action{verb: retryVerb, ids: []ID{id}})
}

// Kill makes a job dead, with the reason. The context of a running one ends
// with the cause ErrCancelled; it is dead when its handler has returned an
// error, and completed if that returns nil. For a job that has ended nothing
// is to be done.
func (q *Queue) Kill(ctx context.Context, id ID, reason string) error {
	return q.act(ctx, &action{verb: killVerb, ids: []ID{id}, word: reason})
}

// Cancel is Kill with the reason "cancelled by …". For a running job it is
// remembered across a crash.
func (q *Queue) Cancel(ctx context.Context, id ID, by string) error {
	return q.act(ctx, &action{verb: cancelVerb, ids: []ID{id}, word: by})
}

// Delete removes a job and all that is known of it, or the record that
// Quarantined lists under its id. ErrRunning if it is running: Cancel it
// first.
func (q *Queue) Delete(ctx context.Context, id ID) error {
	return q.act(ctx, &action{verb: deleteVerb, ids: []ID{id}})
}

// RetryAll, KillAll, CancelAll, DeleteAll and MoveAll do the same to all jobs
// that match a filter and can take it, and return how many. They work in
// transactions of up to 500 jobs, so workers go on meanwhile; on an error
// what was done stays done. The filter must name something, be it an empty
// IDs, or they answer ErrBadFilter. Without a Limit they go from the newest to
// the oldest, but IDs in their order.
func (q *Queue) RetryAll(ctx context.Context, f Filter) (int, error) {
	return q.actAll(ctx, f, retryVerb, "")
}

// KillAll kills all that match; see RetryAll.
func (q *Queue) KillAll(ctx context.Context, f Filter, reason string) (int, error) {
	return q.actAll(ctx, f, killVerb, reason)
}

// CancelAll cancels all that match; see RetryAll.
func (q *Queue) CancelAll(ctx context.Context, f Filter, by string) (int, error) {
	return q.actAll(ctx, f, cancelVerb, by)
}

// DeleteAll deletes all that match; see RetryAll.
func (q *Queue) DeleteAll(ctx context.Context, f Filter) (int, error) {
	return q.actAll(ctx, f, deleteVerb, "")
}

// Pause stops a queue from starting jobs, durably, until Resume. Running jobs
// go on. by is shown in QueueInfo.
func (q *Queue) Pause(ctx context.Context, queue, by string) error {
	return q.setPause(ctx, queue, by, true)
}

// Resume undoes Pause.
func (q *Queue) Resume(ctx context.Context, queue string) error {
	return q.setPause(ctx, queue, "", false)
}

type verb uint8

const (
	retryVerb verb = iota + 1
	killVerb
	cancelVerb
	deleteVerb
	moveVerb
	pauseVerb
)

// action is the change behind them all.
type action struct {
	verb  verb
	ids   []ID
	word  string  // the reason, by whom, or the queue to move to
	match *Filter // what each job must still be like, for many
	queue string
	pause bool

	acted int
	ticket
}

// stopOrder tells a running job to stop.
type stopOrder struct {
	e     *execution
	cause error
}

func (q *Queue) act(ctx context.Context, a *action) error {
	a.reset()
	return q.submit(ctx, a, &a.ticket)
}

func (q *Queue) setPause(ctx context.Context, queue, by string, pause bool) error {
	if err := checkName("queue", queue); err != nil {
		return fmt.Errorf("%w: %w", ErrBadOption, err)
	}
	return q.act(ctx, &action{verb: pauseVerb, queue: queue, word: cut(by, maxNameSize), pause: pause})
}

const actGroup = 500

func (q *Queue) actAll(ctx context.Context, f Filter, v verb, word string) (int, error) {
	if f.State == 0 && f.Queue == "" && f.Kind == "" && f.Tag == "" && f.Batch == 0 && f.IDs == nil {
		return 0, fmt.Errorf("%w: it would match every job; set State, Queue, Kind, Tag, Batch or IDs", ErrBadFilter)
	}
	if f.Limit == 0 {
		f.OldestFirst = false // a job that ends again during the call is newer, and not met again
	}
	acted := 0
	var ids []ID
	flush := func() error {
		if len(ids) == 0 {
			return nil
		}
		a := &action{verb: v, ids: ids, word: word, match: &f}
		err := q.act(ctx, a)
		acted += a.acted
		ids = nil
		return err
	}
	for info, err := range q.Jobs(f) {
		if err != nil {
			return acted, err
		}
		if ids = append(ids, info.ID); len(ids) == actGroup {
			if err := flush(); err != nil {
				return acted, err
			}
		}
	}
	err := flush()
	return acted, err
}

func (a *action) apply(t *txn) error {
	a.acted = 0
	if a.verb == pauseVerb {
		return a.applyPause(t)
	}
	for _, id := range a.ids {
		err := a.applyTo(t, uint64(id))
		switch {
		case err == nil:
			a.acted++
		case errors.Is(err, errPassed):
		case a.match != nil && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrRunning) || errors.Is(err, ErrDuplicate) || errors.Is(err, ErrWrongKey)):
		case len(a.ids) == 1:
			return err
		default:
			return undo{err}
		}
	}
	return nil
}

// errPassed: there was nothing to do to this job.
var errPassed = errors.New("stint: passed")

func (a *action) applyTo(t *txn, id uint64) error {
	j, err := t.find(id)
	if errors.Is(err, ErrNotFound) && a.match == nil {
		return a.applyAside(t, id, err)
	}
	if err != nil {
		return err
	}
	if a.match != nil {
		if info := j.info(); !a.match.matches(&info) {
			return errPassed
		}
	}
	switch a.verb {
	case retryVerb:
		return a.retry(t, j)
	case deleteVerb:
		if j.state == Running {
			return fmt.Errorf("%w: job %d; Cancel it first", ErrRunning, id)
		}
		t.q.commit.clearSuspect(id)
		return t.move(j, gone, 0)
	case moveVerb:
		return a.move(t, j)
	}
	return a.stop(t, j)
}

// applyAside is for a job that is not there, but may be in quarantine.
func (a *action) applyAside(t *txn, id uint64, notFound error) error {
	switch n, err := t.dropAside(id, a.verb == deleteVerb); {
	case err != nil:
		return err
	case n == 0:
		return notFound
	case a.verb != deleteVerb:
		return fmt.Errorf("%w: its record cannot be read and is in quarantine; see Quarantined, Delete removes it", notFound)
	}
	return nil
}

func (a *action) retry(t *txn, j *stored) error {
	switch {
	case j.state == Running || t.execution(j.id) != nil: // completed by CompleteTx, and still at it
		return fmt.Errorf("%w: job %d", ErrRunning, j.id)
	case j.state == Ready:
		return errPassed
	case j.rec.locked():
		return j.rec.wrongKey(j.id)
	case !unfinished(j.state) && j.rec.place != nil:
		if holder := t.holder(j.rec.place); holder != 0 && holder != j.id {
			return fmt.Errorf("%w: job %d has taken the Unique place of job %d", ErrDuplicate, holder, j.id)
		}
		if err := t.takePlace(j.id, j.rec); err != nil {
			return err
		}
	}
	if !unfinished(j.state) {
		j.rec.expires = 0 // it shall run, however late
	}
	if j.state == Completed {
		j.rec.stash = nil
	}
	j.rec.reason, j.rec.cancelled = "", ""
	j.rec.crashes = 0
	return t.move(j, Ready, 0)
}

// stop is Kill and Cancel.
func (a *action) stop(t *txn, j *stored) error {
	if !unfinished(j.state) {
		return errPassed
	}
	if j.rec.locked() {
		return j.rec.wrongKey(j.id)
	}
	reason := cmp.Or(a.word, "killed, nobody said why")
	if a.verb == cancelVerb {
		reason = "cancelled by " + cmp.Or(a.word, "somebody")
	}
	reason = cut(reason, maxErrorSize)
	if j.state != Running {
		j.rec.reason = reason
		t.q.commit.clearSuspect(j.id)
		j.row.cancelled++
		return t.bury(j)
	}
	j.rec.cancelled = reason
	t.cancelled = append(t.cancelled, stopOrder{t.execution(j.id), cancelled{reason}})
	return t.rewrite(j)
}

// cancelled is the cause of the context of a cancelled job, and its reason.
type cancelled struct{ reason string }

func (c cancelled) Error() string        { return c.reason }
func (c cancelled) Is(target error) bool { return target == ErrCancelled }

// pauseState is by whom and since when a queue is paused; since is 0 if it is
// not.
type pauseState struct {
	since int64
	by    string
}

type queuePause struct {
	queue string
	pause pauseState
}

func (a *action) applyPause(t *txn) error {
	var state pauseState
	key := []byte(a.queue)
	if !a.pause {
		if t.has(bucketQueues, key) {
			t.announceQueue(QueueResumed, a.queue)
		}
		t.paused = append(t.paused, queuePause{a.queue, state})
		return t.delete(bucketQueues, key)
	}
	t.announceQueue(QueuePaused, a.queue)
	state = pauseState{since: t.now, by: a.word}
	t.paused = append(t.paused, queuePause{a.queue, state})
	return t.putSealed(bucketQueues, key, append(binary.AppendVarint(nil, state.since), state.by...))
}

func decodePause(b []byte) pauseState {
	d := decoder{b: b}
	since := d.varint()
	return pauseState{since: since, by: string(d.b)}
}
