package stint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
)

// Batches: many jobs with one end.
//
//  1. EnqueueBatch stores the caller's items, PeriodicBatch lets a job of its
//     own, the planner, find them (plan.go). Either way they are stored 1000
//     to a commit, and run while the rest is being stored.
//  2. item.go stores items and counts how they end; batch_row.go is what the
//     file has of a batch.
//  3. batch_end.go is the end of a batch, and what is left of it.
//  4. CancelBatch marks the batch, so that none of its items starts any more,
//     and then cancels them.

// BatchPolicy says how a batch is stored and run.
type BatchPolicy struct {
	// Name is shown in BatchInfo; that of a PeriodicBatch is its own.
	Name string

	// Items and Planner are the policies of the two kinds that PeriodicBatch
	// registers. Planner has a Timeout of 1 h by default, and otherwise the
	// defaults of Policy. Both are ignored by EnqueueBatch.
	Items   *Policy
	Planner *Policy

	// OnDone is enqueued in the transaction that ends the batch: exactly once,
	// whatever crashes. Its handler gets the totals from Work.Batch. Config's
	// MaxJobs does not bound it, an EnqueueMiddleware does not see it, and its
	// queue and priority are those its kind has when the batch is made.
	OnDone Args

	// Repeat stores an item also while an equal one, of the same kind and
	// args, of any batch is unfinished. A planner must then go on behind
	// Planning.After when it starts over, or it stores its items twice.
	Repeat bool

	// Options hold for each item: OnQueue, Priority, Tags and so on, but not
	// Replace, Debounce or Merge.
	Options []Option
}

// EnqueueBatch stores the jobs of a sequence, of any kinds and of any number,
// as one batch and returns its id. They are stored 1000 to a commit, in
// constant memory, and run while the rest is being stored. When it returns
// nil, all of them are on disk, and from then on the batch ends when its last
// item has ended: BatchPolicy.OnDone is enqueued then. nil is a good policy.
//
// A job whose kind and args equal those of an unfinished item, of this batch
// or another, is passed over and counted as Skipped.
//
// Until EnqueueBatch returns nil the batch may be taken back: if an item
// cannot be stored, ctx ends, items panics or the process dies, what has not
// run of the batch is cancelled, the reason says why, and OnDone is not
// enqueued. Errors are those of Enqueue, and ErrCancelled if somebody has
// cancelled the batch meanwhile.
func (q *Queue) EnqueueBatch(ctx context.Context, items iter.Seq[Args], policy *BatchPolicy) (id ID, err error) {
	plan, err := q.newBatchPlan(policy)
	if err != nil {
		return 0, err
	}
	plan.flags |= batchByHand
	making := &batchMaking{plan: plan}
	making.reset()
	if err := q.submit(ctx, making, &making.ticket); err != nil {
		return 0, err
	}
	whole := false
	defer func() {
		if !whole { // also when items panics
			q.takeBack(ctx, making.id, err)
		}
	}()
	g := &gathering{q: q, ctx: ctx, options: plan.options, portion: portion{batch: making.id}}
	for args := range items {
		if err := g.add(args); err != nil {
			return 0, fmt.Errorf("%w (batch %d was taken back)", err, making.id)
		}
	}
	if err := g.send(true); err != nil {
		return 0, fmt.Errorf("%w (batch %d was taken back)", err, making.id)
	}
	whole = true
	return ID(making.id), nil
}

// CancelBatch cancels a batch: no item of it starts any more, the planner
// stops, those that wait become dead with the reason "cancelled by …", and the
// contexts of those that run end with the cause ErrCancelled. The batch is
// marked in one transaction; its items follow 500 to a transaction before
// CancelBatch returns, or when their turn to run comes, should it not get so
// far. When all have ended the batch ends, with its OnDone job, and
// BatchInfo.CancelledBy is by; a batch that EnqueueBatch is still storing ends
// without one. For a batch that has ended nothing is to be done. ErrNotFound
// if there is no such batch.
func (q *Queue) CancelBatch(ctx context.Context, id ID, by string) error {
	return q.cancelBatch(ctx, &batchCancel{id: uint64(id), by: cut(cmp.Or(by, "somebody"), maxNameSize)})
}

// batchPlan is what a BatchPolicy comes to.
type batchPlan struct {
	name    string
	flags   batchFlags
	onDone  *onDone // without queue and priority
	options []Option
}

func (q *Queue) newBatchPlan(policy *BatchPolicy) (*batchPlan, error) {
	if policy == nil {
		return &batchPlan{}, nil
	}
	plan := &batchPlan{name: cut(policy.Name, maxNameSize), options: policy.Options}
	if policy.Repeat {
		plan.flags |= batchRepeats
	}
	job := NewJob{Queue: defaultQueue, Priority: defaultPriority}
	for _, opt := range policy.Options {
		opt(&job)
	}
	if u := job.unique; u != nil && u.folds > 0 {
		job.complain("Replace, Debounce and Merge make no sense for the items of a batch; leave them out")
	}
	if err := job.check(); err != nil {
		return nil, fmt.Errorf("BatchPolicy.Options: %w", err)
	}
	if policy.OnDone == nil {
		return plan, nil
	}
	p := &pending{}
	err := q.withPolicy(p, policy.OnDone, nil)
	if err == nil {
		err = q.prepare(p)
	}
	if err != nil {
		return nil, fmt.Errorf("BatchPolicy.OnDone: %w", err)
	}
	plan.onDone = &onDone{kind: p.rec.kind, args: p.rec.args}
	return plan, nil
}

// makeBatch writes a new batch. One that a planner makes has its id.
func (t *txn) makeBatch(id uint64, plan *batchPlan, o *origin) error {
	made := &batchMade{name: plan.name, origin: o}
	if d := plan.onDone; d != nil {
		r := record{kind: d.kind}
		t.q.policyOf(&r)
		args := t.vault.encrypt(bucketBatches, appendBatch(nil, id, batchMadeOf), d.args)
		made.onDone = &onDone{kind: d.kind, queue: r.queue, priority: r.priority, args: args}
	}
	t.rememberBatch(id, &batchRow{id: id, flags: plan.flags, started: t.now, dirty: true})
	return t.putSealed(bucketBatches, appendBatch(t.key[:0], id, batchMadeOf), made.encode())
}

// batchMaking is the change that makes a batch without a planner.
type batchMaking struct {
	ticket
	plan *batchPlan
	id   uint64
}

func (ch *batchMaking) apply(t *txn) error {
	ch.id = t.newID()
	return t.makeBatch(ch.id, ch.plan, nil)
}

// takeBack cancels what an EnqueueBatch that failed has stored. Where that
// fails too, the next Open does it.
func (q *Queue) takeBack(ctx context.Context, id uint64, err error) {
	by := "EnqueueBatch, whose items did not come to their end"
	if err != nil {
		by = cut("EnqueueBatch, which failed: "+err.Error(), maxBatchError)
	}
	if err := q.cancelBatch(context.WithoutCancel(ctx), &batchCancel{id: id, by: by, takenBack: true}); err != nil {
		q.log.Warn("stint: a batch that could not be stored as a whole will be cancelled by the next Open", "batch_id", id, "error", err)
	}
}

// batchCancel is the change that marks a batch as cancelled.
type batchCancel struct {
	ticket
	id        uint64
	by        string
	takenBack bool

	open bool // it has not ended
}

func (q *Queue) cancelBatch(ctx context.Context, ch *batchCancel) error {
	ch.reset()
	if err := q.submit(ctx, ch, &ch.ticket); err != nil {
		return err
	}
	if !ch.open {
		return nil
	}
	_, err := q.actAll(ctx, Filter{Batch: ID(ch.id)}, cancelVerb, ch.by)
	return err
}

func (ch *batchCancel) apply(t *txn) error {
	row := t.batch(ch.id)
	if row == nil {
		return fmt.Errorf("%w: batch %d", ErrNotFound, ch.id)
	}
	if row.ended == 0 && !row.is(batchCancelled) {
		if err := t.cancelBatch(row, ch.by, ch.takenBack); err != nil {
			return undo{err}
		}
	}
	ch.open = row.ended == 0
	return nil
}

// cancelBatch marks a batch, seals it and stops its planner.
func (t *txn) cancelBatch(row *batchRow, by string, takenBack bool) error {
	row.dirty = true
	row.flags |= batchCancelled
	if takenBack || row.is(batchByHand) && !row.sealed() {
		row.flags |= batchTakenBack
	}
	if !row.sealed() {
		row.planned = t.now
	}
	t.batchNotes(row).cancelledBy = by
	if err := t.putBatchNotes(row); err != nil {
		return err
	}
	if j, err := t.find(row.id); err == nil {
		stop := &action{verb: cancelVerb, word: by}
		if err := stop.stop(t, j); err != nil && !errors.Is(err, errPassed) && !errors.Is(err, ErrWrongKey) {
			return err
		}
	}
	return t.endBatch(row)
}

// doomed says whether the items of a batch must not start any more.
func (t *txn) doomed(batch uint64) bool {
	row := t.batch(batch)
	return row != nil && row.is(batchCancelled) && row.ended == 0
}

// buryDoomed ends an item of a cancelled batch instead of letting it start.
func (t *txn) buryDoomed(id, batch uint64) error {
	j, err := t.find(id)
	if err != nil {
		return err
	}
	if j.rec.reason = "cancelled with its batch"; !j.rec.locked() {
		j.rec.reason = "cancelled by " + t.batchNotes(t.batch(batch)).cancelledBy
	}
	j.row.cancelled++
	return t.bury(j)
}
