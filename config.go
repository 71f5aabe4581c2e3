package stint

import (
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Config is what Open and New may be told. The zero value works, and so does
// a nil *Config. Where a limit is meant, a negative value switches it off.
type Config struct {
	// Workers is the number of handlers that run at the same time in all
	// queues together; 10 by default. See SetWorkers.
	Workers int

	// Queues narrows single queues. A queue that is not named here is worked
	// too, with weight 1 and no limit of its own.
	Queues map[string]QueueConfig

	// MaxJobs bounds the unfinished jobs in the file: Enqueue answers
	// ErrQueueFull beyond it. No bound by default.
	MaxJobs int

	// MaxArgsSize bounds the JSON of one job's args in bytes; 1 MiB by
	// default, 16 MiB at most.
	MaxArgsSize int

	// MaxFileSize bounds the file in bytes: Enqueue answers ErrFileFull
	// beyond it, while jobs that are stored can still finish. What History
	// tells waits in memory then, for room or for Close. The file grows in
	// steps of up to 1 MiB, so the bound is coarse. No bound by default.
	// Ignored by New.
	MaxFileSize int

	// CompactAt lets the file be compacted by itself when this share of it is
	// free space, and 16 MiB at least: before Open returns, and while Run
	// works, where the commits look; see Compact. 0.5 is a good value. It must be less than
	// 1; 0, the default, never does it. Ignored by New and on Windows.
	CompactAt float64

	// Keys encrypt, with AES-256-GCM, what jobs are about and what went wrong
	// with them: args, results, steps, checkpoints, progress texts, logs, and
	// errors. Readable stay kinds, queues, tags, the names of schedules,
	// batches and of who paused something, the log of LogAction, times, numbers,
	// about how long args are, and which jobs that are Unique or in batches have
	// equal ones. What leaves the file is not encrypted: errors go to Logger as
	// they are, and so does all to Export.
	//
	// A key is 32 random bytes, as rand.Read of crypto/rand makes them; who
	// loses it loses the content of the jobs. The first key encrypts, all of
	// them decrypt: put a new one first and keep the old one behind it until
	// the jobs that were stored with it are gone, or until Rekey has rewritten
	// the file. A backup needs the keys of its time. Nonces are random, so use
	// a key for no more than 2^32 writes of jobs into one file, and then a new
	// one. A job whose key is missing is Scheduled again and again, every 5
	// minutes, and its Info.Reason names the key; it still expires, if it was
	// to. Keys are for a file that was made with them, or that Rekey has
	// encrypted; ErrWrongKey otherwise, and without keys for such a file.
	Keys [][]byte

	// ShutdownTimeout is how long handlers may go on once Run's context has
	// ended, before their own contexts end as well; 25 s by default. They get
	// 3 s more before Run gives up on them, so Run ends within 30 s, which is
	// what most hosts allow.
	ShutdownTimeout time.Duration

	// KeepCompleted is how long a completed job stays in the file; by default
	// it is deleted at once, or after an hour if it has set a result. Negative
	// keeps it for ever.
	KeepCompleted time.Duration

	// KeepDead and MaxDead bound the dead set by age and by number: 180 days
	// and 10,000 by default, the oldest go first.
	KeepDead time.Duration
	MaxDead  int

	// LockTimeout is how long Open waits for another process to let go of the
	// file; 5 s by default. Negative does not wait.
	LockTimeout time.Duration

	// Logger gets failures and what an operator should know; slog.Default()
	// by default. Args are never logged.
	Logger *slog.Logger

	// OnDeath is called after a job died, outside of any transaction, one
	// call at a time. It is not durable: a crash in between loses the call,
	// not the dead job. It may use the queue, but not Close it: Close waits
	// for it.
	OnDeath func(Info)

	// EnqueueMiddleware and WorkMiddleware run around every enqueueing and
	// every attempt, the first of the slice outermost.
	EnqueueMiddleware []EnqueueMiddleware
	WorkMiddleware    []WorkMiddleware
}

// QueueConfig narrows one queue.
type QueueConfig struct {
	// Workers bounds the handlers of this queue that run at the same time; by
	// default only Config.Workers does. See SetWorkers.
	Workers int

	// Weight is the queue's share of the workers when several queues have
	// jobs waiting: a queue of weight 3 gets three for one of a queue of
	// weight 1, the default. No queue with jobs is ever left out.
	Weight int
}

const (
	defaultWorkers         = 10
	defaultMaxArgsSize     = 1 << 20
	hardMaxArgsSize        = 16 << 20
	defaultShutdownTimeout = 25 * time.Second
	defaultKeepDead        = 180 * 24 * time.Hour
	defaultMaxDead         = 10_000
	defaultLockTimeout     = 5 * time.Second

	forever = time.Duration(math.MaxInt64)
)

// withDefaults is a checked copy in which every field has its value.
func (c *Config) withDefaults() (*Config, error) {
	var out Config
	if c != nil {
		out = *c
	}
	orDefault(&out.Workers, defaultWorkers, math.MaxInt)
	orDefault(&out.MaxJobs, math.MaxInt, math.MaxInt)
	orDefault(&out.MaxArgsSize, defaultMaxArgsSize, hardMaxArgsSize)
	orDefault(&out.MaxDead, defaultMaxDead, math.MaxInt)
	orDefault(&out.ShutdownTimeout, defaultShutdownTimeout, forever)
	orDefault(&out.KeepDead, defaultKeepDead, forever)
	orDefault(&out.KeepCompleted, 0, forever)
	orDefault(&out.LockTimeout, defaultLockTimeout, 0)
	out.MaxFileSize = max(out.MaxFileSize, 0)
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	out.Logger = slog.New(calmHandler{out.Logger.Handler()})

	if c != nil && c.Workers < 0 {
		return nil, fmt.Errorf("%w: Workers is %d; leave it 0 for %d", ErrConfig, c.Workers, defaultWorkers)
	}
	if !(out.CompactAt < 1) {
		return nil, fmt.Errorf("%w: CompactAt is %v; it is a share of the file and must be less than 1", ErrConfig, out.CompactAt)
	}
	if out.MaxArgsSize > hardMaxArgsSize {
		return nil, fmt.Errorf("%w: MaxArgsSize is %d; at most %d are possible, put larger data into a file and its name into the args", ErrConfig, out.MaxArgsSize, hardMaxArgsSize)
	}
	keys, err := checkKeys(out.Keys)
	if err != nil {
		return nil, err
	}
	out.Keys = keys
	for name, qc := range out.Queues {
		if err := checkName("queue", name); err != nil {
			return nil, fmt.Errorf("%w: Queues: %w", ErrConfig, err)
		}
		if qc.Workers < 0 || qc.Weight < 0 {
			return nil, fmt.Errorf("%w: queue %q has a negative Workers or Weight; Pause stops a queue", ErrConfig, name)
		}
	}
	return &out, nil
}

// orDefault gives a field its default when it is 0, and what "off" means when
// it is negative.
func orDefault[T int | time.Duration](field *T, byDefault, off T) {
	switch {
	case *field == 0:
		*field = byDefault
	case *field < 0:
		*field = off
	}
}
