package stint

import (
	"fmt"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// CheckDB is CheckFile for a database that is open, and what bbolt's own check
// says. Every queue of the tests goes through it when it closes.
func CheckDB(db *bolt.DB) (texts []string) {
	faults, err := lookAt(db, db.Path())
	if err != nil {
		return []string{err.Error()}
	}
	for _, f := range faults {
		texts = append(texts, f.Text)
	}
	_ = db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			texts = append(texts, fmt.Sprintf("bbolt: %v", err))
		}
		return nil
	})
	return texts
}

// LetGo returns when no child that another test is just starting has a copy of
// a file that was closed, and with it the lock: bbolt does not unlock what it
// has only read.
func LetGo() {
	syscall.ForkLock.RLock()
	//lint:ignore SA2001 it is held from a fork until the program is another one
	syscall.ForkLock.RUnlock()
}
