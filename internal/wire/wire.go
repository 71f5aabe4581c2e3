// Package wire has the JSON that the dashboard's API and the stint command
// exchange. Names are those of the log and of the metrics; durations are in
// seconds, times in RFC 3339.
package wire

import (
	"encoding/json"
	"time"
)

// Job is a job as it may be seen: what is to be kept secret is masked.
type Job struct {
	ID       uint64          `json:"id"`
	Kind     string          `json:"kind"`
	Queue    string          `json:"queue"`
	State    string          `json:"state"`
	Priority int             `json:"priority"`
	Args     json.RawMessage `json:"args,omitempty"`
	Tags     []string        `json:"tags,omitempty"`

	EnqueuedAt time.Time `json:"enqueued_at"`
	RunAt      time.Time `json:"run_at,omitzero"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`

	Attempt     int `json:"attempt"` // the present one, the next, or the last of a dead job
	MaxAttempts int `json:"max_attempts"`
	Failures    int `json:"failures"`
	Snoozes     int `json:"snoozes,omitempty"`
	Crashes     int `json:"crashes,omitempty"`

	Schedule     string    `json:"schedule,omitempty"`
	ScheduledFor time.Time `json:"scheduled_for,omitzero"`
	Missed       int       `json:"missed,omitempty"`
	BatchID      uint64    `json:"batch_id,omitempty"`

	Error    string    `json:"error,omitempty"` // the first line of the last one, or why it is dead
	Reason   string    `json:"reason,omitempty"`
	Parked   bool      `json:"parked,omitempty"`
	Stuck    bool      `json:"stuck,omitempty"`
	Progress *Progress `json:"progress,omitempty"`

	// Of a single job only.
	Result     json.RawMessage `json:"result,omitempty"`
	Checkpoint json.RawMessage `json:"checkpoint,omitempty"`
	Steps      []string        `json:"steps,omitempty"`
	Log        string          `json:"log,omitempty"`
	Attempts   []Attempt       `json:"attempts,omitempty"`
	Why        []Reason        `json:"why,omitempty"`
}

// Progress of a job or of a task.
type Progress struct {
	Done  int    `json:"done"`
	Total int    `json:"total"`
	Text  string `json:"text,omitempty"`
}

// Attempt is one that did not end well.
type Attempt struct {
	Number    int       `json:"number"`
	StartedAt time.Time `json:"started_at"`
	Seconds   float64   `json:"seconds"`
	Error     string    `json:"error"`
	Stack     string    `json:"stack,omitempty"`
	Log       string    `json:"log,omitempty"`
}

// Reason is why a job waits.
type Reason struct {
	Cause string    `json:"cause"`
	Text  string    `json:"text"`
	Until time.Time `json:"until,omitzero"`
	Ahead int       `json:"ahead,omitempty"`
	About float64   `json:"about_seconds,omitempty"`
}

// Jobs is a page of a listing.
type Jobs struct {
	Jobs     []Job  `json:"jobs"`
	Next     string `json:"next,omitempty"`     // the after of the next page
	Searched int    `json:"searched,omitempty"` // jobs that were looked at
	Partial  bool   `json:"partial,omitempty"`  // the search has stopped at its budget; Next goes on
}

// Counts are jobs by state.
type Counts struct {
	Ready     int `json:"ready"`
	Scheduled int `json:"scheduled"`
	Retrying  int `json:"retrying"`
	Running   int `json:"running"`
	Completed int `json:"completed"`
	Dead      int `json:"dead"`
	Parked    int `json:"parked"`
}

// Stats is a summary of all.
type Stats struct {
	Counts
	Processed   uint64    `json:"processed"`
	Failed      uint64    `json:"failed"`
	Died        uint64    `json:"died"`
	Workers     int       `json:"workers"`
	Working     bool      `json:"working"`
	Stuck       int       `json:"stuck"`
	Quarantined int       `json:"quarantined"`
	OldestWait  float64   `json:"oldest_wait_seconds"`
	WaitP50     float64   `json:"wait_p50_seconds"`
	WaitP99     float64   `json:"wait_p99_seconds"`
	RunP50      float64   `json:"run_p50_seconds"`
	RunP99      float64   `json:"run_p99_seconds"`
	FileSize    int64     `json:"file_size_bytes"`
	FileFree    int64     `json:"file_free_bytes"`
	OpenedAt    time.Time `json:"opened_at"`
	Health      string    `json:"health"` // one sentence
	Level       string    `json:"level"`  // good, late or bad
	Version     string    `json:"version"`
	PID         int       `json:"pid"`
}

// Queue is a named queue.
type Queue struct {
	Name string `json:"name"`
	Counts
	Processed   uint64    `json:"processed"`
	Failed      uint64    `json:"failed"`
	Workers     int       `json:"workers,omitempty"`
	OldestWait  float64   `json:"oldest_wait_seconds"`
	Paused      bool      `json:"paused"`
	PausedBy    string    `json:"paused_by,omitempty"`
	PausedSince time.Time `json:"paused_since,omitzero"`
}

// Kind is a kind of jobs.
type Kind struct {
	Name string `json:"name"`
	Counts
	Processed uint64 `json:"processed"`
	Failed    uint64 `json:"failed"`
	Died      uint64 `json:"died"`
	Handled   bool   `json:"handled"`
}

// Schedule is a schedule and its last runs.
type Schedule struct {
	Name        string        `json:"name"`
	Spec        string        `json:"spec"`
	Zone        string        `json:"zone"`
	Words       string        `json:"words"`
	Kind        string        `json:"kind"`
	Next        time.Time     `json:"next,omitzero"`
	Last        time.Time     `json:"last,omitzero"`
	LastJob     uint64        `json:"last_job,omitempty"`
	Paused      bool          `json:"paused"`
	PausedBy    string        `json:"paused_by,omitempty"`
	PausedSince time.Time     `json:"paused_since,omitzero"`
	Orphaned    bool          `json:"orphaned,omitempty"`
	Waiting     int           `json:"waiting,omitempty"`
	Missed      string        `json:"missed_policy"`
	Overlap     string        `json:"overlap_policy"`
	Runs        []ScheduleRun `json:"runs,omitempty"`
	Upcoming    []time.Time   `json:"upcoming,omitempty"` // of a single schedule only
}

// ScheduleRun is an entry of a schedule's history.
type ScheduleRun struct {
	At      time.Time `json:"at"`
	Job     uint64    `json:"job,omitempty"`
	State   string    `json:"state,omitempty"`
	Missed  int       `json:"missed,omitempty"`
	Skipped int       `json:"skipped,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	EndedAt time.Time `json:"ended_at,omitzero"`
}

// Batch is a batch.
type Batch struct {
	ID          uint64    `json:"id"`
	Name        string    `json:"name"`
	Schedule    string    `json:"schedule,omitempty"`
	Planned     int       `json:"planned"`
	Done        int       `json:"done"`
	Dead        int       `json:"dead"`
	Removed     int       `json:"removed"`
	Failed      int       `json:"failed"`
	Skipped     int       `json:"skipped"`
	Bad         int       `json:"bad"`
	Planning    bool      `json:"planning"`
	PlanError   string    `json:"plan_error,omitempty"`
	Errors      []string  `json:"errors,omitempty"`
	CancelledBy string    `json:"cancelled_by,omitempty"`
	StartedAt   time.Time `json:"started_at"`
	PlannedAt   time.Time `json:"planned_at,omitzero"`
	FinishedAt  time.Time `json:"finished_at,omitzero"`
	OnDone      uint64    `json:"on_done,omitempty"`
}

// Task is something long that was begun: a bulk action, a compaction.
type Task struct {
	ID        string    `json:"id"`
	Verb      string    `json:"verb"`
	Target    string    `json:"target"`
	By        string    `json:"by"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Progress
	Note   string  `json:"note,omitempty"`
	Error  string  `json:"error,omitempty"`
	Faults []Fault `json:"faults,omitempty"` // of check and repair
}

// Action is an entry of the action log.
type Action struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Verb   string    `json:"verb"`
	Target string    `json:"target"`
	Note   string    `json:"note,omitempty"`
}

// Start is a run of a process on the file.
type Start struct {
	At        time.Time `json:"at"`
	Ended     time.Time `json:"ended,omitzero"`
	Crashed   bool      `json:"crashed"`
	Recovered int       `json:"recovered"`
	PID       int       `json:"pid"`
	Host      string    `json:"host"`
	Version   string    `json:"version"`
}

// Event is one move of a job.
type Event struct {
	At    time.Time `json:"at"`
	Type  string    `json:"type"`
	ID    uint64    `json:"id,omitempty"`
	Kind  string    `json:"kind,omitempty"`
	Queue string    `json:"queue"`
	From  string    `json:"from,omitempty"`
	To    string    `json:"to,omitempty"`
}

// Fault is what Check finds.
type Fault struct {
	Job        uint64 `json:"job,omitempty"`
	Text       string `json:"text"`
	Repairable bool   `json:"repairable"`
	Repaired   bool   `json:"repaired,omitempty"`
}

// Error is the answer to what was refused.
type Error struct {
	Error  string `json:"error"`
	Status int    `json:"status"`
}
