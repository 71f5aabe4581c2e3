package stint_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

var steps = []time.Duration{time.Minute, 10 * time.Minute, 24 * time.Hour}

// doneWork is what a test has seen happen.
type doneWork struct {
	mu    sync.Mutex
	kinds map[string]*[6]float64 // minute and kind → enqueued, completed, failed, died, handlers, their seconds
	waits map[string]int         // minute and queue → jobs that have waited
}

func newDoneWork() *doneWork {
	return &doneWork{kinds: map[string]*[6]float64{}, waits: map[string]int{}}
}

func minuteOf(at time.Time, step time.Duration, name string) string {
	return at.UTC().Truncate(step).Format("02 15:04 ") + name
}

func (d *doneWork) note(kind string, what int, n float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := minuteOf(time.Now(), time.Minute, kind)
	if d.kinds[key] == nil {
		d.kinds[key] = &[6]float64{}
	}
	d.kinds[key][what] += n
}

func (d *doneWork) ran(w *stint.Work, took time.Duration) {
	d.note(w.Kind, 4, 1)
	d.note(w.Kind, 5, took.Seconds())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waits[minuteOf(time.Now(), time.Minute, w.Queue)]++
}

// compare holds the History in all steps against what was done until before.
func (d *doneWork) compare(t *testing.T, q *stint.Queue, before time.Time) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	year := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(key string) time.Time {
		at, err := time.Parse("02 15:04", key[:8])
		require.NoError(t, err)
		return year.AddDate(0, 0, at.Day()-1).Add(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute)
	}
	for _, step := range steps {
		kinds, waits := map[string][6]float64{}, map[string]int{}
		for key, n := range d.kinds {
			if at(key).Before(before) {
				sum := kinds[minuteOf(at(key), step, key[9:])]
				for i := range sum {
					sum[i] += n[i]
				}
				kinds[minuteOf(at(key), step, key[9:])] = sum
			}
		}
		for key, n := range d.waits {
			if at(key).Before(before) {
				waits[minuteOf(at(key), step, key[9:])] += n
			}
		}
		periods, err := q.History(step, year)
		require.NoError(t, err)
		gotWaits := map[string]int{}
		for i, p := range periods {
			require.Equal(t, step, p.Length)
			require.True(t, i == 0 || periods[i-1].Start.Before(p.Start))
			var all stint.Tally
			for kind, n := range p.Kinds {
				key := minuteOf(p.Start, step, kind)
				want := kinds[key]
				require.Equal(t, [5]float64(want[:5]), [5]float64{float64(n.Enqueued), float64(n.Completed), float64(n.Failed), float64(n.Died), float64(n.Run.Count())}, "%v %s", step, key)
				require.InDelta(t, want[5], n.Run.Sum, 1e-6)
				delete(kinds, key)
				all.Enqueued, all.Completed, all.Failed, all.Died = all.Enqueued+n.Enqueued, all.Completed+n.Completed, all.Failed+n.Failed, all.Died+n.Died
			}
			require.Equal(t, all, stint.Tally{Enqueued: p.Enqueued, Completed: p.Completed, Failed: p.Failed, Died: p.Died})
			for queue, flow := range p.Queues {
				if n := int(flow.Wait.Count()); n > 0 {
					gotWaits[minuteOf(p.Start, step, queue)] = n
				}
			}
		}
		require.Empty(t, kinds, "in steps of %v", step)
		require.Equal(t, waits, gotWaits, "in steps of %v", step)
	}
}

// work handles the jobs of a simulated shop.
func (d *doneWork) work(q *stint.Queue) {
	pause := func(n int) time.Duration {
		took := time.Duration(n%7) * 300 * time.Millisecond
		time.Sleep(took)
		return took
	}
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		took := pause(job.Args.N)
		d.ran(&job.Work, took)
		if job.Args.N%5 == 0 && job.Attempt == 1 {
			d.note("note", 2, 1)
			return errRefused
		}
		d.note("note", 1, 1)
		return nil
	}, &stint.Policy{Backoff: stint.Constant(20 * time.Minute)})
	stint.Handle(q, func(_ context.Context, job *stint.Job[piece]) error {
		d.ran(&job.Work, pause(job.Args.P))
		if job.Args.P%4 == 0 {
			d.note("piece", 2, 1)
			d.note("piece", 3, 1)
			return stint.Kill(errRefused)
		}
		d.note("piece", 1, 1)
		return nil
	}, nil)
}

// shop enqueues jobs for a time, which begins at the beginning of a minute, and
// never so late in a minute that one ends in the next.
func (d *doneWork) shop(t *testing.T, q *stint.Queue, rnd *rand.Rand, minutes int) {
	for range minutes {
		for range rnd.IntN(8) {
			time.Sleep(time.Duration(rnd.IntN(5000)) * time.Millisecond)
			enqueue(t, q, note{rnd.IntN(100)}, stint.OnQueue([]string{"a", "b"}[rnd.IntN(2)]))
			d.note("note", 0, 1)
			if rnd.IntN(3) == 0 {
				enqueue(t, q, piece{rnd.IntN(100)}, stint.OnQueue("b"), stint.Priority(1))
				d.note("piece", 0, 1)
			}
		}
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
	}
}

func TestHistoryOfWork(t *testing.T) {
	t.Parallel()
	scenario(t, "is what was done, by minute, kind and queue, also after restarts in a minute", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		rnd := seeded(t)
		d := newDoneWork()
		var q *stint.Queue
		for i := range 4 {
			q = openAt(t, path, nil)
			d.compare(t, q, time.Now().Add(time.Hour))
			d.work(q)
			stop := run(t, q)
			d.shop(t, q, rnd, 28)
			enqueue(t, q, note{i}, stint.OnQueue("a"))
			d.note("note", 0, 1)
			time.Sleep(10 * time.Second) // the next process goes on in this minute
			d.compare(t, q, time.Now().Add(time.Hour))
			require.NoError(t, stop())
			require.NoError(t, q.Close())
			q = openAt(t, path, nil)
			d.compare(t, q, time.Now().Add(time.Hour))
			require.NoError(t, q.Close())
		}
	})

	scenario(t, "loses the last minute in a crash", func(t *testing.T) {
		q := open(t, nil)
		d := newDoneWork()
		d.work(q)
		run(t, q)
		d.shop(t, q, seeded(t), 15)
		for range 3 {
			enqueue(t, q, note{1})
			d.note("note", 0, 1)
			time.Sleep(10 * time.Second)
		}
		d.compare(t, q, time.Now())
		d.compare(t, openAt(t, crashed(t, q), nil), time.Now().Truncate(time.Minute))
	})

	scenario(t, "comes through Compact", func(t *testing.T) {
		q := open(t, nil)
		d := newDoneWork()
		d.work(q)
		run(t, q)
		for range 3 {
			d.shop(t, q, seeded(t), 5)
			require.NoError(t, q.Compact(t.Context(), nil))
			d.compare(t, q, time.Now())
		}
	})

	scenario(t, "is kept for two hours, three days and 180 days", func(t *testing.T) {
		q := open(t, nil)
		handle[note](q, nil, nil)
		run(t, q)
		const days = 400
		for range 4 * days {
			enqueue(t, q, note{})
			time.Sleep(6 * time.Hour)
		}
		entries := stint.HistoryEntries(q.DB())
		require.Equal(t, [3]int{1, 13, 182}, entries)
		got, err := q.History(24*time.Hour, time.Time{})
		require.NoError(t, err)
		require.Len(t, got, 180)
		for _, p := range got {
			require.EqualValues(t, 4, p.Enqueued)
			require.EqualValues(t, 4, p.Completed)
			require.Zero(t, p.Start.UTC().Hour())
		}
		for range 200 {
			enqueue(t, q, note{})
			time.Sleep(time.Minute)
		}
		got, err = q.History(time.Minute, time.Time{})
		require.NoError(t, err)
		require.Len(t, got, 120)
		require.LessOrEqual(t, stint.HistoryEntries(q.DB())[0], 122)
		got, err = q.History(time.Minute, time.Now().Add(-10*time.Minute))
		require.NoError(t, err)
		require.Len(t, got, 10)
	})

	t.Run("goes on in the minutes of before when the clock was set back", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		for i := range 2 {
			scenario(t, fmt.Sprint("process ", i), func(t *testing.T) { // each begins at the same time
				q := openAt(t, path, nil)
				for range 30 {
					enqueue(t, q, note{})
					time.Sleep(time.Minute)
				}
				for _, step := range steps {
					n := 0
					got, err := q.History(step, time.Time{})
					require.NoError(t, err)
					for _, p := range got {
						n += int(p.Enqueued)
					}
					require.Equal(t, 30*(i+1), n, "in steps of %v", step)
				}
			})
		}
	})

	scenario(t, "of an idle queue costs no commit, and Close writes it", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		handle[note](q, nil, nil)
		run(t, q)
		enqueue(t, q, note{})
		synctest.Wait()
		commits := lastTx(q.DB())
		time.Sleep(30 * time.Minute)
		got, err := q.History(time.Minute, time.Time{})
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, commits, lastTx(q.DB()))
		require.NoError(t, q.Close())
		q = openAt(t, path, nil)
		again, err := q.History(time.Minute, time.Time{})
		require.NoError(t, err)
		require.Equal(t, got, again)
	})

	scenario(t, "of transactions of the application alone is written once in a while", func(t *testing.T) {
		q := open(t, nil)
		const minutes = 110
		before := lastTx(q.DB())
		for range minutes {
			require.NoError(t, q.Update(func(tx *bolt.Tx) error {
				_, err := q.EnqueueTx(tx, note{})
				return err
			}))
			synctest.Wait()
			time.Sleep(time.Minute)
		}
		require.InDelta(t, minutes/10, lastTx(q.DB())-before-minutes, 2)
		got, err := q.History(time.Minute, time.Time{})
		require.NoError(t, err)
		require.Len(t, got, minutes+1, "and now they wait")
		for i, p := range got[:minutes] {
			require.EqualValues(t, 1, p.Enqueued)
			require.Equal(t, i+1, p.Queues["default"].Ready)
		}
	})

	scenario(t, "tells what waited, also where nothing happened", func(t *testing.T) {
		q := open(t, nil)
		ids := stock(t, q, 3)
		enqueue(t, q, note{}, stint.OnQueue("other"))
		time.Sleep(5 * time.Minute)
		require.NoError(t, q.Delete(t.Context(), ids[0]))
		time.Sleep(4*time.Minute + 30*time.Second)
		ready := func(step time.Duration) (ready []string) {
			got, err := q.History(step, time.Time{})
			require.NoError(t, err)
			for _, p := range got {
				ready = append(ready, fmt.Sprint(p.Start.Minute(), p.Queues["default"].Ready, p.Queues["other"].Ready))
			}
			return ready
		}
		want := []string{"0 3 1", "1 3 1", "2 3 1", "3 3 1", "4 3 1", "5 2 1", "6 2 1", "7 2 1", "8 2 1", "9 2 1"}
		require.Equal(t, want, ready(time.Minute))
		time.Sleep(20 * time.Minute)
		require.Equal(t, []string{"0 2 1", "10 2 1", "20 2 1"}, ready(10*time.Minute))
		handle[note](q, nil, nil)
		run(t, q)
		synctest.Wait()
		time.Sleep(10 * time.Minute)
		require.Equal(t, []string{"0 2 1", "10 2 1", "20 0 0"}, ready(10*time.Minute))
	})

	t.Run("comes in three steps", func(t *testing.T) {
		t.Parallel()
		q := open(t, nil)
		for _, step := range []time.Duration{0, -1, time.Second, time.Hour} {
			_, err := q.History(step, time.Time{})
			require.ErrorIs(t, err, stint.ErrBadOption)
		}
		require.NoError(t, q.Close())
		_, err := q.History(time.Minute, time.Time{})
		require.ErrorIs(t, err, stint.ErrClosed)
	})

	scenario(t, "tells 64 kinds and queues apart", func(t *testing.T) {
		q := open(t, nil)
		for i := range 100 {
			enqueue(t, q, note{}, stint.OnQueue(fmt.Sprint("queue", i)))
		}
		got, err := q.History(time.Minute, time.Time{})
		require.NoError(t, err)
		require.Len(t, got[0].Queues, 65)
		require.Equal(t, 36, got[0].Queues[""].Ready)
		require.EqualValues(t, 100, got[0].Kinds["note"].Enqueued)
	})
}

// Whoever reads while the minutes are being written finds each job once.
func TestHistoryReadWhileItIsWritten(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		var begun, stored atomic.Int64
		ticks := economical(1200)
		var all sync.WaitGroup
		for _, step := range append(steps, time.Minute) {
			all.Go(func() {
				for range ticks {
					time.Sleep(time.Second) // in step with who enqueues
					least := stored.Load()
					got, err := q.History(step, time.Time{})
					n := int64(0)
					for _, p := range got {
						n += int64(p.Enqueued)
					}
					if most := begun.Load(); err != nil || n < least || n > most {
						t.Errorf("%d jobs in steps of %v, there are %d to %d, %v", n, step, least, most, err)
						return
					}
				}
			})
		}
		for range ticks {
			time.Sleep(time.Second)
			begun.Add(1)
			enqueue(t, q, note{})
			stored.Add(1)
		}
		all.Wait()
	})
}
