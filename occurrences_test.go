package stint_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestOccurrences(t *testing.T) {
	t.Parallel()
	after := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	times, err := stint.Occurrences("CRON_TZ=Europe/Berlin 30 2 * * *", after, 3)
	require.NoError(t, err)
	var texts []string
	for _, at := range times {
		texts = append(texts, at.Format(time.RFC3339))
	}
	require.Equal(t, []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"}, texts,
		"in the zone of the spec, at the end of the hour that the clock leaves out")

	times, err = stint.Occurrences("@every 90m", after, 2)
	require.NoError(t, err)
	require.Len(t, times, 2)
	require.True(t, times[1].Equal(after.Add(3*time.Hour)), "@every counts from the moment")

	times, err = stint.Occurrences("* * * * *", after, 5000)
	require.NoError(t, err)
	require.Len(t, times, 1000)
	times, err = stint.Occurrences("* * * * *", after, 0)
	require.NoError(t, err)
	require.Empty(t, times)

	_, err = stint.Occurrences("0 0 31 2 *", after, 1)
	require.ErrorIs(t, err, stint.ErrBadSpec)
}
