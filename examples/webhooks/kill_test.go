package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stintq/stint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	kills    = flag.Int("kills", 8, "how often TestKill kills the server")
	killSeed = flag.Uint64("kill-seed", 0, "when it does so: the seed that TestKill prints (0: another one each time)")
)

// childEnv makes this test binary the program itself.
const childEnv = "WEBHOOKS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestKill kills the server at random moments while events come in, and wants
// each event that was ever accepted counted exactly once.
func TestKill(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -kill-seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	key, db := newKey(t), filepath.Join(t.TempDir(), "events.db")
	crowd := newCrowd(t, key, seed)

	for range *kills {
		server := startChild(t, db, key)
		crowd.url.Store(server.url)
		time.Sleep(20*time.Millisecond + time.Duration(random.Int64N(int64(230*time.Millisecond))))
		server.kill(t)
	}

	s := startService(t, options{db: db, key: &key.PublicKey, workers: defaultWorkers})
	crowd.url.Store(s.url)
	crowd.goHome()
	waitIdle(t, s.queue)
	reviveSuspects(t, s.queue)
	counted, err := readMailings(s.queue)
	require.NoError(t, err)
	t.Logf("%d kills: %d events accepted, %d batches sent again", *kills, crowd.traffic.made, crowd.again.Load())
	assert.Positive(t, crowd.traffic.made)
	assert.NoError(t, crowd.traffic.check(counted))
}

// reviveSuspects retries, once, the jobs that are dead only because the kills
// from outside met them again and again: to the queue they look like jobs that
// kill the process. A job that is dead for another reason fails the test.
func reviveSuspects(t *testing.T, q *stint.Queue) {
	t.Helper()
	dead := stint.Filter{State: stint.Dead}
	for info, err := range q.Jobs(dead) {
		require.NoError(t, err)
		require.Positive(t, info.Crashes, "job %d is dead: %s", info.ID, info.Reason)
		require.Zero(t, info.Failures, "job %d is dead: %s", info.ID, info.Reason)
		require.Contains(t, info.Reason, "the process ended", "job %d", info.ID)
	}
	if q.Counts().Dead == 0 {
		return
	}
	revived, err := q.RetryAll(t.Context(), dead)
	require.NoError(t, err)
	t.Logf("%d jobs were dead as crash suspects and were revived", revived)
	waitIdle(t, q)
	require.Zero(t, q.Counts().Dead)
}

// TestTerm asks the server to stop while events come in: it answers what it
// has begun, and leaves a file that goes on.
func TestTerm(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM there")
	}
	key, db := newKey(t), filepath.Join(t.TempDir(), "events.db")
	crowd := newCrowd(t, key, 1)
	server := startChild(t, db, key)
	crowd.url.Store(server.url)
	time.Sleep(200 * time.Millisecond)
	require.NoError(t, server.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, server.cmd.Wait(), server.log)

	s := startService(t, options{db: db, key: &key.PublicKey})
	crowd.url.Store(s.url)
	crowd.goHome()
	waitIdle(t, s.queue)
	require.Zero(t, s.queue.Counts().Dead)
	counted, err := readMailings(s.queue)
	require.NoError(t, err)
	assert.NoError(t, crowd.traffic.check(counted))
}

// maxChildJobs keeps what is accepted near what is counted: a server that is
// killed all the time spends most of its life running crash suspects alone.
const maxChildJobs = "5000"

// child is the server in a process of its own.
type child struct {
	cmd *exec.Cmd
	log *strings.Builder // to be read once it has ended
	url string
}

func startChild(t *testing.T, db string, key *ecdsa.PrivateKey) *child {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program, "-serve", "127.0.0.1:0", "-db", db, "-max-jobs", maxChildJobs,
		"-key", base64.StdEncoding.EncodeToString(der))
	cmd.Env = append(os.Environ(), childEnv+"=1")
	log := &strings.Builder{}
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	ready, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		require.FailNow(t, "the server did not start", log.String())
	}
	return &child{cmd: cmd, log: log, url: strings.TrimSpace(strings.TrimPrefix(ready, "listening on "))}
}

// kill ends the server without a warning and returns when the file is free. A
// server that was not there any more had failed by itself.
func (c *child) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Kill())
	err := c.cmd.Wait()
	if runtime.GOOS != "windows" {
		require.ErrorContains(t, err, "signal: killed", c.log.String())
	}
}

// crowd posts batches without a pause that matters, and each until it is
// accepted: so in the end everything that was made must have been counted.
type crowd struct {
	url     atomic.Value // string
	again   atomic.Int64
	sender  *sender
	posters sync.WaitGroup
	closing atomic.Bool

	mu      sync.Mutex
	traffic *traffic
}

func newCrowd(t *testing.T, key *ecdsa.PrivateKey, seed uint64) *crowd {
	const posters = 4
	c := &crowd{sender: newSender(key, posters), traffic: newTraffic(seed, 6)}
	c.url.Store("")
	ctx, cancel := context.WithCancel(t.Context())
	for range posters {
		c.posters.Go(func() { c.post(ctx) })
	}
	t.Cleanup(func() { // also after a failure, when batches may never be accepted
		cancel()
		c.posters.Wait()
		c.sender.close()
	})
	return c
}

func (c *crowd) post(ctx context.Context) {
	for !c.closing.Load() && ctx.Err() == nil {
		if c.url.Load() == "" {
			time.Sleep(time.Millisecond)
			continue
		}
		batch := c.next()
		for c.sender.post(ctx, c.url.Load().(string), batch) != nil && ctx.Err() == nil {
			c.again.Add(1)
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// next is mostly a small batch, and now and then one that takes longer to
// work off than the server has to live.
func (c *crowd) next() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := 1 + c.traffic.random.IntN(40)
	if c.traffic.random.IntN(50) == 0 {
		size = 1000
	}
	return c.traffic.batch(size)
}

// goHome ends the posting, once everything that was made is accepted.
func (c *crowd) goHome() {
	c.closing.Store(true)
	c.posters.Wait()
	c.sender.close()
}
