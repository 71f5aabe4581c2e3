package stint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

type amount int

func (amount) Kind() string { return "amount" }

type words []string

func (words) Kind() string { return "words" }

// peculiar args are written and read by their own methods.
type peculiar struct{ text string }

func (peculiar) Kind() string { return "peculiar" }

func (p peculiar) MarshalJSON() ([]byte, error) {
	switch p.text {
	case "refuse to be written":
		return nil, errOops
	case "panic":
		panic(errOops)
	}
	return json.Marshal(map[string]string{"text": p.text})
}

func (p *peculiar) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	if m["text"] == "refuse to be read" {
		return errOops
	}
	p.text = m["text"]
	return nil
}

// Encoders and decoders are used again, so what one job leaves in them must
// not be seen by the next.
func TestArgsComeBack(t *testing.T) {
	seen := func(t *testing.T) (q *stint.Queue, got func() []any) {
		q = open(t, &stint.Config{Workers: 1, MaxArgsSize: 1 << 20})
		var all []any
		stint.Handle(q, func(_ context.Context, job *stint.Job[amount]) error { all = append(all, job.Args); return nil }, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[words]) error { all = append(all, job.Args); return nil }, nil)
		stint.Handle(q, func(_ context.Context, job *stint.Job[peculiar]) error { all = append(all, job.Args); return nil }, &stint.Policy{MaxAttempts: 1})
		stint.Handle(q, func(_ context.Context, job *stint.Job[event]) error { all = append(all, job.Args); return nil }, nil)
		return q, func() []any {
			workUntilEmpty(t.Context(), q)
			return all
		}
	}
	t.Run("of every shape and size, one after the other", func(t *testing.T) {
		q, got := seen(t)
		all := []stint.Args{
			amount(42), oneEvent, words{"a", "<&>", "ü\x00"}, event{ID: strings.Repeat("long ", 50_000)}, event{ID: "short"},
			words(nil), peculiar{"own"}, amount(-1), event{},
		}
		var want []any
		for _, args := range all {
			enqueue(t, q, args)
			want = append(want, args)
		}
		require.Equal(t, want, got())
	})
	t.Run("after some that could not be written", func(t *testing.T) {
		q, got := seen(t)
		for range 10 {
			_, err := q.Enqueue(t.Context(), peculiar{"refuse to be written"})
			require.ErrorIs(t, err, stint.ErrBadArgs)
			require.ErrorIs(t, err, errOops)
			require.Panics(t, func() { _, _ = q.Enqueue(t.Context(), peculiar{"panic"}) })
			enqueue(t, q, peculiar{"fine"})
		}
		require.Len(t, got(), 10)
	})
	t.Run("after some that could not be read", func(t *testing.T) {
		q, got := seen(t)
		for range 10 {
			enqueue(t, q, peculiar{"refuse to be read"})
			enqueue(t, q, peculiar{"fine"})
		}
		all := got()
		require.Len(t, all, 10)
		for _, one := range all {
			require.Equal(t, peculiar{"fine"}, one)
		}
		require.Equal(t, 10, q.Counts().Dead)
	})
}

// What a handler keeps of its args stays as it is when later jobs run.
func TestArgsStay(t *testing.T) {
	q := open(t, &stint.Config{Workers: 1})
	var kept []rawNote
	stint.Handle(q, func(_ context.Context, job *stint.Job[rawNote]) error { kept = append(kept, job.Args); return nil }, nil)
	for i := range 100 {
		enqueue(t, q, rawNote{Text: strings.Repeat("x", i), Raw: json.RawMessage(`[` + strings.Repeat("1,", i) + `1]`)})
	}
	workUntilEmpty(t.Context(), q)
	require.Len(t, kept, 100)
	for i, args := range kept {
		require.Equal(t, strings.Repeat("x", i), args.Text)
		require.Equal(t, i, bytes.Count(args.Raw, []byte(",")))
	}
}

type rawNote struct {
	Text string
	Raw  json.RawMessage
}

func (rawNote) Kind() string { return "raw_note" }

// FuzzArgs: reading args is json.Unmarshal, whatever is in the record.
func FuzzArgs(f *testing.F) {
	for _, seed := range []string{`{"Text":"a","Raw":1}`, `{"Text":"a"} `, `{"Text":"a"}{`, `{"Text":1}`, `{"Text":"a"`, `null`, `{}`, ``, `{"Raw":{"a":[1,{}]},"x":2}`, "{\"Text\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for range 2 {
			var want, got rawNote
			wantErr, gotErr := json.Unmarshal(data, &want), stint.DecodeArgs(data, &got)
			require.Equal(t, wantErr == nil, gotErr == nil, "%v against %v", wantErr, gotErr)
			if wantErr == nil {
				require.Equal(t, want, got)
			}
		}
	})
}

// The context of an attempt is made in full only when it is used.
func TestContextOfAnAttempt(t *testing.T) {
	type key struct{}
	attempt := func(t *testing.T, fn func(ctx context.Context)) {
		q := open(t, nil)
		done := make(chan struct{})
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			defer close(done)
			fn(ctx)
			return nil
		}, hour)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "of Run"))
		ran := make(chan error, 1)
		go func() { ran <- q.Run(ctx) }()
		enqueue(t, q, note{})
		<-done
		cancel()
		require.NoError(t, <-ran)
	}
	scenario(t, "it has the values of Run's", func(t *testing.T) {
		attempt(t, func(ctx context.Context) { require.Equal(t, "of Run", ctx.Value(key{})) })
	})
	scenario(t, "it has ended when the attempt has, also for who asks only then", func(t *testing.T) {
		var early, late context.Context
		attempt(t, func(ctx context.Context) {
			require.NoError(t, ctx.Err())
			var cancel context.CancelFunc
			early, cancel = context.WithCancel(ctx)
			t.Cleanup(cancel)
			require.NoError(t, early.Err())
		})
		attempt(t, func(ctx context.Context) { late = ctx })
		require.ErrorIs(t, early.Err(), context.Canceled)
		require.ErrorIs(t, late.Err(), context.Canceled)
		<-late.Done()
		require.ErrorIs(t, context.Cause(late), context.Canceled)
	})
	scenario(t, "what depends on it ends with it, and with its cause", func(t *testing.T) {
		q := open(t, nil)
		causes := make(chan error, 3)
		stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			context.AfterFunc(ctx, func() { causes <- context.Cause(ctx) })
			<-child.Done()
			causes <- context.Cause(child)
			causes <- context.Cause(ctx)
			return ctx.Err()
		}, hour)
		stop := run(t, q)
		id := enqueue(t, q, note{})
		synctest.Wait() // until the handler waits
		require.NoError(t, q.Cancel(t.Context(), id, "test"))
		for range 3 {
			require.True(t, errors.Is(<-causes, stint.ErrCancelled))
		}
		require.NoError(t, stop())
	})
	scenario(t, "its first cause stays, also for who asks late", func(t *testing.T) {
		for _, early := range []bool{true, false} {
			q := open(t, nil)
			var cause error
			stint.Handle(q, func(ctx context.Context, _ *stint.Job[note]) error {
				if early {
					_ = ctx.Done()
				}
				time.Sleep(3 * time.Second)
				cause = context.Cause(ctx)
				return nil
			}, &stint.Policy{Timeout: time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			_ = q.Perform(ctx, note{})
			cancel()
			require.ErrorIs(t, cause, stint.ErrTimeout)
		}
	})
}
