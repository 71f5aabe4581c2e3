package main

import "context"

// System is a job queue to be measured: Stint or one of its peers.
type System interface {
	// Name is what the table calls it, for example "river postgres".
	Name() string

	// Durability says in a few words what is on the disk when Enqueue
	// returns, for example "fsync per commit" or "fsync every second".
	Durability() string

	// Prepare finds or starts what the system needs, such as a server on
	// loopback. An error says why the system is left out.
	Prepare(ctx context.Context, dir string) error

	// Open makes an empty queue in dir, which is new.
	Open(ctx context.Context, dir string, opt Options) (Instance, error)

	// Stop ends what Prepare has started.
	Stop() error
}

// Options are those of one measurement.
type Options struct {
	Workers int // that run jobs at the same time

	// Handle is called for each job. It may be called by many goroutines.
	Handle func(context.Context, Event) error
}

// Instance is an open queue.
type Instance interface {
	// Enqueue stores one job. It may be called by many goroutines.
	Enqueue(ctx context.Context, e Event) error

	// EnqueueMany stores jobs in the quickest way that the system has.
	EnqueueMany(ctx context.Context, list []Event) error

	// Work runs jobs until ctx ends, and returns when the workers have stopped.
	Work(ctx context.Context) error

	Close() error
}

// Event is the payload of all jobs: a webhook event of some 200 bytes as JSON.
type Event struct {
	ID        string `json:"sg_event_id"`
	Event     string `json:"event"`
	Email     string `json:"email"`
	MailingID string `json:"mailing_id"`
	Timestamp int64  `json:"timestamp"`
	UserAgent string `json:"useragent"`
}

// Kind is the name of the job.
func (Event) Kind() string { return "event" }

// oneEvent is what every job carries.
var oneEvent = Event{
	ID: "ZHVtbXktZXZlbnQtaWQtMDAwMDAwMDAwMQ", Event: "open", Email: "somebody@example.com",
	MailingID: "spring-newsletter", Timestamp: 1_790_000_000, UserAgent: "Mozilla/5.0 (X11; Linux x86_64) rv:130.0",
}
