package stint_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var killsOfAll = flag.Int("kills", 50, "SIGKILLs of TestKilledAgainAndAgain")

// A process that does all at once, as in the recordings of power cuts, is
// killed at any moment, and so is the next one, which has to take over from
// it. What they have said is held against what the file has; then everything
// is run to its end, and each effect has come once.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	kills, lines, began := 0, 0, time.Now()
	for round := 0; kills < *killsOfAll; round++ {
		dir, err := memoryDir() // a kill loses nothing that was written, so a disk would only be slower
		require.NoError(t, err)
		var facts []string
		for _, role := range []string{"", "revived"} {
			c := startChild(t, childArgs{Mode: "states", File: filepath.Join(dir, "queue.db"), N: 1000, Log: role})
			if rng.IntN(4) > 0 {
				c.await("is", 1)
			}
			if c.endsWithin(time.Duration(rng.IntN(300)) * time.Millisecond) {
				c.succeeds()
			} else {
				c.kill()
				kills++
			}
			facts = append(facts, c.lines...)
		}
		said, err := newTestimony(facts)
		require.NoError(t, err)
		lines += len(facts)
		require.Empty(t, faultsOfState(dir, said, len(facts), true, true), "round %d, after %d kills; the files are in %s", round, kills, dir)
		require.NoError(t, os.RemoveAll(dir))
	}
	t.Logf("%d kills in %v; of %d lines that were said, each was true", kills, time.Since(began).Round(time.Millisecond), lines)
}
