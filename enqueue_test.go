package stint_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// starts notes which attempts have begun, in their order.
type starts struct {
	mu   sync.Mutex
	list []start
}

type start struct {
	id stint.ID
	at time.Time
}

func (s *starts) note(id stint.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, start{id, time.Now()})
}

func (s *starts) ids() (ids []stint.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.list {
		ids = append(ids, one.id)
	}
	return ids
}

func (s *starts) at(t testing.TB, id stint.ID) time.Time {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.list, func(one start) bool { return one.id == id })
	require.GreaterOrEqual(t, i, 0, "job %d has not started", id)
	return s.list[i].at
}

// handle registers a handler that notes its starts and does fn, which may be
// nil.
func handle[T stint.Args](q *stint.Queue, fn func(context.Context, *stint.Job[T]) error, policy *stint.Policy) *starts {
	s := &starts{}
	stint.Handle(q, func(ctx context.Context, job *stint.Job[T]) error {
		s.note(job.ID)
		if fn == nil {
			return nil
		}
		return fn(ctx, job)
	}, policy)
	return s
}

// named has the kind that a test wants.
type named struct{ kind string }

func (n named) Kind() string { return n.kind }

// blob has args of a chosen size: 8 bytes and the text.
type blob struct{ S string }

func (blob) Kind() string { return "blob" }

func blobOf(size int) blob { return blob{strings.Repeat("x", size-8)} }

func TestEnqueue(t *testing.T) {
	t.Parallel()
	scenario(t, "a job is on disk when its call returns", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		id := enqueue(t, q, note{N: 7})
		// What a crash would leave behind.
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		left := filepath.Join(t.TempDir(), "copy.db")
		require.NoError(t, os.WriteFile(left, file, 0o600))
		info := get(t, openAt(t, left, nil), id)
		require.Equal(t, stint.Ready, info.State)
		require.JSONEq(t, `{"n":7}`, string(info.Args))
	})

	scenario(t, "ids grow and are never used again", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, path, nil)
		last := stint.ID(0)
		for range 3 {
			id := enqueue(t, q, note{})
			require.Greater(t, id, last)
			last = id
		}
		require.NoError(t, q.Delete(t.Context(), last))
		require.NoError(t, q.Close())
		require.Greater(t, enqueue(t, openAt(t, path, nil), note{}), last)
	})

	scenario(t, "Info tells all that was asked for", func(t *testing.T) {
		q := open(t, nil)
		now := time.Now()
		id := enqueue(t, q, note{N: 3}, stint.OnQueue("low"), stint.Priority(4), stint.In(time.Minute),
			stint.MaxAttempts(3), stint.Tags("a", "b"), stint.Tags("ü"), stint.ExpiresIn(time.Hour), stint.Unique())
		want := stint.Info{
			ID: id, Kind: "note", Queue: "low", State: stint.Scheduled, Priority: 4, Args: []byte(`{"n":3}`),
			Tags: []string{"a", "b", "ü"}, EnqueuedAt: now, RunAt: now.Add(time.Minute), ExpiresAt: now.Add(time.Hour), MaxAttempts: 3,
		}
		got := get(t, q, id)
		for _, times := range [][2]*time.Time{{&want.EnqueuedAt, &got.EnqueuedAt}, {&want.RunAt, &got.RunAt}, {&want.ExpiresAt, &got.ExpiresAt}} {
			require.True(t, times[0].Equal(*times[1]), "%v %v", times[0], times[1])
			*times[0] = *times[1]
		}
		require.Equal(t, want, got)
	})

	scenario(t, "without options the job is ready, in default, of priority 2", func(t *testing.T) {
		q := open(t, nil)
		got := get(t, q, enqueue(t, q, other{S: "<&>"}))
		got.EnqueuedAt = time.Time{}
		require.Equal(t, stint.Info{ID: got.ID, Kind: "other", Queue: "default", State: stint.Ready, Priority: 2, Args: got.Args, Parked: true}, got)
	})

	scenario(t, "Policy gives queue and priority, options override them", func(t *testing.T) {
		q := open(t, nil)
		before := get(t, q, enqueue(t, q, note{}))
		require.Equal(t, "default", before.Queue)
		stint.Handle(q, func(context.Context, *stint.Job[note]) error { return nil }, &stint.Policy{Queue: "mail", Priority: 3})
		byPolicy := get(t, q, enqueue(t, q, note{}))
		require.Equal(t, "mail", byPolicy.Queue)
		require.Equal(t, 3, byPolicy.Priority)
		byOption := get(t, q, enqueue(t, q, note{}, stint.OnQueue("low"), stint.Priority(1)))
		require.Equal(t, "low", byOption.Queue)
		require.Equal(t, 1, byOption.Priority)
		require.Equal(t, "default", get(t, q, before.ID).Queue, "a stored job stays where it is")
	})

	scenario(t, "the handler gets the args as they were", func(t *testing.T) {
		q := open(t, nil)
		want := other{S: "zero \x00, ünïcödé, <html> & \"quotes\" \u2028"}
		var got other
		handle(q, func(_ context.Context, job *stint.Job[other]) error { got = job.Args; return nil }, nil)
		enqueue(t, q, want)
		run(t, q)
		synctest.Wait()
		require.Equal(t, want, got)
	})

	scenario(t, "between Enqueue and the start on an idle queue lies one commit", func(t *testing.T) {
		q := open(t, nil)
		seen := 0
		handle(q, func(context.Context, *stint.Job[note]) error { seen = lastTx(q.DB()); return nil }, nil)
		run(t, q)
		synctest.Wait()
		for range 3 {
			before := lastTx(q.DB())
			enqueue(t, q, note{})
			synctest.Wait()
			require.Equal(t, before+1, seen)
		}
	})

	scenario(t, "an idle queue does not write", func(t *testing.T) {
		q := open(t, nil)
		handle[note](q, nil, nil)
		run(t, q)
		enqueue(t, q, note{})
		enqueue(t, q, note{}, stint.In(30*24*time.Hour))
		time.Sleep(time.Minute)
		before := lastTx(q.DB())
		time.Sleep(20 * 24 * time.Hour)
		require.Equal(t, before, lastTx(q.DB()))
	})
}

func TestEnqueueRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 129)
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint("tag", i)
	}
	for _, c := range []struct {
		name string
		args stint.Args
		opts []stint.Option
		want error
		text string
	}{
		{"nil args", nil, nil, stint.ErrBadArgs, "nil"},
		{"a nil pointer", (*note)(nil), nil, stint.ErrBadArgs, "nil"},
		{"an empty kind", named{""}, nil, stint.ErrBadArgs, "kind"},
		{"a kind with a blank", named{"two words"}, nil, stint.ErrBadArgs, `"two words"`},
		{"a kind with an umlaut", named{"grüße"}, nil, stint.ErrBadArgs, "letters, digits"},
		{"a kind with a zero byte", named{"a\x00b"}, nil, stint.ErrBadArgs, `a\x00b`},
		{"a kind of 129 bytes", named{long}, nil, stint.ErrBadArgs, "128"},
		{"args that JSON cannot write", broken{A: func() {}}, nil, stint.ErrBadArgs, "stint_test.broken.A"},
		{"an empty queue", note{}, []stint.Option{stint.OnQueue("")}, stint.ErrBadOption, "queue"},
		{"a queue with a blank", note{}, []stint.Option{stint.OnQueue("a b")}, stint.ErrBadOption, `"a b"`},
		{"a queue of 129 bytes", note{}, []stint.Option{stint.OnQueue(long)}, stint.ErrBadOption, "128"},
		{"priority 0", note{}, []stint.Option{stint.Priority(0)}, stint.ErrBadOption, "Priority(0)"},
		{"priority 5", note{}, []stint.Option{stint.Priority(5)}, stint.ErrBadOption, "Priority(5)"},
		{"priority 257, which is 1 in a byte", note{}, []stint.Option{stint.Priority(257)}, stint.ErrBadOption, "Priority(257)"},
		{"no attempts", note{}, []stint.Option{stint.MaxAttempts(0)}, stint.ErrBadOption, "MaxAttempts(0)"},
		{"less than no attempts", note{}, []stint.Option{stint.MaxAttempts(-1)}, stint.ErrBadOption, "MaxAttempts(-1)"},
		{"an empty tag", note{}, []stint.Option{stint.Tags("a", "")}, stint.ErrBadOption, "tag"},
		{"a tag of 129 bytes", note{}, []stint.Option{stint.Tags(long)}, stint.ErrBadOption, "128"},
		{"101 tags", note{}, []stint.Option{stint.Tags(many...)}, stint.ErrBadOption, "101"},
		{"an expiry of nothing", note{}, []stint.Option{stint.ExpiresIn(0)}, stint.ErrBadOption, "ExpiresIn(0s)"},
		{"an expiry in the past", note{}, []stint.Option{stint.ExpiresIn(-time.Second)}, stint.ErrBadOption, "ExpiresIn(-1s)"},
		{"a period of nothing", note{}, []stint.Option{stint.Unique(stint.ForPeriod(0))}, stint.ErrBadOption, "ForPeriod"},
		{"a negative period", note{}, []stint.Option{stint.Unique(stint.ForPeriod(-time.Hour))}, stint.ErrBadOption, "ForPeriod(-1h0m0s)"},
		{"two ways to be unique", note{}, []stint.Option{stint.Unique(stint.WhileWaiting(), stint.ForPeriod(time.Hour))}, stint.ErrBadOption, "exclude"},
	} {
		scenario(t, c.name, func(t *testing.T) {
			q := open(t, nil)
			complains := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, c.want)
				require.ErrorContains(t, err, c.text)
				require.True(t, strings.HasPrefix(err.Error(), "stint: "), "%v", err)
			}
			id, err := q.Enqueue(t.Context(), c.args, c.opts...)
			complains(err)
			require.Zero(t, id)
			_, err = q.EnqueueAll(t.Context(), []stint.Args{c.args}, c.opts...)
			complains(err)
			n, err := q.EnqueueSeq(t.Context(), slices.Values([]stint.Args{c.args}), c.opts...)
			complains(err)
			require.Zero(t, n)
			_ = q.DB().Update(func(tx *bolt.Tx) error {
				_, err = q.EnqueueTx(tx, c.args, c.opts...)
				return nil
			})
			complains(err)
			require.Zero(t, q.Counts())
		})
	}

	scenario(t, "and takes names that use the alphabet to the full", func(t *testing.T) {
		q := open(t, nil)
		for _, name := range []string{"a", "A-Z_0.9/:", long[:128]} {
			info := get(t, q, enqueue(t, q, named{name}, stint.OnQueue(name), stint.Tags(name)))
			require.Equal(t, name, info.Kind)
			require.Equal(t, name, info.Queue)
		}
		enqueue(t, q, note{}, stint.Tags(many[:100]...))
	})
}

// broken can hold what JSON cannot write, in many places.
type broken struct {
	Fine   string
	A      any
	Inner  inner
	List   []any
	ByName map[string]any
	Ptr    *inner
	hidden func()
	Hidden func() `json:"-"`
}

type inner struct {
	Rows   [][]float64
	Leaves map[string][]leaf
}

type leaf struct{ V any }

func (broken) Kind() string { return "broken" }

func TestEnqueueNamesTheFieldThatIsNoJSON(t *testing.T) {
	t.Parallel()
	bad := make(chan int)
	for _, c := range []struct {
		args broken
		path string
	}{
		{broken{A: bad}, ".A"},
		{broken{A: &inner{Rows: [][]float64{{1}, {1, 2, math.NaN()}}}}, ".A.Rows[1][2]"},
		{broken{Inner: inner{Leaves: map[string][]leaf{"fine": {{}}, "oak": {{}, {V: bad}}}}}, ".Inner.Leaves[oak][1].V"},
		{broken{List: []any{1, "two", map[string]any{"x": bad}}}, ".List[2][x]"},
		{broken{ByName: map[string]any{"a": 1, "b": []any{bad}}}, ".ByName[b][0]"},
		{broken{Ptr: &inner{Rows: [][]float64{{math.Inf(1)}}}}, ".Ptr.Rows[0][0]"},
	} {
		scenario(t, c.path, func(t *testing.T) {
			_, err := open(t, nil).Enqueue(t.Context(), c.args)
			require.ErrorIs(t, err, stint.ErrBadArgs)
			require.ErrorContains(t, err, "stint_test.broken"+c.path+" cannot be written as JSON")
		})
	}

	scenario(t, "fields that JSON leaves out do not matter", func(t *testing.T) {
		enqueue(t, open(t, nil), broken{hidden: func() {}, Hidden: func() {}})
	})

	scenario(t, "args that contain themselves end the search", func(t *testing.T) {
		loop := map[string]any{}
		loop["again"] = loop
		_, err := open(t, nil).Enqueue(t.Context(), broken{ByName: loop})
		require.ErrorIs(t, err, stint.ErrBadArgs)
		require.ErrorContains(t, err, "stint_test.broken.ByName")
	})
}

func TestArgsSize(t *testing.T) {
	t.Parallel()
	scenario(t, "at most the limit", func(t *testing.T) {
		q := open(t, &stint.Config{MaxArgsSize: 100})
		for _, size := range []int{99, 100} {
			require.Len(t, get(t, q, enqueue(t, q, blobOf(size))).Args, size)
		}
		_, err := q.Enqueue(t.Context(), blobOf(101))
		require.ErrorIs(t, err, stint.ErrArgsTooLarge)
		require.ErrorContains(t, err, "101 bytes of JSON, the limit is 100")
		require.Equal(t, 2, q.Counts().Ready)
	})

	scenario(t, "1 MiB by default", func(t *testing.T) {
		q := open(t, nil)
		enqueue(t, q, blobOf(1<<20))
		_, err := q.Enqueue(t.Context(), blobOf(1<<20+1))
		require.ErrorIs(t, err, stint.ErrArgsTooLarge)
	})

	scenario(t, "a negative limit means the hard one", func(t *testing.T) {
		q := open(t, &stint.Config{MaxArgsSize: -1})
		id := enqueue(t, q, blobOf(2<<20))
		require.Len(t, get(t, q, id).Args, 2<<20)
		_, err := q.Enqueue(t.Context(), blobOf(16<<20+1))
		require.ErrorIs(t, err, stint.ErrArgsTooLarge)
	})
}
