package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// apiFate is a job that ends as its args say.
type apiFate struct {
	End string `json:"end"`
}

func (apiFate) Kind() string { return "api:fate" }

// apiQueue has a job in each state, one that nothing handles, a paused queue, a
// schedule that has run and a batch. It works until the test ends.
func apiQueue(t *testing.T) (q *stint.Queue, running stint.ID) {
	t.Helper()
	q = routesQueueWith(t, &stint.Config{KeepCompleted: time.Hour, Workers: 3})
	release, began := make(chan struct{}), make(chan stint.ID, 1)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[apiFate]) error {
		switch job.Args.End {
		case "retry":
			return errors.New(`it said "no"`)
		case "dead":
			return stint.Kill(errors.New("never"))
		case "run":
			job.Progress(1, 2, "half")
			began <- job.ID
			<-release
		}
		return nil
	}, &stint.Policy{Backoff: stint.Constant(time.Hour)})
	require.NoError(t, q.Periodic("night/1:a", "CRON_TZ=Europe/Berlin 0 3 * * *", apiFate{}))
	_, err := q.EnqueueBatch(t.Context(), slices.Values([]stint.Args{apiFate{"batch"}, apiFate{"other"}}), nil)
	require.NoError(t, err)
	require.NoError(t, q.Pause(t.Context(), "stopped", "ana"))
	for _, end := range []string{"", "retry", "dead", "run"} {
		_, err := q.Enqueue(t.Context(), apiFate{end}, stint.Tags("vip"))
		require.NoError(t, err)
	}
	_, err = q.Enqueue(t.Context(), apiFate{}, stint.In(time.Hour), stint.ExpiresIn(2*time.Hour))
	require.NoError(t, err)
	_, err = q.Enqueue(t.Context(), routesJob{"x"}, stint.OnQueue("stopped"))
	require.NoError(t, err)
	apiRun(t, q)
	t.Cleanup(func() { close(release) })
	running = <-began
	_, err = q.RunSchedule(t.Context(), "night/1:a")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		c := q.Counts()
		return c.Running == 1 && c.Retrying == 1 && c.Dead == 1 && c.Completed >= 3
	}, 10*time.Second, time.Millisecond)
	return q, running
}

// apiRun works a queue until the test ends or stop is called.
func apiRun(t *testing.T, q *stint.Queue) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return stop
}

// apiDocument is what the API says of itself.
func apiDocument(t *testing.T, h http.Handler) (doc object) {
	t.Helper()
	w := serve(t, h, localRequest("GET", "/api/v1/openapi.json", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc))
	return doc
}

// TestDocumentAndRoutes compares them in both directions.
func TestDocumentAndRoutes(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for path, methods := range apiDocument(t, routesHandler(routesQueue(t), nil))["paths"].(object) {
		for method := range methods.(object) {
			documented[strings.ToUpper(method)+" "+apiPrefix+path] = true
		}
	}
	for _, rt := range routes() {
		if strings.HasPrefix(rt.path, apiPrefix) {
			require.True(t, documented[rt.method+" "+rt.path], "%s %s is missing in operations", rt.method, rt.path)
			delete(documented, rt.method+" "+rt.path)
		}
	}
	require.Empty(t, documented, "these are documented, but there is no route")
}

// TestAnswersAreAsDocumented asks for everything and compares the answers with
// the schemas.
func TestAnswersAreAsDocumented(t *testing.T) {
	t.Parallel()
	q, running := apiQueue(t)
	h := routesHandler(q, nil)
	doc := apiDocument(t, h)
	queries := map[string]string{
		"/queues/one":     "?queue=stopped",
		"/schedules/one":  "?schedule=" + url.QueryEscape("night/1:a"),
		"/schedules/next": "?zone=Europe/Berlin&n=3&spec=" + url.QueryEscape("*/5 * * * *"),
		"/history":        "?step=10m&since=2020-01-01T00:00:00Z",
		"/jobs":           "?limit=100",
		"/count":          "?state=dead",
	}
	tasks := "none"
	if w := serve(t, h, localRequest("POST", "/api/v1/system/check", nil)); w.Code == http.StatusOK {
		var started struct{ ID string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &started))
		tasks = started.ID
	}
	batch := firstBatch(t, q)
	for _, op := range operations {
		_, stream := op.answer.(media)
		if op.method != http.MethodGet || stream || op.path == "/tasks/{id}" && tasks == "none" {
			continue
		}
		id := fmt.Sprint(running)
		switch {
		case strings.HasPrefix(op.path, "/batches"):
			id = fmt.Sprint(batch)
		case strings.HasPrefix(op.path, "/tasks"):
			id = tasks
		}
		w := serve(t, h, localRequest("GET", apiPrefix+strings.Replace(op.path, "{id}", id, 1)+queries[op.path], nil))
		require.Equal(t, http.StatusOK, w.Code, "%s: %s", op.path, w.Body)
		require.Equal(t, "application/json; charset=utf-8", w.Header().Get("Content-Type"))
		require.NoError(t, validates(doc, answerSchema(doc, op), w.Body.Bytes()), "%s: %s", op.path, w.Body)
	}

	w := serve(t, h, localRequest("GET", "/api/v1/jobs/999999", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
	require.NoError(t, validates(doc, object{"$ref": "#/components/schemas/Error"}, w.Body.Bytes()))
}

// TestActionsAnswerAsDocumented does each action once.
func TestActionsAnswerAsDocumented(t *testing.T) {
	t.Parallel()
	q, running := apiQueue(t)
	d := newDashboard(q, nil)
	h := d.handler()
	doc := apiDocument(t, h)
	task, err := d.start(d.request(localRequest("POST", "/bulk", nil)), "wait", "nothing", func(ctx context.Context, _ func(stint.Progress)) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	require.NoError(t, err)
	one := func(state stint.State) string {
		for info, err := range q.Jobs(stint.Filter{State: state, Limit: 1}) {
			require.NoError(t, err)
			return fmt.Sprint(info.ID)
		}
		t.Fatalf("no job is %v", state)
		return ""
	}
	for _, call := range []struct{ path, id, form string }{
		{"/jobs/{id}/move", one(stint.Ready), "queue=low"},
		{"/jobs/{id}/retry", one(stint.Retrying), ""},
		{"/jobs/{id}/retry", one(stint.Scheduled), ""},
		{"/jobs/{id}/kill", one(stint.Ready), "reason=old"},
		{"/jobs/{id}/cancel", fmt.Sprint(running), "reason=old"},
		{"/jobs/{id}/delete", one(stint.Completed), ""},
		{"/bulk", "", "verb=retry&ids=" + one(stint.Dead)},
		{"/tasks/{id}/stop", task.id, ""},
		{"/enqueue", "", `kind=routes/job&args={"text":"x"}&queue=stopped&priority=1&in=1h&tags=a&max_attempts=3`},
		{"/queues/pause", "", "queue=low&reason=why"},
		{"/queues/resume", "", "queue=low"},
		{"/queues/workers", "", "queue=low&n=2"},
		{"/queues/purge", "", "queue=stopped&expect=0"},
		{"/schedules/run", "", "schedule=night/1:a"},
		{"/schedules/pause", "", "schedule=night/1:a&reason=why"},
		{"/schedules/resume", "", "schedule=night/1:a"},
		{"/schedules/backfill", "", "schedule=night/1:a&from=2026-01-01T00:00&to=2026-01-03T00:00"},
		{"/schedules/delete", "", "schedule=night/1:a"},
		{"/batches/{id}/cancel", fmt.Sprint(firstBatch(t, q)), "reason=why"},
		{"/system/compact", "", ""},
		{"/system/check", "", ""},
		{"/system/repair", "", ""},
		{"/import", "", `{"kind":"routes/job"}`},
	} {
		r := localRequest("POST", apiPrefix+strings.Replace(call.path, "{id}", call.id, 1), strings.NewReader(call.form))
		if call.path == "/import" {
			r.Header.Set("Content-Type", "application/x-ndjson")
		}
		w := serve(t, h, r)
		require.Equal(t, http.StatusOK, w.Code, "%s: %s", call.path, w.Body)
		require.NoError(t, validates(doc, answerSchema(doc, operation{method: "POST", path: call.path}), w.Body.Bytes()), "%s: %s", call.path, w.Body)
	}
}

func firstBatch(t *testing.T, q *stint.Queue) stint.ID {
	t.Helper()
	for info, err := range q.Batches(0) {
		require.NoError(t, err)
		return info.ID
	}
	t.Fatal("there is no batch")
	return 0
}

func answerSchema(doc object, op operation) any {
	answer := doc["paths"].(object)[op.path].(object)[strings.ToLower(op.method)].(object)["responses"].(object)["200"].(object)
	return answer["content"].(object)["application/json"].(object)["schema"]
}

func TestParametersAreAsDocumented(t *testing.T) {
	t.Parallel()
	q, _ := apiQueue(t)
	h := routesHandler(q, nil)
	for _, op := range operations {
		if op.method != http.MethodGet {
			continue
		}
		w := serve(t, h, localRequest("GET", apiPrefix+strings.Replace(op.path, "{id}", "1", 1)+"?limt=3", nil))
		require.Equal(t, http.StatusBadRequest, w.Code, op.path)
		require.Contains(t, w.Body.String(), `limt`, op.path)
		for _, p := range op.parameters() {
			if p.needed {
				w := serve(t, h, localRequest("GET", apiPrefix+op.path, nil))
				require.Equal(t, http.StatusBadRequest, w.Code, op.path)
				require.Contains(t, w.Body.String(), p.name, op.path)
				break
			}
		}
	}
	for target, want := range map[string]int{
		"jobs?limit=0": 400, "jobs?limit=1001": 400, "jobs?limit=x": 400, "jobs?limit=1000": 200, "jobs?limit=1&limit=2": 400,
		"jobs?state=done": 400, "jobs?state=dead": 200, "jobs?after=zz": 400, "jobs/0": 400, "jobs/x": 400, "jobs/999999": 404, "jobs/18446744073709551616": 400,
		"jobs/1/stack": 409, "history?step=5m": 400, "history?since=yesterday": 400, "batches?below=x": 400, "batches/999999": 404,
		"schedules/next?spec=nonsense": 400, "schedules/next?spec=@daily&zone=Mars": 400, "schedules/next?spec=TZ%3DUTC+@daily&zone=UTC": 400, "schedules/next?spec=@daily&n=1001": 400,
		"schedules/one?schedule=none": 404, "queues/one?queue=none": 404, "tasks/none": 404, "events?types=job_fell": 400, "actions?limit=5": 200,
		"jobs?q=%zz": 400,
	} {
		u := strings.SplitN(target, "?", 2)
		r := localRequest("GET", "/api/v1/"+u[0], nil)
		if len(u) == 2 {
			r.URL.RawQuery = u[1]
		}
		w := serve(t, h, r)
		require.Equal(t, want, w.Code, "%s: %s", target, w.Body)
	}
}

func TestNextOfASpec(t *testing.T) {
	t.Parallel()
	h := routesHandler(routesQueue(t), nil)
	var answer struct {
		Words string
		Times []time.Time
	}
	w := serve(t, h, localRequest("GET", "/api/v1/schedules/next?n=2&zone=Asia/Kolkata&spec="+url.QueryEscape("30 9 * * *"), nil))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	require.Equal(t, "every day at 09:30 (Asia/Kolkata)", answer.Words)
	require.Len(t, answer.Times, 2)
	require.Equal(t, 24*time.Hour, answer.Times[1].Sub(answer.Times[0]))
	require.Equal(t, "04:00", answer.Times[0].UTC().Format("15:04"))
}

// validates says what of a JSON text is not as a schema says. It knows the part
// of JSON Schema that the document uses, and refuses the rest. What is not
// documented is an error as well.
func validates(doc object, schema any, text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one value")
	}
	return fits(doc, schema.(object), value, "$")
}

func fits(doc, schema object, value any, at string) error {
	for keyword := range schema {
		if !slices.Contains([]string{"$ref", "type", "format", "properties", "required", "additionalProperties", "items"}, keyword) {
			return fmt.Errorf("%s: the schema has %q, which this test does not know", at, keyword)
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		target, ok := doc["components"].(object)["schemas"].(object)[strings.TrimPrefix(ref, "#/components/schemas/")].(object)
		if !ok {
			return fmt.Errorf("%s: %s leads nowhere", at, ref)
		}
		return fits(doc, target, value, at)
	}
	switch schema["type"] {
	case nil:
		return nil
	case "object":
		return fitsObject(doc, schema, value, at)
	case "array":
		list, ok := value.([]any)
		if !ok {
			return fmt.Errorf("%s: %v is no array", at, value)
		}
		for i, one := range list {
			if err := fits(doc, schema["items"].(object), one, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
		return nil
	}
	return fitsPlain(schema, value, at)
}

func fitsObject(doc, schema object, value any, at string) error {
	fields, ok := value.(object)
	if !ok {
		return fmt.Errorf("%s: %v is no object", at, value)
	}
	properties, _ := schema["properties"].(object)
	others, _ := schema["additionalProperties"].(object)
	for name, field := range fields {
		property, ok := properties[name].(object)
		if !ok {
			property, ok = others, others != nil
		}
		if !ok {
			return fmt.Errorf("%s.%s is not documented", at, name)
		}
		if err := fits(doc, property, field, at+"."+name); err != nil {
			return err
		}
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := fields[name.(string)]; !ok {
			return fmt.Errorf("%s.%s is missing", at, name)
		}
	}
	return nil
}

func fitsPlain(schema object, value any, at string) error {
	ok := false
	switch schema["type"] {
	case "boolean":
		_, ok = value.(bool)
	case "string":
		var text string
		if text, ok = value.(string); ok && schema["format"] == "date-time" {
			_, err := time.Parse(time.RFC3339, text)
			ok = err == nil
		}
	case "number", "integer":
		var number json.Number
		if number, ok = value.(json.Number); ok {
			n, err := number.Float64()
			ok = err == nil && (schema["type"] == "number" || n == math.Trunc(n) && math.Abs(n) < 1<<53)
		}
	default:
		return fmt.Errorf("%s: the type %v is unknown to this test", at, schema["type"])
	}
	if !ok {
		return fmt.Errorf("%s: %v is no %v %v", at, value, schema["type"], schema["format"])
	}
	return nil
}

func TestTheSchemaCheckItself(t *testing.T) {
	t.Parallel()
	doc := object{"components": object{"schemas": object{"Job": object{
		"type": "object", "additionalProperties": false, "required": []any{"id"},
		"properties": object{
			"id": object{"type": "integer"}, "at": object{"type": "string", "format": "date-time"}, "args": object{},
			"tags": object{"type": "array", "items": object{"type": "string"}}, "share": object{"type": "number"},
			"by": object{"type": "object", "additionalProperties": object{"type": "boolean"}},
		},
	}}}}
	ref := object{"$ref": "#/components/schemas/Job"}
	require.NoError(t, validates(doc, ref, []byte(`{"id":1,"at":"2026-01-02T03:04:05.6Z","args":[{}],"tags":["a"],"share":0.5,"by":{"x":true}}`)))
	for _, text := range []string{
		`{}`, `{"id":1.5}`, `{"id":"1"}`, `{"id":1,"at":"yesterday"}`, `{"id":1,"at":5}`, `{"id":1,"tags":[1]}`, `{"id":1,"tags":null}`,
		`{"id":1,"more":1}`, `{"id":1,"share":"x"}`, `{"id":1,"by":{"x":1}}`, `[]`, `{"id":1} 2`, `{"id":9007199254740993}`,
	} {
		require.Error(t, validates(doc, ref, []byte(text)), text)
	}
	require.Error(t, validates(doc, object{"enum": []any{1}}, []byte(`1`)), "a keyword that the test does not know")
}
