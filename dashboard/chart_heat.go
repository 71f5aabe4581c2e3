package dashboard

import (
	"html/template"
	"math"

	"github.com/stintq/stint"
)

// bars is the picture of a histogram of seconds: a bar for each class.
func bars(name, what string, h stint.Histogram, empty string) *chart {
	low, high := classes([]stint.Histogram{h})
	c := &chart{Name: name, Empty: empty}
	s := series{Name: what, Class: "c-ready"}
	n := float64(high - low)
	for i := low; i < high; i++ {
		c.Columns = append(c.Columns, className(h.Bounds, i))
		s.Values = append(s.Values, float64(h.Counts[i]))
		if every := (high-low)/6 + 1; i < len(h.Bounds) && (i-low)%every == every-1 && i < high-1 {
			c.Ticks = append(c.Ticks, tick{float64(i-low+1) / n, span(h.Bounds[i])})
		}
	}
	c.Series = []series{s}
	return c
}

// heat is a picture of histograms side by side: columns of time, rows of
// classes, darker where more is.
type heat struct {
	Name    string
	Columns []string
	Ticks   []tick
	Values  []stint.Histogram // one for each column
	Empty   string
}

// Draw is the picture with its table.
func (h *heat) Draw() template.HTML {
	low, high := classes(h.Values)
	if low == high {
		return emptyChart(h.Empty)
	}
	var bounds []float64
	var most uint64
	for _, v := range h.Values {
		for _, n := range v.Counts {
			most = max(most, n)
		}
		if len(v.Counts) > 0 {
			bounds = v.Bounds
		}
	}
	const labelled = 5 // parts of the scale at most
	every := (high - low + labelled - 1) / labelled
	rows := (high - low + every - 1) / every * every
	labels := make([]string, rows/every+1)
	for i := range labels {
		labels[i] = lowerBound(bounds, low+rows-i*every)
	}
	w := &markup{}
	w.put(`<figure class="chart">`)
	w.openPlot(h.Name, labels)
	var table [][]string
	width, tall := 100/float64(len(h.Columns)), plotHeight/float64(rows)
	for i, v := range h.Values {
		for k, n := range v.Counts {
			if n == 0 {
				continue
			}
			where := h.Columns[i] + ", " + className(bounds, k)
			w.put(`<rect class="c-heat" x="%.2f%%" y="%.1f" width="%.2f%%" height="%.1f" fill-opacity="%.2f"><title>%s: %s</title></rect>`,
				width*float64(i), plotBottom-tall*float64(k-low+1), width*0.94, tall*0.94, 0.15+0.85*math.Sqrt(float64(n)/float64(most)), where, plural(int(n), "run", "runs"))
			table = append(table, []string{where, count(n)})
		}
	}
	w.closePlot(h.Ticks)
	w.table(h.Name, []string{"", "runs"}, table)
	w.put(`</figure>`)
	return w.html()
}

// classes is the range of classes that have values; both 0 if none has.
func classes(list []stint.Histogram) (low, high int) {
	low = math.MaxInt
	for _, h := range list {
		for i, n := range h.Counts {
			if n > 0 {
				low, high = min(low, i), max(high, i+1)
			}
		}
	}
	return min(low, high), high
}

// className is a class of seconds in words.
func className(bounds []float64, i int) string {
	switch {
	case i >= len(bounds):
		return "over " + span(bounds[len(bounds)-1])
	case i == 0:
		return "up to " + span(bounds[0])
	}
	return span(bounds[i-1]) + " to " + span(bounds[i])
}

// lowerBound is where a class begins.
func lowerBound(bounds []float64, i int) string {
	if i == 0 {
		return "0"
	}
	return span(bounds[min(i, len(bounds))-1])
}
