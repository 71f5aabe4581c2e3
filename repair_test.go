package stint_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// What Check finds and Repair mends: a file in which every bucket has
// something, one damage of each kind, and what then runs.

// worked counts the runs of jobs.
type worked struct {
	mu   sync.Mutex
	ran  map[stint.ID]int
	fail bool
}

func (w *worked) handle(t *testing.T, q *stint.Queue) {
	saw := func(id stint.ID) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ran[id]++
	}
	stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
		switch {
		case w.fail && job.Args.N == 1:
			return errOops
		case w.fail && job.Args.N == 2:
			return stint.Kill(errOops)
		}
		saw(job.ID)
		return nil
	}, hour)
	stint.Handle(q, func(_ context.Context, job *stint.Job[piece]) error {
		if w.fail {
			return stint.Kill(errOops)
		}
		saw(job.ID)
		return nil
	}, nil)
	stint.Handle(q, func(_ context.Context, job *stint.Job[other]) error { saw(job.ID); return nil }, nil)
	require.NoError(t, q.Periodic("hourly", "@every 1h", note{N: 9}, stint.OnQueue("paused")))
}

// damageable makes a file that has something in every bucket.
func damageable(t *testing.T, path string) (w stint.World, left []stint.ID) {
	t.Helper()
	q, err := tryOpen(path, &stint.Config{Logger: quiet, KeepCompleted: 1000 * time.Hour})
	require.NoError(t, err)
	q.DB().NoSync = true
	done := &worked{ran: map[stint.ID]int{}, fail: true}
	done.handle(t, q)
	pieces := func(policy *stint.BatchPolicy, list ...int) stint.ID {
		id, err := q.EnqueueBatch(t.Context(), func(yield func(stint.Args) bool) {
			for _, p := range list {
				if !yield(piece{p}) {
					return
				}
			}
		}, policy)
		require.NoError(t, err)
		return id
	}
	w.Retrying = enqueue(t, q, note{N: 1})
	w.Dead = enqueue(t, q, note{N: 2})
	w.Completed = enqueue(t, q, note{N: 3}, stint.Unique(stint.ForPeriod(90*time.Hour)))
	w.Ended = pieces(&stint.BatchPolicy{Name: "ended", OnDone: other{"ended"}}, 1)
	aside := enqueue(t, q, note{N: 4})
	require.NoError(t, stint.FlipByte(q.DB(), aside, 0))
	w.Batch = pieces(&stint.BatchPolicy{Name: "open", OnDone: other{"open"}}, 2)
	stop := run(t, q)
	time.Sleep(time.Minute)
	require.NoError(t, stop())

	w.Batch = pieces(&stint.BatchPolicy{Name: "open", OnDone: other{"open"}, Options: []stint.Option{stint.OnQueue("paused")}}, 11, 12, 13)
	for info, err := range q.Jobs(stint.Filter{Batch: w.Batch}) {
		require.NoError(t, err)
		w.DeadItem, w.Item = w.Item, info.ID
	}
	require.NoError(t, q.Kill(t.Context(), w.DeadItem, "why not"))
	w.Ready, w.Ready2 = enqueue(t, q, note{N: 5}), enqueue(t, q, note{N: 6})
	w.Other = enqueue(t, q, other{"x"}, stint.Priority(1))
	w.Scheduled = enqueue(t, q, note{N: 7}, stint.In(30*time.Hour))
	w.Unique = enqueue(t, q, note{N: 8}, stint.Unique())
	w.Period = enqueue(t, q, other{"period"}, stint.Unique(stint.ForPeriod(90*time.Hour)))
	enqueue(t, q, other{"waiting"}, stint.Unique(stint.WhileWaiting()))
	w.Expiring = enqueue(t, q, other{"soon"}, stint.ExpiresIn(90*time.Hour))
	require.NoError(t, q.Pause(t.Context(), "paused", "me"))
	require.NoError(t, q.LogAction(t.Context(), stint.Action{By: "me", Verb: "pause queue"}))
	w.Run, err = q.RunSchedule(t.Context(), "hourly")
	require.NoError(t, err)
	for info, err := range q.Jobs(stint.Filter{}) {
		require.NoError(t, err)
		if info.State != stint.Completed && info.State != stint.Dead {
			left = append(left, info.ID)
		}
	}
	require.Len(t, left, 12)
	require.Equal(t, 1, q.Stats().Quarantined)
	require.NoError(t, q.Close())
	check(t, path)
	return w, left
}

// builtOnce makes the file of damageable once, and copies of it from then on. In
// the bubble of each the time is that at which the file was closed.
func builtOnce() func(t *testing.T, path string) (stint.World, []stint.ID) {
	var w stint.World
	var left []stint.ID
	var file []byte
	var took time.Duration
	return func(t *testing.T, path string) (stint.World, []stint.ID) {
		t.Helper()
		if file != nil {
			require.NoError(t, os.WriteFile(path, file, 0o600))
			time.Sleep(took)
			return w, left
		}
		start := time.Now()
		w, left = damageable(t, path)
		took = time.Since(start)
		var err error
		file, err = os.ReadFile(path)
		require.NoError(t, err)
		return w, left
	}
}

// comesThrough works off a repaired file: what was left runs once, and the
// end of the batch comes once.
func comesThrough(t *testing.T, q *stint.Queue, left []stint.ID) {
	t.Helper()
	done := &worked{ran: map[stint.ID]int{}}
	done.handle(t, q)
	if faults, err := q.Check(t.Context()); true {
		require.NoError(t, err)
		require.Empty(t, faults)
	}
	before := map[stint.ID]bool{}
	for info, err := range q.Jobs(stint.Filter{}) {
		require.NoError(t, err)
		before[info.ID] = true
	}
	require.NoError(t, q.Resume(t.Context(), "paused"))
	fresh := enqueue(t, q, note{N: 100})
	require.NotContains(t, before, fresh, "no id is given twice")
	run(t, q)
	time.Sleep(40 * time.Hour)
	synctest.Wait()
	done.mu.Lock()
	defer done.mu.Unlock()
	for _, id := range left {
		require.Equal(t, 1, done.ran[id], "job %d", id)
	}
	for id, n := range done.ran {
		require.Equal(t, 1, n, "job %d", id)
	}
	require.Zero(t, q.Counts().Ready+q.Counts().Running+q.Counts().Retrying+q.Counts().Scheduled)
	ended := 0
	for info, err := range q.Jobs(stint.Filter{State: stint.Completed, Kind: "other"}) {
		require.NoError(t, err)
		if strings.Contains(string(info.Args), "open") && !before[info.ID] {
			ended++
		}
	}
	require.LessOrEqual(t, ended, 1)
}

func without(ids []stint.ID, lost []stint.ID) []stint.ID {
	return slices.DeleteFunc(slices.Clone(ids), func(id stint.ID) bool { return slices.Contains(lost, id) })
}

func texts(faults []stint.Fault) (all []string) {
	for _, f := range faults {
		all = append(all, f.Text)
	}
	return all
}

// beyondWithoutKeys is what does not go for encrypted files.
var beyondWithoutKeys = map[string]string{
	"an item is not told from equal ones":          "it takes the keys to see that",
	"a run of a schedule has ended without a word": "the entry that is planted has a reason that is not encrypted",
	"the identity is lost":                         "all keys follow from it",
}

func TestRepair(t *testing.T) {
	t.Parallel()
	build := builtOnce()
	for _, plant := range stint.Plants {
		scenario(t, plant.Name, func(t *testing.T) {
			if why := beyondWithoutKeys[plant.Name]; why != "" && os.Getenv(encryptVariable) != "" {
				t.Skip(why)
			}
			path := filepath.Join(t.TempDir(), "queue.db")
			w, left := build(t, path)
			var lost []stint.ID
			if plant.Lost != nil {
				lost = plant.Lost(&w)
			}
			change(t, path, func(db *bolt.DB) error {
				return stint.Raw(db, func(r *stint.RawFile) { plant.Do(r, &w) })
			})
			damaged, err := os.ReadFile(path)
			require.NoError(t, err)

			found, err := stint.CheckFile(path)
			require.NoError(t, err)
			require.Contains(t, strings.Join(texts(found), "\n"), plant.Want)
			require.Equal(t, plant.Beyond, !slices.ContainsFunc(found, func(f stint.Fault) bool { return f.Repairable }), "%v", found)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, damaged, after, "CheckFile changes nothing")

			again := filepath.Join(t.TempDir(), "again.db")
			require.NoError(t, os.WriteFile(again, damaged, 0o600))

			mended, err := stint.RepairFile(path)
			require.NoError(t, err)
			if plant.Beyond {
				require.Equal(t, found, mended)
				return
			}
			for _, f := range mended {
				require.True(t, f.Repaired, f.Text)
			}
			require.Equal(t, texts(found), texts(mended))
			kept, err := os.ReadFile(path + ".before-repair")
			require.NoError(t, err)
			require.Equal(t, damaged, kept)
			check(t, path)
			q := openAt(t, path, &stint.Config{KeepCompleted: 1000 * time.Hour})
			comesThrough(t, q, without(left, lost))

			q, err = tryOpen(again, &stint.Config{Logger: quiet, KeepCompleted: 1000 * time.Hour})
			if plant.Refuse {
				require.ErrorIs(t, err, stint.ErrCorrupt)
				return
			}
			require.NoError(t, err)
			q.DB().NoSync = true
			t.Cleanup(func() {
				require.NoError(t, q.Close())
				check(t, again)
			})
			mended, err = q.Repair(t.Context())
			require.NoError(t, err)
			for _, f := range mended {
				require.True(t, f.Repaired, f.Text)
			}
			comesThrough(t, q, without(left, lost))
		})
	}
}

// A healthy file is clean, and a repair leaves it as it is.
func TestRepairOfAHealthyFile(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, &stint.Config{KeepCompleted: 1000 * time.Hour})
		e := newEverything(false)
		stop := e.furnish(t, q)
		for _, look := range []func(context.Context) ([]stint.Fault, error){q.Check, q.Repair, q.Check} {
			faults, err := look(t.Context())
			require.NoError(t, err)
			require.Empty(t, faults)
		}
		require.NoError(t, stop())
		require.NoError(t, q.Close())
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, look := range []func(string) ([]stint.Fault, error){stint.CheckFile, stint.RepairFile} {
			faults, err := look(path)
			require.NoError(t, err)
			require.Empty(t, faults)
		}
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, after)
		require.NoFileExists(t, path+".before-repair")
	})
}

// The queue is at work while its indexes are damaged and mended.
func TestRepairUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	var log lockedBuffer
	q := openAt(t, path, &stint.Config{Workers: 8, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	done := &worked{ran: map[stint.ID]int{}}
	done.handle(t, q)
	hold := make(chan struct{})
	handleKind(q, "held", func(context.Context, *stint.Job[anyKind]) error { <-hold; return nil }, nil)
	held := enqueue(t, q, anyKind{"held"})
	run(t, q)
	eventually(t, func() bool { return q.Counts().Running == 1 }, "the job that is held runs")
	require.NoError(t, q.Pause(t.Context(), "paused", "me"))

	var all []stint.ID
	ctx, cancel := context.WithCancel(t.Context())
	var producers sync.WaitGroup
	var mu sync.Mutex
	for range 3 {
		producers.Go(func() {
			for n := 0; n < 300 && ctx.Err() == nil; n++ {
				queue := []string{"default", "paused"}[n%2]
				var id stint.ID
				var err error
				if n%5 == 0 {
					err = q.DB().Update(func(tx *bolt.Tx) error {
						id, err = q.EnqueueTx(tx, note{N: n}, stint.OnQueue(queue))
						return err
					})
				} else {
					id, err = q.Enqueue(context.Background(), note{N: n}, stint.OnQueue(queue))
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				all = append(all, id)
				mu.Unlock()
			}
		})
	}
	mendedSome := 0
	for range 5 {
		require.NoError(t, stint.Raw(q.DB(), func(r *stint.RawFile) { r.EmptyIndexes() }))
		mended, err := q.Repair(t.Context())
		require.NoError(t, err)
		for _, f := range mended {
			require.True(t, f.Repaired, f.Text)
			mendedSome++
		}
	}
	producers.Wait()
	cancel()
	_, err := q.Repair(t.Context())
	require.NoError(t, err)
	require.NotZero(t, mendedSome)
	require.NoError(t, q.Resume(t.Context(), "paused"))
	close(hold)
	eventually(t, func() bool { return q.Counts() == stint.Counts{} }, "all is done, %v", q.Counts())
	faults, err := q.Check(t.Context())
	require.NoError(t, err)
	require.Empty(t, faults)
	done.mu.Lock()
	defer done.mu.Unlock()
	require.Len(t, all, 900)
	for _, id := range all {
		require.Equal(t, 1, done.ran[id], "job %d", id)
	}
	require.NotContains(t, done.ran, held)
}

// Jobs that are counted and in no index are not passed over in silence.
func TestLostJobsAreTold(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	enqueueClosed(t, path, notes(3)...)
	change(t, path, func(db *bolt.DB) error { return stint.Raw(db, func(r *stint.RawFile) { r.EmptyIndexes() }) })
	bubble(t, func(t *testing.T) {
		var log lockedBuffer
		q := openAt(t, path, &stint.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		done := &worked{ran: map[stint.ID]int{}}
		stint.Handle(q, func(context.Context, *stint.Job[note]) error {
			done.mu.Lock()
			defer done.mu.Unlock()
			done.ran[0]++
			return nil
		}, nil)
		run(t, q)
		enqueue(t, q, other{"wakes the committer"})
		enqueue(t, q, other{"and again"})
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "counts ready jobs that are in no index"), log.String())
		mended, err := q.Repair(t.Context())
		require.NoError(t, err)
		require.Len(t, mended, 3)
		synctest.Wait()
		require.Equal(t, 3, done.ran[0])
	})
}

// Nor is a job that the index has and that has no record.
func TestJobsWithoutARecordAreTold(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	enqueueClosed(t, path, notes(3)...)
	change(t, path, func(db *bolt.DB) error { return stint.Raw(db, func(r *stint.RawFile) { r.DropRecord(2) }) })
	bubble(t, func(t *testing.T) {
		var log lockedBuffer
		q := openAt(t, path, &stint.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		var done atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { done.Add(1); return nil }, nil)
		run(t, q)
		synctest.Wait()
		require.EqualValues(t, 2, done.Load())
		require.Equal(t, 1, strings.Count(log.String(), "a ready job is in the index and has no record"), log.String())
		mended, err := q.Repair(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, mended)
		require.Zero(t, q.Counts())
	})
}

func TestCheckOfFilesThatAreNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, look := range []func(string) ([]stint.Fault, error){stint.CheckFile, stint.RepairFile} {
		_, err := look(filepath.Join(dir, "absent.db"))
		require.ErrorIs(t, err, os.ErrNotExist)
		_, err = look(dir)
		require.Error(t, err)
		text := filepath.Join(dir, "text.db")
		require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("text ", 10_000)), 0o600))
		_, err = look(text)
		require.ErrorIs(t, err, stint.ErrNotStint)

		path := filepath.Join(t.TempDir(), "queue.db")
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		_, err = look(path)
		require.ErrorIs(t, err, stint.ErrLocked)
		require.NoError(t, q.Close())
		faults, err := look(path)
		require.NoError(t, err)
		require.Empty(t, faults)
		_, err = q.Check(t.Context())
		require.ErrorIs(t, err, stint.ErrClosed)

		b, err := os.ReadFile(path)
		require.NoError(t, err)
		for at := 2 * os.Getpagesize(); at < len(b); at++ {
			b[at] = 0xff // all but the meta pages
		}
		require.NoError(t, os.WriteFile(path, b, 0o600))
		faults, err = look(path)
		require.NoError(t, err)
		require.Len(t, faults, 1)
		require.Contains(t, faults[0].Text, "restore a backup")
		require.False(t, faults[0].Repairable)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, b, after)
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	t.Parallel()
	q := open(t, nil)
	enqueue(t, q, note{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := q.Check(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = q.Repair(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestQuarantined(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		for n := range 250 {
			require.NoError(t, stint.FlipByte(q.DB(), enqueue(t, q, note{N: n}), 0))
		}
		mended, err := q.Repair(t.Context())
		require.NoError(t, err)
		require.Len(t, mended, 250)
		require.Equal(t, 250, q.Stats().Quarantined)
		require.Zero(t, q.Counts())
		n := 0
		for entry, err := range q.Quarantined() {
			require.NoError(t, err)
			n++
			require.EqualValues(t, n, entry.ID)
			require.Equal(t, "its checksum is wrong", entry.Reason)
			require.True(t, entry.At.Equal(time.Now()))
			if os.Getenv(encryptVariable) == "" { // else it cannot be read
				require.Contains(t, string(entry.Raw), `{"n":`)
			}
		}
		require.Equal(t, 250, n)
		for range q.Quarantined() {
			break
		}
		require.NoError(t, q.Close())
		q = openAt(t, path, nil)
		require.Equal(t, 250, q.Stats().Quarantined, "what lies in the file")
	})
}

// A batch whose last unfinished item cannot be read has no other end.
func TestRepairEndsABatch(t *testing.T) {
	t.Parallel()
	spoilt := func(t *testing.T, path string) (batch stint.ID) {
		q, err := tryOpen(path, &stint.Config{Logger: quiet})
		require.NoError(t, err)
		batch, err = q.EnqueueBatch(t.Context(), func(yield func(stint.Args) bool) { yield(note{N: 1}) }, &stint.BatchPolicy{OnDone: other{"end"}})
		require.NoError(t, err)
		for info := range q.Jobs(stint.Filter{Batch: batch}) {
			require.NoError(t, stint.FlipByte(q.DB(), info.ID, 0))
		}
		require.NoError(t, q.Close())
		return batch
	}
	hasEnded := func(t *testing.T, q *stint.Queue, batch stint.ID, faults []stint.Fault, err error) {
		require.NoError(t, err)
		require.NotEmpty(t, faults)
		for _, f := range faults {
			require.True(t, f.Repaired, f.Text)
		}
		info, err := q.Batch(batch)
		require.NoError(t, err)
		require.NotZero(t, info.FinishedAt)
		require.Equal(t, 1, info.Removed)
		require.Equal(t, "other", get(t, q, info.OnDone).Kind)
	}
	scenario(t, "in an open queue", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		batch := spoilt(t, path)
		q := openAt(t, path, nil)
		faults, err := q.Repair(t.Context())
		hasEnded(t, q, batch, faults, err)
	})
	scenario(t, "in a file", func(t *testing.T) {
		if os.Getenv(encryptVariable) != "" {
			t.Skip("it takes the keys to enqueue the OnDone job")
		}
		path := filepath.Join(t.TempDir(), "queue.db")
		batch := spoilt(t, path)
		faults, err := stint.RepairFile(path)
		hasEnded(t, openAt(t, path, nil), batch, faults, err)
	})
}
