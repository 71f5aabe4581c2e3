package stint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// Folding: what Replace, Debounce and Merge do with a job whose Unique place
// is held.
//
//  1. fold, called by the insert gate, looks at the holder. One that will
//     never run is buried, and one that is under way or cannot be read stays
//     as it is; both leave the place to the new job.
//  2. Any other is folded into: foldInto gives it the new job's args, or those
//     that the function of Merge makes, and for Debounce a later time.
//
// Nothing is written before all that can be refused has been tried, so a
// refusal leaves the holder as it was.

// fold ends the enqueueing of p at the job that holds its place, or reports
// that p may have the place.
func (t *txn) fold(p *pending, holder uint64) (free bool, err error) {
	p.id = holder
	u := p.job.unique
	if u == nil || u.folds == 0 {
		return false, fmt.Errorf("%w: job %d", ErrDuplicate, holder)
	}
	j, err := t.find(holder)
	switch {
	case errors.Is(err, ErrNotFound) || errors.Is(err, errBadRecord):
	case err != nil:
		return false, err
	case j.rec.locked() || !unfinished(j.state) || t.claimed(holder) || j.rec.engaged():
	case j.rec.cancelled != "":
		return true, t.buryCancelled(holder)
	case j.rec.expires != 0 && j.rec.expires <= t.now && !j.rec.began():
		return true, t.expire(holder)
	default:
		return false, t.foldInto(p, j)
	}
	if mode, _, _, _ := t.place(p.rec.place); mode != whileWaiting {
		return false, fmt.Errorf("%w: job %d, which does not wait; enqueue it with Replace, Debounce or Merge as well", ErrDuplicate, holder)
	}
	return true, nil
}

// engaged says whether the args are tied to more than their next run: to what
// the handler has put by, or to a batch, which knows its items by their args.
func (r *record) engaged() bool {
	return r.role != 0 || r.stash != nil && (len(r.stash.steps) > 0 || len(r.stash.cursor) > 0)
}

// foldInto gives a job that waits its new args and, for Debounce, its new
// time. What changes nothing is not written.
func (t *txn) foldInto(p *pending, j *stored) error {
	args, at := p.rec.args, j.at
	switch u := p.job.unique; {
	case u.merge != nil:
		var err error
		if args, err = t.merged(p, j); err != nil {
			return err
		}
	case u.debounce && j.state == Scheduled:
		at = max(at, min(p.at, j.rec.created+u.max.Microseconds()))
	}
	same := bytes.Equal(args, j.rec.args)
	j.rec.args = args
	switch {
	case at != j.at:
		return t.move(j, Scheduled, at)
	case same:
		return nil
	}
	return t.rewrite(j)
}

// merged are the args that the function of Merge makes. The methods of the
// args are the user's, too.
func (t *txn) merged(p *pending, j *stored) (args []byte, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("%w: merging into job %d, which was not changed: %w", ErrBadArgs, j.id, panicError(value))
		}
	}()
	result, err := p.job.unique.merge.call(j.rec.args, p.rec.args)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: they cannot be read for merging into job %d, which was not changed: %w", ErrBadArgs, j.id, err)
	case isNil(result):
		return nil, fmt.Errorf("%w: merging into job %d, which was not changed, gave nil", ErrBadArgs, j.id)
	case result.Kind() != j.rec.kind:
		return nil, fmt.Errorf("%w: merging into job %d, which was not changed, gave args of the kind %q; it must stay %q", ErrBadArgs, j.id, result.Kind(), j.rec.kind)
	}
	if args, err = appendArgs(nil, result); err != nil {
		return nil, err
	}
	if limit := t.q.cfg.MaxArgsSize; len(args) > limit {
		return nil, fmt.Errorf("%w: merged into job %d, which was not changed, they would be %d bytes of JSON, the limit is %d; merge to less, or raise Config.MaxArgsSize", ErrArgsTooLarge, j.id, len(args), limit)
	}
	return args, nil
}

// merging is the function of Merge for args as they are stored.
type merging struct {
	of   reflect.Type // the args it takes
	call func(waiting, added []byte) (Args, error)
}

func newMerging[T Args](fn func(waiting, added T) T) *merging {
	m := &merging{of: reflect.TypeFor[T]()}
	if fn == nil || m.of.Kind() == reflect.Interface {
		return m
	}
	m.call = func(waiting, added []byte) (Args, error) {
		var w, a T
		if err := json.Unmarshal(waiting, &w); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(added, &a); err != nil {
			return nil, err
		}
		return fn(w, a), nil
	}
	return m
}

// takes says whether args are of the function's type, pointers aside.
func (m *merging) takes(args Args) bool {
	return pointee(reflect.TypeOf(args)) == pointee(m.of)
}

func pointee(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}
