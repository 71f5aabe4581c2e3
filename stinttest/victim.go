package stinttest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stintq/stint/internal/hook"
)

// victim is a process that works a queue and kills itself at one of its
// commits.
//
//  1. start runs the test binary with the one test, and the victim in a
//     variable of its environment.
//  2. That process comes to the same call of Survives, which calls live. It
//     never returns from there.
//  3. What became of it is told by an empty file: on some systems the exit
//     status of a process that killed itself is that of one that failed.
type victim struct {
	Test   string // its full name
	Call   int    // of Survives in that test
	Dir    string // of the round
	Commit int    // from 1 on
	After  bool   // it, and not before
}

const victimVariable = "STINTTEST_VICTIM"

// String says when it is killed.
func (v *victim) String() string {
	if v.After {
		return fmt.Sprintf("when the process is killed right after its commit %d", v.Commit)
	}
	return fmt.Sprintf("when the process is killed right before its commit %d", v.Commit)
}

// The files that tell what became of it.
func (v *victim) killed() string { return filepath.Join(v.Dir, "killed") }
func (v *victim) done() string   { return filepath.Join(v.Dir, "done") }

// victimHere is the victim that this process is, or nil.
func victimHere() *victim {
	text := os.Getenv(victimVariable)
	if text == "" {
		return nil
	}
	v := &victim{}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		panic(fmt.Sprintf("stinttest: %s makes no sense: %v", victimVariable, err))
	}
	return v
}

// start runs the process to its end, and reports whether it was killed.
func (v *victim) start(t testing.TB) (killed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatalf("stinttest: %v", err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("stinttest: %v", err)
	}
	temp := filepath.Join(v.Dir, "temp") // a process that is killed does not tidy up
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatalf("stinttest: %v", err)
	}
	cmd := exec.Command(self, v.arguments()...)
	cmd.Env = append(os.Environ(), victimVariable+"="+string(text), "TMPDIR="+temp, "TMP="+temp, "TEMP="+temp)
	out, err := cmd.CombinedOutput()
	killed = exists(v.killed())
	if !killed && !exists(v.done()) {
		t.Fatalf("stinttest: the process that was to be killed came to another end (%v); it may do the same up to this call of Survives as the test does; its output:\n%.4000s", err, out)
	}
	return killed
}

// arguments let the binary run the one test, with the flags of the test's own.
func (v *victim) arguments() []string {
	names := strings.Split(v.Test, "/")
	for i, name := range names {
		names[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	args := []string{"-test.run=" + strings.Join(names, "/"), "-test.timeout=2m"}
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	return args
}

// live is the process.
func (v *victim) live(t testing.TB, s Survival) {
	t.Helper()
	q := s.open(t, filepath.Join(v.Dir, "app"))
	n := 0 // the queue has one writer at a time
	hook.OnCommit(func(m hook.Moment) {
		if m == hook.BeforeCommit {
			n++
		}
		if n == v.Commit && v.After == (m == hook.AfterCommit) {
			v.die()
		}
	})
	finish(t, q)
	hook.OnCommit(nil)
	note(v.done())
	os.Exit(0)
}

// die ends the process as kill -9 does. It does not return: nothing more may
// happen in the transaction.
func (v *victim) die() {
	note(v.killed())
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(fmt.Sprintf("stinttest: this process cannot kill itself: %v", err))
	}
	select {}
}

// note makes an empty file.
func note(path string) {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		panic(fmt.Sprintf("stinttest: %v", err))
	}
}
