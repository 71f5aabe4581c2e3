package stint_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestDebounce(t *testing.T) {
	t.Parallel()
	const quiet, most = 10 * time.Second, time.Minute
	debounce := stint.Unique(stint.Debounce(quiet, most))

	// Each case enqueues at some times, and says when the job runs and what it
	// finds.
	for _, c := range []struct {
		name  string
		at    []time.Duration
		runs  []time.Duration
		finds []int
	}{
		{"one job waits for the quiet", seconds(0), seconds(10), []int{0}},
		{"each further one puts it off", seconds(0, 9, 18, 27), seconds(37), []int{3}},
		{"what comes after the run begins anew", seconds(0, 9, 30, 39), seconds(19, 49), []int{1, 3}},
		{"after max it runs, however restless", seconds(0, 9, 18, 27, 36, 45, 54, 58, 61), seconds(60, 71), []int{7, 8}},
	} {
		scenario(t, c.name, func(t *testing.T) {
			q := open(t, nil)
			began := time.Now()
			var runs []time.Duration
			var finds []int
			handle(q, func(_ context.Context, job *stint.Job[note]) error {
				runs, finds = append(runs, time.Since(began)), append(finds, job.Args.N)
				return nil
			}, nil)
			run(t, q)
			for n, at := range c.at {
				time.Sleep(time.Until(began.Add(at)))
				enqueue(t, q, note{N: n}, debounce)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			require.Equal(t, c.runs, runs)
			require.Equal(t, c.finds, finds)
		})
	}

	scenario(t, "never makes it earlier, with whatever the next ones say", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{}, debounce)
		due := get(t, q, id).RunAt
		require.Equal(t, time.Now().Add(quiet), due)
		time.Sleep(time.Second)
		enqueue(t, q, note{}, stint.Unique(stint.Debounce(time.Second, time.Hour)))
		require.Equal(t, due, get(t, q, id).RunAt)
		enqueue(t, q, note{}, stint.Unique(stint.Debounce(time.Minute, time.Minute)))
		require.Equal(t, due.Add(50*time.Second), get(t, q, id).RunAt)
		enqueue(t, q, note{}, stint.Unique(stint.Replace()))
		enqueue(t, q, note{}, debounce)
		require.Equal(t, due.Add(50*time.Second), get(t, q, id).RunAt)
	})

	scenario(t, "a job whose time has come only gets the args", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{N: 1}, debounce)
		run(t, q) // nobody handles it
		time.Sleep(quiet + time.Second)
		enqueue(t, q, note{N: 2}, debounce)
		waits(t, q, id, stint.Ready, `{"n":2}`)
	})

	scenario(t, "an expiry stays what it was", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{N: 1}, debounce, stint.ExpiresIn(25*time.Second))
		run(t, q)
		for range 3 {
			time.Sleep(9 * time.Second)
			enqueue(t, q, note{N: 2}, debounce)
		}
		require.Equal(t, stint.Dead, get(t, q, id).State)
		require.Equal(t, stint.Counts{Scheduled: 1, Dead: 1}, q.Counts())
	})
}

func seconds(n ...int) (d []time.Duration) {
	for _, n := range n {
		d = append(d, time.Duration(n)*time.Second)
	}
	return d
}

func TestFoldOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	concat := stint.Merge(func(a, _ other) other { return a })
	for _, c := range []struct {
		name string
		opts []stint.Option
		text string
	}{
		{"Replace and Debounce", []stint.Option{stint.Unique(stint.Replace(), stint.Debounce(1, 1))}, "exclude each other"},
		{"Merge and Replace", []stint.Option{stint.Unique(concat, stint.Replace())}, "exclude each other"},
		{"Replace and ForPeriod", []stint.Option{stint.Unique(stint.ForPeriod(1), stint.Replace())}, "ForPeriod excludes"},
		{"Merge and ForPeriod", []stint.Option{stint.Unique(concat, stint.ForPeriod(1))}, "ForPeriod excludes"},
		{"Debounce without quiet", []stint.Option{stint.Unique(stint.Debounce(0, 1))}, "Debounce(0s, 1ns)"},
		{"Debounce without max", []stint.Option{stint.Unique(stint.Debounce(1, 0))}, "Debounce(1ns, 0s)"},
		{"Debounce with less than quiet", []stint.Option{stint.Unique(stint.Debounce(time.Minute, time.Second))}, "max not less"},
		{"Debounce with In", []stint.Option{stint.In(time.Hour), stint.Unique(stint.Debounce(1, 1))}, "leave In and At out"},
		{"Debounce with At", []stint.Option{stint.Unique(stint.Debounce(1, 1)), stint.At(time.Now())}, "leave In and At out"},
		{"Merge of nothing", []stint.Option{stint.Unique(stint.Merge[note](nil))}, "not nil"},
		{"Merge of anything", []stint.Option{stint.Unique(stint.Merge(func(a, _ stint.Args) stint.Args { return a }))}, "interface"},
		{"Merge of other args", []stint.Option{stint.Unique(concat)}, "Merge takes stint_test.other, the args are stint_test.note"},
	} {
		scenario(t, c.name, func(t *testing.T) {
			q := open(t, nil)
			_, err := q.Enqueue(t.Context(), note{}, c.opts...)
			require.ErrorIs(t, err, stint.ErrBadOption)
			require.ErrorContains(t, err, c.text)
			require.True(t, strings.HasPrefix(err.Error(), "stint: "), "%v", err)
			require.Zero(t, q.Counts())
		})
	}
}

// odd are args with which everything can go wrong.
type odd struct {
	F     float64
	S     string
	Fault string
}

func (o odd) Kind() string {
	switch o.Fault {
	case "other kind":
		return "odd2"
	case "panic in Kind":
		panic("no kind")
	}
	return "odd"
}

func (o odd) MarshalJSON() ([]byte, error) {
	if o.Fault == "panic in MarshalJSON" {
		panic("no JSON")
	}
	return fmt.Appendf(nil, `{"F":%v,"S":%q}`, o.F, o.S), nil
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	errLost := errors.New("lost")
	for _, c := range []struct {
		name string
		fn   func(waiting, added odd) odd
		is   error
		text string
	}{
		{"a panic", func(odd, odd) odd { panic("boom") }, stint.ErrBadArgs, "panic: boom"},
		{"a panic with an error", func(odd, odd) odd { panic(errLost) }, errLost, "panic: lost"},
		{"a panic of the runtime", func(a, b odd) odd { a.F = float64(1 / int(a.F-1)); return a }, stint.ErrBadArgs, "divide by zero"},
		{"args of another kind", func(a, _ odd) odd { a.Fault = "other kind"; return a }, stint.ErrBadArgs, `"odd2"`},
		{"a panic in Kind", func(a, _ odd) odd { a.Fault = "panic in Kind"; return a }, stint.ErrBadArgs, "no kind"},
		{"a panic in MarshalJSON", func(a, _ odd) odd { a.Fault = "panic in MarshalJSON"; return a }, stint.ErrBadArgs, "no JSON"},
		{"args that JSON cannot write", func(a, _ odd) odd { a.F = math.NaN(); return a }, stint.ErrBadArgs, "cannot be written as JSON"},
		{"args that are too large", func(a, _ odd) odd { a.S = strings.Repeat("x", 1000); return a }, stint.ErrArgsTooLarge, "the limit is 1000"},
	} {
		opt := stint.Unique(stint.Merge(c.fn))
		for name, add := range map[string]func(q *stint.Queue) error{
			"Enqueue": func(q *stint.Queue) error { _, err := q.Enqueue(context.Background(), odd{F: 2}, opt); return err },
			"EnqueueAll": func(q *stint.Queue) error {
				_, err := q.EnqueueAll(context.Background(), []stint.Args{odd{F: 2}, odd{F: 3}}, opt)
				return err
			},
			"EnqueueTx, whose caller goes on": func(q *stint.Queue) (err error) {
				return errors.Join(q.DB().Update(func(tx *bolt.Tx) error { _, err = q.EnqueueTx(tx, odd{F: 2}, opt); return nil }), err)
			},
		} {
			scenario(t, c.name+" in "+name, func(t *testing.T) {
				q := open(t, &stint.Config{MaxArgsSize: 1000})
				id := enqueue(t, q, odd{F: 1}, opt)
				err := add(q)
				require.ErrorIs(t, err, c.is)
				require.ErrorContains(t, err, c.text)
				require.True(t, strings.HasPrefix(err.Error(), "stint: "), "%v", err)
				waits(t, q, id, stint.Ready, `{"F":1,"S":""}`)
				require.Equal(t, 1, q.Counts().Ready)
			})
		}
	}

	scenario(t, "a nil pointer", func(t *testing.T) {
		q := open(t, nil)
		opt := stint.Unique(stint.Merge(func(a, _ *note) *note { return nil }))
		id := enqueue(t, q, note{N: 1}, opt)
		_, err := q.Enqueue(t.Context(), note{N: 2}, opt)
		require.ErrorIs(t, err, stint.ErrBadArgs)
		require.ErrorContains(t, err, "gave nil")
		waits(t, q, id, stint.Ready, `{"n":1}`)
		sum := stint.Unique(stint.Merge(func(a, b *note) *note { return &note{a.N + b.N} }))
		require.Equal(t, id, enqueue(t, q, note{N: 2}, sum), "a function of pointers is as good")
		waits(t, q, id, stint.Ready, `{"n":3}`)
	})

	scenario(t, "stored args that fit the type no more", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, wordy{"one"}, stint.Unique(stint.ByKey("k")))
		_, err := q.Enqueue(t.Context(), note{N: 2}, stint.Unique(stint.ByKey("k"), stint.Merge(func(a, _ note) note { return a })))
		require.ErrorIs(t, err, stint.ErrBadArgs)
		require.ErrorContains(t, err, "cannot be read")
		waits(t, q, id, stint.Ready, `{"N":"one"}`)
	})

	scenario(t, "runtime.Goexit, and the queue goes on", func(t *testing.T) {
		q := open(t, nil)
		id := enqueue(t, q, note{N: 1}, stint.Unique(stint.Replace()))
		_, err := q.Enqueue(t.Context(), note{N: 2}, stint.Unique(stint.Merge(func(a, _ note) note { runtime.Goexit(); return a })))
		require.ErrorContains(t, err, "runtime.Goexit")
		waits(t, q, id, stint.Ready, `{"n":1}`)
		enqueue(t, q, note{N: 3}, stint.Unique(stint.Replace()))
		waits(t, q, id, stint.Ready, `{"n":3}`)
	})
}

// Nothing is lost: 64 goroutines enqueue 10,000 events in all ways, while
// workers run what has gathered, sometimes fail, and sometimes commit.
func TestMergeLosesNothing(t *testing.T) {
	t.Parallel()
	q := open(t, &stint.Config{Workers: 4})
	var total, runs atomic.Int64
	stint.Handle(q, func(_ context.Context, job *stint.Job[opens]) error {
		done := func() {
			runs.Add(1)
			total.Add(int64(job.Args.N))
			inOrder(t, job.Args.By)
		}
		switch {
		case job.Attempt == 1 && job.ID%3 == 0:
			return errOops
		case job.ID%2 == 0:
			err := job.Commit(func(*bolt.Tx) error { return nil })
			if err == nil {
				done()
			}
			return err
		}
		done()
		return nil
	}, &stint.Policy{Backoff: stint.Constant(time.Millisecond)})
	run(t, q)

	const producers, each = 64, 156
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for n := 0; n < each; {
				one := opens{1, []int{1000*p + n}}
				var err error
				switch {
				case p%4 == 0:
					_, err = q.EnqueueAll(context.Background(), []stint.Args{one, opens{1, []int{1000*p + n + 1}}}, merge)
					n++
				case p%4 == 1:
					err = q.DB().Update(func(tx *bolt.Tx) error { _, err := q.EnqueueTx(tx, one, merge); return err })
				default:
					_, err = q.Enqueue(context.Background(), one, merge)
				}
				if n++; err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	enqueue(t, q, opens{N: 10_000 - producers*each}, merge)
	eventually(t, func() bool { return q.Counts() == stint.Counts{} }, "everything runs")
	eventually(t, func() bool { return total.Load() >= 10_000 }, "the handlers have come back from Commit")
	require.EqualValues(t, 10_000, total.Load())
	require.Less(t, runs.Load(), int64(5000), "and much has been folded")
	t.Logf("10,000 events in %d runs", runs.Load())
}

// inOrder says that the events of each producer follow each other.
func inOrder(t *testing.T, by []int) {
	last := map[int]int{}
	for _, event := range by {
		if before, ok := last[event/1000]; ok && before >= event {
			t.Errorf("%d came before %d", before, event)
		}
		last[event/1000] = event
	}
}

func TestMergeKeepsTheOrder(t *testing.T) {
	t.Parallel()
	for _, family := range families[:4] {
		events := 100
		if family.name == "EnqueueSeq" {
			events = 1100 // over more than one commit
		}
		scenario(t, family.name, func(t *testing.T) {
			q := open(t, nil)
			var args []stint.Args
			var want []int
			for n := range events {
				args, want = append(args, opens{1, []int{n}}), append(want, n)
			}
			ran := make(chan opens, 1)
			family.enqueue(t, q, args, merge)
			handle(q, func(_ context.Context, job *stint.Job[opens]) error { ran <- job.Args; return nil }, nil)
			run(t, q)
			require.Equal(t, opens{events, want}, <-ran)
			synctest.Wait()
			require.Zero(t, q.Counts())
		})
	}
}

// wordy is what note was before its N became a number.
type wordy struct{ N string }

func (wordy) Kind() string { return "note" }

// BenchmarkFold1000: what does one EnqueueAll of 1000 events cost that become
// one job, beside the same that become 1000?
func BenchmarkFold1000(b *testing.B) {
	const group = 1000
	args := make([]stint.Args, group)
	for i := range args {
		args[i] = opens{N: i}
	}
	for _, c := range []struct {
		name string
		opts []stint.Option
	}{
		{"plain", nil},
		{"Replace", []stint.Option{stint.Unique(stint.Replace())}},
		{"Debounce", []stint.Option{stint.Unique(stint.Debounce(time.Minute, time.Hour))}},
		{"Merge", []stint.Option{merge}},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := benchQueue(b, nil)
			m := &meter{b: b}
			for b.Loop() {
				m.measure(q, group, func() {
					_, err := q.EnqueueAll(context.Background(), args, c.opts...)
					require.NoError(b, err)
				})
			}
			m.report()
			b.ReportMetric(float64(m.jobs)/m.ours.Seconds(), "jobs/s")
		})
	}
}
