package dashboard

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

//go:embed templates/*.html
var templateFiles embed.FS

// pageSet are the parsed templates by the name of their page.
type pageSet map[string]*template.Template

// parsePages parses each page with the layout and the parts that it shares
// with others. Files that begin with an underscore are such parts.
func parsePages() pageSet {
	set := pageSet{}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for _, file := range names {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if !strings.HasPrefix(name, "_") {
			t := template.New("layout").Funcs(template.FuncMap(helpers))
			set[name] = template.Must(t.ParseFS(templateFiles, "templates/_*.html", file))
		}
	}
	return set
}

// page is what the layout needs.
type page struct {
	Title   string // of the page, its h1 as well
	Section string // the entry of the navigation it belongs to
	Refresh bool   // it changes by itself, so it is kept fresh
}

// view is what a template gets.
type view struct {
	page
	Data any

	Brand       string
	Environment string
	BackURL     string
	Base        string // leads to the root
	Pulse       string // tells the script whether the counts have changed since
	Here        string // this page from the root, with its query but the note
	Query       url.Values
	Note        string
	Access      Access
	Now         time.Time
	Version     string
	Nav         []navEntry
	Problem     string // why the queue cannot work any more
	Uptime      time.Duration
	FileSize    int64
}

// Can says whether the reader may do what needs a role.
func (v *view) Can(role string) bool { return roleNamed(role) <= v.Access.Role }

func roleNamed(name string) Role {
	for role := None; role <= Admin; role++ {
		if role.String() == name {
			return role
		}
	}
	panic("dashboard: a template asks for a role that does not exist: " + name)
}

// To is a link to a page from the root with a query of names and values;
// empty values are left out.
func (v *view) To(page string, query ...any) (string, error) {
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		if value := fmt.Sprint(query[i+1]); value != "" {
			values.Add(fmt.Sprint(query[i]), value)
		}
	}
	if len(query)%2 != 0 {
		return "", fmt.Errorf("dashboard: To %s: a name without a value", page)
	}
	link := v.Base + page
	if len(values) > 0 {
		link += "?" + values.Encode()
	}
	return link, nil
}

// Cell, Form and Sheet are what the templates of these names need.
func (v *view) Cell(c cell) map[string]any    { return map[string]any{"v": v, "cell": c} }
func (v *view) Form(f *form) map[string]any   { return map[string]any{"v": v, "form": f} }
func (v *view) Sheet(s *sheet) map[string]any { return map[string]any{"v": v, "sheet": s} }

type navEntry struct {
	Name, Page string
	Current    bool
}

var sections = []navEntry{
	{Name: "Overview", Page: ""}, {Name: "Jobs", Page: "jobs"}, {Name: "Queues", Page: "queues"},
	{Name: "Schedules", Page: "schedules"}, {Name: "Batches", Page: "batches"},
	{Name: "Metrics", Page: "kinds"}, {Name: "System", Page: "system"},
}

// render answers with a page.
func (d *dashboard) render(w http.ResponseWriter, r *request, name string, p page, data any) error {
	return d.renderStatus(w, r, http.StatusOK, name, p, data)
}

func (d *dashboard) renderStatus(w http.ResponseWriter, r *request, status int, name string, p page, data any) error {
	query := r.URL.Query()
	noteText := d.notes.find(query.Get("note"))
	query.Del("note")
	here := strings.TrimPrefix(r.URL.Path, "/")
	if len(query) > 0 {
		here += "?" + query.Encode()
	}
	stats := d.q.Stats()
	v := &view{
		page: p, Data: data,
		Brand: d.cfg.Title, Environment: d.cfg.Environment, BackURL: d.cfg.BackURL,
		Base: r.base, Pulse: r.pulse, Here: here, Query: query, Note: noteText, Access: r.access,
		Now: time.Now(), Version: version(), Nav: slices.Clone(sections),
		Uptime: time.Since(stats.OpenedAt), FileSize: stats.FileSize,
	}
	for i := range v.Nav {
		v.Nav[i].Current = v.Nav[i].Name == p.Section
	}
	if p.Section != "Overview" && p.Section != "System" { // those have their own words
		v.Problem = d.ended()
	}
	var b bytes.Buffer
	if err := d.pages[name].ExecuteTemplate(&b, "layout", v); err != nil {
		return fmt.Errorf("dashboard: page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // an error means that the reader has gone
	return nil
}
