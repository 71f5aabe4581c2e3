package dashboard

import (
	"encoding/xml"
	"html"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestGridOfAChart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		highest float64
		unit    unit
		step    float64
		lines   int
	}{
		{1, inCounts, 1, 1}, {3, inCounts, 1, 3}, {4, inCounts, 1, 4}, {5, inCounts, 2, 3}, {20, inCounts, 5, 4}, {21, inCounts, 10, 3},
		{100, inCounts, 50, 2}, {999, inCounts, 500, 2}, {1e6, inCounts, 500_000, 2},
		{0.0003, inSeconds, 0.0001, 3}, {0.04, inSeconds, 0.01, 4}, {3, inSeconds, 1, 3}, {50, inSeconds, 20, 3}, {100, inSeconds, 30, 4},
		{3600, inSeconds, 1200, 3}, {86400, inSeconds, 21600, 4}, {30 * 86400, inSeconds, 10 * 86400, 3},
	} {
		step, lines := gridOf(c.highest, c.unit)
		require.InEpsilon(t, c.step, step, 1e-9, c.highest)
		require.Equal(t, c.lines, lines, c.highest)
	}
	for _, c := range []struct {
		lowest, highest float64
		labels          []string
	}{
		{0.001, 0.1, []string{"100 ms", "10 ms", "1 ms"}}, {0.0011, 0.11, []string{"1 s", "100 ms", "10 ms", "1 ms"}},
		{1e-5, 5, []string{"10 s", "1 s", "100 ms", "10 ms", "≤ 1 ms"}}, {1e-3, 5e4, []string{"1 d 3 h", "16 min 40 s", "10 s", "100 ms", "1 ms"}},
		{1e-5, 0.02, []string{"100 ms", "10 ms", "1 ms", "≤ 100 µs"}}, {1, 49, []string{"1 min", "40 s", "20 s", "0 s"}},
	} {
		a := axisOf(c.lowest, c.highest, inSeconds)
		require.Equal(t, c.labels, a.labels)
		require.InDelta(t, plotHeight, a.height(a.high), 1e-9)
		require.Zero(t, a.height(0))
	}
	for highest := 1e-6; highest < 1e9; highest *= 1.37 {
		for _, u := range []unit{inCounts, inSeconds} {
			step, lines := gridOf(highest, u)
			require.GreaterOrEqual(t, step*float64(lines)*(1+1e-9), highest)
			require.LessOrEqual(t, lines, 4)
		}
	}
}

var titlePattern = regexp.MustCompile(`<title>([^<]*)</title>`)

// titles are what the pointer reads in a picture.
func titles(markup string) (list []string) {
	for _, found := range titlePattern.FindAllStringSubmatch(markup, -1) {
		list = append(list, html.UnescapeString(found[1]))
	}
	return list
}

func TestChart(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	c := &chart{
		Name: "Work <b>", Columns: []string{"14:00", "14:01", "14:02", "14:03"}, Ticks: []tick{{0, "1 h ago"}, {1, "now"}},
		Series: []series{{"done", "c-completed", []float64{1200, 0, 3, nan}}, {"failed", "c-failed", []float64{2, 0, 0, nan}}},
		Marks:  []mark{{0.5, false, "process 7 started"}, {0.75, true, "process 8 started after a crash"}},
	}
	markup := string(c.Draw())
	require.Equal(t, []string{"14:00: 1\u202f200 done, 2 failed", "14:02: 3 done, 0 failed", "process 7 started", "process 8 started after a crash"}, titles(markup))
	require.Contains(t, markup, "Work &lt;b&gt;")
	require.NotContains(t, markup, "<b>")
	require.Contains(t, markup, "▲ process started")
	require.Contains(t, markup, "✕ started after a crash")
	require.Contains(t, markup, `<tr><th scope="row">14:02</th><td class="num">3</td><td class="num">0</td></tr>`)
	require.Equal(t, 3, strings.Count(markup, `class="c-completed" x=`)+strings.Count(markup, `class="c-failed" x=`))
	wellFormed(t, markup)

	line := &chart{Name: "Waits", Unit: inSeconds, Columns: []string{"a", "b", "c", "d"}, Series: []series{
		{"p50", "c-line", []float64{0.01, nan, 2, 4}}, {"p95", "c-line2", []float64{0.5, nan, 3, nan}}}}
	markup = string(line.Draw())
	require.Equal(t, []string{"a: p50 10 ms, p95 500 ms", "c: p50 2 s, p95 3 s", "d: p50 4 s"}, titles(markup))
	// A gap at b, and a scale from 10 ms to 10 s.
	require.Contains(t, markup, "<span>10 s</span><span>1 s</span><span>100 ms</span><span>10 ms</span>")
	require.Contains(t, markup, "<span>logarithmic</span>")
	require.Contains(t, markup, `<path class="c-line" d="M125.0 164.0h0M625.0 48.9h0L875.0 33.9"/>`)
	wellFormed(t, markup)

	line = &chart{Name: "Waits", Unit: inSeconds, Columns: []string{"a", "b"}, Series: []series{{"p50", "c-line", []float64{1, 4}}}}
	markup = string(line.Draw())
	require.Contains(t, markup, "<span>4 s</span><span>3 s</span><span>2 s</span><span>1 s</span><span>0 s</span>")
	require.Contains(t, markup, `d="M250.0 126.5h0L750.0 14.0"`)

	empty := &chart{Columns: []string{"a"}, Series: []series{{"x", "c-ready", []float64{0}}}, Empty: "Nothing <yet>."}
	require.Equal(t, `<p class="empty">Nothing &lt;yet&gt;.</p>`, string(empty.Draw()))
}

func TestHeatAndBars(t *testing.T) {
	t.Parallel()
	bounds := []float64{0.1, 0.2, 0.4, 0.8}
	h := &heat{Name: "Runs", Columns: []string{"14:00", "14:01"}, Values: []stint.Histogram{
		{Bounds: bounds, Counts: []uint64{0, 4, 0, 0, 0}}, {Bounds: bounds, Counts: []uint64{0, 0, 0, 0, 1}}}, Empty: "soon"}
	markup := string(h.Draw())
	require.Equal(t, []string{"14:00, 100 ms to 200 ms: 4 runs", "14:01, over 800 ms: 1 run"}, titles(markup))
	require.Contains(t, markup, `fill-opacity="1.00"`)
	wellFormed(t, markup)
	require.Contains(t, string((&heat{Values: make([]stint.Histogram, 2), Empty: "soon"}).Draw()), "soon")

	markup = string(bars("Waits", "waited", stint.Histogram{Bounds: bounds, Counts: []uint64{3, 0, 1, 0, 2}}, "soon").Draw())
	require.Equal(t, []string{"up to 100 ms: 3 waited", "200 ms to 400 ms: 1 waited", "over 800 ms: 2 waited"}, titles(markup))
	wellFormed(t, markup)
	require.Contains(t, string(bars("Waits", "waited", stint.Histogram{}, "soon").Draw()), "soon")

	markup = string(spark([]float64{0, 3, 1}, `a "label"`))
	require.Equal(t, []string{`a "label"`}, titles(markup))
	wellFormed(t, markup)
	wellFormed(t, string(spark(nil, "")))
}

// wellFormed reads markup as XML, which is stricter than browsers are.
func wellFormed(t *testing.T, markup string) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader("<x>" + markup + "</x>"))
	for {
		if _, err := dec.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, markup)
		}
	}
}
