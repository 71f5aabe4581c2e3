package stinttest_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// recorder is a test that may fail: it keeps what the real one would say.
type recorder struct {
	testing.TB

	mu       sync.Mutex
	failed   bool            // guarded by mu
	errors   strings.Builder // guarded by mu
	logs     strings.Builder // guarded by mu
	cleanups []func()        // called when the function under test is over
}

// record calls fn with a test that may fail, and then its cleanups.
func record(t testing.TB, fn func(t testing.TB)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	r.call(func() { fn(r) })
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.call(r.cleanups[i])
	}
	return r
}

// call waits for fn in a goroutine of its own, which FailNow ends.
func (r *recorder) call(fn func()) {
	var wg sync.WaitGroup
	wg.Go(fn)
	wg.Wait()
}

func (r *recorder) Cleanup(fn func()) { r.cleanups = append(r.cleanups, fn) }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
	fmt.Fprintf(&r.errors, format+"\n", args...)
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) FailNow() {
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.logs, format+"\n", args...)
}
