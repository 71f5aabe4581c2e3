package stint

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"
)

// outlook is what memory, as of the last commit, says of the chances of a job.
type outlook struct {
	failure           error
	working, stopping bool

	handler *handler // of its kind, or nil
	pause   pauseState
	limited bool // its queue has a limit of its own
	limit   int
	workers int
	perJob  time.Duration // from one end of a job of the queue to the next, 0 if not known

	live                  map[uint64]*execution
	busy, ofQueue, ofKind int // jobs that have workers: all, of its queue, of its kind
	crowd                 int // all that are not stuck

	suspects    map[uint64]laneKey
	alone       *execution // the suspect that runs
	nextSuspect uint64     // the one to be claimed next, 0 for none
}

// outlook is a copy of what is published.
func (q *Queue) outlook(rec *record) outlook {
	o := outlook{failure: q.commit.failure()}
	q.mu.RLock()
	o.working = q.runner != nil
	o.stopping = o.working && (q.ending.Load() || q.closing)
	o.handler, o.workers = q.handlers[rec.kind], q.commit.workers
	o.live, o.suspects = maps.Clone(q.live), maps.Clone(q.suspects)
	for _, qs := range q.commit.queues {
		if qs.name == rec.queue {
			o.pause, o.limited, o.limit, o.perJob = qs.pause, qs.limited.Load(), qs.limit, qs.pace.perJob()
		}
	}
	paused := map[string]bool{}
	if len(o.suspects) > 0 {
		for _, qs := range q.commit.queues {
			paused[qs.name] = qs.pause.since != 0
		}
	}
	q.mu.RUnlock()

	perKind := o.count(rec)
	for id, key := range o.suspects {
		h := q.handlerOf(key.kind)
		may := h != nil && (h.policy.Concurrency == 0 || perKind[key.kind] < h.policy.Concurrency)
		if o.live[id] == nil && may && !paused[key.queue] && (o.nextSuspect == 0 || id < o.nextSuspect) {
			o.nextSuspect = id
		}
	}
	return o
}

// count counts the jobs at work, without those that were given back while
// their handlers went on: no worker of this Run has them.
func (o *outlook) count(rec *record) (perKind map[string]int) {
	perKind = map[string]int{}
	for id, e := range o.live {
		if e.isForfeited() {
			continue
		}
		o.busy++
		perKind[e.lane.key.kind]++
		if e.lane.key.queue == rec.queue {
			o.ofQueue++
		}
		if e.stuck.Load() {
			continue
		}
		o.crowd++
		if _, is := o.suspects[id]; is {
			o.alone = e
		}
	}
	o.ofKind = perKind[rec.kind]
	return perKind
}

// delayOf is when the time of a job comes that waits for it, or zero.
func (r *reader) delayOf(id uint64, rec *record) time.Time {
	if rec.state != Scheduled && rec.state != Retrying || r.bucket(bucketDue).Get(appendDue(nil, rec.runAt, id, dueDelay)) == nil {
		return time.Time{}
	}
	return fromMicros(rec.runAt)
}

// running are the jobs that the file has as claimed, and whether a job is one
// of them.
func (r *reader) running(id uint64) (ids []uint64, is bool) {
	_, ids, _, _ = decodeRunning(sealedIn(r.bucket(bucketMeta), keyRunning))
	return ids, slices.Contains(ids, id)
}

// ahead counts the ready jobs of its queue that come before a job. taken,
// ascending, are those of the index that do not wait any more.
func (r *reader) ahead(rec *record, id uint64, taken []uint64) (n int) {
	prefix := append([]byte(rec.queue), 0)
	cur := r.bucket(bucketLanes).Cursor()
	for k, v := cur.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		key, ok := parseLaneKey(k)
		if !ok || key.priority > rec.priority {
			break // they are in this order
		}
		if r.q.handlerOf(key.kind) == nil {
			continue
		}
		end := uint64(math.MaxUint64)
		if key.priority == rec.priority {
			end = id
		}
		row := &laneRow{}
		row.decode(v)
		n += r.countReady(row.id, end, taken)
	}
	return n
}

// countReady counts the ready jobs of a lane below the id end.
func (r *reader) countReady(lane uint32, end uint64, taken []uint64) (n int) {
	cur := r.bucket(bucketReady).Cursor()
	k, v := cur.Seek(appendBlock(nil, lane, 0))
	for ; len(k) == 12 && len(v) == 8 && binary.BigEndian.Uint32(k) == lane; k, v = cur.Next() {
		number, set := keyID(k[4:]), binary.BigEndian.Uint64(v)
		if number > end/64 {
			break
		}
		if number == end/64 {
			set &= 1<<(end%64) - 1
		}
		i, _ := slices.BinarySearch(taken, number*64)
		for ; i < len(taken) && taken[i]/64 == number; i++ {
			set &^= 1 << (taken[i] % 64)
		}
		n += bits.OnesCount64(set)
	}
	return n
}
