package stint_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// The life that crash states are taken from, and what the process says of it.
//
// A line is a verb, a subject, " = " and what the file has of the subject.
// "is": it was acknowledged that this is so. "now": a new thing is so. "may":
// from here on it may be so. The checker knows the subjects of
// crash_state_facts_linux_test.go.

func init() {
	childModes["states"] = childStates
	childModes["states-sync-fails"] = childSyncFails
}

// deed is a job that does what its plan says, one word for each run. It has
// its effect with the last one.
type deed struct {
	Plan   string `json:"plan"`
	Record int    `json:"record,omitempty"` // the application's, that it belongs to
	Pad    string `json:"pad,omitempty"`
}

func (deed) Kind() string { return "deed" }

// later is a job that no worker takes while the child lives.
type later struct {
	Pad string `json:"pad"`
}

func (later) Kind() string { return "later" }

// item is one of a batch, over ends batches, beat is a schedule's.
type (
	item struct{ N int }
	over struct{}
	beat struct{}
)

func (item) Kind() string { return "item" }
func (over) Kind() string { return "over" }
func (beat) Kind() string { return "beat" }

const (
	plannedItems = 40
	listedItems  = 25
	progressEnd  = 4
)

// witness is what the child has in its hands.
type witness struct {
	q       *stint.Queue
	mu      sync.Mutex
	runs    map[stint.ID]int // attempts that have failed or were snoozed
	crashes map[stint.ID]int // found at Open
	records atomic.Int64
	later   atomic.Int64   // jobs that no worker will take
	waits   sync.WaitGroup // those who wait for the end of jobs
	size    int            // how much it does
	dies    bool
}

// childStates lives for args.N turns of its producers. As args.Log says it
// dies half-way, or it goes on with what another one has left.
func childStates(args childArgs) {
	l := &witness{runs: map[stint.ID]int{}, crashes: map[stint.ID]int{}, size: args.N}
	halves := []int{0, 1}
	switch args.Log {
	case "dies":
		l.dies = true
	case "revived":
		halves = []int{2}
		l.records.Store(1000)
	}
	for _, half := range halves {
		l.q = childOpen(args, &stint.Config{Workers: 6, Logger: quiet})
		if args.Log == "no sync" {
			l.q.DB().NoSync = true
		}
		say("is file = open")
		if args.Log == "revived" {
			l.takeOver()
		}
		l.handle()
		l.live(half)
		must(l.q.Close())
	}
}

// takeOver says what Open has made of the jobs of the last process.
func (l *witness) takeOver() {
	for info, err := range l.q.Jobs(stint.Filter{}) {
		must(err)
		l.runs[info.ID], l.crashes[info.ID] = info.Failures+info.Snoozes, info.Crashes
		switch info.State {
		case stint.Dead:
			if info.BatchID == 0 { // or it was not sealed
				say("now job %d = dead", info.ID)
			}
		case stint.Completed:
			say("now job %d = kept %s", info.ID, info.Result)
		default:
			say("now job %d = waiting %d", info.ID, l.runs[info.ID])
			switch info.Kind {
			case "later":
				l.later.Add(1)
			case "plan/planned": // if it has sealed its batch it is done without a word
				say("may job %d = gone", info.ID)
			}
		}
	}
	say("may paused slow = false")
	must(l.q.Resume(context.Background(), "slow"))
	say("is paused slow = false")
}

// live is the time between Open and Close.
func (l *witness) live(half int) {
	ctx, cancel := context.WithCancel(context.Background())
	var running, producing sync.WaitGroup
	running.Go(func() { must(l.q.Run(ctx)) })
	for p := range 4 {
		rng := rand.New(rand.NewPCG(uint64(half), uint64(p)))
		producing.Go(func() {
			for i := range l.size {
				if l.dies && p == 0 && i > l.size/2 { // in a transaction nobody else writes
					_ = l.q.Update(func(*bolt.Tx) error { killMyself(); return nil })
				}
				l.produce(rng, i)
			}
		})
	}
	producing.Go(func() { l.batches(half) })
	producing.Go(func() { l.pauses(half) })
	producing.Go(func() {
		for range 2 {
			err := l.q.Compact(ctx, nil)
			for n := 0; strconv.IntSize == 32 && n < 20 && err != nil && strings.HasSuffix(err.Error(), "try again"); n++ { // as where the map is small
				err = l.q.Compact(ctx, nil)
			}
			must(err)
		}
	})
	producing.Wait()
	l.waits.Wait()
	must(l.q.PauseSchedule(ctx, "beat", "the test"))
	underway := 0
	if half == 0 { // when the queue closes
		l.enqueue(deed{Plan: "stay"})
		underway = 1
	}
	for ; ; time.Sleep(time.Millisecond) {
		c := l.q.Counts()
		if c.Ready+c.Retrying+c.Scheduled-int(l.later.Load()) == 0 && c.Running == underway {
			break
		}
	}
	cancel()
	running.Wait()
}

// produce does one thing after another.
func (l *witness) produce(rng *rand.Rand, i int) {
	pad := func(most int) string { return strings.Repeat("p", rng.IntN(most)) }
	switch i % 8 {
	case 0:
		l.enqueue(deed{Plan: "commit", Pad: pad(20_000)})
	case 1:
		var some []stint.Args
		for _, plan := range []string{"return", "completetx", "fail commit", "snooze commit", "kill"} {
			some = append(some, deed{Plan: plan, Pad: pad(3000)})
		}
		ids, err := l.q.EnqueueAll(context.Background(), some)
		must(err)
		for _, id := range ids {
			say("is job %d = waiting 0", id)
		}
	case 2:
		l.enqueue(deed{Plan: "steps"}, stint.Tags("long"))
	case 3:
		l.save()
	case 4:
		l.enqueue(deed{Plan: "fail panic commit", Pad: pad(9000)}, stint.In(time.Duration(rng.IntN(8))*time.Millisecond))
	case 5:
		id := l.enqueue(deed{Plan: "result"})
		l.waits.Go(func() {
			_, err := l.q.Wait(context.Background(), id)
			must(err)
			say("is job %d = kept %d", id, id)
		})
	case 6:
		l.enqueue(deed{Plan: "completetx"}, stint.Unique(stint.ByKey(fmt.Sprint(i))), stint.Priority(1+rng.IntN(4)))
	case 7:
		l.later.Add(1)
		l.change(rng, l.enqueue(later{pad(5000)}, stint.In(time.Hour)))
	}
}

func (l *witness) enqueue(args stint.Args, opts ...stint.Option) stint.ID {
	id, err := l.q.Enqueue(context.Background(), args, opts...)
	if !errors.Is(err, stint.ErrDuplicate) {
		must(err)
	}
	say("is job %d = waiting 0", id)
	return id
}

// save is a record of the application and its job.
func (l *witness) save() {
	n := int(l.records.Add(1))
	var id stint.ID
	must(l.q.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(outboxBucket)
		must(err)
		id, err = l.q.EnqueueTx(tx, deed{Plan: "commit", Record: n})
		must(err)
		return b.Put(fmt.Append(nil, n), []byte(id.String()))
	}))
	say("is record %d = saved", n)
	say("is job %d = waiting 0", id)
}

// change is what others do to a job that waits.
func (l *witness) change(rng *rand.Rand, id stint.ID) {
	switch rng.IntN(4) {
	case 0:
		l.later.Add(-1)
		say("may job %d = gone", id)
		must(l.q.Delete(context.Background(), id))
		say("is job %d = gone", id)
	case 1, 2:
		l.later.Add(-1)
		say("may job %d = dead", id)
		must(l.q.Kill(context.Background(), id, "for the test"))
		say("is job %d = dead", id)
	}
}

// pauses also lets schedules fire.
func (l *witness) pauses(half int) {
	ctx := context.Background()
	must(l.q.Periodic("beat", "@every 1s", beat{}))
	if half > 0 {
		must(l.q.ResumeSchedule(ctx, "beat"))
	}
	must(l.q.Periodic("by-hand", never, beat{}, stint.Overlap(stint.Allow)))
	for range l.size / 4 {
		say("may paused slow = true")
		must(l.q.Pause(ctx, "slow", "the test"))
		say("is paused slow = true")
		l.enqueue(deed{Plan: "commit"}, stint.OnQueue("slow"))
		id, err := l.q.RunSchedule(ctx, "by-hand")
		must(err)
		say("is job %d = waiting 0", id)
		say("may paused slow = false")
		must(l.q.Resume(ctx, "slow"))
		say("is paused slow = false")
	}
}

// batches are one whose items are given and one with a planner.
func (l *witness) batches(half int) {
	ctx := context.Background()
	id, err := l.q.EnqueueBatch(ctx, func(yield func(stint.Args) bool) {
		for i := range listedItems {
			if !yield(item{1000*(half+1) + i}) {
				return
			}
		}
	}, &stint.BatchPolicy{OnDone: over{}})
	must(err)
	say("is batch %d = sealed", id)
	for b := range l.q.Batches(0) {
		if b.Name == "planned" && b.FinishedAt.IsZero() {
			return // its items would be passed over
		}
	}
	_, err = l.q.RunSchedule(ctx, "planned")
	must(err)
}

// childSyncFails enqueues and works until it is told that a sync has failed.
func childSyncFails(args childArgs) {
	l := &witness{runs: map[stint.ID]int{}, crashes: map[stint.ID]int{}}
	l.q = childOpen(args, &stint.Config{Workers: 4, Logger: quiet, ShutdownTimeout: time.Millisecond})
	say("is file = open")
	l.handle()
	ended := make(chan error, 1)
	go func() { ended <- l.q.Run(context.Background()) }()
	var producing sync.WaitGroup
	for range 3 {
		producing.Go(func() {
			for i := 0; ; i++ {
				id, err := l.q.Enqueue(context.Background(), deed{Plan: "commit", Pad: strings.Repeat("p", 1000*(i%8))})
				if err != nil {
					return
				}
				say("is job %d = waiting 0", id)
			}
		})
	}
	producing.Wait()
	if err := errors.Join(<-ended, l.q.Close()); !errors.Is(err, stint.ErrSyncFailed) {
		must(fmt.Errorf("it ended with %v", err))
	}
}
