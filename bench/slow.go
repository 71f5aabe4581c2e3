package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Slow disks. bbolt's syncs cannot be hooked, so the command runs itself again
// under strace, which lets each fsync and fdatasync take longer. Only what
// syncs in this process becomes slow: Stint, the naive queue and the floors.

// delayedBy is set for the process that runs under strace.
const delayedBy = "STINT_BENCH_DELAYED"

var slowDelays = []time.Duration{time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond}

func slowName(d time.Duration) string { return "slow-" + d.String() }

// slowDisk is slowHere, measured in a process with slow syncs.
func slowDisk(d time.Duration) workload {
	w := slowHere
	w.name, w.slow = slowName(d), true
	w.title = fmt.Sprintf("Enqueue from 64 goroutines and work with 100 workers at once, %v more per sync", d)
	w.cost = 9 * time.Second
	return w
}

var slowHere = workload{
	name: "slow", title: "Enqueue from 64 goroutines and work with 100 workers at once",
	columns: rateColumns, floor: floorGroup,
	subjects: func(b *bench) []subject {
		return append(stintOnly(func(ctx context.Context, b *bench, dir string) (metrics, error) {
			return b.flow(ctx, stintSystem{}, dir)
		})(b), groupFloor(b), putFloor(b, 1))
	},
}

// measureSlow takes over what a process with slow syncs has measured.
func (b *bench) measureSlow(ctx context.Context, w workload) error {
	i := slices.IndexFunc(slowDelays, func(d time.Duration) bool { return slowName(d) == w.name })
	done := b.progress.begin(w.name+" · in a process of its own", b.cost(w)*time.Duration(b.opt.rounds))
	defer done()
	args := []string{"-run", "^slow$", "-json", "-rounds", strconv.Itoa(b.opt.rounds), "-dir", b.dir, "-systems", b.opt.systems.String()}
	if b.opt.quick {
		args = append(args, "-quick")
	}
	out, in := io.Pipe()
	var said bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		err := underStrace(ctx, slowDelays[i], args, in, &said)
		in.CloseWithError(err)
		ended <- err
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var m measurement
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			continue // it will not end well, and then say why
		}
		m.Workload = w.name
		if err := b.add(m); err != nil {
			return err
		}
	}
	out.Close()
	err := <-ended
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		b.failed[w.name] = true
		b.progress.line("%s gave no result: %v\n%s", w.name, err, said.String())
	}
	return nil
}

// underStrace runs this program with slow syncs.
func underStrace(ctx context.Context, delay time.Duration, args []string, stdout, stderr io.Writer) error {
	strace, err := exec.LookPath("strace")
	if runtime.GOOS != "linux" {
		return errors.New("slow disks are made with strace, which Linux alone has; leave -delay out")
	}
	if err != nil {
		return errors.New("slow disks are made with strace, which is not here; get it with: apt-get install -y strace")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	full := append([]string{
		"-f", "--seccomp-bpf", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync,fsync",
		"-e", fmt.Sprintf("inject=fdatasync,fsync:delay_exit=%d", delay.Microseconds()), self,
	}, args...)
	cmd := exec.CommandContext(ctx, strace, full...)
	cmd.Env = append(os.Environ(), delayedBy+"="+delay.String())
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// strace passes no signal on, so both get it, and the inner one cleans up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("under strace: %w; if it says that ptrace is not permitted, allow it, in a container with --cap-add=SYS_PTRACE", err)
	}
	return nil
}
