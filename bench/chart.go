package main

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// charted are the workloads of the chart: those with peers, in jobs/s.
func charted() []workload {
	return []workload{enqueueOne, enqueueParallel, enqueueMany, drainWith(100), enqueueAndWork}
}

// writeChart draws bars on a logarithmic scale into a file.
func writeChart(path string, r results) error {
	text := chart(r)
	if text == "" {
		return errors.New("-svg: nothing was measured that the chart shows; it needs one of:" + names(charted()))
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("-svg: %w; give a file in a directory that can be written", err)
	}
	return nil
}

// The chart takes its colours from the reader's choice of a light or a dark
// page. It has no script and no font of its own.
const chartStyle = `text{font:12px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.n{fill:#59636e}` +
	`.g{stroke:#d1d9e0}.p{fill:#8b949e}.s{fill:#0969da}.f{fill:none;stroke:#8b949e}` +
	`@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.n{fill:#9198a1}.g{stroke:#3d444d}.p{fill:#656c76}.s{fill:#4493f8}.f{stroke:#656c76}}`

const (
	chartWidth = 760
	chartLeft  = 190 // where bars begin
	chartRight = 660 // where the longest ends
	rowHeight  = 18
)

type bar struct {
	name, class string
	rate        float64
}

// chart is the SVG, or empty when nothing is there to be drawn.
func chart(r results) string {
	groups := map[string][]bar{}
	low, high, rows := math.Inf(1), 0.0, 0
	for _, w := range charted() {
		list := barsOf(w, r)
		for _, b := range list {
			low, high = min(low, b.rate), max(high, b.rate)
		}
		if len(list) > 0 {
			rows += len(list) + 2
		}
		groups[w.name] = list
	}
	if rows == 0 {
		return ""
	}
	from, to := math.Floor(math.Log10(low)-0.01), math.Ceil(math.Log10(high))
	x := func(v float64) float64 {
		return chartLeft + (math.Log10(v)-from)/(to-from)*(chartRight-chartLeft)
	}
	height := rows*rowHeight + 30
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img"><title>Jobs per second, logarithmic scale</title><style>%s</style>`,
		chartWidth, height, chartWidth, height, chartStyle)
	for d := from; d <= to; d++ {
		at := x(math.Pow(10, d))
		fmt.Fprintf(&out, `<path class="g" d="M%.0f 0V%d"/><text class="n" x="%.0f" y="%d" text-anchor="middle">%s</text>`,
			at, height-20, at, height-6, grouped(math.Pow(10, d)))
	}
	y := 0
	for _, w := range charted() {
		if len(groups[w.name]) == 0 {
			continue
		}
		y += rowHeight
		fmt.Fprintf(&out, `<text class="t" x="4" y="%d">%s, jobs/s</text>`, y-2, escaped(w.title))
		for _, b := range groups[w.name] {
			fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/><text class="n" x="%.1f" y="%d">%s</text>`,
				chartLeft-6, y+13, escaped(b.name), b.class, chartLeft, y+3, x(b.rate)-chartLeft, rowHeight-5, x(b.rate)+5, y+13, grouped(b.rate))
			y += rowHeight
		}
		y += rowHeight
	}
	out.WriteString("</svg>\n")
	return out.String()
}

// barsOf are a workload's bars, the quickest first.
func barsOf(w workload, r results) []bar {
	var list []bar
	for _, m := range r.systemsOf(w.name) {
		v, ok := r.median(w.name, m.System, mRate)
		if !ok || v <= 0 || m.Floor && m.System != w.floor {
			continue
		}
		class := "p"
		switch {
		case m.Floor:
			class = "f"
		case m.System == stintName:
			class = "s"
		}
		list = append(list, bar{m.System, class, v})
	}
	slices.SortStableFunc(list, func(a, b bar) int { return cmp.Compare(b.rate, a.rate) })
	return list
}

func escaped(s string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(s)) // a Builder takes all
	return out.String()
}
