package stint

import (
	"bytes"
	"encoding/binary"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Plant is a damage of each kind that Check knows.
type Plant struct {
	Name   string
	Want   string // part of what Check says
	Do     func(r *RawFile, w *World)
	Refuse bool // Open refuses the file
	Beyond bool // Repair cannot mend it
	Lost   func(w *World) []ID
}

// World is what the file has before.
type World struct {
	Ready, Ready2, Scheduled, Retrying, Completed, Dead ID
	Unique, Period, Expiring, Other                     ID
	Batch, Item, DeadItem, Ended, Run                   ID
}

// RawFile is a closed file with its buckets.
type RawFile struct{ root *bolt.Bucket }

// Raw changes a closed file behind the queue's back.
func Raw(db *bolt.DB, fn func(r *RawFile)) error {
	return db.Update(func(tx *bolt.Tx) error {
		fn(&RawFile{tx.Bucket(rootBucket)})
		return nil
	})
}

func (r *RawFile) bucket(name bucketName) *bolt.Bucket { return r.root.Bucket(bucketNames[name]) }

func (r *RawFile) put(name bucketName, key, value []byte) {
	if err := r.bucket(name).Put(key, value); err != nil {
		panic(err)
	}
}

func (r *RawFile) putSealed(name bucketName, key, value []byte) {
	r.put(name, key, sealValue(key, value))
}

func (r *RawFile) delete(name bucketName, key []byte) {
	if r.bucket(name).Get(key) == nil && !slices.ContainsFunc(r.keys(name, key), func(k []byte) bool { return bytes.Equal(k, key) }) {
		panic("there is nothing to delete")
	}
	_ = r.bucket(name).Delete(key)
}

// keys are those that begin with a prefix.
func (r *RawFile) keys(name bucketName, prefix []byte) (keys [][]byte) {
	cur := r.bucket(name).Cursor()
	for k, _ := cur.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = cur.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	return keys
}

func (r *RawFile) empty(name bucketName) {
	for _, k := range r.keys(name, nil) {
		r.delete(name, k)
	}
}

// DropRecord takes a record away and leaves its entry in the index.
func (r *RawFile) DropRecord(id ID) { r.delete(bucketJobs, appendID(nil, uint64(id))) }

// EmptyIndexes forgets which jobs are ready, and which wait for their time.
func (r *RawFile) EmptyIndexes() {
	r.empty(bucketReady)
	r.empty(bucketDue)
}

func (r *RawFile) record(id ID) *record {
	rec := &record{}
	if err := rec.decode(uint64(id), bytes.Clone(r.bucket(bucketJobs).Get(appendID(nil, uint64(id)))), laneKey{}); err != nil {
		panic(err)
	}
	return rec
}

// lane is the row of a job's lane.
func (r *RawFile) lane(id ID) (key []byte, row *laneRow) {
	row = &laneRow{key: r.record(id).key()}
	key = row.key.appendTo(nil)
	row.decode(r.bucket(bucketLanes).Get(key))
	return key, row
}

func (r *RawFile) setReady(lane uint32, id ID, on bool) {
	key, set := appendBlock(nil, lane, uint64(id)/64), uint64(0)
	if v := r.bucket(bucketReady).Get(key); v != nil {
		set = binary.BigEndian.Uint64(v)
	}
	if bit := uint64(1) << (id % 64); on {
		set |= bit
	} else {
		set &^= bit
	}
	if set == 0 {
		r.delete(bucketReady, key)
		return
	}
	r.put(bucketReady, key, binary.BigEndian.AppendUint64(nil, set))
}

func (r *RawFile) dueKey(id ID) []byte {
	return appendDue(nil, r.record(id).runAt, uint64(id), dueDelay)
}

func (r *RawFile) spoil(name bucketName, key []byte) {
	v := bytes.Clone(r.bucket(name).Get(key))
	v[len(v)-1] ^= 1
	r.put(name, key, v)
}

func (r *RawFile) batch(id ID, change func(row *batchRow)) {
	key := appendID(nil, uint64(id))
	value, _ := openValue(key, bytes.Clone(r.bucket(bucketBatches).Get(key)))
	row := &batchRow{id: uint64(id)}
	row.decode(value)
	change(row)
	r.putSealed(bucketBatches, key, row.encode())
}

func (r *RawFile) batchKeys(id ID, what byte) [][]byte {
	return r.keys(bucketBatches, appendBatch(nil, uint64(id), what))
}

func (r *RawFile) itemKey(id ID) []byte {
	rec := r.record(id)
	var keys [][]byte
	if r.bucket(bucketMeta).Get(keySecret) != nil {
		keys = [][]byte{bytes.Repeat([]byte{7}, cryptSize)} // that of all tests of encrypted files
	}
	v, _, err := openVault(r.root, keys, "")
	if err == nil {
		err = v.open(uint64(id), rec)
	}
	if err != nil {
		panic(err)
	}
	return v.appendItem(nil, rec.kind, rec.args)
}

func (r *RawFile) setRunning(ids ...ID) {
	b := []byte{0, byte(len(ids))}
	previous := ID(0)
	for _, id := range ids {
		b = binary.AppendVarint(b, int64(id-previous))
		previous = id
	}
	r.putSealed(bucketMeta, keyRunning, b)
}

const nobody = ID(40_000)

func other(is, than uint32) uint32 {
	if is == than {
		return is + 1
	}
	return than
}

// Plants are all of them.
var Plants = []Plant{
	{Name: "a ready job is in no index", Want: "is ready, but is not among the ready jobs",
		Do: func(r *RawFile, w *World) { _, row := r.lane(w.Ready); r.setReady(row.id, w.Ready, false) }},
	{Name: "the ready index is empty", Want: "is ready, but is not among the ready jobs",
		Do: func(r *RawFile, w *World) { r.empty(bucketReady) }},
	{Name: "the ready index has a job that is not stored", Want: "is not stored",
		Do: func(r *RawFile, w *World) { _, row := r.lane(w.Ready); r.setReady(row.id, nobody, true) }},
	{Name: "a dead job is among the ready ones", Want: "is dead, but is among the ready jobs too",
		Do: func(r *RawFile, w *World) { _, row := r.lane(w.Dead); r.setReady(row.id, w.Dead, true) }},
	{Name: "a scheduled job is among the ready ones", Want: "is scheduled, but is among the ready jobs too",
		Do: func(r *RawFile, w *World) { _, row := r.lane(w.Scheduled); r.setReady(row.id, w.Scheduled, true) }},
	{Name: "a ready job is in another lane too", Want: "of another queue, kind or priority",
		Do: func(r *RawFile, w *World) { _, row := r.lane(w.Other); r.setReady(row.id, w.Ready, true) }},
	{Name: "the ready index knows a lane that does not exist", Want: "of another queue, kind or priority",
		Do: func(r *RawFile, w *World) { r.setReady(4711, w.Ready, true) }},
	{Name: "an entry of the ready index is too short", Want: "names none",
		Do: func(r *RawFile, w *World) { r.put(bucketReady, appendBlock(nil, 1, 77)[:11], make([]byte, 8)) }},
	{Name: "a scheduled job is in no index", Want: "is not among the jobs that wait",
		Do: func(r *RawFile, w *World) { r.delete(bucketDue, r.dueKey(w.Scheduled)) }},
	{Name: "the index of what is due is empty", Want: "is not among the jobs that wait",
		Do: func(r *RawFile, w *World) { r.empty(bucketDue) }},
	{Name: "a retrying job waits twice", Want: "could run a second time",
		Do: func(r *RawFile, w *World) {
			_, row := r.lane(w.Retrying)
			r.put(bucketDue, appendDue(nil, r.record(w.Retrying).runAt-1000, uint64(w.Retrying), dueDelay), row.delayValue(Retrying))
		}},
	{Name: "a scheduled job waits as one of another lane", Want: "as one of another queue",
		Do: func(r *RawFile, w *World) {
			_, row := r.lane(w.Scheduled)
			_, their := r.lane(w.Other)
			r.put(bucketDue, r.dueKey(w.Scheduled), append([]byte{byte(Scheduled)}, binary.BigEndian.AppendUint32(nil, other(row.id, their.id))...))
		}},
	{Name: "a job waits that is not stored", Want: "is not stored",
		Do: func(r *RawFile, w *World) {
			r.put(bucketDue, appendDue(nil, 1, uint64(nobody), dueDelay), []byte{byte(Scheduled), 0, 0, 0, 1})
		}},
	{Name: "an entry of what is due makes no sense", Want: "makes no sense",
		Do: func(r *RawFile, w *World) { r.put(bucketDue, []byte("nonsense"), nil) }},
	{Name: "an expiry is lost", Want: "is to expire at",
		Do: func(r *RawFile, w *World) {
			r.delete(bucketDue, appendDue(nil, r.record(w.Expiring).expires, uint64(w.Expiring), dueExpiry))
		}},
	{Name: "a job is to expire that does not say so", Want: "its record does not say so",
		Do: func(r *RawFile, w *World) { r.put(bucketDue, appendDue(nil, 1<<52, uint64(w.Ready), dueExpiry), nil) }},
	{Name: "a unique place is lost", Want: "does not hold its unique place",
		Do: func(r *RawFile, w *World) { r.delete(bucketPlaces, r.record(w.Unique).place) }},
	{Name: "a unique place cannot be read", Want: "cannot be read",
		Do: func(r *RawFile, w *World) { r.spoil(bucketPlaces, r.record(w.Unique).place) }},
	{Name: "a unique place is held by a dead job", Want: "has ended or has another one",
		Do: func(r *RawFile, w *World) {
			r.putSealed(bucketPlaces, bytes.Repeat([]byte{7}, placeSize), appendID(appendID([]byte{byte(untilDone)}, uint64(w.Dead)), 0))
		}},
	{Name: "a unique place is held by another than its job", Want: "does not hold its unique place",
		Do: func(r *RawFile, w *World) {
			r.putSealed(bucketPlaces, bytes.Clone(r.record(w.Unique).place), appendID(appendID([]byte{byte(untilDone)}, uint64(w.Ready)), 0))
		}},
	{Name: "a unique period never ends", Want: "would never end",
		Do: func(r *RawFile, w *World) {
			for _, k := range r.keys(bucketDue, nil) {
				if k[len(k)-1] == duePlace {
					r.delete(bucketDue, k)
				}
			}
		}},
	{Name: "a unique period ends that is not there", Want: "unique period is said to end",
		Do: func(r *RawFile, w *World) {
			r.put(bucketDue, appendDuePlace(nil, 1<<52, bytes.Repeat([]byte{7}, placeSize)), nil)
		}},
	{Name: "a completed job is in no index", Want: "is not among the completed jobs",
		Do: func(r *RawFile, w *World) { r.empty(bucketDone) }},
	{Name: "a dead job is in no index", Want: "is not among the dead jobs",
		Do: func(r *RawFile, w *World) { r.empty(bucketDead) }},
	{Name: "a ready job is among the completed ones", Want: "but is among the completed jobs",
		Do: func(r *RawFile, w *World) {
			_, row := r.lane(w.Ready)
			r.put(bucketDone, appendTime(nil, 1<<52, uint64(w.Ready)), row.laneValue())
		}},
	{Name: "an entry of the dead jobs makes no sense", Want: "makes no sense",
		Do: func(r *RawFile, w *World) { r.put(bucketDead, []byte("nonsense"), nil) }},

	{Name: "a lane counts too many", Want: "jobs that are ready, but there are",
		Do: func(r *RawFile, w *World) {
			key, row := r.lane(w.Ready)
			row.n[Ready] += 7
			r.putSealed(bucketLanes, key, row.encode())
		}},
	{Name: "a lane cannot be read", Want: "cannot be read or belongs to another one", Refuse: true,
		Do: func(r *RawFile, w *World) { key, _ := r.lane(w.Ready); r.put(bucketLanes, key, []byte{1, 2}) }},
	{Name: "a lane is lost", Want: "is not in the file",
		Do: func(r *RawFile, w *World) { key, _ := r.lane(w.Ready); r.delete(bucketLanes, key) }},
	{Name: "all lanes are lost", Want: "is not in the file",
		Do: func(r *RawFile, w *World) { r.empty(bucketLanes) }},
	{Name: "two lanes have one number", Want: "belongs to another one",
		Do: func(r *RawFile, w *World) {
			_, row := r.lane(w.Ready)
			key, their := r.lane(w.Other)
			their.id = row.id
			r.putSealed(bucketLanes, key, their.encode())
		}},
	{Name: "a lane names nothing", Want: "names no queue, kind and priority", Refuse: true,
		Do: func(r *RawFile, w *World) { r.putSealed(bucketLanes, []byte("nonsense"), []byte{0, 0, 0, 0}) }},
	{Name: "the numbers of lanes begin anew", Want: "to lanes, but the highest", Refuse: true,
		Do: func(r *RawFile, w *World) { _ = r.bucket(bucketLanes).SetSequence(0) }},
	{Name: "the ids begin anew", Want: "new jobs would overwrite others", Refuse: true,
		Do: func(r *RawFile, w *World) { _ = setLastID(r.bucket(bucketJobs), 1) }},
	{Name: "the last id cannot be read", Want: "the number of the last job", Refuse: true,
		Do: func(r *RawFile, w *World) { _ = r.bucket(bucketJobs).SetSequence(1 << 60) }},

	{Name: "the list of running jobs cannot be read", Want: "the list of the running jobs cannot be read", Refuse: true,
		Do: func(r *RawFile, w *World) { r.put(bucketMeta, keyRunning, []byte{0, 200, 1}) }},
	{Name: "a scheduled job is listed as running", Want: "is listed as running, but is scheduled",
		Do: func(r *RawFile, w *World) { r.setRunning(w.Scheduled) }},
	{Name: "a job is listed twice as running", Want: "is listed twice",
		Do: func(r *RawFile, w *World) { r.setRunning(w.Ready, w.Ready) }},
	{Name: "a record cannot be read", Want: "the record of job",
		Do:   func(r *RawFile, w *World) { r.spoil(bucketJobs, appendID(nil, uint64(w.Ready))) },
		Lost: func(w *World) []ID { return []ID{w.Ready} }},
	{Name: "an entry of the jobs has no id", Want: "which is no id", Refuse: true,
		Do: func(r *RawFile, w *World) { r.put(bucketJobs, []byte("nonsense!"), []byte("what it was")) }},

	{Name: "the totals of a batch are wrong", Want: "by its ids it has",
		Do: func(r *RawFile, w *World) { r.batch(w.Batch, func(row *batchRow) { row.n.done++ }) }},
	{Name: "the totals of a batch cannot be read", Want: "the totals of batch", Refuse: true,
		Do: func(r *RawFile, w *World) { r.spoil(bucketBatches, appendID(nil, uint64(w.Batch))) }},
	{Name: "the totals of a batch are lost", Want: "the totals of batch", Refuse: true,
		Do: func(r *RawFile, w *World) { r.delete(bucketBatches, appendID(nil, uint64(w.Batch))) }},
	{Name: "the totals of an ended batch are lost", Want: "the totals of batch", Refuse: true,
		Do: func(r *RawFile, w *World) { r.delete(bucketBatches, appendID(nil, uint64(w.Ended))) }},
	{Name: "the ids of a batch are lost", Want: "but not among its ids",
		Do: func(r *RawFile, w *World) { r.delete(bucketBatches, r.batchKeys(w.Batch, batchRange)[0]) }},
	{Name: "the ids of a batch cannot be read", Want: "cannot be read or are those of others", Refuse: true,
		Do: func(r *RawFile, w *World) { r.spoil(bucketBatches, r.batchKeys(w.Batch, batchRange)[0]) }},
	{Name: "the ids of a batch overlap", Want: "cannot be read or are those of others",
		Do: func(r *RawFile, w *World) {
			k := r.batchKeys(w.Batch, batchRange)[0]
			r.putSealed(bucketBatches, appendRange(nil, uint64(w.Batch), keyID(k[9:])+1), binary.AppendUvarint(nil, 5))
		}},
	{Name: "the name of a batch is lost", Want: "the name and the OnDone job",
		Do: func(r *RawFile, w *World) { r.delete(bucketBatches, appendBatch(nil, uint64(w.Ended), batchMadeOf)) }},
	{Name: "a batch has an entry that makes no sense", Want: "makes no sense",
		Do: func(r *RawFile, w *World) {
			r.putSealed(bucketBatches, appendBatch(nil, uint64(w.Batch), 'z'), []byte{1})
		}},
	{Name: "an ended batch is not among those", Want: "but is not among those that have",
		Do: func(r *RawFile, w *World) { r.delete(bucketBatches, r.keys(bucketBatches, []byte{batchEnded})[0]) }},
	{Name: "a batch is among the ended ones that is not", Want: "is among those that ended",
		Do: func(r *RawFile, w *World) { r.put(bucketBatches, appendEnded(nil, 7, uint64(w.Batch)), nil) }},
	{Name: "an item is not told from equal ones", Want: "an equal one would not be passed over",
		Do: func(r *RawFile, w *World) { r.delete(bucketItems, r.itemKey(w.Item)) }},
	{Name: "an item is told that has ended", Want: "is no unfinished item",
		Do: func(r *RawFile, w *World) {
			r.put(bucketItems, r.itemKey(w.DeadItem), appendID(nil, uint64(w.DeadItem)))
		}},
	{Name: "a finished item is of no batch", Want: "a finished item of batch",
		Do: func(r *RawFile, w *World) {
			r.putSealed(bucketItems, appendItem(appendBatchOfItem(nil, uint64(nobody)), "piece", []byte("{}")), nil)
		}},

	{Name: "a run of a schedule has ended without a word", Want: "takes its run of",
		Do: func(r *RawFile, w *World) {
			k := r.keys(bucketSchedules, nil)[0]
			l, err := decodeLedger(string(k), bytes.Clone(r.bucket(bucketSchedules).Get(k)))
			if err != nil {
				panic(err)
			}
			l.note(ScheduleRun{Job: 1 << 20, State: Ready, At: fromMicros(1 << 50)})
			r.put(bucketSchedules, k, l.encode(string(k)))
			_ = setLastID(r.bucket(bucketJobs), 1<<20)
		}},
	{Name: "a schedule cannot be read", Want: "DeleteSchedule it", Beyond: true,
		Do: func(r *RawFile, w *World) { r.spoil(bucketSchedules, r.keys(bucketSchedules, nil)[0]) }},
	{Name: "a pause cannot be read", Want: "is paused cannot be read", Refuse: true,
		Do: func(r *RawFile, w *World) { r.spoil(bucketQueues, []byte("paused")) }},
	{Name: "an entry of the action log cannot be read", Want: "of the action log",
		Do: func(r *RawFile, w *World) { r.spoil(bucketActions, r.keys(bucketActions, nil)[0]) }},
	{Name: "an entry of the quarantine cannot be read", Want: "of the quarantine",
		Do: func(r *RawFile, w *World) {
			r.put(bucketQuarantine, appendID(nil, uint64(w.Dead)+100), []byte("what it was"))
		}},
	{Name: "a job is in quarantine and stored", Want: "in the quarantine and among the jobs",
		Do: func(r *RawFile, w *World) {
			r.put(bucketQuarantine, appendID(nil, uint64(w.Ready)), encodeQuarantined(uint64(w.Ready), 1, "why", []byte("what it was")))
		}},
	{Name: "an entry of the history cannot be read", Want: "an entry of the history",
		Do: func(r *RawFile, w *World) { r.spoil(bucketHistory, r.keys(bucketHistory, nil)[0]) }},
	{Name: "an entry of the history begins within a minute", Want: "an entry of the history",
		Do: func(r *RawFile, w *World) {
			r.putSealed(bucketHistory, stretches[0].key(nil, 61e6), newActivity(0).encode())
		}},
	{Name: "an entry of the starts cannot be read", Want: "an entry of the starts",
		Do: func(r *RawFile, w *World) { r.spoil(bucketStarts, r.keys(bucketStarts, nil)[0]) }},
	{Name: "an entry of the starts is cut off", Want: "an entry of the starts",
		Do: func(r *RawFile, w *World) { r.putSealed(bucketStarts, appendID(nil, 7), []byte{2}) }},
	{Name: "the bucket of the history is lost", Want: "the bucket", Refuse: true,
		Do: func(r *RawFile, w *World) { _ = r.root.DeleteBucket(bucketNames[bucketHistory]) }},
	{Name: "the identity is lost", Want: "the identity of the file", Refuse: true,
		Do: func(r *RawFile, w *World) { r.delete(bucketMeta, keyFile) }},
	{Name: "the format is lost", Want: "which format it has", Refuse: true, Beyond: true,
		Do: func(r *RawFile, w *World) { r.delete(bucketMeta, keyFormat) }},
	{Name: "the bucket of what is due is lost", Want: "the bucket", Refuse: true,
		Do: func(r *RawFile, w *World) { _ = r.root.DeleteBucket(bucketNames[bucketDue]) }},
	{Name: "the bucket of the jobs is lost", Want: "the bucket of the jobs", Refuse: true, Beyond: true,
		Do: func(r *RawFile, w *World) { _ = r.root.DeleteBucket(bucketNames[bucketJobs]) }},
}
