package dashboard

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// The stream of events, as JSON lines.
//
//  1. A subscription gathers events; what does not fit into its buffer is
//     dropped by the queue, and told as a line of its own.
//  2. Events that are there at once go out as one write. An empty line every
//     15 s keeps proxies from cutting the stream, and finds out that the reader
//     has gone.
//  3. The stream ends with Run, so that http.Server.Shutdown is not held up,
//     with the queue, and when its reader takes nothing for 10 s.
var apiEventRoutes = []route{
	{method: "GET", path: "/api/v1/events", role: View, show: (*dashboard).apiEvents, stream: true},
}

const (
	eventBuffer    = 10_000
	eventChunk     = 500 // events of one write
	eventLook      = time.Second
	eventHeartbeat = 15 * time.Second
	eventTimeout   = 10 * time.Second // for one write to be taken
)

// eventTypes are all that have a name.
var eventTypes = sync.OnceValue(func() (types []stint.EventType) {
	for one := stint.JobEnqueued; !strings.Contains(one.String(), "("); one++ {
		types = append(types, one)
	}
	return types
})

// eventTypesNamed reads "job_died,job_failed"; none is all.
func eventTypesNamed(text string) ([]stint.EventType, error) {
	var types []stint.EventType
	if text == "" {
		return nil, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		found := false
		for _, one := range eventTypes() {
			if one.String() == name {
				types, found = append(types, one), true
			}
		}
		if !found {
			return nil, bad("there is no type of events %q; types are %v", name, eventTypes())
		}
	}
	return types, nil
}

func (d *dashboard) apiEvents(w http.ResponseWriter, r *request) error {
	types, err := eventTypesNamed(r.URL.Query().Get("types"))
	if err != nil {
		return err
	}
	if err := d.streams.enter(); err != nil {
		return err
	}
	defer d.streams.leave()
	sub := d.q.Subscribe(eventBuffer, types...)
	defer sub.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep the lines back
	stream := &eventStream{w: w, control: r.control, sub: sub}
	if !stream.send() { // nothing yet, but the reader knows that it is subscribed
		return nil
	}
	d.feed(r, stream)
	return nil
}

// feed sends events until the stream is to end.
func (d *dashboard) feed(r *request, stream *eventStream) {
	ticker := time.NewTicker(eventLook)
	defer ticker.Stop()
	worked, sent := false, time.Now()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-d.closed:
			return
		case e, ok := <-stream.sub.C:
			if !ok {
				return
			}
			stream.add(wireEvent(e))
			if open := stream.gather(); !stream.send() || !open {
				return
			}
			sent = time.Now()
		case <-ticker.C:
			working := d.q.Stats().Working
			if worked && !working {
				return
			}
			worked = working
			if stream.tellDropped() || time.Since(sent) >= eventHeartbeat {
				if !stream.send() {
					return
				}
				sent = time.Now()
			}
		}
	}
}

func wireEvent(e stint.Event) wire.Event {
	out := wire.Event{At: e.At, Type: e.Type.String(), ID: uint64(e.ID), Kind: e.Kind, Queue: e.Queue}
	if e.From != 0 {
		out.From = e.From.String()
	}
	if e.To != 0 {
		out.To = e.To.String()
	}
	return out
}

// eventStream is what a reader gets.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	sub     *stint.Subscription
	lines   bytes.Buffer // of the next write
	told    uint64       // of what was dropped
}

// gather adds what is there without waiting, and says whether more may come.
func (s *eventStream) gather() (open bool) {
	for range eventChunk {
		select {
		case e, ok := <-s.sub.C:
			if !ok {
				return false
			}
			s.add(wireEvent(e))
		default:
			return true
		}
	}
	return true
}

func (s *eventStream) add(line any) {
	enc := json.NewEncoder(&s.lines)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		panic(err) // texts, numbers and times only
	}
}

// tellDropped adds a line if events were dropped since the last one.
func (s *eventStream) tellDropped() bool {
	dropped := s.sub.Dropped()
	if dropped == s.told {
		return false
	}
	s.add(wire.Dropped{Type: "dropped", Count: dropped - s.told})
	s.told = dropped
	return true
}

// send writes what was gathered, or an empty line, and says whether the reader
// has taken it.
func (s *eventStream) send() bool {
	s.tellDropped()
	if s.lines.Len() == 0 {
		s.lines.WriteByte('\n')
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(eventTimeout)) // what cannot, has none
	_, err := s.lines.WriteTo(s.w)
	return err == nil && s.control.Flush() == nil
}
