package stint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// The insert gate: how a job gets into the file.
//
//  1. prepare turns args and options into an encoded record, encrypted if the
//     file is, in the caller's goroutine, so that the committer only has to put
//     it.
//  2. insertion carries one or many of them to the committer.
//  3. insert gives the job its id, takes its unique place, and writes record,
//     index and expiry in the transaction.

// pending is a job on its way into the file.
type pending struct {
	job  NewJob
	rec  record
	at   int64  // when a delayed job is due
	args []byte // as JSON
	buf  []byte // the record
	body uint32 // checksum of buf without the id
	id   uint64 // given by insert
	sure bool   // not bounded by Config.MaxJobs: the queue itself enqueues it

	batch uint64 // of an item
	bad   error  // why its batch goes on without it
}

// insertAll takes jobs through middleware and preparation to the committer.
func (q *Queue) insertAll(ctx context.Context, ins *insertion) error {
	if len(q.cfg.EnqueueMiddleware) == 0 || len(ins.jobs) == 0 {
		return q.storeAll(ctx, ins)
	}
	jobs := make([]*NewJob, len(ins.jobs))
	for i := range jobs {
		jobs[i] = &ins.jobs[i].job
	}
	return enqueueVia(q.cfg.EnqueueMiddleware, ctx, jobs, func(ctx context.Context) error { return q.storeAll(ctx, ins) })
}

// storeAll prepares jobs and waits for their commit.
func (q *Queue) storeAll(ctx context.Context, ins *insertion) error {
	size, err := ins.prepare(q)
	if err != nil {
		return err
	}
	if ins.state.Load() == ticketWaiting {
		ins.size = size
		return q.submit(ctx, ins, &ins.ticket)
	}
	// Middleware tries again; the committer may still hold what was left.
	again := &insertion{jobs: ins.jobs, skipDups: ins.skipDups, size: size, portion: ins.portion}
	again.reset()
	ins.doubled = true
	err = q.submit(ctx, again, &again.ticket)
	ins.stored = again.stored
	if again.state.Load() == ticketLeft {
		ins.state.Store(ticketLeft) // they share their jobs
	}
	return err
}

// prepare fills in defaults, checks, and encodes.
func (q *Queue) prepare(p *pending) error {
	job := &p.job
	if isNil(job.Args) {
		return errNilArgs // middleware has taken them away
	}
	kind := job.Args.Kind()
	if err := checkName("kind", kind); err != nil {
		return fmt.Errorf("%w: %T: %w", ErrBadArgs, job.Args, err)
	}
	if err := job.check(); err != nil {
		return err
	}
	args, err := appendArgs(p.args[:0], job.Args)
	if err != nil {
		return err
	}
	p.args = args
	if len(args) > q.cfg.MaxArgsSize {
		return fmt.Errorf("%w: those of this %s are %d bytes of JSON, the limit is %d; store the data elsewhere and enqueue where it is, or raise Config.MaxArgsSize", ErrArgsTooLarge, kind, len(args), q.cfg.MaxArgsSize)
	}

	now := time.Now()
	p.rec = record{
		state:       Ready,
		priority:    uint8(job.Priority),
		created:     micros(now),
		queue:       job.Queue,
		kind:        kind,
		args:        args,
		tags:        job.Tags,
		maxAttempts: uint32(min(job.MaxAttempts, math.MaxInt32)),
	}
	if p.batch != 0 {
		p.rec.batch, p.rec.role = p.batch, batchItem
	} else if strings.HasPrefix(kind, planPrefix) {
		p.rec.role = q.roleOf(kind)
	}
	runAt := job.RunAt
	if job.unique != nil && job.unique.debounce {
		runAt = now.Add(job.unique.quiet)
	}
	if p.at = 0; runAt.After(now) {
		p.at = micros(runAt)
		p.rec.state, p.rec.runAt = Scheduled, p.at
	}
	if job.expiresIn > 0 {
		p.rec.expires = micros(now.Add(job.expiresIn))
	}
	if u := job.unique; u != nil {
		p.rec.place = q.vault.hidePlace(u.place(kind, args))
		switch {
		case u.waiting:
			p.rec.placeMode = whileWaiting
		case u.period > 0:
			p.rec.placeMode, p.rec.placeUntil = forPeriod, micros(now.Add(u.period))
		}
	}
	p.encode(q.vault)
	return nil
}

func (p *pending) encode(v *vault) {
	p.buf = p.rec.appendTo(p.buf[:0], v)
	p.body = bodySum(p.buf)
}

// withPolicy gives a new job the queue and priority of its kind.
func (q *Queue) withPolicy(p *pending, args Args, opts []Option) error {
	if isNil(args) {
		return errNilArgs
	}
	p.id, p.batch, p.job = 0, 0, NewJob{Args: args, Queue: defaultQueue, Priority: defaultPriority}
	if h := q.handlerOf(args.Kind()); h != nil {
		p.job.Queue, p.job.Priority = h.policy.Queue, h.policy.Priority
	}
	for _, opt := range opts {
		opt(&p.job)
	}
	return nil
}

// insert writes one job, or folds it into the one that holds its place; then
// p.id is that one's. Before it has written anything it may refuse with
// ErrDuplicate, where p.id is the holder too, with ErrQueueFull, or because the
// args of the two do not merge.
func (t *txn) insert(p *pending) error {
	if p.rec.place != nil {
		if holder := t.holder(p.rec.place); holder != 0 {
			if free, err := t.fold(p, holder); err != nil || !free {
				return err
			}
		}
	}
	if !p.sure && t.q.unfinished.Load()+int64(t.unfinished) >= int64(t.q.cfg.MaxJobs) {
		return fmt.Errorf("%w: %d unfinished jobs are stored; let workers catch up or raise Config.MaxJobs", ErrQueueFull, t.q.cfg.MaxJobs)
	}
	row, err := t.row(p.rec.key())
	if err != nil {
		return err
	}
	p.id = t.newID()
	if p.rec.place != nil {
		if err := t.takePlace(p.id, &p.rec); err != nil {
			return err
		}
	}
	if p.rec.expires != 0 {
		t.dueAt(p.rec.expires)
		if err := t.put(bucketDue, appendDue(t.key[:0], p.rec.expires, p.id, dueExpiry), nil); err != nil {
			return err
		}
	}
	sealRecord(p.buf, p.body, p.id)
	if err := t.put(bucketJobs, appendID(t.key[:0], p.id), p.buf); err != nil {
		return err
	}
	if p.rec.role == batchPlanner {
		if err := t.makeBatch(p.id, t.q.handlerOf(p.rec.kind).plan, p.rec.origin); err != nil {
			return err
		}
	}
	j := stored{id: p.id, row: row}
	return t.move(&j, p.rec.state, p.at)
}

// insertion is the change that stores jobs: all of them or none.
type insertion struct {
	ticket
	jobs     []pending
	skipDups bool // EnqueueSeq passes over duplicates
	stored   int
	size     int      // bytes of all records
	doubled  bool     // another one has its jobs
	portion  *portion // of a batch, or nil
}

// prepare prepares its jobs and adds up their sizes.
func (ins *insertion) prepare(q *Queue) (size int, err error) {
	for i := range ins.jobs {
		p := &ins.jobs[i]
		if ins.portion != nil && ins.portion.planner {
			if p.bad = q.tryPrepare(p); p.bad != nil {
				continue
			}
		} else if err := q.prepare(p); err != nil {
			if len(ins.jobs) > 1 {
				err = fmt.Errorf("%w (args %d of %d; nothing of this group was stored)", err, i, len(ins.jobs))
			}
			return 0, err
		}
		size += len(p.buf)
	}
	return size, nil
}

// tryPrepare is prepare for one item of many: args that panic while they are
// written do not spoil the others.
func (q *Queue) tryPrepare(p *pending) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("%w: %T cannot be written as JSON: %w", ErrBadArgs, p.job.Args, panicError(value))
		}
	}()
	return q.prepare(p)
}

func (ins *insertion) apply(t *txn) error {
	if ins.portion != nil {
		return ins.portion.apply(t, ins.jobs)
	}
	ins.stored = 0
	for i := range ins.jobs {
		err := t.insert(&ins.jobs[i])
		switch {
		case err == nil:
			ins.stored++
		case ins.skipDups && errors.Is(err, ErrDuplicate):
		case len(ins.jobs) == 1:
			return err
		default:
			return undo{fmt.Errorf("%w (args %d of %d; nothing was stored)", err, i, len(ins.jobs))}
		}
	}
	return nil
}

// newInsertion takes one from the pool, with room for n jobs.
func (q *Queue) newInsertion(n int) *insertion {
	ins, _ := q.insertions.Get().(*insertion)
	if ins == nil {
		ins = &insertion{}
	}
	ins.reset()
	ins.skipDups, ins.stored, ins.size, ins.portion = false, 0, 0, nil
	if cap(ins.jobs) < n {
		ins.jobs = make([]pending, n)
	}
	ins.jobs = ins.jobs[:n]
	return ins
}

// recycle gives it back. Not for one that was dropped or used in a foreign
// transaction: bbolt holds its buffers until that transaction ends.
func (q *Queue) recycle(ins *insertion) {
	if ins.state.Load() == ticketLeft {
		return // the inbox still has it, though middleware may hide that
	}
	const maxKept = 16 << 10
	if ins.doubled {
		return
	}
	for i := range ins.jobs {
		p := &ins.jobs[i]
		p.job, p.rec, p.bad = NewJob{}, record{}, nil
		if max(cap(p.args), cap(p.buf)) > maxKept {
			p.args, p.buf = nil, nil
		}
	}
	q.insertions.Put(ins)
}

var errNilArgs = fmt.Errorf("%w: they are nil", ErrBadArgs)

// isNil also finds a nil pointer, on which Kind could panic.
func isNil(args Args) bool {
	v := reflect.ValueOf(args)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}
