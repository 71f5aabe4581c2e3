package stint

import (
	"context"
	"fmt"
	"reflect"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Jobs that go through many items, and how they are interrupted and go on.

// Checkpoint saves how far the job has got, as the JSON of value, and tells
// the handler whether to go on. It does not wait: the value is on disk with
// one of the next commits, of several quick ones only the last, and whatever
// ends the attempt in good order stores the last one with it. So a crash may
// lose the last moments, and what came behind the stored checkpoint is done
// again; where that is too much, see CommitProgress.
//
// It returns nil to go on, or an error that the handler returns as it is, or
// wrapped with %w: the job is interrupted, which costs no attempt, no failure
// and no snooze, and goes on later with what Resume then tells. That happens
// as soon as Run is to end (the error is ErrShutdown), and when the attempt has
// used 80 % of its Policy.Timeout: so a job that calls Checkpoint often enough,
// at least every tenth of its Timeout, say, may take as long as it likes. It
// then lets at least one other waiting job have its worker. A handler may
// ignore the error and finish what it is at. When ctx has ended its cause is
// returned; the value is kept all the same.
//
// ErrBadOption: value cannot be written as JSON. ErrArgsTooLarge: its JSON
// exceeds Config.MaxArgsSize. ErrNotRunning: the job is completed, or was
// given back when Run ended. It may be called from several goroutines.
//
// Each save rewrites the job's record, so large args make it dear.
func (w *Work) Checkpoint(ctx context.Context, value any) error {
	e := w.run
	cursor, err := e.encode("checkpoint", value)
	if err != nil {
		return err
	}
	e.mu.Lock()
	if err := e.over(); err != nil {
		e.mu.Unlock()
		return err
	}
	k := e.keep()
	k.cursor = cursor
	k.version++
	e.mu.Unlock()
	k.save()
	return e.goOn(ctx)
}

// Resume fills the variable that into points to from the last checkpoint, be
// it of Checkpoint or CommitProgress, of this attempt or of one before it. It
// returns false, and leaves the variable alone, if there is none. A checkpoint
// that does not fit the variable is an error that names its type.
func (w *Work) Resume(into any) (bool, error) {
	e := w.run
	if err := checkTarget("Resume", into); err != nil {
		return false, err
	}
	e.mu.Lock()
	cursor := e.keep().cursor
	e.mu.Unlock()
	if len(cursor) == 0 {
		return false, nil
	}
	fresh, err := decoded(cursor, into)
	if err != nil {
		return false, fmt.Errorf("stint: the stored checkpoint of job %d does not fit %T any more: %w", e.id, into, err)
	}
	reflect.ValueOf(into).Elem().Set(fresh)
	return true, nil
}

// CommitProgress stores what fn writes into the file together with a
// checkpoint, in one transaction that it shares with other jobs, and the job
// goes on: each item's effects happen exactly once, also across crashes, if
// cursor says which item is the next. It returns when the transaction is on
// disk, so a few items to a call are a few times as fast. Jobs enqueued with
// EnqueueTx(tx, …) belong to it.
//
// For fn the rules of Commit hold: it may be called more than once, touches
// nothing but tx, and starts no transaction. Its error, or a panic, undoes all
// that it wrote, leaves the checkpoint as it was and is returned.
//
// After the commit it returns what Checkpoint does: nil to go on, or the error
// to return; then the item is done. Errors before the commit are those of
// Checkpoint. Commit may complete the job afterwards.
func (w *Work) CommitProgress(fn func(tx *bolt.Tx) error, cursor any) error {
	e := w.run
	b, err := e.encode("checkpoint", cursor)
	if err != nil {
		return err
	}
	if err := e.commitEffect(fn, &addition{cursor: b}); err != nil {
		return err
	}
	return e.goOn(&e.ctx)
}

const maxProgressText = 1000

// Progress tells how far the job has got, in the handler's own numbers and
// words, of which the first 1000 bytes are kept. It is cheap, as it only
// changes memory: Get and Jobs show it while the job runs. It is stored when
// the job's record is written anyway, by a step, a checkpoint, or the end of
// the attempt. It may be called from several goroutines.
func (w *Work) Progress(done, total int, text string) {
	text = cut(text, maxProgressText)
	e := w.run
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keep().progress = Progress{Done: done, Total: total, Text: text}
}

// yieldFor is how long a job that has used its slice of time stands back. It
// is Scheduled meanwhile: as a ready job it would be first again, by its id.
const yieldFor = time.Millisecond

var (
	errInterrupt = &control{verb: interruptJob, err: ErrShutdown}
	errYield     = &control{verb: yieldJob}
)

// goOn says whether the handler may go on with its next item.
func (e *execution) goOn(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case e.inline:
		return nil
	case e.q.ending.Load():
		return errInterrupt
	case !e.ctx.deadline.IsZero() && time.Until(e.ctx.deadline) <= e.handler.policy.Timeout/5:
		return errYield
	}
	return nil
}
