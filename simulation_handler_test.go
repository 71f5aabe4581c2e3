package stint_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// The handlers of TestSimulation. What a job does in each of its runs is said
// by its args; what happens goes into a trace, which the model goes through.

// simBody is the args of all jobs. S says what the handler does, N and P make
// jobs differ.
type simBody struct {
	N int      `json:"n"`
	S int      `json:"s,omitempty"`
	P stint.ID `json:"p,omitempty"`
}

type (
	simAlpha struct{ simBody }
	simBeta  struct{ simBody } // one at a time
	simGamma struct{ simBody } // has no handler in some lives
	simItem  struct{ simBody }
	simDone  struct{ simBody }
)

const (
	simItemKind = "item"
	simPlanKind = "plan/night"
)

func (simAlpha) Kind() string { return "alpha" }
func (simBeta) Kind() string  { return "beta" }
func (simGamma) Kind() string { return "gamma" }
func (simItem) Kind() string  { return simItemKind }
func (simDone) Kind() string  { return "done" }

func simArgs(kind string, body simBody) stint.Args {
	switch kind {
	case "alpha":
		return simAlpha{body}
	case "beta":
		return simBeta{body}
	case "gamma":
		return simGamma{body}
	case simItemKind:
		return simItem{body}
	}
	return simDone{body}
}

func simMerge(waiting, added simBody) simBody {
	return simBody{N: (waiting.N + added.N) % 100, S: added.S}
}

// simScripts are what handlers do, run by run; the last holds for all further
// ones. Work takes odd times, so that it never ends together with what is due.
var simScripts = [][]string{
	{"ok"}, {"fail", "ok"}, {"fail"}, {"kill"}, {"snooze", "ok"}, {"retry after", "fail", "ok"}, {"panic", "ok"},
	{"goexit", "ok"}, {"commit"}, {"commit child"}, {"complete tx"}, {"complete tx undone", "commit"},
	{"commit undone", "ok"}, {"work"}, {"work long", "ok"}, {"work stubbornly"}, {"work stubbornly and fail", "commit"},
	{"result"}, {"steps"}, {"checkpoints"}, {"progress"}, {"child"}, {"snooze not", "retry not", "ok"},
	{"work and snooze", "work and fail", "commit"}, {"work"}, {"checkpoints"},
}

const (
	simWork    = 95*time.Second + 13*time.Microsecond
	simLong    = 47*time.Minute + 17*time.Microsecond // longer than the timeouts
	simStep    = 110*time.Second + 19*time.Microsecond
	simBrief   = 9*time.Second + 23*time.Microsecond
	simAsk     = 1300*time.Millisecond + 31*time.Microsecond
	simGather  = 1700*time.Millisecond + 29*time.Microsecond
	simLoops   = 9 // checkpoints of a job
	simEffects = "sim effects"
)

// simEvent is an entry of the trace.
type simEvent struct {
	at   time.Time
	what string
	id   stint.ID

	kind, queue       string
	body              simBody
	priority          int
	attempt, attempts int
	schedule          string
	scheduledFor      time.Time
	missed, n         int
	batch             stint.ID
	how, text         string
	delay             time.Duration
	options           simOptions
}

func (e simEvent) String() string {
	return strings.Join(strings.Fields(fmt.Sprint(e.what, " ", e.how, " ", e.text, " ", e.kind, " of job ", e.id)), " ")
}

// simLife is a process: what handlers share between Open and Close or crash.
type simLife struct {
	q     *stint.Queue
	runs  map[stint.ID]int // of all lives
	dead  chan struct{}    // closed by a crash
	limit map[string]int   // by kind and queue

	mu     sync.Mutex
	gone   bool
	trace  []simEvent
	faults []string
	busy   map[string]int
	plans  map[stint.ID]int // planners that have not been asked yet, and which run it is
}

var errSimCrash = errors.New("the process is gone")

func (l *simLife) log(ev simEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ev.at = simNow()
	if !l.gone {
		l.trace = append(l.trace, ev)
	}
}

func (l *simLife) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gone {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// take returns what has gathered in the trace.
func (l *simLife) take() (trace []simEvent, faults []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	trace, faults = l.trace, l.faults
	l.trace, l.faults = nil, nil
	return trace, faults
}

// begin notes the start of an attempt and returns which run of the job it is.
func (l *simLife) begin(w *stint.Work, body simBody) int {
	l.log(simEvent{
		what: "start", id: w.ID, kind: w.Kind, queue: w.Queue, body: body, priority: w.Priority,
		attempt: w.Attempt, attempts: w.MaxAttempts, schedule: w.Schedule, scheduledFor: w.ScheduledFor.UTC(), missed: w.Missed, batch: w.BatchID,
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return 0
	}
	for _, of := range []string{"", w.Kind, w.Queue} {
		l.busy[of]++
		if limit := l.limit[of]; limit > 0 && l.busy[of] > limit {
			l.faults = append(l.faults, fmt.Sprintf("%d jobs of %q run at once, the limit is %d", l.busy[of], of, limit))
		}
	}
	l.runs[w.ID]++
	return l.runs[w.ID] - 1
}

// end notes a verdict, before the queue learns of it.
func (l *simLife) end(w *stint.Work, how string, delay time.Duration, err error) error {
	ev := simEvent{what: "end", id: w.ID, how: how, delay: delay}
	if err != nil {
		ev.text = err.Error()
	}
	l.log(ev)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, of := range []string{"", w.Kind, w.Queue} {
		l.busy[of]--
	}
	return err
}

// pause waits, and returns why it ended early.
func (l *simLife) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.dead:
		return errSimCrash
	}
}

// stop returns what interrupted the handler.
func (l *simLife) stop(w *stint.Work, err error) error {
	how := "timeout"
	switch {
	case errors.Is(err, stint.ErrCancelled):
		how = "cancelled"
	case errors.Is(err, stint.ErrShutdown):
		how = "shutdown"
	}
	return l.end(w, how, 0, err)
}

var errSim = errors.New("as the script says")

func (l *simLife) handle(ctx context.Context, w *stint.Work, body simBody) error {
	run := l.begin(w, body)
	script := simScripts[body.S%len(simScripts)]
	do := script[min(run, len(script)-1)]
	switch do {
	case "ok":
		return l.end(w, "nil", 0, nil)
	case "fail":
		return l.end(w, "error", 0, errSim)
	case "kill":
		_ = l.end(w, "kill", 0, errSim)
		return stint.Kill(errSim)
	case "snooze":
		_ = l.end(w, "snooze", 10*time.Minute, nil)
		return fmt.Errorf("wrapped: %w", stint.Snooze(10*time.Minute))
	case "snooze not":
		_ = l.end(w, "snooze", 0, nil)
		return stint.Snooze(-time.Second)
	case "retry after":
		_ = l.end(w, "retry after", 3*time.Minute, errSim)
		return stint.RetryAfter(3*time.Minute, errSim)
	case "retry not":
		_ = l.end(w, "retry after", 0, errSim)
		return stint.RetryAfter(0, errSim)
	case "panic":
		_ = l.end(w, "error", 0, errors.New("panic: as the script says"))
		panic(errSim)
	case "goexit":
		_ = l.end(w, "error", 0, errors.New("stint: the handler called runtime.Goexit"))
		runtime.Goexit()
	case "result":
		if err := w.SetResult(run); err != nil {
			l.fault("SetResult: %v", err)
		}
		_ = l.end(w, "nil", 0, errors.New("has a result"))
		return nil
	case "child":
		child, o := simBody{N: run, P: w.ID}, simOptions{in: 5 * time.Minute}
		l.log(simEvent{what: "child", id: w.ID, kind: "gamma", body: child, options: o})
		if _, err := l.q.Enqueue(context.WithoutCancel(ctx), simArgs("gamma", child), o.options()...); err != nil {
			l.fault("Enqueue in a handler: %v", err)
		}
		return l.end(w, "nil", 0, nil)
	}
	if len(do) >= 4 && do[:4] == "work" {
		return l.work(ctx, w, do, run)
	}
	if do == "steps" || do == "checkpoints" || do == "progress" {
		return l.long(ctx, w, do)
	}
	return l.transact(w, do, run)
}

// work takes its time. Stubborn work does not heed the end of its context.
func (l *simLife) work(ctx context.Context, w *stint.Work, do string, run int) error {
	d := simWork
	switch do {
	case "work long":
		d = simLong
	case "work stubbornly", "work stubbornly and fail":
		ctx, d = context.WithoutCancel(ctx), simBrief
	}
	if err := l.pause(ctx, d); err != nil {
		return l.stop(w, err)
	}
	switch do {
	case "work and snooze":
		_ = l.end(w, "snooze", time.Hour, nil)
		return stint.Snooze(time.Hour)
	case "work stubbornly and fail", "work and fail":
		return l.end(w, "error", 0, errSim)
	}
	return l.end(w, "nil", 0, nil)
}

// transact ends the job in a transaction, or takes one back.
func (l *simLife) transact(w *stint.Work, do string, run int) error {
	child, o := simBody{N: run, P: w.ID}, simOptions{expires: 3 * time.Hour, key: fmt.Sprint(w.ID, run), unique: "done"}
	effect := func(tx *bolt.Tx) error {
		if do != "commit" {
			if _, err := l.q.EnqueueTx(tx, simArgs("alpha", child), o.options()...); err != nil {
				l.fault("EnqueueTx of a handler: %v", err)
			}
		}
		return simEffect(tx, fmt.Sprint(w.ID))
	}
	undone := func(tx *bolt.Tx) error { return errors.Join(effect(tx), errSim) }
	switch do {
	case "commit undone":
		if err := w.Commit(undone); !errors.Is(err, errSim) {
			l.fault("an undone Commit: %v", err)
		}
		return l.end(w, "error", 0, errSim)
	case "complete tx undone":
		err := l.q.Update(func(tx *bolt.Tx) error { return errors.Join(undone(tx), w.CompleteTx(tx)) })
		if err == nil || err.Error() != errSim.Error() {
			l.fault("an undone CompleteTx: %v", err)
		}
		return l.end(w, "error", 0, errSim)
	}
	if do != "commit" {
		l.log(simEvent{what: "child", id: w.ID, kind: "alpha", body: child, options: o})
	}
	l.log(simEvent{what: "effect", id: w.ID, text: fmt.Sprint(w.ID)})
	_ = l.end(w, "nil", 0, nil)
	var err error
	if do == "complete tx" {
		err = l.q.Update(func(tx *bolt.Tx) error { return errors.Join(effect(tx), w.CompleteTx(tx)) })
	} else {
		err = w.Commit(effect)
	}
	if err != nil {
		l.fault("%s: %v", do, err)
	}
	if do == "commit child" {
		return errSim // nothing it returns can undo a Commit
	}
	return nil
}

// simEffect adds one to a counter of the application.
func simEffect(tx *bolt.Tx, key string) error {
	b, err := tx.CreateBucketIfNotExists([]byte(simEffects))
	if err != nil {
		return err
	}
	return b.Put([]byte(key), append(b.Get([]byte(key)), 1)) // as many bytes as there were effects
}
