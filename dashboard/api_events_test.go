package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// eventsReader is the connection of a stream.
type eventsReader struct {
	header http.Header

	mu       sync.Mutex
	text     bytes.Buffer
	deadline time.Time
	late     bool          // a write came without a deadline in the future
	block    chan struct{} // writes wait until it is closed
	fail     error
}

func (e *eventsReader) Header() http.Header { return e.header }
func (e *eventsReader) WriteHeader(int)     {}
func (e *eventsReader) Flush()              {}

func (e *eventsReader) SetWriteDeadline(at time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deadline = at
	return nil
}

func (e *eventsReader) Write(b []byte) (int, error) {
	if e.block != nil {
		<-e.block
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail != nil {
		return 0, e.fail
	}
	e.late = e.late || time.Until(e.deadline) <= 0 && e.block == nil
	return e.text.Write(b)
}

// take is what has come since the last call.
func (e *eventsReader) take() string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.text.Reset()
	return e.text.String()
}

// stream opens one, which tells when it has ended.
func (e *eventsReader) stream(h http.Handler, query string) (stop func(), ended chan struct{}) {
	e.header = http.Header{}
	ctx, cancel := context.WithCancel(context.Background())
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		h.ServeHTTP(e, localRequest("GET", "/api/v1/events"+query, nil).WithContext(ctx))
	}()
	synctest.Wait()
	return cancel, ended
}

func isOver(ended chan struct{}) bool {
	synctest.Wait()
	select {
	case <-ended:
		return true
	default:
		return false
	}
}

func eventLines(t *testing.T, text string) (types []string, events []wire.Event) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line == "\n" {
			continue
		}
		var e wire.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		types, events = append(types, e.Type), append(events, e)
	}
	return types, events
}

func TestEventsAreStreamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := routesQueue(t)
		stint.Handle(q, func(context.Context, *stint.Job[routesJob]) error { return nil }, nil)
		apiRun(t, q)
		h := routesHandler(q, nil)
		all, some := &eventsReader{}, &eventsReader{}
		stop, ended := all.stream(h, "")
		stopSome, endedSome := some.stream(h, "?types=job_died,queue_paused")
		require.Equal(t, "\n", all.take(), "the reader knows that it is subscribed")
		require.Equal(t, "application/x-ndjson", all.header.Get("Content-Type"))

		id, err := q.Enqueue(t.Context(), routesJob{})
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, q.Pause(t.Context(), "low", "ana"))
		types, events := eventLines(t, all.take())
		require.Equal(t, []string{"job_enqueued", "job_started", "job_completed", "queue_paused"}, types)
		require.Equal(t, wire.Event{At: events[2].At, Type: "job_completed", ID: uint64(id), Kind: "routes/job", Queue: "default", From: "running", To: "completed"}, events[2])
		require.Equal(t, wire.Event{At: events[3].At, Type: "queue_paused", Queue: "low"}, events[3])
		types, _ = eventLines(t, some.take())
		require.Equal(t, []string{"queue_paused"}, types)

		stop()
		require.True(t, isOver(ended))
		require.False(t, isOver(endedSome))
		stopSome()
		require.True(t, isOver(endedSome))
		require.False(t, all.late, "each write has a deadline of its own")
	})
}

func TestEventsKeepTheConnectionAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reader := &eventsReader{}
		stop, ended := reader.stream(routesHandler(routesQueue(t), nil), "")
		require.Equal(t, "\n", reader.take())
		time.Sleep(14500 * time.Millisecond)
		require.Empty(t, reader.take())
		time.Sleep(time.Second)
		require.Equal(t, "\n", reader.take())
		time.Sleep(45 * time.Second)
		require.Equal(t, "\n\n\n", reader.take())
		require.False(t, reader.late)
		stop()
		require.True(t, isOver(ended))
	})
}

func TestEventsEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(q *stint.Queue, stopRun func(), reader *eventsReader){
		"with Run":       func(_ *stint.Queue, stopRun func(), _ *eventsReader) { stopRun(); time.Sleep(2 * time.Second) },
		"with the queue": func(q *stint.Queue, stopRun func(), _ *eventsReader) { stopRun(); _ = q.Close() },
		"with the reader": func(_ *stint.Queue, _ func(), r *eventsReader) {
			r.mu.Lock()
			r.fail = errors.New("gone")
			r.mu.Unlock()
			time.Sleep(15 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := routesQueue(t)
				stopRun := apiRun(t, q)
				d := newDashboard(q, nil)
				reader := &eventsReader{}
				stop, ended := reader.stream(d.handler(), "")
				defer stop()
				time.Sleep(3 * time.Second)
				require.False(t, isOver(ended))
				require.EqualValues(t, 1, d.streams.open.Load())
				end(q, stopRun, reader)
				require.True(t, isOver(ended))
				require.Zero(t, d.streams.open.Load())
			})
		})
	}
}

// TestEventsTellDrops: a reader that is slow costs the queue nothing, and
// learns what it has missed.
func TestEventsTellDrops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const jobs = eventBuffer + 2345
		q := routesQueue(t)
		reader := &eventsReader{block: make(chan struct{})}
		stop, ended := reader.stream(routesHandler(q, nil), "")
		args := func(yield func(stint.Args) bool) {
			for range jobs {
				if !yield(routesJob{}) {
					return
				}
			}
		}
		_, err := q.EnqueueSeq(t.Context(), args)
		require.NoError(t, err)
		close(reader.block)
		time.Sleep(2 * time.Second)
		events, dropped := 0, uint64(0)
		for line := range strings.Lines(reader.take()) {
			var told wire.Dropped
			switch {
			case line == "\n":
			case strings.HasPrefix(line, `{"type":"dropped"`):
				require.NoError(t, json.Unmarshal([]byte(line), &told))
				dropped += told.Count
			default:
				events++
			}
		}
		require.Equal(t, jobs, events+int(dropped))
		require.Positive(t, dropped)
		stop()
		require.True(t, isOver(ended))
	})
}

func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := routesHandler(routesQueue(t), nil)
		var stops []func()
		for range maxStreams {
			stop, _ := (&eventsReader{}).stream(h, "")
			stops = append(stops, stop)
		}
		w := serve(t, h, localRequest("GET", "/api/v1/events", nil))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Contains(t, w.Body.String(), "streams are open already")
		stops[0]()
		synctest.Wait()
		stop, ended := (&eventsReader{}).stream(h, "")
		require.False(t, isOver(ended), "there is a place again")
		for _, one := range append(stops, stop) {
			one()
		}
		require.True(t, isOver(ended))
	})
}

// TestShutdownIsNotHeldUp: a server with a stream open can be shut down once
// Run has ended.
func TestShutdownIsNotHeldUp(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	stopRun := apiRun(t, q)
	server := httptest.NewServer(routesHandler(q, nil))
	response, err := server.Client().Get(server.URL + "/api/v1/events")
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Eventually(t, func() bool { return q.Stats().Working }, 10*time.Second, time.Millisecond)
	time.AfterFunc(1500*time.Millisecond, stopRun) // the stream has seen Run at work by then
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, server.Config.Shutdown(ctx))
	server.Close()
}
