package dashboard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// importInto posts lines.
func importInto(t *testing.T, q *stint.Queue, body io.Reader) (wire.Imported, *httptest.ResponseRecorder) {
	t.Helper()
	r := localRequest("POST", "/api/v1/import", body)
	r.Header.Set("Content-Type", "application/x-ndjson")
	w := serve(t, routesHandler(q, nil), r)
	var done wire.Imported
	if w.Code == http.StatusOK {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &done))
	}
	return done, w
}

// TestImportOfAnExport takes what is unfinished in one queue into another that
// is at work.
func TestImportOfAnExport(t *testing.T) {
	t.Parallel()
	from, _ := apiQueue(t)
	at := time.Now().Add(5 * time.Hour).Truncate(time.Microsecond)
	_, err := from.Enqueue(t.Context(), routesJob{`<&> "ü"`}, stint.At(at), stint.OnQueue("a/b:c"), stint.Priority(4), stint.Tags("x", "y z"), stint.MaxAttempts(7))
	require.NoError(t, err)
	c := from.Counts()

	w := serve(t, routesHandler(from, nil), localRequest("GET", "/api/v1/export", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/x-ndjson", w.Header().Get("Content-Type"))
	require.Regexp(t, `^attachment; filename=routes-\d{8}-\d{6}\.jsonl$`, w.Header().Get("Content-Disposition"))

	to := routesQueue(t)
	done, answer := importInto(t, to, w.Body)
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	require.Zero(t, done.Refused, done.Lines)
	require.Equal(t, c.Ready+c.Running+c.Scheduled+c.Retrying, done.Stored)
	counts := to.Counts()
	require.Equal(t, done.Stored, counts.Ready+counts.Scheduled)
	found := false
	for info, err := range to.Jobs(stint.Filter{Queue: "a/b:c"}) {
		require.NoError(t, err)
		found = true
		require.Equal(t, stint.Scheduled, info.State)
		require.True(t, at.Equal(info.RunAt))
		require.Equal(t, "routes/job", info.Kind)
		require.JSONEq(t, `{"text":"<&> \"ü\""}`, string(info.Args))
		require.Equal(t, []string{"x", "y z"}, info.Tags)
		require.Equal(t, 4, info.Priority)
		require.Equal(t, 7, info.MaxAttempts)
	}
	require.True(t, found)
}

func TestImportOfPlainLines(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	done, _ := importInto(t, q, strings.NewReader(strings.Join([]string{
		`{"kind":"mail","args":{"n":12345678901234567890},"queue":"low","priority":1,"tags":["a"],"run_at":"2126-01-02T03:04:05Z","max_attempts":2}`,
		``,
		`  {"kind":"mail"}  `,
		`{"args":{}}`,
		`{"kind":"mail","arg":{}}`,
		`{"kind":"mail"`,
		`{"kind":"ma il"}`,
		`{"kind":"mail","priority":9}`,
		`{"kind":"mail","run_at":"tomorrow"}`,
		`{"line":"jobs","kind":"mail"}`,
		`{"line":"job","kind":"mail","state":"flying"}`,
		`{"line":"job","kind":"mail","state":"dead"}`,
		`{"line":"job","kind":"mail","state":"ready","args":{},"id":5,"more":1}`,
		`{"line":"job","kind":"mail","state":"ready","args":{},"expires":"2020-01-01T00:00:00Z"}`,
		`[1]`,
		`{"kind":"last","args":[]}`,
	}, "\r\n")))
	require.Equal(t, 4, done.Stored)
	require.Equal(t, 1, done.Passed)
	require.Equal(t, 10, done.Refused)
	var numbers []int
	for _, one := range done.Lines {
		numbers = append(numbers, one.Line)
		require.NotEmpty(t, one.Error)
	}
	require.Equal(t, []int{4, 5, 6, 7, 8, 9, 10, 11, 14, 15}, numbers)
	for info, err := range q.Jobs(stint.Filter{Queue: "low"}) {
		require.NoError(t, err)
		require.JSONEq(t, `{"n":12345678901234567890}`, string(info.Args))
		require.Contains(t, string(info.Args), "12345678901234567890", "numbers keep their digits")
	}
}

func TestImportAnswersTheFirstRefused(t *testing.T) {
	t.Parallel()
	done, _ := importInto(t, routesQueue(t), strings.NewReader(strings.Repeat("{}\n", 500)))
	require.Equal(t, 500, done.Refused)
	require.Len(t, done.Lines, shownRefused)
	for i, one := range done.Lines {
		require.Equal(t, i+1, one.Line)
	}
}

func TestImportNoticesWhatIsCutShort(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	whole := `{"line":"export","version":1}` + "\n" + `{"line":"job","state":"ready","kind":"mail","args":{}}` + "\n"
	done, _ := importInto(t, q, strings.NewReader(whole))
	require.Equal(t, 1, done.Stored)
	require.Equal(t, 1, done.Refused)
	require.Contains(t, done.Lines[0].Error, "cut short")
	done, _ = importInto(t, q, strings.NewReader(whole+`{"line":"end"}`))
	require.Zero(t, done.Refused)
	require.Equal(t, 2, done.Passed)
	done, _ = importInto(t, q, strings.NewReader(`{"line":"export","version":2}`+"\n"+`{"line":"end"}`))
	require.Contains(t, done.Lines[0].Error, "newer version")
}

// TestImportOfUnwrappedArgs: an export wraps what is no JSON in base64.
func TestImportOfUnwrappedArgs(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	done, _ := importInto(t, q, strings.NewReader(`{"line":"job","state":"ready","kind":"mail","args":{"base64":"eyJiYXNlNjQiOjF9"}}`+"\n"+
		`{"line":"job","state":"ready","kind":"mail","args":{"base64":"/////w=="}}`+"\n"+`{"line":"job","state":"ready","kind":"mail","args":{"base64":5}}`))
	require.Equal(t, 1, done.Stored)
	require.Equal(t, 2, done.Refused)
	for info, err := range q.Jobs(stint.Filter{Kind: "mail"}) {
		require.NoError(t, err)
		require.Equal(t, `{"base64":1}`, string(info.Args))
	}
}

func TestImportStops(t *testing.T) {
	t.Parallel()
	q := routesQueueWith(t, &stint.Config{MaxJobs: 100})
	_, w := importInto(t, q, strings.NewReader(strings.Repeat(`{"kind":"mail"}`+"\n", 5000)))
	require.Equal(t, http.StatusInsufficientStorage, w.Code)
	require.Contains(t, w.Body.String(), "100 stored")
	require.Equal(t, 100, q.Counts().Ready)

	q = routesQueue(t)
	_, w = importInto(t, q, io.MultiReader(strings.NewReader(`{"kind":"mail"}`+"\n"), failingReader{}))
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "1 stored")
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("the line was cut") }

func TestImportRefusesForms(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	for _, contentType := range []string{"multipart/form-data; boundary=x", "application/x-www-form-urlencoded"} {
		r := localRequest("POST", "/api/v1/import", strings.NewReader(`{"kind":"mail"}`))
		r.Header.Set("Content-Type", contentType)
		require.Equal(t, http.StatusUnsupportedMediaType, serve(t, routesHandler(q, nil), r).Code)
	}
	require.Zero(t, q.Counts().Ready)
}

func TestReadLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxImportLine+1)
	in := bufio.NewReaderSize(strings.NewReader("one\r\n\n"+long+"\n"+long[:70_000]+"\nlast"), 64<<10)
	for _, want := range []string{"one", "", "too long", long[:70_000]} {
		line, err := readLine(in)
		if want == "too long" {
			require.ErrorIs(t, err, errLongLine)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, string(line))
	}
	line, err := readLine(in)
	require.Equal(t, "last", string(line))
	require.Equal(t, io.EOF, err)
}

func FuzzImportLine(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"a","args":{"base64":1},"tags":["x"],"run_at":"2026-01-01T00:00:00Z"}`, `{"line":"job","state":"ready","args":{"base64":"AA=="}}`,
		`{"line":"end"}`, `{"line":"export","version":99}`, `null`, `{"kind":null}`, `{"kind":"a","kind":"b"}`, `[]`, `{"Kind":"a"}`, "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		job, err := parseImportLine(text)
		if err != nil && (job != nil || !errors.Is(err, errBadLine)) {
			t.Fatalf("%v, %v", job, err)
		}
		if err == nil && !json.Valid(text) {
			t.Fatalf("taken: %q", text)
		}
	})
}

// TestBackupCanBeOpened downloads the file of a queue that works.
func TestBackupCanBeOpened(t *testing.T) {
	t.Parallel()
	q, _ := apiQueue(t)
	server := httptest.NewServer(routesHandler(q, withRole(Admin)))
	defer server.Close()
	response, err := server.Client().Get(server.URL + "/api/v1/backup")
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, response.Header.Get("Content-Disposition"), ".db")
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	copied, err := stint.Open(path, nil)
	require.NoError(t, err)
	require.Equal(t, 1, copied.Counts().Dead)
	require.NoError(t, copied.Close())

	var verbs []string
	for action, err := range q.Actions() {
		require.NoError(t, err)
		require.Equal(t, "ana", action.By)
		require.Equal(t, byteSize(len(content))+" sent", action.Note)
		require.Equal(t, "file routes.db", action.Target)
		verbs = append(verbs, action.Verb)
	}
	require.Equal(t, []string{"backup"}, verbs)
}

// TestADownloadThatFails is an error at its beginning, and broken off later.
func TestADownloadThatFails(t *testing.T) {
	t.Parallel()
	d := newDashboard(routesQueue(t), nil)
	send := func(first []byte) (w *httptest.ResponseRecorder, err error) {
		w = httptest.NewRecorder()
		r := d.request(localRequest("GET", "/api/v1/export", nil))
		r.control = http.NewResponseController(w)
		err = d.sendFile(w, r, "export", ".jsonl", "text/plain", func(_ context.Context, to io.Writer) error {
			_, _ = to.Write(first)
			return stint.ErrClosed
		})
		return w, err
	}
	w, err := send(nil)
	require.ErrorIs(t, err, stint.ErrClosed)
	require.Empty(t, w.Header().Get("Content-Disposition"))
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { _, _ = send([]byte("half")) })
}
