package stint

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The documents tell what the code does; these tests see to it.

func TestArchitectureDrawsTheMovesOfTheCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("ARCHITECTURE.md")
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(string(text), "\n"), 200)

	var drawn []string
	for _, m := range regexp.MustCompile(`(?m)^    (\w+) --> (\w+):`).FindAllStringSubmatch(string(text), -1) {
		drawn = append(drawn, m[1]+" "+m[2])
	}
	var legal []string
	for from, tos := range legalMoves {
		for _, to := range tos {
			legal = append(legal, State(from).String()+" "+to.String())
		}
	}
	slices.Sort(drawn)
	slices.Sort(legal)
	require.Equal(t, legal, drawn)
}

func TestArchitectureListsTheBucketsOfTheCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("ARCHITECTURE.md")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(text), "| bucket |")
	table, _, _ = strings.Cut(table, "\n\n")
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(table, -1) {
		listed = append(listed, m[1])
	}
	var made []string
	for _, name := range bucketNames {
		made = append(made, string(name))
	}
	require.Equal(t, made, listed)
}

func TestArchitectureNamesFilesThatExist(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"ARCHITECTURE.md", "README.md"} {
		text, err := os.ReadFile(doc)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile("`(\\w+\\.go)`").FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(m[1])
			require.NoError(t, err, "%s names it", doc)
		}
	}
}

func TestOnlyTheStoreNamesBuckets(t *testing.T) {
	t.Parallel()
	for name, text := range sources(t) {
		if name == "store_bolt.go" {
			continue
		}
		for _, bucket := range bucketNames {
			require.NotRegexp(t, `\[\]byte\("`+string(bucket)+`"\)`, text, name)
		}
		if name != "tree_copy.go" { // copies buckets that it does not know
			require.NotContains(t, text, "CreateBucket", name)
		}
	}
}

func TestOnlyPeriodicKnowsTheCronLibrary(t *testing.T) {
	t.Parallel()
	for name, text := range sources(t) {
		require.Equal(t, name == "periodic.go", strings.Contains(text, "robfig/cron/v3\""), name)
	}
}

func TestTestifyIsForTests(t *testing.T) {
	t.Parallel()
	for name, text := range sources(t) {
		require.NotContains(t, text, "stretchr/testify", name)
	}
}

// sources are the root package's files that are no tests.
func sources(t *testing.T) map[string]string {
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	texts := map[string]string{}
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			b, err := os.ReadFile(name)
			require.NoError(t, err)
			texts[name] = string(b)
		}
	}
	return texts
}

func TestRootPackageStaysLight(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	allowed := regexp.MustCompile(`^(github\.com/stintq/stint|go\.etcd\.io/bbolt|golang\.org/x/sys|golang\.org/x/sync|github\.com/robfig/cron/v3)(/|$)`)
	for _, pkg := range strings.Fields(string(out)) {
		require.NotContains(t, []string{"net/http", "html/template", "expvar", "text/template", "net"}, pkg)
		if first, _, _ := strings.Cut(pkg, "/"); strings.Contains(first, ".") {
			require.Regexp(t, allowed, pkg)
		}
	}
}

// Every Go block of the README stands in a file that is compiled, so it
// cannot go stale.
func TestReadmeShowsCompiledCode(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var compiled []string
	for _, pattern := range []string{"*.go", "examples/*/*.go", "stinttest/*.go", "dashboard/*.go"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			b, err := os.ReadFile(name)
			require.NoError(t, err)
			compiled = append(compiled, withoutIndent(string(b)))
		}
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		found := slices.ContainsFunc(compiled, func(file string) bool {
			return strings.Contains(file, withoutIndent(block[1]))
		})
		require.True(t, found, "no file contains:\n%s", block[1])
	}
}

func withoutIndent(code string) string {
	lines := strings.Split(code, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
