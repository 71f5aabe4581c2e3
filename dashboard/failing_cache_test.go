package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// What fails is searched anew after two seconds, or when somebody has acted.
func TestFailingIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := healthQueue(t, filepath.Join(t.TempDir(), "jobs.db"), 4)
		stint.Handle(q, func(_ context.Context, job *stint.Job[failingJob]) error { return fmt.Errorf("%s", job.Args.Error) }, &stint.Policy{MaxAttempts: 1})
		healthRun(t, q)
		d := newDashboard(q, &Config{Authorize: func(*http.Request) Access { return Access{Role: Admin, User: "ana"} }})
		dead := func(kind string) int {
			t.Helper()
			groups, all, err := d.failures(kind)
			require.NoError(t, err)
			require.True(t, all)
			if len(groups) == 0 {
				return 0
			}
			return groups[0].Dead
		}
		fail := func() {
			healthEnqueue(t, q, 1, failingJob{"HTTP 503"})
			synctest.Wait()
		}
		fail()
		require.Equal(t, 1, dead(""))
		fail()
		require.Equal(t, 1, dead(""))
		require.Equal(t, 2, dead("fails"), "another search")
		require.Equal(t, 0, dead("other"))
		time.Sleep(failingKept - time.Millisecond)
		require.Equal(t, 1, dead(""))
		time.Sleep(time.Millisecond)
		require.Equal(t, 2, dead(""))

		res, body := post(t, d.handler(), "/bulk", url.Values{"verb": {"delete"}, "ids": {"1"}})
		require.Equal(t, http.StatusSeeOther, res.StatusCode, body)
		synctest.Wait()
		require.Equal(t, 1, dead(""))

		// Readers at the same time, of more kinds than are kept.
		var readers sync.WaitGroup
		for i := range 200 {
			readers.Go(func() {
				groups, _, err := d.failures(fmt.Sprintf("kind.%d", i%(2*failingKinds)))
				if err != nil || len(groups) != 0 {
					t.Error(groups, err)
				}
				_, _, _ = d.failing("fails")
			})
		}
		readers.Wait()
		require.Len(t, d.lastFailing.list, failingKinds)

		// A failed search is not kept.
		time.Sleep(failingKept)
		s, mine := d.lastFailing.claim("x")
		require.True(t, mine)
		d.lastFailing.forget(s)
		_, mine = d.lastFailing.claim("x")
		require.True(t, mine)
		_, mine = d.lastFailing.claim("x")
		require.False(t, mine)
	})
}
