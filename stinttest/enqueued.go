package stinttest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stintq/stint"
)

// RequireEnqueued returns the one job of T's kind that waits and that all
// matches accept, with its args. A job waits while it is Ready, Scheduled or
// Retrying. The test fails if there is no such job or more than one, and the
// message lists the jobs that there are.
func RequireEnqueued[T stint.Args](t testing.TB, q *stint.Queue, match ...func(T, stint.Info) bool) (T, stint.Info) {
	t.Helper()
	all, infos := waiting(t, q, match)
	if len(all) != 1 {
		t.Fatalf("stinttest: %d jobs of kind %q wait%s, not one; %s", len(all), kindOf[T](), andMatch(match), describe(q))
	}
	return all[0], infos[0]
}

// RequireNotEnqueued fails the test if a job of T's kind waits that all
// matches accept.
func RequireNotEnqueued[T stint.Args](t testing.TB, q *stint.Queue, match ...func(T, stint.Info) bool) {
	t.Helper()
	if all, _ := waiting(t, q, match); len(all) != 0 {
		t.Fatalf("stinttest: %d jobs of kind %q wait%s, and none should; %s", len(all), kindOf[T](), andMatch(match), describe(q))
	}
}

// Enqueued returns the args of all jobs of T's kind that wait and that all
// matches accept, in the order in which they were enqueued; nil for none.
func Enqueued[T stint.Args](t testing.TB, q *stint.Queue, match ...func(T, stint.Info) bool) []T {
	t.Helper()
	all, _ := waiting(t, q, match)
	return all
}

func kindOf[T stint.Args]() string {
	var zero T
	return zero.Kind()
}

func andMatch[T stint.Args](match []func(T, stint.Info) bool) string {
	if len(match) == 0 {
		return ""
	}
	return " and match"
}

// waiting reads the jobs of T's kind that wait and match.
func waiting[T stint.Args](t testing.TB, q *stint.Queue, match []func(T, stint.Info) bool) (all []T, infos []stint.Info) {
	t.Helper()
jobs:
	for info, err := range q.Jobs(stint.Filter{Kind: kindOf[T](), OldestFirst: true}) {
		if err != nil {
			t.Fatalf("stinttest: the jobs cannot be listed: %v", err)
		}
		if !waits(info.State) {
			continue
		}
		var args T
		if err := json.Unmarshal(info.Args, &args); err != nil {
			t.Fatalf("stinttest: the args of job %d, %s, do not fit %T: %v", info.ID, info.Args, args, err)
		}
		for _, accept := range match {
			if !accept(args, info) {
				continue jobs
			}
		}
		all, infos = append(all, args), append(infos, info)
	}
	return all, infos
}

func waits(s stint.State) bool {
	return s == stint.Ready || s == stint.Scheduled || s == stint.Retrying
}

const maxDescribed = 20 // jobs of a failure message

// describe lists the jobs of a queue for a failure message, a line to a job.
func describe(q *stint.Queue) string {
	paused := map[string]bool{}
	for _, queue := range q.Queues() {
		paused[queue.Name] = queue.Paused
	}
	var b strings.Builder
	n := 0
	for info, err := range q.Jobs(stint.Filter{OldestFirst: true}) {
		if err != nil {
			return fmt.Sprintf("its jobs cannot be listed: %v", err)
		}
		if n++; n <= maxDescribed {
			fmt.Fprintf(&b, "\n\tjob %d  %s %.200s  %s%s", info.ID, info.Kind, info.Args, info.State, circumstances(&info, paused[info.Queue]))
		}
	}
	if n > maxDescribed {
		fmt.Fprintf(&b, "\n\tand %d more", n-maxDescribed)
	}
	list := "the queue has these jobs:" + b.String()
	if n == 0 {
		list = "the queue has no jobs"
	}
	if gone := int(q.Stats().Processed) - q.Counts().Completed; gone > 0 {
		list += fmt.Sprintf("\n\t%d have completed and are not kept, see Config.KeepCompleted", gone)
	}
	return list
}

// circumstances are what a reader wants to know besides the state.
func circumstances(info *stint.Info, paused bool) string {
	var s string
	if info.State == stint.Scheduled || info.State == stint.Retrying {
		if d := time.Until(info.RunAt).Round(time.Millisecond); d > 0 {
			s += fmt.Sprintf(" for another %v", d)
		} else {
			s += ", and due"
		}
	}
	if info.Queue != "default" {
		s += fmt.Sprintf(", on queue %q", info.Queue)
	}
	switch {
	case info.Parked:
		s += ", but its kind has no handler"
	case paused && info.State == stint.Ready:
		s += ", but its queue is paused"
	}
	if info.Reason != "" {
		s += ": " + info.Reason
	} else if last := len(info.Attempts) - 1; last >= 0 {
		s += fmt.Sprintf(", attempt %d: %s", info.Attempts[last].Number, info.Attempts[last].Error)
	}
	return s
}
