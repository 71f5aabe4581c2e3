package stint

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Filter selects jobs. Each field that is set narrows the selection.
type Filter struct {
	State State
	Queue string
	Kind  string
	Tag   string
	Batch ID // the items of a batch, by id whatever State is

	// IDs are the jobs themselves, if it is not nil: at most 10,000, or the
	// answer is ErrBadFilter. They come in this order, whatever OldestFirst is;
	// those that are not stored, or do not match the rest, are passed over. An
	// empty IDs that is not nil selects none.
	IDs []ID

	// OldestFirst turns the order round. Jobs of one state that has times
	// (Scheduled, Retrying, Completed, Dead) are ordered by theirs, others by
	// id.
	OldestFirst bool

	// After continues a listing behind the job with this Info.Cursor. The
	// other fields must be those of the first listing.
	After string

	// Limit ends the listing after so many jobs; 0 is no limit.
	Limit int
}

// Get describes one job, or answers ErrNotFound.
func (q *Queue) Get(id ID) (Info, error) {
	var info Info
	err := q.store.view(func(tx *bolt.Tx) error {
		var err error
		info, err = newReader(q, tx).info(uint64(id))
		return err
	})
	return info, q.readError(err)
}

// Jobs lists the jobs that match the filter, newest first unless it says
// otherwise. It reads pages of 100 in short transactions, so the loop may take
// its time and change jobs; one that moves meanwhile may be missed or seen
// twice. An error ends the listing.
func (q *Queue) Jobs(f Filter) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		left := f.Limit
		if left <= 0 {
			left = math.MaxInt
		}
		for {
			page, next, err := q.page(f)
			if err != nil {
				yield(Info{}, err)
				return
			}
			for _, info := range page {
				if left--; !yield(info, nil) || left == 0 {
					return
				}
			}
			if next == "" {
				return
			}
			f.After = next
		}
	}
}

const (
	pageSize     = 100     // jobs of a page
	pageBytes    = 8 << 20 // of their args, results and checkpoints, but for the last one's
	pageScan     = 2000    // jobs a page looks at
	maxFilterIDs = 10_000  // of Filter.IDs
)

// page reads one page, and where the next one begins, or "".
func (q *Queue) page(f Filter) (page []Info, next string, err error) {
	if f.State > Dead {
		return nil, "", fmt.Errorf("%w: there is no State %d", ErrBadFilter, f.State)
	}
	after, err := hex.DecodeString(f.After)
	if err != nil || len(after) != 0 && len(after) != f.cursorSize() {
		return nil, "", fmt.Errorf("%w: After %q is no Cursor of an Info of the same listing", ErrBadFilter, f.After)
	}
	if len(f.IDs) > maxFilterIDs {
		return nil, "", fmt.Errorf("%w: %d IDs, at most %d are possible; list some at a time", ErrBadFilter, len(f.IDs), maxFilterIDs)
	}
	err = q.store.view(func(tx *bolt.Tx) error {
		r := newReader(q, tx)
		seen, size, full := 0, 0, false
		r.walk(f, after, func(cursor []byte, id uint64) bool {
			if seen++; seen > pageScan || len(page) == pageSize || size > pageBytes {
				full = true
				return false
			}
			next = hex.EncodeToString(cursor)
			if info, err := r.info(id); err == nil && f.matches(&info) {
				info.Cursor = next
				page = append(page, info)
				size += len(info.Args) + len(info.Result) + len(info.Checkpoint)
			}
			return true
		})
		if !full {
			next = ""
		}
		return nil
	})
	return page, next, q.readError(err)
}

// cursorSize is the length of the keys that a listing walks.
func (f *Filter) cursorSize() int {
	switch {
	case f.IDs != nil || f.Batch != 0:
		return 8
	case f.State == Scheduled || f.State == Retrying:
		return 17
	case f.State == Completed || f.State == Dead:
		return 16
	}
	return 8
}

func (f *Filter) matches(info *Info) bool {
	return (f.State == 0 || info.State == f.State) &&
		(f.Queue == "" || info.Queue == f.Queue) &&
		(f.Kind == "" || info.Kind == f.Kind) &&
		(f.Batch == 0 || info.BatchID == f.Batch) &&
		(f.Tag == "" || slices.Contains(info.Tags, f.Tag))
}

// readError gives an error of a read its meaning.
func (q *Queue) readError(err error) error {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoSchedule) || errors.Is(err, ErrBadFilter) || errors.Is(err, ErrWrongKey) || errors.Is(err, errBadRecord) {
		return err
	}
	if meant := storeError(err); fatal(meant) {
		return meant
	}
	return fmt.Errorf("stint: reading the file failed: %w", err)
}

// liveJob is the attempt of a running job, as of the last commit, or nil.
func (q *Queue) liveJob(id uint64) *execution {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.live[id]
}

func (q *Queue) laneKeyOf(id uint32) (laneKey, bool) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	key, ok := q.laneKeys[id]
	return key, ok
}

// reader is a read transaction.
type reader struct {
	q    *Queue
	root *bolt.Bucket
}

func newReader(q *Queue, tx *bolt.Tx) *reader { return &reader{q: q, root: tx.Bucket(rootBucket)} }

func (r *reader) bucket(name bucketName) *bolt.Bucket { return r.root.Bucket(bucketNames[name]) }

func (r *reader) record(id uint64) (*record, error) {
	raw := r.bucket(bucketJobs).Get(appendID(nil, id))
	if raw == nil {
		return nil, fmt.Errorf("%w: %d", ErrNotFound, id)
	}
	rec := &record{}
	if err := r.q.vault.read(rec, id, bytes.Clone(raw)); err != nil {
		return nil, fmt.Errorf("job %d: %w", id, err)
	}
	return rec, nil
}

// info describes a job with the state its index entry stands for.
func (r *reader) info(id uint64) (Info, error) {
	rec, err := r.record(id)
	if err != nil {
		return Info{}, err
	}
	j := stored{id: id, rec: rec, state: rec.state}
	if j.state == Scheduled || j.state == Retrying {
		if r.bucket(bucketDue).Get(appendDue(nil, rec.runAt, id, dueDelay)) == nil {
			j.state = Ready
		}
	}
	var e *execution
	if j.state == Ready {
		if e = r.q.liveJob(id); e != nil {
			j.state = Running
		}
	}
	info := j.info()
	switch {
	case e != nil:
		info.StartedAt, info.Stuck = e.startedAt(), e.stuck.Load()
		e.describe(&info)
	case j.state == Ready:
		info.Parked = r.q.handlerOf(rec.kind) == nil
	}
	return info, nil
}

// info describes a job as far as its record goes.
func (j *stored) info() Info {
	r := j.rec
	info := Info{
		ID: ID(j.id), Kind: r.kind, Queue: r.queue, State: j.state, Priority: int(r.priority),
		Args: r.args, Tags: r.tags,
		EnqueuedAt: fromMicros(r.created), RunAt: fromMicros(r.runAt), ExpiresAt: fromMicros(r.expires), FinishedAt: fromMicros(r.finished),
		MaxAttempts: int(r.maxAttempts), Failures: int(r.failures), Snoozes: int(r.snoozes), Crashes: int(r.crashes),
		Attempts: r.attempts, Reason: r.reason, BatchID: ID(r.batch),
	}
	if o := r.origin; o != nil {
		info.Schedule, info.ScheduledFor, info.Missed = o.schedule, fromMicros(o.at), int(o.missed)
	}
	if s := r.stash; s != nil {
		s.describe(&info)
	}
	if r.locked() && (r.reason == "" || r.reason == hidden) {
		info.Reason = r.wrongKey(j.id).Error()
	}
	if failed := len(r.attempts); failed > 0 && info.Log == "" && j.state != Running && (r.state == Retrying || r.state == Dead) {
		info.Log = r.attempts[failed-1].Log
	}
	return info
}

func (s *stash) describe(info *Info) {
	for _, step := range s.steps {
		info.Steps = append(info.Steps, step.name)
	}
	if len(s.cursor) > 0 {
		info.Checkpoint = s.cursor
	}
	if len(s.result) > 0 {
		info.Result = s.result
	}
	info.Progress, info.Log = s.progress, s.log
}

// info describes a running job.
func (e *execution) info() Info {
	info := (&stored{id: e.id, rec: &e.rec, state: Running}).info()
	info.StartedAt = e.startedAt()
	return info
}
