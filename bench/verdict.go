package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// promise is one line of the verdict: a measured number and its bound.
type promise struct {
	text    string
	bound   float64
	atMost  bool // else at least
	unit    string
	measure func(results) (float64, bool)
}

const (
	mib      = 1 << 20
	anyPeer  = `.`
	asynqFor = `(?i)asynq.*always`
	riverFor = `(?i)river.*postgres`
)

func promises() []promise {
	idle := func(r results) (float64, bool) { return r.ratio(latencyIdle.name, stintName, floorSync, mP50) }
	return []promise{
		{"EnqueueAll of 1000, of raw puts in groups of 1000", 0.5, false, "", ofFloor(enqueueMany.name, floorPuts)},
		{"drain with 100 workers, of raw put + delete in groups of 1000", 0.45, false, "", ofFloor(drainName(100), floorPutDelete(slice))},
		{"enqueue and work at once, of the bare group-commit loop that only stores", 0.6, false, "", ofFloor(enqueueAndWork.name, floorGroup)},
		{"enqueue from 64 goroutines, by asynq on Redis with appendfsync always", 2, false, "x", ofPeers(enqueueParallel.name, asynqFor)},
		{"enqueue from 64 goroutines, by River on PostgreSQL", 20, false, "x", ofPeers(enqueueParallel.name, riverFor)},
		{"drain with 100 workers, by the best of all peers", 10, false, "x", ofPeers(drainName(100), anyPeer)},
		{"enqueue and work at once, by the best of all peers", 8, false, "x", ofPeers(enqueueAndWork.name, anyPeer)},
		{"Enqueue to start on an idle queue, p50, in fdatasyncs of 4 KiB", 8, true, "x", idle},
		{"Enqueue to start at half load, p99", 0.020, true, "s", of(latencyLoaded.name, mP99)},
		{"backlog of 1,000,000: drain, of an empty file's", 0.85, false, "", of(backlogMillion.name, mDrainRatio)},
		{"backlog of 1,000,000: enqueue, of an empty file's", 0.85, false, "", of(backlogMillion.name, mEnqueueRatio)},
		{"backlog of 1,000,000: heap in use", 48 * mib, true, "B", of(backlogMillion.name, mHeap)},
		{"backlog of 1,000,000: Open after a clean stop", 0.100, true, "s", of(backlogMillion.name, mOpen)},
		{"backlog of 10,000,000: heap in use", 48 * mib, true, "B", of(backlogHuge.name, mHeap)},
		{"backlog of 10,000,000: Open after a clean stop", 0.500, true, "s", of(backlogHuge.name, mOpen)},
		{"allocations per job, enqueue and work at once", 12, true, "", of(enqueueAndWork.name, mAllocs)},
		{"written per job, drain with 100 workers, in records", 3, true, "x", writtenInRecords},
		{"5 ms per sync: enqueue and work at once, of 64 jobs per bare bbolt commit", 0.7, false, "", slowShare},
	}
}

func of(workload, metric string) func(results) (float64, bool) {
	return func(r results) (float64, bool) { return r.median(workload, stintName, metric) }
}

func ofFloor(workload, floor string) func(results) (float64, bool) {
	return func(r results) (float64, bool) { return r.ratio(workload, stintName, floor, mRate) }
}

// ofPeers compares with the best of those whose name matches. The naive queue
// and the floors are no peers.
func ofPeers(workload, name string) func(results) (float64, bool) {
	return func(r results) (ratio float64, found bool) {
		for _, m := range r.systemsOf(workload) {
			if m.Floor || m.System == stintName || m.System == naiveName {
				continue
			}
			if ok, _ := regexp.MatchString(name, m.System); !ok {
				continue
			}
			if v, ok := r.ratio(workload, stintName, m.System, mRate); ok && (!found || v < ratio) {
				ratio, found = v, true
			}
		}
		return ratio, found
	}
}

func writtenInRecords(r results) (float64, bool) {
	v, ok := r.median(drainName(100), stintName, mWritten)
	return v / recordSize, ok
}

func slowShare(r results) (float64, bool) {
	v, ok := r.ratio(slowName(slowDelays[1]), stintName, floorPut, mRate)
	return v / producers, ok
}

// printVerdict writes the promises and what was measured of them.
func printVerdict(w io.Writer, r results) error {
	rows := [][]string{{"promise", "", "promised", "measured"}}
	for _, p := range promises() {
		v, ok := p.measure(r)
		word := "ok"
		switch {
		case !ok:
			word = "not measured"
		case p.atMost && v > p.bound, !p.atMost && v < p.bound:
			word = "missed"
		}
		sign := "≥ "
		if p.atMost {
			sign = "≤ "
		}
		measured := "-"
		if ok {
			measured = p.show(v)
		}
		rows = append(rows, []string{p.text, word, sign + p.show(p.bound), measured})
	}
	_, err := io.WriteString(w, "\nWhat is promised\n"+align(rows))
	return err
}

func (p promise) show(v float64) string {
	switch p.unit {
	case "s":
		return duration(v)
	case "B":
		return byteSize(v)
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".") + p.unit
}
