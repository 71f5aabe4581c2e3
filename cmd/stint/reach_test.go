package main

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/dashboard"
)

func TestAFileThatIsNotThereIsNotMade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "typo.db")
	for _, args := range [][]string{
		{"stats"}, {"jobs", "list"}, {"jobs", "show", "1"}, {"jobs", "retry", "1"}, {"jobs", "delete", "1", "--yes"}, {"queues", "list"}, {"queues", "pause", "low"},
		{"kinds"}, {"schedules", "list"}, {"batches", "list"}, {"enqueue", "mail", "{}"}, {"tail"}, {"actions"}, {"export"}, {"backup", path + ".copy"},
		{"check"}, {"repair"}, {"compact"}, {"ui"},
	} {
		a := stintCLI(t, append(args, "-f", path)...)
		require.Equal(t, exitNotFound, a.code, "%q: %s", args, a.err)
		require.Contains(t, a.err, "there is no file "+path, "%q", args)
		require.Empty(t, a.out)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestAFileInUseWithoutASocket(t *testing.T) {
	t.Parallel()
	s := openShop(t, stock(t), nil, nil, true)
	for _, args := range [][]string{{"stats"}, {"jobs", "retry", "1"}, {"check"}, {"repair"}, {"tail"}, {"ui"}} {
		a := stintCLI(t, append(args, "-f", s.path)...)
		require.Equal(t, exitUnreachable, a.code, "%q: %s", args, a.err)
		require.Contains(t, a.err, s.path+" is in use", "%q", args)
		require.Contains(t, a.err, "offers no control socket; mount dashboard.Handler in the application (it opens one) or stop it")
	}
}

func TestAClosedFileIsLetGoOf(t *testing.T) {
	t.Parallel()
	path := stock(t)
	ok(t, "stats", path)
	q, err := stint.Open(path, &stint.Config{LockTimeout: -1})
	require.NoError(t, err)
	require.NoError(t, q.Close())
	a := stintCLI(t, "tail", path)
	require.Equal(t, exitUnreachable, a.code)
	require.Contains(t, a.err, "no program has "+path+" open")
}

func TestWhatTheProgramKeepsIsKept(t *testing.T) {
	t.Parallel()
	const dead = 10_005 // more than are kept by default
	path := filepath.Join(t.TempDir(), "shop.db")
	s := openShop(t, path, &stint.Config{MaxDead: -1, KeepDead: -1}, nil, false)
	_, err := s.q.EnqueueSeq(t.Context(), func(yield func(stint.Args) bool) {
		for i := 0; i < dead && yield(report{Month: i}); i++ {
		}
	})
	require.NoError(t, err)
	_, err = s.q.KillAll(t.Context(), stint.Filter{Kind: "report"}, "enough")
	require.NoError(t, err)
	_, err = s.q.Enqueue(t.Context(), mail{To: "ana@example.org"})
	require.NoError(t, err)
	s.stop()
	ok(t, "jobs", "kill", strconv.Itoa(dead+1), "-f", path, "--yes")
	var stats struct{ Dead int }
	require.NoError(t, json.Unmarshal([]byte(ok(t, "stats", path, "--json")), &stats))
	require.Equal(t, dead+1, stats.Dead)
}

func TestARemoteDashboard(t *testing.T) {
	t.Parallel()
	s := openShop(t, stock(t), nil, nil, true)
	board := dashboard.Handler(s.q, &dashboard.Config{NoControlSocket: true, Authorize: func(r *http.Request) dashboard.Access {
		switch r.Header.Get("Authorization") {
		case "Bearer look":
			return dashboard.Access{Role: dashboard.View, User: "viewer"}
		case "Bearer all":
			return dashboard.Access{Role: dashboard.Admin, User: "root"}
		}
		return dashboard.Access{}
	}})
	mux := http.NewServeMux()
	mux.Handle("/a/jobs/", http.StripPrefix("/a/jobs", board))
	mux.Handle("/login/", http.RedirectHandler("/a/jobs/", http.StatusFound))
	mux.HandleFunc("/page/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	server := httptest.NewServer(mux)
	defer server.Close()
	at := server.URL + "/a/jobs"

	require.Contains(t, ok(t, "stats", "--addr", at, "--token", "look"), "ready")
	require.Contains(t, ok(t, "stats", "--addr", at+"/", "--token", "look"), "ready")
	require.Contains(t, ok(t, "jobs", "retry", "2", "--addr", at, "--token", "all"), "retry job 2")
	backup := filepath.Join(t.TempDir(), "copy.db")
	ok(t, "backup", backup, "--addr", at, "--token", "all")
	require.Equal(t, "no faults\n", ok(t, "check", backup))

	for _, one := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"stats", "--addr", at}, exitError, "you may not see this"},
		{[]string{"jobs", "retry", "2", "--addr", at, "--token", "look"}, exitError, "this needs the role operate"},
		{[]string{"stats", "--addr", server.URL + "/login"}, exitError, "302 Found, which leads to /a/jobs/"},
		{[]string{"stats", "--addr", server.URL + "/page"}, exitError, "is a dashboard there?"},
		{[]string{"stats", "--addr", server.URL + "/none"}, exitNotFound, "404"},
		{[]string{"stats", "--addr", "localhost:80"}, exitUsage, "is no address"},
		{[]string{"stats", "--addr", "http://127.0.0.1:1"}, exitUnreachable, "refused"},
		{[]string{"stats", "--addr", at, "-f", "x.db"}, exitUsage, "instead of a file"},
	} {
		a := stintCLI(t, one.args...)
		require.Equal(t, one.code, a.code, "%q: %s", one.args, a.err)
		require.Contains(t, a.err, one.says, "%q", one.args)
		require.Empty(t, a.out)
	}
}

func TestAnEncryptedFile(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	dir := t.TempDir()
	path := filepath.Join(dir, "secret.db")
	s := openShop(t, path, &stint.Config{Keys: [][]byte{key}}, nil, false)
	_, err := s.q.Enqueue(t.Context(), mail{To: "ana@example.org"})
	require.NoError(t, err)
	s.stop()
	a := stintCLI(t, "jobs", "list", path)
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.err, "keys are given with --key-file or in STINT_KEYS")
	require.Equal(t, "no faults\n", ok(t, "check", path), "this needs no keys")

	for name, content := range map[string][]byte{"raw": key, "hex": []byte("  " + hex.EncodeToString(key) + "\n")} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, content, 0o600))
		require.Contains(t, ok(t, "jobs", "list", path, "--key-file", file), "ana@example.org")
	}
	t.Setenv("STINT_KEYS", strings.Repeat("ab", 32)+","+hex.EncodeToString(key))
	t.Setenv("STINT_FILE", path)
	require.Contains(t, ok(t, "jobs", "list"), "ana@example.org")
	copied := filepath.Join(dir, "copy.db")
	export := filepath.Join(dir, "export.jsonl")
	ok(t, "export", "--to", export)
	ok(t, "import", "-f", copied, export)
	t.Setenv("STINT_KEYS", "")
	require.Equal(t, exitError, stintCLI(t, "jobs", "list", "-f", copied).code, "the copy is encrypted as well")
	t.Setenv("STINT_KEYS", "secret")
	a = stintCLI(t, "jobs", "list")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.err, "STINT_KEYS: key 1 of 1")
}
