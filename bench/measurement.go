package main

import (
	"runtime"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// metrics are what one measurement found, by the names below or those of a
// workload of its own. Times are in seconds, sizes in bytes.
type metrics map[string]float64

const (
	mJobs    = "jobs"
	mRate    = "jobs_per_s"
	mP50     = "p50_s"
	mP99     = "p99_s"
	mAllocs  = "allocs_per_job"
	mWritten = "written_per_job"
	mFsyncs  = "fsyncs_per_job"
)

// measurement is one subject in one round of one workload. It is also a line
// of -json.
type measurement struct {
	Workload   string  `json:"workload"`
	System     string  `json:"system"`
	Durability string  `json:"durability"`
	Floor      bool    `json:"floor,omitempty"`
	Round      int     `json:"round"`
	Delay      string  `json:"delay_per_sync,omitempty"`
	Metrics    metrics `json:"metrics"`
}

// meter counts what happens between its start and stop.
type meter struct {
	mem     runtime.MemStats
	db      *bolt.DB // nil where there is none
	pages   int64
	commits int
}

// startMeter begins to count. of is an instance; where it has a bbolt
// database, what is written there counts too.
func startMeter(of any) *meter {
	m := &meter{}
	if on, ok := of.(interface{ database() *bolt.DB }); ok {
		m.db = on.database()
		m.pages, m.commits = writtenBy(m.db)
	}
	runtime.ReadMemStats(&m.mem)
	return m
}

// stop is what was found for n jobs that took so long.
func (m *meter) stop(n int, took time.Duration) metrics {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	jobs := float64(max(n, 1))
	out := metrics{mJobs: float64(n), mRate: float64(n) / took.Seconds(), mAllocs: float64(mem.Mallocs-m.mem.Mallocs) / jobs}
	if m.db != nil {
		pages, commits := writtenBy(m.db)
		commits -= m.commits
		// Each commit writes a meta page of 4096 bytes beside what it has
		// allocated, and syncs once for each of the two.
		out[mWritten] = float64(pages-m.pages+int64(commits)*4096) / jobs
		out[mFsyncs] = 2 * float64(commits) / jobs
	}
	return out
}

func writtenBy(db *bolt.DB) (bytes int64, commits int) {
	_ = db.View(func(tx *bolt.Tx) error { commits = tx.ID(); return nil })
	stats := db.Stats()
	return stats.TxStats.GetPageAlloc(), commits
}

// percentile of a sorted slice by the nearest rank; 0 of an empty one.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

// latencies sorts a list and puts its percentiles into metrics.
func latencies(list []time.Duration) metrics {
	slices.Sort(list)
	return metrics{mJobs: float64(len(list)), mP50: percentile(list, 50).Seconds(), mP99: percentile(list, 99).Seconds()}
}

// median is the mean of the two in the middle for an even number.
func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	if mid := len(s) / 2; len(s)%2 == 1 {
		return s[mid]
	} else {
		return (s[mid-1] + s[mid]) / 2
	}
}

// results are all measurements of a run.
type results []measurement

// series are the values of one metric by round; nil if it was not measured.
func (r results) series(workload, system, metric string) map[int]float64 {
	var out map[int]float64
	for _, m := range r {
		v, ok := m.Metrics[metric]
		if !ok || m.Workload != workload || m.System != system {
			continue
		}
		if out == nil {
			out = map[int]float64{}
		}
		out[m.Round] = v
	}
	return out
}

// median is that of all rounds.
func (r results) median(workload, system, metric string) (float64, bool) {
	s := r.series(workload, system, metric)
	var list []float64
	for _, v := range s {
		list = append(list, v)
	}
	return median(list), len(list) > 0
}

// ratio is a's value by b's, round by round, as what disturbs the machine
// then disturbs both, and of these the median.
func (r results) ratio(workload, a, b, metric string) (float64, bool) {
	of, by := r.series(workload, a, metric), r.series(workload, b, metric)
	var list []float64
	for round, v := range of {
		if w, ok := by[round]; ok && w > 0 {
			list = append(list, v/w)
		}
	}
	return median(list), len(list) > 0
}

// systemsOf are the systems of a workload, in the order of the measurements.
func (r results) systemsOf(workload string) []measurement {
	var out []measurement
	for _, m := range r {
		known := slices.ContainsFunc(out, func(o measurement) bool { return o.System == m.System })
		if m.Workload == workload && !known {
			out = append(out, m)
		}
	}
	return out
}
