package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stintq/stint"
)

var enqueueRoutes = []route{
	{method: "GET", path: "/enqueue", role: Admin, show: (*dashboard).showEnqueue},
	{method: "POST", path: "/enqueue", role: Admin, act: (*dashboard).enqueue},
}

// maxEdited bounds the bytes of args in the form: what it sends is up to three
// times as large.
const maxEdited = maxBody / 4

// enqueueForm is the form of a new job, as it was typed.
type enqueueForm struct {
	Kind, Args    string
	Fields        []formField
	From          uint64 // the job it began as a copy of
	Problem       string
	Kinds, Queues []string
	Parked        bool // its kind has no handler here
}

// formField is a line of text of the form.
type formField struct{ Name, Label, Hint, Value string }

// enqueueFields are the options, with their values.
func enqueueFields(values url.Values) []formField {
	list := []formField{
		{Name: "queue", Label: "Queue", Hint: "as its kind says"},
		{Name: "priority", Label: "Priority, 1 first to 4 last", Hint: "as its kind says"},
		{Name: "in", Label: "Delay", Hint: "none, or 90s, 10m, 2h, 1d"},
		{Name: "at", Label: "Or at a time, UTC", Hint: "2026-12-24T18:00"},
		{Name: "tags", Label: "Tags", Hint: "vip, import"},
		{Name: "max_attempts", Label: "Attempts at most", Hint: "as its kind says"},
	}
	for i := range list {
		list[i].Value = strings.Join(values[list[i].Name], ", ")
	}
	return list
}

// showEnqueue shows the empty form, or one with what a job has. Args are the
// real ones then: redacted ones could not be enqueued.
func (d *dashboard) showEnqueue(w http.ResponseWriter, r *request) error {
	values := r.URL.Query()
	f := &enqueueForm{Kind: values.Get("kind"), Args: "{}", Fields: enqueueFields(url.Values{"queue": {values.Get("queue")}})}
	title := "New job"
	if from := values.Get("from"); from != "" {
		id, err := parseID(from)
		if err != nil {
			return err
		}
		info, err := d.q.Get(id)
		if err != nil {
			return err
		}
		switch {
		case d.cfg.HideArgs:
			return &failure{http.StatusForbidden, "args are hidden here, and a copy would show them", nil}
		case len(info.Args) > maxEdited:
			return &failure{http.StatusRequestEntityTooLarge, fmt.Sprintf("the args of job %d, %s, are too large to be edited here", id, byteSize(len(info.Args))), nil}
		}
		f.copyOf(&info)
		title = fmt.Sprintf("Duplicate and edit job %d", id)
	}
	d.offer(f)
	return d.render(w, r, "enqueue", page{Title: title, Section: "Jobs"}, f)
}

func (f *enqueueForm) copyOf(info *stint.Info) {
	f.From = uint64(info.ID)
	f.Kind = info.Kind
	values := url.Values{"queue": {info.Queue}, "priority": {strconv.Itoa(info.Priority)}, "tags": info.Tags}
	if info.MaxAttempts > 0 {
		values.Set("max_attempts", strconv.Itoa(info.MaxAttempts))
	}
	f.Fields = enqueueFields(values)
	f.Args = indented(info.Args)
}

// offer adds what the form suggests.
func (d *dashboard) offer(f *enqueueForm) {
	f.Parked = f.Kind != ""
	for _, kind := range d.q.Kinds() {
		if kind.Handled {
			f.Kinds = append(f.Kinds, kind.Name)
			f.Parked = f.Parked && kind.Name != f.Kind
		}
	}
	for _, queue := range d.q.Queues() {
		f.Queues = append(f.Queues, queue.Name)
	}
}

// enqueue stores a new job. A form that cannot be is shown again.
func (d *dashboard) enqueue(r *request) (outcome, error) {
	p := r.params
	opts, err := readOptions(p, time.Now())
	var id stint.ID
	if err == nil {
		id, err = d.q.EnqueueJSON(r.Context(), strings.TrimSpace(p.get("kind")), argsOf(p), opts...)
	}
	if err != nil {
		return outcome{}, d.retype(r, err)
	}
	out := outcome{verb: "enqueue", target: fmt.Sprintf("job %d", id), goTo: fmt.Sprintf("jobs/%d", id), data: map[string]uint64{"id": uint64(id)}}
	out.note = "of kind " + strings.TrimSpace(p.get("kind"))
	if from, err := parseID(p.get("from")); err == nil {
		out.note += fmt.Sprintf(", a copy of job %d", from)
	}
	return out, nil
}

func argsOf(p params) []byte {
	if args := strings.TrimSpace(p.get("args")); args != "" {
		return []byte(args)
	}
	return nil
}

// retype shows the form again with what was typed, if that is what was wrong.
func (d *dashboard) retype(r *request, err error) error {
	f := asFailure(err)
	if f.status >= http.StatusInternalServerError && !errors.Is(err, stint.ErrQueueFull) {
		return err
	}
	p := r.params
	form := &enqueueForm{Kind: p.get("kind"), Args: p.get("args"), Problem: f.text, Fields: enqueueFields(url.Values(p))}
	if from, err := parseID(p.get("from")); err == nil {
		form.From = uint64(from)
	}
	d.offer(form)
	return &askAgain{failure: *f, name: "enqueue", page: page{Title: "New job", Section: "Jobs"}, data: form}
}

// readOptions reads all fields but kind and args; empty ones are as the policy
// of the kind says.
func readOptions(p params, now time.Time) (opts []stint.Option, err error) {
	if queue := strings.TrimSpace(p.get("queue")); queue != "" {
		opts = append(opts, stint.OnQueue(queue))
	}
	for _, number := range []struct {
		name   string
		option func(int) stint.Option
	}{{"priority", stint.Priority}, {"max_attempts", stint.MaxAttempts}} {
		if p.get(number.name) == "" {
			continue
		}
		n, err := p.number(number.name)
		if err != nil {
			return nil, err
		}
		opts = append(opts, number.option(n))
	}
	var tags []string
	for _, text := range p.all("tags") {
		tags = append(tags, strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	if len(tags) > 0 {
		opts = append(opts, stint.Tags(tags...))
	}
	at, err := readWhen(strings.TrimSpace(p.get("in")), strings.TrimSpace(p.get("at")), now)
	if !at.IsZero() {
		opts = append(opts, stint.At(at))
	}
	return opts, err
}

// readWhen is when a job is to run; zero is at once.
func readWhen(in, at string, now time.Time) (time.Time, error) {
	switch {
	case in != "" && at != "":
		return time.Time{}, bad("give a delay or a time, not both")
	case in != "":
		span, err := readSpan(in)
		if err != nil {
			return time.Time{}, bad("the delay must be a time span such as 90s, 10m, 2h or 1d, not %q", in)
		}
		return now.Add(span), nil
	case at != "":
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02 15:04:05"} {
			if t, err := time.Parse(layout, at); err == nil { // UTC without a zone
				return t, nil
			}
		}
		return time.Time{}, bad("the time must look like 2006-01-02T15:04 (UTC) or 2006-01-02T15:04:05+02:00, not %q", at)
	}
	return time.Time{}, nil
}
