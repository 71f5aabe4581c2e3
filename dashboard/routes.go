package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// route is one thing that can be asked for or done. The tables of routes are
// all there is: a test goes through them for each role, and each action of
// them is in the action log.
type route struct {
	method string
	path   string // a pattern of http.ServeMux
	role   Role   // that is needed

	// show answers a GET. Pages, files and streams write their answer
	// themselves; an error becomes a page or a JSON object.
	show func(d *dashboard, w http.ResponseWriter, r *request) error

	// act does a POST. What it did is logged, and told as a note on the next
	// page or as JSON.
	act func(d *dashboard, r *request) (outcome, error)

	large  bool // the body may be larger than maxBody; act reads it itself
	stream bool // the answer is long or has no end, so HEAD is answered without it
}

// outcome is what an action did.
type outcome struct {
	verb   string // "retry"
	target string // "job 42"
	note   string // "ready now", for people; may be empty
	goTo   string // the page to see then, from the root; where the form was by default
	data   any    // more for the API's answer, or nil
}

// routes are all of them: those of pages, and those of the API.
func routes() []route {
	list := slices.Concat(
		staticRoutes, liveRoutes, healthRoutes, metricsRoutes,
		overviewRoutes, jobsRoutes, jobRoutes, bulkRoutes, enqueueRoutes, queueRoutes, scheduleRoutes,
		batchRoutes, kindRoutes, systemRoutes,
		apiRoutes,
	)
	for _, rt := range list {
		if rt.act != nil && !strings.HasPrefix(rt.path, apiPrefix) {
			rt.path = apiPrefix + rt.path // each action of the pages is one of the API too
			list = append(list, rt)
		}
	}
	return list
}

const apiPrefix = "/api/v1"

// request is a request whose sender may do what it asks for.
type request struct {
	*http.Request
	access  Access
	api     bool   // answer with JSON
	base    string // leads from this page to the root: "./" or "../" and so on
	pulse   string // the tag of the counts before a page was made
	params  params // of an action
	control *http.ResponseController
}

// requestKey is the key of a request in its own context.
type requestKey struct{}

// handler is the way of each request: headers, the path, who it is and what is
// needed, cross-site requests, the size of the body, and then the route.
func (d *dashboard) handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes() {
		mux.Handle(rt.method+" "+rt.path, d.serve(rt))
	}
	return guard(http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		hr, location := rooted(hr)
		if location != "" {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		r := d.request(hr)
		r.control = http.NewResponseController(w)
		hr = hr.WithContext(context.WithValue(hr.Context(), requestKey{}, r))
		r.Request = hr
		if _, pattern := mux.Handler(hr); pattern == "" || path.Clean(hr.URL.Path) != hr.URL.Path {
			d.refuse(w, hr, d.lost(mux, w, r))
			return
		}
		mux.ServeHTTP(w, hr)
	}))
}

// rooted gives a request a path that begins with a slash. StripPrefix may have
// taken that; where it has left nothing of an address without a slash at its
// end, links that are relative would lead elsewhere, so the browser is sent to
// the address with the slash.
func rooted(r *http.Request) (_ *http.Request, location string) {
	if strings.HasPrefix(r.URL.Path, "/") {
		return r, ""
	}
	if asked, err := url.ParseRequestURI(r.RequestURI); err == nil && r.URL.Path == "" && asked.Path != "" && !strings.HasSuffix(asked.Path, "/") {
		u := url.URL{Path: path.Base(asked.Path) + "/", RawQuery: r.URL.RawQuery}
		return r, u.String()
	}
	u := *r.URL
	u.Path = "/" + u.Path
	if u.RawPath != "" {
		u.RawPath = "/" + u.RawPath
	}
	r = r.WithContext(r.Context()) // a copy
	r.URL = &u
	return r, ""
}

// lost is the error of a path that leads nowhere, or not by this method.
func (d *dashboard) lost(mux *http.ServeMux, w http.ResponseWriter, r *request) error {
	if r.access.Role < View {
		return d.forbidden(r, View)
	}
	var takes []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "" && path.Clean(r.URL.Path) == r.URL.Path {
			takes = append(takes, method)
		}
	}
	if len(takes) == 0 {
		return missing("there is nothing at this address")
	}
	w.Header().Set("Allow", strings.Replace(strings.Join(takes, ", "), "GET", "GET, HEAD", 1))
	return &failure{http.StatusMethodNotAllowed, "this address takes " + strings.Join(takes, " and ") + " only", nil}
}

// serve is the way of a request through its route.
func (d *dashboard) serve(rt route) http.Handler {
	crossSite := http.NewCrossOriginProtection()
	takes := queryOf(rt)
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		r := d.request(hr)
		r.Request = hr // which now has the values of the path
		err := d.permit(rt, r, crossSite)
		if err == nil && takes != nil {
			err = takes.check(r.URL)
		}
		switch {
		case err != nil:
			d.refuse(w, hr, err)
		case rt.show != nil && rt.stream && hr.Method == http.MethodHead:
			w.WriteHeader(http.StatusOK)
		case rt.show != nil:
			if !r.api && !rt.stream {
				r.pulse = d.pulse().tag()
			}
			if err := rt.show(d, w, r); err != nil {
				d.refuse(w, hr, err)
			}
		default:
			if !rt.large {
				r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			}
			d.act(rt, w, r)
		}
	})
}

// request is what is known of a request. Authorize is asked once.
func (d *dashboard) request(r *http.Request) *request {
	if known, ok := r.Context().Value(requestKey{}).(*request); ok {
		return known
	}
	return &request{Request: r, access: d.access(r), api: isAPI(r), base: baseOf(r.URL.EscapedPath())}
}

func isAPI(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/")
}

// baseOf leads from a page to the root by its depth, so that links are right
// wherever the handler is mounted.
func baseOf(path string) string {
	depth := strings.Count(strings.TrimPrefix(path, "/"), "/")
	if depth == 0 {
		return "./"
	}
	return strings.Repeat("../", depth)
}

// permit is nil if the request may go on.
func (d *dashboard) permit(rt route, r *request, crossSite *http.CrossOriginProtection) error {
	if r.access.Role < rt.role {
		return d.forbidden(r, rt.role)
	}
	if rt.act == nil {
		return ownSite(rt, r)
	}
	if err := crossSite.Check(r.Request); err != nil {
		return &failure{http.StatusForbidden, "the request comes from another site; open the page itself and try again", nil}
	}
	return nil
}

// ownSite refuses what a page of another site reads, but for links to pages. It
// would not get to see the answer, but a stream takes a place, a backup time
// and disk, and the stack of a job stops all goroutines.
func ownSite(rt route, r *request) error {
	from := r.Header.Get("Sec-Fetch-Site")
	isLink := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" && !r.api && !rt.stream && !r.URL.Query().Has("stack")
	if (from == "cross-site" || from == "same-site") && !isLink && rt.role > None {
		return &failure{http.StatusForbidden, "the request comes from a page of another site; open this address by itself", nil}
	}
	return nil
}

// forbidden tells people who could not know how to be let in.
func (d *dashboard) forbidden(r *request, needed Role) error {
	switch {
	case r.access.Role > None:
		return &failure{http.StatusForbidden, fmt.Sprintf("this needs the role %s, and yours is %s", needed, r.access.Role), nil}
	case d.cfg.Authorize != nil:
		return &failure{http.StatusForbidden, "you may not see this", nil}
	}
	return &failure{http.StatusForbidden, "without Config.Authorize the dashboard serves only requests that come directly from its own machine, to localhost; set Authorize to let others in", nil}
}

// act does an action, logs it and answers.
func (d *dashboard) act(rt route, w http.ResponseWriter, r *request) {
	var err error
	if !rt.large {
		if r.params, err = readParams(r.Request); err == nil && r.api {
			err = checkNames(r.params)
		}
		if err != nil {
			d.refuse(w, r.Request, err)
			return
		}
	}
	out, err := rt.act(d, r)
	d.lastFailing.forgetAll()
	d.logAction(r, out, err)
	if again := (*askAgain)(nil); errors.As(err, &again) && !r.api {
		if err := d.renderStatus(w, r, again.status, again.name, again.page, again.data); err != nil {
			d.refuse(w, r.Request, err)
		}
		return
	}
	if err != nil {
		d.refuse(w, r.Request, err)
		return
	}
	if r.api {
		replyJSON(w, http.StatusOK, out.answer())
		return
	}
	d.seeOther(w, r, out)
}

// failure is an error with its HTTP status and a text for people.
type failure struct {
	status int
	text   string
	cause  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

// bad is the error of a request that makes no sense.
func bad(format string, args ...any) error {
	return &failure{http.StatusBadRequest, fmt.Sprintf(format, args...), nil}
}

// missing is the error of a request for what is not there.
func missing(format string, args ...any) error {
	return &failure{http.StatusNotFound, fmt.Sprintf(format, args...), nil}
}

// asFailure gives an error its status.
func asFailure(err error) *failure {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f
	}
	return &failure{statusOf(err), err.Error(), err}
}
