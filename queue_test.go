package stint_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// note is the job of most tests.
type note struct {
	N int `json:"n"`
}

func (note) Kind() string { return "note" }

type other struct{ S string }

func (other) Kind() string { return "other" }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// open opens a queue in a fresh file. When the test ends it is closed and its
// file checked.
func open(t testing.TB, cfg *stint.Config) *stint.Queue {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "queue.db"), cfg)
}

func openAt(t testing.TB, path string, cfg *stint.Config) *stint.Queue {
	t.Helper()
	if cfg == nil {
		cfg = &stint.Config{}
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	q, err := tryOpen(path, cfg)
	require.NoError(t, err)
	q.DB().NoSync = true // the disk's speed is not what these tests are about
	t.Cleanup(func() {
		require.NoError(t, q.Close())
		check(t, path)
	})
	return q
}

// encryptVariable lets the tests, and the processes that they start, work on
// encrypted files: STINT_TEST_ENCRYPT=1 go test .
const encryptVariable = "STINT_TEST_ENCRYPT"

// tryOpen is stint.Open, on a file that is encrypted if the variable asks for
// it.
func tryOpen(path string, cfg *stint.Config) (*stint.Queue, error) {
	return stint.Open(path, encrypted(cfg))
}

// encrypted is a Config with a key, if the variable asks for it.
func encrypted(cfg *stint.Config) *stint.Config {
	if os.Getenv(encryptVariable) == "" || cfg != nil && cfg.Keys != nil {
		return cfg
	}
	with := stint.Config{}
	if cfg != nil {
		with = *cfg
	}
	with.Keys = [][]byte{bytes.Repeat([]byte{7}, 32)}
	return &with
}

// check looks for inconsistencies in a closed file.
func check(t testing.TB, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: time.Second})
	require.NoError(t, err)
	require.Empty(t, stint.CheckDB(db))
	require.NoError(t, db.Close())
	stint.LetGo()
}

// run works the queue in the background until the test ends or stop is
// called, which returns what Run returned.
func run(t testing.TB, q *stint.Queue) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- q.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-result
	}
	t.Cleanup(func() { require.NoError(t, stop()) })
	return stop
}

// bubble runs fn in virtual time.
func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

func TestEnqueueAndRun(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		var seen atomic.Int64
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			seen.Add(int64(job.Args.N))
			return nil
		}, nil)
		id, err := q.Enqueue(t.Context(), note{N: 7})
		require.NoError(t, err)
		info, err := q.Get(id)
		require.NoError(t, err)
		require.Equal(t, stint.Ready, info.State)
		require.JSONEq(t, `{"n":7}`, string(info.Args))

		run(t, q)
		synctest.Wait()
		require.EqualValues(t, 7, seen.Load())
		_, err = q.Get(id)
		require.ErrorIs(t, err, stint.ErrNotFound)
		require.Zero(t, q.Counts())
		require.EqualValues(t, 1, q.Stats().Processed)
	})
}

func TestRetriesOverTwentyDays(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		q := open(t, nil)
		attempts := 0
		stint.Handle(q, func(_ context.Context, job *stint.Job[note]) error {
			attempts++
			require.Equal(t, attempts, job.Attempt)
			return errors.New("no luck")
		}, nil)
		start := time.Now()
		id, err := q.Enqueue(t.Context(), note{})
		require.NoError(t, err)
		run(t, q)
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		require.Equal(t, 25, attempts)
		info, err := q.Get(id)
		require.NoError(t, err)
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, "no luck", info.Reason)
		require.Len(t, info.Attempts, 10)
		days := info.FinishedAt.Sub(start).Hours() / 24
		require.InDelta(t, 16.5, days, 1, "sum of n⁴+15 for 24 waits")
	})
}

func eventually(t *testing.T, cond func() bool, what string, args ...any) {
	t.Helper()
	require.Eventually(t, cond, 20*time.Second, time.Millisecond, append([]any{what}, args...)...)
}

// economical is fewer where the race detector makes everything slow. The states
// are the same with it and without.
func economical(n int) int {
	if withRaceDetector() {
		return n / 4
	}
	return n
}

// withRaceDetector says whether this binary looks for races.
func withRaceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
