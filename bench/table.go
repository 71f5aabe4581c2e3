package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// printTables writes a block for each workload that was measured.
func printTables(w io.Writer, list []workload, r results) error {
	var out strings.Builder
	for _, wl := range list {
		if rows := tableOf(wl, r); len(rows) > 1 {
			fmt.Fprintf(&out, "\n%s  (%s)\n%s", wl.title, wl.name, align(rows))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// tableOf are the cells of a workload's table, the first row its head.
func tableOf(w workload, r results) [][]string {
	subjects := r.systemsOf(w.name)
	cols := slices.DeleteFunc(slices.Clone(w.columns), func(c column) bool {
		return !slices.ContainsFunc(subjects, func(m measurement) bool { _, ok := r.median(w.name, m.System, c.metric); return ok })
	})
	hasFloor := slices.ContainsFunc(subjects, func(m measurement) bool { return m.System == w.floor })
	hasStint := len(subjects) > 1 && w.floor != "" && slices.ContainsFunc(subjects, func(m measurement) bool { return m.System == stintName })
	head := []string{"system", "durability"}
	for i, c := range cols {
		head = append(head, c.title)
		if i == 0 && hasFloor {
			head = append(head, floorHead(c.unit))
		}
		if i == 0 && hasStint {
			head = append(head, "stint is")
		}
	}
	rows := [][]string{head}
	for _, m := range subjects {
		row := []string{m.System, m.Durability}
		for i, c := range cols {
			v, ok := r.median(w.name, m.System, c.metric)
			row = append(row, cell(c.unit, v, ok))
			if i == 0 && hasFloor {
				row = append(row, floorCell(r, w, m.System, c))
			}
			if i == 0 && hasStint {
				row = append(row, stintCell(r, w, m.System, c))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func floorHead(u unit) string {
	if u == seconds {
		return "floors"
	}
	return "of floor"
}

// floorCell is a speed as a share of the floor's, or a time in floors.
func floorCell(r results, w workload, system string, c column) string {
	v, ok := r.ratio(w.name, system, w.floor, c.metric)
	switch {
	case !ok:
		return "-"
	case c.unit == seconds:
		return times(v)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// stintCell is how many times as fast Stint is.
func stintCell(r results, w workload, system string, c column) string {
	a, b := stintName, system
	if c.unit == seconds {
		a, b = system, stintName
	}
	v, ok := r.ratio(w.name, a, b, c.metric)
	if !ok || system == stintName || system == w.floor {
		return "-"
	}
	return times(v)
}

func times(v float64) string {
	if v >= 10 {
		return grouped(v) + "x"
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + "x"
}

func cell(u unit, v float64, ok bool) string {
	switch {
	case !ok:
		return "-"
	case u == perSecond:
		return grouped(v)
	case u == seconds:
		return duration(v)
	case u == bytesOf:
		return byteSize(v)
	case u == share:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v == math.Trunc(v) || v >= 1000:
		return grouped(v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// grouped is a whole number with a comma at each thousand.
func grouped(v float64) string {
	s := strconv.FormatFloat(math.Round(math.Abs(v)), 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if v <= -0.5 {
		s = "-" + s
	}
	return s
}

// duration has three digits.
func duration(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", s*1e6)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", s*1e3)
	}
	return fmt.Sprintf("%.3g s", s)
}

func byteSize(v float64) string {
	switch {
	case v < 10_000:
		return grouped(v) + " B"
	case v < 1<<20:
		return fmt.Sprintf("%.1f KiB", v/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", v/(1<<20))
}

// align pads the cells: the first two columns are text, the others numbers.
func align(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		line := " "
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i < 2 {
				line += " " + c + pad + " "
			} else {
				line += " " + pad + c + " "
			}
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return out.String()
}
