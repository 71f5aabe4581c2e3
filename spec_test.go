package stint

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
	"github.com/stretchr/testify/require"
)

// Each seed is another set of random specs, times and zones.
var specSeed = flag.Uint64("spec.seed", 1, "seed of the property tests of specs")

func mustSpec(t testing.TB, text, zone string) *spec {
	t.Helper()
	s, err := parseSpec(text, zone)
	require.NoError(t, err, "%q %q", text, zone)
	return s
}

// at reads an instant or a time in UTC: "2026-03-29T01:00:00Z".
func at(t testing.TB, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return parsed
}

// anyTime is somewhere in the years 1990 to 2090.
func anyTime(r *rand.Rand) time.Time {
	return time.Unix(631_152_000+r.Int64N(100*365*day), r.Int64N(int64(time.Second)))
}

// anySpec writes a valid spec of whatever form. With seconds it has six
// fields.
func anySpec(r *rand.Rand, withSeconds bool) string {
	for {
		from := atMinute
		if withSeconds {
			from = atSecond
		}
		var words []string
		for i := from; i < fieldCount; i++ {
			if i >= atDay && r.IntN(3) > 0 {
				words = append(words, "*")
			} else {
				words = append(words, anyField(r, &fields[i]))
			}
		}
		text := strings.Join(words, " ")
		if _, err := parseSpec(text, "UTC"); err == nil {
			return text
		}
	}
}

func anyField(r *rand.Rand, k *fieldKind) string {
	value := func(low int) int { return low + r.IntN(k.max-low+1) }
	name := func(v int) string {
		if k.names != nil && r.IntN(2) == 0 {
			return k.names[v-k.min]
		}
		return fmt.Sprint(v)
	}
	part := func() string {
		low := value(k.min)
		high := value(low)
		switch r.IntN(6) {
		case 0:
			return fmt.Sprintf("*/%d", 2+r.IntN(k.max-k.min))
		case 1:
			return name(low) + "-" + name(high)
		case 2:
			return fmt.Sprintf("%d-%d/%d", low, high, 1+r.IntN(high-low+1))
		case 3:
			return fmt.Sprintf("%d/%d", low, 1+r.IntN(k.max-low+1))
		default:
			return name(low)
		}
	}
	if r.IntN(4) == 0 {
		return "*"
	}
	parts := []string{part()}
	for r.IntN(3) == 0 {
		parts = append(parts, part())
	}
	return strings.Join(parts, ",")
}

// What we accept, robfig/cron means the same by, in UTC.
func TestSpecsAgreeWithRobfigInUTC(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, *specSeed))
	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	specs := []string{"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
	for len(specs) < 500 {
		specs = append(specs, anySpec(r, len(specs)%3 == 0))
	}
	for _, text := range specs {
		want, err := parser.Parse("TZ=UTC " + text)
		require.NoError(t, err, text)
		s := mustSpec(t, text, "UTC")
		after := anyTime(r).UTC()
		for range 5 {
			next := s.next(after, time.Time{})
			require.Equal(t, want.Next(after), next, "%s after %s", text, after)
			after = next
		}
	}
}

func TestRareSpecs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, after, next string }{
		{"0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 29 2 *", "2096-12-31T23:59:59Z", "2104-02-29T00:00:00Z"},
		{"0 * 29 2 *", "2096-02-29T23:00:00Z", "2104-02-29T00:00:00Z"},
		{"59 59 23 29 2 *", "1896-02-29T23:59:59Z", "1904-02-29T23:59:59Z"},
		{"0 0 1 1 *", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"@yearly", "9997-06-01T00:00:00Z", "9998-01-01T00:00:00Z"},
		{"0 0 1 1 *", "0500-06-01T00:00:00Z", "0501-01-01T00:00:00Z"},
	} {
		require.Equal(t, at(t, c.next), mustSpec(t, c.text, "UTC").next(at(t, c.after), time.Time{}), c.text)
	}
	for _, text := range []string{"@yearly", "0 0 29 2 *", "* * 1 1 *", "@every 87600h"} {
		s := mustSpec(t, text, "Europe/Berlin")
		for _, after := range []string{"9998-12-31T23:59:59Z", "9999-06-01T00:00:00Z"} {
			require.True(t, s.next(at(t, after), at(t, "2026-01-01T00:00:00Z")).IsZero(), "%s after %s", text, after)
		}
		require.False(t, s.next(time.Time{}, time.Time{}).IsZero(), text)
		require.True(t, s.next(time.Unix(1<<60, 0), time.Time{}).IsZero(), text)
		require.False(t, s.next(time.Unix(-1<<60, 0), time.Time{}).IsZero(), text)
		require.False(t, s.last(time.Time{}, time.Unix(1<<60, 0), time.Time{}).IsZero(), text)
		require.True(t, s.last(time.Time{}, time.Unix(-1<<60, 0), time.Time{}).IsZero(), text)
		require.Zero(t, s.count(time.Unix(1<<60, 0), time.Unix(1<<61, 0), time.Time{}, 9), text)
	}
}

func TestEveryKeepsItsPhase(t *testing.T) {
	t.Parallel()
	anchor := at(t, "2026-03-01T10:20:30Z").Add(700 * time.Millisecond)
	s := mustSpec(t, "@every 90m", "Europe/Berlin")
	first := at(t, "2026-03-01T11:50:30Z")
	for after, want := range map[time.Time]time.Time{
		anchor.Add(-1000 * time.Hour):           first,
		anchor:                                  first,
		first.Add(-1):                           first,
		first:                                   first.Add(90 * time.Minute),
		first.Add(1):                            first.Add(90 * time.Minute),
		first.Add(90*time.Minute*1e5 - 1):       first.Add(90 * time.Minute * 1e5),
		first.Add(90 * time.Minute * 1_600_000): first.Add(90 * time.Minute * 1_600_001), // 273 years
		anchor.Truncate(time.Second).Add(-1):    first,
		anchor.Truncate(time.Second).Add(5e9):   first,
	} {
		next := s.next(after, anchor)
		require.True(t, want.Equal(next), "after %s: %s", after, next)
	}
	often := mustSpec(t, "@every 7s", "")
	require.True(t, anchor.Truncate(time.Second).Add(7*time.Second).Equal(often.next(anchor.Add(-50*time.Second), anchor)))
	require.True(t, s.last(time.Time{}, anchor.Add(89*time.Minute), anchor).IsZero())
	require.True(t, s.last(time.Time{}, anchor.Add(-time.Hour), anchor).IsZero())
	require.True(t, s.last(time.Time{}, first, anchor).Equal(first))
	require.True(t, s.last(first, first.Add(time.Hour), anchor).IsZero())
	require.True(t, s.last(first.Add(-1), first.Add(time.Hour), anchor).Equal(first))
	require.Equal(t, 1_000_000, s.count(anchor, anchor.Add(90*time.Minute*1_000_000), anchor, 1e9))
	require.Equal(t, 100, s.count(anchor, anchor.Add(90*time.Minute*1_000_000), anchor, 100))
	require.Equal(t, 1, s.count(time.Time{}, first, anchor, 100))
	require.Zero(t, s.count(first, first, anchor, 100))
	require.Zero(t, s.count(first, anchor, anchor, 100))
	require.Zero(t, s.count(anchor, anchor.Add(1e4*time.Hour), anchor, -1))
}

// last and count say what going through all occurrences would say.
func TestLastAndCountAgreeWithNext(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, *specSeed))
	zones := []string{"UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "Africa/Casablanca"}
	for i := range 60 {
		text := anySpec(r, i%2 == 0)
		if i%10 == 0 {
			text = fmt.Sprintf("@every %ds", 1+r.IntN(5000))
		}
		s := mustSpec(t, text, zones[i%len(zones)])
		after, anchor := anyTime(r), time.Time{}
		if i%10 == 0 {
			anchor = after.Add(time.Duration(r.IntN(2000)-1000) * time.Second)
		}
		var all []time.Time
		for next := s.next(after, anchor); len(all) < 30; next = s.next(next, anchor) {
			all = append(all, next)
		}
		for range 8 {
			j := r.IntN(len(all) - 1)
			upTo := all[j].Add(time.Duration(r.Int64N(int64(all[j+1].Sub(all[j])))))
			require.Equal(t, all[j], s.last(after, upTo, anchor), "%s up to %s", text, upTo)
			require.Equal(t, j+1, s.count(after, upTo, anchor, 1000), "%s %s…%s", text, after, upTo)
			require.Equal(t, min(j+1, 7), s.count(after, upTo, anchor, 7))
			require.True(t, s.last(all[j], upTo, anchor).IsZero())
			require.Equal(t, all[j], s.last(all[j].Add(-1), upTo, anchor))
			require.Equal(t, all[j], s.last(time.Time{}, upTo, anchor))
		}
		require.True(t, s.last(after, all[0].Add(-1), anchor).IsZero(), text)
		require.Zero(t, s.count(after, all[0].Add(-1), anchor, 9), text)
	}
}

func TestLastIsCheapFromAnyDistance(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for text, want := range map[string]string{
		"* * * 1 1 *":    "2026-01-01T23:59:59Z", // each second of one day
		"* * * * 2 *":    "2026-02-28T23:59:59Z",
		"* * * * * *":    "2026-12-31T00:00:00Z",
		"0 0 29 2 *":     "2024-02-29T00:00:00Z",
		"59 59 23 1 1 *": "2026-01-01T23:59:59Z",
	} {
		s := mustSpec(t, text, "UTC")
		for range 20 {
			require.Equal(t, at(t, want), s.last(time.Time{}, at(t, "2026-12-31T00:00:00Z"), time.Time{}), text)
		}
	}
	s := mustSpec(t, "0 0 29 2 *", "UTC")
	require.Equal(t, at(t, "2096-02-29T00:00:00Z"), s.last(time.Time{}, at(t, "2104-02-28T23:59:59Z"), time.Time{}))
	require.Less(t, time.Since(start), 10*time.Second, "100 calls")
}

func BenchmarkSpecNext(b *testing.B) {
	after := time.Date(2026, 11, 22, 12, 34, 56, 0, time.UTC)
	for _, c := range []struct{ name, text string }{
		{"daily", "0 3 * * *"}, {"fiveMinutes", "*/5 * * * *"}, {"leapDay", "0 0 29 2 *"}, {"every", "@every 10m"},
	} {
		s := mustSpec(b, c.text, "Europe/Berlin")
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.next(after, after)
			}
		})
	}
	b.Run("lastDaily", func(b *testing.B) {
		s := mustSpec(b, "0 3 * * *", "Europe/Berlin")
		b.ReportAllocs()
		for b.Loop() {
			s.last(time.Time{}, after, after)
		}
	})
}
