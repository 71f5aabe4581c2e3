package stint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The starts of a file: which processes have worked it, and how that ended.
//
//  1. Run begins one. The first commit that happens anyway puts it into the
//     file, as writeStarts is called with all that a group has written.
//  2. When Run returns, the start has ended. The next commit writes that, or
//     Close.
//  3. One of another process that has no end is of one that died. Its successor
//     writes nothing about it: the lock of the file proves it.

// Start is one Run of a process on the file.
type Start struct {
	At        time.Time
	Ended     time.Time // zero while it runs, and for ever if it crashed
	Crashed   bool      // its process died without closing the file
	Recovered int       // jobs it found running, as the process before it had died
	PID       int
	Host      string
	Version   string // of the main module and its revision, as the build tells them
}

const (
	startsKept = 50

	maxHostSize = 255
)

// Starts lists the last 50 Starts, newest first. It is written by commits that
// happen anyway and by Close: a process that died before its first commit is
// not among them. Entries that cannot be read are left out, and the error then
// is ErrCorrupt.
func (q *Queue) Starts() ([]Start, error) {
	var damage []error
	found := map[uint64]Start{}
	err := q.store.view(func(tx *bolt.Tx) error {
		return newReader(q, tx).bucket(bucketStarts).ForEach(func(k, v []byte) error {
			s, err := decodeStart(k, v)
			if err != nil {
				damage = append(damage, err)
				return nil
			}
			s.Crashed = s.Ended.IsZero()
			found[keyID(k)] = s
			return nil
		})
	})
	q.starts.addTo(found)
	keys := make([]uint64, 0, len(found))
	for key := range found {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	slices.Reverse(keys)
	list := make([]Start, 0, startsKept)
	for _, key := range keys[:min(len(keys), startsKept)] {
		list = append(list, found[key])
	}
	return list, q.readError(errors.Join(append(damage, err)...))
}

// starts are those of this process.
type starts struct {
	mu        sync.Mutex
	own       []*ownStart // oldest first
	last      uint64      // highest key that was ever given
	recovered int         // at Open, to be told by the first start
}

// ownStart is one of them.
type ownStart struct {
	Start
	key     uint64 // about its time; a clock that was set back makes no older start of it
	version int    // counts its changes
	stored  int    // the version that the file has
	writing int    // the one that was put last, by a transaction that may have failed
}

// begin notes that Run has begun.
func (s *starts) begin() *ownStart {
	now := time.Now()
	host, _ := os.Hostname() // without one it is empty
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(uint64(max(micros(now), 0)), s.last+1)
	one := &ownStart{key: s.last, version: 1, Start: Start{
		At: now, Recovered: s.recovered, PID: os.Getpid(), Host: cut(host, maxHostSize), Version: buildVersion(),
	}}
	s.recovered = 0
	s.own = append(s.own, one)
	if len(s.own) > startsKept {
		s.own = slices.Delete(s.own, 0, len(s.own)-startsKept)
	}
	return one
}

// end notes that it has returned.
func (s *starts) end(one *ownStart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.Ended = time.Now()
	one.version++
}

// changed says whether the file lacks anything.
func (s *starts) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.own, func(one *ownStart) bool { return one.stored != one.version })
}

// addTo adds the starts of this process to those of the file.
func (s *starts) addTo(found map[uint64]Start) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.own {
		found[one.key] = one.Start
	}
}

// committed notes what is in the file now.
func (s *starts) committed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.own {
		one.stored = max(one.stored, one.writing)
	}
}

// writeStarts puts the starts that the file lacks.
func (c *committer) writeStarts(t *txn) error {
	s := &c.q.starts
	s.mu.Lock()
	defer s.mu.Unlock()
	added := false
	for _, one := range s.own {
		if one.stored == one.version {
			continue
		}
		added = added || one.stored == 0
		one.writing, t.startsWritten = one.version, true
		if err := t.putSealed(bucketStarts, appendID(t.key[:0], one.key), one.encode()); err != nil {
			return err
		}
	}
	if !added {
		return nil
	}
	return t.pruneStarts()
}

// pruneStarts removes the oldest starts that are too many.
func (t *txn) pruneStarts() error {
	var keys [][]byte
	cur := t.cursor(bucketStarts)
	for k, _ := cur.First(); k != nil; k, _ = cur.Next() {
		keys = append(keys, append([]byte(nil), k...))
	}
	for _, k := range keys[:max(len(keys)-startsKept, 0)] {
		if err := t.delete(bucketStarts, k); err != nil {
			return err
		}
	}
	return nil
}

// lastStart is the highest key that was ever given.
func lastStart(b *bolt.Bucket) uint64 {
	cur := b.Cursor()
	for k, v := cur.Last(); k != nil; k, v = cur.Prev() {
		if _, err := decodeStart(k, v); err == nil { // else the key may be damaged
			return keyID(k)
		}
	}
	return 0
}

func (s *Start) encode() []byte {
	b := binary.AppendVarint(nil, micros(s.At))
	b = binary.AppendVarint(b, micros(s.Ended))
	b = binary.AppendUvarint(b, uint64(s.Recovered))
	b = binary.AppendUvarint(b, uint64(s.PID))
	return appendText(appendText(b, s.Host), s.Version)
}

// decodeStart is the inverse, with the checksum.
func decodeStart(k, v []byte) (Start, error) {
	value, sound := openValue(k, v)
	d := decoder{b: value}
	s := Start{
		At: fromMicros(d.varint()), Ended: fromMicros(d.varint()),
		Recovered: int(d.uvarint()), PID: int(d.uvarint()), Host: d.text(), Version: d.text(),
	}
	if !sound || len(k) != 8 || d.failed || len(d.b) != 0 {
		return Start{}, fmt.Errorf("%w: an entry of the starts, %x, cannot be read; Repair removes it", ErrCorrupt, k)
	}
	return s, nil
}

// buildVersion is the version of the main module and, if it is not in there,
// the revision of its sources.
var buildVersion = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	version := info.Main.Version
	for _, setting := range info.Settings {
		if revision := setting.Value[:min(len(setting.Value), 12)]; setting.Key == "vcs.revision" && !strings.Contains(version, revision) {
			version += " " + revision
		}
	}
	return cut(version, maxHostSize)
})
