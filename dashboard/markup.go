package dashboard

import (
	"fmt"
	"html"
	"html/template"
	"strings"
)

// markup writes the SVG of charts, and times, and nothing else: a page has tens
// of thousands of numbers in its pictures, and html/template takes too long for
// each. All that is put into it is a number, or a text that is escaped here.
// What people and programs have written is drawn by templates; all that comes
// here of it are the versions of processes, beside their starts in a chart.
type markup struct{ b strings.Builder }

// put writes a format of this package with texts and numbers in it. A text may
// stand in an element or within the quotes of an attribute.
func (w *markup) put(format string, args ...any) {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = html.EscapeString(arg)
		case int, float64:
		default:
			panic(fmt.Sprintf("dashboard: markup of a %T", arg)) // it could be anything
		}
	}
	fmt.Fprintf(&w.b, format, args...)
}

// html may be what it says it is: put has escaped all texts.
func (w *markup) html() template.HTML { return template.HTML(w.b.String()) }
