package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stintq/stint"
)

type demoOptions struct {
	events   int
	mailings int
	workers  int
}

const (
	demoBatch   = 50 // events in a request
	demoPosters = 8  // requests at the same time
	demoRepeat  = 50 // one batch in so many is sent twice
)

// demo starts the service on a temporary file, sends it a burst of events as
// SendGrid would, and checks the counters.
func demo(ctx context.Context, opt demoOptions, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "webhooks")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	s, err := start(options{addr: "127.0.0.1:0", db: filepath.Join(dir, "events.db"), key: &key.PublicKey, workers: opt.workers})
	if err != nil {
		return err
	}
	b := &burst{
		demoOptions: opt,
		url:         s.url,
		queue:       s.queue,
		sender:      newSender(key, demoPosters),
		traffic:     newTraffic(1, opt.mailings),
	}
	fmt.Fprintf(stdout, "%s SendGrid events for %d mailings, in signed batches of %d, %d at a time, to %s/webhook\n",
		thousands(opt.events), opt.mailings, demoBatch, demoPosters, s.url)
	err = b.run(ctx, newProgress(stderr, b.toSend()), stdout)
	b.sender.close() // else the server waits for connections that were opened and never used
	return errors.Join(err, s.stop())
}

// burst is one run of the demonstration.
type burst struct {
	demoOptions
	url     string
	queue   *stint.Queue
	sender  *sender
	traffic *traffic

	mu       sync.Mutex
	batches  int // taken by a poster
	accepted int // events, with those that were sent twice
	answers  []time.Duration
}

// toSend is the number of events with those that are sent twice.
func (b *burst) toSend() int {
	all := b.events
	for at := 0; at < b.events; at += demoBatch * demoRepeat {
		all += min(demoBatch, b.events-at)
	}
	return all
}

func (b *burst) run(ctx context.Context, bar *progress, stdout io.Writer) error {
	began := time.Now()
	accepted, processed, err := b.watch(ctx, bar)
	bar.end()
	if err != nil {
		return err
	}
	b.printSpeed(stdout, accepted.Sub(began), processed.Sub(began))

	counted, err := b.sender.report(ctx, b.url)
	if err != nil {
		return err
	}
	printMailings(stdout, counted)
	if counted.Queue.Dead > 0 {
		return fmt.Errorf("%d jobs are dead", counted.Queue.Dead)
	}
	if err := b.traffic.check(counted.Mailings); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nOK: each of the %s events is counted exactly once.\n", thousands(b.events))
	return nil
}

// watch sends everything and returns when the last event was accepted and
// when the last one was processed.
func (b *burst) watch(ctx context.Context, bar *progress) (accepted, processed time.Time, err error) {
	sent := make(chan error, 1)
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { sent <- b.send(ctx) })
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-sent:
			if err != nil {
				return accepted, processed, err
			}
			accepted = time.Now()
		case <-tick.C:
		}
		known := b.acceptedSoFar() // before the counts, which may have more by now
		counts := b.queue.Counts()
		left := counts.Ready + counts.Running + counts.Retrying
		bar.show(known, max(known-left, 0))
		if !accepted.IsZero() && left == 0 {
			return accepted, time.Now(), nil
		}
		if !accepted.IsZero() && ctx.Err() != nil {
			return accepted, processed, context.Cause(ctx)
		}
	}
}

// send posts all events, and gives up at the first that is not accepted.
func (b *burst) send(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var posters sync.WaitGroup
	for range demoPosters {
		posters.Go(func() {
			if err := b.post(ctx); err != nil {
				cancel(err)
			}
		})
	}
	posters.Wait()
	return context.Cause(ctx)
}

// post is one poster.
func (b *burst) post(ctx context.Context) error {
	for {
		batch, times := b.next()
		if batch == nil {
			return nil
		}
		for range times {
			asked := time.Now()
			if err := b.sender.post(ctx, b.url, batch); err != nil {
				return err
			}
			b.note(len(batch), time.Since(asked))
		}
	}
}

// next is a batch and how often to send it, or nil at the end.
func (b *burst) next() (batch []Event, times int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := min(demoBatch, b.events-b.traffic.made)
	if size == 0 {
		return nil, 0
	}
	times = 1
	if b.batches%demoRepeat == 0 {
		times = 2
	}
	b.batches++
	return b.traffic.batch(size), times
}

func (b *burst) note(events int, answer time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepted += events
	b.answers = append(b.answers, answer)
}

func (b *burst) acceptedSoFar() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted
}

func (b *burst) printSpeed(out io.Writer, accepted, processed time.Duration) {
	speed := func(d time.Duration) string {
		return fmt.Sprintf("%s in %.2f s: %s events/s", thousands(b.accepted), d.Seconds(), thousands(int(float64(b.accepted)/d.Seconds())))
	}
	slices.Sort(b.answers)
	fmt.Fprintf(out, "accepted   %s, every answer after a sync to disk\n", speed(accepted))
	fmt.Fprintf(out, "answers    p50 %s, p99 %s for a POST of %d events\n", percentile(b.answers, 50), percentile(b.answers, 99), demoBatch)
	fmt.Fprintf(out, "processed  %s\n", speed(processed))
	fmt.Fprintf(out, "repeated   %s of them: one batch in %d was sent twice, as SendGrid does when an answer gets lost\n\n", thousands(b.accepted-b.events), demoRepeat)
}

func printMailings(out io.Writer, r report) {
	const row = "%-20s%10s%10s%10s\n"
	fmt.Fprintf(out, row, "mailing", "opens", "clicks", "other")
	for _, m := range r.Mailings {
		fmt.Fprintf(out, row, m.ID, thousands(m.Opens), thousands(m.Clicks), thousands(m.Other))
	}
	fmt.Fprintf(out, row, "total", thousands(r.Totals.Opens), thousands(r.Totals.Clicks), thousands(r.Totals.Other))
}

// percentile reads a sorted list.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[(len(sorted)-1)*p/100].Round(100 * time.Microsecond)
}
