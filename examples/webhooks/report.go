package main

import (
	"strconv"

	"github.com/stintq/stint"
)

// report is what the page and /mailings show.
type report struct {
	Totals   Counters  `json:"totals"`
	Mailings []Mailing `json:"mailings"`
	Queue    jobs      `json:"queue"`
}

// jobs are the events by how far they have come. Processed has the repeated
// ones too, which were looked at but not counted.
type jobs struct {
	Waiting   uint64 `json:"waiting"`
	Running   uint64 `json:"running"`
	Processed uint64 `json:"processed"`
	Dead      uint64 `json:"dead"`
}

// idle: every event that was accepted has been looked at.
func (j jobs) idle() bool { return j.Waiting+j.Running == 0 }

// newReport reads the queue before the counters: so the counters of an idle
// queue are complete.
func newReport(q *stint.Queue) (report, error) {
	stats := q.Stats()
	r := report{Queue: jobs{
		Waiting:   uint64(stats.Ready + stats.Scheduled + stats.Retrying),
		Running:   uint64(stats.Running),
		Processed: stats.Processed,
		Dead:      uint64(stats.Dead),
	}}
	var err error
	r.Mailings, err = readMailings(q)
	for _, m := range r.Mailings {
		r.Totals.Opens += m.Opens
		r.Totals.Clicks += m.Clicks
		r.Totals.Other += m.Other
	}
	return r, err
}

// thousands writes a number as people read it: 20,000.
func thousands[T int | uint64](n T) string {
	digits := strconv.FormatUint(uint64(n), 10)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
