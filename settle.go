package stint

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// The settle gate: how an attempt ends.
//
//  1. The handler has returned, panicked, or left by runtime.Goexit; verdict
//     makes a next state of that, in the worker's goroutine.
//  2. The execution itself is the change that the committer applies: no
//     allocation, and the worker does not wait for it.
//  3. A completed job is deleted (or moved to the done index if
//     Config.KeepCompleted asks for it or it has a result); any other end
//     rewrites the record with the attempt in its history and what the handler
//     has put by. An interruption with nothing put by leaves it as it is, but
//     for an expiry: a job that has begun does not expire.
//
// Commit and CompleteTx come through here too: they complete the job earlier,
// together with the handler's own writes.

// conclude sets the outcome of a handler that has returned err.
func (e *execution) conclude(err error, took time.Duration) {
	ended := e.leave()
	e.duration = took
	if e.outcome = (verdict{to: Completed}); !ended {
		e.outcome = e.judge(err)
	}
	e.returned, e.patient = micros(e.startedAt().Add(took)), e.isPatient()
}

// leave notes that the handler has returned: from here on Commit and
// CompleteTx refuse. It waits for a Commit that another goroutine of the
// handler has under way, and reports whether the job has been completed.
func (e *execution) leave() (ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = true
	if e.effect != nil {
		e.leaving = make(chan struct{})
		e.mu.Unlock()
		<-e.leaving
		e.mu.Lock()
	}
	return e.ended
}

// judge is verdict for errors of any make. The methods of a user's error are
// called here, in the worker's goroutine, and not by the committer; an error
// whose methods panic, as those of a typed nil pointer do, is a panic.
func (e *execution) judge(err error) (v verdict) {
	defer func() {
		if value := recover(); value != nil {
			p := &panicked{text: fmt.Sprintf("panic in a method of the error, a %T: %v", err, value), stack: cut(string(debug.Stack()), maxStackSize)}
			v = e.verdict(p, e.cause())
			v.text, v.stack = v.err.Error(), p.stack
		}
	}()
	if v = e.verdict(err, e.cause()); v.err == nil {
		return v
	}
	v.text = cut(v.err.Error(), maxErrorSize)
	var p *panicked
	if errors.As(err, &p) {
		v.stack = p.stack
	}
	return v
}

// endedIn says whether the job is completed already, as the transaction sees
// it. CompleteTx cannot always tell that its transaction was committed: an
// OnCommit function of the application that panics keeps those behind it from
// being called.
func (e *execution) endedIn(t *txn) (ended bool, err error) {
	e.mu.Lock()
	ended, unsure := e.ended, e.completed != nil
	e.mu.Unlock()
	if ended || !unsure {
		return ended, nil
	}
	j, err := t.find(e.id)
	if errors.Is(err, ErrNotFound) {
		row, err := t.row(e.rec.key()) // its counts may not be known yet either
		j = &stored{id: e.id, rec: &e.rec, row: row}
		t.noteEnd(j, Running)
		return true, err
	}
	if ended = err == nil && j.state == Completed; ended {
		t.noteEnd(j, Running)
	}
	return ended, err
}

// outcomeIn is the outcome, unless the job was cancelled after the handler had
// returned and before this: then it is dead, as Cancel has promised.
func (e *execution) outcomeIn(t *txn) verdict {
	if e.outcome.to == Completed || e.outcome.to == Dead {
		return e.outcome
	}
	cause := e.cause()
	for _, order := range t.cancelled {
		if order.e == e {
			cause = order.cause
		}
	}
	if errors.Is(cause, ErrCancelled) {
		return verdict{to: Dead, err: cause, text: cause.Error()}
	}
	return e.outcome
}

// begin: what is done is done; an execution never leaves the group.
func (e *execution) begin() bool { return true }

// apply writes the outcome. It leaves e.rec alone, as it may be called again.
func (e *execution) apply(t *txn) error {
	if e.effect != nil {
		return e.applyEffect(t)
	}
	if ended, err := e.endedIn(t); ended || err != nil {
		return err
	}
	if e.damaged != nil {
		row, err := t.row(e.rec.key())
		if err != nil {
			return err
		}
		return t.setAside(row, e.id)
	}
	v := e.outcomeIn(t)
	if v.to == Completed {
		return e.complete(t)
	}
	if v.to == Ready {
		return e.interrupt(t)
	}
	row, err := t.row(e.rec.key())
	if err != nil {
		return err
	}
	t.noteEnding(e, v.endsAs())
	rec := e.rec
	rec.stash = e.leaves(v.to)
	j := &stored{id: e.id, rec: &rec, row: row, state: Running}
	e.noteAttempt(t, &rec, v)
	rec.crashes = 0 // it has run and the process lives: no suspect any more
	switch v.to {
	case Scheduled:
		if !v.yields {
			rec.snoozes++
		}
		return t.move(j, Scheduled, t.now+v.delay.Microseconds())
	case Retrying:
		rec.failures++
		return t.move(j, Retrying, t.now+v.delay.Microseconds())
	}
	rec.failures++
	rec.reason = cut(v.text, maxErrorSize)
	if errors.Is(v.err, ErrCancelled) {
		row.cancelled++
	}
	return t.bury(j)
}

// interrupt leaves the job ready. That costs nothing: it is written only with
// what the handler has put by, or because it has begun and so must not expire
// any more.
func (e *execution) interrupt(t *txn) error {
	t.announceReturn(e)
	t.noteEnding(e, attemptInterrupted)
	expires := e.rec.expires != 0 && !e.rec.began()
	if !expires && !e.unsaved() {
		return nil
	}
	row, err := t.row(e.rec.key())
	if err != nil {
		return err
	}
	rec := e.rec
	rec.stash = e.leaves(Ready)
	if rec.forgive(e.rec.stash) { // which e.rec does not know of
		t.q.commit.clearSuspect(e.id)
	}
	if expires {
		if err := t.delete(bucketDue, appendDue(t.key[:0], rec.expires, e.id, dueExpiry)); err != nil {
			return err
		}
		rec.expires = 0
	}
	return t.rewrite(&stored{id: e.id, rec: &rec, row: row, state: Running})
}

// noteAttempt keeps what went wrong, in the record and for the log.
func (e *execution) noteAttempt(t *txn, rec *record, v verdict) {
	if v.err == nil {
		return
	}
	t.attemptFailed(rec)
	a := Attempt{
		Number:    int(rec.failures) + 1,
		StartedAt: e.startedAt(),
		Duration:  e.duration,
		Error:     v.text,
		Stack:     v.stack,
	}
	if rec.stash != nil {
		a.Log, rec.stash = rec.stash.takeLog()
	}
	rec.addAttempt(a)
	if v.to == Retrying {
		info := e.info()
		info.Failures++
		t.reports = append(t.reports, report{level: slog.LevelWarn, text: "stint: a job failed and will run again", info: info, failure: v.text, delay: v.delay})
	}
}

// complete ends the job well.
func (e *execution) complete(t *txn) error {
	row, err := t.row(e.rec.key())
	if err != nil {
		return err
	}
	j := &stored{id: e.id, rec: &e.rec, row: row, state: Running}
	keep, left := t.q.cfg.KeepCompleted, e.leaves(Completed)
	if keep == 0 && left != nil && left.result != nil {
		keep = resultKept
	}
	if keep != 0 || left != nil {
		rec := e.rec // move changes it
		rec.stash = left
		j.rec = &rec
	}
	t.noteEnding(e, attemptCompleted)
	if keep == 0 {
		return t.move(j, gone, 0)
	}
	at := t.now
	if e.returned != 0 {
		at = min(at, e.returned) // the group may have waited, see rest
	}
	if err := t.move(j, Completed, at); err != nil {
		return err
	}
	t.pruneAfter(at, keep)
	return nil
}

// end tells the outcome to Commit, if it waits. A worker does not.
func (e *execution) end(err error) {
	if e.effect != nil {
		e.reply <- err
		return
	}
	if err != nil {
		e.q.lost(e, err)
	}
}
