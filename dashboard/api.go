package dashboard

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The API reads what the pages show, and does by POST what their buttons do:
// routes gives each action a second address here. What there is, with the
// parameters that each address takes, is in operations, which the document at
// /api/v1/openapi.json is made of.
var apiRoutes = slices.Concat(
	apiJobRoutes, apiQueueRoutes, apiScheduleRoutes, apiBatchRoutes, apiHistoryRoutes, apiTaskRoutes,
	apiEventRoutes, apiExportRoutes, apiImportRoutes, openAPIRoutes,
)

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// list answers with an array, also if it is empty.
func list[T any](w http.ResponseWriter, all []T) error {
	if all == nil {
		all = []T{}
	}
	replyJSON(w, http.StatusOK, all)
	return nil
}

// wired turns each element into what is sent.
func wired[T, W any](all []T, wire func(T) W) []W {
	out := make([]W, len(all))
	for i, one := range all {
		out[i] = wire(one)
	}
	return out
}

// limit is how many elements are asked for.
func (r *request) limit() (int, error) { return r.number("limit", defaultLimit, maxLimit) }

// number is a parameter from 1 to a bound.
func (r *request) number(name string, byDefault, highest int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > highest {
		return 0, bad("%s must be a number from 1 to %d, not %q", name, highest, text)
	}
	return n, nil
}

// moment is a parameter that is a time, zero without it.
func (r *request) moment(name string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, bad("%s must be a time such as 2026-11-22T14:00:00Z, not %q", name, text)
	}
	return at, nil
}

// needed is a parameter that must be there.
func (r *request) needed(name string) (string, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return "", bad("the parameter %s is missing", name)
	}
	return text, nil
}

// accepted are the parameters that an address takes.
type accepted []string

// queryOf is what a GET of the API takes; nil for other routes, which take
// anything.
func queryOf(rt route) accepted {
	if rt.show == nil {
		return nil
	}
	op, ok := operationOf(rt)
	if !ok {
		return nil
	}
	names := accepted{}
	for _, p := range op.parameters() {
		names = append(names, p.name)
	}
	return names
}

// check refuses a parameter that has no meaning: it is a mistake, and what it
// was to narrow would come unnarrowed.
func (a accepted) check(u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("the query cannot be read: %v", err)
	}
	for name, values := range query {
		switch {
		case !slices.Contains(a, name) && len(a) == 0:
			return bad("the parameter %q has no meaning here; this address takes none", name)
		case !slices.Contains(a, name):
			return bad("the parameter %q has no meaning here; this address takes %q", name, []string(a))
		case len(values) > 1:
			return bad("the parameter %q is there %d times; give it once", name, len(values))
		}
	}
	return nil
}

// actionNames are the names of all that actions take, and of what the forms of
// pages and the stint command add.
var actionNames = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{"back": true, "shown": true, "more": true, "from": true}
	for _, op := range operations {
		for _, p := range op.parameters() {
			if op.method == http.MethodPost {
				names[p.name] = true
			}
		}
	}
	return names
})

// checkNames refuses a name that no action knows. It is a slip of somebody's
// pen, and without what it was to narrow down the action would go too far.
func checkNames(p params) error {
	for name := range p {
		if !actionNames()[name] {
			return bad("no action has a parameter %.40q; nothing was done", name)
		}
	}
	return nil
}

// seconds is a duration as the API has it.
func seconds(d time.Duration) float64 { return d.Seconds() }
