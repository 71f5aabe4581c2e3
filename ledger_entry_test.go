package stint

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func fullLedger() *ledger {
	at := time.UnixMicro(1_700_000_000_000_000)
	return &ledger{
		spec: "0 3 * * *", zone: "Europe/Berlin", kind: "nightly",
		missed: All(10, time.Hour), overlap: QueueOne, jitter: time.Minute, starts: 1, until: 1 << 50,
		anchor: 2, next: 3, last: 4, ran: 5, job: 6, pausedAt: 7, pausedBy: "olga",
		waiting: []occurrence{{at: 10}, {at: 20, missed: 3, since: 12}},
		runs: []ScheduleRun{
			{At: at, Job: 9, State: Dead, Missed: 3, Reason: "oops", EndedAt: at.Add(time.Second)},
			{At: at, Skipped: 4, Reason: "missed"},
		},
	}
}

func TestLedgerIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, l := range []*ledger{{}, fullLedger()} {
		got, err := decodeLedger("night", l.encode("night"))
		require.NoError(t, err)
		require.Equal(t, l, got)
	}
	_, err := decodeLedger("day", fullLedger().encode("night"))
	require.ErrorIs(t, err, ErrCorrupt, "an entry under a foreign name")
}

func FuzzLedger(f *testing.F) {
	f.Add("night", fullLedger().encode("night"))
	f.Add("", (&ledger{}).encode(""))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		if len(b) >= recordHeader { // so that more than the checksum is tried
			sum := ledgerSum(name, b)
			b[1], b[2], b[3], b[4] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		l, err := decodeLedger(name, b)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		again, err := decodeLedger(name, l.encode(name))
		require.NoError(t, err)
		require.Equal(t, l.encode(name), again.encode(name))
	})
}

// A clock that was wrong has let Until pass; Run learns that it was.
func TestScheduleLivesAgainWhenTheClockGoesBack(t *testing.T) {
	t.Parallel()
	parsed, err := parseSpec("0 3 * * *", "UTC")
	require.NoError(t, err)
	now, until := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &schedule{spec: parsed, until: micros(until)}
	l := &ledger{anchor: micros(now), last: micros(until) - 1}
	require.True(t, s.followClock(l, micros(now)))
	require.Equal(t, now.Add(15*time.Hour), fromMicros(l.next).UTC())
	require.False(t, s.followClock(l, micros(now)), "once")
	l = &ledger{anchor: micros(now), last: micros(until) - 1}
	require.False(t, s.followClock(l, micros(until)), "it has passed")
}
