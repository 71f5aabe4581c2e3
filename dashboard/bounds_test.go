package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// nested is an array of ones, deep in others.
func nested(depth, ones int) string {
	return strings.Repeat("[", depth) + strings.Repeat("1,", ones) + "1" + strings.Repeat("]", depth)
}

// Whoever may enqueue must not be able to hold up those who look at it.
func TestHugeArgsAreBounded(t *testing.T) {
	t.Parallel()
	q := testQueue(t, &stint.Config{MaxArgsSize: 16 << 20})
	q.DB().NoSync = true
	add := func(args string) stint.ID {
		id, err := q.EnqueueJSON(t.Context(), "huge", []byte(args))
		require.NoError(t, err)
		return id
	}
	whole := add(`"` + strings.Repeat("x", 15<<20) + `"`)
	deep := add(nested(9_000, 100_000))
	wide := add(nested(20, 50_000))
	colons := add(`"` + strings.Repeat("://", 300_000) + `"`)
	for range 20 {
		add(`{"a":"` + strings.Repeat("y", 900_000) + `"}`)
	}
	h := testHandler(q, Admin)
	began := time.Now()

	response, text := get(t, h, "/jobs")
	require.Equal(t, 200, response.StatusCode)
	require.Less(t, len(text), 100_000, "a list shows none of it,")
	require.Contains(t, text, "Continue", "and ends early,")
	_, text = get(t, h, "/jobs?q=id:"+whole.String())
	require.True(t, strings.Contains(text, "15.0 MiB"), "but says how much there is")

	var page wire.Jobs
	_, text = get(t, h, "/api/v1/jobs?limit=1000")
	require.NoError(t, json.Unmarshal([]byte(text), &page))
	require.Less(t, len(text), 10<<20)
	require.True(t, page.Partial)
	seen := len(page.Jobs)
	for page.Next != "" {
		_, text = get(t, h, "/api/v1/jobs?limit=1000&after="+page.Next)
		page = wire.Jobs{}
		require.NoError(t, json.Unmarshal([]byte(text), &page))
		require.NotEmpty(t, page.Jobs)
		seen += len(page.Jobs)
	}
	require.Equal(t, 24, seen, "none is left out")

	for id, want := range map[stint.ID]string{whole: "too large to be shown", deep: "[[[[", wide: "1,\n", colons: ":"} {
		response, text := get(t, h, "/jobs/"+id.String())
		require.Equal(t, 200, response.StatusCode)
		require.True(t, strings.Contains(text, want), "job %d", id)
		require.Less(t, len(text), 8<<20, "job %d", id)
	}
	for _, id := range []stint.ID{whole, deep, colons} {
		if response, text := get(t, h, "/enqueue?from="+id.String()); id != deep {
			require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
			require.Contains(t, text, "too large to be edited")
		} else {
			require.Less(t, len(text), 1<<20)
		}
	}
	_, text = get(t, h, "/jobs?q=nowhere")
	require.Contains(t, text, "Continue", "a search stops in time")
	require.Less(t, time.Since(began), time.Minute)
}

func TestMaskTextTakesNoLongTime(t *testing.T) {
	t.Parallel()
	for _, part := range []string{":", "://", "=", "a:@", "key : ", "password=\n", "bearer ", "://x/"} {
		text := strings.Repeat(part, maxShown/len(part))
		began := time.Now()
		maskText(text)
		require.Less(t, time.Since(began), 5*time.Second, "%q", part)
	}
}

// Hidden args are not to be seen by making a copy of a job either.
func TestHiddenArgsAreNotCopied(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	id := jobsAdd(t, q, jobArgs{Note: "bobby"}, stint.In(time.Hour))
	h := jobsDashboardWith(q, Config{HideArgs: true}, Admin).handler()
	for _, target := range []string{"/enqueue?from=" + id.String(), "/jobs", "/jobs/" + id.String(), "/api/v1/jobs", fmt.Sprintf("/api/v1/jobs/%d", id)} {
		response, text := get(t, h, target)
		require.Equal(t, strings.HasPrefix(target, "/enqueue"), response.StatusCode == http.StatusForbidden, target)
		require.NotContains(t, text, "bobby", target)
		require.NotContains(t, text, "Duplicate", target)
	}
}
