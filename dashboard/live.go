package dashboard

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// The stream that keeps pages fresh. It never says what to show: when something
// has changed it says so, at most once a second, and the page fetches itself
// again when that does not disturb its reader.
//
//  1. Each stream looks at the counts once a second. That reads memory; events
//     would cost the workers something for each job.
//  2. Each message has the tag of the counts. A page has that of the moment
//     before it was made, so that nothing is missed in between.
//  3. A comment every 15 s keeps proxies from cutting it, and tells a reader
//     that is gone.
//  4. It ends with Run, so that http.Server.Shutdown is not held up, and with
//     the queue. The browser then tries again by itself.
var liveRoutes = []route{
	{method: "GET", path: "/live", role: View, show: (*dashboard).live, stream: true},
}

const (
	maxStreams    = 64 // at once, of all readers together
	liveInterval  = time.Second
	liveHeartbeat = 15 * time.Second
	liveTimeout   = 10 * time.Second // for one message to be taken
)

// streams counts what is open.
type streams struct{ open atomic.Int32 }

// enter takes the place of a stream, or says that there is none.
func (s *streams) enter() error {
	if s.open.Add(1) > maxStreams {
		s.open.Add(-1)
		return &failure{http.StatusServiceUnavailable, fmt.Sprintf("%d streams are open already; close a page", maxStreams), nil}
	}
	return nil
}

func (s *streams) leave() { s.open.Add(-1) }

// pulse is what a stream compares: if it is the same, nothing has changed.
type pulse struct {
	Ready     int    `json:"ready"`
	Scheduled int    `json:"scheduled"`
	Retrying  int    `json:"retrying"`
	Running   int    `json:"running"`
	Completed int    `json:"completed"`
	Dead      int    `json:"dead"`
	Processed uint64 `json:"processed"`
	Failed    uint64 `json:"failed"`
	Died      uint64 `json:"died"`
	Tasks     int    `json:"tasks"` // steps of what is under way
}

func (d *dashboard) pulse() pulse {
	c := d.q.Counts()
	p := pulse{Ready: c.Ready, Scheduled: c.Scheduled, Retrying: c.Retrying, Running: c.Running, Completed: c.Completed, Dead: c.Dead}
	for _, kind := range d.q.Kinds() {
		p.Processed += kind.Processed
		p.Failed += kind.Failed
		p.Died += kind.Died
	}
	for _, one := range d.tasks.all() {
		w := one.wire()
		p.Tasks += w.Done + 1
		if !w.EndedAt.IsZero() {
			p.Tasks++
		}
	}
	return p
}

func (d *dashboard) live(w http.ResponseWriter, r *request) error {
	if err := d.streams.enter(); err != nil {
		return err
	}
	defer d.streams.leave()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would keep the messages back
	stream := http.NewResponseController(w)
	send := func(text string) bool {
		_ = stream.SetWriteDeadline(time.Now().Add(liveTimeout)) // what cannot, has none
		_, err := w.Write([]byte(text))
		return err == nil && stream.Flush() == nil
	}

	last, lastSent := d.pulse(), time.Now()
	worked := d.q.Stats().Working
	if !send("retry: 3000\n\n" + last.message()) {
		return nil
	}
	ticker := time.NewTicker(liveInterval)
	defer ticker.Stop()
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-d.closed:
			return nil
		case <-ticker.C:
		}
		if working := d.q.Stats().Working; worked && !working {
			return nil
		} else {
			worked = working
		}
		text := ""
		if now := d.pulse(); now != last {
			last, text = now, now.message()
		} else if time.Since(lastSent) >= liveHeartbeat {
			text = ": nothing new\n\n"
		}
		if text == "" {
			continue
		}
		if !send(text) {
			return nil
		}
		lastSent = time.Now()
	}
}

func (p pulse) message() string {
	return "id: " + p.tag() + "\ndata: " + string(p.json()) + "\n\n"
}

func (p pulse) json() []byte {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // numbers only
	}
	return data
}

// tag is short, and another one for other counts.
func (p pulse) tag() string {
	sum := fnv.New64a()
	_, _ = sum.Write(p.json())
	return strconv.FormatUint(sum.Sum64(), 36)
}
