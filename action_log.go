package stint

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The action log: who did what to the queue, for those who come after.
//
//  1. LogAction is a change like any other, so an entry shares its commit with
//     what else is under way.
//  2. Its key is the next number of the bucket. The transaction that makes one
//     too many deletes the oldest.
//  3. Actions reads backwards, a page at a time.
//
// An entry is time | by | verb | target | note, a varint and four texts, with
// a checksum.

// Action is an entry of the action log: what a person did, and who.
type Action struct {
	At     time.Time
	By     string
	Verb   string // such as "retry" or "pause queue"
	Target string // such as "job 42" or "queue mail"
	Note   string // what came of it, or why it was done
}

// LogAction adds an entry to the action log in the file, which keeps the last
// 1000. The dashboard and the command line do so with all they change; a
// program may do so with its own. At is set by LogAction; each text is cut at
// 1,000 bytes, and bytes that are no UTF-8 are replaced. The log is not
// encrypted, see Config.Keys. When LogAction returns
// nil the entry is on disk; when ctx ends before it is being written, there is
// none. ErrClosed and ErrFileFull are possible, and what Enqueue says of writing.
func (q *Queue) LogAction(ctx context.Context, a Action) error {
	ch := &logEntry{Action: a.bounded()}
	ch.reset()
	return q.submit(ctx, ch, &ch.ticket)
}

// Actions lists the action log, newest first. It reads pages of 100 in short
// transactions, so the loop may take its time; what is logged meanwhile is not
// listed. An entry that cannot be read is passed over, and Check names it. An
// error ends the listing.
func (q *Queue) Actions() iter.Seq2[Action, error] {
	return func(yield func(Action, error) bool) {
		var below []byte
		for {
			page, last, err := q.actionPage(below)
			if err != nil {
				yield(Action{}, err)
				return
			}
			for _, a := range page {
				if !yield(a, nil) {
					return
				}
			}
			if last == nil {
				return
			}
			below = last
		}
	}
}

const (
	maxActions    = 1000
	maxActionText = 1000 // bytes
)

// logEntry is the change of LogAction.
type logEntry struct {
	ticket
	Action
}

func (ch *logEntry) apply(t *txn) error {
	ch.At = fromMicros(t.now)
	return t.logAction(&ch.Action)
}

// bounded is the action with texts that the log takes, and no time.
func (a *Action) bounded() Action {
	return Action{
		By:     cut(a.By, maxActionText),
		Verb:   cut(a.Verb, maxActionText),
		Target: cut(a.Target, maxActionText),
		Note:   cut(a.Note, maxActionText),
	}
}

// logAction adds an entry.
func (t *txn) logAction(a *Action) error {
	b := t.bucket(bucketActions)
	n := b.Sequence() + 1
	if k, _ := t.cursor(bucketActions).Last(); len(k) == 8 && keyID(k) >= n {
		n = keyID(k) + 1 // the number in the file is damaged, or its bucket was made anew
	}
	if err := b.SetSequence(n); err != nil {
		return err
	}
	if err := t.putSealed(bucketActions, appendID(nil, n), a.encode()); err != nil {
		return err
	}
	return t.trimActions()
}

// trimActions deletes what is older than the last entries. It counts them, as
// the numbers of a damaged file have gaps.
func (t *txn) trimActions() error {
	for {
		cur := t.cursor(bucketActions)
		k, _ := cur.Last()
		for n := 1; k != nil && n <= maxActions; n++ {
			k, _ = cur.Prev()
		}
		if k == nil {
			return nil
		}
		if err := cur.Delete(); err != nil {
			return err
		}
	}
}

// actionPage reads the entries below a key, or from the newest for nil, and
// tells the key of the last one, or nil if none follows.
func (q *Queue) actionPage(below []byte) (page []Action, last []byte, err error) {
	err = q.store.view(func(tx *bolt.Tx) error {
		cur := newReader(q, tx).bucket(bucketActions).Cursor()
		k, v := cur.Last()
		if below != nil {
			if k, _ = cur.Seek(below); k == nil {
				k, v = cur.Last() // those that followed were deleted
			} else {
				k, v = cur.Prev()
			}
		}
		for ; k != nil; k, v = cur.Prev() {
			if len(page) == pageSize {
				return nil
			}
			last = append(last[:0], k...)
			if a, err := readAction(k, v); err == nil {
				page = append(page, a)
			}
		}
		last = nil
		return nil
	})
	return page, last, q.readError(err)
}

func (a *Action) encode() []byte {
	b := binary.AppendVarint(make([]byte, 0, 32+len(a.By)+len(a.Verb)+len(a.Target)+len(a.Note)), micros(a.At))
	for _, text := range [...]string{a.By, a.Verb, a.Target, a.Note} {
		b = appendText(b, text)
	}
	return b
}

// decodeAction is the inverse.
func decodeAction(b []byte) (a Action, ok bool) {
	d := decoder{b: b}
	a = Action{At: fromMicros(d.varint()), By: d.text(), Verb: d.text(), Target: d.text(), Note: d.text()}
	return a, !d.failed && len(d.b) == 0 && !a.At.IsZero()
}

// readAction reads an entry of the log.
func readAction(k, v []byte) (Action, error) {
	value, sound := openValue(k, v)
	a, ok := decodeAction(value)
	if !sound || !ok || len(k) != 8 {
		return Action{}, fmt.Errorf("%w: the entry %x of the action log cannot be read; Repair removes it", ErrCorrupt, k)
	}
	return a, nil
}
