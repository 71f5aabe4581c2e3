package stint_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a power cut can leave. Unlike a kill it loses what was written and not
// synced, in any order and in part. A child is recorded (replay_linux_test.go),
// the states that the disk may have been in are put together from the
// recording (replay_disk_linux_test.go, replay_states_linux_test.go), and each
// is opened and held against what the child had been told by then.

var (
	crashStates = flag.Int("states", economical(2000), "different states of the disk that are checked")
	finishEvery = flag.Int("states.finish", 40, "of so many states the jobs of one are run to their end")
	keepStates  = flag.String("states.keep", "", "a directory that gets the files of bad states")
)

// recording is of one directory, by one or more children in a row.
type recording struct {
	dir   string
	calls [][]*call
	cut   bool // a child died, maybe before it could say what it had done
}

// memoryDir is a directory where a sync costs nothing, if there is one.
func memoryDir() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "stint-states-"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "stint-states-")
}

// record lets children live one after another in a directory of their own.
// Further arguments of the first one's are strace's.
func record(more []string, lives ...childArgs) (*recording, error) {
	dir, err := memoryDir()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &recording{dir: dir}
	for _, args := range lives {
		args.File = filepath.Join(dir, "queue.db")
		calls, err := recordChild(args, more...)
		if err != nil {
			return nil, err
		}
		r.calls, more, r.cut = append(r.calls, calls), nil, r.cut || args.Log == "dies"
	}
	return r, nil
}

func skipUntraceable(t *testing.T) {
	t.Helper()
	if err := traceable(); err != nil {
		t.Skip(err)
	}
}

// judgement is what the check of many states has come to.
type judgement struct {
	epochs, naming, writes, syncs, lines, distinct int
	trials                                         []trial
	rate                                           float64 // states in a second

	mu       sync.Mutex
	bad      int      // guarded by mu
	examples []string // guarded by mu
}

func (o *judgement) String() string {
	return fmt.Sprintf("%d epochs (in %d of them names change), %d blocks written, %d syncs, %d lines said: %d different states, %d bad, %.0f a second",
		o.epochs, o.naming, o.writes, o.syncs, o.lines, o.distinct, o.bad, o.rate)
}

// checkStates checks so many states of a recording. For a broken one, or one
// that is to be taken for broken, nothing is run to its end.
func checkStates(t *testing.T, r *recording, wanted int, broken bool, forget func(*call, *disk) bool) *judgement {
	t.Helper()
	d, err := replay(r.dir, forget, r.calls...)
	require.NoError(t, err)
	said, err := newTestimony(d.facts)
	require.NoError(t, err)
	o := &judgement{epochs: len(d.epochs), writes: d.writes, syncs: d.syncs, lines: len(d.facts)}
	for _, e := range d.epochs {
		if len(e.names) > 1 {
			o.naming++
		}
	}
	o.trials, o.distinct = choose(d.epochs, wanted, seeded(t))
	every := *finishEvery
	if broken {
		every = len(o.trials) + 1
	}
	o.check(t, said, every, r.cut)
	return o
}

// check shares the trials out to as many workers as there are processors.
func (o *judgement) check(t *testing.T, said testimony, finishEvery int, cut bool) {
	begin := time.Now()
	var workers sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		dir, err := memoryDir()
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		workers.Go(func() {
			for i := range next {
				tr := &o.trials[i]
				if faults := tr.check(dir, said, cut, (i+1)%finishEvery == 0); len(faults) > 0 {
					o.note(tr, faults)
				}
			}
		})
	}
	for i := range o.trials {
		next <- i
	}
	close(next)
	workers.Wait()
	o.rate = float64(len(o.trials)) / time.Since(begin).Seconds()
}

// note counts a bad state and keeps it.
func (o *judgement) note(tr *trial, faults []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bad++
	if len(o.examples) == 5 {
		return
	}
	o.examples = append(o.examples, fmt.Sprintf("%v:\n  %s", tr, strings.Join(faults, "\n  ")))
	if *keepStates != "" {
		dir := filepath.Join(*keepStates, fmt.Sprintf("state-%d", len(o.examples)))
		if err := errors.Join(os.MkdirAll(dir, 0o700), writeImages(dir, tr.build())); err != nil {
			o.examples = append(o.examples, err.Error())
		}
	}
}

// String says which state it is.
func (tr *trial) String() string {
	kept := 0
	for _, k := range tr.kept {
		if k {
			kept++
		}
	}
	return fmt.Sprintf("epoch %d, %d of %d effects, torn %d %08b, names %d, %d lines said", tr.at, kept, len(tr.kept), tr.torn, tr.sectors, tr.names, tr.epoch.facts)
}

func (tr *trial) check(dir string, said testimony, cut, finish bool) []string {
	inside := filepath.Join(dir, "state")
	if err := cmp.Or(os.RemoveAll(inside), os.Mkdir(inside, 0o700), writeImages(inside, tr.build())); err != nil {
		return []string{err.Error()}
	}
	return faultsOfState(inside, said, tr.epoch.facts, cut, finish)
}

// oneLife is recorded once for all tests that look at it.
var oneLife = sync.OnceValues(func() (*recording, error) {
	return record(nil, childArgs{Mode: "states", N: max(24, min(*crashStates/400, 100))})
})

func TestCrashStates(t *testing.T) {
	t.Parallel()
	skipUntraceable(t)
	r, err := oneLife()
	require.NoError(t, err)
	o := checkStates(t, r, *crashStates, false, nil)
	t.Log(o)
	require.Zero(t, o.bad, strings.Join(o.examples, "\n"))
	require.GreaterOrEqual(t, o.distinct, *crashStates)
	require.Greater(t, o.naming, 4, "the creation and some compactions")
}

// fewStates suffice to find a sync that is missing.
const fewStates = 500

// The test must find what it is for: answers that come before their sync.
func TestCrashStatesFindMissingSync(t *testing.T) {
	t.Parallel()
	skipUntraceable(t)
	if withRaceDetector() {
		t.Skip("it is about the other tests, and slow with the race detector")
	}
	scenarios := map[string]func(*call, *disk) bool{
		"of the meta page":   func(c *call, d *disk) bool { return c.name == "fdatasync" && d.metaLast },
		"of the other pages": func(c *call, d *disk) bool { return c.name == "fdatasync" && !d.metaLast },
		"of the directory":   func(c *call, d *disk) bool { return d.open[c.number(0)].file == nil },
	}
	for name, forget := range scenarios {
		t.Run(name, func(t *testing.T) {
			r, err := oneLife()
			require.NoError(t, err)
			o := checkStates(t, r, fewStates, true, forget)
			t.Log(o)
			require.NotZero(t, o.bad)
			t.Log(o.examples[0])
		})
	}
	t.Run("of all", func(t *testing.T) {
		r, err := record(nil, childArgs{Mode: "states", N: 12, Log: "no sync"})
		require.NoError(t, err)
		o := checkStates(t, r, fewStates, true, nil)
		t.Log(o)
		require.NotZero(t, o.bad)
		t.Log(o.examples[0])
	})
}

// The next process has to make good what a kill has left, and may lose power
// while it does.
func TestCrashStatesAfterAKill(t *testing.T) {
	t.Parallel()
	skipUntraceable(t)
	r, err := record(nil, childArgs{Mode: "states", N: 16, Log: "dies"}, childArgs{Mode: "states", N: 8, Log: "revived"})
	require.NoError(t, err)
	o := checkStates(t, r, *crashStates/4, false, nil)
	t.Log(o)
	require.Zero(t, o.bad, strings.Join(o.examples, "\n"))
}

// After a failed sync the page cache shows what the disk may not have, also to
// the next process.
func TestCrashStatesAfterAFailedSync(t *testing.T) {
	t.Parallel()
	skipUntraceable(t)
	for _, from := range []int{15, 26} {
		t.Run(fmt.Sprintf("from call %d on", from), func(t *testing.T) {
			r, err := record([]string{"-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d+", from)},
				childArgs{Mode: "states-sync-fails"}, childArgs{Mode: "states", N: 8, Log: "revived"})
			require.NoError(t, err)
			o := checkStates(t, r, *crashStates/10, false, nil)
			t.Log(o)
			require.Zero(t, o.bad, strings.Join(o.examples, "\n"))
		})
	}
}
