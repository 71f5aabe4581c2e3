package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stintq/stint"
)

// importLine is a line that stands for a job: one of Queue.Export, which has
// "line": "job", or one that somebody wrote.
type importLine struct {
	Line        string          `json:"line"`
	Kind        string          `json:"kind"`
	Args        json.RawMessage `json:"args"`
	Queue       string          `json:"queue"`
	Priority    int             `json:"priority"`
	Tags        []string        `json:"tags"`
	RunAt       time.Time       `json:"run_at"`
	MaxAttempts int             `json:"max_attempts"`

	// Of exports only.
	State    string    `json:"state"`
	Expires  time.Time `json:"expires"`
	Failures int       `json:"failures"`
	Version  int       `json:"version"`
}

// importVersion is that of the exports whose lines are known.
const importVersion = 1

// errBadLine is what is wrong with a line itself.
var errBadLine = errors.New("the line makes no job")

func badLine(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBadLine, fmt.Sprintf(format, args...))
}

// ownFields are those that a line without "line" may have.
var ownFields = []string{"kind", "args", "queue", "priority", "tags", "run_at", "max_attempts"}

// exportLines are the others of an export. They make no job.
var exportLines = []string{"queue", "schedule", "batch", "item", "lane", "quarantined", "place", "action", "end"}

// parseImportLine reads a line; nil without an error for one that is no
// unfinished job.
func parseImportLine(text []byte) (*importLine, error) {
	line := &importLine{}
	if err := json.Unmarshal(text, line); err != nil {
		return nil, badLine("%v", err)
	}
	switch {
	case line.Line == "export" && line.Version > importVersion:
		return nil, badLine("the export is of version %d, which a newer version of stint has written; its lines may be misunderstood", line.Version)
	case line.Line == "export" || slices.Contains(exportLines, line.Line):
		return nil, nil
	case line.Line == "job":
		return line.exported()
	case line.Line != "":
		return nil, badLine(`field "line": %.40q is no kind of line`, line.Line)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, badLine("%v", err)
	}
	for name := range fields {
		if !slices.Contains(ownFields, name) {
			return nil, badLine("the field %.40q has no meaning; fields are %q", name, ownFields)
		}
	}
	return line, nil
}

// exported is the job of an export.
func (line *importLine) exported() (*importLine, error) {
	switch line.State {
	case "ready", "scheduled", "retrying", "running":
	case "completed", "dead":
		return nil, nil
	default:
		return nil, badLine(`field "state": %.40q is no state`, line.State)
	}
	if bytes.HasPrefix(line.Args, []byte(`{"base64":`)) { // bytes that would not have come through as JSON
		var wrapped struct {
			Base64 []byte `json:"base64"`
		}
		if err := json.Unmarshal(line.Args, &wrapped); err != nil {
			return nil, badLine(`field "args": %v`, err)
		}
		line.Args = wrapped.Base64
	}
	return line, nil
}

// store makes a job of the line.
func (line *importLine) store(ctx context.Context, run *importing) error {
	if line.Kind == "" {
		return badLine(`the field "kind" is missing`)
	}
	var opts []stint.Option
	if line.Queue != "" {
		opts = append(opts, stint.OnQueue(line.Queue))
	}
	if line.Priority != 0 {
		opts = append(opts, stint.Priority(line.Priority))
	}
	if line.MaxAttempts != 0 {
		opts = append(opts, stint.MaxAttempts(line.MaxAttempts))
	}
	if len(line.Tags) > 0 {
		opts = append(opts, stint.Tags(line.Tags...))
	}
	if line.RunAt.After(run.now) {
		opts = append(opts, stint.At(line.RunAt))
	}
	if !line.Expires.IsZero() && line.Failures == 0 {
		left := line.Expires.Sub(run.now)
		if left <= 0 {
			return badLine("the job has expired at %s", line.Expires.UTC().Format(time.RFC3339))
		}
		opts = append(opts, stint.ExpiresIn(left))
	}
	_, err := run.q.EnqueueJSON(ctx, line.Kind, line.Args, opts...)
	return err
}

// completeness notices an export that was cut short.
type completeness struct{ began, ended bool }

func (c *completeness) see(text []byte) {
	c.began = c.began || bytes.HasPrefix(text, []byte(`{"line":"export"`))
	c.ended = c.ended || bytes.HasPrefix(text, []byte(`{"line":"end"`))
}

func (c *completeness) missing() bool { return c.began && !c.ended }
