// Package stint is an embedded, durable job queue on one bbolt file:
// goroutine workers, retries, delayed and unique jobs, exactly-once effects,
// no broker and no second process.
//
// A program opens a file, registers a handler for each kind of job, and calls
// Run; any part of it may Enqueue. When Enqueue has returned nil the job
// survives a crash and a power cut, and it runs at least once. Effects that a
// handler writes into the same file through [Work.Commit] or
// [Work.CompleteTx] happen exactly once.
//
// A job says when and which; the [Policy] of its handler says how: attempts,
// backoff, timeout, concurrency. So changing a policy changes the jobs that
// already wait.
//
// [Queue.Periodic] enqueues by a cron spec, [PeriodicBatch] and
// [Queue.EnqueueBatch] store many jobs with one end, and [Work.Step],
// [Work.Checkpoint] and [Work.CommitProgress] let a long job go on where it
// was.
//
// [Queue.Jobs], [Queue.Why] and [Queue.Stats] tell how things stand,
// [Queue.History] and [Queue.Metrics] how they went, and package stinttest
// tests what a program does with its queue.
//
// One rule to remember: inside a transaction of the same database, also in the
// function of Commit, call [Queue.EnqueueTx], never [Queue.Enqueue] nor any
// other call that changes something: it waits for the very lock you hold.
package stint
