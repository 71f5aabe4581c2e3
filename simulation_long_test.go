package stint_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Long jobs and planners of TestSimulation.

// long is a job of steps, or one that goes through a number of things.
func (l *simLife) long(ctx context.Context, w *stint.Work, do string) error {
	if do == "steps" {
		return l.steps(ctx, w)
	}
	at := 0
	if _, err := w.Resume(&at); err != nil {
		l.fault("Resume: %v", err)
	}
	l.log(simEvent{what: "resume", id: w.ID, n: at})
	for ; at < simLoops; at++ {
		if err := l.pause(ctx, simStep); err != nil {
			return l.stop(w, err)
		}
		l.log(simEvent{what: "checkpoint", id: w.ID, n: at + 1})
		var err error
		if do == "progress" {
			key := fmt.Sprint(w.ID, " at ", at)
			l.log(simEvent{what: "effect", id: w.ID, text: key})
			err = w.CommitProgress(func(tx *bolt.Tx) error { return simEffect(tx, key) }, at+1)
		} else {
			err = w.Checkpoint(ctx, at+1)
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return l.stop(w, err)
		case errors.Is(err, stint.ErrShutdown):
			return l.end(w, "interrupted", 0, err)
		default:
			return l.end(w, "slice", time.Millisecond, err)
		}
	}
	return l.end(w, "nil", 0, nil)
}

// steps fails between two of them.
func (l *simLife) steps(ctx context.Context, w *stint.Work) error {
	for i, name := range []string{"one", "two", "three"} {
		value, ran := 0, false
		err := w.Step(ctx, name, func(context.Context) error {
			ran, value = true, i+1
			l.log(simEvent{what: "step", id: w.ID, text: name})
			return nil
		}, &value)
		switch {
		case err != nil && ctx.Err() != nil:
			return l.stop(w, err)
		case err != nil || value != i+1:
			l.fault("step %s of job %d: %v, it has kept %d", name, w.ID, err, value)
		}
		if ran && i == 1 {
			if err := l.pause(ctx, simWork); err != nil {
				return l.stop(w, err)
			}
			return l.end(w, "error", 0, errSim)
		}
	}
	return l.end(w, "nil", 0, nil)
}

// around is the middleware. A planner whose batch takes no items any more is
// not asked for them.
func (l *simLife) around(ctx context.Context, w *stint.Work, next func(context.Context) error) error {
	if w.Kind != simPlanKind {
		return next(ctx)
	}
	run := l.begin(w, simBody{})
	l.mu.Lock()
	l.plans[w.ID] = run
	l.mu.Unlock()
	err := next(ctx)
	if run = l.asked(w.ID); run < 0 {
		return err
	}
	l.log(simEvent{what: "not planned", id: w.ID})
	if err == nil {
		return l.end(w, "nil", 0, nil)
	}
	return l.end(w, "kill", 0, err)
}

// asked says which run of a planner it is, once, and then -1.
func (l *simLife) asked(id stint.ID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	run, first := l.plans[id]
	delete(l.plans, id)
	if !first {
		return -1
	}
	return run
}

// plan yields items that depend on the hour: some are equal to others, some
// are bad, some planners take a while, fail, or go on behind what they had.
func (l *simLife) plan(ctx context.Context, p *stint.Planning[simItem]) iter.Seq2[simItem, error] {
	return func(yield func(simItem, error) bool) {
		run := l.asked(p.ID)
		hour := p.ScheduledFor.Hour()
		first := 0
		if hour%2 == 0 && p.After != nil {
			first = p.After.N + 1
		}
		reached := 0
		if p.After != nil {
			reached = p.After.N
		}
		l.log(simEvent{what: "reached", id: p.ID, n: reached, attempts: p.Stored})
		if err := l.pause(ctx, simAsk); err != nil { // so that no item ends just when one like it is stored
			_ = l.stop(&p.Work, err)
			return
		}
		for i := first; i < 4+hour%3; i++ {
			if i == 2 && hour%4 == 1 {
				l.log(simEvent{what: "yield", id: p.ID, how: "bad"})
				yield(simItem{}, errSim)
			}
			if i == 3 && hour%3 == 0 {
				if err := l.pause(ctx, simGather); err != nil {
					_ = l.stop(&p.Work, err)
					return
				}
			}
			if i == 3 && run == 0 && hour%3 != 1 {
				_ = l.end(&p.Work, "error", 0, errSim)
				yield(simItem{}, errSim)
				return
			}
			body := simBody{N: i, S: []int{0, 1, 13, 8, 2}[(i+hour)%5]}
			l.log(simEvent{what: "yield", id: p.ID, body: body})
			if !yield(simItem{body}, nil) {
				l.fault("planner %d: yield ended it", p.ID)
				return
			}
		}
		_ = l.end(&p.Work, "nil", 0, nil)
	}
}

// simOptions are the options of a job.
type simOptions struct {
	queue       string
	priority    int
	in, expires time.Duration
	attempts    int
	tag         string
	unique      string // done, waiting, period, replace, debounce or merge
	key         string
	period      time.Duration
}

const (
	simQuiet = 10 * time.Minute // of Debounce
	simMost  = 25 * time.Minute
)

func (o simOptions) folds() bool {
	return slices.Contains([]string{"replace", "debounce", "merge"}, o.unique)
}

// mode is what frees the place of the job.
func (o simOptions) mode() string {
	if o.folds() {
		return "waiting"
	}
	return o.unique
}

func (o simOptions) options() (opts []stint.Option) {
	if o.queue != "" {
		opts = append(opts, stint.OnQueue(o.queue))
	}
	if o.priority != 0 {
		opts = append(opts, stint.Priority(o.priority))
	}
	if o.in > 0 {
		opts = append(opts, stint.In(o.in))
	}
	if o.expires > 0 {
		opts = append(opts, stint.ExpiresIn(o.expires))
	}
	if o.attempts > 0 {
		opts = append(opts, stint.MaxAttempts(o.attempts))
	}
	if o.tag != "" {
		opts = append(opts, stint.Tags(o.tag))
	}
	if o.unique == "" {
		return opts
	}
	var how []stint.UniqueOption
	if o.key != "" {
		how = append(how, stint.ByKey(o.key))
	}
	switch o.unique {
	case "waiting":
		how = append(how, stint.WhileWaiting())
	case "period":
		how = append(how, stint.ForPeriod(o.period))
	case "replace":
		how = append(how, stint.Replace())
	case "debounce":
		how = append(how, stint.Debounce(simQuiet, simMost))
	case "merge":
		how = append(how, stint.Merge(func(waiting, added simAlpha) simAlpha {
			return simAlpha{simMerge(waiting.simBody, added.simBody)}
		}))
	}
	return append(opts, stint.Unique(how...))
}
