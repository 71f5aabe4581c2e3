package stint_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/stintq/stint"
)

// What a child does with damaged files.

// Outcomes. Those of more than one word are failures.
const (
	wasRefused  = "refused"
	wasReported = "reported"
	wasHarmless = "harmless" // every key and value is as it was
	wasUnused   = "unused"   // something else is not, that nobody looks at
)

func init() {
	childModes["wound"] = childWound
}

// woundPlan is what a child has to do.
type woundPlan struct {
	Original, Scratch, Progress string
	MendEach                    int // which part of what is reported Repair has to mend as well
	Wounds                      []wound
}

func childWound(args childArgs) {
	debug.SetGCPercent(500)
	var plan woundPlan
	raw, err := os.ReadFile(args.File)
	must(err)
	must(json.Unmarshal(raw, &plan))
	original, err := os.ReadFile(plan.Original)
	must(err)
	progress, err := os.OpenFile(plan.Progress, os.O_RDWR, 0o600)
	must(err)
	s := &surgeon{original: original, path: plan.Scratch, seed: maphash.MakeSeed(), mendEach: plan.MendEach, counts: map[string]int{}}
	s.learn()
	for i := args.N; i < len(plan.Wounds); i++ {
		_, err := progress.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(i)), 0)
		must(err)
		outcome := s.treat(plan.Wounds[i])
		if strings.Contains(outcome, " ") {
			say("bad %v: %s", plan.Wounds[i], strings.ReplaceAll(outcome, "\n", " / "))
			outcome = "bad"
		}
		s.counts[plan.Wounds[i].What+" "+outcome]++
	}
	for what, n := range s.counts {
		say("count %d %s", n, what)
	}
}

// surgeon damages a file, opens it and judges what follows.
type surgeon struct {
	original []byte
	path     string
	seed     maphash.Seed
	treated  int
	mendEach int
	counts   map[string]int

	// What a sound file has.
	content uint64
	seen    *picture
}

// picture is all that a queue shows of itself.
type picture struct {
	Jobs      map[stint.ID]stint.Info
	Batches   []stint.BatchInfo
	Schedules []stint.ScheduleInfo
	Queues    []stint.QueueInfo
	Set       []stint.Quarantined
	Places    map[string]uint64
	Stats     [4]int
}

func look(q *stint.Queue) (p *picture, err error) {
	p = &picture{Jobs: map[stint.ID]stint.Info{}, Queues: q.Queues(), Places: stint.Places(q.DB())}
	for i := range p.Queues {
		p.Queues[i].OldestWait = 0 // grows
	}
	for info, err := range q.Jobs(stint.Filter{}) {
		if err != nil {
			return nil, err
		}
		for i := range info.Attempts {
			if strings.HasPrefix(info.Attempts[i].Error, "the process ended") {
				info.Attempts[i].StartedAt = time.Time{}
			}
		}
		p.Jobs[info.ID] = info
	}
	for info, err := range q.Batches(0) {
		if err != nil {
			return nil, err
		}
		p.Batches = append(p.Batches, info)
	}
	for entry, err := range q.Quarantined() {
		if err != nil {
			return nil, err
		}
		p.Set = append(p.Set, entry)
	}
	stats := q.Stats()
	p.Stats = [...]int{int(stats.Processed), int(stats.Failed), int(stats.Died), stats.Quarantined}
	p.Schedules, err = q.Schedules()
	return p, err
}

func (s *surgeon) open() (*stint.Queue, *bytes.Buffer, error) {
	log := &bytes.Buffer{}
	q, err := tryOpen(s.path, &stint.Config{
		LockTimeout: time.Second, KeepCompleted: 24 * time.Hour,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	return q, log, err
}

// learn looks at the sound file.
func (s *surgeon) learn() {
	must(os.WriteFile(s.path, s.original, 0o600))
	q, log, err := s.open()
	must(err)
	faults, err := q.Check(context.Background())
	must(err)
	if len(faults) > 0 || log.Len() > 0 {
		must(fmt.Errorf("the sound file has faults: %+v %s", faults, log))
	}
	s.content = stint.ContentSum(q.DB(), s.seed)
	s.seen, err = look(q)
	must(err)
	must(q.Close())
}

// treat is one wound from the cut to the verdict.
func (s *surgeon) treat(w wound) string {
	content := wounds[w.What](bytes.Clone(s.original), w)
	s.treated++
	if err := stint.Preflight(content); err != nil && s.treated%50 != 0 {
		return judgeRefusal(err) // Open begins with it, and has written nothing yet
	}
	must(os.WriteFile(s.path, content, 0o600))
	q, log, err := s.open()
	if err != nil {
		after, readErr := os.ReadFile(s.path)
		must(readErr)
		if !bytes.Equal(after, content) {
			return "refused and changed"
		}
		return judgeRefusal(err)
	}
	outcome := s.judge(q, log)
	err = q.Close()
	if err != nil && outcome != wasReported {
		return outcome + " but Close says " + err.Error()
	}
	return outcome
}

func judgeRefusal(err error) string {
	if errors.Is(err, stint.ErrCorrupt) || errors.Is(err, stint.ErrNotStint) || errors.Is(err, stint.ErrNewerFormat) {
		return wasRefused
	}
	return "refused with an untyped error: " + err.Error()
}

func (s *surgeon) judge(q *stint.Queue, log *bytes.Buffer) string {
	same := stint.ContentSum(q.DB(), s.seed) == s.content
	if same && s.treated%20 != 0 { // Check would say what it said of the sound file
		return wasHarmless
	}
	faults, err := q.Check(context.Background())
	switch {
	case err != nil:
		return "Check answers " + err.Error()
	case len(faults) > 0 && s.treated%s.mendEach == 0:
		return s.mend(q, faults, strings.Contains(log.String(), "the last commit may be missing"))
	case len(faults) > 0:
		return wasReported
	case same:
		return wasHarmless
	case strings.Contains(log.String(), "damaged"):
		return wasReported
	}
	seen, err := look(q)
	if err != nil {
		return "Check is silent about " + err.Error()
	}
	if reflect.DeepEqual(seen, s.seen) {
		return wasUnused
	}
	return "silent harm: " + difference(s.seen, seen)
}

// mend lets Repair do what it says it can, and looks whether all that could be
// read is still there.
func (s *surgeon) mend(q *stint.Queue, faults []stint.Fault, lastCommitMissing bool) string {
	readable := map[stint.ID]bool{}
	for id := range s.seen.Jobs {
		_, err := q.Get(id)
		readable[id] = err == nil
	}
	found, err := q.Repair(context.Background())
	if err != nil {
		return "Repair answers " + err.Error()
	}
	left, err := q.Check(context.Background())
	if err != nil {
		return "Check after Repair answers " + err.Error()
	}
	for _, f := range left {
		if f.Repairable {
			return fmt.Sprintf("Repair has left %+v of %+v", f, found)
		}
	}
	told := func(id stint.ID) bool {
		return lastCommitMissing || slices.ContainsFunc(faults, func(f stint.Fault) bool { return f.Job == id || f.Job == 0 })
	}
	for id, info := range s.seen.Jobs {
		now, err := q.Get(id)
		switch {
		case err != nil && readable[id]:
			return fmt.Sprintf("Repair has lost job %d of %+v: %v", id, found, err)
		case err != nil && !told(id):
			return fmt.Sprintf("job %d is lost, and not named in %+v", id, found)
		case err == nil && (string(now.Args) != string(info.Args) || now.Kind != info.Kind || now.Queue != info.Queue):
			return fmt.Sprintf("job %d is another one", id)
		}
	}
	return wasReported
}

// difference tells where two pictures differ.
func difference(a, b *picture) string {
	for id, info := range a.Jobs {
		if other, ok := b.Jobs[id]; !ok || !reflect.DeepEqual(info, other) {
			return fmt.Sprintf("job %d is\n%+v instead of\n%+v", id, other, info)
		}
	}
	if len(a.Jobs) != len(b.Jobs) {
		return fmt.Sprintf("%d jobs instead of %d", len(b.Jobs), len(a.Jobs))
	}
	x, y := reflect.ValueOf(*a), reflect.ValueOf(*b)
	for i := 1; i < x.NumField(); i++ {
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			return fmt.Sprintf("%s are\n%+v instead of\n%+v", x.Type().Field(i).Name, y.Field(i), x.Field(i))
		}
	}
	return "it is in no field"
}
