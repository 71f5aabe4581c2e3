package stint

// The inbox of the committer: what was handed over and waits for the next
// group. It is guarded by committer.mu.

// add hands a change over. It reports false when the queue is closed.
func (c *committer) add(ch change) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.inbox = append(c.inbox, ch)
	wake := len(c.inbox) == 1
	if isAwaited(ch) {
		c.awaited++
		wake = wake || c.resting
	}
	c.mu.Unlock()
	if wake {
		c.wake()
	}
	return true
}

// post lets the loop call fn between two groups.
func (c *committer) post(fn func()) {
	c.mu.Lock()
	c.notes = append(c.notes, fn)
	c.mu.Unlock()
	c.wake()
}

// wake lets the loop look for work.
func (c *committer) wake() {
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// isClosed says whether the inbox takes no more.
func (c *committer) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// maxGroup bounds what one transaction takes: the number of changes, each
// 16 KiB of its jobs counting as one more. Dirty pages stay in memory until
// the commit.
const maxGroup = 4096

// takeGroup moves the completions that were kept and the front of the inbox
// into the batch, and reports whether some are left.
func (c *committer) takeGroup() bool {
	c.batch = append(c.batch[:0], c.kept...)
	c.kept = nil
	n := 0
	c.answered = 0
	for weight := 0; n < len(c.inbox) && weight < maxGroup; n++ {
		weight++
		if isAwaited(c.inbox[n]) {
			c.answered++
		}
		if ins, ok := c.inbox[n].(*insertion); ok {
			weight += ins.size >> 14
		}
	}
	c.awaited -= c.answered
	c.batch = append(c.batch, c.inbox[:n]...)
	left := copy(c.inbox, c.inbox[n:])
	clear(c.inbox[left:])
	c.inbox = c.inbox[:left]
	return left > 0
}

// flush returns when everything handed to the committer before is on disk.
func (q *Queue) flush() error {
	b := barrier{make(chan error, 1)}
	if !q.commit.add(b) {
		return nil
	}
	return <-b.reached
}

// barrier is a change that changes nothing.
type barrier struct{ reached chan error }

func (b barrier) begin() bool      { return true }
func (b barrier) apply(*txn) error { return nil }
func (b barrier) end(err error)    { b.reached <- err }
