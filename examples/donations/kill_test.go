package main

import (
	"bufio"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stintq/stint"
	"github.com/stretchr/testify/require"
)

var (
	kills    = flag.Int("kills", 5, "how often TestKill kills the site")
	killSeed = flag.Uint64("kill-seed", 0, "when it does so: the seed that TestKill prints (0: another one each time)")
)

// childEnv makes this test binary the program itself.
const childEnv = "DONATIONS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestKill kills the program at random moments while more donations come in
// than it has time for, lets it finish its jobs at last, and wants each
// donation counted once.
func TestKill(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -kill-seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	c := campaign{donations: 500, fundraisers: 5, donors: 16}
	file := filepath.Join(t.TempDir(), "donations.db")
	for range *kills {
		killOne(t, file, 20*time.Millisecond+time.Duration(random.Int64N(int64(130*time.Millisecond))))
	}

	s, err := openSite(file)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.close()) }()
	hurry(t, s)
	require.NoError(t, c.donate(t.Context(), s.url))
	require.NoError(t, s.settled(t.Context()))
	reviveSuspects(t, s)
	var out strings.Builder
	require.NoError(t, c.report(s, &out), out.String())
	t.Log(out.String())
}

// killOne starts the program and kills it after a while.
func killOne(t *testing.T, file string, after time.Duration) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program, "-db", file, "-donations", "100000")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	log := &strings.Builder{}
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	begun, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		require.FailNow(t, "the site did not start", log.String())
	}
	require.Contains(t, begun, "donors at a time")
	time.Sleep(after)
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); runtime.GOOS != "windows" {
		require.ErrorContains(t, err, "signal: killed", log.String())
	}
}

// reviveSuspects retries the jobs that are dead only because the kills from
// outside met them again and again: to the queue they look like jobs that kill
// the process. A job that is dead for another reason fails the test.
func reviveSuspects(t *testing.T, s *site) {
	t.Helper()
	dead := stint.Filter{State: stint.Dead}
	for s.queue.Counts().Dead > 0 {
		for info, err := range s.queue.Jobs(dead) {
			require.NoError(t, err)
			require.Contains(t, info.Reason, "the process ended", "job %d", info.ID)
		}
		revived, err := s.queue.RetryAll(t.Context(), dead)
		require.NoError(t, err)
		require.Positive(t, revived)
		t.Logf("%d jobs were dead as crash suspects and were revived", revived)
		require.NoError(t, s.settled(t.Context()))
	}
}
