package stint

// scheduledRun lets a schedule know that a run of it has ended as a state, or
// lives again.
func (t *txn) scheduledRun(j *stored, as State) error { return nil }
