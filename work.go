package stint

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// What a handler may do with its running job, beyond returning: complete it
// together with its own writes.

// Commit completes the job together with what fn writes into the file, in one
// transaction that it shares with other jobs: exactly once, also across
// crashes. Follow-up jobs enqueued with EnqueueTx(tx, …) belong to it. It
// returns when the transaction is on disk, and the handler should then return
// nil: nothing it returns can undo a Commit, and the job's place in the limits
// of its kind and queue is free already.
//
// An error of fn, or a panic, undoes all that fn wrote, is returned, and
// leaves the job running. fn may be called more than once, so it must touch
// nothing but tx, and start no transaction of its own. A function it gives to
// tx.OnCommit must not panic: bbolt would not call those of other jobs.
//
// As Commit waits for the sync, which other jobs share, more workers mean more
// throughput: a Config.Workers of 100 or more is right for handlers that do
// little else.
func (w *Work) Commit(fn func(tx *bolt.Tx) error) error { return w.run.commitEffect(fn, nil) }

// commitEffect has the committer call fn, and put by what is added to it or,
// if that is nil, complete the job.
func (e *execution) commitEffect(fn func(tx *bolt.Tx) error, add *addition) error {
	e.mu.Lock()
	if err := e.mayCommit(add); err != nil {
		e.mu.Unlock()
		return err
	}
	e.effect, e.addition = fn, add
	if e.reply == nil {
		e.reply = make(chan error, 1)
	}
	e.duration = time.Since(e.startedAt())
	e.mu.Unlock()

	err := fmt.Errorf("%w: nothing of job %d can be stored any more", ErrClosed, e.id)
	if e.q.commit.add(e) {
		err = <-e.reply
	}
	e.mu.Lock()
	e.effect, e.addition = nil, nil
	switch {
	case err != nil:
	case e.final:
		e.ended, e.recorded = true, true
	default:
		e.keep().accept(add)
	}
	if e.leaving != nil {
		close(e.leaving)
	}
	k := e.keeper
	e.mu.Unlock()
	if k != nil {
		k.save() // a checkpoint that had to wait
	}
	return err
}

// mayCommit says why there can be no effect now, or nil. e.mu is held.
func (e *execution) mayCommit(add *addition) error {
	switch {
	case e.effect != nil:
		return fmt.Errorf("%w: job %d has a Commit, CommitProgress or Step under way; call them one after another", ErrNotRunning, e.id)
	case add == nil && e.forfeited && !e.ended && !e.left:
		return nil // who was given back may still complete
	}
	return e.over()
}

// CompleteTx completes the job in a transaction of the handler's own, which
// must be one of the queue's database: job and effects are committed together
// or not at all. If the transaction is rolled back, what the handler returns
// decides.
func (w *Work) CompleteTx(tx *bolt.Tx) error {
	e := w.run
	e.mu.Lock()
	over := e.ended || e.left || e.completed == tx && tx != nil
	e.mu.Unlock()
	if over {
		return fmt.Errorf("%w: job %d was completed already, or its handler has returned", ErrNotRunning, e.id)
	}
	if e.inline {
		return nil
	}
	e.duration = time.Since(e.startedAt())
	return e.q.inTx(tx, func(t *txn) error {
		t.completed = append(t.completed, e.id)
		e.mu.Lock()
		e.completed = tx
		e.mu.Unlock()
		return e.complete(t)
	}, func() {
		e.mu.Lock()
		e.ended = true
		e.mu.Unlock()
	})
}

// Key is an idempotency key for effects outside the file: the same for each
// attempt of this job, and different from that of any other job of any other
// file. A backup that is restored gives ids once more; the time at which the
// job was enqueued is in the key as well, so it differs then, too.
func (w *Work) Key() string {
	return fmt.Sprintf("%s-%d-%x", w.run.q.store.file, w.ID, w.run.rec.created)
}

// applyEffect runs the function of Commit and completes the job with it, or
// puts by what is added to it. An error takes the whole transaction back, so
// that no half of the function's writes stays.
func (e *execution) applyEffect(t *txn) error {
	if err := e.callEffect(t); err != nil {
		return undo{err}
	}
	e.mu.Lock()
	completed := e.completed == t.tx // by CompleteTx, in the function
	e.final = completed || e.addition == nil
	k := e.keeper
	if !e.final {
		k = e.keep()
	}
	e.mu.Unlock()
	switch {
	case completed || e.inline:
		return nil
	case e.final:
		return e.complete(t)
	}
	if err := k.write(t, e.addition); err != nil {
		return undo{err}
	}
	return nil
}

func (e *execution) callEffect(t *txn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
	}()
	t.wrote = true
	return e.effect(t.tx)
}
