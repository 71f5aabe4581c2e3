//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childEnv makes this test binary the program itself.
const childEnv = "ORDERS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestKill kills the daemon in the middle of its night, twice, and wants every
// order marked once and every mail accepted, those in flight perhaps again but
// with the Message-Id they had.
func TestKill(t *testing.T) {
	const invented = 1500
	desk := make(chan struct{}) // where a letter has to pass
	office := testOffice(t, 0)
	var held atomic.Int32
	office.before = func() {
		held.Add(1)
		<-desk
		held.Add(-1)
	}
	dir := t.TempDir()
	file, table := filepath.Join(dir, "orders.db"), filepath.Join(dir, "orders.csv")
	csv, err := os.Create(table)
	require.NoError(t, err)
	require.NoError(t, writeCSV(csv, inventOrders(invented)))
	require.NoError(t, csv.Close())

	start := func(args ...string) *exec.Cmd {
		child := exec.Command(os.Args[0], append([]string{"-daemon", "-now", "-at", leapDay, "-db", file, "-smtp", office.address}, args...)...)
		child.Env = append(os.Environ(), childEnv+"=1")
		child.Stderr = &testLog{t}
		require.NoError(t, child.Start())
		return child
	}
	child := start("-import", table)
	for _, mails := range []int{200, 500} {
		for range mails {
			desk <- struct{}{}
		}
		require.Eventually(t, func() bool { return held.Load() > 0 }, 20*time.Second, time.Millisecond)
		require.NoError(t, child.Process.Kill())
		require.Error(t, child.Wait())
		child = start()
	}
	close(desk)
	require.Eventually(t, func() bool { return len(office.lettersTo("shop@shop.example")) > 0 }, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, child.Process.Signal(syscall.SIGTERM))
	require.NoError(t, child.Wait())

	s, err := openShop(options{file: file, smtp: office.address, from: "shop@shop.example", spec: leapDay, zone: "Europe/Berlin"})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.close()) }()
	mails, err := s.audit(office)
	require.NoError(t, err)
	require.LessOrEqual(t, mails.repeated, 2*senders, "those in flight")
	require.Positive(t, mails.repeated, "those that were held at the desk when their sender died")
	require.Len(t, office.lettersTo("shop@shop.example"), 1)
	nights := 0
	for night, err := range s.queue.Batches(0) {
		require.NoError(t, err)
		require.Equal(t, mails.sent, night.Done, "each order was marked by one job")
		nights++
	}
	require.Equal(t, 1, nights)
}

// testLog shows what a child says, if the test fails.
type testLog struct{ t *testing.T }

func (l *testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}
