package stint_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// Jobs that kill the process each time they run. The queue finds them with as
// few crashes as can be and does not take it out on the jobs beside them.

func init() { childModes["poison"] = childPoison }

// victim runs for a while and harms nobody.
type victim struct {
	Name string
	Ms   int
}

func (victim) Kind() string { return "victim" }

// poison ends the process.
type poison struct{ How string }

func (poison) Kind() string { return "poison" }

func childPoison(args childArgs) {
	q := childOpen(args, &stint.Config{KeepCompleted: time.Hour, Workers: args.N})
	stint.Handle(q, func(_ context.Context, job *stint.Job[victim]) error {
		appendLine(args.Log, "%s", job.Args.Name)
		time.Sleep(time.Duration(job.Args.Ms) * time.Millisecond)
		return nil
	}, nil)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[poison]) error {
		appendLine(args.Log, "%s", job.Args.How)
		if job.Args.How == "at-once" {
			os.Exit(2)
		}
		time.Sleep(20 * time.Millisecond) // the others are at work by now
		die(job.Args.How)
		<-ctx.Done()
		return nil
	}, nil)
	say("ready")
	workUntilEmpty(childContext(), q)
}

func die(how string) {
	switch how {
	case "exit":
		os.Exit(2)
	case "kill":
		killMyself()
	case "stack":
		debug.SetMaxStack(1 << 20)
		var deeper func(n int) int
		deeper = func(n int) int { return deeper(n+1) + n }
		_ = deeper(0)
	case "fatal": // as concurrent writes to a map: no recover sees it
		var mu sync.Mutex
		mu.Unlock()
	case "goroutine":
		go func() { panic("in a goroutine of the handler") }()
	}
}

// poisoning is how it went.
type poisoning struct {
	deaths int
	lives  [][]string // the jobs that began in each life of the process
	infos  map[string]stint.Info
}

// poisoned works the jobs in children until one ends by itself.
func poisoned(t *testing.T, workers int, jobs ...stint.Args) (p poisoning) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "queue.db")
	names := map[stint.ID]string{}
	for i, id := range enqueueClosed(t, path, jobs...) {
		switch job := jobs[i].(type) {
		case victim:
			names[id] = job.Name
		case poison:
			names[id] = job.How
		}
	}
	for {
		log := filepath.Join(dir, "log")
		_ = os.Remove(log)
		c := startChild(t, childArgs{Mode: "poison", File: path, Log: log, N: workers})
		code := c.wait()
		require.NotEqual(t, exitBroken, code, c.stderr.String())
		lines, _ := os.ReadFile(log)
		p.lives = append(p.lives, strings.Fields(string(lines)))
		if code == 0 {
			break
		}
		p.deaths++
		require.Less(t, p.deaths, 20, "the poison is not found")
	}
	q := openAt(t, path, nil)
	p.infos = map[string]stint.Info{}
	for info, err := range q.Jobs(stint.Filter{}) {
		require.NoError(t, err)
		p.infos[names[info.ID]] = info
	}
	require.Len(t, p.infos, len(jobs))
	return p
}

func victims(n int) (jobs []stint.Args) {
	for i := range n {
		jobs = append(jobs, victim{Name: "victim" + stint.ID(i).String(), Ms: 30 + i*70/max(n-1, 1)})
	}
	return jobs
}

// innocent checks that all victims completed, and that each ran once more than
// it was running at a crash.
func (p poisoning) innocent(t *testing.T) {
	t.Helper()
	total := 0
	for name, info := range p.infos {
		if info.Kind != "victim" {
			continue
		}
		require.Equal(t, stint.Completed, info.State, "%s: %s", name, info.Reason)
		require.Zero(t, info.Failures)
		runs := 0
		for _, began := range p.lives {
			times := len(began) - len(slices.DeleteFunc(slices.Clone(began), func(s string) bool { return s == name }))
			require.LessOrEqual(t, times, 1, "%s ran twice in one life", name)
			runs += times
		}
		require.LessOrEqual(t, runs, info.Crashes+1, name)
		require.LessOrEqual(t, info.Crashes, 2, "%s was blamed for a crash while alone", name)
		total += runs
	}
	t.Logf("%d deaths, the victims ran %d times", p.deaths, total)
}

func (p poisoning) guilty(t *testing.T, name string) {
	t.Helper()
	info := p.infos[name]
	require.Equal(t, stint.Dead, info.State)
	require.Equal(t, 3, info.Crashes)
	require.Equal(t, "the process ended 3 times while the job was running, the last time while nothing else was", info.Reason)
	require.Len(t, info.Attempts, 3)
}

func TestPoisonIsFoundAfterThreeCrashes(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"exit", "kill", "stack", "fatal", "goroutine"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			jobs := slices.Insert(victims(20), 4, stint.Args(poison{how}))
			p := poisoned(t, 10, jobs...)
			require.Equal(t, 3, p.deaths)
			p.guilty(t, how)
			p.innocent(t)
		})
	}
}

// A handler that ends the process before anything else can happen: the claim
// has to be in the file before the handler starts, or nobody ever learns.
func TestPoisonThatActsAtOnce(t *testing.T) {
	t.Parallel()
	p := poisoned(t, 10, slices.Insert(victims(20), 4, stint.Args(poison{"at-once"}))...)
	require.Equal(t, 3, p.deaths)
	p.guilty(t, "at-once")
	p.innocent(t)
}

// With a worker for each, everybody is a suspect.
func TestPoisonAmongManySuspects(t *testing.T) {
	t.Parallel()
	p := poisoned(t, 40, slices.Insert(victims(20), 12, stint.Args(poison{"exit"}))...)
	require.Equal(t, 3, p.deaths)
	p.guilty(t, "exit")
	p.innocent(t)
}

// With one worker the suspicion is right from the start, but the rule is the
// same.
func TestPoisonWithOneWorker(t *testing.T) {
	t.Parallel()
	p := poisoned(t, 1, slices.Insert(victims(5), 2, stint.Args(poison{"exit"}))...)
	require.Equal(t, 3, p.deaths)
	p.guilty(t, "exit")
	p.innocent(t)
}

func TestTwoPoisonsAtOnce(t *testing.T) {
	t.Parallel()
	// Both in flight at the first two crashes: one more for each.
	near := slices.Insert(victims(20), 3, stint.Args(poison{"exit"}), stint.Args(poison{"kill"}))
	p := poisoned(t, 10, near...)
	require.Equal(t, 4, p.deaths)
	p.guilty(t, "exit")
	p.guilty(t, "kill")
	p.innocent(t)

	// The second behind the first one's back: three for each.
	far := append(slices.Insert(victims(20), 0, stint.Args(poison{"exit"})), poison{"kill"})
	p = poisoned(t, 10, far...)
	require.LessOrEqual(t, p.deaths, 6)
	p.guilty(t, "exit")
	p.guilty(t, "kill")
	p.innocent(t)
}
