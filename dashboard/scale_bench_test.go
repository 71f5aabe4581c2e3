package dashboard

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// How the dashboard does with a million jobs: how long a page takes, and what a
// reader costs the workers.

const scaleJobs = 1_000_000

// scaled are args of several kinds.
type scaled struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
	kind   string
}

func (s scaled) Kind() string {
	if s.kind == "" {
		return "scaled/0"
	}
	return s.kind
}

// fill stores so many jobs in four queues; those of the last one may be delayed.
func fill(b *testing.B, q *stint.Queue, jobs, kinds int, delayed bool) {
	for queue := range 4 {
		var options []stint.Option
		if queue == 3 && delayed {
			options = append(options, stint.In(time.Hour))
		}
		options = append(options, stint.OnQueue(fmt.Sprintf("queue-%d", queue)), stint.Tags("scale"))
		n, err := q.EnqueueSeq(context.Background(), iter.Seq[stint.Args](func(yield func(stint.Args) bool) {
			for i := range jobs / 4 {
				if !yield(scaled{Number: i, Text: "some text that is as long as such texts are", kind: fmt.Sprintf("scaled/%d", i%kinds)}) {
					return
				}
			}
		}), options...)
		require.NoError(b, err)
		require.Equal(b, jobs/4, n)
	}
}

func openScaled(b *testing.B) (q *stint.Queue, end func()) {
	dir := b.TempDir()
	q, err := stint.Open(filepath.Join(dir, "scale.db"), &stint.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	return q, func() {
		require.NoError(b, q.Close())
		require.NoError(b, os.RemoveAll(dir))
	}
}

// serveScaled is the dashboard on a real connection.
func serveScaled(b *testing.B, q *stint.Queue) (address string, end func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := &http.Server{Handler: Handler(q, &Config{NoControlSocket: true})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return "http://" + listener.Addr().String() + "/", func() {
		require.NoError(b, server.Close())
		<-served
	}
}

// BenchmarkPageOfAMillionJobs tells the time to the first byte of each page:
// the median and the worst, in ms.
func BenchmarkPageOfAMillionJobs(b *testing.B) {
	q, closeQueue := openScaled(b)
	defer closeQueue()
	fill(b, q, scaleJobs, 10, true)
	require.NoError(b, q.Pause(context.Background(), "queue-0", "ana"))
	base, closeServer := serveScaled(b, q)
	defer closeServer()
	for _, page := range []string{
		"", "jobs", "jobs?state=ready", "jobs?state=scheduled", "jobs?state=dead",
		"jobs?q=kind:scaled/7", "jobs?state=ready&q=kind:scaled/7", "jobs?q=queue:queue-2", "jobs?q=tag:scale", "jobs?q=tag:none", "jobs?q=args.number:424242", "jobs?q=error:timeout", "jobs?q=nothing",
		"jobs/500000", "queues", "queue?name=queue-1", "kinds", "kind?name=scaled/3", "schedules", "batches", "system", "enqueue",
		"metrics", "healthz", "api/v1/stats", "api/v1/jobs", "api/v1/queues", "api/v1/count?q=kind:scaled/7",
	} {
		name := page
		if name == "" {
			name = "overview"
		}
		b.Run(name, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				began := time.Now()
				response, err := http.Get(base + page)
				require.NoError(b, err)
				times = append(times, time.Since(began)) // the head has come
				_, err = io.Copy(io.Discard, response.Body)
				require.NoError(b, err)
				require.NoError(b, response.Body.Close())
				require.Equal(b, http.StatusOK, response.StatusCode)
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(times[len(times)-1].Microseconds())/1000, "ms-worst")
		})
	}
}

// BenchmarkWorkersWithReader drains a backlog with and without a reader of the
// overview, whose page fetches itself again once a second, and compares. The
// two take turns, since machines are noisy.
func BenchmarkWorkersWithReader(b *testing.B) {
	var ratios []float64
	for b.Loop() {
		var alone, read time.Duration
		if len(ratios)%2 == 0 {
			alone, read = drain(b, false), drain(b, true)
		} else {
			read, alone = drain(b, true), drain(b, false)
		}
		ratios = append(ratios, float64(alone)/float64(read))
		b.Logf("alone %v, with a reader %v", alone.Round(time.Millisecond), read.Round(time.Millisecond))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "of-throughput-alone")
}

// drain works a backlog and tells how long that takes.
func drain(b *testing.B, read bool) time.Duration {
	q, closeQueue := openScaled(b)
	defer closeQueue()
	fill(b, q, scaleJobs, 1, false)
	stint.Handle(q, func(context.Context, *stint.Job[scaled]) error { return nil }, nil)
	base, closeServer := serveScaled(b, q)
	defer closeServer()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	looked := make(chan int, 1)
	go func() { looked <- look(ctx, base, read) }()
	ran := make(chan error, 1)
	began := time.Now()
	go func() { ran <- q.Run(ctx) }()
	for q.Counts().Ready+q.Counts().Running > 0 {
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	stop()
	require.NoError(b, <-ran)
	if n := <-looked; read {
		require.Positive(b, n)
	}
	return took
}

// look reads as a browser does, and returns how many pages it has read.
func look(ctx context.Context, base string, read bool) (pages int) {
	get := func(page string) *http.Response {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+page, nil)
		if err != nil {
			return nil
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil
		}
		return response
	}
	if !read {
		return 0
	}
	if live := get("live"); live != nil {
		defer live.Body.Close()
	}
	for ctx.Err() == nil {
		if response := get(""); response != nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			pages++
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return pages
}
