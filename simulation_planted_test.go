package stint_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var plantBugs = flag.Bool("planted", false, "run TestPlantedBugs")

// plantedBugs are mistakes as people make them: a counter, a lock that leaks,
// a time counted from the wrong moment, a policy off by one, what is lost over
// a restart, what is counted twice. TestSimulation has to find each.
var plantedBugs = []struct{ name, file, old, new string }{
	{"a lane does not count what leaves it for the dead", "move.go",
		"	if j.state != gone {\n		row.n[countedAs(j.state)]--", "	if j.state != gone && to != Dead {\n		row.n[countedAs(j.state)]--"},
	{"a killed job keeps its unique place", "unique.go",
		"	if j.rec.place == nil || completed && j.rec.placeMode == forPeriod {", "	if j.rec.place == nil || to == Dead || completed && j.rec.placeMode == forPeriod {"},
	{"memory counts what a transaction of the caller's may still take back", "queue.go",
		"	if foreign {\n		if err := t.flush(); err != nil {\n			return err\n		}\n	}\n", "	if foreign {\n		if err := t.flush(); err != nil {\n			return err\n		}\n		for _, row := range t.rows {\n			if ln := q.lanes[row.key]; ln != nil {\n				ln.n = row.n\n			}\n		}\n	}\n"},
	{"a retry counts from the start of the attempt", "settle.go",
		"		return t.move(j, Retrying, t.now+v.delay.Microseconds())", "		return t.move(j, Retrying, micros(e.startedAt())+v.delay.Microseconds())"},
	{"a pause is forgotten at the end of the process", "act.go",
		"	t.paused = append(t.paused, queuePause{a.queue, state})\n	return t.putSealed(", "	t.paused = append(t.paused, queuePause{a.queue, state})\n	return nil\n	return t.putSealed("},
	{"an item that is retried after its death is counted twice", "item.go",
		"	*row.n.counter(from)--\n", ""},
	{"All makes up for one run too few", "fire.go",
		"	for len(runs) < s.missed.max {", "	for len(runs) < s.missed.max-1 {"},
	{"a snooze costs an attempt", "settle.go",
		"			rec.snoozes++\n", "			rec.snoozes++\n			rec.failures++\n"},
	{"a crash costs an attempt", "recover.go",
		"	j.rec.crashes++\n", "	j.rec.crashes++\n	j.rec.failures++\n"},
	{"Debounce keeps the old args", "fold.go",
		"	j.rec.args = args\n", "	if p.job.unique == nil || !p.job.unique.debounce {\n		j.rec.args = args\n	}\n"},
	{"a run that waits does not start when a killed one ends", "schedule_run.go",
		"	if err := t.startWaiting(t.q.scheduleOf(o.schedule), l); err != nil {\n		return err\n	}\n	return t.putLedger(o.schedule, l)", "	if as != Dead {\n		if err := t.startWaiting(t.q.scheduleOf(o.schedule), l); err != nil {\n			return err\n		}\n	}\n	return t.putLedger(o.schedule, l)"},
	{"a deleted item does not end its batch", "item.go",
		"	return t.endBatch(row)\n}\n\n// releaseItem", "	if as == gone {\n		return nil\n	}\n	return t.endBatch(row)\n}\n\n// releaseItem"},
}

// TestPlantedBugs proves that TestSimulation finds bugs: it plants one at a
// time in a copy of the module, and runs the simulation there.
func TestPlantedBugs(t *testing.T) {
	if !*plantBugs {
		t.Skip("takes minutes; run it with -planted")
	}
	for _, bug := range plantedBugs {
		t.Run(bug.name, func(t *testing.T) {
			dir := t.TempDir()
			copyModule(t, dir)
			path := filepath.Join(dir, bug.file)
			source, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, 1, strings.Count(string(source), bug.old), "the place for this bug in %s is not what it was", bug.file)
			require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(source), bug.old, bug.new, 1)), 0o600))

			test := filepath.Join(dir, "planted.test")
			build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-o", test, ".")
			build.Dir, build.Env = dir, append(os.Environ(), "GOWORK=off")
			out, err := build.CombinedOutput()
			require.NoError(t, err, "%s", out)

			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			start := time.Now()
			run := exec.CommandContext(ctx, test, "-test.run", "^TestSimulation$", "-simulate", "60s", "-rapid.nofailfile", "-rapid.shrinktime", "1s")
			run.Dir = dir
			out, err = run.CombinedOutput()
			require.Error(t, err, "not found:\n%s", out)
			require.Contains(t, string(out), "[rapid] ")
			_, what, _ := strings.Cut(string(out), "[rapid] ")
			what, _, _ = strings.Cut(what, "\n")
			t.Logf("found in %v, of which up to a second to shrink it: %s", time.Since(start).Round(100*time.Millisecond), what)
		})
	}
}

// copyModule copies the root package, with its tests and what it imports.
func copyModule(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	hooks, err := filepath.Glob(filepath.Join("internal", "hook", "*.go"))
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "internal", "hook"), 0o700))
	for _, name := range slices.Concat(files, hooks, []string{"go.mod", "go.sum"}) {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
}
