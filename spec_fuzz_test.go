package stint

import (
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/stretchr/testify/require"
)

// Any text is either refused with ErrBadSpec or a schedule that runs, can be
// described, and is read again from what it says of itself.
func FuzzParseSpec(f *testing.F) {
	for _, text := range []string{
		"* * * * *", "*/10 * * * *", "0 3 * * *", "30 0 3 * * *", "*/15 9-17 * * MON-FRI", "0 0 29 2 *", "0 0 31 2 *",
		"0 0 13 * FRI", "0 0 ? * 5-7", "0 0 1-31/2 * MON", "0 0 */2 * MON", "0 0 13 * 0-6", "0 0 31 2 FRI", "0 0 * * FRI-SUN",
		"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@reboot", "@", "@every 10m",
		"@every 1h30m", "@every 0s", "@every -1h", "@every 1ns", "@every 1.5s", "@every 9999999h", "@every", "@every 1h 2m",
		"TZ=", "TZ=0", "TZ=UTC", "CRON_TZ=UTC", "TZ=TZ=TZ=", "CRON_TZ= * * * * *", "TZ=UTC TZ=UTC * * * * *",
		"CRON_TZ=Europe/Berlin 30 2 * * *", "TZ=Africa/Cairo 0 0 * * *", "TZ=Pacific/Apia @daily", "TZ=Australia/Lord_Howe 15 */2 * * *",
		"TZ=../../etc/passwd @daily", "TZ=Nowhere @daily", "*/70 * * * *", "*-5 * * * *", "0 22-2 * * *", "0 0 L * *", "0 0 15W * *",
		"0 0 * * 5#2", ", * * * *", "1,,2 * * * *", "*,5 * * * *", "+5 * * * *", "5/0 * * * *", "? ? ? ? ?", "* * * *",
		"* * * * * * *", "99999999999999999999 * * * *", "0\t3\t*\t*\t*", "0 3 * *\n*", "\x00", "\xff\xfe", "0\u00a03 * * *", "٣ * * * *",
		"59 59 23 31 12 *", "* * * 1 1 *", "0/59 0/23 1/30 1/11 0/6", strings.Repeat("1,", 600),
	} {
		for _, zone := range []string{"", "UTC", "Europe/Berlin"} {
			f.Add(text, zone, int64(1_774_738_800))
		}
	}
	f.Add("0 0 29 2 *", "America/New_York", int64(4_000_000_000))
	f.Add("0 2 * * *", "Asia/Tehran", int64(-5_000_000_000))
	f.Add("@every 1s", "\xff", int64(1)<<62)
	f.Add("* * * * *", "Local", int64(-1)<<62)

	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	f.Fuzz(func(t *testing.T, text, zone string, unix int64) {
		s, err := parseSpec(text, zone)
		if err != nil {
			require.ErrorIs(t, err, ErrBadSpec)
			require.True(t, strings.HasPrefix(err.Error(), "stint: bad schedule: "))
			require.Less(t, len(err.Error()), 1000)
			return
		}
		after := time.Unix(unix, 0)
		checkOccurrences(t, s, after)

		again, err := parseSpec(s.text(), s.zoneName())
		require.NoError(t, err)
		require.Equal(t, s.canonical(), again.canonical())
		require.Equal(t, s.words(), again.words())
		require.Equal(t, s.next(after, after), again.next(after, after))
		if words, err := Describe(text); zone == "" {
			require.NoError(t, err)
			require.Equal(t, s.words(), words)
		}
		if s.every == 0 && 0 < unix && unix < 5e9 {
			checkAgainstRobfig(t, parser, s.text(), after.UTC())
		}
	})
}

func checkOccurrences(t *testing.T, s *spec, after time.Time) {
	next := s.next(after, after)
	if after.Unix() < earliest || after.Unix() > latest-20*366*day {
		return // it has ended, and that is all that is asked of it
	}
	require.True(t, next.After(after))
	require.Equal(t, next, s.next(next.Add(-1), after))
	require.Equal(t, next, s.last(after, next, after))
	require.Equal(t, 1, s.count(after, next, after, 10))
	require.NotEmpty(t, s.words())
}

// checkAgainstRobfig lets robfig read what the user wrote, as far as it can.
func checkAgainstRobfig(t *testing.T, parser cron.Parser, text string, after time.Time) {
	theirs, err := parser.Parse("TZ=UTC " + text)
	if err != nil {
		return
	}
	s, err := parseSpec(text, "UTC")
	require.NoError(t, err)
	if want := theirs.Next(after); !want.IsZero() {
		require.Equal(t, want, s.next(after, after))
	}
}
