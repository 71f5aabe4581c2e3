package stint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// keyOf is a key ring's worth of test keys, one for each letter.
func keyOf(letters string) (keys [][]byte) {
	for _, letter := range []byte(letters) {
		keys = append(keys, bytes.Repeat([]byte{letter}, 32))
	}
	return keys
}

// secret is a job whose args nobody is to read.
type secret struct {
	S string `json:"s"`
}

func (secret) Kind() string { return "secret" }

// part is an item of the batches here; nobody works it.
type part struct {
	S string `json:"s"`
}

func (part) Kind() string { return "part" }

// planted is what plant leaves in the file, each at another place.
var planted = []string{
	"planted-args", "planted-unique", "planted-replacing", "planted-merged", "planted-debounced", "planted-period",
	"planted-error", "planted-panic", "planted-log", "planted-step", "planted-cursor", "planted-progress", "planted-result",
	"planted-tx", "planted-reason", "planted-item", "planted-done-item", "planted-ondone", "planted-bad", "planted-reached", "planted-plan-error", "planted-run",
}

// handleSecrets registers what works the planted jobs.
func handleSecrets(t testing.TB, q *stint.Queue) {
	stint.Handle(q, func(ctx context.Context, job *stint.Job[secret]) error {
		switch job.Args.S {
		case "fails":
			return errors.New("planted-error")
		case "dies":
			job.Logger().Info("planted-log")
			panic("planted-panic")
		case "is long":
			value := "planted-step"
			if err := job.Step(ctx, "one", func(context.Context) error { return nil }, &value); err != nil {
				return err
			}
			job.Progress(1, 2, "planted-progress")
			if err := job.Checkpoint(ctx, "planted-cursor"); err != nil {
				return err
			}
			return job.SetResult("planted-result")
		case "commits":
			return job.Commit(func(tx *bolt.Tx) error {
				_, err := q.EnqueueTx(tx, secret{"planted-tx"}, stint.In(24*time.Hour))
				return err
			})
		case "of the schedule":
			return stint.Kill(errors.New("planted-run"))
		}
		return nil
	}, &stint.Policy{Backoff: stint.Constant(24 * time.Hour)})
}

// plant makes a queue with something in every state and at every place.
func plant(t testing.TB, q *stint.Queue) {
	ctx := t.Context()
	handleSecrets(t, q)
	later := stint.In(24 * time.Hour)
	enqueue(t, q, secret{"planted-args"}, later)
	enqueue(t, q, secret{"planted-unique"}, stint.Unique(), later)
	enqueue(t, q, secret{"planted-period"}, stint.Unique(stint.ForPeriod(240*time.Hour)))
	for _, s := range []string{"planted-replaced", "planted-replacing"} {
		enqueue(t, q, secret{s}, stint.Unique(stint.ByKey("r"), stint.Replace()), later)
		enqueue(t, q, secret{strings.Replace(s, "replacing", "debounced", 1)}, stint.Unique(stint.ByKey("d"), stint.Debounce(24*time.Hour, 48*time.Hour)))
		enqueue(t, q, secret{"planted-"}, later, stint.Unique(stint.ByKey("m"), stint.Merge(func(_, _ secret) secret { return secret{"planted-merged"} })))
	}
	for _, s := range []string{"fails", "is long", "commits"} {
		enqueue(t, q, secret{s})
	}
	enqueue(t, q, secret{"dies"}, stint.MaxAttempts(1))
	require.NoError(t, q.Kill(ctx, enqueue(t, q, secret{"killed"}, later), "planted-reason"))
	_, err := q.EnqueueBatch(ctx, slices.Values([]stint.Args{part{"planted-item"}, secret{"item of the batch"}}), &stint.BatchPolicy{OnDone: secret{"planted-ondone"}})
	require.NoError(t, err)

	require.NoError(t, q.Periodic("often", "@every 1h", secret{"of the schedule"}))
	require.NoError(t, planSecrets(q))
	stop := run(t, q)
	_, err = q.RunSchedule(ctx, "often")
	require.NoError(t, err)
	_, err = q.RunSchedule(ctx, "plan")
	require.NoError(t, err)
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	require.NoError(t, stop())
}

// planSecrets declares a batch whose planner fails once it has stored items,
// one of which ends.
func planSecrets(q *stint.Queue) error {
	plan := func(context.Context, *stint.Planning[yielded]) iter.Seq2[yielded, error] {
		return func(yield func(yielded, error) bool) {
			_ = yield(yielded{"planted-done-item"}, nil) && yield(yielded{}, errors.New("planted-bad")) &&
				yield(yielded{"planted-reached"}, nil) && yield(yielded{}, errors.New("planted-plan-error"))
		}
	}
	each := func(_ context.Context, job *stint.Job[yielded]) error {
		if job.Args.S == "planted-reached" {
			return stint.Snooze(24 * time.Hour)
		}
		return nil
	}
	return stint.PeriodicBatch(q, "plan", "@every 240h", plan, each, &stint.BatchPolicy{OnDone: secret{"planted-ondone"}, Planner: &stint.Policy{Backoff: stint.Constant(24 * time.Hour)}})
}

type yielded struct {
	S string `json:"s"`
}

func (yielded) Kind() string { return "planned" }

// allOf is all that a queue tells of its file.
func allOf(t testing.TB, q *stint.Queue) (jobs []stint.Info, batches []stint.BatchInfo, schedules []stint.ScheduleInfo) {
	for info, err := range q.Jobs(stint.Filter{}) {
		require.NoError(t, err)
		jobs = append(jobs, info)
	}
	for info, err := range q.Batches(0) {
		require.NoError(t, err)
		batches = append(batches, info)
	}
	schedules, err := q.Schedules()
	require.NoError(t, err)
	return jobs, batches, schedules
}

// sound looks for faults with the keys that CheckFile does not have.
func sound(t testing.TB, q *stint.Queue) {
	faults, err := q.Check(t.Context())
	require.NoError(t, err)
	require.Empty(t, faults)
}

func openWith(t testing.TB, path, keys string) *stint.Queue {
	return openAt(t, path, &stint.Config{Keys: keyOf(keys), KeepCompleted: -1})
}

func found(t testing.TB, path string) (there []string) {
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, s := range planted {
		if bytes.Contains(raw, []byte(s)) {
			there = append(there, s)
		}
	}
	return there
}

func TestEncryptedFile(t *testing.T) {
	t.Parallel()
	if os.Getenv(encryptVariable) != "" {
		t.Skip("its plain files would not be")
	}
	scenario(t, "has nothing of args and errors in it, which a plain one has", func(t *testing.T) {
		dir := t.TempDir()
		for keys, want := range map[string][]string{"": planted, "a": nil} {
			path := filepath.Join(dir, "queue"+keys)
			q := openWith(t, path, keys)
			plant(t, q)
			jobs, batches, schedules := allOf(t, q)
			told := fmt.Sprintf("%v %v", batches, schedules)
			for _, job := range jobs {
				told += fmt.Sprintf("%s %s %s %v", job.Args, job.Checkpoint, job.Result, job)
			}
			for _, s := range planted {
				if s != "planted-ondone" && s != "planted-step" {
					require.True(t, strings.Contains(told, s), s)
				}
			}
			sound(t, q)
			require.NoError(t, q.Close())
			require.Equal(t, want, found(t, path), "keys %q", keys)
		}
	})
	scenario(t, "tells the same as a plain one", func(t *testing.T) {
		var jobs [2][]stint.Info
		start := time.Now()
		for i, keys := range []string{"", "a"} {
			q := openWith(t, filepath.Join(t.TempDir(), "queue"), keys)
			began := time.Now()
			plant(t, q)
			jobs[i], _, _ = allOf(t, q)
			for n := range jobs[i] {
				job := &jobs[i][n]
				for a := range job.Attempts {
					job.Attempts[a].Log, job.Attempts[a].Stack = "", ""
					job.Attempts[a].StartedAt = job.Attempts[a].StartedAt.Add(start.Sub(began))
				}
			}
		}
		require.Equal(t, len(jobs[0]), len(jobs[1]))
		for _, list := range jobs { // the ids depend on who is quicker
			slices.SortFunc(list, func(a, b stint.Info) int { return bytes.Compare(a.Args, b.Args) })
		}
		for i := range jobs[0] {
			require.Equal(t, jobs[0][i].Args, jobs[1][i].Args)
			require.Equal(t, jobs[0][i].State, jobs[1][i].State)
			require.Equal(t, jobs[0][i].Attempts, jobs[1][i].Attempts)
			require.Equal(t, jobs[0][i].Result, jobs[1][i].Result)
			require.Equal(t, jobs[0][i].Checkpoint, jobs[1][i].Checkpoint)
			require.Equal(t, jobs[0][i].Reason, jobs[1][i].Reason)
		}
	})
	scenario(t, "is worked with Wait and Result like any other, and EnqueueMiddleware sees plain args", func(t *testing.T) {
		var seen []stint.Args
		q := open(t, &stint.Config{Keys: keyOf("a"), EnqueueMiddleware: []stint.EnqueueMiddleware{
			func(ctx context.Context, jobs []*stint.NewJob, next func(context.Context) error) error {
				for _, job := range jobs {
					seen = append(seen, job.Args)
				}
				return next(ctx)
			},
		}})
		handleSecrets(t, q)
		id := enqueue(t, q, secret{"is long"})
		run(t, q)
		info, err := q.Wait(t.Context(), id)
		require.NoError(t, err)
		require.JSONEq(t, `{"s":"is long"}`, string(info.Args))
		result, err := stint.Result[string](q, id)
		require.NoError(t, err)
		require.Equal(t, "planted-result", result)
		require.Equal(t, []stint.Args{secret{"is long"}}, seen)
	})
	scenario(t, "keeps a bucket of the application's database to itself", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "app.db")
		db, err := bolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		for _, keys := range []string{"a", "ba"} {
			q, err := stint.New(db, &stint.Config{Logger: quiet, Keys: keyOf(keys)})
			require.NoError(t, err)
			enqueue(t, q, secret{"planted-args"})
			require.NoError(t, q.Close())
		}
		_, err = stint.New(db, &stint.Config{Logger: quiet})
		require.ErrorIs(t, err, stint.ErrWrongKey)
		require.NoError(t, db.Close())
		require.Empty(t, found(t, path))
	})
}

func TestKeysThatDoNotFit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, keys string) string {
		path := filepath.Join(dir, name)
		q := openWith(t, path, keys)
		enqueue(t, q, secret{"planted-args"})
		require.NoError(t, q.Close())
		return path
	}
	encrypted, plain := file("encrypted", "a"), file("plain", "")
	if os.Getenv(encryptVariable) != "" {
		t.Skip("its plain file is not")
	}
	name := stint.KeyName(keyOf("a")[0])
	for what, c := range map[string]struct {
		path string
		keys [][]byte
		err  error
		text string
	}{
		"none":            {encrypted, nil, stint.ErrWrongKey, name},
		"others":          {encrypted, keyOf("bc"), stint.ErrWrongKey, name},
		"for a plain one": {plain, keyOf("a"), stint.ErrWrongKey, "Rekey"},
		"short":           {encrypted, [][]byte{make([]byte, 31)}, stint.ErrConfig, "32 random bytes"},
		"long":            {encrypted, append(keyOf("a"), make([]byte, 33)), stint.ErrConfig, "key 2 of 2"},
		"of zeros":        {encrypted, append(keyOf("a"), make([]byte, 32)), stint.ErrConfig, "key 2 of 2 has nothing but zeros"},
		"a nil one":       {encrypted, [][]byte{nil}, stint.ErrConfig, "0 bytes"},
		"twice":           {encrypted, keyOf("aba"), stint.ErrConfig, "keys 1 and 3"},
	} {
		t.Run(what, func(t *testing.T) {
			before, err := os.ReadFile(c.path)
			require.NoError(t, err)
			_, err = stint.Open(c.path, &stint.Config{Logger: quiet, Keys: c.keys})
			require.ErrorIs(t, err, c.err)
			require.ErrorContains(t, err, c.text)
			for _, key := range append(c.keys, keyOf("a")...) {
				if len(key) > 0 {
					require.NotContains(t, err.Error(), string(key))
				}
			}
			after, err := os.ReadFile(c.path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after), "the file is untouched")
		})
	}
}

func TestKeyRing(t *testing.T) {
	t.Parallel()
	scenario(t, "a new first key encrypts, the old one still decrypts", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue")
		q := openWith(t, path, "a")
		old := enqueue(t, q, secret{"planted-args"}, stint.Unique())
		require.NoError(t, q.Close())
		q = openWith(t, path, "ba")
		_, err := q.Enqueue(t.Context(), secret{"planted-args"}, stint.Unique())
		require.ErrorIs(t, err, stint.ErrDuplicate)
		require.JSONEq(t, `{"s":"planted-args"}`, string(get(t, q, old).Args))
		sound(t, q)
		handleSecrets(t, q)
		stop := run(t, q)
		synctest.Wait()
		require.Equal(t, stint.Completed, get(t, q, old).State)
		require.NoError(t, stop())
		require.NoError(t, q.Close())

		q = openWith(t, path, "b") // what was rewritten has the new key
		require.JSONEq(t, `{"s":"planted-args"}`, string(get(t, q, old).Args))
	})
	scenario(t, "a job whose key is missing waits, whatever happens to it", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue")
		q := openWith(t, path, "a")
		old := enqueue(t, q, secret{"planted-args"})
		kept := enqueue(t, q, secret{"planted-unique"}, stint.Unique(stint.WhileWaiting()))
		unwanted := enqueue(t, q, secret{"planted-item"})
		expiring := enqueue(t, q, secret{"planted-item"}, stint.ExpiresIn(time.Hour))
		batch, err := q.EnqueueBatch(t.Context(), slices.Values([]stint.Args{secret{"item of the batch"}}), &stint.BatchPolicy{OnDone: secret{"planted-ondone"}})
		require.NoError(t, err)
		require.NoError(t, q.Close())
		q = openWith(t, path, "ba")
		fresh := enqueue(t, q, secret{"with the new key"})
		require.NoError(t, q.Close())

		var log lockedBuffer
		q = openAt(t, path, &stint.Config{Keys: keyOf("b"), KeepCompleted: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		handleSecrets(t, q)
		require.NoError(t, q.Retry(t.Context(), expiring), "it is ready")
		stop := run(t, q)
		time.Sleep(10 * 24 * time.Hour)
		require.Equal(t, stint.Completed, get(t, q, fresh).State)
		info := get(t, q, old)
		require.Equal(t, stint.Scheduled, info.State)
		require.Empty(t, info.Args)
		require.Contains(t, info.Reason, stint.KeyName(keyOf("a")[0]))
		require.Contains(t, log.String(), stint.KeyName(keyOf("a")[0]))
		require.NotContains(t, log.String(), "planted")
		require.Zero(t, info.Failures)
		require.Equal(t, stint.Dead, get(t, q, expiring).State)
		require.Contains(t, get(t, q, expiring).Reason, "expired")
		require.ErrorIs(t, q.Retry(t.Context(), old), stint.ErrWrongKey)
		require.ErrorIs(t, q.Kill(t.Context(), old, "why not"), stint.ErrWrongKey)
		n, err := q.CancelAll(t.Context(), stint.Filter{Kind: "secret"}, "me")
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, q.Delete(t.Context(), unwanted))
		second := enqueue(t, q, secret{"planted-unique"}, stint.Unique(stint.Replace()))
		require.NotEqual(t, kept, second, "it is stored beside the one that cannot be read")
		faults, err := q.Check(t.Context())
		require.NoError(t, err)
		require.Len(t, faults, 1)
		require.Contains(t, faults[0].Text, "4 jobs are encrypted with the key "+stint.KeyName(keyOf("a")[0]))
		require.NoError(t, stop())
		require.NoError(t, q.Close())

		q = openWith(t, path, "ba")
		handleSecrets(t, q)
		run(t, q)
		time.Sleep(time.Hour)
		for _, id := range []stint.ID{old, kept} {
			require.Equal(t, stint.Completed, get(t, q, id).State)
		}
		require.Contains(t, get(t, q, expiring).Reason, "expired")
		require.JSONEq(t, `{"s":"planted-item"}`, string(get(t, q, expiring).Args))
		done, err := q.Batch(batch)
		require.NoError(t, err)
		require.NotZero(t, done.OnDone)
		require.Equal(t, stint.Completed, get(t, q, done.OnDone).State)
		sound(t, q)
	})
	scenario(t, "what was changed in an encrypted part is set aside", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue")
		q := openWith(t, path, "a")
		moved := enqueue(t, q, secret{"planted-args"})
		at := enqueue(t, q, yielded{"planted-item"})
		flipped := enqueue(t, q, secret{"planted-error"})
		good := enqueue(t, q, secret{"good"})
		require.NoError(t, q.Close())
		change(t, path, func(db *bolt.DB) error {
			if err := stint.ChangeContent(db, flipped, good, func(a, b []byte) ([]byte, []byte) {
				a[len(a)-1] ^= 1
				return a, b
			}); err != nil {
				return err
			}
			return stint.ChangeContent(db, moved, at, func(a, b []byte) ([]byte, []byte) { return b, a })
		})
		q = openWith(t, path, "a")
		var ran atomic.Int32
		stint.Handle(q, func(context.Context, *stint.Job[secret]) error { ran.Add(1); return nil }, nil)
		stint.Handle(q, func(context.Context, *stint.Job[yielded]) error { ran.Add(1); return nil }, nil)
		run(t, q)
		synctest.Wait()
		require.EqualValues(t, 1, ran.Load())
		require.Equal(t, stint.Completed, get(t, q, good).State)
		require.Equal(t, 3, q.Stats().Quarantined)
		for entry, err := range q.Quarantined() {
			require.NoError(t, err)
			require.Contains(t, entry.Reason, "encrypted part")
			require.NotEmpty(t, entry.Raw)
		}
		sound(t, q)
	})
}

// A new identity, which RepairFile gives to a plain file, would make the whole
// content unreadable for ever.
func TestRepairLeavesWhatTheKeysFollowFrom(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"file", "secret"} {
		t.Run(key, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue")
			q, err := stint.Open(path, &stint.Config{Logger: quiet, Keys: keyOf("a")})
			require.NoError(t, err)
			enqueue(t, q, secret{"planted-args"})
			require.NoError(t, q.Close())
			change(t, path, func(db *bolt.DB) error { return stint.SpoilMeta(db, key) })
			before, err := os.ReadFile(path)
			require.NoError(t, err)

			_, err = stint.Open(path, &stint.Config{Logger: quiet, Keys: keyOf("a")})
			require.ErrorIs(t, err, stint.ErrCorrupt)
			faults, err := stint.RepairFile(path)
			require.NoError(t, err)
			require.Len(t, faults, 1)
			require.False(t, faults[0].Repairable)
			require.Contains(t, faults[0].Text, "nothing in it can be decrypted")
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after))
		})
	}
}
