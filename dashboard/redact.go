package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// Nothing that a job's owner has written is shown, searched or sent before it
// has gone this way:
//
//  1. The values of keys that look like secrets are masked, in JSON at any
//     depth (mask_json.go), in texts where they have the shape of one (mask.go).
//  2. Config.Redact gets what is left.
//  3. If either fails, nothing of it is shown.

// redacted stands where something was.
const redacted = "[redacted]"

// redactFaults lets the log tell once that Config.Redact does not work.
type redactFaults struct{ once sync.Once }

// job is a job as it may be seen. whole has what only a page of its own shows:
// attempts, logs, result and so on; without it, Error is what a list shows.
func (d *dashboard) job(info stint.Info, whole bool) wire.Job {
	j := wire.Job{
		ID: uint64(info.ID), Kind: info.Kind, Queue: info.Queue, State: info.State.String(), Priority: info.Priority,
		Args: d.json(info.Kind, info.Args), Tags: info.Tags,
		EnqueuedAt: info.EnqueuedAt, RunAt: info.RunAt, ExpiresAt: info.ExpiresAt, StartedAt: info.StartedAt, FinishedAt: info.FinishedAt,
		Attempt: info.Failures + 1, MaxAttempts: info.MaxAttempts, Failures: info.Failures, Snoozes: info.Snoozes, Crashes: info.Crashes,
		Schedule: info.Schedule, ScheduledFor: info.ScheduledFor, Missed: info.Missed, BatchID: uint64(info.BatchID),
		Error: firstLine(d.text(info.Kind, lastError(&info))), Parked: info.Parked, Stuck: info.Stuck,
	}
	if info.State == stint.Dead {
		j.Attempt = max(info.Failures, 1)
	}
	if p := info.Progress; p != (stint.Progress{}) {
		j.Progress = &wire.Progress{Done: p.Done, Total: p.Total, Text: d.text(info.Kind, p.Text)}
	}
	if whole {
		d.fill(&j, &info)
	}
	return j
}

// brief is a job without args, for lists that do not show them: to mask those
// would take long for many.
func (d *dashboard) brief(info stint.Info) wire.Job {
	info.Args = nil
	return d.job(info, false)
}

// fill adds what only a single job shows.
func (d *dashboard) fill(j *wire.Job, info *stint.Info) {
	if j.MaxAttempts == 0 {
		j.MaxAttempts = d.maxAttempts()[j.Kind]
	}
	j.Result, j.Checkpoint = d.json(info.Kind, info.Result), d.json(info.Kind, info.Checkpoint)
	j.Log, j.Reason = d.text(info.Kind, info.Log), d.text(info.Kind, info.Reason)
	for _, step := range info.Steps {
		j.Steps = append(j.Steps, d.text(info.Kind, step))
	}
	for _, a := range info.Attempts {
		j.Attempts = append(j.Attempts, wire.Attempt{
			Number: a.Number, StartedAt: a.StartedAt, Seconds: a.Duration.Seconds(),
			Error: d.text(info.Kind, a.Error), Stack: d.text(info.Kind, a.Stack), Log: d.text(info.Kind, a.Log),
		})
	}
	reasons, err := d.q.Why(info.ID)
	if err != nil && !errors.Is(err, stint.ErrNotFound) { // else it has gone meanwhile
		reasons = []stint.Reason{{Cause: "unknown", Text: "nobody knows: " + strings.TrimPrefix(err.Error(), "stint: ")}}
	}
	for _, why := range reasons {
		j.Why = append(j.Why, wire.Reason{
			Cause: why.Cause, Text: d.text(info.Kind, why.Text), Until: why.Until, Ahead: why.Ahead, About: why.About.Seconds(),
		})
	}
}

// maxAttempts are those of the kinds that have a handler here, for jobs that
// have none of their own.
func (d *dashboard) maxAttempts() map[string]int {
	byKind := map[string]int{}
	for _, kind := range d.q.Kinds() {
		byKind[kind.Name] = kind.Policy.MaxAttempts
	}
	return byKind
}

// lastError is what went wrong last with a job that has not completed.
func lastError(info *stint.Info) string {
	switch n := len(info.Attempts); {
	case info.State == stint.Completed:
		return ""
	case info.Reason != "" || n == 0:
		return info.Reason
	default:
		return info.Attempts[n-1].Error
	}
}

const maxLine = 300 // bytes of an error in a list

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return short(line, maxLine)
}

// short cuts a text to n bytes, but no character in two.
func short(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return cutText(text, n) + "…"
}

// maxShown bounds the bytes of a JSON value that is shown, searched or sent: to
// mask more of them takes long, and a list has many. Exports have all of it.
const maxShown = 1 << 20

// json is args, a result or a checkpoint as it may be seen; nil if there is
// nothing, or all is hidden.
func (d *dashboard) json(kind string, raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || d.cfg.HideArgs {
		return nil
	}
	if len(raw) > maxShown {
		return json.RawMessage(`"[` + byteSize(len(raw)) + `, too large to be shown]"`)
	}
	masked, err := maskJSON(raw)
	if err != nil {
		return json.RawMessage(`"` + redacted + `"`)
	}
	if d.cfg.Redact == nil {
		return masked
	}
	out, err := d.redact(kind, masked)
	if err != nil {
		return json.RawMessage(`"` + redacted + `"`)
	}
	return out
}

// text is an error, a log or another text as it may be seen.
func (d *dashboard) text(kind, text string) string {
	if text == "" {
		return ""
	}
	text = maskText(text)
	if d.cfg.Redact == nil {
		return text
	}
	out, err := d.redact(kind, appendText(nil, text))
	var shown string // empty for null
	if err != nil || json.Unmarshal(out, &shown) != nil {
		return redacted
	}
	return shown
}

var errRedact = errors.New("dashboard: Config.Redact does not return JSON")

// redact calls Config.Redact.
func (d *dashboard) redact(kind string, data []byte) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("dashboard: Config.Redact panicked: %v", p)
		}
		if err != nil {
			d.redactFaults.once.Do(func() {
				d.log.Error("stint dashboard: Config.Redact fails, so what it gets is hidden", "kind", kind, "error", err)
			})
		}
	}()
	if out = d.cfg.Redact(kind, data); !json.Valid(out) {
		return nil, errRedact
	}
	return bytes.Clone(out), nil // it may return its own memory
}
