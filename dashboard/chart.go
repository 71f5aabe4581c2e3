package dashboard

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// chart is a picture of numbers over columns of the same width, such as the
// minutes of an hour. It is SVG with the numbers below it as a table.
//
//  1. The scale ends at a round number; it is logarithmic for times that are
//     very different.
//  2. Each column with numbers has a title that says them, for the pointer.
//  3. Bars of one column stand on each other in the order of the series;
//     lines have a gap where there is no number.
//  4. Texts and strokes keep their size however wide the picture is.
type chart struct {
	Name    string // what it shows, for those who do not see it
	Unit    unit
	Columns []string // what each is, in full
	Ticks   []tick   // below the columns
	Series  []series
	Marks   []mark
	Empty   string // is said instead if there is no number but 0
}

// series are numbers of a chart, one for each column; NaN is none.
type series struct {
	Name   string
	Class  string // of base.css; one that begins with c-line is drawn as a line
	Values []float64
}

// tick is a text below a chart; At is 0 at its start and 1 at its end.
type tick struct {
	At   float64
	Text string
}

// mark is a moment that explains a change, such as a process that started.
type mark struct {
	At    float64 // as in tick
	Crash bool
	Text  string
}

// unit is what the numbers of a chart are.
type unit int

const (
	inCounts unit = iota
	inSeconds
)

func (u unit) text(v float64) string {
	if u == inSeconds {
		return span(v)
	}
	return count(int64(math.Round(v)))
}

// span writes seconds as people say them.
func span(s float64) string { return duration(time.Duration(s * float64(time.Second))) }

// The sizes of a plot in pixels; charts.css knows them too.
const (
	plotTop    = 14 // room for the signs of marks
	plotHeight = 150
	plotBottom = plotTop + plotHeight
	plotFull   = plotBottom + 22
)

// Draw is the chart with its legend and its table.
func (c *chart) Draw() template.HTML {
	lowest, highest := c.reach()
	if highest == 0 {
		return emptyChart(c.Empty)
	}
	w := &markup{}
	a := axisOf(lowest, highest, c.Unit)
	w.put(`<figure class="chart">`)
	c.drawLegend(w, a.log)
	w.openPlot(c.Name, a.labels)
	for i := range c.Columns {
		c.drawColumn(w, i, a)
	}
	w.put(`<svg width="100%%" height="%d" viewBox="0 0 1000 %d" preserveAspectRatio="none" aria-hidden="true">`, plotFull, plotFull)
	for _, s := range c.Series {
		if s.isLine() {
			w.put(`<path class="%s" d="%s"/>`, s.Class, linePath(s.Values, a))
		}
	}
	w.put(`</svg>`)
	for _, m := range c.Marks {
		m.draw(w)
	}
	w.closePlot(c.Ticks)
	c.drawTable(w)
	w.put(`</figure>`)
	return w.html()
}

func (s *series) isLine() bool { return strings.HasPrefix(s.Class, "c-line") }

// reach is the lowest point above 0 and the highest bar or point.
func (c *chart) reach() (lowest, top float64) {
	lowest = math.Inf(1)
	for i := range c.Columns {
		stacked := 0.0
		for _, s := range c.Series {
			switch v := s.Values[i]; {
			case math.IsNaN(v):
			case s.isLine():
				top = max(top, v)
				if v > 0 {
					lowest = min(lowest, v)
				}
			default:
				stacked += v
			}
		}
		top = max(top, stacked)
	}
	return lowest, top
}

func (c *chart) drawLegend(w *markup, log bool) {
	if len(c.Series) < 2 && len(c.Marks) == 0 {
		return
	}
	w.put(`<figcaption>`)
	for _, s := range c.Series {
		if s.isLine() {
			w.put(`<span><svg width="18" height="10" aria-hidden="true"><line class="%s" x1="1" x2="17" y1="5" y2="5"/></svg>%s</span>`, s.Class, s.Name)
		} else {
			w.put(`<span><svg width="10" height="10" aria-hidden="true"><rect class="%s" width="10" height="10" rx="2"/></svg>%s</span>`, s.Class, s.Name)
		}
	}
	signs := map[string]bool{}
	for _, m := range c.Marks {
		if sign, meaning := m.sign(); !signs[sign] {
			signs[sign] = true
			w.put(`<span>%s %s</span>`, sign, meaning)
		}
	}
	if log {
		w.put(`<span>logarithmic</span>`)
	}
	w.put(`</figcaption>`)
}

// drawColumn draws the bars of a column and what the pointer hits.
func (c *chart) drawColumn(w *markup, i int, a axis) {
	text := c.columnText(i)
	if text == "" {
		return
	}
	width := 100 / float64(len(c.Columns))
	left := width * float64(i)
	w.put(`<g><title>%s: %s</title><rect class="c-hit" x="%.2f%%" y="%d" width="%.2f%%" height="%d"/>`, c.Columns[i], text, left, plotTop, width, plotHeight)
	bottom := float64(plotBottom)
	for _, s := range c.Series {
		if v := s.Values[i]; !s.isLine() && v > 0 {
			height := max(a.height(v), 1) // one among thousands is still seen
			bottom -= height
			w.put(`<rect class="%s" x="%.2f%%" y="%.1f" width="%.2f%%" height="%.1f"/>`, s.Class, left+width*0.08, bottom, width*0.84, height)
		}
	}
	w.put(`</g>`)
}

// columnText says the numbers of a column; "" if there is none but 0.
func (c *chart) columnText(i int) string {
	var parts []string
	some := false
	for _, s := range c.Series {
		v := s.Values[i]
		if math.IsNaN(v) {
			continue
		}
		some = some || v != 0
		if c.Unit == inSeconds {
			parts = append(parts, s.Name+" "+c.Unit.text(v))
		} else {
			parts = append(parts, c.Unit.text(v)+" "+s.Name)
		}
	}
	if !some {
		return ""
	}
	return strings.Join(parts, ", ")
}

// linePath goes through the middles of the columns.
func linePath(values []float64, a axis) string {
	var b strings.Builder
	drawing := false
	for i, v := range values {
		if math.IsNaN(v) {
			drawing = false
			continue
		}
		x, y := (float64(i)+0.5)/float64(len(values))*1000, plotBottom-a.height(v)
		if drawing {
			fmt.Fprintf(&b, "L%.1f %.1f", x, y)
		} else {
			fmt.Fprintf(&b, "M%.1f %.1fh0", x, y) // h0: a point on its own is seen too
		}
		drawing = true
	}
	return b.String()
}

func (m *mark) sign() (sign, meaning string) {
	if m.Crash {
		return "✕", "started after a crash"
	}
	return "▲", "process started"
}

func (m *mark) draw(w *markup) {
	class := "c-mark"
	if m.Crash {
		class += " c-crash"
	}
	sign, _ := m.sign()
	x := m.At * 100
	w.put(`<g><title>%s</title><line class="%s" x1="%.2f%%" x2="%.2f%%" y1="%d" y2="%d"/><text x="%.2f%%" y="10" text-anchor="middle">%s</text></g>`,
		m.Text, class, x, x, plotTop, plotBottom, x, sign)
}

func (c *chart) drawTable(w *markup) {
	head := []string{""}
	for _, s := range c.Series {
		head = append(head, s.Name)
	}
	var rows [][]string
	for i, name := range c.Columns {
		if c.columnText(i) == "" {
			continue
		}
		row := []string{name}
		for _, s := range c.Series {
			if v := s.Values[i]; math.IsNaN(v) {
				row = append(row, "–")
			} else {
				row = append(row, c.Unit.text(v))
			}
		}
		rows = append(rows, row)
	}
	for _, m := range c.Marks {
		rows = append(rows, []string{m.Text})
	}
	w.table(c.Name, head, rows)
}

// spark is a picture as small as a word. label says what it shows.
func spark(values []float64, label string) template.HTML {
	const width, height = 120, 24
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	w := &markup{}
	w.put(`<svg class="spark" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="%s"><title>%s</title><path class="c-ready" d="`, width, height, label, label)
	each := float64(width) / float64(max(len(values), 1))
	for i, v := range values {
		if v > 0 {
			tall := max(v/top*(height-1), 1)
			w.put(`M%.1f %dv%.1fh%.1fv%.1f`, float64(i)*each, height, -tall, each, tall)
		}
	}
	w.put(`"/><path class="c-grid" d="M0 %dH%d"/></svg>`, height, width)
	return w.html()
}

func emptyChart(text string) template.HTML {
	w := &markup{}
	w.put(`<p class="empty">%s</p>`, text)
	return w.html()
}

// openPlot writes the labels of the scale, from the top, and a line for each.
func (w *markup) openPlot(name string, labels []string) {
	w.put(`<div class="c-box"><div class="c-y" aria-hidden="true">`)
	for _, label := range labels {
		w.put(`<span>%s</span>`, label)
	}
	w.put(`</div><svg class="c-plot" width="100%%" height="%d" role="img" aria-label="%s">`, plotFull, name)
	for i := range labels {
		y := plotTop + float64(plotHeight*i)/float64(max(len(labels)-1, 1))
		w.put(`<line class="c-grid" x1="0" x2="100%%" y1="%.1f" y2="%.1f"/>`, y, y)
	}
}

func (w *markup) closePlot(ticks []tick) {
	for _, t := range ticks {
		anchor := "middle"
		switch {
		case t.At <= 0:
			anchor = "start"
		case t.At >= 1:
			anchor = "end"
		}
		w.put(`<text x="%.2f%%" y="%d" text-anchor="%s">%s</text>`, t.At*100, plotBottom+17, anchor, t.Text)
	}
	w.put(`</svg></div>`)
}

// table has the numbers of a picture for those who want to read them.
func (w *markup) table(name string, head []string, rows [][]string) {
	w.put(`<details><summary class="small faint">Numbers</summary><div class="table c-table"><table><caption>%s. What is not listed is 0.</caption><thead><tr>`, name)
	for i, text := range head {
		if i == 0 {
			w.put(`<td></td>`)
		} else {
			w.put(`<th scope="col" class="num">%s</th>`, text)
		}
	}
	w.put(`</tr></thead><tbody>`)
	for _, row := range rows {
		if len(row) == 1 {
			w.put(`<tr><th scope="row" colspan="%d">%s</th></tr>`, len(head), row[0])
			continue
		}
		w.put(`<tr><th scope="row">%s</th>`, row[0])
		for _, text := range row[1:] {
			w.put(`<td class="num">%s</td>`, text)
		}
		w.put(`</tr>`)
	}
	w.put(`</tbody></table></div></details>`)
}
