package stint_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stintq/stint"
)

var simulateFor = flag.Duration("simulate", 3*time.Second, "how long TestSimulation runs fresh random sequences")

// Random sequences of everything a user can do, compared with a model after
// each step.
//
//  1. simulate is one sequence, in virtual time and on a real file: actions
//     (simulation_actions_test.go) that rapid draws, and shrinks when one
//     fails.
//  2. Each action does the same to the queue and to the model, or sleeps, or
//     ends the process and begins another.
//  3. settle lets the queue come to rest, lets the model go through what the
//     handlers have told, and compares everything that can be seen.
//
// A failure prints the flags that repeat it: -rapid.seed or -rapid.failfile.
func TestSimulation(t *testing.T) {
	dir, done := t.TempDir(), map[string]int{}
	sequences, failed := 0, false
	over := func() bool { return false }
	check := func() {
		rapid.Check(t, func(rt *rapid.T) {
			if !failed && over() {
				return
			}
			whole := false
			defer func() { failed = failed || !whole }()
			rapid.SyncTest(rt, func(rt *rapid.T) { simulate(rt, dir, done) })
			sequences++
			whole = true
		})
	}
	asked := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { asked[f.Name] = true })
	if !asked["rapid.steps"] {
		require.NoError(t, flag.Set("rapid.steps", "60"))
	}
	if asked["rapid.checks"] || asked["rapid.seed"] || asked["rapid.failfile"] {
		check()
	} else {
		start := time.Now()
		over = func() bool { return time.Since(start) > *simulateFor }
		for n := 10; !over(); n *= 4 {
			require.NoError(t, flag.Set("rapid.checks", fmt.Sprint(n)))
			check()
		}
	}
	t.Logf("%d sequences, actions by kind:", sequences)
	for _, name := range simSorted(done) {
		t.Logf("%8d %s", done[name], name)
	}
}

func simSorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// simulation is one sequence.
type simulation struct {
	dir     string
	path    string
	q       *stint.Queue
	life    *simLife
	m       *simModel
	stopRun context.CancelFunc
	ended   chan error // what Run returned
	runs    map[stint.ID]int
	faults  []string
}

// simFiles numbers the files of all sequences.
var simFiles atomic.Int64

// simulate runs a sequence in a bubble of synctest.
func simulate(rt *rapid.T, dir string, done map[string]int) {
	s := &simulation{dir: dir, runs: map[stint.ID]int{}}
	rt.Cleanup(func() {
		s.vanish()
		_ = os.Remove(s.path)
	})
	s.m = newSimModel(s.fault)
	s.path = s.newPath()
	s.open(rt, simConfigs[0])
	s.start()
	s.settle(rt)
	rt.Repeat(map[string]func(*rapid.T){"step": func(rt *rapid.T) {
		name := simNames.Draw(rt, "action")
		s.act(rt, name)
		done[name]++
		s.settle(rt)
	}})
}

func (s *simulation) newPath() string {
	return filepath.Join(s.dir, fmt.Sprintf("%d.db", simFiles.Add(1)))
}

func (s *simulation) fault(format string, args ...any) {
	if len(s.faults) < 5 { // the others follow from these, as a rule
		s.faults = append(s.faults, fmt.Sprintf(format, args...))
	}
}

// settle lets the queue come to rest and compares.
func (s *simulation) settle(rt *rapid.T) {
	synctest.Wait()
	for i := 0; i < 3 && s.m.running && s.claimedAhead(); i++ {
		// Any change gives back what was claimed and has no worker, but for one
		// that shares its group with completions which have waited for more.
		require.NoError(rt, s.q.Resume(context.Background(), "nobody"))
		synctest.Wait()
	}
	s.replay()
	if len(s.faults) == 0 {
		s.compare()
	}
	if len(s.faults) > 0 {
		rt.Fatalf("%s", strings.Join(s.faults, "\n"))
	}
}

func (s *simulation) claimedAhead() bool {
	for info := range s.q.Jobs(stint.Filter{State: stint.Running}) {
		if info.StartedAt.IsZero() {
			return true
		}
	}
	return false
}

// replay lets the model catch up.
func (s *simulation) replay() {
	trace, faults := s.life.take()
	s.faults = append(s.faults, faults...)
	s.m.replay(trace, simNow())
}

// simConfig is how a life of the process is configured.
type simConfig struct {
	stint.Config
	attempts int
	backoff  time.Duration
	timeout  time.Duration
	gamma    bool // has a handler
}

// Timeouts are odd, like all that handlers take: whether a run that ends just
// when the next one is due lets it in, nobody promises.
const (
	simShort = 10*time.Minute + 37*time.Microsecond
	simLimit = 30*time.Minute + 41*time.Microsecond
)

var simConfigs = []simConfig{
	{stint.Config{Workers: 50, MaxDead: 6}, 3, 7 * time.Minute, simShort, true},
	{stint.Config{Workers: 2, KeepCompleted: 2 * time.Hour}, 2, 20 * time.Minute, simLimit, false},
	{stint.Config{Workers: 3, KeepCompleted: -1, KeepDead: 6 * time.Hour}, 4, time.Minute, simShort, true},
	{stint.Config{Workers: 50, KeepDead: -1, ShutdownTimeout: 5 * time.Minute}, 3, 7 * time.Minute, simShort, true},
	{stint.Config{Workers: 20, MaxDead: 2, KeepCompleted: 26 * time.Hour}, 1, time.Hour, simLimit, false},
}

// open begins a life of the process. Registered schedules are registered
// again; Run has not been called yet.
func (s *simulation) open(rt *rapid.T, c simConfig) {
	cfg := c.Config
	cfg.Logger = quiet
	life := &simLife{}
	cfg.WorkMiddleware = []stint.WorkMiddleware{life.around}
	cfg.Queues = map[string]stint.QueueConfig{"slow": {Workers: 2, Weight: 2}}
	q, err := stint.Open(s.path, &cfg)
	require.NoError(rt, err)
	q.DB().NoSync = true
	s.q, s.m.cfg = q, cfg
	s.m.kinds = map[string]simPolicy{}
	s.life = life
	*life = simLife{q: q, runs: s.runs, dead: make(chan struct{}), busy: map[string]int{}, plans: map[stint.ID]int{}, limit: map[string]int{"": cfg.Workers, "beta": 1, "slow": 2}}
	policy := func(name string, p stint.Policy) *stint.Policy {
		p.MaxAttempts, p.Timeout = c.attempts, c.timeout
		p.Backoff = func(failure int, _ error) time.Duration { return time.Duration(failure) * c.backoff }
		s.m.kinds[name] = simPolicy{
			handled: true, attempts: c.attempts, timeout: c.timeout, concurrency: p.Concurrency, queue: cmpOr(p.Queue, "default"), priority: cmpOr(p.Priority, 2),
			backoff: func(failure int) time.Duration { return time.Duration(failure) * c.backoff },
		}
		return &p
	}
	stint.Handle(q, simHandler[simAlpha](s.life, func(a simAlpha) simBody { return a.simBody }), policy("alpha", stint.Policy{}))
	stint.Handle(q, simHandler[simBeta](s.life, func(a simBeta) simBody { return a.simBody }), policy("beta", stint.Policy{Concurrency: 1, Queue: "slow", Priority: 1}))
	stint.Handle(q, simHandler[simDone](s.life, func(a simDone) simBody { return a.simBody }), policy("done", stint.Policy{}))
	if c.gamma {
		stint.Handle(q, simHandler[simGamma](s.life, func(a simGamma) simBody { return a.simBody }), policy("gamma", stint.Policy{Priority: 3}))
	}
	err = stint.PeriodicBatch(q, "night", simSpecs[0].text, s.life.plan, simHandler[simItem](s.life, func(a simItem) simBody { return a.simBody }),
		&stint.BatchPolicy{Items: policy(simItemKind, stint.Policy{}), Planner: policy(simPlanKind, stint.Policy{}), OnDone: simDone{}}, stint.InZone("UTC"))
	require.NoError(rt, err)
	s.m.register(simSchedule{name: "night", kind: simPlanKind, spec: simSpecs[0]})
	for _, name := range simSorted(s.m.schedules) {
		if def := s.m.schedules[name]; name != "night" && def.wanted {
			s.register(rt, *def)
		}
	}
}

func cmpOr[T comparable](a, b T) T {
	var zero T
	if a == zero {
		return b
	}
	return a
}

func simHandler[T stint.Args](l *simLife, body func(T) simBody) func(context.Context, *stint.Job[T]) error {
	return func(ctx context.Context, job *stint.Job[T]) error { return l.handle(ctx, &job.Work, body(job.Args)) }
}

// start calls Run.
func (s *simulation) start() {
	var ctx context.Context
	ctx, s.stopRun = context.WithCancel(context.Background())
	s.ended = make(chan error, 1)
	q, ended := s.q, s.ended
	go func() { ended <- q.Run(ctx) }()
	s.m.running = true
}

// stop ends Run, or more, in good order. It may take some time.
func (s *simulation) stop(rt *rapid.T, end func() error) {
	s.replay()
	s.m.running = false
	s.m.endsAt = simNow().Add(cmpOr(s.m.cfg.ShutdownTimeout, 25*time.Second))
	require.NoError(rt, end())
	synctest.Wait()
	s.replay()
}

// vanish ends the process without a word to the file.
func (s *simulation) vanish() {
	if s.q == nil {
		return
	}
	s.life.mu.Lock()
	s.life.gone = true
	s.life.mu.Unlock()
	closed := make(chan struct{})
	go func() {
		_ = s.q.Close()
		close(closed)
	}()
	synctest.Wait() // it claims no more
	close(s.life.dead)
	<-closed
	s.q, s.m.running = nil, false
}

// crash ends the process as a power cut does, and opens what is on the disk.
func (s *simulation) crash(rt *rapid.T, c simConfig, downtime time.Duration) {
	old := s.path
	s.path = s.newPath()
	require.NoError(rt, s.copyFile(old))
	s.goOn(rt, old, c, downtime)
}

// goOn ends the process without a word, and begins another with s.path.
func (s *simulation) goOn(rt *rapid.T, old string, c simConfig, downtime time.Duration) {
	s.vanish()
	require.NoError(rt, os.Remove(old))
	time.Sleep(downtime)
	s.m.now = simNow()
	s.m.cfg = c.Config
	s.m.forgetProgram()
	s.m.crash()
	s.open(rt, c)
}

var errSimPassed = errors.New("nothing to do")
