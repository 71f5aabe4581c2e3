package stint

import (
	"errors"
	"fmt"
	"time"
)

// slowCommit is how long a commit may be under way.
const slowCommit = 10 * time.Second

var (
	errNotWorking = errors.New("stint: no Run works the queue; call Queue.Run")
	errStopping   = errors.New("stint: Run is about to end, and no job begins any more")
)

// Health is nil if the queue can do its work: the file takes writes, Run is
// working and not about to end, and no commit has been under way for more than
// 10 s. Otherwise it is an error that says what is wrong, of all that is:
// ErrClosed, ErrSyncFailed and the other errors that stop a queue, or one in
// words. It reads memory only and does not wait.
func (q *Queue) Health() error {
	q.mu.RLock()
	closing, r := q.closing, q.runner
	q.mu.RUnlock()
	failure := q.commit.failure()
	found := []error{failure}
	switch {
	case closing:
		found = append(found, ErrClosed)
	case failure != nil: // it has ended Run
	case r == nil:
		found = append(found, errNotWorking)
	case q.ending.Load():
		found = append(found, errStopping)
	}
	if took := q.commit.underwayFor(); took > slowCommit {
		found = append(found, fmt.Errorf("stint: a commit has been under way for %v; look at the disk, and for a transaction that does not end", took.Round(time.Second)))
	}
	return errors.Join(found...)
}

// underwayFor is how long the commit that is under way has taken so far, or 0.
func (c *committer) underwayFor() time.Duration {
	began := c.began.Load()
	if began == 0 {
		return 0
	}
	return time.Since(c.made) - time.Duration(began)
}
