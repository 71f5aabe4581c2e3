package stint_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// ledger is what the test knows of the jobs, to compare it with the queue in
// the end.
type ledger struct {
	mu      sync.Mutex
	next    int
	acked   map[int]stint.ID // 0: stored, but its id is not known
	refused map[int]bool     // the call failed or was rolled back: must never run
	done    map[int]int      // by a result of nil, Commit or CompleteTx
	effects map[int]bool     // done by Commit or CompleteTx, which counted
	deleted map[int]int
	running map[int]bool
	ids     []stint.ID
	faults  []string
}

func newLedger() *ledger {
	return &ledger{
		acked: map[int]stint.ID{}, refused: map[int]bool{}, done: map[int]int{}, effects: map[int]bool{},
		deleted: map[int]int{}, running: map[int]bool{},
	}
}

func (l *ledger) with(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

func (l *ledger) fault(format string, args ...any) {
	l.with(func() { l.faults = append(l.faults, fmt.Sprintf(format, args...)) })
}

// numbers reserves n jobs.
func (l *ledger) numbers(n int) (args []stint.Args) {
	l.with(func() {
		for range n {
			args = append(args, stress{l.next})
			l.next++
		}
	})
	return args
}

// outcome notes whether jobs were stored.
func (l *ledger) outcome(err error, args []stint.Args, ids ...stint.ID) {
	l.with(func() {
		for i, a := range args {
			n := a.(stress).N
			switch {
			case err != nil:
				l.refused[n] = true
			case i < len(ids):
				l.acked[n] = ids[i]
				l.ids = append(l.ids, ids[i])
			default:
				l.acked[n] = 0
			}
		}
	})
}

// someID is the id of a job that was there once.
func (l *ledger) someID(r *rand.Rand) (id stint.ID) {
	l.with(func() {
		if len(l.ids) > 0 {
			id = l.ids[len(l.ids)-1-r.IntN(min(len(l.ids), 300))]
		}
	})
	return id
}

// audit compares the ledger with the queue: each job that was acknowledged has
// ended in exactly one way.
func audit(t *testing.T, q *stint.Queue, l *ledger, events <-chan stint.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.faults)

	dead := map[int]int{}
	byID := map[stint.ID]int{}
	for info, err := range q.Jobs(stint.Filter{}) {
		require.NoError(t, err)
		require.Equal(t, stint.Dead, info.State)
		var args stress
		require.NoError(t, json.Unmarshal(info.Args, &args))
		dead[args.N]++
		byID[info.ID] = args.N
	}
	counted := counters(q.DB())
	ways := map[string]int{}
	for n := range l.next {
		_, acked := l.acked[n]
		require.NotEqual(t, acked, l.refused[n], "job %d", n)
		ends := l.done[n] + l.deleted[n] + dead[n]
		if l.refused[n] {
			require.Zero(t, ends, "job %d was refused", n)
			continue
		}
		require.Equal(t, 1, ends, "job %d: completed %d times, deleted %d times, dead %d times", n, l.done[n], l.deleted[n], dead[n])
		require.Equal(t, l.effects[n], counted[strconv.Itoa(n)] == 1, "job %d", n)
		require.LessOrEqual(t, counted[strconv.Itoa(n)], 1, "job %d", n)
		ways["completed"] += l.done[n]
		ways["by Commit or CompleteTx"] += counted[strconv.Itoa(n)]
		ways["deleted"] += l.deleted[n]
		ways["dead"] += dead[n]
	}
	t.Logf("%d jobs, %d stored: %v", l.next, len(l.acked), ways)
	require.Equal(t, stint.Counts{Dead: ways["dead"]}, q.Counts())
	require.EqualValues(t, ways["completed"], q.Stats().Processed)

	// The events tell the same story: each job was born once, left each state as
	// often as it entered it, and is where the queue says.
	const gone = stint.State(0)
	told := map[stint.ID]*[stint.Dead + 1]int{}
	for e := range events {
		if e.ID == 0 {
			continue // of a queue
		}
		if told[e.ID] == nil {
			told[e.ID] = new([stint.Dead + 1]int)
		}
		told[e.ID][e.From]--
		if e.To == stint.Completed {
			e.To = gone
		}
		told[e.ID][e.To]++
	}
	require.Len(t, told, len(l.acked))
	for id, balance := range told {
		want := [stint.Dead + 1]int{}
		if _, isDead := byID[id]; isDead {
			want[gone], want[stint.Dead] = -1, 1
		}
		require.Equal(t, want, *balance, "job %d", id)
	}

	// And so does Config.MaxJobs.
	jobs := make([]stint.Args, stressMaxJobs)
	for i := range jobs {
		jobs[i] = other{}
	}
	_, err := q.EnqueueAll(t.Context(), jobs)
	require.NoError(t, err)
	_, err = q.Enqueue(t.Context(), other{})
	require.ErrorIs(t, err, stint.ErrQueueFull)
}
