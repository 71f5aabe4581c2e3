package dashboard

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/stintq/stint"
)

// stretch is a range of time that pages offer.
type stretch struct {
	Key     string // in the address
	Name    string
	Step    time.Duration // of Queue.History
	Join    int           // Steps that are one column
	Columns int
	Parts   int    // of the time axis
	Per     string // what a column is
}

var (
	lastHour    = stretch{"1h", "1 hour", time.Minute, 1, 60, 4, "minute"}
	last8Hours  = stretch{"8h", "8 hours", 10 * time.Minute, 1, 48, 4, "10 minutes"}
	last24Hours = stretch{"24h", "24 hours", 10 * time.Minute, 1, 144, 4, "10 minutes"}
	last72Hours = stretch{"72h", "72 hours", 10 * time.Minute, 3, 144, 3, "30 minutes"}
	last30Days  = stretch{"30d", "30 days", 24 * time.Hour, 1, 30, 3, "day"}
	last90Days  = stretch{"90d", "90 days", 24 * time.Hour, 1, 90, 3, "day"}

	overviewStretches = []stretch{lastHour, last24Hours, last90Days}
	kindStretches     = []stretch{lastHour, last8Hours, last24Hours, last72Hours, last30Days}
)

func (s stretch) column() time.Duration { return s.Step * time.Duration(s.Join) }

// stretchOf is the one that the address names, or the first.
func stretchOf(r *request, list []stretch) stretch {
	key := r.URL.Query().Get("range")
	if i := slices.IndexFunc(list, func(s stretch) bool { return s.Key == key }); i >= 0 {
		return list[i]
	}
	return list[0]
}

// choice is a link to this page with another range or order.
type choice struct {
	Name, Link string
	Current    bool
}

func stretchChoices(r *request, list []stretch, current stretch) []choice {
	choices := make([]choice, len(list))
	for i, s := range list {
		choices[i] = choice{s.Name, withQuery(r, "range", s.Key), s.Key == current.Key}
	}
	return choices
}

// withQuery is the address of this page with another value, from its first row
// on; without one if the value is empty.
func withQuery(r *request, name, value string) string {
	query := r.URL.Query()
	query.Del("note")
	query.Del("from")
	query.Set(name, value)
	if value == "" {
		query.Del(name)
	}
	return "?" + query.Encode()
}

// past is the history of a stretch with all columns, also those in which
// nothing happened.
type past struct {
	stretch
	now     time.Time
	from    time.Time      // the start of the first column
	Periods []stint.Period // one for each column
}

func (d *dashboard) past(s stretch, now time.Time) (*past, error) {
	t := &past{stretch: s, now: now, Periods: make([]stint.Period, s.Columns)}
	t.from = now.UTC().Truncate(s.column()).Add(-time.Duration(s.Columns-1) * s.column())
	for i := range t.Periods {
		t.Periods[i].Start, t.Periods[i].Length = t.from.Add(time.Duration(i)*s.column()), s.column()
	}
	history, err := d.q.History(s.Step, t.from)
	switch {
	case errors.Is(err, stint.ErrCorrupt):
		d.log.Warn("stint dashboard: a part of the history cannot be read", "error", err)
	case err != nil:
		return nil, err
	}
	for i := range history {
		if at := history[i].Start.Sub(t.from); at >= 0 && at < time.Duration(s.Columns)*s.column() {
			addPeriod(&t.Periods[at/s.column()], &history[i])
		}
	}
	return t, nil
}

// total is all of it together.
func (t *past) total() stint.Period {
	all := stint.Period{Start: t.from, Length: time.Duration(t.Columns) * t.column()}
	for i := range t.Periods {
		addPeriod(&all, &t.Periods[i])
	}
	return all
}

func addPeriod(sum, p *stint.Period) {
	addTally(&sum.Tally, &p.Tally)
	for name, one := range p.Kinds {
		if sum.Kinds == nil {
			sum.Kinds = map[string]stint.Tally{}
		}
		all := sum.Kinds[name]
		addTally(&all, &one)
		sum.Kinds[name] = all
	}
	for name, one := range p.Queues {
		if sum.Queues == nil {
			sum.Queues = map[string]stint.Flow{}
		}
		all := sum.Queues[name]
		addHistogram(&all.Wait, one.Wait)
		all.Ready = one.Ready
		sum.Queues[name] = all
	}
}

func addTally(sum, t *stint.Tally) {
	sum.Enqueued += t.Enqueued
	sum.Completed += t.Completed
	sum.Failed += t.Failed
	sum.Died += t.Died
	addHistogram(&sum.Run, t.Run)
}

func addHistogram(sum *stint.Histogram, h stint.Histogram) {
	if len(h.Counts) == 0 {
		return
	}
	if len(sum.Counts) == 0 {
		sum.Bounds, sum.Counts = h.Bounds, make([]uint64, len(h.Counts))
	}
	for i, n := range h.Counts {
		sum.Counts[i] += n
	}
	sum.Sum += h.Sum
}

// values is a number of each column.
func (t *past) values(of func(p *stint.Period) float64) []float64 {
	list := make([]float64, len(t.Periods))
	for i := range t.Periods {
		list[i] = of(&t.Periods[i])
	}
	return list
}

// quantiles is a quantile of each column, NaN where there is no value.
func (t *past) quantiles(p float64, of func(p *stint.Period) stint.Histogram) []float64 {
	return t.values(func(one *stint.Period) float64 {
		h := of(one)
		if h.Count() == 0 {
			return math.NaN()
		}
		return h.Quantile(p)
	})
}

// names are the columns in full.
func (t *past) names() []string {
	layout := "2 Jan 15:04 UTC"
	switch {
	case t.Step >= 24*time.Hour:
		layout = "Mon 2 Jan 2006"
	case t.Columns <= 60 && t.Step == time.Minute:
		layout = "15:04 UTC"
	}
	list := make([]string, len(t.Periods))
	for i := range t.Periods {
		list[i] = t.Periods[i].Start.Format(layout)
	}
	return list
}

// ticks say how long ago it was: that is right in every time zone.
func (t *past) ticks() []tick {
	whole := time.Duration(t.Columns) * t.column()
	var list []tick
	for i := range t.Parts {
		ago := whole * time.Duration(t.Parts-i) / time.Duration(t.Parts)
		text := duration(ago)
		if ago == 24*time.Hour && t.Step < ago {
			text = "24 h"
		}
		if i == 0 {
			text += " ago" // the others have no room for it on a phone
		}
		list = append(list, tick{float64(i) / float64(t.Parts), text})
	}
	return append(list, tick{1, "now"})
}

// marks are the starts of processes.
func (t *past) marks(starts []stint.Start) []mark {
	var list []mark
	end := t.from.Add(time.Duration(t.Columns) * t.column())
	for i, s := range starts {
		if s.At.Before(t.from) || !s.At.Before(end) {
			continue
		}
		m := mark{At: float64(s.At.Sub(t.from)) / float64(end.Sub(t.from))}
		m.Text = exactTime(s.At) + ": process " + strconv.Itoa(s.PID) + " started"
		if i+1 < len(starts) && starts[i+1].Crashed {
			m.Crash = true
			m.Text += " after a crash"
			if s.Recovered > 0 {
				m.Text += ", " + plural(s.Recovered, "job", "jobs") + " recovered"
			}
		}
		if s.Version != "" {
			m.Text += ", version " + s.Version
		}
		list = append(list, m)
	}
	slices.Reverse(list) // the newest came first
	return list
}

func exactTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// chart is an empty chart over this time.
func (t *past) chart(name string, u unit, series ...series) *chart {
	return &chart{Name: name, Unit: u, Columns: t.names(), Ticks: t.ticks(), Series: series, Empty: noNumbers}
}

const noNumbers = "First numbers in about a minute."
