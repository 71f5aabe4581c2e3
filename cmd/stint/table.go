package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// column is one of a table.
type column struct {
	name  string
	right bool // numbers
	wide  bool // with -o wide only
	cut   bool // gives way when the terminal is too narrow
}

// list is what a command shows of many things of one kind.
type list[T any] struct {
	columns []column
	row     func(T) []string // a cell for each of the columns
	id      func(T) string
}

// print writes things in the form that was asked for.
func (l list[T]) print(a *app, raws []json.RawMessage) error {
	if a.output == "json" && !a.ids {
		return a.printJSON(raws)
	}
	things := make([]T, len(raws))
	for i, raw := range raws {
		if err := json.Unmarshal(raw, &things[i]); err != nil {
			return fmt.Errorf("the answer cannot be read: %w", err)
		}
	}
	var b bytes.Buffer
	switch {
	case a.ids:
		for _, thing := range things {
			fmt.Fprintln(&b, cleanLine(l.id(thing)))
		}
	case a.output == "jsonl":
		for _, raw := range raws {
			writeLine(&b, raw)
		}
	case len(things) == 0:
		fmt.Fprintln(a.err, "there are none")
	default:
		rows := make([][]string, len(things))
		for i, thing := range things {
			rows[i] = l.row(thing)
		}
		a.table(&b, l.columns, rows)
	}
	_, err := a.out.Write(b.Bytes())
	return err
}

// printJSON writes one document.
func (a *app) printJSON(v any) error {
	if list, ok := v.([]json.RawMessage); ok && list == nil {
		v = []json.RawMessage{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := a.out.Write(cleanJSON(b.Bytes()))
	return err
}

// writeLine writes a JSON text as one line.
func writeLine(b *bytes.Buffer, raw json.RawMessage) {
	var line bytes.Buffer
	if json.Compact(&line, raw) != nil {
		return // it was valid when it came
	}
	b.Write(cleanJSON(line.Bytes()))
	b.WriteByte('\n')
}

// printedJSON writes one thing as JSON if it is to be, and says whether it did.
func (a *app) printedJSON(raw json.RawMessage) (bool, error) {
	switch a.output {
	case "json":
		return true, a.printJSON(raw)
	case "jsonl":
		var b bytes.Buffer
		writeLine(&b, raw)
		_, err := a.out.Write(b.Bytes())
		return true, err
	}
	return false, nil
}

// table writes rows below the names of their columns. On a terminal, columns
// that may give way are cut so that no line wraps.
func (a *app) table(w io.Writer, columns []column, rows [][]string) {
	keep := func(i int) bool { return !columns[i].wide || a.output == "wide" }
	shown := make([][]string, 0, len(rows)+1)
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.name
	}
	for _, row := range append([][]string{head}, rows...) {
		var cells []string
		for i, cell := range row {
			if keep(i) {
				cells = append(cells, cleanLine(cell))
			}
		}
		shown = append(shown, cells)
	}
	var kept []column
	for i, c := range columns {
		if keep(i) {
			kept = append(kept, c)
		}
	}
	a.fit(kept, shown)
	a.align(w, kept, shown)
}

const (
	gap      = 2  // between two columns
	leastCut = 12 // what is left of a column
)

// fit cuts the cells of columns that may be cut, the widest first.
func (a *app) fit(columns []column, rows [][]string) {
	if a.width == 0 {
		return
	}
	widths := widthsOf(columns, rows)
	over := -gap - a.width
	for _, width := range widths {
		over += width + gap
	}
	for over > 0 {
		widest, next := -1, leastCut
		for i, c := range columns {
			switch {
			case !c.cut || widths[i] <= leastCut:
			case widest < 0 || widths[i] > widths[widest]:
				widest = i
			}
		}
		if widest < 0 {
			break // it will wrap
		}
		for i, c := range columns {
			if c.cut && i != widest && widths[i] < widths[widest] {
				next = max(next, widths[i])
			}
		}
		less := min(over, max(1, widths[widest]-next))
		widths[widest] -= less
		over -= less
	}
	for _, row := range rows {
		for i := range row {
			row[i] = shorten(row[i], widths[i])
		}
	}
}

func widthsOf(columns []column, rows [][]string) []int {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// shorten cuts a text, and shows that it did.
func shorten(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

func (a *app) align(w io.Writer, columns []column, rows [][]string) {
	widths := widthsOf(columns, rows)
	var b bytes.Buffer
	tab := tabwriter.NewWriter(&b, 0, 0, gap, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if columns[i].right {
				cell = strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + cell
			}
			if i > 0 {
				fmt.Fprint(tab, "\t")
			}
			fmt.Fprint(tab, cell)
		}
		fmt.Fprintln(tab)
	}
	_ = tab.Flush() // into memory
	for i, line := range strings.SplitAfter(b.String(), "\n") {
		text := strings.TrimRight(line, " \n")
		if i == 0 {
			text = a.bold(text)
		}
		if line != "" {
			fmt.Fprintln(w, text)
		}
	}
}

// fact is a line of what is known about one thing.
type fact struct{ name, value string }

// facts writes them below each other, without those that are empty. Values of
// several lines begin on their own.
func (a *app) facts(w io.Writer, list []fact) {
	width := 0
	for _, f := range list {
		if f.value != "" && !strings.Contains(f.value, "\n") {
			width = max(width, len(f.name))
		}
	}
	for _, f := range list {
		value := cleanText(strings.TrimRight(f.value, "\n"))
		switch {
		case f.value == "":
		case strings.Contains(value, "\n"):
			fmt.Fprintf(w, "%s:\n  %s\n", a.bold(f.name), strings.ReplaceAll(strings.TrimPrefix(value, "\n"), "\n", "\n  "))
		default:
			fmt.Fprintf(w, "%s:%*s%s\n", a.bold(f.name), width-len(f.name)+gap, "", value)
		}
	}
}

// bold marks a heading where there are colors.
func (a *app) bold(s string) string {
	if !a.color || s == "" {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}
