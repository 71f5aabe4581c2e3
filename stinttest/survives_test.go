package stinttest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
	"github.com/stintq/stint/stinttest"
)

type charge struct{ Order int }

func (charge) Kind() string { return "charge" }

// bank keeps its book in a file: an effect outside the queue.
type bank struct{ book string }

func bankIn(dir string) bank { return bank{filepath.Join(dir, "book")} }

// pay books, each time it is asked to.
func (b bank) pay(line string) error {
	f, err := os.OpenFile(b.book, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}

// payOnce books what has not been booked under the key.
func (b bank) payOnce(key string) error {
	lines, err := b.lines()
	if err != nil {
		return err
	}
	for _, line := range lines {
		if line == key {
			return nil
		}
	}
	return b.pay(key)
}

func (b bank) lines() ([]string, error) {
	text, err := os.ReadFile(b.book)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return strings.Fields(string(text)), err
}

// paid checks the number of bookings.
func (b bank) paid(want int) error {
	lines, err := b.lines()
	if err == nil && len(lines) != want {
		err = fmt.Errorf("%d orders were paid %d times", want, len(lines))
	}
	return err
}

// shop opens a queue in dir whose charges go to a handler.
func shop(dir string, fn func(b bank, job *stint.Job[charge]) error, policy *stint.Policy) (*stint.Queue, error) {
	q, err := stint.Open(filepath.Join(dir, "shop.db"), nil)
	if err == nil {
		stint.Handle(q, func(_ context.Context, job *stint.Job[charge]) error { return fn(bankIn(dir), job) }, policy)
	}
	return q, err
}

// survival is that of n charges by a handler.
func survival(n int, fn func(b bank, job *stint.Job[charge]) error) stinttest.Survival {
	return stinttest.Survival{
		Open: func(dir string) (*stint.Queue, error) {
			return shop(dir, fn, &stint.Policy{Backoff: stint.Constant(time.Hour)})
		},
		Enqueue: func(q *stint.Queue) error {
			for i := range n {
				if _, err := q.Enqueue(context.Background(), charge{i}); err != nil {
					return err
				}
			}
			return nil
		},
		Check: func(_ *stint.Queue, dir string) error { return bankIn(dir).paid(n) },
	}
}

// skipShort is for tests of kills.
func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("kills processes")
	}
	t.Parallel()
}

func TestSurvives(t *testing.T) {
	skipShort(t)
	t.Run("a handler that gives its key passes", func(t *testing.T) {
		t.Parallel()
		stinttest.Survives(t, survival(2, func(b bank, job *stint.Job[charge]) error { return b.payOnce(job.Key()) }))
	})
	t.Run("a failure before does not matter", func(t *testing.T) {
		t.Parallel()
		stinttest.Survives(t, survival(1, func(b bank, job *stint.Job[charge]) error {
			if job.Attempt < 3 {
				return errDown // and its backoff of an hour is not waited for
			}
			return b.payOnce(job.Key())
		}))
	})
	t.Run("effects within Commit pass", func(t *testing.T) {
		t.Parallel()
		s := survival(3, func(b bank, job *stint.Job[charge]) error {
			return job.Commit(func(tx *bolt.Tx) error { return count(tx) })
		})
		s.Check = func(q *stint.Queue, _ string) error { return counted(q, 3) }
		stinttest.Survives(t, s)
	})
	t.Run("a batch ends once", func(t *testing.T) {
		t.Parallel()
		s := survival(3, func(b bank, job *stint.Job[charge]) error { return b.payOnce(job.Key()) })
		open := s.Open
		s.Open = func(dir string) (*stint.Queue, error) {
			q, err := open(dir)
			if err == nil {
				stint.Handle(q, func(_ context.Context, job *stint.Job[report]) error {
					batch, err := job.Batch()
					if err != nil {
						return err
					}
					return bankIn(dir).payOnce(fmt.Sprintf("%v/%d-done", job.Key(), batch.Done))
				}, nil)
			}
			return q, err
		}
		s.Enqueue = func(q *stint.Queue) error {
			items := slices.Values([]stint.Args{charge{1}, charge{2}, charge{3}})
			_, err := q.EnqueueBatch(context.Background(), items, &stint.BatchPolicy{OnDone: report{}})
			return err
		}
		s.Check = func(_ *stint.Queue, dir string) error {
			lines, err := bankIn(dir).lines()
			if err == nil && (len(lines) != 4 || !strings.HasSuffix(lines[3], "/3-done")) {
				err = fmt.Errorf("%q is booked", lines)
			}
			return err
		}
		stinttest.Survives(t, s)
	})
	t.Run("effects within CompleteTx pass, also in the application's own database", func(t *testing.T) {
		t.Parallel()
		s := survival(2, nil)
		s.Open = func(dir string) (*stint.Queue, error) {
			db, err := bolt.Open(filepath.Join(dir, "app.db"), 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
			if err != nil {
				return nil, err
			}
			q, err := stint.New(db, nil)
			if err != nil {
				return nil, err
			}
			stint.Handle(q, func(_ context.Context, job *stint.Job[charge]) error {
				return q.Update(func(tx *bolt.Tx) error { return errors.Join(count(tx), job.CompleteTx(tx)) })
			}, nil)
			return q, nil
		}
		s.Check = func(q *stint.Queue, _ string) error { return counted(q, 2) }
		stinttest.Survives(t, s)
	})
}

// count adds one, which is no business of bbolt's to make safe.
func count(tx *bolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte("counts"))
	if err != nil {
		return err
	}
	n := uint64(0)
	if v := b.Get([]byte("paid")); v != nil {
		n = binary.BigEndian.Uint64(v)
	}
	return b.Put([]byte("paid"), binary.BigEndian.AppendUint64(nil, n+1))
}

func counted(q *stint.Queue, want uint64) error {
	return q.View(func(tx *bolt.Tx) error {
		if n := binary.BigEndian.Uint64(tx.Bucket([]byte("counts")).Get([]byte("paid"))); n != want {
			return fmt.Errorf("%d were counted, not %d", n, want)
		}
		return nil
	})
}

func TestSurvivesFinds(t *testing.T) {
	skipShort(t)
	finds := func(name string, s func() stinttest.Survival, want ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := record(t, func(t testing.TB) { stinttest.Survives(t, s()) })
			require.True(t, r.Failed())
			for _, text := range want {
				require.Contains(t, r.errors.String()+r.logs.String(), text)
			}
		})
	}
	finds("what happens twice", func() stinttest.Survival {
		return survival(1, func(b bank, job *stint.Job[charge]) error { return b.pay("one") })
	},
		"stinttest: the jobs do not survive: 1 orders were paid 2 times; the queue has no jobs\n\t1 have completed and are not kept",
		"stinttest: that was when the process is killed right before its commit 2\n")
	finds("what never happens", func() stinttest.Survival {
		return survival(1, func(b bank, job *stint.Job[charge]) error {
			if err := job.Commit(func(*bolt.Tx) error { return nil }); err != nil {
				return err
			}
			return b.pay("one")
		})
	},
		"the jobs do not survive: 1 orders were paid 0 times",
		"that was when the process is killed right after its commit 2\n")
	finds("what never happens after a transaction of the handler's", func() stinttest.Survival {
		s := survival(1, nil)
		s.Open = func(dir string) (q *stint.Queue, err error) {
			q, err = shop(dir, func(b bank, job *stint.Job[charge]) error {
				if err := q.Update(job.CompleteTx); err != nil {
					return err
				}
				return b.pay("one")
			}, nil)
			return q, err
		}
		return s
	},
		"the jobs do not survive: 1 orders were paid 0 times",
		"that was when the process is killed right after its commit 2\n")
	finds("what is wrong anyway", func() stinttest.Survival {
		return survival(1, func(b bank, job *stint.Job[charge]) error { return stint.Kill(errDown) })
	},
		"1 orders were paid 0 times; the queue has these jobs:\n\tjob 1  charge {\"Order\":0}  dead: smtp is down",
		"that was without any kill\n")
	finds("an Open that fails", func() stinttest.Survival {
		s := survival(1, nil)
		s.Open = func(string) (*stint.Queue, error) { return nil, errDown }
		return s
	}, "Open fails: smtp is down")
	finds("an Enqueue that fails", func() stinttest.Survival {
		s := survival(1, nil)
		s.Enqueue = func(*stint.Queue) error { return errDown }
		return s
	}, "Enqueue fails: smtp is down")
	finds("that Check is missing", func() stinttest.Survival {
		s := survival(1, nil)
		s.Check = nil
		return s
	}, "Survives needs Open, Enqueue and Check")
	finds("a process that comes to another end", func() stinttest.Survival {
		s := survival(1, func(b bank, job *stint.Job[charge]) error { return b.payOnce(job.Key()) })
		if os.Getenv("STINTTEST_VICTIM") != "" {
			s.Open = func(string) (*stint.Queue, error) { return nil, errDown }
		}
		return s
	}, "came to another end (exit status 1)", "Open fails: smtp is down")
}

func TestSurvivesIsCut(t *testing.T) {
	skipShort(t)
	s := survival(1, func(b bank, job *stint.Job[charge]) error { return b.payOnce(job.Key()) })
	s.MaxKills = 1
	r := record(t, func(t testing.TB) { stinttest.Survives(t, s) })
	require.False(t, r.Failed(), r.errors.String())
	require.Equal(t, "stinttest: cut after 1 kills, at commit 1; raise Survival.MaxKills, or enqueue less\n", r.logs.String())
}

var survivors = flag.String("survivors", "", "a flag that must get to the processes")

// Two calls in one test: the processes must come to the right one, with the
// flags of this one.
func TestSurvivesTwice(t *testing.T) {
	skipShort(t)
	require.NoError(t, flag.Set("survivors", "of a test"))
	for _, word := range []string{"first", "second"} {
		s := survival(1, func(b bank, job *stint.Job[charge]) error {
			if *survivors != "of a test" {
				return stint.Kill(errors.New("the flag is not set"))
			}
			return b.payOnce(word + job.Key())
		})
		s.Check = func(_ *stint.Queue, dir string) error {
			lines, err := bankIn(dir).lines()
			if err == nil && (len(lines) != 1 || !strings.HasPrefix(lines[0], word)) {
				err = fmt.Errorf("%v is booked", lines)
			}
			return err
		}
		stinttest.Survives(t, s)
	}
}
