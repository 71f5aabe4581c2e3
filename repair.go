package stint

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Repair: what follows from the records is made to follow from them again.
//
//  1. A check comes first. Where it finds nothing to mend, nothing is written.
//  2. The same passes go over the file in write transactions. Each notes what
//     to put and what to delete, so that only what differs is written, and
//     writes it before the next one begins.
//  3. A transaction that has written much is committed; the next one goes on
//     behind it. Each portion makes the file better and none makes it worse,
//     so a repair that is killed can be begun anew.
//  4. Totals are compared in a transaction that has seen everything from the
//     beginning.
//  5. A second check says what is left.
//
// A record that cannot be read goes into quarantine. Nothing else that could
// not be made again is deleted.

// portionSize is how many differences a transaction writes.
const portionSize = 10_000

// RepairFile is Repair for a file that no queue has open, also for one that
// Open refuses, unless the damage is in the pages themselves; then only a
// backup helps, and the Fault says so. Before it changes anything it copies the
// file beside itself: to path.before-repair, or path.before-repair-2 and so on
// where that is taken. Errors are those of CheckFile and of writing.
func RepairFile(path string) ([]Fault, error) {
	o, f, err := openLocked(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	defer letGo(f)
	c := &checker{ctx: context.Background()}
	return o.repairLocked(f, c)
}

func (o *opener) repairLocked(f *os.File, c *checker) ([]Fault, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, refusal("read", o.name, err)
	}
	if err := preflight(f, info.Size(), o.name); err != nil {
		return c.result(o.name, err)
	}
	db, err := bolt.Open(o.path, 0o600, boltOptions(f, time.Second))
	if err != nil {
		return nil, refusal("open", o.name, err)
	}
	defer db.Close()
	found, err := lookAt(db, o.name)
	if err != nil || !slices.ContainsFunc(found, func(f Fault) bool { return f.Repairable }) {
		return found, err
	}
	if _, err := backUp(o.path, ".before-repair"); err != nil {
		return found, fmt.Errorf("stint: cannot repair %s: %w", o.name, err)
	}
	if err := reassert(f, db.Info().PageSize, db.Sync); err != nil {
		return found, refusal("write to", o.name, err)
	}
	if err := repairDB(db, o.name); err != nil {
		return found, err
	}
	left, err := lookAt(db, o.name)
	return repaired(found, left), err
}

// lookAt is a check of an open database.
func lookAt(db *bolt.DB, path string) ([]Fault, error) {
	c := &checker{ctx: context.Background()}
	err := safely(func() error {
		return db.View(func(tx *bolt.Tx) error {
			t, err := bareTxn(tx, path)
			if err != nil {
				return err
			}
			return c.look(t)
		})
	})
	return c.result(path, err)
}

// repairDB mends an open database that no queue has.
func repairDB(db *bolt.DB, path string) error {
	cfg, err := (&Config{}).withDefaults()
	if err != nil {
		return err
	}
	idle := &Queue{cfg: cfg, log: cfg.Logger, handlers: map[string]*handler{}, schedules: map[string]*schedule{}, lanes: map[laneKey]*lane{}, laneKeys: map[uint32]laneKey{}, live: map[uint64]*execution{}}
	idle.store.take(&openedFile{db: db}, cfg)
	idle.commit = newCommitter(idle)
	c := &checker{ctx: context.Background(), fixing: true}
	return c.repair(func(fn func(*txn) error) error {
		return storeError(safely(func() error {
			return db.Update(func(tx *bolt.Tx) error {
				t, err := bareTxn(tx, path)
				if err != nil {
					return err
				}
				t.q, t.own = idle, true
				return fn(t)
			})
		}))
	})
}

// repaired marks the faults of the first check that the second one does not
// find any more, and adds those that it alone has found.
func repaired(found, left []Fault) []Fault {
	same := func(a Fault) func(Fault) bool {
		return func(b Fault) bool { return a.Job == b.Job && a.Text == b.Text }
	}
	all := slices.Clone(found)
	for i := range all {
		all[i].Repaired = all[i].Repairable && !slices.ContainsFunc(left, same(all[i]))
	}
	for _, f := range left {
		if !slices.ContainsFunc(found, same(f)) {
			all = append(all, f)
		}
	}
	return all
}

// position is how far a repair has come.
type position struct {
	pass  int
	after []byte
}

// repair mends in as many transactions as it takes.
func (c *checker) repair(update func(func(*txn) error) error) error {
	enough := portionSize
	for at, rounds := (position{}), 0; ; {
		var next position
		var done bool
		err := update(func(t *txn) (err error) {
			next, done, err = c.mend(t, at, enough)
			return err
		})
		if err != nil || done {
			return err
		}
		if at = next; at.pass == 0 && at.after == nil {
			if rounds++; rounds == 3 {
				enough = math.MaxInt // somebody undoes it as fast as it is done
			}
		}
	}
}

// mend is one transaction of a repair.
func (c *checker) mend(t *txn, from position, enough int) (next position, done bool, err error) {
	c.fixes = nil
	if !c.prepare(t) {
		return next, true, cmp.Or(c.broken, errCannotRepair)
	}
	written, err := c.write()
	if err != nil {
		return next, false, err
	}
	for i, after := from.pass, from.after; i < len(passes); i, after = i+1, nil {
		stopped, err := c.walk(passes[i], after, enough)
		if err != nil {
			return next, false, err
		}
		n, err := c.write()
		if err != nil {
			return next, false, err
		}
		switch written += n; {
		case stopped != nil:
			return position{i, stopped}, false, c.lanesSoFar()
		case written >= enough:
			return position{i + 1, nil}, false, c.lanesSoFar()
		}
	}
	if from.pass != 0 || from.after != nil {
		return position{}, false, c.lanesSoFar()
	}
	c.conclude()
	if _, err := c.write(); err != nil {
		return next, false, err
	}
	return next, true, c.endBatches()
}

var errCannotRepair = fmt.Errorf("%w: Repair cannot mend it; restore a backup", ErrCorrupt)
