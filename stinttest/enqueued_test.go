package stinttest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/stinttest"
)

// to accepts the mails to somebody.
func to(name string) func(mail, stint.Info) bool {
	return func(m mail, _ stint.Info) bool { return m.To == name }
}

func onQueue(name string) func(mail, stint.Info) bool {
	return func(_ mail, info stint.Info) bool { return info.Queue == name }
}

func TestRequireEnqueued(t *testing.T) {
	t.Parallel()
	q := stinttest.New(t, nil)
	enqueue(t, q, report{1})
	stinttest.RequireNotEnqueued[mail](t, q)
	require.Nil(t, stinttest.Enqueued[mail](t, q))

	ana := enqueue(t, q, mail{"ana"})
	args, info := stinttest.RequireEnqueued[mail](t, q)
	require.Equal(t, mail{"ana"}, args)
	require.Equal(t, ana, info.ID)
	require.Equal(t, stint.Ready, info.State)

	enqueue(t, q, mail{"eva"}, stint.In(time.Hour), stint.OnQueue("slow"))
	_, info = stinttest.RequireEnqueued(t, q, to("eva"))
	require.Equal(t, stint.Scheduled, info.State)
	stinttest.RequireEnqueued(t, q, to("eva"), onQueue("slow"))
	stinttest.RequireNotEnqueued(t, q, to("eva"), onQueue("default"))
	stinttest.RequireNotEnqueued(t, q, to("bob"))
	require.Equal(t, []mail{{"ana"}, {"eva"}}, stinttest.Enqueued[mail](t, q))
	require.Equal(t, []mail{{"eva"}}, stinttest.Enqueued(t, q, onQueue("slow")))

	// A job that has failed waits, one that has died or completed does not.
	handle(q, func(m mail) error { return errDown }, nil)
	require.Equal(t, stint.Retrying, stinttest.Work(t, q).State) // report has no handler
	stinttest.RequireEnqueued(t, q, to("ana"))
	require.NoError(t, q.Kill(t.Context(), ana, "no longer wanted"))
	stinttest.RequireNotEnqueued(t, q, to("ana"))
}

func TestRequireEnqueuedSaysWhatThereIs(t *testing.T) {
	t.Parallel()
	q := stinttest.New(t, &stint.Config{Workers: 1})
	failure := func(fn func(t testing.TB)) string {
		t.Helper()
		r := record(t, fn)
		require.True(t, r.Failed())
		return r.errors.String()
	}
	missing := func(t testing.TB) { stinttest.RequireEnqueued(t, q, to("eva")) }
	require.Equal(t, "stinttest: 0 jobs of kind \"mail\" wait and match, not one; the queue has no jobs\n", failure(missing))

	handle(q, func(m mail) error {
		switch m.To {
		case "nobody":
			return stint.Kill(errDown)
		case "ana":
			return stint.RetryAfter(time.Hour, errDown)
		}
		return nil
	}, nil)
	for _, name := range []string{"nobody", "ana", "well"} {
		enqueue(t, q, mail{name})
	}
	require.Equal(t, 3, stinttest.Drain(t, q))
	enqueue(t, q, mail{"bob"}, stint.In(24*time.Hour), stint.OnQueue("slow"))
	enqueue(t, q, report{7})
	require.NoError(t, q.Pause(t.Context(), "default", "test"))
	enqueue(t, q, mail{"late"})
	text := failure(missing)
	for _, line := range []string{
		`0 jobs of kind "mail" wait and match, not one; the queue has these jobs:`,
		`job 1  mail {"to":"nobody"}  dead: smtp is down`,
		`job 2  mail {"to":"ana"}  retrying for another `,
		`, attempt 1: smtp is down`,
		`job 4  mail {"to":"bob"}  scheduled for another `,
		`, on queue "slow"`,
		`job 5  report {"N":7}  ready, but its kind has no handler`,
		`job 6  mail {"to":"late"}  ready, but its queue is paused`,
		`1 have completed and are not kept, see Config.KeepCompleted`,
	} {
		require.Contains(t, text, line)
	}

	text = failure(func(t testing.TB) { stinttest.RequireEnqueued[mail](t, q) })
	require.Contains(t, text, `3 jobs of kind "mail" wait, not one; the queue has`)
	text = failure(func(t testing.TB) { stinttest.RequireNotEnqueued[mail](t, q) })
	require.Contains(t, text, `3 jobs of kind "mail" wait, and none should; the queue has`)

	for range 30 {
		enqueue(t, q, report{})
	}
	require.Contains(t, failure(missing), "\n\tand 15 more\n")
}

type strange struct{ To int }

func (strange) Kind() string { return "mail" }

func TestEnqueuedOfAnotherType(t *testing.T) {
	t.Parallel()
	q := stinttest.New(t, nil)
	enqueue(t, q, mail{"ana"})
	r := record(t, func(t testing.TB) { stinttest.Enqueued[strange](t, q) })
	require.Contains(t, r.errors.String(), `the args of job 1, {"to":"ana"}, do not fit stinttest_test.strange`)
	require.NoError(t, q.Close())
	r = record(t, func(t testing.TB) { stinttest.Enqueued[mail](t, q) })
	require.Contains(t, r.errors.String(), "stinttest: the jobs cannot be listed: ")
}
