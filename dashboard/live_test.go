package dashboard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// stream is a reader of the live stream.
type stream struct {
	mu     sync.Mutex
	text   strings.Builder
	header http.Header
	status int
	ended  chan struct{}
}

func (s *stream) Header() http.Header { return s.header }
func (s *stream) WriteHeader(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = code
}
func (s *stream) Flush() {}
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// take is what has come since the last call.
func (s *stream) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.text.String()
	s.text.Reset()
	return text
}

func listenLive(ctx context.Context, h http.Handler) *stream {
	s := &stream{header: http.Header{}, ended: make(chan struct{})}
	r := httptest.NewRequest(http.MethodGet, "/live", nil).WithContext(ctx)
	go func() {
		defer close(s.ended)
		h.ServeHTTP(s, r)
	}()
	synctest.Wait()
	return s
}

func TestLive(t *testing.T) {
	t.Parallel()

	t.Run("it tells of changes once a second at most, and otherwise that it is there", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := testQueue(t, nil)
			h := testHandler(q, View)
			ctx, leave := context.WithCancel(t.Context())
			s := listenLive(ctx, h)
			require.Contains(t, s.take(), `"ready":0`)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			require.Empty(t, s.take())
			for range 100 {
				_, err := q.Enqueue(ctx, testArgs{}, stint.OnQueue("mail"))
				require.NoError(t, err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			text := s.take()
			require.Equal(t, 1, strings.Count(text, "data:"), text)
			require.Contains(t, text, `"ready":100`)
			time.Sleep(16 * time.Second)
			synctest.Wait()
			require.Equal(t, ": nothing new\n\n", s.take())
			leave()
			<-s.ended
		})
	})

	t.Run("it ends with Run, so that a server can be shut down", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := testQueue(t, nil)
			run, stop := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- q.Run(run) }()
			synctest.Wait()
			s := listenLive(t.Context(), testHandler(q, View))
			stop()
			require.NoError(t, <-ran)
			<-s.ended
		})
	})

	t.Run("it ends with the queue", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := testQueue(t, nil)
			s := listenLive(t.Context(), testHandler(q, View))
			require.NoError(t, q.Close())
			<-s.ended
		})
	})

	t.Run("their number is bounded, and a place that was left is free", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			h := testHandler(testQueue(t, nil), View)
			ctx, leave := context.WithCancel(t.Context())
			streams := make([]*stream, maxStreams)
			for i := range streams {
				streams[i] = listenLive(ctx, h)
			}
			response, body := get(t, h, "/live")
			require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
			require.Contains(t, body, "close a page")
			leave()
			for _, s := range streams {
				<-s.ended
			}
			ctx, leave = context.WithCancel(t.Context())
			again := listenLive(ctx, h)
			require.Contains(t, again.take(), "data:")
			leave()
			<-again.ended
		})
	})
}
