package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/stintq/stint"
)

// failing are failures that are alike: of one kind, with errors that differ
// only in numbers, ids, names and such.
type failing struct {
	Kind        string
	Error       string // normalised
	Example     string // the newest
	Count       int
	Dead        int // of them
	First, Last time.Time
	IDs         []stint.ID
}

const (
	failingJobs   = 2000 // that are looked at
	failingRows   = 20
	failingBudget = 50 * time.Millisecond
)

// searchFailures groups the newest retrying and dead jobs, of one kind unless it is
// empty. all is false if there are more of them than were looked at.
func (d *dashboard) searchFailures(kind string) (groups []*failing, all bool, err error) {
	type key struct{ kind, text string }
	byKey := map[key]*failing{}
	all = true
	began, seen := time.Now(), 0
	// Half of the budget is for those that are still tried.
	for half, state := range []stint.State{stint.Retrying, stint.Dead} {
		for info, err := range d.q.Jobs(stint.Filter{State: state, Kind: kind}) {
			if err != nil {
				return nil, false, err
			}
			if share := half + 1; seen >= failingJobs*share/2 || time.Since(began) > failingBudget*time.Duration(share)/2 {
				all = false
				break
			}
			seen++
			example := d.failure(info)
			text := normalise(example)
			group := byKey[key{info.Kind, text}]
			if group == nil {
				group = &failing{Kind: info.Kind, Error: text, Example: example}
				byKey[key{info.Kind, text}] = group
				groups = append(groups, group)
			}
			group.add(&info)
		}
	}
	slices.SortStableFunc(groups, func(a, b *failing) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last))
	})
	return groups, all, nil
}

// failing is the table of them.
func (d *dashboard) failing(kind string) (table *sheet, all bool, err error) {
	groups, all, err := d.failures(kind)
	return failingSheet(groups[:min(len(groups), failingRows)]), all, err
}

func failingSheet(groups []*failing) *sheet {
	s := &sheet{Head: columns("Error", "#Jobs", "First", "Last", "")}
	for _, f := range groups {
		dead := ""
		if f.Dead > 0 {
			dead = count(f.Dead) + " dead"
		}
		name := link(pageOf("kind", f.Kind), f.Kind).badge("bad", dead).and(part{Text: cmp.Or(f.Error, "no error"), Code: true, Line: true})
		if f.Example != f.Error {
			name = name.and(under(f.Example))
		}
		s.add(name, words(count(f.Count)), timeCell(f.First), timeCell(f.Last), f.form().in())
	}
	return s
}

// form acts on the jobs of a group, and on no other.
func (f *failing) form() *form {
	these := " these " + count(f.Count)
	return &form{Role: "operate", Action: "bulk", Hidden: []hidden{{"ids", f.IDList()}}, Buttons: []button{
		{Text: "Retry" + these, Verb: "retry"},
		{Text: "Delete" + these, Verb: "delete", Role: "admin", Class: "danger", Ask: fmt.Sprintf("Delete %s of %s?", plural(f.Count, "job", "jobs"), f.Kind)},
	}}
}

// IDList are the ids of a group for a form.
func (f *failing) IDList() string {
	var b []byte
	for i, id := range f.IDs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(id), 10)
	}
	return string(b)
}

func (f *failing) add(info *stint.Info) {
	f.Count++
	if info.State == stint.Dead {
		f.Dead++
	}
	f.IDs = append(f.IDs, info.ID)
	first, last := info.FinishedAt, info.FinishedAt
	if n := len(info.Attempts); n > 0 {
		first, last = endOf(&info.Attempts[0]), endOf(&info.Attempts[n-1])
	}
	if f.First.IsZero() || first.Before(f.First) {
		f.First = first
	}
	if last.After(f.Last) {
		f.Last = last
	}
}

func endOf(a *stint.Attempt) time.Time { return a.StartedAt.Add(a.Duration) }

// failure is the error of a job as it may be seen. The rest of the job is left
// out: to mask its args would take long for so many.
func (d *dashboard) failure(info stint.Info) string {
	info.Args, info.Result, info.Checkpoint, info.Log = nil, nil, nil, ""
	return d.job(info, false).Error
}
