package stint

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	bolt "go.etcd.io/bbolt"
)

const maxSteps = 1000 // of a job

// Step runs fn as a named step of the job, once. When fn has returned nil, the
// variables that keep points to are stored as JSON under the name, and Step
// returns nil when that is on disk. From then on, after a failure, a snooze, a
// shutdown or a crash, fn is not run again for this job: keep is filled with
// what was stored. Retry of a dead job goes on behind its finished steps as
// well; Retry of a completed one begins anew.
//
// A crash in the middle of fn, or before its end is on disk, runs it again. So
// a step runs at least once by itself; what must happen exactly once goes
// through Commit or CommitProgress, or carries Key and the step's name.
//
// What fn returns or panics with is the caller's, nothing is stored then, and
// the step may be tried again. If ctx has ended, fn is not started and the
// cause of ctx is returned. Steps of a job run one after another.
//
// ErrBadOption: the name is empty, a step of this name has finished in this
// attempt already, another step is still running, the job has 1000 steps, or a
// value cannot be written as JSON. ErrArgsTooLarge: all steps of the job
// together exceed Config.MaxArgsSize. ErrNotRunning: the job is completed, or
// was given back. Stored values that do not fit keep any more are an error
// that names step and type: a step whose meaning changes needs a new name.
func (w *Work) Step(ctx context.Context, name string, fn func(context.Context) error, keep ...any) error {
	e := w.run
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, into := range keep {
		if err := checkTarget(fmt.Sprintf("keep of step %q", name), into); err != nil {
			return err
		}
	}
	done, err := e.enterStep(name)
	if err != nil {
		return err
	}
	if done != nil {
		return done.fill(e.id, keep)
	}
	finished := false
	defer func() { e.leaveStep(name, finished) }() // also when fn panics
	if err := fn(ctx); err != nil {
		return err
	}
	err = e.finishStep(name, keep)
	finished = err == nil
	return err
}

// enterStep returns the step if it has finished in an earlier attempt.
func (e *execution) enterStep(name string) (*step, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.over(); err != nil {
		return nil, err
	}
	k := e.keep()
	switch {
	case name == "":
		return nil, fmt.Errorf("%w: a step of job %d has no name; give each its own", ErrBadOption, e.id)
	case k.within != "":
		return nil, fmt.Errorf("%w: step %q of job %d cannot begin while step %q is running; run them one after another", ErrBadOption, name, e.id, k.within)
	case k.met[name]:
		return nil, fmt.Errorf("%w: job %d has run step %q before in this attempt; give each step a name of its own, in a loop with what it is about", ErrBadOption, e.id, name)
	}
	if k.met == nil {
		k.met = map[string]bool{}
	}
	for i := range k.steps {
		if k.steps[i].name == name {
			k.met[name] = true
			return &k.steps[i], nil
		}
	}
	if len(k.steps) >= maxSteps {
		return nil, fmt.Errorf("%w: job %d has %d steps already, so %q is one too many; use Checkpoint for what is done again and again", ErrBadOption, e.id, maxSteps, name)
	}
	k.within = name
	return nil, nil
}

func (e *execution) leaveStep(name string, finished bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keeper.within = ""
	if finished {
		e.keeper.met[name] = true
	}
}

// finishStep stores a step whose function has returned nil.
func (e *execution) finishStep(name string, keep []any) error {
	s := &step{name: name}
	if len(keep) > 0 {
		var err error
		if s.result, err = e.encode(fmt.Sprintf("step %q", name), keep); err != nil {
			return err
		}
	}
	e.mu.Lock()
	size := s.size()
	for i := range e.keeper.steps {
		size += e.keeper.steps[i].size()
	}
	e.mu.Unlock()
	if limit := e.q.cfg.MaxArgsSize; size > limit {
		return fmt.Errorf("%w: with step %q the steps of job %d are %d bytes, the limit is %d; store the data elsewhere and keep where it is, or raise Config.MaxArgsSize", ErrArgsTooLarge, name, e.id, size, limit)
	}
	if e.inline {
		return nil
	}
	return e.commitEffect(func(*bolt.Tx) error { return nil }, &addition{step: s})
}

func (s *step) size() int { return len(s.name) + len(s.result) }

// fill gives the handler back what it has stored.
func (s *step) fill(id uint64, keep []any) error {
	var values []json.RawMessage
	if len(s.result) > 0 {
		if err := json.Unmarshal(s.result, &values); err != nil {
			return fmt.Errorf("stint: what step %q of job %d has stored cannot be read: %w", s.name, id, err)
		}
	}
	if len(values) != len(keep) {
		return fmt.Errorf("stint: step %q of job %d has stored %d values, which do not fit keep any more: %s; a step that keeps something else needs a new name", s.name, id, len(values), typesOf(keep))
	}
	fresh := make([]reflect.Value, len(keep))
	for i, into := range keep {
		var err error
		if fresh[i], err = decoded(values[i], into); err != nil {
			return fmt.Errorf("stint: what step %q of job %d has stored does not fit %T any more; a step that keeps something else needs a new name: %w", s.name, id, into, err)
		}
	}
	for i, into := range keep {
		reflect.ValueOf(into).Elem().Set(fresh[i])
	}
	return nil
}

// typesOf names the type of a value, or those of all values of a step.
func typesOf(value any) string {
	keep, ok := value.([]any)
	if !ok {
		return fmt.Sprintf("%T", value)
	}
	types := make([]string, len(keep))
	for i, into := range keep {
		types[i] = fmt.Sprintf("%T", into)
	}
	return "[" + strings.Join(types, " ") + "]"
}
