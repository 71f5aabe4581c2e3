package stint_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// order has a field of each sort that JSON can lose something in.
type order struct {
	ID    int64           `json:"id"`
	Small int8            `json:"small,omitempty"`
	Price float64         `json:"price,omitempty"`
	Short float32         `json:"short,omitempty"`
	Any   any             `json:"any,omitempty"`
	Raw   json.RawMessage `json:"raw,omitempty"`
	Lines []struct {
		N     float64 `json:"n"`
		Count uint64  `json:"count"`
	} `json:"lines,omitempty"`
	Text string    `json:"text,omitempty"`
	When time.Time `json:"when,omitzero"`
}

func (order) Kind() string { return "order" }

// pointed is used by its pointer, and fickle has a kind for each value.
type pointed struct{ N int }

func (*pointed) Kind() string { return "pointed" }

type fickle struct{ Like string }

func (f fickle) Kind() string { return "fickle" + f.Like }

func TestEnqueueJSON(t *testing.T) {
	t.Parallel()
	ignore := func(q *stint.Queue) {
		stint.Handle(q, func(context.Context, *stint.Job[order]) error { return nil }, &stint.Policy{Queue: "shop", Priority: 1})
		stint.Handle(q, func(context.Context, *stint.Job[*pointed]) error { return nil }, nil)
		stint.Handle(q, func(context.Context, *stint.Job[fickle]) error { return nil }, nil)
	}

	scenario(t, "stores what Enqueue would, as the handler's policy says", func(t *testing.T) {
		q := open(t, nil)
		ignore(q)
		for given, stored := range map[string]string{
			"": `{"id":0}`, "{}": `{"id":0}`, " \n{ \"id\" : 9007199254740993 } ": `{"id":9007199254740993}`, `{"ID":4}`: `{"id":4}`,
			`{"small":-128}`: `{"id":0,"small":-128}`, `{"price":1.10}`: `{"id":0,"price":1.1}`, `{"price":1e2}`: `{"id":0,"price":100}`,
			`{"price":-0.00000000012}`: `{"id":0,"price":-1.2e-10}`, `{"price":0.0e5}`: `{"id":0}`, `{"short":0.1}`: `{"id":0,"short":0.1}`,
			`{"any":[12345678901234567890.123, {"x":1e999}]}`:    `{"id":0,"any":[12345678901234567890.123,{"x":1e999}]}`,
			`{"raw":{"x":12345678901234567890.10}}`:              `{"id":0,"raw":{"x":12345678901234567890.10}}`,
			`{"lines":[{"n":0.5,"count":18446744073709551615}]}`: `{"id":0,"lines":[{"n":0.5,"count":18446744073709551615}]}`,
			`{"text":"<ü>"}`: `{"id":0,"text":"\u003cü\u003e"}`, `null`: `{"id":0}`,
			`{"when":"2030-01-01T00:00:00Z"}`: `{"id":0,"when":"2030-01-01T00:00:00Z"}`,
		} {
			id, err := q.EnqueueJSON(t.Context(), "order", []byte(given))
			require.NoError(t, err, given)
			info := get(t, q, id)
			require.Equal(t, stored, string(info.Args), given)
			require.Equal(t, "shop", info.Queue)
			require.Equal(t, 1, info.Priority)
		}
		id, err := q.EnqueueJSON(t.Context(), "order", nil, stint.OnQueue("low"), stint.Priority(4), stint.In(time.Hour), stint.Tags("x"))
		require.NoError(t, err)
		info := get(t, q, id)
		require.Equal(t, []any{"low", 4, stint.Scheduled, []string{"x"}}, []any{info.Queue, info.Priority, info.State, info.Tags})
		id, err = q.EnqueueJSON(t.Context(), "pointed", []byte(`{"N":3}`))
		require.NoError(t, err)
		require.Equal(t, `{"N":3}`, string(get(t, q, id).Args))
	})

	scenario(t, "refuses what the handler's type would lose, and says what", func(t *testing.T) {
		q := open(t, &stint.Config{MaxArgsSize: 1000})
		ignore(q)
		for _, c := range []struct{ kind, args, want string }{
			{"order", `{"id":1,"idd":2}`, `unknown field "idd"`},
			{"order", `{"lines":[{"coumt":2}]}`, `unknown field "coumt"`},
			{"order", `{"small":300}`, "small"},
			{"order", `{"id":1.5}`, "id"},
			{"order", `{"id":9223372036854775808}`, "id"},
			{"order", `{"id":"1"}`, "id"},
			{"order", `{"price":1e999}`, "price"},
			{"order", `{"price":9007199254740993}`, "of the number 9007199254740993 in .price it keeps 9007199254740992"},
			{"order", `{"PRICE":0.12345678901234567890}`, "in .PRICE"},
			{"order", `{"short":16777217}`, "in .short it keeps 16777216"},
			{"order", `{"lines":[{"n":1},{"n":9007199254740993}]}`, "in .lines[1].n"},
			{"order", `[]`, "array"}, {"order", `1`, "number"}, {"order", `"x"`, "string"},
			{"order", `{"id":1`, "not one JSON value"}, {"order", `{} {}`, "not one JSON value"}, {"order", ` `, "not one JSON value"},
			{"order", "{\"text\":\"\xff\"}", "UTF-8"},
			{"unknown", `{"id":1,}`, "not one JSON value"}, {"unknown", `{"a":01}`, "not one JSON value"}, {"unknown", "\"\xff\"", "UTF-8"},
			{"no kind", `{}`, "no kind"}, {"", `{}`, "kind"},
			{"pointed", `null`, "nil"},
			{"fickle", `{"Like":"x"}`, `"ficklex"`},
		} {
			id, err := q.EnqueueJSON(t.Context(), c.kind, []byte(c.args))
			require.ErrorIs(t, err, stint.ErrBadArgs, c.args)
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), "stint: "), err)
			require.NotContains(t, err.Error(), "json: ")
			require.Zero(t, id)
		}
		for _, kind := range []string{"order", "unknown"} {
			_, err := q.EnqueueJSON(t.Context(), kind, []byte(`{"text":"`+strings.Repeat("x", 1000)+`"}`))
			require.ErrorIs(t, err, stint.ErrArgsTooLarge)
		}
		_, err := q.EnqueueJSON(t.Context(), "order", nil, stint.Priority(9))
		require.ErrorIs(t, err, stint.ErrBadOption)
		require.Zero(t, q.Counts().Ready)
	})

	scenario(t, "a kind without a handler takes any JSON, parks, and runs when there is one", func(t *testing.T) {
		q := open(t, nil)
		run(t, q)
		for given, stored := range map[string]string{
			"": "{}", "[1, 2]": "[1,2]", "1.50": "1.50", `"x"`: `"x"`, "null": "null", "true": "true",
			`{"b": 12345678901234567890.10, "a": 1E+2}`: `{"b":12345678901234567890.10,"a":1E+2}`,
		} {
			id, err := q.EnqueueJSON(t.Context(), "later", []byte(given))
			require.NoError(t, err, given)
			info := get(t, q, id)
			require.Equal(t, stored, string(info.Args))
			require.Equal(t, "default", info.Queue)
			require.True(t, info.Parked)
		}
		id, err := q.EnqueueJSON(t.Context(), "note", []byte(`{"n":3}`))
		require.NoError(t, err)
		var n int
		handle(q, func(_ context.Context, job *stint.Job[note]) error { n = job.Args.N; return nil }, nil)
		synctest.Wait()
		require.Equal(t, 3, n)
		gone(t, q, id)
	})

	scenario(t, "is equal to what the program enqueues, and folds into it", func(t *testing.T) {
		q := open(t, nil)
		ignore(q)
		handle[note](q, nil, nil)
		id := enqueue(t, q, order{ID: 7}, stint.Unique())
		again, err := q.EnqueueJSON(t.Context(), "order", []byte(`{"price": 0, "id": 7}`), stint.Unique())
		require.ErrorIs(t, err, stint.ErrDuplicate)
		require.Equal(t, id, again)
		sum := stint.Unique(stint.Merge(func(a, b note) note { return note{a.N + b.N} }))
		id = enqueue(t, q, note{N: 1}, sum)
		again, err = q.EnqueueJSON(t.Context(), "note", []byte(`{"n":41}`), sum)
		require.NoError(t, err)
		require.Equal(t, id, again)
		require.Equal(t, `{"n":42}`, string(get(t, q, id).Args))
	})

	scenario(t, "middleware sees the handler's type, or what can be known without one", func(t *testing.T) {
		var seen []stint.Args
		q := open(t, &stint.Config{EnqueueMiddleware: []stint.EnqueueMiddleware{
			func(ctx context.Context, jobs []*stint.NewJob, next func(context.Context) error) error {
				seen = append(seen, jobs[0].Args)
				if o, ok := jobs[0].Args.(order); ok && o.ID == 13 {
					return errRefused
				}
				jobs[0].Tags = []string{"seen"}
				return next(ctx)
			},
		}})
		ignore(q)
		_, err := q.EnqueueJSON(t.Context(), "order", []byte(`{"id":13}`))
		require.ErrorIs(t, err, errRefused)
		id, err := q.EnqueueJSON(t.Context(), "order", []byte(`{"id":14,"any":1.0}`))
		require.NoError(t, err)
		require.Equal(t, []string{"seen"}, get(t, q, id).Tags)
		require.Equal(t, []stint.Args{order{ID: 13}, order{ID: 14, Any: json.Number("1.0")}}, seen)
		_, err = q.EnqueueJSON(t.Context(), "unknown", []byte(`{"x": 1.0}`))
		require.NoError(t, err)
		require.Equal(t, "unknown", seen[2].Kind())
		b, err := json.Marshal(seen[2])
		require.NoError(t, err)
		require.Equal(t, `{"x":1.0}`, string(b))
	})

	scenario(t, "starts a planner, which takes no args", func(t *testing.T) {
		q := open(t, nil)
		planned(t, q, planNotes(3), noItem, nil)
		kind := "plan/" + firstSchedule(t, q)
		_, err := q.EnqueueJSON(t.Context(), kind, []byte(`{"n":1}`))
		require.ErrorIs(t, err, stint.ErrBadArgs)
		require.ErrorContains(t, err, `unknown field "n"`)
		id, err := q.EnqueueJSON(t.Context(), kind, nil)
		require.NoError(t, err)
		run(t, q)
		time.Sleep(time.Minute)
		info, err := q.Batch(id)
		require.NoError(t, err)
		require.Equal(t, 3, info.Done)
	})
}

func firstSchedule(t testing.TB, q *stint.Queue) string {
	t.Helper()
	schedules, err := q.Schedules()
	require.NoError(t, err)
	return schedules[0].Name
}

// Whatever the bytes are, EnqueueJSON refuses them, or stores JSON that the
// handler reads and that says the same when it is enqueued once more.
func FuzzEnqueueJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"id":1}`, `{"price":1e-400}`, `{"any":{"a":[1,{"b":0.10}]}}`, `{"lines":[{"n":-0}]}`, `{"id":1}x`, "null", `{"raw":1e9999999999}`, `{"short":1e38,"text":"\ud800"}`} {
		f.Add([]byte(s))
	}
	q, err := tryOpen(f.TempDir()+"/queue.db", &stint.Config{Logger: quiet})
	if err != nil {
		f.Fatal(err)
	}
	q.DB().NoSync = true
	f.Cleanup(func() { _ = q.Close() })
	stint.Handle(q, func(context.Context, *stint.Job[order]) error { return nil }, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []string{"order", "unknown"} {
			id, err := q.EnqueueJSON(t.Context(), kind, b)
			if err != nil {
				require.ErrorIs(t, err, stint.ErrBadArgs)
				continue
			}
			args := get(t, q, id).Args
			require.True(t, json.Valid(args))
			again, err := q.EnqueueJSON(t.Context(), kind, args)
			require.NoError(t, err)
			require.Equal(t, string(args), string(get(t, q, again).Args))
			if kind == "order" {
				require.NoError(t, json.Unmarshal(args, &order{Any: new(json.RawMessage)}))
			}
		}
	})
}
