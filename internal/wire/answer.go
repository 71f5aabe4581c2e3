package wire

import "time"

// Count is the number of jobs that match a filter.
type Count struct {
	Count   int  `json:"count"`
	Partial bool `json:"partial,omitempty"` // there are more than could be counted in time
}

// Stack is what a running job is doing.
type Stack struct {
	Stack string `json:"stack"`
}

// Next is when a spec would run.
type Next struct {
	Words string      `json:"words"`
	Times []time.Time `json:"times"`
}

// Period is what was done in one stretch of time.
type Period struct {
	Start   time.Time `json:"start"`
	Seconds float64   `json:"seconds"`
	Tally
	Kinds  map[string]Tally `json:"kinds"`  // "" for the rest
	Queues map[string]Flow  `json:"queues"` // "" for the rest
}

// Tally is what became of jobs.
type Tally struct {
	Enqueued  uint64 `json:"enqueued"`
	Completed uint64 `json:"completed"`
	Failed    uint64 `json:"failed"`
	Died      uint64 `json:"died"`
	Run       Times  `json:"run"`
}

// Flow is how jobs of a queue waited.
type Flow struct {
	Wait  Times `json:"wait"`
	Ready int   `json:"ready"`
}

// Times sum up how long something took.
type Times struct {
	Count uint64  `json:"count"`
	Sum   float64 `json:"sum_seconds"`
	P50   float64 `json:"p50_seconds"`
	P95   float64 `json:"p95_seconds"`
	P99   float64 `json:"p99_seconds"`
}

// Dropped is the line of an event stream that tells how many events did not
// fit since the one before.
type Dropped struct {
	Type  string `json:"type"` // dropped
	Count uint64 `json:"count"`
}

// Imported is what an import did.
type Imported struct {
	Stored  int       `json:"stored"`
	Passed  int       `json:"passed"`  // lines that are no unfinished job
	Refused int       `json:"refused"` // lines
	Lines   []Refused `json:"lines"`   // the first 20 of those
}

// Refused is a line that was not imported.
type Refused struct {
	Line  int    `json:"line"` // 1 is the first
	Error string `json:"error"`
}

// Done is the answer to an action that has nothing more to tell.
type Done struct {
	Did    string `json:"did"`
	Target string `json:"target"`
	Note   string `json:"note"`
}

// Made is the answer to an action that has made a job.
type Made struct {
	ID uint64 `json:"id"`
}

// Runs is the answer to a backfill.
type Runs struct {
	Runs int `json:"runs"` // that were started
}
