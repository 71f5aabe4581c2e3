package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// bench is one run of the command.
//
//  1. prepare starts the servers of the systems that are asked for; one that
//     cannot be had is left out with a word.
//  2. measureAll goes through the workloads. In each, round 1 measures every
//     subject once, then comes round 2: what else the machine does so meets
//     all of them alike. Each measurement has a new directory.
//  3. report prints medians.
type bench struct {
	opt            options
	size           size
	dir            string
	stdout, stderr io.Writer

	systems  []System
	jobs     map[string]int // that fit into the budget, see grow
	results  results
	failed   map[string]bool // workload and system that gave an error
	progress *progress
	prepared []System
}

// size is how much is measured.
type size struct {
	budget   time.Duration // of one measurement
	jobs     int           // at most, in one measurement
	samples  int           // of a latency
	sampling time.Duration // at most, for the samples

	load  int           // jobs of the workloads for Stint alone
	part  int           // of a large backlog that is drained in one turn
	turns int           // of empty and large file
	ticks time.Duration // for how long schedules are watched
}

var (
	fullSize = size{
		budget: 2 * time.Second, jobs: 200_000, samples: 300, sampling: 5 * time.Second,
		load: 100_000, part: 50_000, turns: 5, ticks: 10 * time.Second,
	}
	quickSize = size{
		budget: 300 * time.Millisecond, jobs: 20_000, samples: 100, sampling: time.Second,
		load: 20_000, part: 10_000, turns: 3, ticks: 4 * time.Second,
	}
)

func newBench(opt options, dir string, stdout, stderr io.Writer) *bench {
	b := &bench{opt: opt, size: fullSize, dir: dir, stdout: stdout, stderr: stderr, jobs: map[string]int{}, failed: map[string]bool{}}
	if opt.quick {
		b.size = quickSize
	}
	if opt.delayed > 0 {
		// A commit syncs twice, and some dozens of them are needed.
		b.size.budget = max(b.size.budget, time.Second+100*opt.delayed)
	}
	b.progress = newProgress(stderr)
	return b
}

// chosen are the workloads that are asked for.
func (b *bench) chosen() []workload {
	return slices.DeleteFunc(workloads(), func(w workload) bool {
		switch {
		case !b.opt.run.MatchString(w.name):
			return true
		case w.name == backlogHuge.name && !b.opt.huge:
			return true
		case w.slow && b.opt.delayed > 0, w.name == slowHere.name && b.opt.delayed == 0:
			return true
		}
		return false
	})
}

// prepare finds the systems that can be measured.
func (b *bench) prepare(ctx context.Context) error {
	chosen := b.chosen()
	if len(chosen) == 0 {
		return fmt.Errorf("no workload matches -run %s; there are:%s", b.opt.run, names(workloads()))
	}
	withPeers := slices.ContainsFunc(chosen, func(w workload) bool { return w.peer })
	for i, s := range systems() {
		own := s.Name() == stintName || s.Name() == naiveName
		if !b.opt.systems.MatchString(s.Name()) || !own && (b.opt.delayed > 0 || !withPeers) {
			continue
		}
		b.progress.say("preparing " + s.Name())
		dir := filepath.Join(b.dir, fmt.Sprintf("server-%d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		b.prepared = append(b.prepared, s) // what a failed Prepare has begun is stopped too
		if err := s.Prepare(ctx, dir); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b.progress.line("%s is left out: %v", s.Name(), err)
			continue
		}
		b.systems = append(b.systems, s)
	}
	return nil
}

func names(list []workload) (text string) {
	for _, w := range list {
		text += " " + w.name
	}
	return text
}

// stop ends the servers.
func (b *bench) stop() {
	for _, s := range b.prepared {
		if err := s.Stop(); err != nil {
			b.progress.line("%s did not stop: %v", s.Name(), err)
		}
	}
}

// measureAll asks all questions. An error of one subject leaves it out of that
// workload, and is told at the end.
func (b *bench) measureAll(ctx context.Context) error {
	chosen := b.chosen()
	b.progress.plan(b.plan(chosen))
	for _, w := range chosen {
		if err := b.measureWorkload(ctx, w); err != nil {
			return err
		}
	}
	b.progress.clear()
	if n := len(b.failed); n > 0 {
		return fmt.Errorf("%d of the measurements gave no result; the lines above say why", n)
	}
	return nil
}

func (b *bench) measureWorkload(ctx context.Context, w workload) error {
	for round := 1; round <= b.roundsOf(w); round++ {
		if w.slow {
			return b.measureSlow(ctx, w)
		}
		for _, s := range b.subjectsOf(w) {
			key := w.name + " " + s.name
			if b.failed[key] {
				continue
			}
			done := b.progress.begin(fmt.Sprintf("%s · %s · round %d of %d", w.name, s.name, round, b.roundsOf(w)), b.cost(w))
			found, err := b.measure(ctx, w, s)
			done()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				b.failed[key] = true
				b.progress.line("%s: %s gave no result: %v", w.name, s.name, err)
				continue
			}
			m := measurement{Workload: w.name, System: s.name, Durability: s.durability, Floor: s.floor, Round: round, Metrics: found}
			if b.opt.delayed > 0 {
				m.Delay = b.opt.delayed.String()
			}
			if err := b.add(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure runs one subject in a directory of its own.
func (b *bench) measure(ctx context.Context, w workload, s subject) (m metrics, err error) {
	dir, err := os.MkdirTemp(b.dir, "m-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	limit := 2*time.Minute + 10*w.cost
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %v", limit))
	defer cancel()
	runtime.GC() // what the one before has left is not this one's
	return s.measure(ctx, dir)
}

// add keeps a measurement, and prints it at once with -json.
func (b *bench) add(m measurement) error {
	b.results = append(b.results, m)
	if !b.opt.json {
		return nil
	}
	b.progress.clear()
	return json.NewEncoder(b.stdout).Encode(m)
}

// subjectsOf leaves out Stint where it is not asked for.
func (b *bench) subjectsOf(w workload) []subject {
	return slices.DeleteFunc(w.subjects(b), func(s subject) bool { return !s.floor && !b.opt.systems.MatchString(s.name) })
}

func (b *bench) roundsOf(w workload) int {
	if w.once {
		return 1
	}
	return b.opt.rounds
}

// cost is about how long one subject takes in one round.
func (b *bench) cost(w workload) time.Duration {
	c := w.cost
	if b.opt.quick {
		c /= 4
	}
	return b.size.budget + c + 100*time.Millisecond
}

// plan is about how long all takes.
func (b *bench) plan(list []workload) (sum time.Duration) {
	for _, w := range list {
		n := 1
		if !w.slow {
			n = len(b.subjectsOf(w))
		}
		sum += b.cost(w) * time.Duration(n*b.roundsOf(w))
	}
	return sum
}

// subdir makes a new directory for a queue within that of a measurement.
func subdir(dir string) (string, error) { return os.MkdirTemp(dir, "q-") }

// report prints what was found.
func (b *bench) report() error {
	var errs []error
	if !b.opt.json {
		errs = append(errs, printTables(b.stdout, workloads(), b.results))
	}
	if b.opt.verdict {
		out := b.stdout
		if b.opt.json {
			out = b.stderr // stdout is for programs
		}
		errs = append(errs, printVerdict(out, b.results))
	}
	if b.opt.svg != "" {
		errs = append(errs, writeChart(b.opt.svg, b.results))
	}
	return errors.Join(errs...)
}
