package dashboard

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// leaky is a kind whose owner puts the same secret everywhere.
type leaky struct {
	Password string `json:"password"`
	Stage    string `json:"stage"`
}

func (leaky) Kind() string { return "leaky" }

const leaked = "hunter2SECRETval"

// leakyQueue has the secret in every text there is.
func leakyQueue(t *testing.T) (q *stint.Queue, ids []stint.ID) {
	t.Helper()
	q = testQueue(t, &stint.Config{KeepCompleted: time.Hour, ShutdownTimeout: time.Millisecond})
	text := "at password=" + leaked
	each := func(ctx context.Context, job *stint.Job[leaky]) error {
		job.Logger().Info(text)
		job.Progress(1, 2, text)
		if err := job.Step(ctx, text, func(context.Context) error { return nil }); err != nil {
			return err
		}
		if err := errors.Join(job.Checkpoint(ctx, text), job.SetResult(text)); err != nil {
			return err
		}
		switch job.Args.Stage {
		case "run":
			<-ctx.Done()
			return ctx.Err()
		case "panic":
			panic(text)
		case "die":
			return stint.Kill(errors.New(text))
		case "done":
			return nil
		}
		return errors.New(text)
	}
	plan := func(context.Context, *stint.Planning[leaky]) iter.Seq2[leaky, error] {
		return func(yield func(leaky, error) bool) {
			_ = yield(leaky{}, errors.New(text)) && yield(leaky{leaked, "die"}, nil) && yield(leaky{}, stint.Kill(errors.New(text)))
		}
	}
	require.NoError(t, stint.PeriodicBatch(q, "planned", "@hourly", plan, each, nil))
	require.NoError(t, q.Periodic("leaking", "@hourly", leaky{Password: leaked, Stage: "die"}))
	jobsRunAlone(t, q)
	for stage, state := range map[string]stint.State{"run": stint.Running, "panic": stint.Retrying, "die": stint.Dead, "done": stint.Completed, "fail": stint.Retrying} {
		id, err := q.Enqueue(t.Context(), leaky{leaked, stage})
		require.NoError(t, err)
		jobsReach(t, q, state, id)
		ids = append(ids, id)
	}
	id, err := q.RunSchedule(t.Context(), "leaking")
	require.NoError(t, err)
	jobsReach(t, q, stint.Dead, id)
	killed, err := q.Enqueue(t.Context(), leaky{leaked, "fail"}, stint.In(time.Hour))
	require.NoError(t, err)
	require.NoError(t, q.Kill(t.Context(), killed, text))
	require.NoError(t, q.LogAction(t.Context(), stint.Action{By: "ana", Verb: "kill", Target: "all jobs that match " + text, Note: text}))
	batch, err := q.RunSchedule(t.Context(), "planned")
	require.NoError(t, err)
	jobsReach(t, q, stint.Dead, batch)
	require.Eventually(t, func() bool { return q.Counts().Running == 1 && q.Counts().Ready == 0 }, 10*time.Second, time.Millisecond)
	return q, append(ids, id, killed)
}

func jobsRunAlone(t *testing.T, q *stint.Queue) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// TestNoPageHasSecrets asks every address there is, of every job and batch.
func TestNoPageHasSecrets(t *testing.T) {
	t.Parallel()
	q, ids := leakyQueue(t)
	d := newDashboard(q, &Config{Authorize: func(*http.Request) Access { return Access{Role: Operate, User: "ana"} }})
	h := d.handler()
	task, err := d.start(&request{Request: localRequest("POST", "/", nil), access: Access{User: "ana"}}, "bulk", "jobs that match password="+leaked,
		func(context.Context, func(stint.Progress)) (string, error) {
			return "token: " + leaked, errors.New("password=" + leaked)
		})
	require.NoError(t, err)
	d.tasks.group.Wait()
	var all []string
	for _, id := range append(ids, 1) {
		all = append(all, id.String())
	}
	for b, err := range q.Batches(0) {
		require.NoError(t, err)
		require.NotEmpty(t, b.PlanError)
		require.NotEmpty(t, b.Errors)
		all = append(all, b.ID.String())
	}
	asked := 0
	for _, rt := range routes() {
		if rt.show == nil || rt.stream || rt.role > Operate {
			continue
		}
		targets := []string{rt.path}
		if strings.Contains(rt.path, "{id}") {
			targets = nil
			for _, id := range append(all, task.id) {
				targets = append(targets, strings.Replace(rt.path, "{id}", id, 1))
			}
		}
		for _, target := range targets {
			target = strings.NewReplacer("{$}", "", "{name}", "all.js").Replace(target)
			query := url.Values{}
			switch {
			case target == "/schedule":
				query.Set("name", "leaking")
			case target == "/queue":
				query.Set("name", "default")
			case target == "/kind":
				query.Set("name", "leaky")
			case target == "/api/v1/queues/one":
				query.Set("queue", "default")
			case target == "/api/v1/schedules/one":
				query.Set("schedule", "leaking")
			case target == "/api/v1/schedules/next":
				query.Set("spec", "@hourly")
			}
			w := serve(t, h, localRequest("GET", target+"?"+query.Encode(), nil))
			if strings.Contains(rt.path, "{id}") && (w.Code == 404 || w.Code == 400 || w.Code == 409) {
				continue // no job, no batch, or not at work
			}
			require.Equal(t, http.StatusOK, w.Code, "%s: %s", target, w.Body)
			require.NotContains(t, w.Body.String(), leaked, target)
			asked++
		}
	}
	require.Greater(t, asked, 40)
}

// A live stack stops all goroutines for a moment, so it is for those who may
// operate, wherever it is asked for.
func TestStacksAreForOperators(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	jobsRun(t, q)
	id := jobsAdd(t, q, jobArgs{End: "run"})
	jobsReach(t, q, stint.Running, id)
	for _, target := range []string{"/jobs/" + id.String() + "?stack=1", "/api/v1/jobs/" + id.String() + "/stack"} {
		for role, want := range map[Role]int{View: 403, Operate: 200} {
			response, text := get(t, testHandler(q, role), target)
			require.Equal(t, want, response.StatusCode, "%s for %s: %s", target, role, text)
		}
	}
	d := jobsDashboardWith(q, Config{Redact: func(_ string, data []byte) []byte {
		return []byte(strings.ReplaceAll(string(data), "goroutine", "gopher"))
	}}, Operate)
	_, text := get(t, d.handler(), "/api/v1/jobs/"+id.String()+"/stack")
	require.Contains(t, text, "gopher")
	require.NotContains(t, text, "goroutine")
}
