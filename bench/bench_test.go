package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	var list []time.Duration
	for i := range 100 {
		list = append(list, time.Duration(i+1))
	}
	require.Equal(t, time.Duration(50), percentile(list, 50))
	require.Equal(t, time.Duration(99), percentile(list, 99))
	require.Equal(t, time.Duration(100), percentile(list, 100))
	require.Equal(t, time.Duration(1), percentile(list[:1], 99))
	require.Equal(t, time.Duration(2), percentile(list[:3], 50))
	require.Zero(t, percentile(nil, 50))
}

func TestMedian(t *testing.T) {
	require.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 2, 3}), 0)
	require.Zero(t, median(nil))
}

// A machine that becomes slow for a while disturbs both sides of a round, so
// the ratio is taken within rounds.
func TestRatioIsTakenRoundByRound(t *testing.T) {
	r := results{
		measured("w", "a", 1, 100), measured("w", "b", 1, 50),
		measured("w", "a", 2, 10), measured("w", "b", 2, 5),
		measured("w", "a", 3, 300), measured("w", "b", 3, 100),
		measured("w", "a", 4, 9000),
		measured("other", "b", 1, 1),
	}
	got, ok := r.ratio("w", "a", "b", mRate)
	require.True(t, ok)
	require.InDelta(t, 2, got, 0)
	_, ok = r.ratio("w", "a", "c", mRate)
	require.False(t, ok)
}

func measured(workload, system string, round int, rate float64) measurement {
	return measurement{Workload: workload, System: system, Durability: "fsync", Round: round, Metrics: metrics{mRate: rate}}
}

func sample() results {
	floor := measured("enqueue-64", floorGroup, 1, 40_000)
	floor.Floor = true
	return results{
		measured("enqueue-64", stintName, 1, 30_000), measured("enqueue-64", naiveName, 1, 500),
		measured("enqueue-64", "river <postgres> & co", 1, 1200), floor,
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	require.NoError(t, printTables(&out, workloads(), sample()))
	require.Equal(t, `
Enqueue from 64 goroutines  (enqueue-64)
  system                 durability  jobs/s  of floor  stint is
  stint                  fsync       30,000      0.75         -
  naive bbolt            fsync          500      0.01       60x
  river <postgres> & co  fsync        1,200      0.03       25x
  bare group commit      fsync       40,000      1.00         -
`, out.String())
}

func TestTableOfLatencies(t *testing.T) {
	r := results{
		{Workload: "latency-idle", System: stintName, Round: 1, Metrics: metrics{mP50: 0.0005, mP99: 0.002, mJobs: 100}},
		{Workload: "latency-idle", System: "asynq", Round: 1, Metrics: metrics{mP50: 1, mP99: 1.5, mJobs: 5}},
		{Workload: "latency-idle", System: floorSync, Floor: true, Round: 1, Metrics: metrics{mP50: 0.0001, mP99: 0.0003}},
	}
	rows := tableOf(latencyIdle, r)
	require.Equal(t, []string{"system", "durability", "p50", "floors", "stint is", "p99", "jobs"}, rows[0])
	require.Equal(t, []string{stintName, "", "500 µs", "5.00x", "-", "2 ms", "100"}, rows[1])
	require.Equal(t, []string{"asynq", "", "1 s", "10,000x", "2,000x", "1.5 s", "5"}, rows[2])
}

func TestNumbers(t *testing.T) {
	require.Equal(t, "1,234,568", grouped(1234567.8))
	require.Equal(t, "0", grouped(0.2))
	require.Equal(t, "999", grouped(999))
	require.Equal(t, "-1,000", grouped(-1000))
	require.Equal(t, "1.5 ms", duration(0.0015))
	require.Equal(t, "500 B", byteSize(500))
	require.Equal(t, "3.0 MiB", byteSize(3<<20))
}

func TestChartIsWellFormed(t *testing.T) {
	text := chart(sample())
	d := xml.NewDecoder(strings.NewReader(text))
	rects := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			rects++
		}
	}
	require.Equal(t, 4, rects)
	require.Contains(t, text, "river &lt;postgres&gt; &amp; co")
	require.Contains(t, text, "prefers-color-scheme:dark")
	require.NotContains(t, text, "<script")
	require.Equal(t, 1, strings.Count(text, "http"), "the name space and nothing from elsewhere")
	require.Empty(t, chart(nil))
	require.ErrorContains(t, writeChart(filepath.Join(t.TempDir(), "c.svg"), nil), "enqueue-64")
}

func TestVerdict(t *testing.T) {
	var out strings.Builder
	r := append(sample(), measured("enqueue-64", "asynq redis always", 1, 20_000))
	require.NoError(t, printVerdict(&out, r))
	require.Regexp(t, `by asynq on Redis with appendfsync always +missed +≥ 2x +1\.5x\n`, out.String())
	require.Regexp(t, `by River on PostgreSQL +ok +≥ 20x +25x\n`, out.String())
	require.Regexp(t, `drain with 100 workers, by the best of all peers +not measured +≥ 10x +-\n`, out.String())

	best, ok := ofPeers("enqueue-64", anyPeer)(r)
	require.True(t, ok)
	require.InDelta(t, 1.5, best, 0, "neither the floor nor the naive queue is a peer")
}

func TestBaselineFindsALoss(t *testing.T) {
	good := costs{Ratio: 0.6, Allocs: 10, Written: 400, Fsyncs: 0.02}
	old := baseline{}
	for _, w := range baselineWorkloads() {
		old[w.name] = good
	}
	with := func(c costs) baseline {
		now := baseline{}
		for name := range old {
			now[name] = good
		}
		now["flow"] = c
		return now
	}
	require.Len(t, old, 3)
	require.Empty(t, lossesOf(old, with(good)))
	require.Empty(t, lossesOf(old, with(costs{0.37, 12.4, 630, 0.049})), "within the noise")
	for name, c := range map[string]costs{
		"speed":         {0.35, 10, 400, 0.02},
		"allocations":   {0.6, 12.6, 400, 0.02},
		"bytes written": {0.6, 10, 641, 0.02},
		"syncs":         {0.6, 10, 400, 0.051},
	} {
		losses := lossesOf(old, with(c))
		require.Len(t, losses, 1, name)
		require.Contains(t, losses[0], "flow: ")
		require.Contains(t, losses[0], name)
	}
	require.Len(t, lossesOf(baseline{}, with(good)), 3, "a workload that the file does not have")
}

func TestBaselineFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.json")
	_, err := readBaseline(path)
	require.ErrorContains(t, err, "-update")
	want := baseline{"flow": {Ratio: 0.5, Allocs: 1, Written: 2, Fsyncs: 3}}
	require.NoError(t, writeBaseline(path, want))
	got, err := readBaseline(path)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err = readBaseline(path)
	require.ErrorContains(t, err, "make it anew")
}

func TestFlags(t *testing.T) {
	for text, args := range map[string][]string{
		"-run: ":                      {"-run", "("},
		"-systems: ":                  {"-systems", "["},
		"name its file":               {"-update"},
		"is no flag":                  {"quick"},
		"such as 5ms":                 {"-delay", "-5ms"},
		"leave -delay out":            {"-baseline", "x", "-delay", "5ms"},
		"give 1 or more":              {"-rounds", "-1"},
		"there are: floors enqueue-1": {"-run", "nothing"},
		"make one with -update":       {"-baseline", filepath.Join(t.TempDir(), "none")},
	} {
		require.ErrorContains(t, run(context.Background(), args, io.Discard, io.Discard), text, args)
	}
	opt, err := parse([]string{"-quick"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 1, opt.rounds)
	opt, err = parse(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 3, opt.rounds)
}

// One short run of the whole path, with the systems that need no server.
func TestRunWritesJSONLines(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	args := []string{"-quick", "-json", "-run", "^flow$", "-systems", "^(stint|naive)", "-rounds", "2", "-dir", dir}
	require.NoError(t, run(context.Background(), args, &out, io.Discard))
	var got []string
	for d := json.NewDecoder(&out); ; {
		var m measurement
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.Equal(t, "flow", m.Workload)
		require.Positive(t, m.Metrics[mRate], m.System)
		require.Positive(t, m.Metrics[mAllocs], m.System)
		require.Positive(t, m.Metrics[mFsyncs], m.System)
		got = append(got, m.System)
	}
	require.Equal(t, []string{stintName, naiveName, floorGroup, stintName, naiveName, floorGroup}, got, "round by round")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "what was measured is removed")
}

func TestInterruptedRunCleansUp(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := run(ctx, []string{"-quick", "-run", "enqueue-1", "-systems", "^stint$", "-dir", dir}, io.Discard, io.Discard)
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestFailedSystemIsLeftOut(t *testing.T) {
	var told bytes.Buffer
	opt, err := parse([]string{"-quick"}, io.Discard)
	require.NoError(t, err)
	b := newBench(opt, t.TempDir(), io.Discard, &told)
	calls := 0
	w := workload{name: "w", subjects: func(*bench) []subject {
		return []subject{
			{name: "bad", measure: func(context.Context, string) (metrics, error) { calls++; return nil, errors.New("it broke") }},
			{name: "good", measure: func(context.Context, string) (metrics, error) { return metrics{mRate: 1}, nil }},
		}
	}}
	b.opt.rounds = 3
	require.NoError(t, b.measureWorkload(context.Background(), w))
	require.Len(t, b.results, 3)
	require.Equal(t, 1, calls)
	require.Contains(t, told.String(), "w: bad gave no result: it broke")
}

func TestSlowDisksNeedStrace(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := run(context.Background(), []string{"-delay", "5ms"}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "strace")
	require.NotContains(t, err.Error(), "ptrace")
}
