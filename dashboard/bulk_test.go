package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// bulkJobs are n jobs, of which every third is scheduled.
func bulkJobs(t *testing.T, q *stint.Queue, n int) {
	t.Helper()
	var now, later []stint.Args
	for i := range n {
		if i%3 == 0 {
			later = append(later, jobArgs{Note: fmt.Sprint("n", i%2)})
		} else {
			now = append(now, jobArgs{Note: fmt.Sprint("n", i%2)})
		}
	}
	_, err := q.EnqueueAll(t.Context(), now, stint.Tags("many"))
	require.NoError(t, err)
	_, err = q.EnqueueAll(t.Context(), later, stint.Tags("many"), stint.In(time.Hour))
	require.NoError(t, err)
}

// bulkEnd is the task that an answer leads to, when it is over.
func bulkEnd(t *testing.T, d *dashboard, response *http.Response) wire.Task {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, response.StatusCode)
	d.tasks.group.Wait()
	list := d.tasks.all()
	require.NotEmpty(t, list)
	return list[0].wire()
}

func TestBulkOfCheckedJobs(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	d := jobsDashboard(t, q)
	h := d.handler()
	a, b, c := jobsAdd(t, q, jobArgs{}), jobsAdd(t, q, jobArgs{}, stint.In(time.Hour)), jobsAdd(t, q, jobArgs{})
	require.NoError(t, q.Kill(t.Context(), c, "no"))
	form := func(verb string, ids ...stint.ID) url.Values {
		v := url.Values{"verb": {verb}, "scope": {"checked"}, "queue": {"other"}, "reason": {"because"}, "state": {""}, "q": {"kind:fate"}, "back": {"jobs?q=kind%3Afate"}}
		for _, id := range ids {
			v.Add("ids", id.String())
		}
		return v
	}
	response, text := post(t, h, "/bulk", form("delete"))
	require.Equal(t, 400, response.StatusCode, "nothing checked is not everything")
	require.Contains(t, text, "no job is chosen")
	response, _ = post(t, h, "/bulk", url.Values{"verb": {"delete"}})
	require.Equal(t, 400, response.StatusCode)

	response, _ = post(t, h, "/bulk", form("kill", a, b, c, 999))
	require.Contains(t, response.Header.Get("Location"), "jobs?note=")
	require.Equal(t, "2 jobs killed, 2 could not take it", bulkEnd(t, d, response).Note)
	info, err := q.Get(a)
	require.NoError(t, err)
	require.Equal(t, "because", info.Reason)
	_, text = get(t, h, "/"+strings.TrimPrefix(response.Header.Get("Location"), "./"))
	require.Contains(t, text, "Kill 4 jobs: 2 jobs killed, 2 could not take it.")

	response, _ = post(t, h, "/bulk", form("move", a, b))
	require.Equal(t, "2 jobs moved to other", bulkEnd(t, d, response).Note)
	require.Equal(t, 2, d.queueCounts("other").Dead)
	response, _ = post(t, h, "/bulk", form("retry", a, c))
	require.Equal(t, "2 jobs made ready", bulkEnd(t, d, response).Note)
	require.Equal(t, 2, q.Counts().Ready)
	response, _ = post(t, h, "/bulk", form("cancel", a))
	require.Equal(t, "1 job cancelled", bulkEnd(t, d, response).Note)
	response, _ = post(t, h, "/bulk", form("delete", a, b, c))
	require.Equal(t, "3 jobs deleted", bulkEnd(t, d, response).Note)
	require.Zero(t, countOf(q.Counts(), 0))
	for _, bad := range []url.Values{form("eat", a), {"verb": {"move"}, "ids": {"1"}}, form("run", 0)} {
		response, _ = post(t, h, "/bulk", bad)
		require.Equal(t, 400, response.StatusCode)
	}
	logged := 0
	for action, err := range q.Actions() {
		require.NoError(t, err)
		require.Equal(t, "ana", action.By)
		logged++
	}
	require.Equal(t, 10, logged, "the beginning and the end of each")
}

func TestBulkOfAllThatMatchAsksFirst(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	d := jobsDashboard(t, q)
	h := d.handler()
	bulkJobs(t, q, 900)
	form := url.Values{"verb": {"cancel"}, "scope": {"all"}, "q": {"args.note:n1"}, "state": {"scheduled"}, "ids": {"1"}}
	response, text := post(t, h, "/bulk", form)
	require.Equal(t, 409, response.StatusCode)
	require.Contains(t, text, "<b>150 jobs match</b>")
	require.Contains(t, text, "args.note:n1")
	require.Empty(t, d.tasks.all())

	form.Set("expect", "20")
	_, text = post(t, h, "/bulk", form)
	require.Contains(t, text, "many more by now")
	form.Set("expect", "150")
	response, _ = post(t, h, "/bulk", form)
	task := bulkEnd(t, d, response)
	require.Equal(t, "150 jobs cancelled", task.Note)
	require.Equal(t, 150, task.Done)
	require.Equal(t, 150, task.Total)
	require.Equal(t, "all scheduled jobs that match args.note:n1", task.Target)
	require.Equal(t, stint.Counts{Ready: 600, Scheduled: 150, Dead: 150, Parked: 600}, q.Counts())
	_, text = get(t, h, "/tasks/"+task.ID)
	require.Contains(t, text, "150 jobs cancelled.")

	form = url.Values{"verb": {"run"}, "scope": {"all"}, "state": {"ready"}}
	response, text = post(t, h, "/bulk", form)
	require.Equal(t, 400, response.StatusCode, text)
	form = url.Values{"verb": {"retry"}, "scope": {"all"}, "q": {"tag:many"}}
	_, text = post(t, h, "/bulk", form)
	require.Contains(t, text, "<b>150 jobs match</b>", "without a state, retry means what failed")
	form.Set("q", "kind:none")
	response, _ = post(t, h, "/bulk", form)
	require.Equal(t, 400, response.StatusCode)
	form.Set("q", "none:x")
	response, _ = post(t, h, "/bulk", form)
	require.Equal(t, 400, response.StatusCode)
}

func TestBulkDeleteOfManyWantsTheNumber(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	d := jobsDashboard(t, q)
	h := d.handler()
	bulkJobs(t, q, 2100)
	form := url.Values{"verb": {"delete"}, "scope": {"all"}, "q": {"tag:many"}}
	for typed, want := range map[string]string{"": "Type 2\u202f100 to go on", "2099": "That is not the number", "all": "That is not the number"} {
		form.Set("expect", typed)
		form.Set("shown", "2100")
		response, text := post(t, h, "/bulk", form)
		require.Equal(t, 409, response.StatusCode)
		require.Contains(t, text, want)
	}
	for body, status := range map[string]int{
		`{"verb":"delete","q":"tag:many"}`:                409,
		`{"verb":"delete","q":"tag:many","expect":12}`:    409,
		`{"verb":"delete","q":"","scope":"all"}`:          409,
		`{"verb":"delete"}`:                               400,
		`{"verb":"delete","q":"","state":"","expect":99}`: 400,
	} {
		response, text := postJSON(t, h, "/api/v1/bulk", body)
		require.Equal(t, status, response.StatusCode, "%s: %s", body, text)
	}
	require.Equal(t, 2100, countOf(q.Counts(), 0))
	form.Set("expect", "2 100")
	response, _ := post(t, h, "/bulk", form)
	require.Equal(t, "2\u202f100 jobs deleted", bulkEnd(t, d, response).Note)
	require.Zero(t, countOf(q.Counts(), 0))

	bulkJobs(t, q, 1200)
	response, text := postJSON(t, h, "/api/v1/bulk", `{"verb":"delete","q":"tag:many","expect":1200}`)
	require.Equal(t, 200, response.StatusCode, text)
	var task wire.Task
	require.NoError(t, json.Unmarshal([]byte(text), &task))
	require.NotEmpty(t, task.ID)
	d.tasks.group.Wait()
	require.Zero(t, countOf(q.Counts(), 0))
}

func TestBulkIsHonestAboutWhatItCouldNotCount(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	d := jobsDashboard(t, q)
	d.budget = budget{jobs: 300, time: time.Hour}
	bulkJobs(t, q, 900)
	form := url.Values{"verb": {"cancel"}, "scope": {"all"}, "q": {"args.note:n1"}}
	_, text := post(t, d.handler(), "/bulk", form)
	require.Contains(t, text, "More than <b>150 jobs match</b>")
	form.Set("expect", "150")
	form.Set("more", "1")
	response, _ := post(t, d.handler(), "/bulk", form)
	require.Equal(t, "450 jobs cancelled", bulkEnd(t, d, response).Note, "the task has no budget")
}

func TestBulkStopsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(t, nil)
		d := jobsDashboard(t, q)
		h := d.handler()
		bulkJobs(t, q, 2100)
		r := &request{Request: (&http.Request{}).WithContext(t.Context()), access: Access{Role: Admin, User: "ana"}}
		r.params = params{"verb": {"cancel"}, "scope": {"all"}, "q": {"tag:many"}}
		s, err := d.selectJobs(r)
		require.NoError(t, err)
		groups, all := 0, s.all // of 500 jobs, by their states: 500 scheduled, 300 ready, 200 scheduled
		s.all = func(q *stint.Queue, ctx context.Context, f stint.Filter, how manner) (int, error) {
			if groups++; groups == 3 {
				<-ctx.Done()
			}
			require.LessOrEqual(t, len(f.IDs), bulkGroup)
			require.NotZero(t, f.State)
			return all(q, ctx, f, how)
		}
		one, err := d.start(r, s.name, s.target(), func(ctx context.Context, report func(stint.Progress)) (string, error) {
			return d.actOnAll(ctx, s, report)
		})
		require.NoError(t, err)
		synctest.Wait()
		_, text := get(t, h, "/tasks/"+one.id)
		require.Contains(t, text, ">Stop</button>")
		require.Contains(t, text, "800 of 2\u202f100")
		response, _ := post(t, h, "/tasks/"+one.id+"/stop", nil)
		require.Equal(t, 303, response.StatusCode)
		d.tasks.group.Wait()
		require.Equal(t, "stopped: 800 jobs cancelled", one.wire().Note)
		require.Empty(t, one.wire().Error)
		require.Equal(t, 800, q.Counts().Dead, "what is done stays done, and no more is")
		_, text = postJSON(t, h, "/api/v1/tasks/"+one.id+"/stop", "{}")
		require.Contains(t, text, "stopped: 800")
	})
}
