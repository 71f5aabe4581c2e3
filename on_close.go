package stint

import (
	"errors"
	"fmt"
)

// OnClose lets fn be called by Close before the file is let go of, in the
// order in which they were given, once the jobs' outcomes are recorded, and
// also if the file takes no more writes. A closed queue calls it at once. It is
// for what belongs to the file, such as a socket beside it.
//
// fn may read the queue, as with Get, but not change it any more, and must not
// call Close, which waits for it. If it panics, the others are called all the
// same, the file is let go of, and Close returns the panic as an error.
func (q *Queue) OnClose(fn func()) {
	q.mu.Lock()
	late := q.closed
	if !late {
		q.closers = append(q.closers, fn)
	}
	q.mu.Unlock()
	if late {
		fn()
	}
}

// callClosers calls what OnClose was given, and what that gives it.
func (q *Queue) callClosers() (err error) {
	for {
		q.mu.Lock()
		if len(q.closers) == 0 {
			q.closed = true
			q.mu.Unlock()
			return err
		}
		fn := q.closers[0]
		q.closers = q.closers[1:]
		q.mu.Unlock()
		err = errors.Join(err, callCloser(fn))
	}
}

func callCloser(fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("stint: a function given to OnClose failed, the file is closed all the same: %w", panicError(p))
		}
	}()
	fn()
	return nil
}
