package dashboard

import (
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/stintq/stint"
)

// sheet is a table as data; the template of that name draws it. On a phone its
// rows become cards.
type sheet struct {
	Caption string
	Hidden  bool // the caption is only for those who do not see the table
	Head    []column
	Rows    [][]cell // the first cell of a row says what the row is about
	Turns   []choice // lead to the rows before and after these
}

// column is one of a sheet; the one of buttons has no name.
type column struct {
	Name   string
	Number bool
}

// columns are those with these names; one that begins with # is of numbers.
func columns(names ...string) []column {
	list := make([]column, len(names))
	for i, name := range names {
		list[i].Name, list[i].Number = strings.CutPrefix(name, "#")
	}
	return list
}

func (s *sheet) add(row ...cell) { s.Rows = append(s.Rows, row) }

// cell is what stands side by side in a field of a table. It holds texts as
// they are: the template escapes them.
type cell []part

// part is one thing in a cell, of which one is set: a text, or something else.
type part struct {
	Text    string
	Page    string // that Text leads to, from the root
	Class   string // of Text or At
	Code    bool   // Text is what a program has written
	Line    bool   // it begins a line
	At      time.Time
	Meter   *meter
	Picture template.HTML // of chart.go
	Runs    []stint.ScheduleRun
	Form    *form
}

// meter is a part of a whole, which is 0 while nobody knows it.
type meter struct {
	Part, Whole int
	Text        string // what it says
	Progress    bool   // of something that will be whole
}

func (c cell) and(parts ...part) cell { return append(c, parts...) }

// badge adds a badge to a cell, if it has a text. mood is good, bad or "".
func (c cell) badge(mood, text string) cell {
	if text == "" {
		return c
	}
	return c.and(part{Text: text, Class: strings.TrimSpace("badge " + mood)})
}

func words(text string) cell { return cell{{Text: text}} }

// orNone is a dash where there is nothing to say.
func orNone(some bool, text string) cell {
	if !some {
		return words("–")
	}
	return words(text)
}

func link(page, text string) cell { return cell{{Text: text, Page: page}} }

// jobLink leads to the page of a job.
func jobLink(id uint64, text string) cell {
	return link("jobs/"+strconv.FormatUint(id, 10), text)
}

func timeCell(at time.Time) cell {
	if at.IsZero() {
		return words("–")
	}
	return cell{{At: at, Class: "nowrap"}}
}

func stateCell(state string) cell { return cell{{Text: state, Class: "state " + state}} }

// bar is a part of a whole, and what it says.
func bar(share, whole int, text string) cell {
	return cell{{Meter: &meter{Part: share, Whole: max(whole, 1), Text: text}}}
}

// remark is a text of less weight.
func remark(text string) part { return part{Text: text, Class: "small faint"} }

// under is a remark on a line of its own.
func under(text string) part { return part{Text: text, Class: "small faint", Line: true} }

// form sends an action. The template of that name draws it for those who may
// send it.
type form struct {
	Role    string // that is needed
	Action  string // from the root
	Hidden  []hidden
	Reason  string // what a field for the reason is called; "" for none
	Expect  int    // what people have to type; 0 for nothing
	Buttons []button
}

// hidden is a value that a form sends without showing it.
type hidden struct{ Name, Value string }

// button sends a form.
type button struct {
	Text  string
	Label string // Text with what it is about, if it stands beside others
	Verb  string // is sent as verb
	Class string
	Ask   string // is asked first
	Role  string // that it needs beyond that of the form
}

// in puts a form into a cell; nil is none.
func (f *form) in() cell { return cell{{Form: f}} }

const sheetRows = 200 // of a page

// turn is the part of a list that the address asks for, with links to what is
// before and after it.
func turn[T any](r *request, list []T) (rows []T, turns []choice) {
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil || from < 0 || from >= len(list) {
		from = 0
	}
	if from > 0 {
		turns = append(turns, choice{Name: "First rows", Link: withQuery(r, "from", "")})
	}
	end := min(from+sheetRows, len(list))
	if end < len(list) {
		turns = append(turns, choice{Name: count(len(list)-end) + " more", Link: withQuery(r, "from", strconv.Itoa(end))})
	}
	return list[from:end], turns
}
