package stint

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
)

// What a handler puts by in its job: finished steps, a checkpoint, how far it
// is, a result, the last lines of its log.
//
//  1. The methods of Work change the attempt's keeper, in memory. There is
//     none before the first of them is called, so other jobs pay nothing.
//  2. What Step and CommitProgress put by is an addition to an effect: the
//     execution writes it, as it writes the effect of Commit, and they wait.
//  3. Checkpoint does not wait. There the keeper is itself the change that the
//     committer applies; it is in the inbox at most once, and writes what is
//     the latest when its turn has come.
//  4. Any end of the attempt rewrites the record, with what the keeper has.
//
// A cursor must not be overwritten by an older one. So a keeper does not enter
// the inbox while an effect of its job is under way; one that is there already
// comes before the effect.

// keeper is what an attempt has put by. The mutex of the execution guards it.
type keeper struct {
	e *execution

	steps    []step // finished; records share the slice, so it is only appended to
	cursor   []byte
	progress Progress
	result   []byte
	log      *logTail // nil until Logger is called
	logger   *slog.Logger

	met    map[string]bool // the names of this attempt's steps
	within string          // the step whose function is running

	// How many checkpoints there were: by now, as of the transaction under
	// way, and as of the last commit.
	version, written, stored int

	saving bool // it is in the inbox
}

// addition is what is put by together with an effect.
type addition struct {
	step   *step  // or nil
	cursor []byte // or nil
}

// keep is the keeper, made when it is first needed. e.mu is held.
func (e *execution) keep() *keeper {
	if e.keeper == nil {
		e.keeper = &keeper{e: e}
		if s := e.rec.stash; s != nil {
			e.keeper.steps, e.keeper.cursor, e.keeper.progress = s.steps, s.cursor, s.progress
		}
	}
	return e.keeper
}

// over says why nothing can be put by any more, or nil. e.mu is held.
func (e *execution) over() error {
	switch {
	case e.ended || e.left:
		return fmt.Errorf("%w: job %d was completed already, or its handler has returned", ErrNotRunning, e.id)
	case e.forfeited:
		return fmt.Errorf("%w: job %d was given back when Run ended; a handler should return when its context ends", ErrNotRunning, e.id)
	}
	return nil
}

// encode is the JSON of a value that is put by as something.
func (e *execution) encode(what string, value any) ([]byte, error) {
	b, err := json.Marshal(value)
	switch limit := e.q.cfg.MaxArgsSize; {
	case err != nil:
		return nil, fmt.Errorf("%w: the %s of job %d, of type %s, cannot be written as JSON: %w", ErrBadOption, what, e.id, typesOf(value), err)
	case len(b) > limit:
		return nil, fmt.Errorf("%w: the %s of job %d is %d bytes of JSON, the limit is %d; store the data elsewhere and keep where it is, or raise Config.MaxArgsSize", ErrArgsTooLarge, what, e.id, len(b), limit)
	}
	return b, nil
}

// checkTarget wants a pointer that something can be decoded into.
func checkTarget(what string, into any) error {
	if v := reflect.ValueOf(into); v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("%w: %s needs a pointer to a variable, not a %T", ErrBadOption, what, into)
	}
	return nil
}

// decoded is a new variable of the type that into points to. So a failure
// leaves no half of it in the handler's, and a success nothing from before.
func decoded(b []byte, into any) (reflect.Value, error) {
	fresh := reflect.New(reflect.TypeOf(into).Elem())
	err := json.Unmarshal(b, fresh.Interface())
	return fresh.Elem(), err
}

// save hands the keeper to the committer, unless it is there or there is
// nothing new. It must not be called with e.mu held.
func (k *keeper) save() {
	e := k.e
	e.mu.Lock()
	wanted := !k.saving && k.version != k.stored && e.effect == nil && !e.inline && e.over() == nil
	k.saving = k.saving || wanted
	e.mu.Unlock()
	if wanted && !e.q.commit.add(k) {
		e.mu.Lock()
		k.saving = false
		e.mu.Unlock()
	}
}

// begin: nobody waits, and nobody leaves.
func (k *keeper) begin() bool { return true }

// apply writes the latest checkpoint. When the handler has returned, the end
// of the attempt does that, or has done it.
func (k *keeper) apply(t *txn) error {
	k.e.mu.Lock()
	over := k.e.over() != nil
	k.e.mu.Unlock()
	if over {
		return nil
	}
	return k.write(t, nil)
}

// end sees to what was put by meanwhile. After an error the next checkpoint
// tries again, and not this one, which would go on until the disk has room.
func (k *keeper) end(err error) {
	k.e.mu.Lock()
	k.saving = false
	if err == nil {
		k.stored = max(k.stored, k.written)
	}
	k.e.mu.Unlock()
	if err == nil {
		k.save()
	}
}

// write puts the stash into the record of the running job. The record is read
// anew, since Cancel leaves a word in it.
func (k *keeper) write(t *txn, add *addition) error {
	e := k.e
	j, err := t.find(e.id)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && (j.state != Running || e.straggler):
		return fmt.Errorf("%w: job %d was completed or given back", ErrNotRunning, e.id)
	case err != nil:
		return err
	}
	before := j.rec.stash
	e.mu.Lock()
	j.rec.stash = k.stash(add)
	k.written = k.version
	e.mu.Unlock()
	if j.rec.forgive(before) {
		t.q.commit.clearSuspect(e.id)
		t.q.commit.releaseAlone(e)
	}
	return t.rewrite(j)
}

// stash is what the record gets, nil for nothing. e.mu is held.
func (k *keeper) stash(add *addition) *stash {
	s := &stash{steps: k.steps, cursor: k.cursor, progress: k.progress, log: k.logText()}
	if add != nil && add.step != nil {
		s.steps = append(slices.Clip(s.steps), *add.step)
	}
	if add != nil && add.cursor != nil {
		s.cursor = add.cursor
	}
	if s.empty() {
		return nil
	}
	return s
}

func (s *stash) empty() bool {
	return len(s.steps) == 0 && len(s.cursor) == 0 && s.progress == Progress{} && len(s.result) == 0 && s.log == ""
}

// takeLog splits the stash into the log, which goes with a failed attempt, and
// the rest.
func (s *stash) takeLog() (log string, rest *stash) {
	log, s.log = s.log, ""
	if s.empty() {
		return log, nil
	}
	return log, s
}

// accept takes over what was committed with an effect. e.mu is held.
func (k *keeper) accept(add *addition) {
	if add.step != nil {
		k.steps = append(slices.Clip(k.steps), *add.step)
	}
	k.stored = max(k.stored, k.written)
	if add.cursor != nil {
		k.cursor, k.stored = add.cursor, k.version
	}
}

// leaves is what the end of the attempt leaves in the record, nil for
// nothing. The result is only left by a job that is completed.
func (e *execution) leaves(to State) *stash {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.keeper == nil && e.rec.stash == nil {
		return nil
	}
	k := e.keep()
	s := k.stash(nil)
	if to == Completed && k.result != nil {
		if s == nil {
			s = &stash{}
		}
		s.result = k.result
	}
	return s
}

// unsaved says whether an interruption has anything to write.
func (e *execution) unsaved() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.keeper
	return k != nil && (k.version != k.stored || k.log != nil && k.log.String() != "")
}

// forfeit ends the putting by: the job was given back, its handler runs on.
func (e *execution) forfeit() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forfeited = true
}

func (e *execution) isForfeited() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.forfeited
}

// describe adds what is only in memory to the Info of a running job.
func (e *execution) describe(info *Info) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if k := e.keeper; k != nil {
		info.Progress, info.Log = k.progress, k.logText()
	}
}
