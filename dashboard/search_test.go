package dashboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// jobArgs are of a job whose handler does what they say.
type jobArgs struct {
	End  string         `json:"end,omitempty"` // fail, die, run, or done
	Note string         `json:"note,omitempty"`
	User map[string]any `json:"user,omitempty"`
}

func (jobArgs) Kind() string { return "fate" }

// jobsRun works a queue until the test ends. Jobs that are to run do so until
// they are cancelled.
func jobsRun(t *testing.T, q *stint.Queue) {
	t.Helper()
	stint.Handle(q, func(ctx context.Context, job *stint.Job[jobArgs]) error {
		job.Logger().Info("here", "note", job.Args.Note)
		job.Progress(1, 4, job.Args.Note)
		switch job.Args.End {
		case "fail":
			return errors.New(job.Args.Note)
		case "die":
			return stint.Kill(errors.New(job.Args.Note))
		case "panic":
			panic(job.Args.Note)
		case "run":
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return job.SetResult(map[string]string{"note": job.Args.Note})
	}, &stint.Policy{Timeout: -1, MaxAttempts: 4, Backoff: func(int, error) time.Duration { return 24 * time.Hour }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	t.Cleanup(func() {
		_, err := q.CancelAll(context.Background(), stint.Filter{State: stint.Running}, "the test")
		require.NoError(t, err)
		cancel()
		require.NoError(t, <-done)
	})
}

// jobsReach waits until jobs are in a state.
func jobsReach(t *testing.T, q *stint.Queue, state stint.State, ids ...stint.ID) {
	t.Helper()
	events := q.Subscribe(1000)
	defer events.Close()
	for _, id := range ids {
		for {
			info, err := q.Get(id)
			require.NoError(t, err)
			if info.State == state && (state != stint.Running || info.Log != "") {
				break
			}
			select {
			case <-events.C:
			case <-time.After(10 * time.Millisecond): // the log of a running job makes no event
			case <-t.Context().Done():
				t.FailNow()
			}
		}
	}
}

func jobsAdd(t *testing.T, q *stint.Queue, args jobArgs, opts ...stint.Option) stint.ID {
	t.Helper()
	id, err := q.Enqueue(t.Context(), args, opts...)
	require.NoError(t, err)
	return id
}

// jobsOfStates has one job in each state.
func jobsOfStates(t *testing.T, q *stint.Queue) map[stint.State]stint.ID {
	t.Helper()
	jobsRun(t, q)
	require.NoError(t, q.Pause(t.Context(), "halted", "ana"))
	ids := map[stint.State]stint.ID{
		stint.Ready:     jobsAdd(t, q, jobArgs{End: "done"}, stint.OnQueue("halted")),
		stint.Scheduled: jobsAdd(t, q, jobArgs{End: "done"}, stint.In(time.Hour)),
		stint.Retrying:  jobsAdd(t, q, jobArgs{End: "fail", Note: "refused"}),
		stint.Running:   jobsAdd(t, q, jobArgs{End: "run"}),
		stint.Completed: jobsAdd(t, q, jobArgs{End: "done"}),
		stint.Dead:      jobsAdd(t, q, jobArgs{End: "die", Note: "hopeless"}),
	}
	for state, id := range ids {
		jobsReach(t, q, state, id)
	}
	return ids
}

func jobsDashboard(t *testing.T, q *stint.Queue) *dashboard {
	t.Helper()
	return jobsDashboardWith(q, Config{}, Admin)
}

func jobsDashboardWith(q *stint.Queue, cfg Config, role Role) *dashboard {
	cfg.NoControlSocket, cfg.Logger = true, slog.New(slog.DiscardHandler)
	cfg.Authorize = func(*http.Request) Access { return Access{Role: role, User: "ana"} }
	return newDashboard(q, &cfg)
}

// jobsFound are all ids that a search finds, over its pages.
func jobsFound(t *testing.T, d *dashboard, text string, state stint.State, limit int) (ids []stint.ID) {
	t.Helper()
	qy, err := parseQuery(text)
	require.NoError(t, err)
	after := ""
	for range 10_000 {
		page, err := d.search(t.Context(), qy, state, after, limit)
		require.NoError(t, err)
		for _, info := range page.infos {
			ids = append(ids, info.ID)
		}
		require.LessOrEqual(t, len(page.infos), limit)
		if after = page.next; after == "" {
			return ids
		}
	}
	t.Fatal("the pages do not end")
	return nil
}

func TestSearchTerms(t *testing.T) {
	t.Parallel()
	q := testQueue(t, &stint.Config{KeepCompleted: time.Hour})
	states := jobsOfStates(t, q)
	d := jobsDashboard(t, q)
	require.NoError(t, q.Pause(t.Context(), "low", "ana"))
	user := func(id any, plan string) map[string]any {
		return map[string]any{"id": id, "plan": plan, "a.b": []any{map[string]any{"c": 7}}}
	}
	one := jobsAdd(t, q, jobArgs{User: user(42, "Gold plan")}, stint.OnQueue("low"), stint.Tags("vip", "two words"), stint.Priority(1))
	two := jobsAdd(t, q, jobArgs{User: user(uint64(12345678901234567890), "free")}, stint.OnQueue("low"), stint.Priority(4), stint.In(time.Hour))
	other, err := q.EnqueueJSON(t.Context(), "mail/welcome", []byte(`{"n": 1.5}`))
	require.NoError(t, err)
	all := []stint.ID{other, two, one}
	for _, id := range states {
		all = append(all, id)
	}
	slices.Sort(all)
	slices.Reverse(all)

	for text, want := range map[string][]stint.ID{
		"":                                     all,
		"kind:mail/welcome":                    {other},
		"kind:mail*":                           {other},
		"kind:*wel*e":                          {other},
		"kind:mail":                            nil,
		"-kind:fate":                           {other},
		"kind:nothing":                         nil,
		"queue:low":                            {two, one},
		"queue:lo":                             nil,
		"queue:none":                           nil,
		"queue:low -tag:vip":                   {two},
		"tag:vip":                              {one},
		`tag:"two words"`:                      {one},
		"tag:v*":                               {one},
		"tag:vi":                               nil,
		fmt.Sprint("id:", one):                 {one},
		fmt.Sprintf("id:%d,%d,999", one, two):  {two, one},
		fmt.Sprintf("id:>%d", one):             {other, two},
		fmt.Sprintf("id:%d queue:halted", one): nil,
		"error:REFUSED":                        {states[stint.Retrying]},
		"error:hopeless":                       {states[stint.Dead]},
		"-error:hopeless state:dead":           nil,
		"args.user.id:42":                      {one},
		"args.user.id:4":                       nil,
		"args.user.id:12345678901234567890":    {two},
		"args.user.id:12345678901234567891":    nil,
		"args.user.id:>40":                     {two, one},
		"args.user.id:<=42":                    {one},
		"args.n:1.50":                          {other},
		"args.user.plan:Gold*":                 {one},
		`args.user.plan:"Gold plan"`:           {one},
		"args.user.a.b.c:7":                    {two, one},
		"args.user.a.b.0.c:7":                  {two, one},
		"args.user.a.b.1.c:7":                  nil,
		"-args.user.id:42 queue:low":           {two},
		"priority:1":                           {one},
		"priority:>2":                          {two},
		"attempt:2":                            nil,
		"attempt:>0 state:retrying":            {states[stint.Retrying]},
		"attempt:1 -state:running -state:completed -state:retrying": {states[stint.Dead]},
		"age:>1h":               nil,
		"age:<1h":               all,
		"state:running":         {states[stint.Running]},
		"schedule:nightly":      nil,
		"batch:7":               nil,
		"gold":                  {one},
		`"gold plan"`:           {one},
		"welcome":               {other},
		fmt.Sprintf("#%d", one): {one},
		"gold free":             nil,
	} {
		found := jobsFound(t, d, text, 0, 3)
		slices.SortFunc(found, func(a, b stint.ID) int { return int(b) - int(a) }) // ids come in their own order
		require.Equal(t, want, found, text)
	}
	for state, id := range states {
		require.Contains(t, jobsFound(t, d, "kind:fate", state, 1), id)
		require.Equal(t, []stint.ID{id}, jobsFound(t, d, fmt.Sprint("id:", id), state, 1))
		require.Empty(t, jobsFound(t, d, fmt.Sprint("-id:", id, " id:", id), state, 1))
		for _, wrong := range allStates {
			if wrong != state {
				require.Empty(t, jobsFound(t, d, fmt.Sprint("id:", id), wrong, 1))
			}
		}
	}
	require.Equal(t, []stint.ID{one}, jobsFound(t, d, "kind:fate queue:low", stint.Ready, 10), "by the ready index")
}

func TestSearchBatchAndSchedule(t *testing.T) {
	t.Parallel()
	qy, err := parseQuery("batch:3 schedule:night*")
	require.NoError(t, err)
	d := redacting(Config{})
	m := &matcher{d: d, now: time.Now()}
	require.True(t, m.matches(&stint.Info{BatchID: 3, Schedule: "nightly"}, qy))
	require.False(t, m.matches(&stint.Info{BatchID: 4, Schedule: "nightly"}, qy))
	require.False(t, m.matches(&stint.Info{BatchID: 3, Schedule: "daily"}, qy))
	qy, err = parseQuery("age:>1h age:<=2h")
	require.NoError(t, err)
	for hours, want := range map[time.Duration]bool{1: false, 2: true, 3: false} {
		require.Equal(t, want, m.matches(&stint.Info{EnqueuedAt: m.now.Add(-hours * time.Hour)}, qy), hours)
	}
	require.Equal(t, stint.Filter{Batch: 3}, indexed(query{terms: []term{{field: "batch", number: 3}}}, stint.Dead, ""))
}

func TestSearchStopsAtItsBudgetAndGoesOn(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	var many []stint.Args
	for i := range 700 {
		many = append(many, jobArgs{Note: fmt.Sprintf("n%d", i%7)})
	}
	ids, err := q.EnqueueAll(t.Context(), many)
	require.NoError(t, err)
	for _, within := range []budget{{jobs: 33, time: time.Hour}, {jobs: 1, time: time.Hour}, {time: 1}, {}} {
		d := jobsDashboard(t, q)
		d.budget = within
		var want []stint.ID
		for i, id := range slices.Backward(ids) {
			if i%7 == 3 {
				want = append(want, id)
			}
		}
		require.Equal(t, want, jobsFound(t, d, "args.note:n3", 0, 10), "%v", within)
		require.Equal(t, want, jobsFound(t, d, "args.note:n3", stint.Ready, 10), "%v", within)
	}

	d := jobsDashboard(t, q)
	d.budget = budget{jobs: 100, time: time.Hour}
	qy, err := parseQuery("args.note:no")
	require.NoError(t, err)
	page, err := d.search(t.Context(), qy, 0, "", 10)
	require.NoError(t, err)
	require.True(t, page.partial)
	require.NotEmpty(t, page.next)
	require.Equal(t, 100, page.searched)
	_, text := get(t, d.handler(), "/jobs?q=args.note:no")
	require.Contains(t, text, "Searched 100 of 700 jobs.")
	require.Contains(t, text, ">Continue</a>")
	require.Contains(t, text, "No match so far.")
	_, text = get(t, d.handler(), "/jobs?q=args.note:no&searched=100&after="+page.next)
	require.Contains(t, text, "Searched 200 of 700 jobs.")

	n, exact, err := d.countMatches(t.Context(), qy, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	require.False(t, exact)
	n, exact, err = d.countMatches(t.Context(), query{}, 0)
	require.NoError(t, err)
	require.Equal(t, 700, n)
	require.True(t, exact)
}

func TestSearchRefusesAForeignCursor(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	jobsAdd(t, q, jobArgs{})
	for _, after := range []string{"zz", "00", strings.Repeat("00", 17)} {
		response, text := get(t, testHandler(q, View), "/jobs?after="+after)
		require.Equal(t, 400, response.StatusCode)
		require.Contains(t, text, "begin at the first page")
	}
}

func TestPagesWhileJobsMoveLoseNoneThatStays(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	d := jobsDashboard(t, q)
	for _, state := range []stint.State{0, stint.Dead, stint.Ready, stint.Scheduled} {
		stay := map[stint.ID]bool{}
		var movers []stint.ID
		for i := range 60 {
			var opts []stint.Option
			if state == stint.Scheduled {
				opts = append(opts, stint.In(time.Duration(i%5+1)*time.Hour))
			}
			id := jobsAdd(t, q, jobArgs{Note: "x"}, opts...)
			if state == stint.Dead {
				require.NoError(t, q.Kill(t.Context(), id, "no"))
			}
			if i%3 == 0 {
				movers = append(movers, id)
			} else {
				stay[id] = true
			}
		}
		seen := map[stint.ID]int{}
		for after, first := "", true; first || after != ""; first = false {
			page, err := d.search(t.Context(), query{}, state, after, 7)
			require.NoError(t, err)
			for _, info := range page.infos {
				seen[info.ID]++
			}
			if after = page.next; len(movers) > 1 { // those on either side go away or come back
				require.NoError(t, q.Delete(t.Context(), movers[0]))
				last := movers[len(movers)-1]
				require.NoError(t, q.Kill(t.Context(), last, "moved"))
				require.NoError(t, q.Retry(t.Context(), last))
				movers = movers[1 : len(movers)-1]
			}
			jobsAdd(t, q, jobArgs{Note: "new"})
		}
		for id := range stay {
			require.Equal(t, 1, seen[id], "job %d in %v", id, state)
		}
		_, err := q.DeleteAll(t.Context(), stint.Filter{Kind: "fate"})
		require.NoError(t, err)
	}
}

// Whoever searches must not be able to find out what he may not see.
func TestSecretsCannotBeFound(t *testing.T) {
	t.Parallel()
	const s = "hunter2secretval"
	q := testQueue(t, &stint.Config{KeepCompleted: time.Hour})
	jobsRun(t, q)
	id := jobsAdd(t, q, jobArgs{End: "die", Note: "login password=" + s + " of bobby", User: map[string]any{"password": s, "name": "bobby", "n": 1}})
	jobsReach(t, q, stint.Dead, id)
	d := jobsDashboardWith(q, Config{Redact: func(_ string, data []byte) []byte {
		return []byte(strings.ReplaceAll(string(data), "bobby", "someone"))
	}}, View)
	require.Equal(t, []stint.ID{id}, jobsFound(t, d, "error:login args.user.n:1 someone args.user.name:someone", 0, 9), "what is seen is found")
	for i := range s {
		for _, text := range []string{"args.user.password:" + s[:i+1] + "*", "error:password=" + s[:i+1], "password=" + s[:i+1]} {
			require.Empty(t, jobsFound(t, d, text, 0, 9), text)
			require.Equal(t, []stint.ID{id}, jobsFound(t, d, "-"+text, 0, 9), text)
		}
	}
	for _, text := range []string{s, "error:" + s, "error:bobby", "bobby", "args.user.name:bobby", "args.user.name:b*", "args.user.password:" + s, "args.user.password:>1", "args.note:*" + s + "*"} {
		require.Empty(t, jobsFound(t, d, text, 0, 9), text)
		require.Equal(t, []stint.ID{id}, jobsFound(t, d, "-"+text, 0, 9), text)
	}
	hidden := jobsDashboardWith(q, Config{HideArgs: true}, View)
	require.Empty(t, jobsFound(t, hidden, "args.user.n:1", 0, 9))
	require.Empty(t, jobsFound(t, hidden, "bobby -error:bobby", 0, 9))
	for _, h := range []*dashboard{d, hidden} {
		for _, path := range []string{"/jobs", fmt.Sprint("/jobs/", id), "/jobs?state=dead"} {
			_, text := get(t, h.handler(), path)
			require.NotContains(t, text, s)
			require.Contains(t, text, "login")
			require.Equal(t, h == hidden, strings.Contains(text, "bobby"), "only the error has it, if args are hidden")
			require.Equal(t, h == d, strings.Contains(text, "someone"))
		}
	}
}
