package dashboard

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/stintq/stint"
)

// notes are what actions did, told on the page that follows. The address has
// only a number: a text in it could be anybody's.
type notes struct {
	mu   sync.Mutex
	list []note // the last maxNotes
}

type note struct{ id, text string }

const maxNotes = 100

func (n *notes) add(text string) (id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id = rand.Text()[:12]
	n.list = append(n.list, note{id, text})
	if len(n.list) > maxNotes {
		n.list = n.list[1:]
	}
	return id
}

func (n *notes) find(id string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, one := range n.list {
		if one.id == id {
			return one.text
		}
	}
	return ""
}

// logTimeout bounds the wait for the log entry of an action that was done.
const logTimeout = 10 * time.Second

// logAction puts an action, also one that failed, into the file's log. What
// only asked for something without naming it is not an action.
func (d *dashboard) logAction(r *request, out outcome, err error) {
	if out.verb == "" {
		return
	}
	a := stint.Action{By: r.access.User, Verb: out.verb, Target: out.target, Note: out.note}
	if err != nil {
		a.Note = "failed: " + err.Error()
	}
	// The sender may be gone; what it did is still to be known.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), logTimeout)
	defer cancel()
	if err := d.q.LogAction(ctx, a); err != nil {
		d.log.Error("stint dashboard: an action could not be logged", "by", a.By, "verb", a.Verb, "target", a.Target, "error", err)
	}
}
