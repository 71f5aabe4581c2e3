package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBench(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var r benchResult
	require.NoError(t, json.Unmarshal([]byte(ok(t, "bench", dir, "--jobs", "200", "--producers", "4", "--json")), &r))
	require.Equal(t, 200, r.Jobs)
	for _, n := range []float64{r.Seconds, r.JobsPerS, r.EnqueueS, r.EnqueueP50, r.EnqueueP99, r.StartP50, r.StartP99, r.SyncsPerJob, r.DiskSyncs, r.DiskP50, r.DiskP99} {
		require.Positive(t, n, "%+v", r)
	}
	require.GreaterOrEqual(t, r.EnqueueP99, r.EnqueueP50)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
