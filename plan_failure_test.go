package stint_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestPlannerThatFails(t *testing.T) {
	t.Parallel()
	// A planner that gives up in the middle of each attempt but the last.
	giveUp := map[string]func(yield func(note, error) bool){
		"by an error": func(yield func(note, error) bool) { yield(note{}, errOops) },
		"by a panic":  func(func(note, error) bool) { panic("oops") },
	}
	orders := map[string]func(p *stint.Planning[note], r *rand.Rand) []int{
		"starts over": func(_ *stint.Planning[note], r *rand.Rand) []int { return sequence(0, 2200) },
		"starts over in another order": func(_ *stint.Planning[note], r *rand.Rand) []int {
			return r.Perm(2200)
		},
		"goes on behind the last item": func(p *stint.Planning[note], r *rand.Rand) []int {
			if p.After == nil {
				return sequence(0, 2200)
			}
			return sequence(p.After.N+1, 2200)
		},
	}
	for how, end := range giveUp {
		for order, next := range orders {
			scenario(t, fmt.Sprintf("%s and %s neither loses nor doubles an item", how, order), func(t *testing.T) {
				q := open(t, nil)
				told := ends(q)
				r := rand.New(rand.NewPCG(1, 2))
				attempts := 0
				runs := new([10_000]atomic.Int32)
				planned(t, q, func(_ context.Context, p *stint.Planning[note]) noteSeq {
					attempts++
					require.True(t, attempts > 1 || p.After == nil)
					require.Equal(t, attempts, p.Attempt)
					stopAt := 500 * attempts
					if strings.HasPrefix(order, "goes on") {
						stopAt = 500
					}
					return func(yield func(note, error) bool) {
						for i, n := range next(p, r) {
							if attempts < 4 && i == stopAt {
								end(yield)
								return
							}
							if !yield(note{n}, nil) {
								return
							}
						}
					}
				}, onceEach(runs), &stint.BatchPolicy{Planner: &stint.Policy{Backoff: stint.Constant(time.Minute)}})
				run(t, q)
				id := startBatch(t, q)
				time.Sleep(time.Hour)
				require.Len(t, told(), 1)
				require.Equal(t, 4, attempts)
				info := batch(t, q, id)
				require.Equal(t, []int{2200, 2200, 0}, []int{info.Planned, info.Done, info.Bad})
				requireOnce(t, runs, 2200)
				require.Zero(t, stint.StoredItems(q.DB()), "what the planning had to know is forgotten")
			})
		}
	}
	scenario(t, "an error it goes on behind is a bad item, and so is one that cannot be stored", func(t *testing.T) {
		q := open(t, &stint.Config{MaxArgsSize: 200})
		told := ends(q)
		handled := 0
		plan := func(context.Context, *stint.Planning[oddItem]) iter.Seq2[oddItem, error] {
			return func(yield func(oddItem, error) bool) {
				for i := range 30 {
					switch {
					case i == 1:
						yield(oddItem{}, (*nilError)(nil))
					case i%3 == 1:
						yield(oddItem{}, fmt.Errorf("row %d is no good", i))
					case i == 2:
						yield(oddItem{S: strings.Repeat("x", 300)}, nil)
					case i == 5:
						yield(oddItem{Panics: true}, nil)
					default:
						yield(oddItem{N: i}, nil)
					}
				}
			}
		}
		each := func(context.Context, *stint.Job[oddItem]) error { handled++; return nil }
		require.NoError(t, stint.PeriodicBatch(q, "nightly", never, plan, each, &stint.BatchPolicy{OnDone: done{}, Items: &stint.Policy{Concurrency: 1}}))
		run(t, q)
		startBatch(t, q)
		require.Len(t, told(), 1)
		info := told()[0]
		require.Equal(t, []int{18, 18, 12}, []int{info.Planned, info.Done, info.Bad})
		require.Len(t, info.Errors, 10)
		require.Contains(t, info.Errors[0], "panic")
		require.Equal(t, "row 4 is no good", info.Errors[1])
		require.Contains(t, strings.Join(info.Errors, "\n"), "row 22 is no good")
		require.Empty(t, info.PlanError)
		require.Equal(t, 18, handled)
	})
	scenario(t, "that is interrupted by a shutdown has stored what it had, and costs no attempt", func(t *testing.T) {
		q := open(t, &stint.Config{ShutdownTimeout: time.Second})
		told := ends(q)
		runs := new([10_000]atomic.Int32)
		var attempts []int
		silent := false
		planned(t, q, func(ctx context.Context, p *stint.Planning[note]) noteSeq {
			attempts = append(attempts, p.Attempt)
			return func(yield func(note, error) bool) {
				for i := p.Stored; i < 1700; i++ {
					if i == 1500 && len(attempts) < 3 {
						<-ctx.Done()
						if silent = !silent; silent {
							return // as if that were all
						}
						yield(note{}, ctx.Err())
						return
					}
					if !yield(note{i}, nil) {
						return
					}
				}
			}
		}, onceEach(runs), nil)
		id := startBatch(t, q)
		for range 2 {
			stop := run(t, q)
			time.Sleep(time.Minute)
			require.NoError(t, stop())
			info := batch(t, q, id)
			require.True(t, info.Planning)
			require.Equal(t, 1500, info.Planned)
			require.Empty(t, info.Errors)
		}
		run(t, q)
		require.Len(t, told(), 1)
		require.Equal(t, []int{1, 1, 1}, attempts)
		requireOnce(t, runs, 1700)
	})
	scenario(t, "for a full queue waits, with what fits in stored", func(t *testing.T) {
		q := open(t, &stint.Config{MaxJobs: 300, Workers: 1})
		told := ends(q)
		runs := new([10_000]atomic.Int32)
		planned(t, q, planNotes(1000), onceEach(runs), nil)
		run(t, q)
		id := startBatch(t, q)
		synctest.Wait()
		require.Equal(t, 299, batch(t, q, id).Planned)
		require.Equal(t, 1, get(t, q, id).Snoozes)
		time.Sleep(time.Minute)
		require.Len(t, told(), 1)
		requireOnce(t, runs, 1000)
	})
	scenario(t, "with Repeat has to go on behind the last item", func(t *testing.T) {
		q := open(t, nil)
		told := ends(q)
		runs := new([10_000]atomic.Int32)
		first := true
		planned(t, q, func(_ context.Context, p *stint.Planning[note]) noteSeq {
			return func(yield func(note, error) bool) {
				i := 0
				if p.After != nil {
					i = p.After.N + 1
				}
				for ; i < 2200; i++ {
					if i == 1234 && first {
						first = false
						yield(note{}, errOops)
						return
					}
					yield(note{i}, nil)
				}
			}
		}, onceEach(runs), &stint.BatchPolicy{Repeat: true})
		run(t, q)
		startBatch(t, q)
		time.Sleep(time.Hour)
		require.Len(t, told(), 1)
		requireOnce(t, runs, 2200)
	})
}

func sequence(first, end int) (list []int) {
	for i := first; i < end; i++ {
		list = append(list, i)
	}
	return list
}

// oddItem is one that may be impossible to store.
type oddItem struct {
	N      int
	S      string
	Panics bool
}

func (oddItem) Kind() string { return "odd_item" }

func (o oddItem) MarshalJSON() ([]byte, error) {
	if o.Panics {
		panic("no JSON")
	}
	return fmt.Appendf(nil, `{"N":%d,"S":%q}`, o.N, o.S), nil
}

func TestDeadPlanner(t *testing.T) {
	t.Parallel()
	// prepared is a batch whose planner dies after 10 items, of which the last waits
	// for its retry.
	prepared := func(t *testing.T, cfg *stint.Config) (q *stint.Queue, id stint.ID, mended *bool, told func() []stint.BatchInfo) {
		q = open(t, cfg)
		told = ends(q)
		mended = new(bool)
		planned(t, q, func(_ context.Context, p *stint.Planning[note]) noteSeq {
			return func(yield func(note, error) bool) {
				for i := range 20 {
					if i == 10 && !*mended {
						yield(note{}, stint.Kill(errors.New("the table is gone")))
						return
					}
					yield(note{i}, nil)
				}
			}
		}, func(_ context.Context, job *stint.Job[note]) error {
			if job.Args.N == 9 && job.Attempt == 1 {
				return errOops
			}
			return nil
		}, &stint.BatchPolicy{Items: hour})
		run(t, q)
		id = startBatch(t, q)
		synctest.Wait()
		info := batch(t, q, id)
		require.Equal(t, "the table is gone", info.PlanError)
		require.False(t, info.Planning)
		require.Equal(t, []int{10, 9}, []int{info.Planned, info.Done})
		require.Empty(t, told())
		return q, id, mended, told
	}
	scenario(t, "lets the batch end with the items it has", func(t *testing.T) {
		q, id, _, told := prepared(t, nil)
		time.Sleep(2 * time.Hour)
		require.Len(t, told(), 1)
		require.Equal(t, "the table is gone", told()[0].PlanError)
		schedules, err := q.Schedules()
		require.NoError(t, err)
		require.Equal(t, stint.Dead, schedules[0].Runs[0].State)
		require.Contains(t, schedules[0].Runs[0].Reason, "the table is gone")

		require.NoError(t, q.Retry(t.Context(), id))
		synctest.Wait()
		require.Equal(t, stint.Dead, get(t, q, id).State)
		require.Contains(t, get(t, q, id).Reason, "has ended")
		require.Len(t, told(), 1)
		require.Equal(t, 10, batch(t, q, id).Planned)
	})
	scenario(t, "goes on if it is retried before, and what is finished does not run again", func(t *testing.T) {
		q, id, mended, told := prepared(t, nil)
		*mended = true
		require.NoError(t, q.Retry(t.Context(), id))
		synctest.Wait()
		info := batch(t, q, id)
		require.Empty(t, info.PlanError)
		require.Equal(t, []int{20, 19, 10}, []int{info.Planned, info.Done, info.Skipped})
		time.Sleep(2 * time.Hour)
		require.Len(t, told(), 1)
		require.Equal(t, 20, told()[0].Done)
		require.Zero(t, stint.StoredItems(q.DB()))
	})
	scenario(t, "killed or deleted before it began, ends an empty batch", func(t *testing.T) {
		q := open(t, nil)
		planned(t, q, planNotes(10), noItem, nil)
		killed, deleted := startBatch(t, q), startBatch(t, q)
		require.NoError(t, q.Kill(t.Context(), killed, "enough"))
		require.NoError(t, q.Delete(t.Context(), deleted))
		require.Equal(t, "enough", batch(t, q, killed).PlanError)
		require.Contains(t, batch(t, q, deleted).PlanError, "deleted")
		require.NotZero(t, batch(t, q, deleted).OnDone)
		require.NotZero(t, batch(t, q, killed).FinishedAt)
	})
	scenario(t, "whose error middleware swallows has not planned to the end", func(t *testing.T) {
		q := open(t, &stint.Config{WorkMiddleware: []stint.WorkMiddleware{
			func(ctx context.Context, _ *stint.Work, next func(context.Context) error) error {
				_ = next(ctx)
				return nil
			},
		}})
		told := ends(q)
		planned(t, q, func(context.Context, *stint.Planning[note]) noteSeq {
			return func(yield func(note, error) bool) { yield(note{1}, nil); yield(note{}, errOops) }
		}, noItem, nil)
		run(t, q)
		startBatch(t, q)
		require.Len(t, told(), 1)
		require.Contains(t, told()[0].PlanError, "swallowed")
		require.Equal(t, 1, told()[0].Done)
	})
}
