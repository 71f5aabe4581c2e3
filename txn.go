package stint

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// txn is one write transaction as the gates see it: the buckets, opened when
// needed, the lanes it has touched, and what memory has to learn once the
// transaction is committed. Most belong to the committer; EnqueueTx and
// CompleteTx make one inside the caller's transaction.
type txn struct {
	q   *Queue
	tx  *bolt.Tx
	id  int   // of the transaction; they only grow
	own bool  // the committer's, not a caller's
	now int64 // the time of the transaction, in microseconds

	vault   *vault // what encrypts the file, or nil
	root    *bolt.Bucket
	buckets [bucketCount]*bolt.Bucket
	cursors [bucketCount]*bolt.Cursor
	readAt  uint64   // the job at which the cursor of bucketJobs stands, 0 for unknown
	key     [64]byte // scratch for keys

	rows    []*laneRow
	lastRow *laneRow
	nextID  uint64 // 0: not read yet

	batches   map[uint64]*batchRow // nil for one that is not there
	lastBatch *batchRow
	wide      []byte // scratch for keys of items

	blocks    map[blockKey]*readyBlock
	lastBlock *readyBlock

	wrote   bool // whether there is anything to commit
	trimmed int  // dead jobs removed to keep within Config.MaxDead

	// What memory learns from the commit.
	readied      []readied      // jobs that now wait for a worker
	completed    []uint64       // running jobs that CompleteTx completed
	nextDue      int64          // the earliest entry added to the due bucket, or 0
	unfinished   int            // change in the number of unfinished jobs
	paused       []queuePause   // queues that were paused or resumed
	schedules    []scheduleNews // that have fired or were changed
	nextPrune    int64          // when the first kept job is to go, or 0
	cancelled    []stopOrder    // running jobs that are to stop
	samples      []sample       // how long attempts waited and ran, and how they ended
	historyWrite uint64         // the number of the write of the history, 0 for none
	events       []Event        // only while somebody subscribes
	endings      []ending       // of jobs that somebody waits for
	reports      []report       // failures and deaths, to be logged
	quarantined  int            // records set aside
	endedBatches int            // change in the number of ended batches that are kept
	sweeps       []uint64       // batches that have finished items to forget

	startsWritten bool
}

// readied is a job that has entered the ready bucket.
type readied struct {
	row *laneRow
	id  uint64
}

// laneRow is the stored side of a lane: its number, how many of its jobs are
// in which state, and totals.
type laneRow struct {
	key    laneKey
	id     uint32
	n      tally
	before tally // n as it was read
	dirty  bool

	enqueued, cancelled int // jobs of the transaction, for the history and the metrics

	delay [priorities + 3][]byte // the values of its due entries, by state
}

// tally counts the jobs of a lane. The first entries are indexed by State,
// with the running jobs among the Ready ones, as the file does not tell them
// apart; the others are totals since the file was made.
type tally [tallySize]int64

const (
	totalProcessed = int(Dead) + 1 + iota
	totalFailed
	totalDied
	tallySize
)

// endings is how many attempts have ended for good or badly.
func (n *tally) endings() int64 { return n[totalProcessed] + n[totalFailed] }

// newTxn sees tx through our buckets. It fails when the root bucket is gone.
func (q *Queue) newTxn(tx *bolt.Tx) (*txn, error) {
	t := &txn{q: q, tx: tx, vault: q.vault, id: q.store.txid(tx), now: micros(time.Now())}
	if t.root = tx.Bucket(rootBucket); t.root == nil {
		return nil, fmt.Errorf("%w: the bucket %q is not in this database; use a transaction of the database the queue was made with", ErrNotStint, rootBucket)
	}
	return t, nil
}

func (t *txn) bucket(name bucketName) *bolt.Bucket {
	if t.buckets[name] == nil {
		b := t.root.Bucket(bucketNames[name])
		if name == bucketJobs || name == bucketItems {
			b.FillPercent = 0.9 // ids only grow, and so do most items, so pages may be filled
		}
		t.buckets[name] = b
	}
	return t.buckets[name]
}

// cursor is one cursor per bucket, used again to spare its allocation.
func (t *txn) cursor(name bucketName) *bolt.Cursor {
	if name == bucketJobs {
		t.readAt = 0
	}
	if t.cursors[name] == nil {
		t.cursors[name] = t.bucket(name).Cursor()
	}
	return t.cursors[name]
}

// get reads the value of a key, or nil.
func (t *txn) get(name bucketName, key []byte) []byte {
	k, v := t.cursor(name).Seek(key)
	if string(k) != string(key) {
		return nil
	}
	return v
}

// nextRecord reads a record. Jobs are mostly claimed one after the other, and
// to step to the next record takes a fraction of a search from the root.
func (t *txn) nextRecord(id uint64) []byte {
	if t.readAt != 0 && id == t.readAt+1 {
		if k, v := t.cursors[bucketJobs].Next(); len(k) == 8 && keyID(k) == id {
			t.readAt = id
			return v
		}
	}
	v := t.get(bucketJobs, appendID(t.key[:0], id))
	if v != nil {
		t.readAt = id
	}
	return v
}

func (t *txn) put(name bucketName, key, value []byte) error {
	if name == bucketJobs {
		t.readAt = 0
	}
	t.wrote = true
	return t.bucket(name).Put(key, value)
}

// delete removes a key, if it is there, through the shared cursor.
func (t *txn) delete(name bucketName, key []byte) error {
	c := t.cursor(name)
	if k, _ := c.Seek(key); string(k) != string(key) {
		return nil
	}
	t.wrote = true
	return c.Delete()
}

// newID is the next id of the file.
func (t *txn) newID() uint64 {
	if t.nextID == 0 {
		t.nextID, _ = lastID(t.bucket(bucketJobs)) // Open has seen that it is right
	}
	t.nextID++
	return t.nextID
}

// row is the lane with this key, made if it is new.
func (t *txn) row(key laneKey) (*laneRow, error) {
	if t.lastRow != nil && t.lastRow.key == key {
		return t.lastRow, nil
	}
	for _, row := range t.rows {
		if row.key == key {
			t.lastRow = row
			return row, nil
		}
	}
	row := &laneRow{key: key}
	if name := key.appendTo(t.key[:0]); t.has(bucketLanes, name) {
		v := t.getSealed(bucketLanes, name)
		if v == nil {
			return nil, fmt.Errorf("%w: the counts of a lane of queue %q cannot be read; restore a backup", ErrCorrupt, key.queue)
		}
		row.decode(v)
	} else {
		n, err := t.bucket(bucketLanes).NextSequence()
		if err != nil {
			return nil, err
		}
		row.id, row.dirty = uint32(n), true
	}
	t.rows = append(t.rows, row)
	t.lastRow = row
	return row, nil
}

// flush writes what was gathered over the transaction: the ready index, the
// lanes' counts and the last id.
func (t *txn) flush() error {
	if err := t.flushReady(); err != nil {
		return err
	}
	if err := t.flushBatches(); err != nil {
		return err
	}
	for _, row := range t.rows {
		if !row.dirty {
			continue
		}
		if err := t.putSealed(bucketLanes, row.key.appendTo(t.key[:0]), row.encode()); err != nil {
			return err
		}
		row.dirty = false
	}
	if t.nextID != 0 {
		return setLastID(t.bucket(bucketJobs), t.nextID)
	}
	return nil
}

func (r *laneRow) encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+2*tallySize+sealSize), r.id)
	for _, n := range r.n {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func (r *laneRow) decode(b []byte) {
	if len(b) < 4 {
		return
	}
	r.id = binary.BigEndian.Uint32(b)
	d := decoder{b: b[4:]}
	for i := range r.n {
		r.n[i] = d.varint()
	}
	r.before = r.n
}

// delayValue is the value of a due entry that leads to or from state.
func (r *laneRow) delayValue(state State) []byte {
	if r.delay[state] == nil {
		r.delay[state] = binary.BigEndian.AppendUint32([]byte{byte(state)}, r.id)
	}
	return r.delay[state]
}

// laneValue is the value of an entry of the done and dead buckets.
func (r *laneRow) laneValue() []byte { return binary.BigEndian.AppendUint32(nil, r.id) }

// rowByID is the lane with this number. Lanes are never deleted, and memory
// knows all that are committed but those of an EnqueueTx that it has not been
// told of yet.
func (t *txn) rowByID(id uint32) (*laneRow, error) {
	for _, row := range t.rows {
		if row.id == id {
			return row, nil
		}
	}
	if key, ok := t.q.laneKeyOf(id); ok {
		return t.row(key)
	}
	cur := t.cursor(bucketLanes)
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if key, ok := parseLaneKey(k); ok && len(v) >= 4 && binary.BigEndian.Uint32(v) == id {
			return t.row(key)
		}
	}
	return nil, fmt.Errorf("%w: lane %d is named by an index but not stored; restore a backup", ErrCorrupt, id)
}

// putEncrypted is putSealed for a value that nobody without the keys may read.
func (t *txn) putEncrypted(name bucketName, key, value []byte) error {
	return t.putSealed(name, key, t.vault.encrypt(name, key, value))
}

// getEncrypted reads such a value: nil if there is none, or it is damaged.
func (t *txn) getEncrypted(name bucketName, key []byte) []byte {
	return t.vault.decryptSealed(name, key, t.get(name, key))
}

// find reads a job and finds out where it is. Its record may be locked.
func (t *txn) find(id uint64) (*stored, error) {
	// In a transaction of the application nobody recovers from what a damaged
	// page does to bbolt, and nowhere should it make a job seem not to be there.
	if err := t.q.store.vet(t.tx, id); err != nil {
		return nil, err
	}
	raw := t.get(bucketJobs, appendID(t.key[:0], id))
	if raw == nil {
		return nil, fmt.Errorf("%w: %d", ErrNotFound, id)
	}
	j := &stored{id: id, rec: &record{}}
	if err := t.vault.read(j.rec, id, append([]byte(nil), raw...)); err != nil {
		return nil, err
	}
	row, err := t.row(j.rec.key())
	if err != nil {
		return nil, err
	}
	j.row, j.state = row, j.rec.state
	switch j.state {
	case Scheduled, Retrying:
		j.at = j.rec.runAt
		if !t.delayed(id, j.rec) {
			j.state = Ready // it has been promoted since
		}
	case Completed, Dead:
		j.at = j.rec.finished
	}
	if j.state == Ready && t.execution(id) != nil {
		j.state = Running
	}
	return j, nil
}

// delayed says whether the job waits for its time. The index knows, not the
// clock, which may have been set back.
func (t *txn) delayed(id uint64, r *record) bool {
	return (r.state == Scheduled || r.state == Retrying) && t.get(bucketDue, appendDue(t.key[:0], r.runAt, id, dueDelay)) != nil
}

// execution is the attempt of a job that is running, or nil.
func (t *txn) execution(id uint64) *execution {
	if !t.own {
		return t.q.liveJob(id)
	}
	c := t.q.commit
	if e := c.claimed[id]; e != nil && !slices.Contains(c.settled, e) {
		return e
	}
	return nil
}

// deadJobs is the number of dead jobs as of now in the transaction.
func (t *txn) deadJobs() int {
	n := t.q.sum(Dead)
	for _, row := range t.rows {
		n += int(row.n[Dead] - row.before[Dead])
	}
	return n
}

// dueAt keeps the earliest due time of the transaction.
func (t *txn) dueAt(at int64) {
	if t.nextDue == 0 || at < t.nextDue {
		t.nextDue = at
	}
}
