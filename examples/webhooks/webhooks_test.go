package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/stinttest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

func TestReceive(t *testing.T) {
	key := newKey(t)
	const event = `{"sg_event_id":"a","event":"open","mailing_id":"spring"}`
	long := strings.Repeat("x", maxKeySize+1)

	for _, test := range []struct {
		name   string
		body   string
		spoil  func(*http.Request) // of a request that is signed well
		status int
		reason string
	}{
		{name: "one event", body: "[" + event + "]", status: 204},
		{name: "empty array", body: "[]", status: 204},
		{name: "white space around", body: " [\n" + event + "\n] \n", status: 204},
		{name: "category list", body: `[{"sg_event_id":"a","category":["spring","sale"]}]`, status: 204},
		{name: "fields nobody reads", body: `[{"sg_event_id":"a","ip":"::1","url":{"offset":{"index":0}}}]`, status: 204},

		{name: "no signature", body: "[" + event + "]", spoil: without(signatureHeader), status: 401, reason: signatureHeader + " is missing"},
		{name: "no timestamp", body: "[" + event + "]", spoil: without(timestampHeader), status: 401, reason: "must be a number"},
		{name: "timestamp is no number", body: "[" + event + "]", spoil: with(timestampHeader, "today"), status: 401, reason: "must be a number"},
		{name: "another timestamp", body: "[" + event + "]", spoil: with(timestampHeader, fmt.Sprint(time.Now().Unix()+1000)), status: 401, reason: "does not fit"},
		{name: "signature is no base64", body: "[" + event + "]", spoil: with(signatureHeader, "%%%"), status: 401, reason: "not base64"},
		{name: "signature is no ASN.1", body: "[" + event + "]", spoil: with(signatureHeader, "aGVsbG8="), status: 401, reason: "does not fit"},
		{name: "tampered body", body: "[" + event + "]", spoil: withBody("[" + strings.Replace(event, "open", "click", 1) + "]"), status: 401, reason: "does not fit"},
		{name: "another key", body: "[" + event + "]", spoil: signedBy(newKey(t), time.Now()), status: 401, reason: "does not fit"},
		{name: "older than the memory", body: "[" + event + "]", spoil: signedBy(key, time.Now().Add(-keepSeen-time.Hour)), status: 401, reason: "30 days"},
		{name: "late but remembered", body: "[" + event + "]", spoil: signedBy(key, time.Now().Add(-24*time.Hour)), status: 204},

		{name: "no body", body: "", status: 400, reason: "not a JSON array"},
		{name: "not JSON", body: "hello", status: 400, reason: "not a JSON array"},
		{name: "an object", body: event, status: 400, reason: "not a JSON array"},
		{name: "null", body: "null", status: 400, reason: "not a JSON array"},
		{name: "cut short", body: "[" + event, status: 400, reason: "cut short"},
		{name: "cut short in an event", body: "[" + event[:20], status: 400, reason: "event 1"},
		{name: "no comma", body: "[" + event + event + "]", status: 400, reason: "event 2"},
		{name: "trailing comma", body: "[" + event + ",]", status: 400},
		{name: "something after it", body: "[" + event + "] {}", status: 400, reason: "something follows"},
		{name: "element is a number", body: "[" + event + ",7]", status: 400, reason: "event 2: is a JSON number, not an object"},
		{name: "element is a list", body: "[[]]", status: 400, reason: "event 1: is a JSON array, not an object"},
		{name: "element is null", body: "[null]", status: 400, reason: "event 1: no sg_event_id"},
		{name: "no id", body: `[{"event":"open"}]`, status: 400, reason: "event 1: no sg_event_id"},
		{name: "empty id", body: `[` + event + `,{"sg_event_id":""}]`, status: 400, reason: "event 2: no sg_event_id"},
		{name: "id is a number", body: `[{"sg_event_id":1}]`, status: 400, reason: "sg_event_id cannot be a JSON number"},
		{name: "long id", body: `[{"sg_event_id":"` + long + `"}]`, status: 400, reason: "255 bytes"},
		{name: "long mailing", body: `[{"sg_event_id":"a","mailing_id":"` + long + `"}]`, status: 400, reason: "255 bytes"},
		{name: "mailing is an object", body: `[{"sg_event_id":"a","mailing_id":{}}]`, status: 400, reason: "must be texts"},

		{name: "largest body", body: "[" + event + strings.Repeat(" ", maxBody-len(event)-2) + "]", status: 204},
		{name: "body too large", body: "[" + event + strings.Repeat(" ", maxBody) + "]", status: 413, reason: "smaller batches"},
		{name: "an event too large", body: `[{"sg_event_id":"a","email":"` + strings.Repeat("x", 2<<20) + `"}]`, status: 413, reason: "too large"},
		{name: "wrong method", body: "[]", spoil: func(r *http.Request) { r.Method = http.MethodGet }, status: 405},
		{name: "wrong path", body: "[]", spoil: func(r *http.Request) { r.URL.Path = "/hook" }, status: 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			q := openQueue(t, nil)
			routes := (&server{queue: q, key: &key.PublicKey}).routes()
			request := signedRequest(t, key, test.body)
			if test.spoil != nil {
				test.spoil(request)
			}
			answer := httptest.NewRecorder()
			routes.ServeHTTP(answer, request)

			assert.Equal(t, test.status, answer.Code, answer.Body)
			assert.Contains(t, answer.Body.String(), test.reason)
			assert.Equal(t, "nosniff", answer.Header().Get("X-Content-Type-Options"))
			if test.status != 204 {
				assert.Zero(t, q.Counts().Ready, "a refused batch must not leave jobs")
			}
		})
	}
}

// Without a key the signature is not looked at, and the whole batch is there
// when the answer is.
func TestReceiveUnsigned(t *testing.T) {
	q := openQueue(t, nil)
	routes := (&server{queue: q}).routes()
	answer := httptest.NewRecorder()
	routes.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(`[{"sg_event_id":"a"},{"sg_event_id":"b"}]`)))
	assert.Equal(t, http.StatusNoContent, answer.Code, answer.Body)
	assert.Equal(t, 2, q.Counts().Ready)
}

func TestReceiveWithoutRoom(t *testing.T) {
	q := openQueue(t, &stint.Config{MaxJobs: 3})
	routes := (&server{queue: q}).routes()
	post := func(events int) *httptest.ResponseRecorder {
		body, err := json.Marshal(newTraffic(1, 1).batch(events))
		require.NoError(t, err)
		answer := httptest.NewRecorder()
		routes.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/webhook", bytes.NewReader(body)))
		return answer
	}
	assert.Equal(t, http.StatusNoContent, post(2).Code)

	answer := post(2)
	assert.Equal(t, http.StatusServiceUnavailable, answer.Code, "all or none")
	assert.Equal(t, retryAfter, answer.Header().Get("Retry-After"))
	assert.Equal(t, 2, q.Counts().Ready)

	require.NoError(t, q.Close())
	answer = post(1)
	assert.Equal(t, http.StatusServiceUnavailable, answer.Code)
	assert.Equal(t, retryAfter, answer.Header().Get("Retry-After"))
}

func TestRefuse(t *testing.T) {
	for err, status := range map[error]int{
		stint.ErrQueueFull:    503,
		stint.ErrFileFull:     503,
		stint.ErrClosed:       503,
		stint.ErrArgsTooLarge: 413,
		stint.ErrSyncFailed:   500,
		errors.New("other"):   500,
	} {
		answer := httptest.NewRecorder()
		refuse(answer, fmt.Errorf("wrapped: %w", err))
		assert.Equal(t, status, answer.Code, err)
		assert.Equal(t, status == 503, answer.Header().Get("Retry-After") != "", err)
	}
}

func TestParseKey(t *testing.T) {
	key := &newKey(t).PublicKey
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))

	for _, text := range []string{base64.StdEncoding.EncodeToString(der), file} {
		got, err := parseKey(text)
		require.NoError(t, err)
		assert.True(t, key.Equal(got))
	}

	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	otherDER, err := x509.MarshalPKIXPublicKey(&other.PublicKey)
	require.NoError(t, err)
	for text, reason := range map[string]string{
		"no-such-file.pem": "neither base64 nor a readable PEM file",
		empty:              "no PEM block",
		"aGVsbG8=":         "without changes",
		base64.StdEncoding.EncodeToString(otherDER): "P-256",
	} {
		_, err := parseKey(text)
		assert.ErrorContains(t, err, reason)
	}
}

func TestCounters(t *testing.T) {
	s := startService(t, options{})
	for _, batch := range []string{
		`[{"sg_event_id":"1","event":"open","mailing_id":"spring"},{"sg_event_id":"2","event":"click","mailing_id":"spring"}]`,
		`[{"sg_event_id":"1","event":"open","mailing_id":"spring"},{"sg_event_id":"3","event":"open","mailing_id":"spring"}]`,      // 1 again
		`[{"sg_event_id":"4","event":"open","mailing_id":7},{"sg_event_id":"4","event":"open","mailing_id":7}]`,                    // twice in one batch
		`[{"sg_event_id":"5","event":"bounce","category":["sale","x"]},{"sg_event_id":"6","event":"delivered","category":"sale"}]`, // no mailing_id
		`[{"sg_event_id":"7","event":"open"},{"sg_event_id":"8","mailing_id":null}]`,                                               // nothing at all
	} {
		response, err := http.Post(s.url+"/webhook", "application/json", strings.NewReader(batch))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusNoContent, response.StatusCode)
	}
	waitIdle(t, s.queue)

	client := newSender(nil, 1)
	defer client.close()
	got, err := client.report(t.Context(), s.url)
	require.NoError(t, err)
	assert.ElementsMatch(t, []Mailing{
		{"spring", Counters{Opens: 2, Clicks: 1}},
		{"7", Counters{Opens: 1}},
		{"sale", Counters{Other: 2}},
		{"unknown", Counters{Opens: 1, Other: 1}},
	}, got.Mailings)
	assert.Equal(t, Counters{Opens: 4, Clicks: 1, Other: 3}, got.Totals)
	assert.Equal(t, jobs{Processed: 10}, got.Queue)
}

// Events are forgotten after keepSeen, none earlier, and the memory stays
// below twice what is remembered, whether ids are random or grow.
func TestSweep(t *testing.T) {
	const perDay, days = 20, 120
	random := newTraffic(1, 1)
	for name, id := range map[string]func(n int) string{
		"growing ids": func(n int) string { return fmt.Sprintf("%08d", n) },
		"random ids":  func(int) string { return random.batch(1)[0].ID },
	} {
		t.Run(name, func(t *testing.T) {
			db := openQueue(t, nil).DB()
			began := time.Now()
			var ids []string
			for day := range days {
				require.NoError(t, db.Update(func(tx *bolt.Tx) error {
					for n := range perDay {
						ids = append(ids, id(day*perDay+n))
						if err := count(tx, Event{ID: ids[len(ids)-1], Mailing: "m"}, began.AddDate(0, 0, day)); err != nil {
							return err
						}
					}
					return nil
				}))
			}
			require.NoError(t, db.View(func(tx *bolt.Tx) error {
				seen := tx.Bucket(seenBucket)
				remembered := 31 * perDay
				for _, id := range ids[len(ids)-remembered:] {
					assert.NotNil(t, seen.Get([]byte(id)), id)
				}
				assert.Less(t, seen.Inspect().KeyN, 2*remembered)
				return nil
			}))
		})
	}
}

func TestPage(t *testing.T) {
	s := startService(t, options{})
	const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>`
	body, err := json.Marshal([]Event{{ID: "1", Name: "open", Mailing: hostile}, {ID: "2", Name: "click", Mailing: "spring"}})
	require.NoError(t, err)
	empty, _ := get(t, s.url+"/")
	assert.Contains(t, empty, "No events yet")
	response, err := http.Post(s.url+"/webhook", "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	waitIdle(t, s.queue)

	page, header := get(t, s.url+"/")
	assert.Contains(t, page, "&lt;script&gt;alert(1)")
	assert.Contains(t, page, "<td>spring</td>")
	assert.NotContains(t, page, "<script")
	assert.NotContains(t, page, "<img")
	assert.NotRegexp(t, `(?i)(src|href)=|url\(|@import`, strings.ReplaceAll(page, "img src=x", ""), "nothing is loaded from elsewhere")
	nonce := regexp.MustCompile(`<style nonce="([^"]+)">`).FindStringSubmatch(page)
	require.NotNil(t, nonce)
	assert.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	assert.Contains(t, header.Get("Content-Security-Policy"), "style-src 'nonce-"+nonce[1]+"'")
	assert.Equal(t, "text/html; charset=utf-8", header.Get("Content-Type"))

	_, header = get(t, s.url+"/mailings")
	assert.Equal(t, "application/json", header.Get("Content-Type"))
	ok, _ := get(t, s.url+"/healthz")
	assert.Equal(t, "ok\n", ok)
}

func TestPageWithManyMailings(t *testing.T) {
	q := openQueue(t, nil)
	require.NoError(t, q.Update(func(tx *bolt.Tx) error {
		for n := range maxRows + 7 {
			if err := count(tx, Event{ID: fmt.Sprint(n), Mailing: fmt.Sprint("m", n)}, time.Now()); err != nil {
				return err
			}
		}
		return nil
	}))
	answer := httptest.NewRecorder()
	(&server{queue: q}).routes().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Equal(t, maxRows, strings.Count(answer.Body.String(), "<tr><td>"))
	assert.Contains(t, answer.Body.String(), "And 7 more")
}

func TestDemo(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-events", "2000", "-mailings", "5"}, &stdout, &stderr), stdout.String())
	assert.Contains(t, stdout.String(), "OK: each of the 2,000 events is counted exactly once.")
	assert.Contains(t, stdout.String(), "repeated   50 of them")
	assert.LessOrEqual(t, strings.Count(stderr.String(), "\n"), 4, "few lines where there is no terminal")
	assert.Contains(t, stderr.String(), "processed 2,050 of 2,050")
}

// The demonstration must be able to fail.
func TestTrafficCheck(t *testing.T) {
	sent := newTraffic(1, 3)
	sent.batch(500)
	var counted []Mailing
	for id, counters := range sent.expected {
		counted = append(counted, Mailing{id, counters})
	}
	require.NoError(t, sent.check(counted))

	assert.ErrorContains(t, sent.check(counted[1:]), "1 mailings were not counted")
	assert.ErrorContains(t, sent.check(append(counted, Mailing{"other", Counters{Opens: 1}})), "other: counted 1 opens")
	counted[0].Opens++
	assert.ErrorContains(t, sent.check(counted), counted[0].ID+": counted")
}

func TestUsage(t *testing.T) {
	for _, test := range []struct{ args, reason string }{
		{"-db x.db", "-db needs -serve"},
		{"-serve :0 -events 5", "-events is for the demonstration"},
		{"-events 0", "at least 1"},
		{"-mailings -1", "at least 1"},
		{"-workers 0", "at least 1"},
		{"extra", `unexpected argument "extra"`},
		{"-nonsense", ""},
	} {
		err := run(t.Context(), strings.Fields(test.args), io.Discard, io.Discard)
		assert.ErrorIs(t, err, errUsage, test.args)
		assert.ErrorContains(t, err, test.reason)
	}
	assert.ErrorContains(t, run(t.Context(), strings.Fields("-serve :0 -key nothing"), io.Discard, io.Discard), "-key is neither")
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// openQueue is a queue that nobody works on.
func openQueue(t *testing.T, cfg *stint.Config) *stint.Queue {
	t.Helper()
	q := stinttest.New(t, cfg)
	require.NoError(t, createBuckets(q))
	return q
}

func startService(t *testing.T, opt options) *service {
	t.Helper()
	opt.addr = "127.0.0.1:0"
	if opt.db == "" {
		opt.db = filepath.Join(t.TempDir(), "events.db")
	}
	s, err := start(opt)
	require.NoError(t, err)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		assert.NoError(t, s.stop())
	})
	return s
}

func waitIdle(t *testing.T, q *stint.Queue) {
	t.Helper()
	require.Eventually(t, func() bool {
		r, err := newReport(q)
		return err == nil && r.Queue.idle()
	}, time.Minute, 5*time.Millisecond, "jobs are left: %+v", q.Counts())
}

func signedRequest(t *testing.T, key *ecdsa.PrivateKey, body string) *http.Request {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body))
	require.NoError(t, sign(key, request.Header, []byte(body), time.Now()))
	return request
}

func without(header string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Del(header) }
}

func with(header, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(header, value) }
}

func withBody(body string) func(*http.Request) {
	return func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(body)) }
}

func signedBy(key *ecdsa.PrivateKey, at time.Time) func(*http.Request) {
	return func(r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = sign(key, r.Header, body, at)
		}
		if err != nil {
			panic(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
}

func get(t *testing.T, url string) (string, http.Header) {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	return string(body), response.Header
}
