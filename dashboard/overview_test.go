package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// cardOf is the card of a page that has a heading.
func cardOf(t *testing.T, body, heading string) string {
	t.Helper()
	_, card, ok := strings.Cut(body, "<h2>"+heading+"</h2>")
	require.True(t, ok, "no card %q", heading)
	card, _, _ = strings.Cut(card, "</section>")
	return card
}

// After two hours of work with a crash and an update, the charts have the
// numbers of the history, and those of nothing else.
func TestChartsAreTheHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := simulated(t)
		h := testHandler(q, View)
		now := time.Now()
		history, err := q.History(time.Minute, now.Truncate(time.Minute).Add(-59*time.Minute))
		require.NoError(t, err)
		require.Greater(t, len(history), 50)
		var work, depth, runs, waits, ofKind, inQueue []string
		quantiles := func(h stint.Histogram) string {
			return "p50 " + span(h.Quantile(0.5)) + ", p95 " + span(h.Quantile(0.95))
		}
		for _, p := range history {
			at := p.Start.UTC().Format("15:04 UTC: ")
			if p.Completed+p.Failed > 0 {
				work = append(work, fmt.Sprintf("%s%s completed, %s failed", at, count(p.Completed), count(p.Failed)))
			}
			ready := 0
			for _, flow := range p.Queues {
				ready += flow.Ready
			}
			if ready > 0 {
				depth = append(depth, fmt.Sprintf("%s%s ready", at, count(ready)))
			}
			if p.Run.Count() > 0 {
				runs = append(runs, at+quantiles(p.Run))
			}
			if all := waitOfAll(&p); all.Count() > 0 {
				waits = append(waits, at+quantiles(all))
			}
			if k := p.Kinds["mail.send"]; k.Completed+k.Failed > 0 {
				ofKind = append(ofKind, fmt.Sprintf("%s%s completed, %s failed", at, count(k.Completed), count(k.Failed)))
			}
			if flow := p.Queues["mail"]; flow.Wait.Count() > 0 {
				inQueue = append(inQueue, fmt.Sprintf("%s%s started", at, count(flow.Wait.Count())))
			}
		}
		res, body := get(t, h, "/")
		require.Equal(t, http.StatusOK, res.StatusCode)
		charted := titles(cardOf(t, body, "Completed and failed per minute"))
		marks := charted[len(charted)-2:]
		require.Equal(t, work, charted[:len(charted)-2])
		require.Regexp(t, `started after a crash(, [1-9]\d* jobs? recovered)?, version`, marks[0])
		require.Contains(t, marks[1], "started")
		require.NotContains(t, marks[1], "crash")
		require.Equal(t, depth, titles(cardOf(t, body, "Jobs waiting")))
		require.Equal(t, runs, titles(cardOf(t, body, "How long handlers took")))
		require.Equal(t, waits, titles(cardOf(t, body, "How long jobs waited")))

		_, body = get(t, h, "/kind?name=mail.send")
		require.Contains(t, body, "<dt>Attempts</dt><dd>3</dd><dt>Timeout</dt><dd>25 s</dd><dt>At the same time</dt><dd>as many as there are workers</dd>")
		require.Equal(t, ofKind, titles(cardOf(t, body, "Completed and failed per minute")))
		_, body = get(t, h, "/queue?name=mail")
		require.Equal(t, inQueue, titles(cardOf(t, body, "Jobs started per minute")))
		sumsOf(t, q, h)
	})
}

// sumsOf checks the longer stretches by their sums.
func sumsOf(t *testing.T, q *stint.Queue, h http.Handler) {
	t.Helper()
	stats := q.Stats()
	for _, path := range []string{"/?range=24h", "/?range=90d"} {
		_, body := get(t, h, path)
		heading := "Completed and failed per 10 minutes"
		if strings.HasSuffix(path, "90d") {
			heading = "Completed and failed per day"
		}
		var completed, failed uint64
		for _, title := range titles(cardOf(t, body, heading)) {
			_, numbers, _ := strings.Cut(strings.ReplaceAll(title, "\u202f", ""), ": ")
			var c, f uint64
			if n, _ := fmt.Sscanf(numbers, "%d completed, %d failed", &c, &f); n == 2 {
				completed, failed = completed+c, failed+f
			}
		}
		// The crash has taken up to a minute of history with it.
		require.InDelta(t, stats.Processed, completed, 250, path)
		require.InDelta(t, stats.Failed, failed, 100, path)
	}
	_, body := get(t, h, "/kinds?range=72h&sort=name")
	require.Less(t, strings.Index(body, "mail.send"), strings.Index(body, "report.build"))
	require.Contains(t, body, "In the last 72 hours")
}

// failingJob fails with the error it is told.
type failingJob struct{ Error string }

func (failingJob) Kind() string { return "fails" }

func TestFailingNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := healthQueue(t, filepath.Join(t.TempDir(), "jobs.db"), 4)
		var broken atomic.Bool
		broken.Store(true)
		stint.Handle(q, func(_ context.Context, job *stint.Job[failingJob]) error {
			if broken.Load() {
				return errors.New(job.Args.Error)
			}
			return nil
		}, &stint.Policy{MaxAttempts: 1})
		healthRun(t, q)
		began := time.Now()
		for i := range 30 {
			healthEnqueue(t, q, 1, failingJob{fmt.Sprintf("dial tcp 10.0.0.%d:5432: connection refused", i)})
			time.Sleep(time.Minute)
		}
		healthEnqueue(t, q, 1, failingJob{`<script>alert("x")</script> & <b>`})
		synctest.Wait()
		d := newDashboard(q, nil)
		groups, all, err := d.failures("")
		require.NoError(t, err)
		require.True(t, all)
		require.Len(t, groups, 2)
		require.Equal(t, "dial tcp ‹address›: connection refused", groups[0].Error)
		require.Equal(t, "dial tcp 10.0.0.29:5432: connection refused", groups[0].Example)
		require.Equal(t, []int{30, 30, 1}, []int{groups[0].Count, groups[0].Dead, groups[1].Count})
		require.WithinDuration(t, began, groups[0].First, time.Second)
		require.WithinDuration(t, began.Add(29*time.Minute), groups[0].Last, time.Second)

		_, body := get(t, testHandler(q, Admin), "/")
		card := cardOf(t, body, "Failing now")
		require.Contains(t, card, "Retry these 30")
		require.Contains(t, card, "Delete these 30")
		require.Contains(t, card, "&lt;script&gt;alert(")
		require.NotContains(t, body, "<script>")
		require.NotContains(t, card, "there are more")
		_, body = get(t, testHandler(q, Operate), "/")
		require.NotContains(t, cardOf(t, body, "Failing now"), "Delete these")
		_, body = get(t, testHandler(q, View), "/kind?name=fails")
		require.NotContains(t, cardOf(t, body, "Failing now"), "Retry these")
		_, body = get(t, testHandler(q, View), "/?range=nonsense") // the first one then
		require.Contains(t, body, `aria-current="true">1 hour<`)

		// The button acts on these jobs and on no other.
		broken.Store(false)
		form := url.Values{"verb": {"retry"}, "ids": {groups[0].IDList()}}
		res, body := post(t, testHandler(q, Operate), "/bulk", form)
		require.Equal(t, http.StatusSeeOther, res.StatusCode, body)
		time.Sleep(time.Minute)
		require.Equal(t, 1, q.Counts().Dead)
	})
}

func TestOverviewOfAnEmptyQueue(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	h := testHandler(q, View)
	for path, want := range map[string]string{
		"/": "q.Enqueue(ctx, Welcome{", "/queues": "One begins with its first job", "/kinds": "First numbers in about a minute",
	} {
		res, body := get(t, h, path)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Contains(t, body, want, path)
	}
	for _, path := range []string{"/queue?name=none", "/queue", "/kind?name=none", "/kind"} {
		res, _ := get(t, h, path)
		require.Equal(t, http.StatusNotFound, res.StatusCode, path)
	}
}

// What people and programs have written is text wherever it is shown.
func TestMarkupInQueuesIsText(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	const evil = `"><script>alert(1)</script><b x='`
	healthEnqueue(t, q, 1, healthJob{}, stint.OnQueue("a/b:c.d"))
	require.NoError(t, q.Pause(t.Context(), "a/b:c.d", "ana ("+evil+")"))
	for _, path := range []string{"/", "/queues", "/queue?name=a%2Fb:c.d", "/queue?name=a%2Fb:c.d&range=" + url.QueryEscape(evil), "/kinds?sort=" + url.QueryEscape(evil), "/kind?name=sleep&x=" + url.QueryEscape(evil)} {
		res, body := get(t, testHandler(q, Admin), path)
		require.Equal(t, http.StatusOK, res.StatusCode, path)
		require.NotContains(t, body, "<script>", path)
		require.NotContains(t, body, "<b x", path)
		require.NotContains(t, body, " style=", path)
	}
	_, body := get(t, testHandler(q, Admin), "/queues")
	require.Contains(t, body, `href="./queue?name=a%2Fb%3Ac.d"`)
	require.Contains(t, body, "&lt;script&gt;alert(1)")
}

func TestCompletedPerMinute(t *testing.T) {
	t.Parallel()
	hour := &past{Periods: make([]stint.Period, 60)}
	for i, n := range []uint64{1000, 3, 4, 40, 52, 100, 9000} { // the last one is under way
		hour.Periods[53+i].Completed = n
	}
	require.Equal(t, "39", perMinute(hour, time.Hour))
	require.Equal(t, "76", perMinute(hour, 2*time.Minute+time.Second))
	require.Equal(t, "100", perMinute(hour, time.Second))
	hour.Periods[58].Completed = 0
	hour.Periods[57].Completed, hour.Periods[56].Completed = 0, 0
	require.Equal(t, "1.4", perMinute(hour, time.Hour))
}
