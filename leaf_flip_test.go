package stint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

var leafFlips = flag.Int("flips.large", 120, "how many bits TestFlippedBitsOfALargeFile flips")

func init() { childModes["leaves"] = childLeaves }

// Bits are flipped one at a time in a file with which Open is quick. A child
// works it off, and says how that ended: it must not lose anything in silence.
func TestFlippedBitsOfALargeFile(t *testing.T) {
	path := makeLarge(t)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content = content[:stint.UsedSize(content)+pageSize] // with the mark
	require.NoError(t, os.WriteFile(path, content, 0o600))
	rnd, bits := seeded(t), []int{}
	for i := range *leafFlips {
		page := rnd.IntN(len(content)/pageSize - 1)
		if i%2 == 0 { // the head of the page and its table
			bits = append(bits, page*pageSize*8+rnd.IntN(1024))
		} else {
			bits = append(bits, page*pageSize*8+rnd.IntN(8*pageSize))
		}
	}
	plan, err := json.Marshal(bits)
	require.NoError(t, err)
	planFile := filepath.Join(t.TempDir(), "plan")
	require.NoError(t, os.WriteFile(planFile, plan, 0o600))
	c := startChild(t, childArgs{Mode: "leaves", File: path, Log: planFile})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last flips were of the bits %v", c.said("bit"))
		}
	})
	counts := map[string]int{}
	for i, bit := range bits {
		outcome := c.await("flip", i+1)
		require.NotContains(t, outcome, " ", "bit %d", bit)
		counts[outcome]++
	}
	c.succeeds()
	t.Logf("%d flips of a file of %d bytes: %v", len(bits), len(content), counts)
	require.Positive(t, counts[wasReported])
	require.Positive(t, counts[wasHarmless])
}

func childLeaves(args childArgs) {
	stint.SetQuickAbove(16 << 10)
	original, err := os.ReadFile(args.File)
	must(err)
	plan, err := os.ReadFile(args.Log)
	must(err)
	var bits []int
	must(json.Unmarshal(plan, &bits))
	for _, bit := range bits {
		say("bit %d", bit)
		content := wounds["bit"](bytes.Clone(original), wound{At: bit})
		must(os.WriteFile(args.File, content, 0o600))
		say("flip %s", workDamaged(args.File, stint.Preflight(content)))
	}
}

// workDamaged works a damaged file off. structure is what is wrong with its
// pages.
func workDamaged(path string, structure error) string {
	q, err := tryOpen(path, &stint.Config{Logger: quiet, Workers: 8})
	if err != nil {
		return judgeRefusal(err)
	}
	q.DB().NoSync = true
	var done atomic.Int64
	stint.Handle(q, func(context.Context, *stint.Job[blob]) error { done.Add(1); return nil }, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	for still, last := 0, int64(-1); still < 50 && len(ran) == 0; {
		time.Sleep(2 * time.Millisecond)
		if now := done.Load(); now != last || stint.LeavesLeft(q) {
			still, last = 0, now
		} else if still++; q.Counts() == (stint.Counts{}) {
			break
		}
	}
	cancel()
	err = errors.Join(<-ran)
	aside := q.Stats().Quarantined
	err = errors.Join(err, q.Close())
	switch {
	case errors.Is(err, stint.ErrCorrupt):
		return wasReported
	case err != nil:
		return "it ends with " + err.Error()
	case structure != nil:
		return "nobody tells of " + structure.Error()
	case int(done.Load())+aside == leafJobs && aside == 0:
		return wasHarmless
	}
	faults, err := stint.CheckFile(path)
	must(err)
	if aside == 0 && len(faults) == 0 {
		return fmt.Sprintf("in silence %d of %d jobs have run", done.Load(), leafJobs)
	}
	return wasReported
}
