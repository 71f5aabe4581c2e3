package stint

import (
	"fmt"

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
