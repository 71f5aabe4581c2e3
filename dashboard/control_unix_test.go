//go:build unix

package dashboard

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// through asks the program behind a control socket.
func through(t *testing.T, path string) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// shortDir is a directory beside whose files a socket can be.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "stint")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func openAt(t *testing.T, file string) *stint.Queue {
	q, err := stint.Open(file, &stint.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func TestControlSocket(t *testing.T) {
	t.Parallel()

	t.Run("only the owner can open it, and it goes with the queue", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(shortDir(t), "jobs.db")
		q := openAt(t, file)
		Handler(q, nil)
		path, err := ControlPath(file)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.ModeSocket|0o600, info.Mode())
		require.NoError(t, q.Close())
		require.NoFileExists(t, path)
		entries, err := os.ReadDir(filepath.Dir(file))
		require.NoError(t, err)
		require.Len(t, entries, 1, "nothing but the file is left: %v", entries)
	})

	t.Run("who comes through it may do everything, and is named in the log", func(t *testing.T) {
		t.Parallel()
		q := openAt(t, filepath.Join(shortDir(t), "jobs.db"))
		Handler(q, &Config{Authorize: func(*http.Request) Access { return Access{} }})
		path, err := ControlPath(q.DB().Path())
		require.NoError(t, err)
		request, err := http.NewRequest(http.MethodPost, "http://stint/api/v1/queues/pause", strings.NewReader(url.Values{"queue": {"mail"}}.Encode()))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set(controlUser, "cli:ana")
		response, err := through(t, path).Do(request)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
		for a, err := range q.Actions() {
			require.NoError(t, err)
			require.Equal(t, "cli:ana", a.By)
			require.Equal(t, "queue mail", a.Target)
			return
		}
		t.Fatal("nothing is in the log")
	})

	t.Run("the name that the socket trusts counts nowhere else", func(t *testing.T) {
		t.Parallel()
		q := testQueue(t, nil)
		h := Handler(q, &Config{NoControlSocket: true, Authorize: func(*http.Request) Access { return Access{} }})
		request, err := http.NewRequest(http.MethodGet, "/system", nil)
		require.NoError(t, err)
		request.Header.Set(controlUser, "cli:ana")
		response, _ := answer(t, h, request)
		require.Equal(t, http.StatusForbidden, response.StatusCode)
	})

	t.Run("what a crash has left is replaced", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(shortDir(t), "jobs.db")
		left, err := net.ListenUnix("unix", &net.UnixAddr{Name: file + ".sock", Net: "unix"})
		require.NoError(t, err)
		left.SetUnlinkOnClose(false)
		require.NoError(t, left.Close())
		q := openAt(t, file)
		Handler(q, nil)
		response, err := through(t, file+".sock").Get("http://stint/system")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.NoError(t, response.Body.Close())
	})

	t.Run("a second handler leaves the first one's alone", func(t *testing.T) {
		t.Parallel()
		q := openAt(t, filepath.Join(shortDir(t), "jobs.db"))
		Handler(q, nil)
		path, err := ControlPath(q.DB().Path())
		require.NoError(t, err)
		before, err := os.Stat(path)
		require.NoError(t, err)
		Handler(q, nil)
		after, err := os.Stat(path)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after))
	})

	t.Run("a long path has its socket elsewhere", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(shortDir(t), strings.Repeat("d", 100))
		require.NoError(t, os.Mkdir(dir, 0o700))
		q := openAt(t, filepath.Join(dir, "jobs.db"))
		Handler(q, nil)
		path, err := ControlPath(q.DB().Path())
		require.NoError(t, err)
		require.Less(t, len(path), 104)
		info, err := os.Stat(filepath.Dir(path))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		response, err := through(t, path).Get("http://stint/system")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.NoError(t, response.Body.Close())
	})

	t.Run("a closed queue has none, and hangs nobody", func(t *testing.T) {
		t.Parallel()
		dir := shortDir(t)
		q := openAt(t, filepath.Join(dir, "jobs.db"))
		require.NoError(t, q.Close())
		h := Handler(q, &Config{Authorize: func(*http.Request) Access { return Access{Role: View} }})
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1, "nothing but the file: %v", entries)
		here, err := os.Getwd()
		require.NoError(t, err)
		require.NoFileExists(t, here+".sock")
		response, text := get(t, h, "/")
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
		require.Contains(t, text, "closed")
	})

	t.Run("one that is closed before it is opened leaves the next process's alone", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(shortDir(t), "jobs.db.sock")
		next, err := listenAt(path)
		require.NoError(t, err)
		defer next.Close()
		before, err := os.Stat(path)
		require.NoError(t, err)
		s := &controlSocket{path: path, server: &http.Server{}}
		s.close()
		require.NoError(t, s.open())
		s.close()
		after, err := os.Stat(path)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after))
	})

	t.Run("a request under way is answered", func(t *testing.T) {
		t.Parallel()
		q := openAt(t, filepath.Join(shortDir(t), "jobs.db"))
		path, err := ControlPath(q.DB().Path())
		require.NoError(t, err)
		closing := make(chan struct{})
		q.OnClose(func() { close(closing) })
		began := make(chan struct{})
		newDashboard(q, nil).listen(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(began)
			<-closing
			_, _ = io.WriteString(w, "done")
		}))
		closed := make(chan error, 1)
		go func() { <-began; closed <- q.Close() }()
		response, err := through(t, path).Get("http://stint/")
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, "done", string(body))
		require.NoError(t, <-closed)
	})

	t.Run("it can be switched off", func(t *testing.T) {
		t.Parallel()
		q := openAt(t, filepath.Join(shortDir(t), "jobs.db"))
		Handler(q, &Config{NoControlSocket: true})
		path, err := ControlPath(q.DB().Path())
		require.NoError(t, err)
		require.NoFileExists(t, path)
	})

	t.Run("where it cannot be made the program works, and the log says so", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(shortDir(t), "jobs.db")
		require.NoError(t, os.MkdirAll(filepath.Join(file+".sock", "in", "the", "way"), 0o700))
		var log strings.Builder
		q := openAt(t, file)
		h := Handler(q, &Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Authorize: func(*http.Request) Access { return Access{Role: View} }})
		response, _ := get(t, h, "/system")
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Contains(t, log.String(), "no control socket")
	})
}
