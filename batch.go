package stint

// batchMember lets a batch know that a job of it has ended as a state, or
// lives again.
func (t *txn) batchMember(j *stored, from, as State) error { return nil }
