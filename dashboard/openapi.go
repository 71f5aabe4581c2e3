package dashboard

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stintq/stint/internal/wire"
)

// The description of the API, as OpenAPI 3.1.
//
//  1. operations name each address with its parameters and the type of its
//     answer. A GET refuses parameters that are not there.
//  2. The schemas are those of the Go types that are sent.
//  3. A test compares operations with the routes, and what is documented with
//     what is answered.
var openAPIRoutes = []route{
	{method: "GET", path: "/api/v1/openapi.json", role: View, show: (*dashboard).openAPI},
}

// operation is one address of the API and what it is for.
type operation struct {
	method, path string // below /api/v1, but for probes and metrics
	takes        string // names of parameters; one that is needed ends in "!"
	answer       any    // a value of its type, or the type of its content
	summary      string
}

// media is the type of an answer that is not JSON.
type media string

var operations = []operation{
	{"GET", "/stats", "", wire.Stats{}, "Summary, with one sentence on how it goes"},
	{"GET", "/queues", "", []wire.Queue{}, "All queues"},
	{"GET", "/queues/one", "queue!", wire.Queue{}, "One queue"},
	{"GET", "/kinds", "", []wire.Kind{}, "All kinds of jobs"},
	{"GET", "/jobs", "q state after limit", wire.Jobs{}, "Jobs that match a filter line, newest first"},
	{"GET", "/jobs/{id}", "", wire.Job{}, "One job"},
	{"GET", "/jobs/{id}/stack", "", wire.Stack{}, "What a running job is doing"},
	{"GET", "/count", "q state", wire.Count{}, "Number of jobs that match a filter line"},
	{"GET", "/schedules", "", []wire.Schedule{}, "All schedules"},
	{"GET", "/schedules/one", "schedule!", wire.Schedule{}, "One schedule, with its next times"},
	{"GET", "/schedules/next", "spec! zone n", wire.Next{}, "When a spec would run"},
	{"GET", "/batches", "below limit", []wire.Batch{}, "Batches with ids below one, newest first"},
	{"GET", "/batches/{id}", "", wire.Batch{}, "One batch"},
	{"GET", "/history", "step since", []wire.Period{}, "What was done, in periods of 1m, 10m or 24h"},
	{"GET", "/starts", "", []wire.Start{}, "Runs of processes on the file, newest first"},
	{"GET", "/actions", "limit", []wire.Action{}, "What people did, newest first"},
	{"GET", "/tasks", "", []wire.Task{}, "Long actions, newest first"},
	{"GET", "/tasks/{id}", "", wire.Task{}, "One long action"},
	{"GET", "/events", "types", media("application/x-ndjson"), "Stream of Event lines as jobs move; empty lines keep it open, Dropped tells of events that did not fit"},
	{"GET", "/export", "", media("application/x-ndjson"), "All jobs as JSON lines, with their real args"},
	{"GET", "/backup", "", media("application/octet-stream"), "Copy of the file"},
	{"GET", "/openapi.json", "", media("application/json"), "This description"},

	{"POST", "/jobs/{id}/retry", "", wire.Done{}, "Make a job ready now"},
	{"POST", "/jobs/{id}/cancel", "reason", wire.Done{}, "Cancel a job, also while it runs"},
	{"POST", "/jobs/{id}/kill", "reason", wire.Done{}, "Make a job dead"},
	{"POST", "/jobs/{id}/move", "queue!", wire.Done{}, "Put a job into another queue"},
	{"POST", "/jobs/{id}/delete", "", wire.Done{}, "Delete a job"},
	{"POST", "/bulk", "verb! ids scope q state reason queue expect", wire.Task{}, "Do something with many jobs: retry, cancel, kill, move, delete"},
	{"POST", "/tasks/{id}/stop", "", wire.Task{}, "Stop a long action"},
	{"POST", "/enqueue", "kind! args queue priority in at tags max_attempts", wire.Made{}, "Enqueue a job"},
	{"POST", "/queues/pause", "queue! reason", wire.Done{}, "Pause a queue"},
	{"POST", "/queues/resume", "queue!", wire.Done{}, "Resume a queue"},
	{"POST", "/queues/workers", "queue n!", wire.Done{}, "Set the workers of a queue, or of all without one"},
	{"POST", "/queues/purge", "queue! expect", wire.Task{}, "Delete the ready jobs of a queue; above 1000 of them, expect has to tell their number"},
	{"POST", "/schedules/run", "schedule!", wire.Made{}, "Run a schedule now"},
	{"POST", "/schedules/pause", "schedule! reason", wire.Done{}, "Pause a schedule"},
	{"POST", "/schedules/resume", "schedule!", wire.Done{}, "Resume a schedule"},
	{"POST", "/schedules/backfill", "schedule! from! to!", wire.Runs{}, "Run a schedule for a time that has passed"},
	{"POST", "/schedules/delete", "schedule!", wire.Done{}, "Forget a schedule"},
	{"POST", "/batches/{id}/cancel", "reason", wire.Done{}, "Cancel what is unfinished of a batch"},
	{"POST", "/system/compact", "", wire.Task{}, "Make the file smaller"},
	{"POST", "/system/check", "", wire.Task{}, "Look for damage"},
	{"POST", "/system/repair", "", wire.Task{}, "Repair what check finds"},
	{"POST", "/import", "", wire.Imported{}, "Store the unfinished jobs of JSON lines as new jobs"},
}

// operationOf is what the API says of a route.
func operationOf(rt route) (operation, bool) {
	path, ok := strings.CutPrefix(rt.path, apiPrefix)
	i := slices.IndexFunc(operations, func(op operation) bool { return op.method == rt.method && op.path == path })
	if !ok || i < 0 {
		return operation{}, false
	}
	return operations[i], true
}

type parameter struct {
	name   string
	needed bool
}

func (op operation) parameters() (list []parameter) {
	for name := range strings.FieldsSeq(op.takes) {
		short, needed := strings.CutSuffix(name, "!")
		list = append(list, parameter{short, needed})
	}
	return list
}

func (d *dashboard) openAPI(w http.ResponseWriter, r *request) error {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(openAPIText()) // an error means that the reader has gone
	return nil
}

type object = map[string]any

var openAPIText = sync.OnceValue(func() []byte {
	text, err := json.Marshal(openAPIDocument())
	if err != nil {
		panic(err) // it is made of maps, lists and texts
	}
	return text
})

func openAPIDocument() object {
	schemas, paths := schemas{}, object{}
	for _, op := range operations {
		if paths[op.path] == nil {
			paths[op.path] = object{}
		}
		paths[op.path].(object)[strings.ToLower(op.method)] = op.document(schemas)
	}
	schemas.of(reflect.TypeFor[wire.Event]())
	schemas.of(reflect.TypeFor[wire.Dropped]())
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "stint", "version": "1", "description": "Times are RFC 3339, durations seconds. A POST takes a form or a JSON object."},
		"servers": []any{object{"url": "."}}, // beside this document
		"paths":   paths,
		"components": object{
			"schemas": schemas,
			"responses": object{"Error": object{
				"description": "What was refused, and why", "content": content("application/json", schemas.of(reflect.TypeFor[wire.Error]())),
			}},
		},
	}
}

func content(mediaType string, schema any) object {
	return object{mediaType: object{"schema": schema}}
}

func (op operation) document(s schemas) object {
	answer := object{"description": "Done"}
	if media, ok := op.answer.(media); ok {
		answer["content"] = object{string(media): object{}}
	} else {
		answer["content"] = content("application/json", s.of(reflect.TypeOf(op.answer)))
	}
	doc := object{
		"summary":   op.summary,
		"responses": object{"200": answer, "default": object{"$ref": "#/components/responses/Error"}},
	}
	var parameters []any
	if strings.Contains(op.path, "{id}") {
		parameters = append(parameters, object{"name": "id", "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	fields, needed := object{}, []string{}
	for _, p := range op.parameters() {
		if op.method == http.MethodGet {
			parameters = append(parameters, object{"name": p.name, "in": "query", "required": p.needed, "schema": parameterSchema(p.name)})
			continue
		}
		fields[p.name] = parameterSchema(p.name)
		if p.needed {
			needed = append(needed, p.name)
		}
	}
	if len(parameters) > 0 {
		doc["parameters"] = parameters
	}
	switch {
	case op.path == "/import":
		doc["requestBody"] = object{"required": true, "content": object{"application/x-ndjson": object{}}}
	case len(fields) > 0:
		doc["requestBody"] = object{"content": content("application/json", object{"type": "object", "properties": fields, "required": needed})}
	}
	return doc
}

func parameterSchema(name string) any {
	switch name {
	case "limit":
		return object{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit}
	case "n", "below", "priority", "max_attempts", "expect":
		return object{"type": "integer"}
	case "since":
		return object{"type": "string", "format": "date-time"}
	case "ids":
		return object{"type": "array", "items": object{"type": "integer"}}
	case "tags":
		return object{"type": "array", "items": object{"type": "string"}}
	case "step":
		return object{"enum": []string{"1m", "10m", "24h"}}
	case "args":
		return object{} // any JSON
	}
	return object{"type": "string"}
}

// schemas are the types that are sent, by name.
type schemas object

// of is the schema of a type. Structs are put aside and referred to.
func (s schemas) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if s[t.Name()] == nil {
			s[t.Name()] = object{} // it may refer to itself
			s[t.Name()] = s.ofFields(t)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	}
	return object{"type": "integer"}
}

func (s schemas) ofFields(t reflect.Type) object {
	fields, always := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" {
			continue
		}
		fields[name] = s.of(f.Type)
		if options == "" {
			always = append(always, name)
		}
	}
	return object{"type": "object", "properties": fields, "required": always, "additionalProperties": false}
}
