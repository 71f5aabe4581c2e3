package stint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// resultKept is how long a completed job with a result stays in the file where
// Config.KeepCompleted would have it deleted at once.
const resultKept = time.Hour

// SetResult gives the job a result, which is stored as JSON with its
// completion, by returning nil, Commit or CompleteTx; of several calls the
// last counts. A job that ends otherwise has none. The completed job is kept
// for Config.KeepCompleted, or an hour if that is 0. ErrBadOption: v cannot be
// written as JSON. ErrArgsTooLarge: its JSON exceeds Config.MaxArgsSize.
// ErrNotRunning: the job is completed already.
func (w *Work) SetResult(v any) error {
	e := w.run
	b, err := e.encode("result", v)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended || e.left {
		return e.over()
	}
	e.keep().result = b
	return nil
}

// Result is the result of a completed job. ErrNotFound if the job is not
// stored (any more), has not completed yet, or has set none. A result that
// does not fit T is an error that names the type.
func Result[T any](q *Queue, id ID) (T, error) {
	var v T
	info, err := q.Get(id)
	switch {
	case err != nil:
		return v, err
	case info.State != Completed:
		return v, fmt.Errorf("%w with a result yet: job %d is %v; Wait returns when it has ended", ErrNotFound, id, info.State)
	case info.Result == nil:
		return v, fmt.Errorf("%w with a result: job %d has completed, and its handler called no SetResult", ErrNotFound, id)
	}
	if err := json.Unmarshal(info.Result, &v); err != nil {
		return v, fmt.Errorf("stint: the result of job %d does not fit %T: %w", id, v, err)
	}
	return v, nil
}

// Wait returns when the job is Completed or Dead and that is on disk, with
// its Info, also when the job is not kept; at once when it has ended already.
// ErrNotFound if it is not stored (any more) when Wait is called, or is
// deleted: so for a job that may have completed before, use Config.KeepCompleted
// or SetResult, which keep it. When ctx ends its cause is returned, ErrClosed
// when the queue closes, and what has failed when it takes no more writes. A
// handler that waits for a job of its own queue keeps its worker meanwhile.
// Inside a transaction of the same database it would wait for the lock that
// its caller holds.
func (q *Queue) Wait(ctx context.Context, id ID) (Info, error) {
	told, err := q.waiters.add(uint64(id))
	if err != nil {
		return Info{}, err
	}
	defer q.waiters.remove(uint64(id), told)
	// A transaction that was under way does not know of us, so look behind it.
	if err := q.settleDown(ctx); err != nil {
		return Info{}, err
	}
	info, err := q.Get(id)
	switch {
	case err == nil && !unfinished(info.State):
		return info, nil
	case errors.Is(err, ErrNotFound):
		if err := q.settleDown(ctx); err != nil {
			return Info{}, err
		}
		select {
		case end := <-told: // between our two looks
			return end.tell()
		default:
			return Info{}, err
		}
	case err != nil:
		return Info{}, err
	}
	select {
	case end := <-told:
		return end.tell()
	case <-ctx.Done():
		return Info{}, context.Cause(ctx)
	}
}

// settleDown waits until what is in a transaction now is committed and
// learned, or rolled back.
func (q *Queue) settleDown(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b := barrier{make(chan error, 1)}
	if !q.commit.add(b) {
		return errWaitClosed
	}
	select {
	case <-b.reached:
		return nil // a group that failed is over, too
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errWaitClosed = fmt.Errorf("%w: nobody can wait for its jobs any more", ErrClosed)

// waiters are the calls of Wait.
type waiters struct {
	number atomic.Int32 // all that jobs cost that nobody waits for

	mu     sync.Mutex
	byJob  map[uint64][]chan ending // guarded by mu
	closed error                    // guarded by mu: why nothing ends any more
}

// ending is the end of a job that somebody waits for.
type ending struct {
	id   uint64
	info Info
	err  error // it was deleted, or nothing ends any more
}

// tell is for one waiter: an Info is a copy.
func (end ending) tell() (Info, error) {
	info := end.info
	info.Args, info.Tags, info.Attempts = bytes.Clone(info.Args), slices.Clone(info.Tags), slices.Clone(info.Attempts)
	info.Checkpoint, info.Result, info.Steps = bytes.Clone(info.Checkpoint), bytes.Clone(info.Result), slices.Clone(info.Steps)
	return info, end.err
}

func (w *waiters) add(id uint64) (chan ending, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed != nil {
		return nil, w.closed
	}
	if w.byJob == nil {
		w.byJob = map[uint64][]chan ending{}
	}
	told := make(chan ending, 1)
	w.byJob[id] = append(w.byJob[id], told)
	w.number.Add(1)
	return told, nil
}

func (w *waiters) remove(id uint64, told chan ending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number.Add(-1)
	w.byJob[id] = slices.DeleteFunc(w.byJob[id], func(c chan ending) bool { return c == told })
	if len(w.byJob[id]) == 0 {
		delete(w.byJob, id)
	}
}

// wanted says whether somebody waits for the job.
func (w *waiters) wanted(id uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.byJob[id]) > 0
}

// noteEnd gathers the end of a job for those who wait for it.
func (t *txn) noteEnd(j *stored, from State) {
	if !unfinished(from) || unfinished(j.state) || !t.q.waiters.wanted(j.id) {
		return
	}
	end := ending{id: j.id}
	if j.rec == nil || j.state == gone && from != Running {
		end.err = fmt.Errorf("%w: job %d was deleted while somebody waited for it", ErrNotFound, j.id)
	} else if end.info = j.info(); j.state == gone {
		end.info.State, end.info.FinishedAt = Completed, fromMicros(t.now)
	}
	t.endings = append(t.endings, end)
}

// tell lets those know who wait for the jobs that have ended.
func (w *waiters) tell(endings []ending) {
	if len(endings) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, end := range endings {
		w.tellAll(w.byJob[end.id], end)
	}
}

func (w *waiters) tellAll(told []chan ending, end ending) {
	for _, c := range told {
		select {
		case c <- end:
		default: // the first end counts
		}
	}
}

// close ends all waiting, with the queue or when the store has failed.
func (w *waiters) close(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = why
	for _, told := range w.byJob {
		w.tellAll(told, ending{err: why})
	}
}
