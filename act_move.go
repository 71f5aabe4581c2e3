package stint

import (
	"context"
	"fmt"
)

// Moving jobs to another queue.
//
//  1. Move and MoveAll are verbs like those of act.go; the committer calls
//     action.move for each job.
//  2. The queue is part of the lane, so moveLane (move.go) takes the job out of
//     the index and the counts of one lane and into those of another.
//  3. Memory follows: the lane it enters hears of it like of any job that has
//     become ready, the one it leaves may have its id in the window still, of
//     which the claim gate finds out, and a crash suspect stays one.

// Move puts a job that waits, or has ended, into another queue, which need not
// have had a job before. There it runs in its turn and under the limits of that
// queue, and waits if that is paused. All else about it stays as it is: its
// state and priority, its Unique place, its batch and its schedule. It is
// ErrRunning if it is running, or claimed and about to, ErrNotFound if it is
// not there, and ErrBadOption if queue cannot be a name. For a job that is in
// the queue already nothing is to be done. Subscribers hear JobMoved.
func (q *Queue) Move(ctx context.Context, id ID, queue string) error {
	if err := checkMove(queue); err != nil {
		return err
	}
	return q.act(ctx, &action{verb: moveVerb, ids: []ID{id}, word: queue})
}

// MoveAll moves all that match, and passes over those that are running or in
// that queue already; see RetryAll.
func (q *Queue) MoveAll(ctx context.Context, f Filter, queue string) (int, error) {
	if err := checkMove(queue); err != nil {
		return 0, err
	}
	return q.actAll(ctx, f, moveVerb, queue)
}

func checkMove(queue string) error {
	if err := checkName("queue", queue); err != nil {
		return fmt.Errorf("%w: Move: %w", ErrBadOption, err)
	}
	return nil
}

// move needs no key: what is encrypted does not say the queue.
func (a *action) move(t *txn, j *stored) error {
	key := j.rec.key()
	switch {
	case key.queue == a.word:
		return errPassed
	case j.state == Running || t.execution(j.id) != nil: // completed by CompleteTx, and still at it
		return fmt.Errorf("%w: job %d; it can be moved when its attempt has ended", ErrRunning, j.id)
	}
	key.queue = a.word
	to, err := t.row(key)
	if err != nil {
		return err
	}
	if c := t.q.commit; c.suspects[j.id] != nil {
		c.noteSuspect(j.id)
		c.suspects[j.id] = c.laneOf(to)
	}
	return t.moveLane(j, to)
}
