package stint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The planner: a durable job that finds the items of a batch.
//
//  1. The batch is made in the transaction that inserts the planner's job, and
//     has its id.
//  2. The planner iterates without any transaction. Items gather, are
//     prepared in its goroutine, and every 1000 of them, or those of a
//     second, are stored as a portion (item.go) together with the last one's
//     args. While one portion is committed the next one gathers.
//  3. An attempt that ends early has stored what it had gathered; the next one
//     is told where that was. If it starts over all the same, what is there is
//     passed over.
//  4. The portion with the last items seals the batch. When the planner is
//     dead the batch is sealed as it is.

// Planning is the running planner of a batch.
type Planning[T Args] struct {
	Work

	// After is the last item that an earlier attempt has stored or passed
	// over, nil if there is none. A planner that yields in a stable order may
	// go on behind it. One that starts over is right too, unless
	// BatchPolicy.Repeat is set: what is stored is passed over.
	After *T

	// Stored is how many items earlier attempts have stored.
	Stored int
}

// PeriodicBatch declares a batch that spec, as in Periodic, starts again and
// again: plan finds the items, each works one of them. It registers both, like
// Handle, and the schedule, like Periodic, which opts are for. Call it at each
// start of the program.
//
// plan runs in a job of its own, of the kind "plan/" and name, whose id is the
// id of the batch: with retries, a timeout (1 h by default) and shutdown as an
// interruption. It may yield any number of items; they are stored 1000 to a
// commit, in constant memory, and run while it goes on. It holds no
// transaction, and should return soon after ctx has ended.
//
// An error that it yields and goes on behind is one bad item, counted and kept
// in BatchInfo; so is an item that cannot be stored, say because it is too
// large. A planner that starts over counts them again. An error it stops at is
// the planner's failure: its job is retried, and what was stored stays and
// runs. When the queue is full the planner is snoozed for 10 s, with what fit
// in stored. When the planner is dead, BatchInfo.PlanError says why and the
// batch ends with the items it has; until then Retry lets it go on.
//
// An item whose kind and args equal those of an unfinished item of any batch
// is passed over, and so is one that this batch has had already. Each item is
// run as Handle says. The schedule's Overlap counts a run as unfinished until
// its batch has ended.
//
// Errors: those of Periodic, ErrConfig, and ErrBadOption, ErrBadArgs and
// ErrArgsTooLarge about policy, for which nil is a good value. A kind that has
// a handler already is an error.
func PeriodicBatch[T Args](q *Queue, name, spec string, plan func(context.Context, *Planning[T]) iter.Seq2[T, error], each func(context.Context, *Job[T]) error, policy *BatchPolicy, opts ...PeriodicOption) error {
	job := plannerArgs{planPrefix + name}
	if plan == nil || each == nil {
		return fmt.Errorf("%w: PeriodicBatch of %q needs both of its functions", ErrConfig, name)
	}
	if _, err := q.newSchedule(name, spec, job, opts); err != nil {
		return err // before anything is registered
	}
	if err := handleBatch(q, name, plan, each, policy); err != nil {
		return err
	}
	return q.Periodic(name, spec, job, opts...)
}

// plannerArgs are those of every planner.
type plannerArgs struct{ kind string }

func (a plannerArgs) Kind() string { return a.kind }

const (
	planPrefix     = "plan/"
	plannerTimeout = time.Hour
	gatherFor      = time.Second
	fullQueueWait  = 10 * time.Second
)

// roleOf is batchPlanner for a kind that plans batches in this process.
func (q *Queue) roleOf(kind string) role {
	if h := q.handlerOf(kind); h != nil && h.plan != nil {
		return batchPlanner
	}
	return 0
}

// handleBatch registers the planner and the handler of the items.
func handleBatch[T Args](q *Queue, name string, plan func(context.Context, *Planning[T]) iter.Seq2[T, error], each func(context.Context, *Job[T]) error, policy *BatchPolicy) error {
	if plan == nil || each == nil {
		return fmt.Errorf("%w: batch %q needs a function that plans it and one that works its items", ErrConfig, name)
	}
	if policy == nil {
		policy = &BatchPolicy{}
	}
	def, err := q.newBatchPlan(policy)
	if err != nil {
		return fmt.Errorf("batch %q: %w", name, err)
	}
	def.name = name
	h := &handler{kind: planPrefix + name, plan: def}
	if policy.Planner != nil {
		h.policy = *policy.Planner
	}
	orDefault(&h.policy.Timeout, plannerTimeout, -1)
	h.parse = func(data []byte) (Args, error) {
		args := plannerArgs{h.kind}
		err := parseStrictly(data, &args)
		return args, err
	}
	h.run = func(ctx context.Context, e *execution) error {
		p := &Planning[T]{Work: e.work()}
		if len(q.cfg.WorkMiddleware) == 0 {
			return runPlanner(ctx, e, p, plan)
		}
		return workVia(q.cfg.WorkMiddleware, ctx, &p.Work, func(ctx context.Context) error { return runPlanner(ctx, e, p, plan) })
	}
	if err := q.register(newHandler(q, each, policy.Items)); err != nil {
		return err
	}
	return q.register(h)
}

// runPlanner is one attempt.
func runPlanner[T Args](ctx context.Context, e *execution, p *Planning[T], plan func(context.Context, *Planning[T]) iter.Seq2[T, error]) error {
	g := &gathering{
		q: e.q, dry: e.inline, options: e.handler.plan.options, portion: portion{batch: e.id, planner: true},
		ctx: context.WithoutCancel(ctx), // a commit is short, and what is gathered shall not be lost
	}
	if !e.inline {
		row, after, err := e.q.planned(e.id)
		if err != nil || row.sealed() {
			return err // sealed: the process died before the job was completed
		}
		if p.Stored = int(row.n.planned); after != nil {
			p.After = new(T)
			if err := json.Unmarshal(after, p.After); err != nil {
				return fmt.Errorf("stint: the last item of batch %d does not fit %T any more: %w", e.id, *p.After, err)
			}
		}
	}
	err := gatherPlan(ctx, g, plan(ctx, p))
	switch {
	case errors.Is(err, ErrQueueFull):
		return Snooze(fullQueueWait)
	case errors.Is(err, ErrCancelled) && ctx.Err() == nil:
		return Kill(err)
	}
	return err
}

// gatherPlan stores what a planner yields, and seals the batch if it came to
// its end. What an attempt that fails has gathered is stored too.
func gatherPlan[T Args](ctx context.Context, g *gathering, items iter.Seq2[T, error]) error {
	var last error
	for item, err := range items {
		if last != nil {
			g.portion.spoil(last) // it went on
		}
		if last = err; last != nil {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if err := g.add(item); err != nil {
			return err
		}
	}
	if last == nil && ctx.Err() != nil {
		last = context.Cause(ctx)
	}
	err := g.send(last == nil)
	if err == nil {
		err = g.settle()
	}
	if last != nil {
		return last
	}
	return err
}

// planned is how far a batch is planned, or why it is not planned any more.
func (q *Queue) planned(id uint64) (row *batchRow, after []byte, err error) {
	err = q.store.view(func(tx *bolt.Tx) error {
		r := newReader(q, tx)
		if row = r.batch(id); row != nil {
			key := appendBatch(nil, id, batchReached)
			after = append(after, q.vault.decryptSealed(bucketBatches, key, r.bucket(bucketBatches).Get(key))...)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, nil, storeError(err)
	case row == nil:
		err = Kill(fmt.Errorf("%w: the batch of this planner, %d; let its schedule make a new one", ErrNotFound, id))
	case row.ended != 0 && row.is(batchPlanFailed):
		err = Kill(fmt.Errorf("%w: batch %d has ended without its planner, which cannot go on; let its schedule make a new one", ErrNotRunning, id))
	case row.is(batchCancelled):
		err = Kill(fmt.Errorf("%w: batch %d", ErrCancelled, id))
	}
	return row, after, err
}

// gathering takes items to the committer.
type gathering struct {
	q       *Queue
	ctx     context.Context
	options []Option
	portion portion
	dry     bool // of Perform: nothing is stored

	ins   *insertion
	n     int
	since time.Time // when the first of the n came

	underway *insertion // the portion before it, while it is being committed
}

func (g *gathering) add(args Args) error {
	if g.ins == nil {
		g.ins = g.q.newInsertion(seqGroup)
	}
	if g.n == 0 {
		g.since = time.Now()
	}
	p := &g.ins.jobs[g.n]
	err := g.q.withPolicy(p, args, g.options)
	switch {
	case err != nil && g.portion.planner:
		g.portion.spoil(err)
		return nil
	case err != nil:
		return err
	}
	p.batch = g.portion.batch
	if g.n++; g.n < seqGroup && time.Since(g.since) < gatherFor {
		return nil
	}
	return g.send(false)
}

// send hands over what has been gathered, which is committed while the next
// portion gathers, and returns how the one before it went. The last one, and
// those that middleware is around, it waits for.
func (g *gathering) send(seal bool) error {
	ins := g.ins
	if ins == nil {
		ins = g.q.newInsertion(0)
	}
	p := g.portion
	p.seal = seal
	ins.jobs, ins.portion = ins.jobs[:g.n], &p
	g.ins, g.n = nil, 0
	g.portion.bad, g.portion.errors = 0, nil
	if !g.dry && len(g.q.cfg.EnqueueMiddleware) > 0 {
		return g.sendVia(ins)
	}
	size, err := ins.prepare(g.q)
	if err == nil {
		err = g.settle()
	}
	if err != nil || g.dry {
		return err
	}
	ins.size = size
	if err := g.q.handOver(g.ctx, ins); err != nil {
		return err
	}
	g.underway = ins
	if seal {
		return g.settle()
	}
	return nil
}

// settle waits for the portion under way.
func (g *gathering) settle() error {
	ins := g.underway
	if ins == nil {
		return nil
	}
	g.underway = nil
	if err := ins.await(g.ctx); err != nil {
		return err
	}
	full := ins.portion.full
	g.q.recycle(ins)
	return full
}

// sendVia sends through middleware.
func (g *gathering) sendVia(ins *insertion) error {
	p := ins.portion
	err := g.q.insertAll(g.ctx, ins)
	if err == nil && !p.applied { // middleware has kept the jobs back, as it may
		ins.jobs = ins.jobs[:0]
		err = g.q.insertAll(g.ctx, ins)
	}
	if err != nil {
		return err
	}
	g.q.recycle(ins)
	return p.full
}
