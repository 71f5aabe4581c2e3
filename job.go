package stint

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Args are what a job is about: a struct that encoding/json can write and
// read back. Use a value type: Kind is also called on its zero value.
type Args interface {
	// Kind names the handler. It is part of the file format: renaming the Go
	// type is safe, changing this string orphans the jobs that wait. Up to
	// 128 bytes of letters, digits and . _ - / : are allowed.
	Kind() string
}

// ID is the number of a job, unique within its file and never used again.
// Ids grow in the order of enqueueing.
type ID uint64

// String is the id in decimal.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// State is where a job is in its life. ARCHITECTURE.md draws the moves.
type State uint8

const (
	// Ready: waits for a worker. A job whose kind has no handler in this
	// process stays Ready (and is counted as parked) until one is registered.
	Ready State = iota + 1

	// Scheduled: waits for its time, given by In, At or Snooze.
	Scheduled

	// Retrying: failed and waits for its backoff.
	Retrying

	// Running: a worker has it. After a crash it is Ready again.
	Running

	// Completed: its handler returned nil. Kept only with
	// Config.KeepCompleted.
	Completed

	// Dead: will not run again unless somebody calls Retry; Info.Reason says
	// why. Removed after Config.KeepDead, or when there are more than
	// Config.MaxDead.
	Dead
)

var stateNames = [...]string{"none", "ready", "scheduled", "retrying", "running", "completed", "dead"}

// String is the lower-case name of the state.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Info describes a stored job. It is a copy: changing it changes nothing.
type Info struct {
	ID       ID
	Kind     string
	Queue    string
	State    State
	Priority int             // 1 first … 4 last
	Args     json.RawMessage // as stored
	Tags     []string

	EnqueuedAt time.Time
	RunAt      time.Time // when a Scheduled or Retrying job is due; zero if it was never delayed
	ExpiresAt  time.Time // zero without ExpiresIn
	FinishedAt time.Time // zero unless Completed or Dead
	StartedAt  time.Time // zero unless Running and its handler has begun

	MaxAttempts int // 0: as the Policy of its kind says
	Failures    int // attempts that failed
	Snoozes     int // attempts that ended in Snooze
	Crashes     int // times the process died while the job was running

	Schedule     string    // the schedule that enqueued it, "" for none
	ScheduledFor time.Time // the occurrence of the schedule it is
	Missed       int       // earlier occurrences it stands for as well
	BatchID      ID        // the batch it belongs to, 0 for none

	Steps      []string        // the names of its finished steps
	Checkpoint json.RawMessage // the last one, nil without
	Progress   Progress
	Result     json.RawMessage // of SetResult, nil without
	Log        string          // the last lines of Job.Logger, of the attempt that runs or was the last

	Attempts []Attempt // the last 10 that did not end well, oldest first
	Reason   string    // why it is Dead, or which key is missing to run it
	Parked   bool      // Ready, but no handler for its kind is registered
	Stuck    bool      // Running, and long past its timeout

	// Cursor is the place of this job in the listing that returned it; see
	// Filter.After.
	Cursor string
}

// Attempt is one run of a job that did not end in success.
type Attempt struct {
	Number    int           // 1 is the first
	StartedAt time.Time     // of one that the end of the process cut off: when the next one found that out
	Duration  time.Duration // 0 if that is not known, as the process ended
	Error     string        // at most 10,000 bytes
	Stack     string        // of a panic, at most 8,192 bytes
	Log       string        // its last lines of Job.Logger, at most 16,384 bytes
}

// Progress is how far a job has got, in the handler's own words and numbers.
type Progress struct {
	Done, Total int
	Text        string
}

// Job is a running job as its handler sees it.
type Job[T Args] struct {
	Work
	Args T
}

// Work is the part of a running job that does not depend on its args: what
// middleware sees.
type Work struct {
	ID          ID
	Kind        string
	Queue       string
	Priority    int
	Tags        []string
	Attempt     int // 1 on the first run; a snooze, an interruption or a crash costs none
	MaxAttempts int
	EnqueuedAt  time.Time

	// Of a job that a schedule enqueued: its name, the occurrence the job is
	// (in the zone of the schedule), how many earlier ones were missed and are made up for by this job, and
	// the first of those.
	Schedule     string
	ScheduledFor time.Time
	Missed       int
	MissedSince  time.Time

	// BatchID is the batch the job belongs to, 0 for none; see Queue.Batch.
	BatchID ID

	run *execution
}
