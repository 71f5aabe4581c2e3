package dashboard

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestEnqueueForm(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[testArgs]) error { return nil }, nil)
	h := testHandler(q, Admin)
	_, text := get(t, h, "/enqueue")
	require.Contains(t, text, `<option value="test">`)
	response, text := post(t, h, "/enqueue", url.Values{
		"kind": {"test"}, "args": {`{"text": "12345678901234567890"}`}, "queue": {"low"}, "priority": {"3"}, "in": {"1d2h"}, "tags": {"a, b c"}, "max_attempts": {"7"},
	})
	require.Equal(t, 303, response.StatusCode, text)
	require.True(t, strings.HasPrefix(response.Header.Get("Location"), "./jobs/1?note="))
	info, err := q.Get(1)
	require.NoError(t, err)
	require.JSONEq(t, `{"text":"12345678901234567890"}`, string(info.Args))
	require.Equal(t, []any{"test", "low", 3, 7, []string{"a", "b", "c"}}, []any{info.Kind, info.Queue, info.Priority, info.MaxAttempts, info.Tags})
	require.WithinDuration(t, time.Now().Add(26*time.Hour), info.RunAt, time.Minute)

	response, text = post(t, h, "/enqueue", url.Values{"kind": {"test"}, "at": {"2099-01-02T03:04"}})
	require.Equal(t, 303, response.StatusCode, text)
	info, err = q.Get(2)
	require.NoError(t, err)
	require.Equal(t, time.Date(2099, 1, 2, 3, 4, 0, 0, time.UTC), info.RunAt.UTC())
	require.Equal(t, "default", info.Queue)

	response, text = postJSON(t, h, "/api/v1/enqueue", `{"kind":"other","args":{"n":12345678901234567890},"tags":["x y","z"]}`)
	require.Equal(t, 200, response.StatusCode, text)
	require.JSONEq(t, `{"id":3}`, text)
	info, err = q.Get(3)
	require.NoError(t, err)
	require.JSONEq(t, `{"n":12345678901234567890}`, string(info.Args))
}

func TestEnqueueFormIsShownAgain(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[testArgs]) error { return nil }, nil)
	h := testHandler(q, Admin)
	for field, value := range map[string]string{
		"args": `{"text": 5, }<b>`, "kind": "no good", "queue": "no good", "priority": "9", "max_attempts": "many", "in": "soon", "at": "tomorrow",
	} {
		form := url.Values{"kind": {"test"}, "args": {`{"text":"typed"}`}, "tags": {"kept"}}
		form.Set(field, value)
		response, text := post(t, h, "/enqueue", form)
		require.Equal(t, 400, response.StatusCode, field)
		require.Contains(t, text, `class="problem"`)
		shown := jobsParse(t, text).text
		require.Contains(t, shown, value)
		require.Contains(t, shown, "kept")
		response, _ = postJSON(t, h, "/api/v1/enqueue", `{"kind":"test","`+field+`":"no good"}`)
		require.Equal(t, 400, response.StatusCode, field)
	}
	response, text := post(t, h, "/enqueue", url.Values{"kind": {"test"}, "in": {"1h"}, "at": {"2099-01-02T03:04"}})
	require.Equal(t, 400, response.StatusCode)
	require.Contains(t, text, "not both")
	require.Zero(t, countOf(q.Counts(), 0))
	for action, err := range q.Actions() {
		t.Fatal(action, err)
	}
}

func TestDuplicateHasTheRealArgs(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	id, err := q.EnqueueJSON(t.Context(), "pay", []byte(`{"token":"tok-real","n":12345678901234567890}`), stint.OnQueue("money"), stint.Priority(1), stint.Tags("vip"), stint.MaxAttempts(3))
	require.NoError(t, err)
	h := testHandler(q, Admin)
	_, page := get(t, h, "/jobs/"+id.String())
	require.NotContains(t, page, "tok-real")
	_, text := get(t, h, "/enqueue?from="+id.String())
	shown := jobsParse(t, text).text
	for _, part := range []string{`"token": "tok-real"`, "12345678901234567890", "money", "vip", "real args", "no handler"} {
		require.Contains(t, shown, part)
	}
	response, text := post(t, h, "/enqueue", url.Values{"from": {id.String()}, "kind": {"pay"}, "args": {`{"token":"tok-real"}`}})
	require.Equal(t, 303, response.StatusCode, text)
	for action, err := range q.Actions() {
		require.NoError(t, err)
		require.Equal(t, "of kind pay, a copy of job 1", action.Note)
		break
	}
}

func TestJobsListSuggestsAndTeaches(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	h := testHandler(q, Admin)
	_, text := get(t, h, "/jobs")
	require.Contains(t, text, "No jobs yet.")
	require.Contains(t, text, "q.Enqueue(ctx")
	_, err := q.EnqueueJSON(t.Context(), "mail/welcome", []byte(`{"user":42,"api_key":"k","list":[1],"long":"`+strings.Repeat("ü", 50)+`"}`), stint.OnQueue("low"), stint.Tags("two words"))
	require.NoError(t, err)
	_, text = get(t, h, "/jobs?q=-kind:x+priority:2")
	for _, part := range []string{
		`<option value="kind:mail/welcome">`, `<option value="queue:low">`, `<option value="tag:&#34;two words&#34;">`,
		`<span class="faint">user</span> 42</span>`, `<span class="faint">api_key</span> [redacted]</span>`, strings.Repeat("ü", 20) + "…",
		`href="./jobs?q=priority%3A2" aria-label="Remove -kind:x"`, `href="./jobs?q=-kind%3Ax" aria-label="Remove priority:2"`,
		`aria-current="page">All <b>1</b></a>`, `no handler`, `name="ids" value="1"`, "data-bulk",
	} {
		require.Contains(t, text, part)
	}
	_, text = get(t, h, "/jobs?state=dead")
	require.Contains(t, text, "No job is dead.")
	_, text = get(t, h, "/jobs?q=nothing-like-it")
	require.Contains(t, text, "No job matches nothing-like-it")
	response, text := get(t, h, "/jobs?q=kund:x")
	require.Equal(t, 400, response.StatusCode)
	require.Contains(t, text, "An example: kind:mail")
	require.NotContains(t, text, "mail/welcome</b>")
	_, text = get(t, h, "/jobs?q=kind:mail/welcome&state=dead")
	require.Contains(t, text, "No dead job matches")
}

func TestJobsListPages(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	bulkJobs(t, q, 120)
	h := testHandler(q, View)
	seen, path := map[string]bool{}, "/jobs?q=kind%3Afate"
	for pages := 1; ; pages++ {
		_, text := get(t, h, path)
		for _, part := range strings.Split(text, `<a href="./jobs/`)[1:] {
			id, _, _ := strings.Cut(part, `"`)
			require.False(t, seen[id])
			seen[id] = true
		}
		before, _, ok := strings.Cut(text, `">Next page</a>`)
		if !ok {
			require.Equal(t, 3, pages)
			break
		}
		path = "/" + strings.ReplaceAll(before[strings.LastIndex(before, `href="./`)+len(`href="./`):], "&amp;", "&")
	}
	require.Len(t, seen, 120)
}
