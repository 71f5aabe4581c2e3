package stint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// stateCheck looks at what a power cut has left, as the next process does.
//
//  1. Open succeeds, and what it finds is what has been acknowledged, or what
//     was under way.
//  2. What is found fits together: jobs and their effects, records and their
//     jobs, batches and their items.
//  3. Of some states all jobs are run. Each then has had its effect once.
//  4. The closed file has no fault.
type stateCheck struct {
	said   testimony
	lines  int  // that were said
	cut    bool // before the process could speak of what it had been told last
	q      *stint.Queue
	jobs   map[stint.ID]stint.Info
	counts map[string]int
	faults []string
}

func (c *stateCheck) fault(format string, args ...any) {
	if len(c.faults) < 10 {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

// expect notes a subject that is in no stage in which it may be.
func (c *stateCheck) expect(subject string, labels ...string) {
	if c.cut && c.said[subject] == nil {
		c.expectUntold(subject, labels)
		return
	}
	if err := c.said.doubt(subject, c.lines, labels...); err != nil {
		c.fault("%v", err)
	}
}

// expectUntold is about what is new to everybody: a job may be there, and even
// have begun, but not have got any further. Of the file nothing is known until
// somebody has opened it.
func (c *stateCheck) expectUntold(subject string, labels []string) {
	if subject == "file" {
		return
	}
	for _, label := range labels {
		if label == "waiting 0" || label == "saved" {
			return
		}
	}
	c.fault("%s is %q, and nobody has ever spoken of it", subject, labels)
}

// faultsOfState checks the queue file of a directory.
func faultsOfState(dir string, said testimony, lines int, cut, finish bool) (faults []string) {
	c := &stateCheck{said: said, lines: lines, cut: cut, jobs: map[stint.ID]stint.Info{}}
	defer func() {
		if p := recover(); p != nil {
			c.fault("panic: %v", p)
			faults = c.faults
		}
	}()
	path := filepath.Join(dir, "queue.db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		c.expect("file", "")
	} else {
		c.expect("file", "open")
	}
	q, err := tryOpen(path, &stint.Config{Logger: quiet, LockTimeout: -1})
	if err != nil {
		return append(c.faults, err.Error())
	}
	c.q = q
	c.look()
	if finish && len(c.faults) == 0 {
		c.finish()
	}
	if err := q.Close(); err != nil {
		c.fault("Close: %v", err)
	}
	found, err := stint.CheckFile(path)
	if err != nil {
		c.fault("CheckFile: %v", err)
	}
	for _, f := range found {
		c.fault("%+v", f)
	}
	return c.faults
}

func (c *stateCheck) look() {
	for info, err := range c.q.Jobs(stint.Filter{}) {
		if err != nil {
			c.fault("Jobs: %v", err)
			return
		}
		c.jobs[info.ID] = info
	}
	c.counts = counters(c.q.DB())
	c.lookAtCounts()
	torn := c.lookAtBatches()
	for id, info := range c.jobs {
		c.expect(fmt.Sprintf("job %d", id), stagesOf(&info, torn[info.BatchID])...)
		if c.counts[fmt.Sprintf("job %d", id)] > 0 {
			c.fault("job %d is %v, and has had its effect", id, info.State)
		}
		if info.Kind == "deed" && string(info.Checkpoint) != progressOf(c.counts, id) && slices.Contains(info.Tags, "long") {
			c.fault("job %d is at %s, and has had %q effects", id, info.Checkpoint, progressOf(c.counts, id))
		}
	}
	for subject, h := range c.said {
		c.lookFor(subject, h)
	}
	c.lookAtRecords()
}

// stagesOf are the stages that a job may be taken to be in. One that was found
// running waits again, with a crash noted. A batch that was not sealed has been
// taken back.
func stagesOf(info *stint.Info, torn bool) []string {
	ended := info.Failures + info.Snoozes
	switch {
	case info.State == stint.Completed:
		return []string{"kept " + string(info.Result)}
	case info.State == stint.Dead && !torn:
		return []string{"dead"}
	}
	labels := []string{fmt.Sprintf("waiting %d", ended)}
	if info.Crashes > 0 {
		labels = append(labels, fmt.Sprintf("running %d/%d", ended, info.Crashes-1))
		if slices.Contains(info.Tags, "long") { // it has got on, and earlier crashes were forgotten
			labels = append(labels, fmt.Sprintf("running %d/%d", ended, info.Crashes))
		}
	}
	return labels
}

func progressOf(counts map[string]int, id stint.ID) string {
	if n := counts[fmt.Sprintf("progress %d", id)]; n > 0 {
		return fmt.Sprint(n)
	}
	return ""
}

// lookFor is about what may be missing.
func (c *stateCheck) lookFor(subject string, h *history) {
	job, stored := c.jobs[h.id]
	switch h.kind {
	case "job":
		switch {
		case stored:
		case c.counts[subject] > 0:
			c.expect(subject, "counted")
		default:
			c.expect(subject, "", "gone")
		}
	case "progress":
		c.expect(subject, progressOf(c.counts, h.id))
	case "step":
		_, name, _ := strings.Cut(strings.TrimPrefix(subject, "step "), " ")
		switch {
		case !stored:
		case slices.Contains(job.Steps, name):
			c.expect(subject, "done")
		default:
			c.expect(subject, "")
		}
	case "batch":
		info, err := c.q.Batch(h.id)
		if err == nil && !info.Planning && info.CancelledBy == "" {
			c.expect(subject, "sealed")
		} else {
			c.expect(subject, "")
		}
	case "paused":
		for _, queue := range c.q.Queues() {
			if "paused "+queue.Name == subject && queue.Paused {
				c.expect(subject, "true")
				return
			}
		}
		c.expect(subject, "false", "")
	}
}

// lookAtCounts is about effects: none has come twice, none is lost.
func (c *stateCheck) lookAtCounts() {
	jobs := 0
	for key, n := range c.counts {
		kind, rest, _ := strings.Cut(key, " ")
		switch kind {
		case "job":
			jobs++
			if c.said[key] == nil {
				c.fault("job %s has had its effect, and nobody knows it", rest)
			}
		case "item", "over", "beat":
		default:
			continue
		}
		if n != 1 {
			c.fault("%s has come %d times", key, n)
		}
	}
	if n := c.counts[string(counterKey)]; n != jobs {
		c.fault("%d jobs have had their effects, %d are counted", jobs, n)
	}
}

// lookAtBatches compares their totals with what there is of them, and returns
// those that were taken back.
func (c *stateCheck) lookAtBatches() (torn map[stint.ID]bool) {
	torn = map[stint.ID]bool{}
	for b, err := range c.q.Batches(0) {
		if err != nil {
			c.fault("Batches: %v", err)
			return torn
		}
		torn[b.ID] = b.CancelledBy != ""
		live, dead := 0, 0
		for _, info := range c.jobs {
			if info.BatchID == b.ID && info.Kind == "item" {
				if info.State == stint.Dead {
					dead++
				} else {
					live++
				}
			}
		}
		done := c.counts[fmt.Sprintf("items %d", b.ID)]
		if b.Done != done || b.Dead != dead || b.Planned != live+dead+done || dead > 0 && !torn[b.ID] || b.Removed > 0 {
			c.fault("batch %d has %d of %d items done, %d dead; there are %d, %d, and %d to be done", b.ID, b.Done, b.Planned, b.Dead, done, dead, live)
		}
		ended := !b.Planning && live == 0
		if ended == b.FinishedAt.IsZero() {
			c.fault("batch %d has ended %v, and has %d items to be done, planning %v", b.ID, b.FinishedAt, live, b.Planning)
		}
		over := c.counts[overKey(b.ID)]
		if _, waits := c.jobs[b.OnDone]; waits {
			over++
		}
		if wanted := ended && !torn[b.ID]; wanted != (over == 1) {
			c.fault("batch %d has ended %v, and its OnDone job is there or done %d times", b.ID, ended, over)
		}
	}
	return torn
}

// lookAtRecords is about data of the application and the jobs that were
// enqueued with it.
func (c *stateCheck) lookAtRecords() {
	records := map[string]string{}
	err := c.q.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(outboxBucket); b != nil {
			return b.ForEach(func(k, v []byte) error {
				records[string(k)] = string(v)
				return nil
			})
		}
		return nil
	})
	if err != nil {
		c.fault("View: %v", err)
	}
	for n, id := range records {
		c.expect("record "+n, "saved")
		var job stint.ID
		_, _ = fmt.Sscan(id, &job)
		if _, stored := c.jobs[job]; !stored && c.counts["job "+id] == 0 {
			c.fault("record %s has no job %s", n, id)
		}
	}
	for subject := range c.said {
		if n, ok := strings.CutPrefix(subject, "record "); ok && records[n] == "" {
			c.expect(subject, "")
		}
	}
	for id, info := range c.jobs {
		var args deed
		if !bytes.Contains(info.Args, []byte(`"record":`)) {
			continue
		}
		if json.Unmarshal(info.Args, &args) != nil || records[fmt.Sprint(args.Record)] != id.String() {
			c.fault("job %d has no record", id)
		}
	}
}

// finish runs all jobs and looks at their effects.
func (c *stateCheck) finish() {
	c.handle()
	delayed := 0
	for _, info := range c.jobs {
		if info.Kind == "later" && info.State == stint.Scheduled {
			delayed++
		}
	}
	_ = c.q.Resume(context.Background(), "slow")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.q.Run(ctx) }()
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if n := c.q.Counts(); n.Ready+n.Running+n.Retrying == 0 && n.Scheduled == delayed {
			break
		}
	}
	if ctx.Err() != nil {
		c.fault("the work does not come to its end: %+v", c.q.Counts())
	}
	cancel()
	if err := <-ended; err != nil {
		c.fault("Run: %v", err)
	}
	c.lookAfterwards()
}

func (c *stateCheck) lookAfterwards() {
	before := c.jobs
	c.jobs, c.counts = map[stint.ID]stint.Info{}, counters(c.q.DB())
	for info, err := range c.q.Jobs(stint.Filter{}) {
		if err != nil {
			c.fault("Jobs: %v", err)
		}
		c.jobs[info.ID] = info
	}
	for key, n := range c.counts {
		if kind, _, _ := strings.Cut(key, " "); n != 1 && (kind == "job" || kind == "item" || kind == "over" || kind == "beat") {
			c.fault("in the end %s has come %d times", key, n)
		}
	}
	for id, info := range before {
		var args deed
		_ = json.Unmarshal(info.Args, &args)
		if effective(args.Plan) && info.State != stint.Dead && c.counts[fmt.Sprintf("job %d", id)] != 1 {
			c.fault("in the end job %d, %v before, has had no effect", id, info.State)
		}
		if strings.HasSuffix(args.Plan, "steps") && c.counts[fmt.Sprintf("progress %d", id)] != progressEnd {
			c.fault("in the end job %d has had %s effects", id, progressOf(c.counts, id))
		}
	}
	torn := c.lookAtBatches()
	for b := range c.q.Batches(0) {
		if n := c.counts[fmt.Sprintf("items %d", b.ID)]; b.FinishedAt.IsZero() || !torn[b.ID] && n != plannedItems && n != listedItems {
			c.fault("in the end batch %d has had %d items", b.ID, n)
		}
	}
}

// effective plans end with an effect that is counted.
func effective(plan string) bool {
	return strings.HasSuffix(plan, "commit") || strings.HasSuffix(plan, "completetx") || plan == "steps" || plan == "stay"
}

// handle is what the next process does with the jobs: the last word of each
// plan.
func (c *stateCheck) handle() {
	count := func(job *stint.Work, keys ...string) error {
		return job.Commit(func(tx *bolt.Tx) error { return countAll(tx, job.ID, keys...) })
	}
	stint.Handle(c.q, func(ctx context.Context, job *stint.Job[deed]) error {
		switch plan := job.Args.Plan; {
		case plan == "steps":
			at := 0
			if _, err := job.Resume(&at); err != nil {
				return err
			}
			for i := at + 1; i <= progressEnd; i++ {
				key := fmt.Appendf(nil, "progress %d", job.ID)
				if err := job.CommitProgress(func(tx *bolt.Tx) error { return increment(tx, key) }, i); err != nil {
					return err
				}
			}
			return count(&job.Work)
		case plan == "kill":
			return stint.Kill(errors.New("as planned"))
		case effective(plan):
			return count(&job.Work)
		}
		return nil
	}, nil)
	stint.Handle(c.q, func(_ context.Context, job *stint.Job[over]) error {
		batch, err := job.Batch()
		if err != nil {
			return err
		}
		return count(&job.Work, overKey(batch.ID))
	}, nil)
	stint.Handle(c.q, func(_ context.Context, job *stint.Job[beat]) error { return count(&job.Work, beatKey(&job.Work)) }, nil)
	each := func(_ context.Context, job *stint.Job[item]) error { return count(&job.Work, itemKeys(job)...) }
	plan := func(context.Context, *stint.Planning[item]) itemSeq { return planForty }
	if err := stint.PeriodicBatch(c.q, "planned", never, plan, each, &stint.BatchPolicy{OnDone: over{}}); err != nil {
		c.fault("PeriodicBatch: %v", err)
	}
}
