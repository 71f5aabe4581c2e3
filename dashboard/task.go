package dashboard

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// Tasks are actions too long for a request: bulk actions, compaction, checks.
//
//  1. start gives a task its own goroutine and a context that does not end with
//     the request.
//  2. Pages and the API look at its progress, and may stop it.
//  3. What came of it is put into the action log, as its beginning was.
//  4. Closing the queue stops all tasks and waits for them.
type tasks struct {
	mu     sync.Mutex
	list   []*task // the last maxTasks, oldest first, and those under way
	closed bool
	group  sync.WaitGroup
}

type task struct {
	id, verb, target, by string
	started              time.Time
	cancel               context.CancelFunc

	mu       sync.Mutex
	progress stint.Progress
	faults   []wire.Fault
	note     string
	err      error
	ended    time.Time
}

const (
	maxTasks   = 50 // that are remembered
	maxRunning = 8  // at the same time
)

func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	for _, one := range t.list {
		one.cancel()
	}
	t.mu.Unlock()
	t.group.Wait()
}

// start begins a task. do reports its progress, and returns what came of it.
func (d *dashboard) start(r *request, verb, target string, do func(ctx context.Context, report func(stint.Progress)) (note string, err error)) (*task, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	one := &task{id: rand.Text()[:12], verb: verb, target: target, by: r.access.User, started: time.Now(), cancel: cancel}
	err := d.tasks.begin(one, func() {
		defer cancel()
		note, err := one.do(context.WithValue(ctx, taskKey{}, one), do)
		d.lastFailing.forgetAll()
		one.end(note, err)
		d.logAction(r, outcome{verb: verb, target: target, note: note}, err)
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return one, nil
}

// do makes an error of a panic: net/http does so for requests, and a task that
// fails must not end the program either.
func (t *task) do(ctx context.Context, do func(context.Context, func(stint.Progress)) (string, error)) (note string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("stint: the task %s has panicked: %v\n%s", t.verb, p, debug.Stack())
		}
	}()
	return do(ctx, t.report)
}

// begin gives a task its goroutine, for which close waits.
func (t *tasks) begin(one *task, run func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("%w: no task can be started", stint.ErrClosed)
	}
	running := 0
	for _, other := range t.list {
		if !other.over() {
			running++
		}
	}
	if running >= maxRunning {
		return &failure{503, fmt.Sprintf("%d tasks are under way already; wait until one has ended, or stop one", running), nil}
	}
	t.list = append(t.list, one)
	if len(t.list) > maxTasks {
		if i := slices.IndexFunc(t.list, (*task).over); i >= 0 {
			t.list = slices.Delete(t.list, i, i+1)
		}
	}
	t.group.Go(run)
	return nil
}

// find is a task by its id.
func (t *tasks) find(id string) (*task, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.list {
		if one.id == id {
			return one, nil
		}
	}
	return nil, missing("there is no task %q (any more)", id)
}

// all are the tasks, newest first.
func (t *tasks) all() []*task {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := slices.Clone(t.list)
	slices.Reverse(list)
	return list
}

func (t *task) report(p stint.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress = p
}

// taskKey is the key of the task in the context of what it does.
type taskKey struct{}

// keepFaults adds what a check has found to the task that ctx is of.
func keepFaults(ctx context.Context, found []stint.Fault) {
	t := ctx.Value(taskKey{}).(*task)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range found {
		t.faults = append(t.faults, wire.Fault{Job: uint64(f.Job), Text: f.Text, Repairable: f.Repairable, Repaired: f.Repaired})
	}
}

func (t *task) end(note string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note, t.err, t.ended = note, err, time.Now()
}

func (t *task) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.ended.IsZero()
}

// wire is the task as of now, as it may be seen.
func (d *dashboard) wireTask(t *task) wire.Task {
	w := t.wire()
	w.Target, w.Note, w.Error, w.Text = d.text("", w.Target), d.text("", w.Note), d.text("", w.Error), d.text("", w.Text)
	return w
}

// wire is the task as of now.
func (t *task) wire() wire.Task {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := wire.Task{
		ID: t.id, Verb: t.verb, Target: t.target, By: t.by, StartedAt: t.started, EndedAt: t.ended, Note: t.note, Faults: t.faults,
		Progress: wire.Progress{Done: t.progress.Done, Total: t.progress.Total, Text: t.progress.Text},
	}
	if t.err != nil {
		w.Error = t.err.Error()
	}
	return w
}
