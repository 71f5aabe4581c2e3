package stint_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var stressSeed = flag.Uint64("seed", 0, "seed of TestStress; 0 takes a new one")

const (
	stressTime    = 2 * time.Second
	stressCallers = 8
	stressMaxJobs = 20_000
)

// stress is the job of TestStress. N is its number in the ledger.
type stress struct{ N int }

func (stress) Kind() string { return "stress" }

func TestStress(t *testing.T) {
	t.Parallel()
	seed := *stressSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	l := newLedger()
	q := open(t, &stint.Config{
		Workers: 6, MaxJobs: stressMaxJobs, MaxDead: -1, ShutdownTimeout: 2 * time.Millisecond,
		Queues: map[string]stint.QueueConfig{"a": {Workers: 2}, "b": {Weight: 3}},
		OnDeath: func(info stint.Info) {
			if info.State != stint.Dead || info.Reason == "" {
				l.fault("OnDeath got %v", info)
			}
		},
	})
	var draining atomic.Bool
	var handled atomic.Uint64
	stint.Handle(q, func(ctx context.Context, job *stint.Job[stress]) error {
		n := job.Args.N
		l.with(func() {
			if l.running[n] {
				l.faults = append(l.faults, fmt.Sprintf("job %d runs beside itself", n))
			}
			if l.done[n] > 0 || l.deleted[n] > 0 {
				l.faults = append(l.faults, fmt.Sprintf("job %d runs again after its end", n))
			}
			l.running[n] = true
		})
		defer l.with(func() { delete(l.running, n) })
		return stressHandler(ctx, q, l, job, rand.New(rand.NewPCG(seed, handled.Add(1))), draining.Load())
	}, &stint.Policy{MaxAttempts: 3, Timeout: 20 * time.Millisecond, Backoff: stint.Constant(2 * time.Millisecond)})

	events := q.Subscribe(1 << 20)
	stop := make(chan struct{})
	var callers, runs sync.WaitGroup
	for i := range stressCallers {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(1000+i)))
			for {
				select {
				case <-stop:
					return
				default:
					stressOperation(q, l, r)
				}
			}
		})
	}
	runs.Go(func() { // Run is stopped and started all the time
		r := rand.New(rand.NewPCG(seed, 999))
		for !draining.Load() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(60))*time.Millisecond)
			if err := q.Run(ctx); err != nil {
				l.fault("Run: %v", err)
			}
			cancel()
		}
	})
	time.Sleep(stressTime)
	close(stop)
	callers.Wait()
	draining.Store(true)
	runs.Wait()
	for _, queue := range []string{"default", "a", "b"} {
		require.NoError(t, q.Resume(t.Context(), queue))
	}
	run(t, q)
	require.Eventually(t, func() bool {
		c := q.Counts()
		return c.Ready+c.Scheduled+c.Retrying+c.Running == 0
	}, 30*time.Second, time.Millisecond, "%+v", q.Counts())
	events.Close()
	require.Zero(t, events.Dropped())
	audit(t, q, l, events.C)
}

// stressHandler ends an attempt in one of all the ways there are.
func stressHandler(ctx context.Context, q *stint.Queue, l *ledger, job *stint.Job[stress], r *rand.Rand, drain bool) error {
	n := job.Args.N
	finish := func(effect bool) {
		l.with(func() {
			l.done[n]++
			if effect {
				l.effects[n] = true
			}
		})
	}
	if drain {
		finish(false)
		return nil
	}
	effect := func(tx *bolt.Tx) error { return increment(tx, []byte(strconv.Itoa(n))) }
	whatever := func() error {
		return []error{nil, errOops, stint.Kill(errOops), stint.Snooze(time.Millisecond)}[r.IntN(4)]
	}
	switch r.IntN(16) {
	case 0:
		return errOops
	case 1:
		return stint.Snooze(time.Duration(r.IntN(5)) * time.Millisecond)
	case 2:
		panic("stress")
	case 3:
		runtime.Goexit()
	case 4:
		<-ctx.Done()
		return ctx.Err()
	case 5:
		if r.IntN(4) == 0 {
			return stint.Kill(errOops)
		}
		return stint.RetryAfter(time.Millisecond, errOops)
	case 6, 7, 8: // may fail, and then what comes after it decides
		fail := r.IntN(6)
		follow := l.numbers(1)
		err := job.Commit(func(tx *bolt.Tx) error {
			_, err := q.EnqueueTx(tx, follow[0])
			switch fail {
			case 0:
				return errOops
			case 1:
				panic("in fn")
			case 2:
				runtime.Goexit()
			}
			return errors.Join(err, effect(tx))
		})
		l.outcome(err, follow)
		if err == nil {
			finish(true)
		}
		if err == nil && r.IntN(2) == 0 {
			panic("after Commit")
		}
		return errors.Join(err, orFail(err, whatever))
	case 9, 10:
		fail := r.IntN(3) == 0
		follow := l.numbers(1)
		err := q.DB().Update(func(tx *bolt.Tx) error {
			_, enqueued := q.EnqueueTx(tx, follow[0], stint.OnQueue("b"))
			if err := errors.Join(enqueued, effect(tx), job.CompleteTx(tx)); err != nil || !fail {
				return err
			}
			return errRolledBack
		})
		l.outcome(err, follow)
		if err == nil {
			finish(true)
		}
		return errors.Join(err, orFail(err, whatever))
	case 11:
		follow := l.numbers(1)
		id, err := q.Enqueue(ctx, follow[0])
		l.outcome(err, follow, id)
	case 12:
		time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
	}
	finish(false)
	return nil
}

// orFail is any result after a success and an error after a failure.
func orFail(err error, result func() error) error {
	if err != nil {
		return errOops
	}
	return result()
}

// stressOperation does one thing a program may do.
func stressOperation(q *stint.Queue, l *ledger, r *rand.Rand) {
	ctx := context.Background()
	bad := func(what string, err error, allowed ...error) {
		for _, a := range append(allowed, nil) {
			if errors.Is(err, a) {
				return
			}
		}
		l.fault("%s: %v", what, err)
	}
	opts := []stint.Option{stint.Priority(1 + r.IntN(4)), stint.OnQueue([]string{"default", "a", "b"}[r.IntN(3)])}
	if r.IntN(3) == 0 {
		opts = append(opts, stint.In(time.Duration(r.IntN(20))*time.Millisecond))
	}
	if r.IntN(3) == 0 {
		opts = append(opts, stint.Unique(stint.ByKey(strconv.Itoa(r.IntN(50)))))
	}
	if r.IntN(8) == 0 {
		opts = append(opts, stint.Tags("some"))
	}
	switch r.IntN(24) {
	case 0, 1, 2, 3, 4:
		args := l.numbers(1)
		id, err := q.Enqueue(ctx, args[0], opts...)
		bad("Enqueue", err, stint.ErrDuplicate)
		l.outcome(err, args, id)
	case 5: // its context ends at some moment
		brief, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(400))*time.Microsecond)
		args := l.numbers(1)
		id, err := q.Enqueue(brief, args[0], opts...)
		cancel()
		bad("Enqueue", err, stint.ErrDuplicate, context.DeadlineExceeded)
		l.outcome(err, args, id)
	case 6:
		args := l.numbers(1 + r.IntN(10))
		ids, err := q.EnqueueAll(ctx, args, opts...)
		bad("EnqueueAll", err, stint.ErrDuplicate)
		l.outcome(err, args, ids...)
	case 7:
		args := l.numbers(1 + r.IntN(10))
		n, err := q.EnqueueSeq(ctx, func(yield func(stint.Args) bool) {
			for _, a := range args {
				if !yield(a) {
					return
				}
			}
		}, opts[:2]...)
		if err != nil || n != len(args) {
			l.fault("EnqueueSeq: %d of %d: %v", n, len(args), err)
		}
		l.outcome(err, args)
	case 8, 9:
		args := l.numbers(1 + r.IntN(4))
		rollback := r.IntN(3) == 0
		var ids []stint.ID
		err := q.DB().Update(func(tx *bolt.Tx) error {
			for _, a := range args {
				id, err := q.EnqueueTx(tx, a, opts...)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			if rollback {
				return errRolledBack
			}
			return nil
		})
		bad("EnqueueTx", err, stint.ErrDuplicate, errRolledBack)
		l.outcome(err, args, ids...)
	case 10, 11:
		bad("Cancel", q.Cancel(ctx, l.someID(r), "stress"), stint.ErrNotFound)
	case 12:
		bad("Kill", q.Kill(ctx, l.someID(r), "stress"), stint.ErrNotFound)
	case 13, 14:
		bad("Retry", q.Retry(ctx, l.someID(r)), stint.ErrNotFound, stint.ErrRunning, stint.ErrDuplicate)
	case 15, 16:
		info, err := q.Get(l.someID(r))
		bad("Get", err, stint.ErrNotFound)
		if err != nil {
			return
		}
		var args stress
		bad("args", json.Unmarshal(info.Args, &args))
		l.mu.Lock() // so that the handler cannot tell of a job before its deletion is noted
		defer l.mu.Unlock()
		switch err := q.Delete(ctx, info.ID); {
		case err == nil:
			l.deleted[args.N]++
		case !errors.Is(err, stint.ErrNotFound) && !errors.Is(err, stint.ErrRunning):
			l.faults = append(l.faults, "Delete: "+err.Error())
		}
	case 17:
		bad("Pause", q.Pause(ctx, []string{"default", "a", "b"}[r.IntN(3)], "stress"))
	case 18, 19:
		bad("Resume", q.Resume(ctx, []string{"default", "a", "b"}[r.IntN(3)]))
	case 20:
		_, err := q.CancelAll(ctx, stint.Filter{Tag: "some", State: stint.State(1 + r.IntN(4))}, "stress")
		bad("CancelAll", err)
	case 21:
		_, err := q.RetryAll(ctx, stint.Filter{State: stint.Dead, Tag: "some"})
		bad("RetryAll", err)
	case 22:
		for _, err := range q.Jobs(stint.Filter{State: stint.State(r.IntN(7)), OldestFirst: r.IntN(2) == 0, Limit: 150}) {
			bad("Jobs", err)
		}
	case 23:
		c := q.Counts()
		if min(c.Ready, c.Scheduled, c.Retrying, c.Running, c.Dead) < 0 {
			l.fault("%+v", c)
		}
		q.Stats()
		q.Queues()
		some := stint.ID(r.IntN(1000))
		_, err := q.Why(some)
		bad("Why", err, stint.ErrNotFound)
		_, err = q.Stack(some)
		bad("Stack", err, stint.ErrNotRunning)
		_ = q.Health()
		bad("SetWorkers", q.SetWorkers(ctx, []string{"", "a", "b"}[r.IntN(3)], r.IntN(9)))
		sub := q.Subscribe(10, stint.JobStarted, stint.QueuePaused)
		runtime.Gosched()
		sub.Close()
	}
}
