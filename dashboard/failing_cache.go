package dashboard

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// failingCache keeps what was found for a moment: one reader's page asks for it
// each second while jobs fail, and it is read from up to 2,000 records.
type failingCache struct {
	mu   sync.Mutex
	list []*failingSearch // the newest last
}

// failingSearch is one for a kind. What it found is not changed any more.
type failingSearch struct {
	kind   string
	began  time.Time
	done   chan struct{} // closed when the rest is known
	groups []*failing
	all    bool
	err    error
}

const (
	failingKept  = 2 * time.Second
	failingKinds = 20 // that are kept at most
)

// failures is searchFailures of the last 2 seconds. Readers who come while it is
// searched wait for the one search.
func (d *dashboard) failures(kind string) (groups []*failing, all bool, err error) {
	s, mine := d.lastFailing.claim(kind)
	if !mine {
		<-s.done
		return s.groups, s.all, s.err
	}
	defer close(s.done)
	s.err = errFailingLost // if Config.Redact panics
	s.groups, s.all, s.err = d.searchFailures(kind)
	if s.err != nil {
		d.lastFailing.forget(s)
	}
	return s.groups, s.all, s.err
}

var errFailingLost = errors.New("stint: the search for failures did not come to its end; ask again")

// claim is the search for a kind, and whether the caller is the one to do it.
func (c *failingCache) claim(kind string) (s *failingSearch, mine bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = slices.DeleteFunc(c.list, func(s *failingSearch) bool { return now.Sub(s.began) >= failingKept })
	for _, s := range c.list {
		if s.kind == kind {
			return s, false
		}
	}
	if len(c.list) == failingKinds {
		c.list = slices.Delete(c.list, 0, 1)
	}
	s = &failingSearch{kind: kind, began: now, done: make(chan struct{})}
	c.list = append(c.list, s)
	return s, true
}

func (c *failingCache) forget(s *failingSearch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = slices.DeleteFunc(c.list, func(other *failingSearch) bool { return other == s })
}

// forgetAll is for when somebody has changed something, and looks.
func (c *failingCache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = nil
}
