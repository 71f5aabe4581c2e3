package stint

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Queue is a job queue in one bbolt file. All its methods may be called from
// any goroutine. The calls that change something return when the change is on
// disk.
type Queue struct {
	cfg    *Config
	log    *slog.Logger
	store  store
	vault  *vault // what encrypts, nil without Config.Keys
	commit *committer

	insertions sync.Pool           // of *insertion
	foreign    atomic.Pointer[txn] // the last transaction of a caller's
	unfinished atomic.Int64        // jobs that are not completed and not dead
	background sync.WaitGroup      // the committer and the reporter
	events     events
	waiters    waiters
	stats      stats
	history    history
	metrics    metrics
	starts     starts
	opened     time.Time
	reports    reports
	upkeep     upkeep
	closeOnce  sync.Once
	closeErr   error

	mu        sync.RWMutex
	handlers  map[string]*handler
	schedules map[string]*schedule // those this process has registered
	lanes     map[laneKey]*lane
	laneKeys  map[uint32]laneKey
	live      map[uint64]*execution // jobs at work, as of the last commit
	suspects  map[uint64]laneKey    // jobs to be run alone, as of then
	runner    *runner
	closing   bool
	closed    bool // the functions given to OnClose have been called
	closers   []func()
	ending    atomic.Bool // Run is to end: who calls Checkpoint is interrupted
}

// Open opens the queue in the file at path and makes the file, readable by
// its owner only, if there is none. nil is a good Config. Jobs that were
// running when the last process died are ready again at once.
//
// A file can be open in one process only: Open waits Config.LockTimeout for
// it and then answers ErrLocked. Other errors are ErrNotStint,
// ErrNewerFormat, ErrCorrupt and those of the operating system; none of them
// changes the file. The file must be on a local disk. Open looks at its pages,
// so that damage is an error and not a crash. Of a file with more than 64 MiB
// in use that was closed, it leaves the pages with the jobs' records for
// later: it takes some 0.01 s for a million waiting jobs in the page cache, and
// in the minutes that follow, ErrCorrupt can still stop the queue. After a
// crash it takes some 0.3 s for a million.
func Open(path string, cfg *Config) (*Queue, error) {
	checked, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	file, _, err := openFile(path, checked, func(db *bolt.DB) error {
		return db.Update(func(tx *bolt.Tx) error { return createBuckets(tx, checked.Keys) })
	})
	if err != nil {
		return nil, err
	}
	q, err := newQueue(file, checked)
	if err != nil {
		_ = file.close()
		return nil, err
	}
	q.compactAtOpen()
	return q, nil
}

// New keeps the queue in a bucket "stint" of the application's own database,
// so that jobs and data share transactions; see EnqueueTx, Work.Commit and
// Work.CompleteTx. Close then leaves the database open. Open it with a
// Timeout and with FreelistType: FreelistMapType, and never with NoSync. Only
// one Queue may use a database at a time.
func New(db *bolt.DB, cfg *Config) (*Queue, error) {
	checked, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return newQueue(&openedFile{db: db}, checked)
}

func newQueue(file *openedFile, cfg *Config) (*Queue, error) {
	q := &Queue{
		cfg:       cfg,
		log:       cfg.Logger,
		handlers:  map[string]*handler{},
		schedules: map[string]*schedule{},
		lanes:     map[laneKey]*lane{},
		laneKeys:  map[uint32]laneKey{},
		live:      map[uint64]*execution{},
		upkeep:    newUpkeep(),
		opened:    time.Now(),
	}
	q.store.take(file, cfg)
	q.commit = newCommitter(q)
	if err := q.upgrade(); err != nil {
		return nil, err
	}
	if err := q.store.adopt(!q.store.owned, cfg.Keys); err != nil {
		return nil, err
	}
	if err := q.unlock(); err != nil {
		return nil, err
	}
	if err := q.loadLanes(); err != nil {
		return nil, err
	}
	if err := q.recoverOrphans(); err != nil {
		return nil, err
	}
	if err := file.countFromHere(); err != nil {
		return nil, err
	}
	q.background.Go(q.commit.loop)
	if file.leaves.Load() != nil {
		q.background.Go(func() { q.checkLeaves(file) })
	}
	return q, nil
}

// loadLanes reads the counts, and who paused which queue. It never reads
// jobs.
func (q *Queue) loadLanes() error {
	t := &txn{}
	err := q.store.view(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		t.id = q.store.txid(tx)
		if err := checkSealed(root); err != nil {
			return fmt.Errorf("%w; restore a backup of %s", err, tx.DB().Path())
		}
		last := root.Bucket(bucketNames[bucketLanes]).Sequence()
		err := root.Bucket(bucketNames[bucketLanes]).ForEach(func(k, v []byte) error {
			key, ok := parseLaneKey(k)
			row := &laneRow{key: key}
			row.decode(v)
			if !ok || uint64(row.id) > last || row.id == 0 || key.priority < 1 || key.priority > priorities {
				return fmt.Errorf("%w: an entry of its bucket %q makes no sense; restore a backup", ErrCorrupt, bucketNames[bucketLanes])
			}
			t.rows = append(t.rows, row)
			t.unfinished += int(row.n[Ready] + row.n[Scheduled] + row.n[Retrying])
			return nil
		})
		if err != nil {
			return err
		}
		t.quarantined = countEntries(root.Bucket(bucketNames[bucketQuarantine]))
		q.starts.last = lastStart(root.Bucket(bucketNames[bucketStarts]))
		return root.Bucket(bucketNames[bucketQueues]).ForEach(func(k, v []byte) error {
			value, _ := openValue(k, v)
			t.paused = append(t.paused, queuePause{string(k), decodePause(value)})
			return nil
		})
	})
	if err == nil {
		q.commit.learn(t, func() {})
	}
	return err
}

// Close lets Run end as if its context had, waits for it, records what is
// finished, and closes the file. It returns an error that names the jobs
// whose completion could not be recorded: they will run again. A second Close
// does nothing and returns the same. A handler should not call it: Close
// waits for the handler, until Config.ShutdownTimeout ends that. Nor should a
// transaction of the same database, which would keep Close from writing.
func (q *Queue) Close() error {
	q.closeOnce.Do(func() {
		q.mu.Lock()
		q.closing = true
		r := q.runner
		q.mu.Unlock()
		q.upkeep.close()
		if r != nil {
			close(r.stop)
			<-r.gone
		}
		q.commit.close()
		q.background.Wait()
		q.events.close()
		q.waiters.close(errWaitClosed)
		failure := q.commit.failure()
		var hooks error
		defer func() { // also when one of them calls runtime.Goexit
			q.closeErr = errors.Join(q.lostJobs(), hooks, q.store.close(failure == nil, q.commit.writeLast()), failure)
		}()
		hooks = q.callClosers()
	})
	return q.closeErr
}

// DB is the database of the queue. Closing it is Close's business. The pointer
// is good until the next Compact of a file that Open opened: then its write
// transactions fail, and EnqueueTx refuses them. View and Update have no such
// end. With New it is the application's database for ever.
func (q *Queue) DB() *bolt.DB { return q.store.db() }

// Enqueue stores a job and returns its id. When it returns nil the job is on
// disk. When ctx ends before the job is being written, nothing is stored.
//
// It refuses with ErrDuplicate (then the id is that of the job in the place),
// ErrBadArgs, ErrArgsTooLarge, ErrBadOption, ErrQueueFull, ErrFileFull and
// ErrClosed. After ErrSyncFailed the job may be stored or not. Any other
// error says that the file could not be written, and nothing was stored.
//
// Inside a transaction of the same database it would wait for the lock that
// its caller holds, until ctx ends: call EnqueueTx there.
func (q *Queue) Enqueue(ctx context.Context, args Args, opts ...Option) (ID, error) {
	ins := q.newInsertion(1)
	if err := q.withPolicy(&ins.jobs[0], args, opts); err != nil {
		return 0, err
	}
	err := q.insertAll(ctx, ins)
	id := ID(ins.jobs[0].id)
	if err != nil && !errors.Is(err, ErrDuplicate) {
		return 0, err
	}
	q.recycle(ins)
	return id, err
}

// EnqueueAll stores all jobs in one commit, or none. The ids are in the order
// of args. The options hold for each of them. An error says which args it is
// about.
func (q *Queue) EnqueueAll(ctx context.Context, args []Args, opts ...Option) ([]ID, error) {
	if len(args) == 0 {
		return nil, nil
	}
	if len(args) > q.cfg.MaxJobs {
		return nil, fmt.Errorf("%w: %d jobs at once can never fit into Config.MaxJobs of %d; enqueue fewer at a time", ErrQueueFull, len(args), q.cfg.MaxJobs)
	}
	ins := q.newInsertion(len(args))
	for i, a := range args {
		if err := q.withPolicy(&ins.jobs[i], a, opts); err != nil {
			return nil, fmt.Errorf("%w (args %d of %d; nothing was stored)", err, i, len(args))
		}
	}
	if err := q.insertAll(ctx, ins); err != nil {
		return nil, err
	}
	ids := make([]ID, len(args))
	for i := range ids {
		ids[i] = ID(ins.jobs[i].id)
	}
	q.recycle(ins)
	return ids, nil
}

// seqGroup is how many jobs of EnqueueSeq share a commit.
const seqGroup = 1000

// EnqueueSeq stores the jobs of a sequence of any length, 1000 to a commit
// and in constant memory, and returns how many. Jobs that a Unique option
// finds to be there already are passed over. On an error, the groups before
// it are stored and counted.
func (q *Queue) EnqueueSeq(ctx context.Context, args iter.Seq[Args], opts ...Option) (int, error) {
	stored := 0
	ins := q.newInsertion(seqGroup)
	n := 0
	send := func() error {
		ins.jobs, ins.skipDups = ins.jobs[:n], true
		n = 0
		if err := q.insertAll(ctx, ins); err != nil {
			return fmt.Errorf("%w (%d jobs were stored before)", err, stored)
		}
		stored += ins.stored
		q.recycle(ins)
		ins = q.newInsertion(seqGroup)
		return nil
	}
	for a := range args {
		if err := q.withPolicy(&ins.jobs[n], a, opts); err != nil {
			return stored, fmt.Errorf("%w (%d jobs were stored before)", err, stored)
		}
		if n++; n == seqGroup {
			if err := send(); err != nil {
				return stored, err
			}
		}
	}
	if n == 0 {
		return stored, nil
	}
	err := send()
	return stored, err
}

// EnqueueTx stores a job in the caller's own transaction, which must be a
// writable one of the queue's database: the job exists if and when that
// commits, and workers wake up by themselves then. Errors are those of
// Enqueue; the caller decides whether one of them undoes the transaction. A
// function given to tx.OnCommit before must not panic: bbolt then calls none
// behind it, and the workers see the job only when they look into the file
// again.
func (q *Queue) EnqueueTx(tx *bolt.Tx, args Args, opts ...Option) (ID, error) {
	jobs := make([]pending, 1)
	p := &jobs[0]
	if err := q.withPolicy(p, args, opts); err != nil {
		return 0, err
	}
	err := enqueueVia(q.cfg.EnqueueMiddleware, context.Background(), []*NewJob{&p.job}, func(context.Context) error {
		p.buf = nil // bbolt holds that of an earlier try until the commit
		if err := q.prepare(p); err != nil {
			return err
		}
		return q.inTx(tx, func(t *txn) error { return t.insert(p) }, nil)
	})
	if err != nil && !errors.Is(err, ErrDuplicate) {
		return 0, err
	}
	return ID(p.id), err
}

// inTx runs fn in a transaction that is not, or not only, the committer's:
// the caller's own, or the one a function of Commit is running in. after runs
// once the transaction is committed.
func (q *Queue) inTx(tx *bolt.Tx, fn func(*txn) error, after func()) error {
	if err := q.commit.failure(); err != nil {
		return err
	}
	if q.commit.isClosed() {
		return fmt.Errorf("%w: nothing was changed", ErrClosed)
	}
	if tx == nil || tx.DB() != q.store.db() || !tx.Writable() {
		return fmt.Errorf("%w: the transaction must be a writable one of the queue's own database, see Queue.DB", ErrNotStint)
	}
	t := q.commit.group.Load()
	foreign := t == nil || t.tx != tx
	if foreign {
		var err error
		if t, err = q.foreignTxn(tx); err != nil {
			return err
		}
	}
	if err := fn(t); err != nil {
		return err
	}
	if foreign {
		if err := t.flush(); err != nil {
			return err
		}
	}
	if after != nil {
		tx.OnCommit(after)
	}
	return nil
}

// foreignTxn is the one txn of a caller's transaction: its second job counts
// the first one too.
func (q *Queue) foreignTxn(tx *bolt.Tx) (*txn, error) {
	if t := q.foreign.Load(); t != nil && t.tx == tx {
		t.now = micros(time.Now())
		return t, nil
	}
	if err := q.store.look(); err != nil {
		q.commit.post(func() { q.commit.fail(err) })
		return nil, err
	}
	t, err := q.newTxn(tx)
	if err != nil {
		return nil, err
	}
	q.store.bound(true)
	q.foreign.Store(t)
	tx.OnCommit(func() {
		q.foreign.CompareAndSwap(t, nil)
		q.commit.post(func() { q.commit.learnForeign(t) })
	})
	return t, nil
}
