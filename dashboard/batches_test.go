package dashboard

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// A failed item says of how many attempts, which only its handler knows.
func TestBatchFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := testQueue(t, nil)
		stint.Handle(q, func(context.Context, *stint.Job[testArgs]) error { return errors.New("no such customer") }, &stint.Policy{MaxAttempts: 7})
		id, err := q.EnqueueBatch(t.Context(), func(yield func(stint.Args) bool) { yield(testArgs{}) }, &stint.BatchPolicy{Name: "bills"})
		require.NoError(t, err)
		healthRun(t, q)
		synctest.Wait()
		_, body := get(t, testHandler(q, View), fmt.Sprint("/batches/", id))
		text := regexp.MustCompile(`<[^>]*>|\s+`).ReplaceAllString(body, " ")
		require.Contains(t, strings.Join(strings.Fields(text), " "), "retrying 1 of 7 no such customer")
	})
}
