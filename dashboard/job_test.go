package dashboard

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// jobsMarkup is what a page consists of.
type jobsMarkup struct {
	elements []string
	text     string // all text nodes and attributes
}

func jobsParse(t *testing.T, page string) (m jobsMarkup) {
	t.Helper()
	page = strings.NewReplacer("<!DOCTYPE html>", "", "</option>", "").Replace(page)
	dec := xml.NewDecoder(strings.NewReader(page))
	dec.Strict, dec.AutoClose, dec.Entity = false, append(slices.Clone(xml.HTMLAutoClose), "option"), xml.HTMLEntity
	var b strings.Builder
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			m.text = b.String()
			return m
		}
		require.NoError(t, err)
		switch v := token.(type) {
		case xml.StartElement:
			m.elements = append(m.elements, v.Name.Local)
			for _, a := range v.Attr {
				require.False(t, strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style", "attribute %s", a.Name.Local)
				b.WriteString(a.Value + "\n")
			}
		case xml.CharData:
			b.Write(v)
		}
	}
}

const jobsMark = `<script>alert(1)</script><img src=x onerror="alert(2)">&amp;'` + "`"

// Whatever a job has in it is text on its page and in the list: the pages have
// the same elements as those of a job that is called harmless things.
func TestMarkupIsText(t *testing.T) {
	t.Parallel()
	pages := func(word string) (list []jobsMarkup) {
		q := testQueue(t, &stint.Config{KeepCompleted: time.Hour})
		jobsRun(t, q)
		args := jobArgs{Note: word, User: map[string]any{word: word, "~deep": []any{word}}}
		paths := []string{"/jobs", "/jobs?q=" + url.QueryEscape(filterTerm("error", word)), "/jobs?state=dead&q=" + url.QueryEscape(filterTerm("tag", word))}
		for _, one := range []struct {
			end   string
			state stint.State
		}{{"fail", stint.Retrying}, {"die", stint.Dead}, {"run", stint.Running}, {"done", stint.Completed}, {"panic", stint.Retrying}} {
			args.End = one.end
			id := jobsAdd(t, q, args, stint.Tags(word))
			jobsReach(t, q, one.state, id)
			paths = append(paths, "/jobs/"+id.String())
		}
		killed := jobsAdd(t, q, args, stint.Tags(word), stint.In(time.Hour))
		require.NoError(t, q.Kill(t.Context(), killed, word))
		paths = append(paths, "/jobs/"+killed.String(), "/enqueue?from="+killed.String())
		h := jobsDashboard(t, q).handler()
		for _, path := range paths {
			response, text := get(t, h, path)
			require.Equal(t, 200, response.StatusCode, text)
			list = append(list, jobsParse(t, text))
			require.Contains(t, list[len(list)-1].text, word, path)
			require.NotContains(t, text, "<script>alert")
		}
		for path, form := range map[string]url.Values{
			"/enqueue": {"kind": {word}, "args": {word}, "tags": {word}, "queue": {word}},
			"/bulk":    {"verb": {"cancel"}, "scope": {"all"}, "q": {filterTerm("tag", word)}, "reason": {word}},
		} {
			_, text := post(t, h, path, form)
			require.Contains(t, jobsParse(t, text).text, word, path)
			require.NotContains(t, text, "<script>alert")
		}
		return list
	}
	harmless, marked := pages("harmless"), pages(jobsMark)
	for i := range harmless {
		require.Equal(t, harmless[i].elements, marked[i].elements, "page %d", i)
		require.NotContains(t, marked[i].elements, "img")
	}
}

func TestEachVerbOnEachState(t *testing.T) {
	t.Parallel()
	for _, v := range jobVerbs {
		if v.name == "run" {
			continue // it is retry
		}
		q := testQueue(t, &stint.Config{KeepCompleted: time.Hour})
		states := jobsOfStates(t, q)
		h := jobsDashboard(t, q).handler()
		for _, state := range allStates {
			id := states[state]
			_, page := get(t, h, "/jobs/"+id.String())
			offered := strings.Contains(page, fmt.Sprintf(`jobs/%d/%s"`, id, v.name))
			require.Equal(t, v.takes(state), offered, "%s of %v", v.name, state)

			response, text := postJSON(t, h, fmt.Sprintf("/api/v1/jobs/%d/%s", id, v.name), `{"reason":"because","queue":"halted"}`)
			if !v.takes(state) {
				require.Equal(t, 409, response.StatusCode, "%s of %v: %s", v.name, state, text)
				info, err := q.Get(id)
				require.NoError(t, err)
				require.Equal(t, state, info.State)
				continue
			}
			require.Equal(t, 200, response.StatusCode, "%s of %v: %s", v.name, state, text)
			require.Contains(t, text, fmt.Sprintf(`"target":"job %d"`, id))
			jobsVerbDid(t, q, v.name, id, state)
		}
	}
}

// jobsVerbDid checks what has become of a job.
func jobsVerbDid(t *testing.T, q *stint.Queue, verb string, id stint.ID, was stint.State) {
	t.Helper()
	switch verb {
	case "delete":
		_, err := q.Get(id)
		require.ErrorIs(t, err, stint.ErrNotFound)
	case "move":
		info, err := q.Get(id)
		require.NoError(t, err)
		require.Equal(t, "halted", info.Queue)
		require.Equal(t, was, info.State)
	case "cancel", "kill":
		jobsReach(t, q, stint.Dead, id)
		info, err := q.Get(id)
		require.NoError(t, err)
		want := map[string]string{"cancel": "cancelled by ana: because", "kill": "because"}[verb]
		require.Contains(t, info.Reason, want)
	default:
		info, err := q.Get(id)
		if err == nil { // it may have run and failed again by now
			require.NotEqual(t, stint.Scheduled, info.State)
		}
	}
}

func TestVerbsNeedTheirRoles(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	id := jobsAdd(t, q, jobArgs{}, stint.In(time.Hour))
	for _, role := range []Role{None, View, Operate, Admin} {
		h := testHandler(q, role)
		_, page := get(t, h, "/jobs/"+id.String())
		_, list := get(t, h, "/jobs")
		for _, v := range jobVerbs {
			require.Equal(t, role >= v.role, strings.Contains(page, fmt.Sprintf(`jobs/%d/%s"`, id, v.Path())), "%s for %s", v.name, role)
			require.Equal(t, role >= v.role, strings.Contains(list, fmt.Sprintf(`name="verb" value="%s"`, v.name)), "%s for %s", v.name, role)
			if role >= v.role {
				continue
			}
			for path, form := range map[string]url.Values{
				fmt.Sprintf("/jobs/%d/%s", id, v.Path()): {"queue": {"x"}},
				"/bulk":                                  {"verb": {v.name}, "ids": {id.String()}, "queue": {"x"}},
			} {
				response, text := post(t, h, path, form)
				require.Equal(t, 403, response.StatusCode, "%s %s for %s: %s", path, v.name, role, text)
			}
		}
		if role < Admin {
			response, _ := get(t, h, "/enqueue?from="+id.String())
			require.Equal(t, 403, response.StatusCode)
			response, _ = post(t, h, "/enqueue", url.Values{"kind": {"x"}})
			require.Equal(t, 403, response.StatusCode)
			require.NotContains(t, page, "Duplicate")
		}
	}
	require.Equal(t, 1, q.Counts().Scheduled)
}

func TestJobsThatAreNotThere(t *testing.T) {
	t.Parallel()
	h := testHandler(testQueue(t, nil), Admin)
	for path, status := range map[string]int{
		"/jobs/42": 404, "/jobs/0": 400, "/jobs/x": 400, "/jobs/-1": 400, "/jobs/99999999999999999999": 400, "/jobs/1/2": 404,
		"/tasks/none": 404, "/enqueue?from=7": 404, "/enqueue?from=x": 400, "/jobs?state=odd": 400, "/jobs?q=odd:x": 400,
	} {
		response, text := get(t, h, path)
		require.Equal(t, status, response.StatusCode, "%s: %s", path, text)
	}
	for path, status := range map[string]int{"/jobs/42/retry": 404, "/jobs/x/cancel": 400, "/jobs/42/delete": 404, "/jobs/42/move": 400, "/jobs/42/eat": 404, "/tasks/none/stop": 404} {
		response, text := post(t, h, path, nil)
		require.Equal(t, status, response.StatusCode, "%s: %s", path, text)
	}
}

func TestJobPageTellsWhyItWaits(t *testing.T) {
	t.Parallel()
	q := testQueue(t, &stint.Config{KeepCompleted: time.Hour, Queues: map[string]stint.QueueConfig{"one": {Workers: 1}}})
	states := jobsOfStates(t, q)
	parked, err := q.EnqueueJSON(t.Context(), "nobody", []byte(`{}`))
	require.NoError(t, err)
	jobsReach(t, q, stint.Running, jobsAdd(t, q, jobArgs{End: "run"}, stint.OnQueue("one")))
	behind := jobsAdd(t, q, jobArgs{End: "run"}, stint.OnQueue("one"))
	h := testHandler(q, View)
	for id, want := range map[stint.ID]string{
		states[stint.Ready]:     "ana",
		states[stint.Scheduled]: "In 59 min",
		states[stint.Retrying]:  "In 23 h",
		parked:                  "nobody",
		behind:                  "one",
	} {
		_, text := get(t, h, "/jobs/"+id.String())
		_, after, ok := strings.Cut(text, "Why is it waiting?")
		require.True(t, ok, "job %d", id)
		reasons, _, _ := strings.Cut(after, "</section>")
		require.Contains(t, reasons, want, "job %d", id)
		why, err := q.Why(id)
		require.NoError(t, err)
		require.NotEmpty(t, why)
		require.Contains(t, jobsParse(t, text).text, capital(why[0].Text)+".")
	}
	for _, state := range []stint.State{stint.Running, stint.Dead} {
		_, text := get(t, h, "/jobs/"+states[state].String())
		require.NotContains(t, text, "Why is it waiting?")
	}
}

func TestTimelineHasNoNegativeTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	attempt := func(n int, after, took time.Duration) stint.Attempt {
		return stint.Attempt{Number: n, StartedAt: at.Add(after), Duration: took}
	}
	infos := map[string]stint.Info{
		"Enqueued|Waited 1 s|Attempt 1 failed 2 s|Waited to try again 7 s|Attempt 2 failed|Dead": {
			State: stint.Dead, Failures: 2, Attempts: []stint.Attempt{attempt(1, time.Second, 2*time.Second), attempt(2, 10*time.Second, -time.Second)},
		},
		"Enqueued|2 earlier attempts failed|Attempt 3 failed 1 s|Snoozed 4 times|Next attempt": {
			State: stint.Retrying, Failures: 3, Snoozes: 4, Attempts: []stint.Attempt{attempt(3, time.Hour, time.Second)},
		},
		"Enqueued|Attempt 1 failed 1 s|Process died 1 time|Runs, attempt 2": { // the clock was set back
			State: stint.Running, Failures: 1, Crashes: 1, Attempts: []stint.Attempt{attempt(1, -time.Hour, time.Second)}, StartedAt: at.Add(-2 * time.Hour),
		},
		"Enqueued|Waited and ran 5 s|Attempt 1 was cut off|Process died 1 time|Waited to try again 2 s|Runs, attempt 1": {
			State: stint.Running, Crashes: 1, Attempts: []stint.Attempt{attempt(1, 5*time.Second, 0)}, StartedAt: at.Add(7 * time.Second),
		},
		"Enqueued|Is about to start":               {State: stint.Running},
		"Enqueued|Completed 3 s":                   {State: stint.Completed, FinishedAt: at.Add(3 * time.Second)},
		"Enqueued|Completed":                       {State: stint.Completed, FinishedAt: at.Add(-time.Second)},
		"Enqueued|Waits for a worker":              {State: stint.Ready},
		"Enqueued|Scheduled":                       {State: stint.Scheduled, RunAt: at.Add(time.Hour)},
		"Enqueued|Waited 1 min|Waits for a worker": {State: stint.Ready, RunAt: at.Add(time.Minute)},
	}
	for want, info := range infos {
		info.EnqueuedAt = at
		var got []string
		for _, m := range timelineOf(&info) {
			require.GreaterOrEqual(t, m.Took, time.Duration(0))
			require.True(t, m.Bar >= 0 && m.Bar <= 100)
			if m.Took > 0 {
				m.What += " " + duration(m.Took)
			}
			got = append(got, m.What)
		}
		require.Equal(t, want, strings.Join(got, "|"))
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	n, err := treeOf([]byte(`{"b":12345678901234567890,"a":["x",null,{"t":true}]}`))
	require.NoError(t, err)
	require.Equal(t, "object", n.Sort)
	require.Equal(t, "b", n.Children[0].Key, "the order is kept")
	require.Equal(t, "12345678901234567890", n.Children[0].Text)
	require.Equal(t, "null", n.Children[1].Children[1].Text)
	require.Equal(t, "true", n.Children[1].Children[2].Children[0].Text)
	n, err = treeOf([]byte("[" + strings.TrimSuffix(strings.Repeat("[1],", 3000), ",") + "]"))
	require.NoError(t, err)
	require.Equal(t, 3000, n.Size())
	require.NotZero(t, n.Left)
	_, err = treeOf([]byte(strings.Repeat("[", 60) + strings.Repeat("]", 60)))
	require.ErrorIs(t, err, errTreeTooDeep)
	n, err = treeOf(nil)
	require.NoError(t, err)
	require.Nil(t, n)
	require.Equal(t, []pill{{"b", "12345678901234567890"}}, pillsOf([]byte(`{"b":12345678901234567890,"a":[1]}`)))
	require.Equal(t, []pill{{"", "7"}}, pillsOf([]byte(`7`)))
}

const jobsStack = `goroutine 7 [running]:
runtime/debug.Stack()
	/usr/local/go/src/runtime/debug/stack.go:26 +0x5e
github.com/stintq/stint.(*execution).run.func1()
	/src/stint/runner.go:10 +0x1
panic({0x1, 0x2})
	/usr/local/go/src/runtime/panic.go:783 +0x132
main.send(...)
	/src/app/send.go:12
github.com/stintq/stint.Handle[...].func2()
	/src/stint/handler.go:70 +0x3
created by github.com/stintq/stint.(*runner).start in goroutine 1
	/src/stint/runner.go:99 +0x4`

func TestStackHasItsOwnFramesFirst(t *testing.T) {
	t.Parallel()
	v := readStack(jobsStack)
	require.Equal(t, "main.send(...)\n\t/src/app/send.go:12", v.Own)
	require.Equal(t, jobsStack, v.Rest)
	require.Nil(t, readStack(" \n"))
	require.Empty(t, readStack("no stack at all").Own)
}

func TestLiveStackOnDemand(t *testing.T) {
	t.Parallel()
	q := testQueue(t, &stint.Config{KeepCompleted: time.Hour})
	states := jobsOfStates(t, q)
	running := "/jobs/" + states[stint.Running].String()
	response, _ := get(t, testHandler(q, View), running+"?stack=1")
	require.Equal(t, 403, response.StatusCode)
	_, text := get(t, testHandler(q, View), running)
	require.NotContains(t, text, "stack=1")
	h := testHandler(q, Operate)
	_, text = get(t, h, running)
	require.Contains(t, text, "stack=1")
	require.NotContains(t, text, "goroutine ")
	_, text = get(t, h, running+"?stack=1")
	require.Contains(t, text, "goroutine ")
	require.Contains(t, text, "jobsRun", "the handler is in it")
}

func TestJobPageShowsAll(t *testing.T) {
	t.Parallel()
	q := testQueue(t, &stint.Config{KeepCompleted: time.Hour})
	jobsRun(t, q)
	done := jobsAdd(t, q, jobArgs{End: "done", Note: "all went well", User: map[string]any{"big": uint64(12345678901234567890)}}, stint.Tags("vip"))
	broken := jobsAdd(t, q, jobArgs{End: "panic", Note: "oh no"})
	jobsReach(t, q, stint.Completed, done)
	jobsReach(t, q, stint.Retrying, broken)
	h := testHandler(q, View)
	_, text := get(t, h, "/jobs/"+done.String())
	for _, part := range []string{"12345678901234567890", "all went well", "#vip", "Result", "Log of the last attempt", "1 of 4"} {
		require.Contains(t, strings.ReplaceAll(text, `<span class="pill">`, `<span class="pill">#`), part)
	}
	_, text = get(t, h, "/jobs/"+broken.String())
	for _, part := range []string{"oh no", "Attempt 1", "Whole stack", "search_test.go", "note=&#34;oh no&#34;", "Next attempt"} {
		require.Contains(t, text, part)
	}
}
