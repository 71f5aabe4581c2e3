package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// The baseline: a short set for each change of the code. Speeds of machines
// differ, so what is compared is the ratio to the floor that was measured in
// turn, and what a job costs in allocations, bytes and syncs.

// baseline is the content of the file: costs by workload.
type baseline map[string]costs

type costs struct {
	Ratio   float64 `json:"ratio_to_floor"`
	Allocs  float64 `json:"allocs_per_job"`
	Written float64 `json:"written_per_job"`
	Fsyncs  float64 `json:"fsyncs_per_job"`
}

// How much worse is clearly worse. Groups of commits are as large as the disk
// is slow, and what a job costs follows them: syncs most, bytes less, and
// allocations a little, so that is how much room they have.
const (
	minRatio   = 0.6
	maxAllocs  = 1.25
	maxWritten = 1.6
	maxFsyncs  = 2.5
)

const baselineRounds = 5

// compare measures the set and compares it with the file, or writes that.
func (b *bench) compare(ctx context.Context) error {
	old, err := readBaseline(b.opt.baseline)
	if err != nil && !b.opt.update {
		return err
	}
	b.size.budget, b.size.jobs = time.Second, 100_000
	b.opt.rounds = baselineRounds
	list := baselineWorkloads()
	b.progress.plan(time.Duration(baselineRounds*len(list)) * 2 * b.size.budget)
	now, err := b.baseline(ctx, list)
	if err != nil {
		return err
	}
	if b.opt.update {
		return writeBaseline(b.opt.baseline, now)
	}
	if losses := lossesOf(old, now); len(losses) > 0 {
		// What else the machine does may have disturbed it; a true loss is
		// there the second time as well.
		b.progress.line("a loss, measured again to be sure:\n  %s", strings.Join(losses, "\n  "))
		b.results = nil
		if now, err = b.baseline(ctx, list); err != nil {
			return err
		}
	}
	fmt.Fprint(b.stdout, baselineTable(old, now))
	if losses := lossesOf(old, now); len(losses) > 0 {
		return fmt.Errorf("clearly worse than %s:\n  %s\nif that is meant, run again with -update and commit the file", b.opt.baseline, strings.Join(losses, "\n  "))
	}
	return nil
}

// baselineWorkloads are Stint and its floor, in turn.
func baselineWorkloads() []workload {
	list := []workload{enqueueMany, drainWith(100), enqueueAndWork}
	for i := range list {
		w := list[i]
		list[i].subjects = func(b *bench) []subject {
			return slices.DeleteFunc(w.subjects(b), func(s subject) bool { return s.name != stintName && s.name != w.floor })
		}
	}
	return list
}

func (b *bench) baseline(ctx context.Context, list []workload) (baseline, error) {
	b.systems = []System{stintSystem{}}
	for _, w := range list {
		if err := b.measureWorkload(ctx, w); err != nil {
			return nil, err
		}
	}
	b.progress.clear()
	if len(b.failed) > 0 {
		return nil, errors.New("the lines above say what could not be measured")
	}
	out := baseline{}
	for _, w := range list {
		var c costs
		c.Ratio, _ = b.results.ratio(w.name, stintName, w.floor, mRate)
		c.Allocs, _ = b.results.median(w.name, stintName, mAllocs)
		c.Written, _ = b.results.median(w.name, stintName, mWritten)
		c.Fsyncs, _ = b.results.median(w.name, stintName, mFsyncs)
		out[w.name] = c
	}
	return out, nil
}

// lossesOf says in what now is clearly worse than old.
func lossesOf(old, now baseline) []string {
	var list []string
	for _, w := range baselineWorkloads() {
		was, ok := old[w.name]
		is := now[w.name]
		if !ok {
			list = append(list, w.name+": the baseline does not have it")
			continue
		}
		if is.Ratio < was.Ratio*minRatio {
			list = append(list, fmt.Sprintf("%s: speed is %.2f of the floor, it was %.2f; less than %.2f is a loss", w.name, is.Ratio, was.Ratio, was.Ratio*minRatio))
		}
		for _, c := range []struct {
			what       string
			is, was, m float64
		}{
			{"allocations", is.Allocs, was.Allocs, maxAllocs},
			{"bytes written", is.Written, was.Written, maxWritten},
			{"syncs", is.Fsyncs, was.Fsyncs, maxFsyncs},
		} {
			if c.is > c.was*c.m {
				list = append(list, fmt.Sprintf("%s: %.3g %s per job, it was %.3g; more than %.3g is a loss", w.name, c.is, c.what, c.was, c.was*c.m))
			}
		}
	}
	return list
}

func baselineTable(old, now baseline) string {
	rows := [][]string{{"workload", "", "of floor", "allocs/job", "written/job", "fsyncs/job"}}
	for _, w := range baselineWorkloads() {
		for _, row := range []struct {
			word string
			costs
		}{{"now", now[w.name]}, {"baseline", old[w.name]}} {
			rows = append(rows, []string{
				w.name, row.word, fmt.Sprintf("%.2f", row.Ratio), fmt.Sprintf("%.3g", row.Allocs),
				byteSize(row.Written), fmt.Sprintf("%.3g", row.Fsyncs),
			})
		}
	}
	return align(rows)
}

func readBaseline(path string) (baseline, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no baseline %s; make one with -update", path)
	}
	if err != nil {
		return nil, err
	}
	var out baseline
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("%s is no baseline: %w; make it anew with -update", path, err)
	}
	return out, nil
}

func writeBaseline(path string, b baseline) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
