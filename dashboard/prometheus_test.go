package dashboard

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// metricsText is what a queue with some of everything tells.
func metricsText(t *testing.T) string {
	t.Helper()
	q, _ := apiQueue(t)
	w := serve(t, routesHandler(q, withRole(View)), localRequest("GET", "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "text/plain; version=0.0.4; charset=utf-8", w.Header().Get("Content-Type"))
	return w.Body.String()
}

func TestMetricsTellOfTheQueue(t *testing.T) {
	t.Parallel()
	samples := readExposition(t, metricsText(t))
	for name, want := range map[string]float64{
		`stint_jobs_processed_total{queue="default",kind="api:fate",result="error"}`:   1,
		`stint_jobs_processed_total{queue="default",kind="api:fate",result="dead"}`:    1,
		`stint_jobs_processed_total{queue="default",kind="api:fate",result="snoozed"}`: 0,
		`stint_jobs_enqueued_total{queue="stopped",kind="routes/job"}`:                 1,
		`stint_jobs{queue="default",state="running"}`:                                  1,
		`stint_jobs{queue="default",state="retrying"}`:                                 1,
		`stint_jobs{queue="default",state="dead"}`:                                     1,
		`stint_jobs{queue="default",state="scheduled"}`:                                1,
		`stint_jobs{queue="stopped",state="ready"}`:                                    1,
		`stint_queue_parked{queue="stopped"}`:                                          1,
		`stint_queue_paused{queue="stopped"}`:                                          1,
		`stint_queue_paused{queue="default"}`:                                          0,
		`stint_workers_busy`:                                                           1,
		`stint_workers_limit`:                                                          3,
		`stint_working`:                                                                1,
		`stint_healthy`:                                                                1,
		`stint_jobs_recovered_total`:                                                   0,
		`stint_schedule_paused{schedule="night/1:a"}`:                                  0,
	} {
		require.Contains(t, samples, name)
		require.Equal(t, want, samples[name], name)
	}
	require.Greater(t, samples[`stint_schedule_next_run_timestamp_seconds{schedule="night/1:a"}`], float64(time.Now().Unix()))
	require.Positive(t, samples[`stint_store_size_bytes`])
	require.Positive(t, samples[`stint_store_commit_duration_seconds_count`])
	require.Positive(t, samples[`stint_job_wait_duration_seconds_count{queue="default"}`])
	require.GreaterOrEqual(t, samples[`stint_job_run_duration_seconds_count{kind="api:fate"}`], float64(5))
}

// awkward is an exposition with all that has to be escaped.
func awkward() string {
	e := &exposition{}
	f := e.family("stint_awkward", "gauge", "A \\ and\na second line.")
	for i, value := range awkwardValues {
		f.add(float64(i), "name", value, "more", "x")
	}
	h := stint.Histogram{Bounds: []float64{0.0001, 1, 1e9}, Counts: []uint64{1, 0, 2, 3}, Sum: 1e-9}
	e.family("stint_awkward_duration_seconds", "histogram", "Times.").histogram(h, "name", awkwardValues[0])
	e.family("stint_empty_seconds", "histogram", "Nothing.").histogram(stint.Histogram{})
	e.family("stint_nothing_total", "counter", "No sample.")
	return e.text.String()
}

var awkwardValues = []string{`a "quoted" \ one`, "two\nlines\\n", "", "naïve {x=\"y\"} # 5", "bad \xff byte", `\`, `trailing\`}

func TestExpositionEscapes(t *testing.T) {
	t.Parallel()
	text := awkward()
	samples := readExposition(t, text)
	for i, value := range awkwardValues {
		require.Equal(t, float64(i), samples[fmt.Sprintf("stint_awkward{name=%q,more=%q}", strings.ToValidUTF8(value, "\ufffd"), "x")], "%q", value)
	}
	label := fmt.Sprintf("name=%q", awkwardValues[0])
	for name, want := range map[string]float64{
		`_bucket{` + label + `,le="0.0001"}`: 1, `_bucket{` + label + `,le="1"}`: 1, `_bucket{` + label + `,le="1e+09"}`: 3,
		`_bucket{` + label + `,le="+Inf"}`: 6, `_count{` + label + `}`: 6, `_sum{` + label + `}`: 1e-9,
	} {
		require.Equal(t, want, samples["stint_awkward_duration_seconds"+name], name)
	}
	require.NotContains(t, text, "stint_nothing_total")
}

func TestHistogramsTogether(t *testing.T) {
	t.Parallel()
	bounds := []float64{1, 2}
	a := stint.Histogram{Bounds: bounds, Counts: []uint64{1, 2, 3}, Sum: 4}
	require.Equal(t, stint.Histogram{Bounds: bounds, Counts: []uint64{2, 4, 6}, Sum: 8}, together(a, a))
	require.Equal(t, a, together(stint.Histogram{}, a))
	require.Equal(t, a, together(a, stint.Histogram{Bounds: bounds}))
	require.Equal(t, []uint64{1, 2, 3}, a.Counts, "the parts stay as they are")
}

// TestPromtool lets Prometheus' own tool judge, where it is installed.
func TestPromtool(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed; readExposition has looked at the text")
	}
	for name, text := range map[string]string{"a queue": metricsText(t), "awkward values": awkward()} {
		check := exec.Command(tool, "check", "metrics")
		check.Stdin = strings.NewReader(text)
		out, err := check.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		require.Empty(t, string(out), name)
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		check := exec.Command(tool, args...)
		check.Dir = "prometheus"
		out, err := check.CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
	}
}

// TestRulesAndBoardNameMetrics finds names that are misspelled, or that no
// metric has any more.
func TestRulesAndBoardNameMetrics(t *testing.T) {
	t.Parallel()
	text := metricsText(t)
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "grafana.json"} {
		content, err := os.ReadFile("prometheus/" + file)
		require.NoError(t, err)
		names := regexp.MustCompile(`stint_[a-z_]+`).FindAllString(string(content), -1)
		require.NotEmpty(t, names, file)
		for _, name := range names {
			require.Contains(t, text, "\n"+name, "%s of %s", name, file)
		}
		if strings.HasSuffix(file, ".json") {
			require.True(t, json.Valid(content))
		}
	}
}

var (
	helpLine   = regexp.MustCompile(`^# HELP ([a-z][a-z0-9_]*) ([^\n]*[^ \n])$`)
	typeLine   = regexp.MustCompile(`^# TYPE ([a-z][a-z0-9_]*) (counter|gauge|histogram)$`)
	sampleLine = regexp.MustCompile(`^([a-z][a-z0-9_]*)(?:\{(.*)\})? (\S+)$`)
	labelPart  = regexp.MustCompile(`^([a-z][a-z0-9_]*)="((?:[^"\\]|\\\\|\\"|\\n)*)"(,|$)`)
)

// readExposition reads the text strictly: each metric once, with help and type
// before its samples, names and values as the rules of Prometheus have them, no
// sample twice, histograms whole. Labels of the samples are as Go quotes them.
func readExposition(t *testing.T, text string) map[string]float64 {
	t.Helper()
	samples, kinds := map[string]float64{}, map[string]string{}
	help, name := "", ""
	require.True(t, strings.HasSuffix(text, "\n"))
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if m := helpLine.FindStringSubmatch(line); m != nil {
			require.NotContains(t, kinds, m[1], "a metric comes once")
			help = m[1]
			continue
		}
		if m := typeLine.FindStringSubmatch(line); m != nil {
			require.Equal(t, help, m[1], "the type follows the help")
			name, kinds[m[1]] = m[1], m[2]
			require.Equal(t, m[2] == "counter", strings.HasSuffix(name, "_total"), name)
			require.NotRegexp(t, `_(milli|micro|nano|kilo|mega)|_(ms|minutes|hours|kb|percent)(_|$)`, name, "base units")
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		require.NotNil(t, m, "%q", line)
		base := m[1]
		if kinds[name] == "histogram" {
			base = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(base, "")
		}
		require.Equal(t, name, base, "samples follow their metric")
		value, err := strconv.ParseFloat(m[3], 64)
		require.NoError(t, err, line)
		key := m[1] + quotedLabels(t, m[2])
		require.NotContains(t, samples, key, "a sample comes once")
		samples[key] = value
	}
	for name, kind := range kinds {
		if kind == "histogram" {
			checkHistogram(t, name, samples)
		}
	}
	return samples
}

func quotedLabels(t *testing.T, text string) string {
	t.Helper()
	if text == "" {
		return ""
	}
	var labels []string
	seen := map[string]bool{}
	for text != "" {
		m := labelPart.FindStringSubmatch(text)
		require.NotNil(t, m, "%q", text)
		require.False(t, seen[m[1]], "the label %s comes once", m[1])
		seen[m[1]] = true
		value := strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(m[2])
		labels = append(labels, fmt.Sprintf("%s=%q", m[1], value))
		text = text[len(m[0]):]
	}
	return "{" + strings.Join(labels, ",") + "}"
}

// checkHistogram: buckets grow, and the last one is the count.
func checkHistogram(t *testing.T, name string, samples map[string]float64) {
	t.Helper()
	le := regexp.MustCompile(`[,{]le="([^"]+)"`)
	buckets := map[string]map[float64]float64{}
	for key, value := range samples {
		if !strings.HasPrefix(key, name+"_bucket{") {
			continue
		}
		bound, err := strconv.ParseFloat(le.FindStringSubmatch(key)[1], 64)
		require.NoError(t, err)
		rest := strings.TrimSuffix(le.ReplaceAllString(strings.TrimPrefix(key, name+"_bucket"), ""), "}")
		if rest != "" {
			rest += "}"
		}
		if buckets[rest] == nil {
			buckets[rest] = map[float64]float64{}
		}
		buckets[rest][bound] = value
	}
	require.NotEmpty(t, buckets, name)
	for labels, byBound := range buckets {
		last := 0.0
		for _, bound := range slices.Sorted(maps.Keys(byBound)) {
			require.GreaterOrEqual(t, byBound[bound], last, "%s%s", name, labels)
			last = byBound[bound]
		}
		require.Contains(t, samples, name+"_count"+labels)
		require.Contains(t, samples, name+"_sum"+labels)
		require.Equal(t, last, samples[name+"_count"+labels], "%s%s", name, labels)
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	stranger, viewer := routesHandler(q, withRole(None)), routesHandler(q, withRole(View))
	get := func(h http.Handler, target string) (int, string) {
		w := serve(t, h, localRequest("GET", target, nil))
		require.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
		return w.Code, w.Body.String()
	}
	expect := func(h http.Handler, target string, status int, text string) {
		t.Helper()
		code, body := get(h, target)
		require.Equal(t, status, code, target)
		require.Equal(t, text, body, target)
	}
	expect(stranger, "/healthz", 200, "ok\n")
	expect(stranger, "/readyz", 503, "not ready\n")
	code, body := get(viewer, "/readyz")
	require.Equal(t, 503, code)
	require.Contains(t, body, "not ready\nstint: no Run works the queue")

	stop := apiRun(t, q)
	require.Eventually(t, func() bool { return q.Health() == nil }, 10*time.Second, time.Millisecond)
	expect(stranger, "/readyz", 200, "ok\n")
	expect(viewer, "/readyz", 200, "ok\n")
	stop()
	expect(stranger, "/readyz", 503, "not ready\n")
	require.NoError(t, q.Close())
	expect(stranger, "/healthz", 503, "closed\n")
	expect(stranger, "/readyz", 503, "not ready\n")
}
