package stint_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// What the handlers of a recorded child do, and what they say of it.

// handle registers what works the jobs. The same job has the same effects in
// the parent, see finish.
func (l *witness) handle() {
	fast := func(int, error) time.Duration { return time.Millisecond }
	stint.Handle(l.q, l.do, &stint.Policy{Backoff: fast, Timeout: -1})
	stint.Handle(l.q, func(_ context.Context, job *stint.Job[over]) error {
		batch, err := job.Batch()
		must(err)
		return l.count(&job.Work, overKey(batch.ID))
	}, nil)
	stint.Handle(l.q, func(_ context.Context, job *stint.Job[beat]) error {
		return l.count(&job.Work, beatKey(&job.Work))
	}, nil)
	each := func(_ context.Context, job *stint.Job[item]) error {
		return l.count(&job.Work, itemKeys(job)...)
	}
	plan := func(_ context.Context, p *stint.Planning[item]) itemSeq {
		l.begin(&p.Work)
		say("may job %d = gone", p.ID)
		return planForty
	}
	must(stint.PeriodicBatch(l.q, "planned", never, plan, each, &stint.BatchPolicy{OnDone: over{}}))
}

type itemSeq = iter.Seq2[item, error]

func planForty(yield func(item, error) bool) {
	for i := range plannedItems {
		if !yield(item{i}, nil) {
			return
		}
	}
}

// count completes a job together with what it counts.
func (l *witness) count(job *stint.Work, keys ...string) error {
	l.begin(job)
	return l.complete(job, keys...)
}

func (l *witness) complete(job *stint.Work, keys ...string) error {
	say("may job %d = counted", job.ID)
	err := job.Commit(func(tx *bolt.Tx) error { return countAll(tx, job.ID, keys...) })
	if err == nil {
		say("is job %d = counted", job.ID)
	}
	return err
}

// What is counted: in the end each key but "items" and "jobs" once.
func overKey(batch stint.ID) string { return fmt.Sprintf("over %d", batch) }

func beatKey(job *stint.Work) string {
	return fmt.Sprintf("beat %s %d", job.Schedule, job.ScheduledFor.UnixMicro())
}

func itemKeys(job *stint.Job[item]) []string {
	return []string{fmt.Sprintf("items %d", job.BatchID), fmt.Sprintf("item %d %d", job.BatchID, job.Args.N)}
}

func countAll(tx *bolt.Tx, id stint.ID, keys ...string) error {
	for _, key := range append(keys, fmt.Sprintf("job %d", id), string(counterKey)) {
		if err := increment(tx, []byte(key)); err != nil {
			return err
		}
	}
	return nil
}

// begin says that an attempt has begun, and returns how many have ended.
func (l *witness) begin(job *stint.Work) int {
	l.mu.Lock()
	run, crashes := l.runs[job.ID], l.crashes[job.ID]
	l.mu.Unlock()
	say("now job %d = running %d/%d", job.ID, run, crashes)
	return run
}

// do is one run of a deed.
func (l *witness) do(ctx context.Context, job *stint.Job[deed]) error {
	words := strings.Fields(job.Args.Plan)
	run := l.begin(&job.Work)
	switch word := words[min(run, len(words)-1)]; word {
	case "commit":
		return l.complete(&job.Work)
	case "fail", "panic", "snooze":
		l.mu.Lock()
		l.runs[job.ID]++
		delete(l.crashes, job.ID) // it has come through
		l.mu.Unlock()
		say("may job %d = waiting %d", job.ID, run+1)
		if word == "panic" {
			panic("as planned")
		}
		if word == "snooze" {
			return stint.Snooze(2 * time.Millisecond)
		}
		return errors.New("as planned")
	case "kill":
		say("may job %d = dead", job.ID)
		return stint.Kill(errors.New("as planned"))
	case "return":
		say("may job %d = gone", job.ID)
		return nil
	case "result":
		must(job.SetResult(job.ID))
		say("may job %d = kept %d", job.ID, job.ID)
		return nil
	case "completetx":
		say("may job %d = counted", job.ID)
		must(l.q.Update(func(tx *bolt.Tx) error {
			if err := countAll(tx, job.ID); err != nil {
				return err
			}
			return job.CompleteTx(tx)
		}))
		say("is job %d = counted", job.ID)
		return nil
	case "steps":
		return l.advance(ctx, job)
	}
	return l.stay(ctx, job)
}

// advance is a job with steps, and with items that have their effects once.
func (l *witness) advance(ctx context.Context, job *stint.Job[deed]) error {
	for _, name := range []string{"one", "two"} {
		must(job.Step(ctx, name, func(context.Context) error { return nil }))
		say("is step %d %s = done", job.ID, name)
	}
	at := 0
	_, err := job.Resume(&at)
	must(err)
	for i := at + 1; i <= progressEnd; i++ {
		say("may progress %d = %d", job.ID, i)
		key := fmt.Appendf(nil, "progress %d", job.ID)
		must(job.CommitProgress(func(tx *bolt.Tx) error { return increment(tx, key) }, i))
		say("is progress %d = %d", job.ID, i)
	}
	return l.complete(&job.Work)
}

// stay is a job that goes on until the queue closes, and after the next Open
// completes.
func (l *witness) stay(ctx context.Context, job *stint.Job[deed]) error {
	n := 0
	if again, err := job.Resume(&n); again {
		must(err)
		return l.complete(&job.Work)
	}
	for ; ; n++ {
		if err := job.Checkpoint(ctx, n); err != nil {
			say("may job %d = waiting 0", job.ID)
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
