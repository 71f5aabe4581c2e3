package stint_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestCommitProgress(t *testing.T) {
	scenario(t, "stores each item's effect and the cursor as one, and Commit the last", func(t *testing.T) {
		q, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
			next := 0
			_, err := job.Resume(&next)
			require.NoError(t, err)
			require.Equal(t, 3*(run-1), next)
			for ; next < 10; next++ {
				err := job.CommitProgress(count(strconv.Itoa(next)), next+1)
				require.NoError(t, err)
				if next%3 == 2 {
					return errOops
				}
			}
			return job.Commit(count("last"))
		})
		require.Equal(t, stint.Completed, info.State)
		require.Equal(t, 3, info.Failures)
		require.Equal(t, "10", string(info.Checkpoint))
		got := counters(q.DB())
		require.Len(t, got, 11)
		for what, n := range got {
			require.Equal(t, 1, n, what)
		}
	})
	undone := map[string]func() error{
		"an error":        func() error { return errOops },
		"a panic":         func() error { panic("oops") },
		"runtime.Goexit":  func() error { runtime.Goexit(); return nil },
		"a control error": func() error { return stint.Snooze(time.Hour) },
	}
	for what, leave := range undone {
		scenario(t, "is undone by "+what+" of the function, and leaves the cursor", func(t *testing.T) {
			q, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], run int) error {
				require.NoError(t, job.CommitProgress(count("good"), 1))
				err := job.CommitProgress(func(tx *bolt.Tx) error {
					require.NoError(t, count("bad")(tx))
					return leave()
				}, 2)
				require.Error(t, err)
				at := 0
				_, err = job.Resume(&at)
				require.NoError(t, err)
				require.Equal(t, 1, at)
				return job.CommitProgress(count("good"), 3)
			})
			require.Equal(t, stint.Completed, info.State)
			require.Equal(t, "3", string(info.Checkpoint))
			require.Equal(t, map[string]int{"good": 2}, counters(q.DB()))
		})
	}
	scenario(t, "brings jobs with it", func(t *testing.T) {
		q := open(t, nil)
		followers := handle[other](q, nil, nil)
		stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
			for i := range 5 {
				err := job.CommitProgress(func(tx *bolt.Tx) error {
					_, err := q.EnqueueTx(tx, other{S: strconv.Itoa(i)})
					return err
				}, i)
				if err != nil {
					return err
				}
			}
			return nil
		}, nil)
		enqueue(t, q, note{})
		run(t, q)
		synctest.Wait()
		require.Len(t, followers.ids(), 5)
		require.Zero(t, q.Counts())
	})
	scenario(t, "of others is called again when one of the group fails", func(t *testing.T) {
		q := open(t, nil)
		var calls atomic.Int32
		var proceed [3]chan bool
		for i := range proceed {
			proceed[i] = make(chan bool)
		}
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			n := job.Args.N
			<-proceed[n]
			err := job.CommitProgress(func(tx *bolt.Tx) error {
				calls.Add(1)
				if n == 1 {
					return errOops
				}
				return count(strconv.Itoa(n))(tx)
			}, n)
			<-proceed[n]
			return err
		}, hour)
		var ids []stint.ID
		for n := range proceed {
			ids = append(ids, enqueue(t, q, note{n}))
		}
		h := holder(t, q, 1)
		for _, c := range proceed {
			c <- true
			synctest.Wait()
		}
		h.release()
		synctest.Wait()
		require.EqualValues(t, 4, calls.Load(), "the first one twice")
		require.Equal(t, map[string]int{"0": 1, "2": 1}, counters(q.DB()))
		for n, id := range ids {
			want := map[int]string{0: "0", 2: "2"}[n]
			require.Equal(t, want, string(get(t, q, id).Checkpoint))
			require.Equal(t, stint.Running, get(t, q, id).State)
			close(proceed[n])
		}
		synctest.Wait()
		require.Equal(t, stint.Counts{Retrying: 1}, q.Counts())
	})
	scenario(t, "is refused inside itself and beside another", func(t *testing.T) {
		_, info := inRuns(t, nil, func(ctx context.Context, job *stint.Job[note], _ int) error {
			return job.CommitProgress(func(*bolt.Tx) error {
				require.ErrorIs(t, job.CommitProgress(count("inner"), 1), stint.ErrNotRunning)
				require.ErrorIs(t, job.Commit(count("inner")), stint.ErrNotRunning)
				return nil
			}, 2)
		})
		require.Equal(t, stint.Completed, info.State)
		require.Equal(t, "2", string(info.Checkpoint))
	})
	scenario(t, "with CompleteTx in its function completes the job", func(t *testing.T) {
		q := open(t, nil)
		completed, proceed := make(chan bool), make(chan bool)
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			err := job.CommitProgress(func(tx *bolt.Tx) error {
				return errors.Join(count("effect")(tx), job.CompleteTx(tx))
			}, 2)
			require.NoError(t, err)
			require.ErrorIs(t, job.CommitProgress(count("effect"), 3), stint.ErrNotRunning)
			completed <- true
			<-proceed
			return errOops
		}, &stint.Policy{Concurrency: 1})
		id := enqueue(t, q, note{})
		run(t, q)
		<-completed
		gone(t, q, id)
		require.Zero(t, q.Counts())
		next := enqueue(t, q, note{})
		<-completed // it has the place of the first one
		gone(t, q, next)
		require.Equal(t, map[string]int{"effect": 2}, counters(q.DB()))
		close(proceed)
		synctest.Wait()
		require.Zero(t, q.Counts())
	})
}

// A cursor on disk never goes back, and never lacks an effect or has one too
// many, whatever else the job and others do at the same time.
func TestCommitProgressUnderLoad(t *testing.T) {
	q := open(t, &stint.Config{Workers: 20})
	const jobs, items = 20, 60
	stint.Handle(q, func(ctx context.Context, job *stint.Job[note]) error {
		var wg sync.WaitGroup
		defer wg.Wait()
		done := make(chan bool)
		defer close(done)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					job.Progress(i, items, "beside")
					runtime.Gosched()
				}
			}
		})
		next := 0
		if _, err := job.Resume(&next); err != nil {
			return err
		}
		for ; next < items; next++ {
			key := fmt.Sprintf("%d/%d", job.Args.N, next)
			if err := job.Checkpoint(ctx, next); err != nil { // never newer than what follows
				return err
			}
			fails := (next+job.Args.N)%7 == 0 && job.Attempt%2 == 1
			err := job.CommitProgress(func(tx *bolt.Tx) error {
				if err := count(key)(tx); err != nil || fails {
					return errors.Join(err, errOops)
				}
				return nil
			}, next+1)
			if err != nil {
				return err
			}
			if err := job.Step(ctx, key, func(context.Context) error { return nil }); err != nil {
				return err
			}
		}
		return nil
	}, &stint.Policy{Backoff: stint.Constant(time.Millisecond), MaxAttempts: 1000})
	for n := range jobs {
		enqueue(t, q, note{n})
	}
	run(t, q)
	eventually(t, func() bool {
		for info, err := range q.Jobs(stint.Filter{}) {
			require.NoError(t, err)
			at, _ := strconv.Atoi(string(info.Checkpoint))
			require.GreaterOrEqual(t, at, len(info.Steps))
		}
		return q.Counts() == stint.Counts{}
	}, "all are done")
	got := counters(q.DB())
	require.Len(t, got, jobs*items)
	for key, n := range got {
		require.Equal(t, 1, n, key)
	}
}

// grouped is a job that does what it is told while groups of the committer
// are put together by hand.
type grouped struct {
	q            *stint.Queue
	id           stint.ID
	do           chan func(context.Context, *stint.Job[note])
	start, leave [3]chan bool
}

// group holds the committer in one group after another: begin(i) sends it the
// i-th holder, which stays in its transaction until end(i).
func group(t *testing.T) *grouped {
	g := &grouped{q: open(t, nil), do: make(chan func(context.Context, *stint.Job[note]))}
	for i := range g.start {
		g.start[i], g.leave[i] = make(chan bool), make(chan bool)
	}
	stint.Handle(g.q, func(ctx context.Context, job *stint.Job[note]) error {
		if job.Args.N == 0 {
			for do := range g.do {
				do(ctx, job)
			}
			return nil
		}
		<-g.start[job.Args.N]
		entered := false
		return job.Commit(func(*bolt.Tx) error {
			if !entered { // or the group is applied again
				entered = true
				<-g.leave[job.Args.N]
			}
			return nil
		})
	}, &stint.Policy{Timeout: -1})
	g.id = enqueue(t, g.q, note{})
	for n := 1; n < len(g.start); n++ {
		enqueue(t, g.q, note{n})
	}
	return g
}

func (g *grouped) begin(i int) { close(g.start[i]); synctest.Wait() }
func (g *grouped) end(i int)   { close(g.leave[i]); synctest.Wait() }

// tell lets the job do something, which may have to wait for the committer.
func (g *grouped) tell(do func(ctx context.Context, job *stint.Job[note])) {
	g.do <- func(ctx context.Context, job *stint.Job[note]) { go do(ctx, job) }
	synctest.Wait()
}

func (g *grouped) checkpoint(t *testing.T, value int) {
	t.Helper()
	g.tell(func(ctx context.Context, job *stint.Job[note]) { require.NoError(t, job.Checkpoint(ctx, value)) })
}

// stored wants a checkpoint in the file.
func (g *grouped) stored(t *testing.T, want string) {
	t.Helper()
	require.Equal(t, want, string(get(t, g.q, g.id).Checkpoint))
}

func TestCursorsKeepTheirOrder(t *testing.T) {
	// saving is a checkpoint 1 that is in a transaction that goes on.
	saving := func(t *testing.T) *grouped {
		g := group(t)
		run(t, g.q)
		g.begin(1)
		g.checkpoint(t, 1)
		g.begin(2)
		g.end(1)
		g.checkpoint(t, 2)
		g.stored(t, "")
		return g
	}
	scenario(t, "a checkpoint that comes while one is being saved is saved behind it", func(t *testing.T) {
		g := saving(t)
		g.end(2)
		g.stored(t, "2")
		close(g.do)
	})
	scenario(t, "a checkpoint that had to wait does not overwrite what CommitProgress has stored", func(t *testing.T) {
		g := saving(t)
		g.tell(func(ctx context.Context, job *stint.Job[note]) {
			require.NoError(t, job.CommitProgress(count("effect"), 3))
		})
		g.end(2)
		g.stored(t, "3")
		require.Equal(t, map[string]int{"effect": 1}, counters(g.q.DB()))
		close(g.do)
	})
	scenario(t, "a checkpoint that comes while a step is being stored is saved behind it", func(t *testing.T) {
		g := group(t)
		run(t, g.q)
		g.begin(1)
		g.checkpoint(t, 1)
		g.tell(func(ctx context.Context, job *stint.Job[note]) {
			require.NoError(t, job.Step(ctx, "one", func(context.Context) error { return nil }))
		})
		g.begin(2)
		g.end(1)
		g.checkpoint(t, 2)
		g.end(2)
		g.stored(t, "2")
		require.Equal(t, []string{"one"}, get(t, g.q, g.id).Steps)
		close(g.do)
	})
	scenario(t, "a CommitProgress that fails leaves a checkpoint before it to be saved", func(t *testing.T) {
		g := saving(t)
		g.tell(func(ctx context.Context, job *stint.Job[note]) {
			require.ErrorIs(t, job.CommitProgress(func(*bolt.Tx) error { return errOops }, 3), errOops)
		})
		g.end(2)
		g.stored(t, "2")
		close(g.do)
	})
	scenario(t, "what reaches the committer after its job was given back is not stored", func(t *testing.T) {
		g := group(t)
		w := begin(g.q)
		synctest.Wait()
		g.begin(1)
		errs := make(chan error, 1)
		g.tell(func(_ context.Context, job *stint.Job[note]) { errs <- job.CommitProgress(count("effect"), 3) })
		w.end()
		time.Sleep(time.Minute)
		g.end(1)
		require.ErrorContains(t, <-w.result, "still run")
		require.ErrorIs(t, <-errs, stint.ErrNotRunning)
		require.Empty(t, counters(g.q.DB()))
		g.stored(t, "")
		close(g.do)
		close(g.start[2])
		close(g.leave[2])
		synctest.Wait()
	})
}
