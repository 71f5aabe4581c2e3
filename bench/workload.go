package main

import (
	"context"
	"slices"
	"time"
)

// workload is one question, asked to several subjects.
type workload struct {
	name    string // for -run
	title   string // for people
	columns []column
	floor   string // the subject that others are compared with; empty for none

	subjects func(*bench) []subject

	// cost is about how long one subject takes in one round, beside the
	// budget; it is for the progress line alone.
	cost time.Duration
	peer bool // asked to peers as well
	once bool // one round is enough
	slow bool // runs in child processes, see slow.go
}

// column is a metric that the table shows. Ratios are made of the first one.
type column struct {
	metric string
	title  string
	unit   unit
}

type unit int

const (
	perSecond unit = iota // more is better
	seconds               // less is better
	bytesOf
	plain
	share
)

// subject is a system or a floor in a workload.
type subject struct {
	name       string
	durability string
	floor      bool
	measure    func(ctx context.Context, dir string) (metrics, error)
}

var (
	rateColumns = []column{
		{mRate, "jobs/s", perSecond}, {mAllocs, "allocs/job", plain},
		{mWritten, "written/job", bytesOf}, {mFsyncs, "fsyncs/job", plain},
	}
	latencyColumns = []column{{mP50, "p50", seconds}, {mP99, "p99", seconds}, {mJobs, "jobs", plain}}
)

// workloads are all questions, in the order in which they are asked.
func workloads() []workload {
	list := []workload{
		{name: "floors", title: "What the disk and bbolt alone do", columns: append(slices.Clone(rateColumns), latencyColumns[:2]...), subjects: floorsAlone},
		enqueueOne, enqueueParallel, enqueueMany,
		drainWith(10), drainWith(100), drainWith(1000),
		enqueueAndWork, latencyIdle, latencyLoaded,
		burst, dueAtOnce, manyKinds, manySchedules, uniqueJobs, commitCounters, largePayloads, backlogMillion, backlogHuge,
	}
	for _, d := range slowDelays {
		list = append(list, slowDisk(d))
	}
	return append(list, slowHere)
}

func floorsAlone(b *bench) []subject {
	return []subject{
		syncFloor(b), putFloor(b, 1), putFloor(b, slice), groupFloor(b),
		putDeleteFloor(b, 1), putDeleteFloor(b, 16), putDeleteFloor(b, 256), putDeleteFloor(b, slice),
	}
}

// each makes a subject of every system.
func each(b *bench, measure func(context.Context, System, string) (metrics, error)) []subject {
	var list []subject
	for _, s := range b.systems {
		list = append(list, subject{name: s.Name(), durability: s.Durability(), measure: func(ctx context.Context, dir string) (metrics, error) {
			return measure(ctx, s, dir)
		}})
	}
	return list
}

// stintOnly makes a workload's subject of Stint alone.
func stintOnly(measure func(context.Context, *bench, string) (metrics, error)) func(*bench) []subject {
	return func(b *bench) []subject {
		return []subject{{name: stintName, durability: stintSystem{}.Durability(), measure: func(ctx context.Context, dir string) (metrics, error) {
			return measure(ctx, b, dir)
		}}}
	}
}
