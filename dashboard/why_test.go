package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// whyJob is a kind whose handler a test chooses; whyOther is one more.
type (
	whyJob   struct{ N int }
	whyOther struct{}
)

func (whyJob) Kind() string   { return "why" }
func (whyOther) Kind() string { return "other" }

// whyBed is what a job waits in.
type whyBed struct {
	*testing.T
	path string
	q    *stint.Queue
}

func (b *whyBed) open(cfg stint.Config) {
	b.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	q, err := stint.Open(b.path, &cfg)
	require.NoError(b, err)
	b.q = q
	b.Cleanup(func() { _ = q.Close() })
}

func (b *whyBed) handle(fn func(context.Context, *stint.Job[whyJob]) error, policy *stint.Policy) {
	stint.Handle(b.q, fn, policy)
}

// blocks is a handler that is at work until it is told to end.
func (b *whyBed) blocks(concurrency int) {
	b.handle(func(ctx context.Context, _ *stint.Job[whyJob]) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}, &stint.Policy{Timeout: -1, Concurrency: concurrency})
}

func (b *whyBed) run() (stop context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	q := b.q
	go func() {
		defer close(ended)
		_ = q.Run(ctx) // it fails where the file does
	}()
	b.Cleanup(func() {
		cancel()
		<-ended
	})
	synctest.Wait()
	return cancel
}

func (b *whyBed) add(args stint.Args, opts ...stint.Option) stint.ID {
	b.Helper()
	id, err := b.q.Enqueue(b.Context(), args, opts...)
	require.NoError(b, err)
	synctest.Wait()
	return id
}

// crash goes on with a copy of the file, as a crash leaves it.
func (b *whyBed) crash() {
	b.Helper()
	var file bytes.Buffer
	_, err := b.q.Backup(b.Context(), &file)
	require.NoError(b, err)
	b.path = filepath.Join(b.TempDir(), "again.db")
	require.NoError(b, os.WriteFile(b.path, file.Bytes(), 0o600))
	b.open(stint.Config{Workers: 4, ShutdownTimeout: time.Millisecond})
	b.blocks(0)
	b.run()
}

// suspects are jobs that were running at two crashes; the first runs again.
func (b *whyBed) suspects() (ids []stint.ID) {
	b.Helper()
	b.open(stint.Config{Workers: 4, ShutdownTimeout: time.Millisecond})
	b.blocks(0)
	b.run()
	ids = append(ids, b.add(whyJob{1}), b.add(whyJob{2}))
	b.crash()
	b.crash()
	return ids
}

// late enqueues jobs for which a handler comes while nothing can be committed.
func (b *whyBed) late() (ids []stint.ID) {
	b.Helper()
	b.open(stint.Config{})
	stint.Handle(b.q, func(_ context.Context, job *stint.Job[whyOther]) error {
		return job.Commit(func(*bolt.Tx) error { time.Sleep(time.Second); return nil })
	}, nil)
	for n := range 3 {
		ids = append(ids, b.add(whyJob{n}))
	}
	b.add(whyOther{})
	b.run()
	b.handle(func(context.Context, *stint.Job[whyJob]) error { return nil }, nil)
	return ids
}

// causesOfWaiting has a job for each cause there is.
var causesOfWaiting = map[string]struct {
	says string
	bed  func(b *whyBed) stint.ID
}{
	"scheduled": {"Scheduled for 2000-01-01 01:00:00 UTC", func(b *whyBed) stint.ID {
		b.open(stint.Config{})
		return b.add(whyJob{}, stint.In(time.Hour))
	}},
	"retrying": {"The first of 25 attempts failed", func(b *whyBed) stint.ID {
		b.open(stint.Config{})
		b.handle(func(context.Context, *stint.Job[whyJob]) error { return errors.New("no") }, nil)
		b.run()
		return b.add(whyJob{})
	}},
	"snoozed": {"Its handler has put it off until 2000-01-01 01:00:00 UTC", func(b *whyBed) stint.ID {
		b.open(stint.Config{})
		b.handle(func(context.Context, *stint.Job[whyJob]) error { return stint.Snooze(time.Hour) }, nil)
		b.run()
		return b.add(whyJob{})
	}},
	"yielded": {"It has used its slice of time", func(b *whyBed) stint.ID {
		b.open(stint.Config{})
		b.handle(func(ctx context.Context, job *stint.Job[whyJob]) error {
			time.Sleep(9 * time.Second)
			return job.Checkpoint(ctx, 1)
		}, &stint.Policy{Timeout: 10 * time.Second})
		b.run()
		id := b.add(whyJob{})
		time.Sleep(9 * time.Second)
		synctest.Wait()
		return id
	}},
	"locked": {"It is encrypted with the key", func(b *whyBed) stint.ID {
		key := func(letter byte) []byte { return bytes.Repeat([]byte{letter}, 32) }
		b.open(stint.Config{Keys: [][]byte{key('a')}})
		id := b.add(whyJob{})
		require.NoError(b, b.q.Close())
		b.open(stint.Config{Keys: [][]byte{key('b'), key('a')}})
		require.NoError(b, b.q.Close())
		b.open(stint.Config{Keys: [][]byte{key('b')}})
		b.blocks(0)
		b.run()
		return id
	}},
	"paused": {"Queue mail has been paused by ana since 2000-01-01 00:00:00 UTC", func(b *whyBed) stint.ID {
		b.open(stint.Config{})
		b.blocks(0)
		require.NoError(b, b.q.Pause(b.Context(), "mail", "ana"))
		b.run()
		return b.add(whyJob{}, stint.OnQueue("mail"))
	}},
	"no_handler": {"No handler for kind why in this process", func(b *whyBed) stint.ID {
		b.open(stint.Config{})
		b.run()
		return b.add(whyJob{})
	}},
	"not_running": {"No Run works the queue", func(b *whyBed) stint.ID {
		b.open(stint.Config{})
		b.blocks(0)
		return b.add(whyJob{})
	}},
	"stopping": {"Run is about to end, and no job begins any more", func(b *whyBed) stint.ID {
		b.open(stint.Config{Workers: 1, ShutdownTimeout: time.Minute})
		b.blocks(0)
		stop := b.run()
		b.add(whyJob{})
		id := b.add(whyJob{})
		stop()
		synctest.Wait()
		return id
	}},
	"failed": {"The file takes no more writes: the file is not there any more", func(b *whyBed) stint.ID {
		b.open(stint.Config{})
		b.run()
		id := b.add(whyJob{})
		require.NoError(b, os.Remove(b.path))
		_, err := b.q.Enqueue(b.Context(), whyJob{})
		require.ErrorIs(b, err, stint.ErrFileGone)
		synctest.Wait() // until Run has ended
		return id
	}},
	"workers": {"The only worker is busy, it is the next of its queue", func(b *whyBed) stint.ID {
		b.open(stint.Config{Workers: 1, ShutdownTimeout: 1})
		b.blocks(0)
		b.run()
		b.add(whyJob{1})
		return b.add(whyJob{2})
	}},
	"queue_limit": {"The only worker of queue mail is busy", func(b *whyBed) stint.ID {
		b.open(stint.Config{Workers: 4, ShutdownTimeout: 1, Queues: map[string]stint.QueueConfig{"mail": {Workers: 1}}})
		b.blocks(0)
		b.run()
		b.add(whyJob{1}, stint.OnQueue("mail"))
		return b.add(whyJob{2}, stint.OnQueue("mail"))
	}},
	"kind_limit": {"1 job of kind why may run at a time and does", func(b *whyBed) stint.ID {
		b.open(stint.Config{Workers: 4, ShutdownTimeout: 1})
		b.blocks(1)
		b.run()
		b.add(whyJob{1})
		return b.add(whyJob{2})
	}},
	"behind":   {"2 jobs of its queue come first", func(b *whyBed) stint.ID { return b.late()[2] }},
	"starting": {"A worker is about to begin it", func(b *whyBed) stint.ID { return b.late()[0] }},
	"suspect":  {"It was running at 2 crashes of the process, so it runs alone: after job 1", func(b *whyBed) stint.ID { return b.suspects()[1] }},
	"alone": {"Job 1 runs alone, as it was running when the process crashed", func(b *whyBed) stint.ID {
		b.suspects()
		return b.add(whyJob{3})
	}},
}

var whyItem = regexp.MustCompile(`<li>([^<]*)\.(?: <span class="faint">([^<]*)\.</span>)?</li>`)

// TestThePageTellsEachCause asks the page and the API about a job for each
// cause.
func TestThePageTellsEachCause(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../why.go")
	require.NoError(t, err)
	for _, found := range regexp.MustCompile(`(?:Cause: |Cause, r.Text = |add\()"([a-z_]+)"`).FindAllSubmatch(source, -1) {
		require.Contains(t, causesOfWaiting, string(found[1]), "a cause that no page is asked about")
	}
	for cause, one := range causesOfWaiting {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "why.db")
			synctest.Test(t, func(t *testing.T) {
				b := &whyBed{T: t, path: path}
				id := one.bed(b)
				h := testHandler(b.q, View)
				response, page := get(t, h, "/jobs/"+id.String())
				require.Equal(t, 200, response.StatusCode, page)
				require.Contains(t, page, "Why is it waiting?")
				items := whyItem.FindAllStringSubmatch(page, -1)
				var job wire.Job
				_, text := get(t, h, "/api/v1/jobs/"+id.String())
				require.NoError(t, json.Unmarshal([]byte(text), &job))
				require.Len(t, items, len(job.Why), "the page has as many as the API")

				told := 0
				for i, why := range job.Why {
					require.Equal(t, capital(why.Text), html.UnescapeString(items[i][1]))
					require.Equal(t, !why.Until.IsZero(), items[i][2] != "", "when it ends")
					if why.Cause == cause {
						told++
						require.Contains(t, html.UnescapeString(items[i][1]), one.says)
					}
				}
				require.Equal(t, 1, told, "%+v", job.Why)
			})
		})
	}
}

// Where the reason cannot be read, the page says so instead of nothing.
func TestThePageTellsThatNobodyKnows(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	id, err := q.Enqueue(t.Context(), routesJob{})
	require.NoError(t, err)
	info, err := q.Get(id)
	require.NoError(t, err)
	require.NoError(t, q.Close())
	d := newDashboard(q, &Config{NoControlSocket: true})
	require.Equal(t, []wire.Reason{{Cause: "unknown", Text: "nobody knows: the queue is closed: its bbolt database was closed"}}, d.job(info, true).Why)
}
