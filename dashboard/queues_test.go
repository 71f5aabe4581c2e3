package dashboard

import (
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// lastAction is the newest entry of the action log, without its time.
func lastAction(t *testing.T, q *stint.Queue) stint.Action {
	t.Helper()
	for a, err := range q.Actions() {
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), a.At, time.Minute)
		a.At = time.Time{}
		return a
	}
	t.Fatal("nothing was logged")
	return stint.Action{}
}

func queueNamed(t *testing.T, q *stint.Queue, name string) stint.QueueInfo {
	t.Helper()
	for _, info := range q.Queues() {
		if info.Name == name {
			return info
		}
	}
	t.Fatalf("no queue %q", name)
	return stint.QueueInfo{}
}

func TestQueueActions(t *testing.T) {
	t.Parallel()
	q := testQueue(t, &stint.Config{Workers: 7})
	h := testHandler(q, Admin)
	healthEnqueue(t, q, 3, healthJob{}, stint.OnQueue("a/b"))
	do := func(path string, form url.Values, status int) {
		t.Helper()
		res, body := post(t, h, path, form)
		require.Equal(t, status, res.StatusCode, body)
	}

	do("/queues/pause", url.Values{"queue": {"a/b"}, "reason": {" new importer "}, "back": {"queues"}}, http.StatusSeeOther)
	require.Equal(t, stint.Action{By: "ana", Verb: "pause", Target: "queue a/b", Note: "new importer"}, lastAction(t, q))
	info := queueNamed(t, q, "a/b")
	require.True(t, info.Paused)
	require.Equal(t, "ana (new importer)", info.PausedBy)
	_, body := get(t, h, "/queue?name=a%2Fb")
	require.Contains(t, body, "paused by ana (new importer)")
	require.Contains(t, body, "Resume")

	do("/queues/resume", url.Values{"queue": {"a/b"}}, http.StatusSeeOther)
	require.Equal(t, stint.Action{By: "ana", Verb: "resume", Target: "queue a/b"}, lastAction(t, q))
	require.False(t, queueNamed(t, q, "a/b").Paused)
	do("/queues/pause", url.Values{"queue": {"a/b"}}, http.StatusSeeOther)
	require.Equal(t, "ana", queueNamed(t, q, "a/b").PausedBy)

	do("/queues/workers", url.Values{"queue": {"a/b"}, "n": {"2"}}, http.StatusSeeOther)
	require.Equal(t, stint.Action{By: "ana", Verb: "change workers", Target: "queue a/b", Note: "2 workers"}, lastAction(t, q))
	require.Equal(t, 2, queueNamed(t, q, "a/b").Workers)
	do("/queues/workers", url.Values{"queue": {"a/b"}, "n": {"0"}}, http.StatusSeeOther)
	require.Equal(t, "as configured", lastAction(t, q).Note)
	require.Equal(t, 0, queueNamed(t, q, "a/b").Workers)
	do("/queues/workers", url.Values{"n": {"3"}}, http.StatusSeeOther)
	require.Equal(t, "all queues", lastAction(t, q).Target)
	require.Equal(t, 3, q.Stats().Workers)

	do("/queues/workers", url.Values{"queue": {"a/b"}, "n": {"many"}}, http.StatusBadRequest)
	do("/queues/workers", url.Values{"queue": {"a/b"}, "n": {"-1"}}, http.StatusBadRequest)
	require.Contains(t, lastAction(t, q).Note, "failed: ")
	do("/queues/pause", url.Values{"queue": {"not a name"}}, http.StatusBadRequest)
	do("/queues/pause", nil, http.StatusBadRequest)
	do("/queues/resume", nil, http.StatusBadRequest)
	do("/queues/purge", url.Values{"queue": {"none"}}, http.StatusNotFound)
}

// Purging deletes what is ready, and for many wants the number typed.
func TestPurge(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	q.DB().NoSync = true
	h := testHandler(q, Admin)
	healthEnqueue(t, q, 3, healthJob{}, stint.OnQueue("few"))
	healthEnqueue(t, q, 1, healthJob{}, stint.OnQueue("few"), stint.In(time.Hour))
	many := make([]stint.Args, 4500)
	for i := range many {
		many[i] = healthJob{}
	}
	_, err := q.EnqueueAll(t.Context(), many, stint.OnQueue("many"))
	require.NoError(t, err)

	_, body := get(t, h, "/queue?name=few")
	require.Contains(t, body, "Purge 3 ready jobs")
	require.NotContains(t, body, `name="expect"`)
	_, body = get(t, testHandler(q, Operate), "/queue?name=few")
	require.NotContains(t, body, "Purge")
	res, body := post(t, h, "/queues/purge", url.Values{"queue": {"few"}})
	require.Equal(t, http.StatusSeeOther, res.StatusCode, body)
	require.Regexp(t, `^\.\./tasks/\w+\?note=`, res.Header.Get("Location"))
	require.Eventually(t, func() bool { return queueNamed(t, q, "few").Ready == 0 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, queueNamed(t, q, "few").Scheduled)

	_, body = get(t, h, "/queue?name=many")
	require.Contains(t, body, `name="expect"`)
	for _, expect := range []string{"", "x", "3", "4000"} {
		res, body = post(t, h, "/queues/purge", url.Values{"queue": {"many"}, "expect": {expect}})
		require.Equal(t, http.StatusConflict, res.StatusCode, expect)
		require.Contains(t, body, "4500")
	}
	require.Equal(t, 4500, queueNamed(t, q, "many").Ready)
	res, body = postJSON(t, h, "/api/v1/queues/purge", `{"queue":"many","expect":`+strconv.Itoa(4499)+`}`)
	require.Equal(t, http.StatusOK, res.StatusCode, body)
	require.Contains(t, body, `"verb":"purge"`)
	require.Eventually(t, func() bool { return queueNamed(t, q, "many").Ready == 0 }, 30*time.Second, time.Millisecond)
	ended := func() bool { return lastAction(t, q).Note == "4\u202f500 jobs deleted" }
	require.Eventually(t, ended, 10*time.Second, time.Millisecond)
	require.Equal(t, "queue many", lastAction(t, q).Target)
}
