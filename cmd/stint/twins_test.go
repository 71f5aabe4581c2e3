package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ofProcess tells about the program, which a closed file has none of.
var ofProcess = []string{
	"health", "level", "workers", "working", "parked", "stuck", "wait", "run", "opened", "opened_at", "version", "pid", "handled", "orphaned", "why",
	"max_attempts", "next", "upcoming", "wait_p50_seconds", "wait_p99_seconds", "run_p50_seconds", "run_p99_seconds", "oldest_wait_seconds",
	"file_size_bytes", "file_free_bytes", "file", "free in it",
}

// withoutProcess leaves that out of a table, or of JSON.
func withoutProcess(text string) string {
	var document any
	if json.Unmarshal([]byte(text), &document) == nil {
		return prune(document)
	}
	var kept []string
	for line := range strings.Lines(text) {
		if json.Unmarshal([]byte(line), &document) == nil {
			kept = append(kept, prune(document))
			continue
		}
		if name, _, _ := strings.Cut(line, ":"); !slices.Contains(ofProcess, name) {
			kept = append(kept, strings.Replace(line, " of 25\n", "\n", 1))
		}
	}
	return strings.Join(kept, "")
}

func prune(document any) string {
	var drop func(any)
	drop = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range ofProcess {
				delete(v, name)
			}
			for _, field := range v {
				drop(field)
			}
		case []any:
			for _, one := range v {
				drop(one)
			}
		}
	}
	drop(document)
	raw, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	return string(raw) + "\n"
}

func TestAClosedFileAndALiveOneAnswerTheSame(t *testing.T) {
	t.Parallel()
	tw := newTwins(t)
	reads := [][]string{
		{"stats"}, {"stats", "-o", "wide"},
		{"queues", "list"}, {"queues", "list", "-o", "wide"}, {"queues", "list", "-q"}, {"queues", "list", "--jsonl"},
		{"kinds"}, {"kinds", "-q"},
		{"jobs", "list"}, {"jobs", "list", "-o", "wide", "--utc"}, {"jobs", "list", "-q"}, {"jobs", "list", "--state", "dead"},
		{"jobs", "list", "--state", "ready", "--limit", "2"}, {"jobs", "list", "--kind", "mail", "--tag", "vip", "--filter", "error:busy"},
		{"jobs", "list", "--queue", "low", "--all", "-q"}, {"jobs", "list", "--filter", "args.to:ana@example.org"},
		{"jobs", "list", "--filter", "nothing:matches"}, {"jobs", "list", "--state", "lost"}, {"jobs", "list", "--kind", "none"},
		{"jobs", "show", "2"}, {"jobs", "show", "4", "--utc"}, {"jobs", "show", "999"}, {"jobs", "show", "x"}, {"jobs", "show", "1", "-q"},
		{"jobs", "show", "5", "--stack"},
		{"schedules", "list"}, {"schedules", "list", "-q"}, {"schedules", "show", "new-year"}, {"schedules", "show", "none"},
		{"batches", "list"}, {"batches", "list", "-o", "wide"}, {"batches", "list", "-q"}, {"batches", "show", "9"}, {"batches", "show", "99"},
		{"actions"},
		{"jobs", "retry", "--state", "dead", "--dry-run"}, {"jobs", "delete", "2", "--dry-run"}, {"jobs", "kill", "--kind", "mail", "--dry-run"},
		{"queues", "purge", "low", "--dry-run"}, {"batches", "cancel", "9", "--dry-run"},
	}
	for _, args := range reads {
		t.Run(strings.Join(args, " "), func(t *testing.T) { tw.both(t, args...) })
	}
	for _, args := range [][]string{
		{"stats"}, {"queues", "list"}, {"kinds"}, {"jobs", "list"}, {"jobs", "list", "--all"}, {"jobs", "show", "4"},
		{"schedules", "list"}, {"schedules", "show", "new-year"}, {"batches", "list"}, {"batches", "show", "9"}, {"actions"}, {"check"}, // the last one, as the program logs it
	} {
		for _, form := range []string{"--json", "--jsonl"} {
			t.Run(strings.Join(args, " ")+" "+form, func(t *testing.T) {
				a := tw.both(t, append(args, form)...)
				require.Equal(t, exitDone, a.code, a.err)
				requireJSON(t, form, a.out)
			})
		}
	}
}

// requireJSON wants one document, or one a line.
func requireJSON(t *testing.T, form, text string) {
	t.Helper()
	if form == "--json" {
		require.True(t, json.Valid([]byte(text)), text)
		return
	}
	for line := range strings.Lines(text) {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

func TestActionsDoTheSameToAClosedFileAndALiveOne(t *testing.T) {
	t.Parallel()
	tw := newTwins(t)
	for _, args := range [][]string{
		{"queues", "pause", "other/place:1", "--reason", "why not"}, {"queues", "pause", "low"}, {"queues", "pause", "default"},
		{"queues", "workers", "low", "x"},
		{"jobs", "retry", "2"}, {"jobs", "retry", "999"}, {"jobs", "kill", "2", "--reason", "enough", "--yes"},
		{"jobs", "cancel", "5", "--yes"}, {"jobs", "move", "6", "--to", "other/place:1"}, {"jobs", "delete", "4", "--yes"}, {"jobs", "delete", "4", "--yes"},
		{"jobs", "retry", "--state", "dead", "--kind", "mail"}, {"jobs", "delete", "3", "999", "--yes"},
		{"jobs", "move", "--queue", "low", "--to", "default"}, {"jobs", "kill", "--state", "ready", "--kind", "report", "--yes"},
		{"jobs", "cancel", "--filter", "no such job", "--yes"},
		{"enqueue", "mail", `{"to":"fay@example.org","note":"new"}`, "--queue", "low", "--tag", "new", "--priority", "1", "--max-attempts", "3"},
		{"enqueue", "mail", `{"to":"gil@example.org"}`, "--at", "2041-01-01T00:00:00Z", "-q"}, {"enqueue", "mail", `{]`}, {"enqueue", "bad kind\n", `{}`},
		{"schedules", "resume", "new-year"}, {"schedules", "pause", "new-year", "--reason", "moving"}, {"schedules", "pause", "none"},
		{"batches", "cancel", "9", "--yes"}, {"queues", "purge", "low", "--yes"},
		{"jobs", "list", "--all", "--json"}, {"queues", "list", "--json"}, {"batches", "list", "--json"}, {"actions", "--json"},
		{"compact"}, {"repair"}, {"check"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) { tw.both(t, args...) })
	}
}
