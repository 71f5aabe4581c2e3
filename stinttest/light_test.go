package stinttest_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who uses the package gets nothing that the queue does not bring along, and
// the names are few.
func TestPackageStaysLight(t *testing.T) {
	t.Parallel()
	own, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	roots, err := exec.Command("go", "list", "-deps", "..").Output()
	require.NoError(t, err)
	for _, pkg := range strings.Fields(string(own)) {
		if first, _, _ := strings.Cut(pkg, "/"); strings.Contains(first, ".") && !strings.HasPrefix(pkg, "github.com/stintq/stint/") {
			require.Contains(t, strings.Fields(string(roots)), pkg)
		}
	}
	doc, err := exec.Command("go", "doc", "-short", ".").Output()
	require.NoError(t, err)
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^(?:func|type) (\w+)`).FindAllStringSubmatch(string(doc), -1) {
		names = append(names, m[1])
	}
	require.ElementsMatch(t, []string{"New", "RequireEnqueued", "RequireNotEnqueued", "Enqueued", "Work", "Drain", "FastForward", "Survives", "Survival"}, names)
}
