package dashboard

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stintq/stint"
)

var kindRoutes = []route{
	{method: "GET", path: "/kinds", role: View, show: (*dashboard).kinds},
	{method: "GET", path: "/kind", role: View, show: (*dashboard).kind},
}

// kindRow is a kind and what it did in a stretch of time.
type kindRow struct {
	stint.KindInfo
	Tally     stint.Tally
	Runs      uint64
	Sum, Mean time.Duration
	P50, P95  time.Duration
	Slowest   string // the class of the longest run
	Share     int    // of the time of all kinds, in thousandths
	Untold    bool   // more kinds had jobs than History tells apart
}

type kindsPage struct {
	Choices []choice
	Orders  []choice
	Kinds   *sheet
	Some    bool // any run
}

// order is a way to sort kinds.
type order struct {
	name    string
	compare func(a, b *kindRow) int
}

var orders = []order{
	{"time", func(a, b *kindRow) int { return cmp.Compare(b.Sum, a.Sum) }},
	{"runs", func(a, b *kindRow) int { return cmp.Compare(b.Runs, a.Runs) }},
	{"failed", func(a, b *kindRow) int { return cmp.Compare(b.Tally.Failed, a.Tally.Failed) }},
	{"p95", func(a, b *kindRow) int { return cmp.Compare(b.P95, a.P95) }},
	{"ready", func(a, b *kindRow) int { return cmp.Compare(b.Ready, a.Ready) }},
	{"name", func(a, b *kindRow) int { return strings.Compare(a.Name, b.Name) }},
}

func (d *dashboard) kinds(w http.ResponseWriter, r *request) error {
	current := stretchOf(r, kindStretches)
	t, err := d.past(current, time.Now())
	if err != nil {
		return err
	}
	total := t.total()
	var list []*kindRow
	for _, info := range d.q.Kinds() {
		list = append(list, newKindRow(info, total.Kinds[info.Name], total.Run.Sum))
	}
	data := &kindsPage{Choices: stretchChoices(r, kindStretches, current), Some: total.Run.Count() > 0}
	by := max(slices.IndexFunc(orders, func(o order) bool { return o.name == r.URL.Query().Get("sort") }), 0)
	for i, o := range orders {
		data.Orders = append(data.Orders, choice{o.name, withQuery(r, "sort", o.name), i == by})
	}
	slices.SortStableFunc(list, orders[by].compare) // they come by name
	rows, turns := turn(r, list)
	data.Kinds = &sheet{
		Caption: "In the last " + strings.TrimPrefix(current.Name, "1 ") + "; the times are those of handlers",
		Head:    columns("Kind", "#Runs", "#Failed", "Total time", "#Mean", "#p50", "#p95", "#Longest", "#Ready now"), Turns: turns,
	}
	for _, k := range rows {
		missing := ""
		if !k.Handled {
			missing = "no handler in this process"
		}
		data.Kinds.add(k.cells(link(pageOf("kind", k.Name), k.Name).badge("", missing), count(k.Ready))...)
	}
	atEnd := len(rows) == 0 || rows[len(rows)-1] == list[len(list)-1]
	if rest, ok := total.Kinds[""]; ok && atEnd { // kinds that History does not tell apart
		data.Kinds.add(newKindRow(stint.KindInfo{}, rest, total.Run.Sum).cells(words("other kinds"), "")...)
	}
	return d.render(w, r, "kinds", page{Title: "Metrics", Section: "Metrics", Refresh: true}, data)
}

// cells are its row of the table.
func (k *kindRow) cells(name cell, ready string) []cell {
	some := k.Runs > 0
	total := words("–")
	if some {
		total = bar(k.Share, 1000, duration(k.Sum))
	}
	return []cell{
		name, words(count(k.Runs)), words(percent(k.Tally.Failed, k.Runs)), total, orNone(some, duration(k.Mean)),
		orNone(some, duration(k.P50)), orNone(some, duration(k.P95)), orNone(some, k.Slowest), words(ready),
	}
}

func newKindRow(info stint.KindInfo, t stint.Tally, sumOfAll float64) *kindRow {
	row := &kindRow{KindInfo: info, Tally: t, Runs: t.Run.Count()}
	if row.Runs == 0 {
		return row
	}
	row.Sum = time.Duration(t.Run.Sum * float64(time.Second))
	row.Mean = row.Sum / time.Duration(row.Runs)
	row.P50, row.P95 = quantile(t.Run, 0.5), quantile(t.Run, 0.95)
	_, high := classes([]stint.Histogram{t.Run})
	if row.Slowest = "over " + span(t.Run.Bounds[len(t.Run.Bounds)-1]); high <= len(t.Run.Bounds) {
		row.Slowest = "≤ " + span(t.Run.Bounds[high-1])
	}
	if sumOfAll > 0 {
		row.Share = int(1000 * t.Run.Sum / sumOfAll)
	}
	return row
}

type kindPage struct {
	kindRow
	Tiles   []tile
	Jobs    []tile
	Choices []choice
	Charts  []drawing
	Failing *sheet
	AllSeen bool
}

func (d *dashboard) kind(w http.ResponseWriter, r *request) error {
	name := r.URL.Query().Get("name")
	list := d.q.Kinds()
	i := slices.IndexFunc(list, func(k stint.KindInfo) bool { return k.Name == name })
	if i < 0 {
		return missing("there is no kind %q", name)
	}
	current := stretchOf(r, kindStretches)
	t, err := d.past(current, time.Now())
	if err != nil {
		return err
	}
	total := t.total()
	data := &kindPage{
		kindRow: *newKindRow(list[i], total.Kinds[name], total.Run.Sum), Jobs: jobLinks(list[i].Counts, filterTerm("kind", name)),
		Choices: stretchChoices(r, kindStretches, current), Charts: kindCharts(t, name),
	}
	data.Tiles = kindTiles(&data.kindRow, current.Name)
	_, told := total.Kinds[name]
	_, rest := total.Kinds[""]
	data.Untold = !told && rest
	if data.Failing, data.AllSeen, err = d.failing(name); err != nil {
		return err
	}
	return d.render(w, r, "kind", page{Title: "Kind " + name, Section: "Metrics", Refresh: true}, data)
}

func kindTiles(k *kindRow, stretch string) []tile {
	list := []tile{{count(k.Runs), "runs in " + stretch, ""}}
	if k.Runs == 0 {
		return list
	}
	return append(list,
		tile{percent(k.Tally.Failed, k.Runs), "failed", ""}, tile{duration(k.Mean), "mean", ""}, tile{duration(k.P50), "p50", ""},
		tile{duration(k.P95), "p95", ""}, tile{k.Slowest, "longest", ""}, tile{roughly(k.Sum), "total time", ""})
}

func kindCharts(t *past, name string) []drawing {
	counted := func(of func(t stint.Tally) uint64) []float64 {
		return t.values(func(p *stint.Period) float64 { return float64(of(p.Kinds[name])) })
	}
	total := t.total()
	done := t.chart("Completed and failed per "+t.Per, inCounts,
		series{"completed", "c-completed", counted(func(t stint.Tally) uint64 { return t.Completed })},
		series{"failed", "c-failed", counted(func(t stint.Tally) uint64 { return t.Failed })})
	spread := bars("Runs by length", "ran", total.Kinds[name].Run, noNumbers)
	over := &heat{Name: "Run times over time", Columns: t.names(), Ticks: t.ticks(), Empty: noNumbers}
	for i := range t.Periods {
		over.Values = append(over.Values, t.Periods[i].Kinds[name].Run)
	}
	return []drawing{{done.Name, done.Draw()}, {spread.Name, spread.Draw()}, {over.Name, over.Draw()}}
}
