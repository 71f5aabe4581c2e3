package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// inProcess is a RoundTripper that calls a handler in this process.
//
//  1. Each request gets a goroutine for the handler, and a pipe for the body of
//     the answer, so that long ones stream.
//  2. RoundTrip returns with the header, as soon as the handler has written it.
//  3. Closing the body ends the request's context, as a lost connection does.
//  4. wait returns when no handler runs any more; only then is the queue closed.
type inProcess struct {
	handler http.Handler
	running sync.WaitGroup
}

func (t *inProcess) wait() { t.running.Wait() }

func (t *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	served := r.Clone(ctx)
	served.RequestURI = r.URL.RequestURI()
	served.Host = r.URL.Host
	if served.Body == nil {
		served.Body = http.NoBody
	}
	reader, writer := io.Pipe()
	w := &pipeResponse{header: http.Header{}, pipe: writer, ready: make(chan struct{})}
	t.running.Go(func() {
		defer cancel()
		w.end(t.serve(w, served))
	})
	select {
	case <-w.ready:
	case <-ctx.Done():
		_ = reader.CloseWithError(ctx.Err())
		return nil, ctx.Err()
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.sent, ContentLength: -1,
		Body: &pipeBody{reader, cancel}, Request: r,
	}, nil
}

// serve calls the handler. A panic with http.ErrAbortHandler is how handlers
// break off an answer; any other is a mistake in the program, and ends it.
func (t *inProcess) serve(w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			err = io.ErrUnexpectedEOF
		} else if p != nil {
			panic(p)
		}
	}()
	t.handler.ServeHTTP(w, r)
	return r.Body.Close()
}

// pipeResponse is the answer as the handler sees it.
type pipeResponse struct {
	header http.Header
	pipe   *io.PipeWriter
	once   sync.Once

	ready  chan struct{} // closed when the two below are set
	status int
	sent   http.Header
}

func (w *pipeResponse) Header() http.Header { return w.header }

func (w *pipeResponse) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.ready)
	})
}

func (w *pipeResponse) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pipe.Write(p)
}

// FlushError and the deadlines are what http.ResponseController asks for: a
// pipe keeps nothing back, and its reader is in this process.
func (w *pipeResponse) FlushError() error                { w.WriteHeader(http.StatusOK); return nil }
func (w *pipeResponse) SetWriteDeadline(time.Time) error { return nil }
func (w *pipeResponse) SetReadDeadline(time.Time) error  { return nil }

func (w *pipeResponse) end(err error) {
	w.WriteHeader(http.StatusOK)
	_ = w.pipe.CloseWithError(err) // never fails; nil is io.EOF
}

// pipeBody is the body as the client sees it.
type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *pipeBody) Close() error {
	b.cancel()
	return b.CloseWithError(errors.New("the reader has gone"))
}
