package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// get asks a handler through the transport.
func getFrom(ctx context.Context, t *testing.T, tr *inProcess) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://stint/x?y=z", nil)
	require.NoError(t, err)
	answer, err := (&http.Client{Transport: tr}).Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func TestTransportStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		tr := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Query", r.URL.RawQuery)
			w.WriteHeader(http.StatusAccepted)
			w.Header().Set("X-Late", "too late")
			control := http.NewResponseController(w)
			if control.SetWriteDeadline(time.Now()) != nil || control.Flush() != nil {
				panic("a deadline or a flush is refused")
			}
			<-next
			_, _ = io.WriteString(w, "later")
		})}
		answer := getFrom(t.Context(), t, tr)
		require.Equal(t, http.StatusAccepted, answer.StatusCode, "the header comes before the body")
		require.Equal(t, "y=z", answer.Header.Get("X-Query"))
		require.Empty(t, answer.Header.Get("X-Late"))
		close(next)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.Equal(t, "later", string(body))
		tr.wait()
	})
}

func TestTransportTellsTheHandlerThatTheReaderHasGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := io.WriteString(w, "more"); err != nil {
					break
				}
			}
			<-r.Context().Done()
		})}
		answer := getFrom(t.Context(), t, tr)
		_, err := io.ReadFull(answer.Body, make([]byte, 10))
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		tr.wait()
	})
}

func TestTransportPassesOnThatAnAnswerWasBrokenOff(t *testing.T) {
	t.Parallel()
	tr := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half of ")
		panic(http.ErrAbortHandler)
	})}
	answer := getFrom(t.Context(), t, tr)
	body, err := io.ReadAll(answer.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "half of ", string(body))
	tr.wait()
}

func TestTransportEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tr := &inProcess{handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
		time.AfterFunc(time.Second, cancel)
		r, err := http.NewRequestWithContext(ctx, "POST", "http://stint/x", strings.NewReader("body"))
		require.NoError(t, err)
		_, err = tr.RoundTrip(r)
		require.True(t, errors.Is(err, context.Canceled), err)
		tr.wait()
	})
}
