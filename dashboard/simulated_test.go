package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

type (
	simulatedMail    struct{ To string }
	simulatedHook    struct{ URL string }
	simulatedReport  struct{ Month string }
	simulatedPicture struct{ Name string }
	simulatedOther   struct{}
)

func (simulatedMail) Kind() string    { return "mail.send" }
func (simulatedHook) Kind() string    { return "webhook.deliver" }
func (simulatedReport) Kind() string  { return "report.build" }
func (simulatedPicture) Kind() string { return "picture.resize" }
func (simulatedOther) Kind() string   { return "legacy.sync" } // has no handler

var simulatedConfig = stint.Config{Workers: 12, Queues: map[string]stint.QueueConfig{"reports": {Workers: 2}}}

// simulated is a queue after two hours of work in a bubble of synctest, whose
// process has crashed once and was updated once.
func simulated(t *testing.T) *stint.Queue {
	path := filepath.Join(t.TempDir(), "jobs.db")
	first := simulate(t, path, 70*time.Minute)
	var crashed bytes.Buffer
	_, err := first.q.Backup(t.Context(), &crashed) // as a crash leaves it
	require.NoError(t, err)
	first.close(t)
	require.NoError(t, os.WriteFile(path, crashed.Bytes(), 0o600))
	time.Sleep(4 * time.Minute)
	second := simulate(t, path, 21*time.Minute)
	second.close(t)
	last := simulate(t, path, 25*time.Minute+10*time.Second)
	return last.q
}

type simulation struct {
	q     *stint.Queue
	stop  context.CancelFunc
	ended chan error
	once  sync.Once
}

func (s *simulation) close(t *testing.T) {
	s.once.Do(func() {
		s.stop()
		require.NoError(t, <-s.ended)
		require.NoError(t, s.q.Close())
	})
}

func simulate(t *testing.T, path string, how time.Duration) *simulation {
	cfg := simulatedConfig
	cfg.Logger = slog.New(slog.DiscardHandler)
	q, err := stint.Open(path, &cfg)
	require.NoError(t, err)
	q.DB().NoSync = true
	t.Cleanup(func() { _ = q.Close() })
	var n atomic.Int64
	wobble := func(most int64) time.Duration { return time.Duration((n.Add(1)*7919)%most+1) * time.Millisecond }
	stint.Handle(q, func(_ context.Context, job *stint.Job[simulatedMail]) error {
		time.Sleep(100*time.Millisecond + wobble(900))
		if job.ID%23 == 0 {
			return fmt.Errorf("550 mailbox of <%s> is full (id %d)", job.Args.To, job.ID)
		}
		return nil
	}, &stint.Policy{Queue: "mail", MaxAttempts: 3})
	stint.Handle(q, func(_ context.Context, job *stint.Job[simulatedHook]) error {
		time.Sleep(20*time.Millisecond + wobble(3000))
		switch job.ID % 6 {
		case 0:
			return fmt.Errorf("POST %s: dial tcp 10.1.7.%d:443: connect: connection refused", job.Args.URL, job.ID%200)
		case 1:
			return errors.New(`POST answered "502 Bad Gateway"`)
		}
		return nil
	}, &stint.Policy{Queue: "webhooks", MaxAttempts: 5, Concurrency: 4})
	stint.Handle(q, func(ctx context.Context, job *stint.Job[simulatedReport]) error {
		for i := range 40 {
			job.Progress(i, 40, fmt.Sprintf("page %d", i))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wobble(6000)):
			}
		}
		return nil
	}, &stint.Policy{Queue: "reports", Timeout: 10 * time.Minute})
	stint.Handle(q, func(context.Context, *stint.Job[simulatedPicture]) error { time.Sleep(wobble(300)); return nil }, nil)
	require.NoError(t, q.Periodic("monthly-report", "*/7 * * * *", simulatedReport{Month: "May"}))
	require.NoError(t, q.Periodic("clean-up", "0 3 * * *", simulatedPicture{}))
	require.NoError(t, q.Periodic("digest", "@hourly", simulatedMail{To: "all@example.org"}))

	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &simulation{q: q, stop: stop, ended: make(chan error, 1)}
	t.Cleanup(func() { s.close(t) })
	go func() { s.ended <- q.Run(ctx) }()
	for end := time.Now().Add(how); time.Now().Before(end); {
		minute := int(time.Now().Unix() / 60)
		s.enqueue(t, simulatedMail{To: "ana@example.org"}, 20+minute*minute%37)
		s.enqueue(t, simulatedHook{URL: "https://example.org/hook"}, 6+minute%13)
		s.enqueue(t, simulatedPicture{Name: "x"}, minute%11)
		time.Sleep(time.Minute)
	}
	return s
}

func (s *simulation) enqueue(t *testing.T, args stint.Args, n int, opts ...stint.Option) {
	if n > 0 {
		_, err := s.q.EnqueueAll(t.Context(), slices.Repeat([]stint.Args{args}, n), opts...)
		require.NoError(t, err)
	}
}
