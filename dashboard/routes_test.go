package dashboard

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// routesQueue is a queue in a fresh file, closed when the test ends.
func routesQueue(t *testing.T) *stint.Queue {
	t.Helper()
	return routesQueueWith(t, &stint.Config{})
}

func routesQueueWith(t *testing.T, cfg *stint.Config) *stint.Queue {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	q, err := stint.Open(filepath.Join(t.TempDir(), "routes.db"), cfg)
	require.NoError(t, err)
	q.DB().NoSync = true
	t.Cleanup(func() { require.NoError(t, q.Close()) })
	return q
}

type routesJob struct {
	Text string `json:"text"`
}

func (routesJob) Kind() string { return "routes/job" }

// routesHandler serves a queue without a control socket.
func routesHandler(q *stint.Queue, cfg *Config) http.Handler {
	if cfg == nil {
		cfg = &Config{}
	}
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return newDashboard(q, cfg).handler()
}

// withRole lets everybody in.
func withRole(role Role) *Config {
	return &Config{Authorize: func(*http.Request) Access { return Access{Role: role, User: "ana"} }}
}

// localRequest comes directly from this machine.
func localRequest(method, target string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, target, body)
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "localhost:8080"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// serve sends a request and looks at what every answer must have.
func serve(t *testing.T, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for name, value := range map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "same-origin", "X-Robots-Tag": "noindex, nofollow",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		require.Equal(t, value, w.Header().Get(name), "%s %s: %s", r.Method, r.URL, name)
	}
	if !strings.HasPrefix(r.URL.Path, "/static/") {
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"), "%s %s", r.Method, r.URL)
	}
	return w
}

// pathOf fills the pattern of a route.
func pathOf(rt route) string {
	return strings.NewReplacer("{$}", "", "{id}", "1", "{name}", "all.css").Replace(rt.path)
}

func TestRolesAndRoutes(t *testing.T) {
	t.Parallel()
	for role := None; role <= Admin; role++ {
		t.Run(role.String(), func(t *testing.T) {
			t.Parallel()
			h := routesHandler(routesQueue(t), withRole(role))
			for _, rt := range routes() {
				method := rt.method
				if rt.stream {
					method = http.MethodHead
				}
				w := serve(t, h, localRequest(method, pathOf(rt), strings.NewReader("")))
				if role < rt.role {
					require.Equal(t, http.StatusForbidden, w.Code, "%s %s", rt.method, rt.path)
				} else {
					require.NotEqual(t, http.StatusForbidden, w.Code, "%s %s: %s", rt.method, rt.path, w.Body)
				}
			}
		})
	}
}

func TestEachRouteHasARole(t *testing.T) {
	t.Parallel()
	for _, rt := range routes() {
		open := rt.path == "/healthz" || rt.path == "/readyz"
		require.Equal(t, open, rt.role == None, rt.path)
		require.True(t, (rt.show == nil) != (rt.act == nil), rt.path)
		if rt.act != nil {
			require.GreaterOrEqual(t, rt.role, Operate, rt.path)
			require.Equal(t, http.MethodPost, rt.method, rt.path)
		} else {
			require.Equal(t, http.MethodGet, rt.method, rt.path)
		}
	}
}

func TestLocalAccess(t *testing.T) {
	t.Parallel()
	h := routesHandler(routesQueue(t), nil)
	code := func(change func(r *http.Request)) int {
		r := localRequest("GET", "/api/v1/queues", nil)
		change(r)
		return serve(t, h, r).Code
	}
	require.Equal(t, http.StatusOK, code(func(*http.Request) {}))

	for _, host := range []string{"localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.8.9.1", "[::1]:8080", "[::1]", "app.localhost:80", "localhost."} {
		require.Equal(t, http.StatusOK, code(func(r *http.Request) { r.Host = host }), host)
	}
	for _, host := range []string{"", "example.com", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1:8080", "192.168.1.2", "notlocalhost", "[::2]:80", "0.0.0.0:80"} {
		require.Equal(t, http.StatusForbidden, code(func(r *http.Request) { r.Host = host }), host)
	}
	for _, peer := range []string{"127.0.0.1:1", "127.3.2.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"} {
		require.Equal(t, http.StatusOK, code(func(r *http.Request) { r.RemoteAddr = peer }), peer)
	}
	for _, peer := range []string{"", "@", "10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1", "127.0.0.1"} {
		require.Equal(t, http.StatusForbidden, code(func(r *http.Request) { r.RemoteAddr = peer }), peer)
	}
	for _, name := range append([]string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded", "x-forwarded-port"}, forwarding...) {
		require.Equal(t, http.StatusForbidden, code(func(r *http.Request) { r.Header.Set(name, "127.0.0.1") }), name)
		require.Equal(t, http.StatusForbidden, code(func(r *http.Request) { r.Header.Set(name, "") }), "an empty %s", name)
	}
}

// A proxy may pass a request on without a header of its own, and with this
// machine's name as the host.
func TestBareProxiesAreRefused(t *testing.T) {
	t.Parallel()
	h := routesHandler(routesQueue(t), nil)
	for name, one := range map[string]struct {
		change func(r *http.Request)
		want   int
	}{
		"HTTP/1.0, as nginx asks":    {func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0 }, 403},
		"HTTP/2":                     {func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 }, 200},
		"a page of another name":     {func(r *http.Request) { r.Header.Set("Origin", "https://jobs.example.com") }, 403},
		"one of two":                 {func(r *http.Request) { r.Header["Origin"] = []string{"http://localhost:8080", "https://evil.example"} }, 403},
		"a page of no name":          {func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		"no address":                 {func(r *http.Request) { r.Header.Set("Origin", "http://[") }, 403},
		"a page of this machine":     {func(r *http.Request) { r.Header.Set("Origin", "http://localhost:8080") }, 200},
		"the other name of loopback": {func(r *http.Request) { r.Header.Set("Origin", "http://[::1]:3000") }, 200},
	} {
		r := localRequest("GET", "/api/v1/queues", nil)
		one.change(r)
		require.Equal(t, one.want, serve(t, h, r).Code, name)
	}
}

// What Authorize answers is kept within the roles there are, and the log has a
// name for everybody.
func TestOddAccess(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	odd := func(role Role) http.Handler {
		return routesHandler(q, &Config{Authorize: func(*http.Request) Access { return Access{Role: role} }})
	}
	require.Equal(t, http.StatusOK, serve(t, odd(-7), localRequest("GET", "/healthz", nil)).Code)
	for _, target := range []string{"/jobs", "/nothing", "/queues/pause"} {
		require.Equal(t, http.StatusForbidden, serve(t, odd(-7), localRequest("GET", target, nil)).Code, target)
	}
	w := serve(t, odd(99), localRequest("POST", "/api/v1/queues/pause", strings.NewReader("queue=mail&reason=busy")))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "somebody (busy)", q.Queues()[0].PausedBy)
	for a, err := range q.Actions() {
		require.NoError(t, err)
		require.Equal(t, "somebody", a.By)
	}
}

func TestAuthorizeIsAskedOnceAndLast(t *testing.T) {
	t.Parallel()
	asked := 0
	h := routesHandler(routesQueue(t), &Config{Authorize: func(r *http.Request) Access {
		asked++
		return Access{Role: View, User: "ana"}
	}})
	for i, target := range []string{"/api/v1/queues", "/api/v1/nothing", "/api/v1/export", "/api/v1/jobs/0"} {
		r := localRequest("GET", target, nil)
		r.Host, r.RemoteAddr = "jobs.example.com", "10.0.0.1:1"
		r.Header.Set("X-Forwarded-For", "10.0.0.2")
		require.NotEqual(t, http.StatusInternalServerError, serve(t, h, r).Code)
		require.Equal(t, i+1, asked, target)
	}
}

func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	h := routesHandler(routesQueue(t), withRole(None))
	for _, target := range []string{"/", "/jobs", "/nothing", "/api/v1/stats", "/api/nothing", "/static/all.css", "/metrics"} {
		w := serve(t, h, localRequest("GET", target, nil))
		require.Equal(t, http.StatusForbidden, w.Code, target)
		require.NotContains(t, w.Body.String(), "routes", "the name of the file, in the answer of %s", target)
	}
}

func TestCrossSiteIsRefused(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	h := routesHandler(q, nil)
	before := q.Stats().Syncs
	for _, rt := range routes() {
		if rt.act == nil {
			continue
		}
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
			r := localRequest("POST", pathOf(rt), strings.NewReader("queue=default"))
			r.Header.Set(name, value)
			require.Equal(t, http.StatusForbidden, serve(t, h, r).Code, "%s with %s", rt.path, name)
		}
		r := localRequest("POST", pathOf(rt), strings.NewReader("queue=default"))
		r.Header.Set("Sec-Fetch-Site", "same-site")
		require.Equal(t, http.StatusForbidden, serve(t, h, r).Code, "another port of this machine")
	}
	require.Equal(t, before, q.Stats().Syncs, "nothing was written")

	_, err := q.Enqueue(t.Context(), routesJob{})
	require.NoError(t, err)
	for target, want := range map[string]map[string]int{
		"/": {"link": 200, "image": 403}, "/jobs?q=x": {"link": 200, "image": 403}, "/jobs/1": {"link": 200, "image": 403},
		"/jobs/1?stack=1": {"link": 403, "image": 403}, "/api/v1/stats": {"link": 403, "image": 403}, "/live": {"image": 403},
		"/metrics": {"image": 403}, "/healthz": {"link": 200, "image": 200},
	} {
		for by, code := range want {
			r := localRequest("GET", target, nil)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", map[string]string{"link": "navigate", "image": "no-cors"}[by])
			r.Header.Set("Sec-Fetch-Dest", map[string]string{"link": "document", "image": "image"}[by])
			require.Equal(t, code, serve(t, h, r).Code, "%s of %s by another site", by, target)
		}
		r := localRequest("GET", target, nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "iframe")
		if target != "/healthz" {
			require.Equal(t, http.StatusForbidden, serve(t, h, r).Code, "a frame of %s", target)
		}
	}

	for site, want := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200} {
		for _, target := range []string{"/api/v1/queues", "/system/backup"} {
			r := localRequest("GET", target, nil)
			r.Header.Set("Sec-Fetch-Site", site)
			require.Equal(t, want, serve(t, h, r).Code, "%s of %s", target, site)
		}
	}
}

func TestGetChangesNothing(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	_, err := q.Enqueue(t.Context(), routesJob{})
	require.NoError(t, err)
	h := routesHandler(q, nil)
	shown := map[string]bool{}
	for _, rt := range routes() {
		shown[rt.path] = shown[rt.path] || rt.show != nil
	}
	before := q.Stats().Syncs
	for _, rt := range routes() {
		if rt.act == nil {
			continue
		}
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			if shown[rt.path] && (method == "GET" || method == "HEAD") {
				continue
			}
			w := serve(t, h, localRequest(method, pathOf(rt)+"?queue=default&reason=x&id=1", nil))
			require.Equal(t, http.StatusMethodNotAllowed, w.Code, "%s %s", method, rt.path)
			require.Contains(t, w.Header().Get("Allow"), "POST", rt.path)
		}
	}
	require.Equal(t, before, q.Stats().Syncs, "nothing was written")

	w := serve(t, h, localRequest("POST", "/api/v1/queues", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	h := routesHandler(routesQueue(t), nil)
	for _, rt := range routes() {
		if rt.act == nil || rt.large {
			continue
		}
		for contentType, body := range map[string]string{
			"application/x-www-form-urlencoded": "reason=" + strings.Repeat("x", maxBody),
			"application/json":                  `{"reason":"` + strings.Repeat("x", maxBody) + `"}`,
		} {
			r := localRequest("POST", pathOf(rt), strings.NewReader(body))
			r.Header.Set("Content-Type", contentType)
			require.Equal(t, http.StatusRequestEntityTooLarge, serve(t, h, r).Code, "%s as %s", rt.path, contentType)
		}
	}
}

func TestBodiesOfOtherTypes(t *testing.T) {
	t.Parallel()
	h := routesHandler(routesQueue(t), nil)
	for contentType, want := range map[string]int{"text/plain": 415, "multipart/form-data; boundary=x": 415, "application/json": 400} {
		r := localRequest("POST", "/api/v1/schedules/run", strings.NewReader(`{"schedule":`))
		r.Header.Set("Content-Type", contentType)
		require.Equal(t, want, serve(t, h, r).Code, contentType)
	}
}

func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	h := routesHandler(routesQueue(t), nil)
	for _, target := range []string{"/nothing", "/jobs/", "//jobs", "/a/../jobs", "/api/v1/nothing", "/api/v2/jobs", "/api/v1//jobs", "/api/v1/"} {
		w := serve(t, h, localRequest("GET", target, nil))
		require.Equal(t, http.StatusNotFound, w.Code, target)
		if !strings.HasPrefix(target, "/api/") {
			require.Contains(t, w.Header().Get("Content-Type"), "text/html", target)
			continue
		}
		var answer wire.Error
		require.Contains(t, w.Header().Get("Content-Type"), "application/json", target)
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		require.Equal(t, wire.Error{Error: "there is nothing at this address", Status: 404}, answer)
	}
}

// TestUnderAPrefix follows redirects as a browser does.
func TestUnderAPrefix(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	require.NoError(t, q.Periodic("a/b:c", "@hourly", routesJob{}))
	h := routesHandler(q, nil)
	for name, mounted := range map[string]http.Handler{
		"/a/b":  http.StripPrefix("/a/b", h),
		"/a/b/": http.StripPrefix("/a/b/", h),
	} {
		mux := http.NewServeMux()
		mux.Handle("/a/b/", mounted)
		for _, target := range []string{"/a/b/", "/a/b/schedules", "/a/b/batches/1", "/a/b/api/v1/queues", "/a/b/static/all.css"} {
			r := localRequest("GET", target, nil)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			require.Less(t, w.Code, 500, target)
			require.Empty(t, w.Header().Get("Location"), "%s, stripped of %s", target, name)
		}
		form := url.Values{"schedule": {"a/b:c"}, "back": {"schedule?name=a%2Fb%3Ac"}}
		for _, target := range []string{"/a/b/schedules/pause", "/a/b/schedules/resume"} {
			r := localRequest("POST", target, strings.NewReader(form.Encode()))
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			require.Equal(t, http.StatusSeeOther, w.Code, "%s: %s", target, w.Body)
			require.False(t, strings.HasPrefix(w.Header().Get("Location"), "/"), w.Header().Get("Location"))
			to, err := r.URL.Parse(w.Header().Get("Location"))
			require.NoError(t, err)
			require.Equal(t, "/a/b/schedule", to.Path)
			require.Equal(t, "a/b:c", to.Query().Get("name"))
			require.NotEmpty(t, to.Query().Get("note"))
		}
	}

	w := httptest.NewRecorder()
	http.StripPrefix("/a/b", h).ServeHTTP(w, localRequest("GET", "/a/b?x=1", nil))
	require.Equal(t, http.StatusMovedPermanently, w.Code)
	require.Equal(t, "b/?x=1", w.Header().Get("Location"))
}

func TestBackLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	for _, back := range []string{"https://evil.example/", "//evil.example", "/jobs", `\\evil.example`, "javascript:alert(1)", "../../x", "%2e%2e/x", "jobs\n"} {
		require.Empty(t, backTo(back), back)
	}
	require.Equal(t, "jobs?state=dead", backTo("jobs?state=dead"))
}

func TestHead(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	server := httptest.NewServer(routesHandler(q, nil))
	defer server.Close()
	for _, rt := range routes() {
		if rt.show == nil || strings.Contains(rt.path, "{") {
			continue
		}
		response, err := server.Client().Head(server.URL + rt.path)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.NotEqual(t, http.StatusMethodNotAllowed, response.StatusCode, rt.path)
		if rt.path != "/readyz" { // nothing works this queue
			require.Less(t, response.StatusCode, http.StatusInternalServerError, rt.path)
		}
	}
}
