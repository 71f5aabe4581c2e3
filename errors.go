package stint

import "errors"

// Every error of this package wraps one of these where a caller could want to
// act on it; compare with errors.Is. Each text begins "stint: " and says what
// to do.

// Errors of Open and New.
var (
	// ErrLocked: another process, or another Queue in this one, has the file.
	ErrLocked = errors.New("stint: the file is in use")

	// ErrNotStint: the file is no queue: no bbolt file at all, or one of
	// another program. It was not touched.
	ErrNotStint = errors.New("stint: the file is not a stint file")

	// ErrNewerFormat: a newer version of stint wrote the file. It was not
	// touched.
	ErrNewerFormat = errors.New("stint: the file was written by a newer version of stint")

	// ErrCorrupt: the file is damaged or cut short. Open leaves it as it was.
	ErrCorrupt = errors.New("stint: the file is damaged")

	// ErrWrongKey: Config.Keys does not fit the file: it is encrypted with a
	// key that is not among them, or it is not encrypted. It was not touched.
	// Retry and Kill answer it for a single job whose key is missing.
	ErrWrongKey = errors.New("stint: the keys do not fit")

	// ErrConfig: a field of Config or QueueConfig has a value that makes no
	// sense.
	ErrConfig = errors.New("stint: bad config")
)

// Errors of the Enqueue family.
var (
	// ErrDuplicate: a job with the same Unique key holds the place. The id
	// returned beside it is that job's.
	ErrDuplicate = errors.New("stint: an equal job is already there")

	// ErrArgsTooLarge: the encoded args, what Merge makes of them, or what a
	// handler puts by exceed Config.MaxArgsSize.
	ErrArgsTooLarge = errors.New("stint: args too large")

	// ErrBadArgs: the args cannot be written as JSON, their kind is no valid
	// name, the function of Merge panicked or made no args of them, or those of
	// EnqueueJSON are no JSON or do not fit the type of their handler.
	ErrBadArgs = errors.New("stint: bad args")

	// ErrBadOption: an option, or what a handler puts by, has a value that
	// makes no sense.
	ErrBadOption = errors.New("stint: bad option")

	// ErrQueueFull: Config.MaxJobs unfinished jobs are stored.
	ErrQueueFull = errors.New("stint: the queue is full")

	// ErrFileFull: the file reached Config.MaxFileSize.
	ErrFileFull = errors.New("stint: the file reached its maximum size")

	// ErrUnknownKind: Perform found no handler for the kind of the args.
	ErrUnknownKind = errors.New("stint: no handler for this kind")
)

// Errors of schedules.
var (
	// ErrBadSpec: the text of a schedule, or its time zone, makes no sense, or
	// it would never run.
	ErrBadSpec = errors.New("stint: bad schedule")

	// ErrNoSchedule: the file, or this program, knows no schedule of this
	// name.
	ErrNoSchedule = errors.New("stint: no such schedule")
)

// Errors of any call.
var (
	// ErrClosed: the Queue was closed, or its bbolt database was.
	ErrClosed = errors.New("stint: the queue is closed")

	// ErrSyncFailed: a sync to disk failed. Whether the writes that were
	// under way survive is unknown, and going on could destroy the file, so
	// every later write gets this error as well. Close the queue, look at the
	// disk, open it again.
	ErrSyncFailed = errors.New("stint: a sync to disk failed, the outcome of the last writes is unknown")

	// ErrFileGone: the file was deleted, moved away, replaced or cut short
	// while the queue had it open. What would be stored now could not be found
	// again, so every later write gets this error as well. Close the queue, put
	// the right file in place, open it again.
	ErrFileGone = errors.New("stint: the file is not there any more as it was opened")

	// ErrNotFound: no job, or no batch, has this id (any more), or the job has
	// no result.
	ErrNotFound = errors.New("stint: no such job")

	// ErrRunning: the call is not possible while it is running: deleting or
	// moving a running job, or a second Run beside the first.
	ErrRunning = errors.New("stint: it is running")

	// ErrNotRunning: Commit, Step or another method of Work was called for a
	// job that its handler has already finished with or that was given back,
	// or a batch is not being planned any more.
	ErrNotRunning = errors.New("stint: the job is not running")

	// ErrBadFilter: the filter names a state that does not exist or more than
	// 10,000 IDs, has a cursor of another listing, or is empty where that would
	// act on every job.
	ErrBadFilter = errors.New("stint: bad filter")
)

// Causes with which the context of a running handler ends; see
// context.Cause.
var (
	// ErrTimeout: the attempt took longer than its Policy.Timeout.
	ErrTimeout = errors.New("stint: the attempt ran into its timeout")

	// ErrCancelled: somebody called Cancel or Kill for the job.
	ErrCancelled = errors.New("stint: the job was cancelled")

	// ErrShutdown: Run is ending and Config.ShutdownTimeout is over. The
	// attempt will not be counted. Checkpoint and CommitProgress return it as
	// soon as Run is to end.
	ErrShutdown = errors.New("stint: the queue is shutting down")
)
