package stint

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Instants that were worked out by hand from the zones' laws.
func TestSpecsAroundClockChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, text, after, runs string }{
		// Spring, 02:00 → 03:00 at 01:00Z; autumn, 03:00 → 02:00 at 01:00Z.
		{"Europe/Berlin", "30 2 * * *", "2026-03-28T00:00:00Z", "03-28T01:30 03-29T01:00 03-30T00:30"},
		{"Europe/Berlin", "30 2 * * *", "2026-10-24T00:00:00Z", "10-24T00:30 10-25T00:30 10-26T01:30"},
		{"Europe/Berlin", "0 2,3 * * *", "2026-03-28T12:00:00Z", "03-29T01:00 03-30T00:00 03-30T01:00"},
		{"Europe/Berlin", "*/20 2 * * *", "2026-03-28T12:00:00Z", "03-29T01:00 03-30T00:00 03-30T00:20"},
		{"Europe/Berlin", "*/20 2-3 * * *", "2026-10-25T00:20:00Z", "10-25T00:40 10-25T02:00 10-25T02:20"},
		{"Europe/Berlin", "0 0 * * *", "2026-03-28T12:00:00Z", "03-28T23:00 03-29T22:00 03-30T22:00"},
		{"Europe/Berlin", "@daily", "2026-10-24T12:00:00Z", "10-24T22:00 10-25T23:00 10-26T23:00"},
		{"Europe/Berlin", "@hourly", "2026-10-24T23:30:00Z", "10-25T00:00 10-25T01:00 10-25T02:00"},
		{"Europe/Berlin", "@hourly", "2026-03-28T23:30:00Z", "03-29T00:00 03-29T01:00 03-29T02:00"},
		{"Europe/Berlin", "*/10 * * * *", "2026-10-25T00:45:00Z", "10-25T00:50 10-25T01:00 10-25T01:10"},
		{"Europe/Berlin", "*/10 * * * *", "2026-03-29T00:45:00Z", "03-29T00:50 03-29T01:00 03-29T01:10"},
		{"Europe/Berlin", "30 */2 * * *", "2026-03-28T23:00:00Z", "03-28T23:30 03-29T02:30 03-29T04:30"},
		{"Europe/Berlin", "0 */2 * * *", "2026-10-24T21:30:00Z", "10-24T22:00 10-25T00:00 10-25T01:00 10-25T03:00"},
		{"Europe/Berlin", "15 * 25 10 *", "2026-10-25T00:00:00Z", "10-25T00:15 10-25T01:15 10-25T02:15"},
		// Autumn, 02:00 → 01:00 at 06:00Z. Spring, 02:00 → 03:00 at 10:00Z.
		{"America/New_York", "30 1 * * *", "2025-11-01T00:00:00Z", "11-01T05:30 11-02T05:30 11-03T06:30"},
		{"America/Los_Angeles", "0 2 * * *", "2025-03-08T00:00:00Z", "03-08T10:00 03-09T10:00 03-10T09:00"},
		{"America/Los_Angeles", "0 2 9 3 *", "2025-01-01T00:00:00Z", "2025-03-09T10:00 2026-03-09T09:00"},
		// Spring, 02:00 → 02:30 at 15:30Z. Autumn, 02:00 → 01:30 at 15:00Z.
		{"Australia/Lord_Howe", "15 2 * * *", "2025-10-03T00:00:00Z", "10-03T15:45 10-04T15:30 10-05T15:15"},
		{"Australia/Lord_Howe", "45 1 * * *", "2026-04-03T00:00:00Z", "04-03T14:45 04-04T14:45 04-05T15:15"},
		{"Australia/Lord_Howe", "45 * * * *", "2026-04-04T14:30:00Z", "04-04T14:45 04-04T15:15 04-04T16:15"},
		{"Australia/Lord_Howe", "15 * * * *", "2025-10-04T14:00:00Z", "10-04T14:45 10-04T16:15 10-04T17:15"},
		// Gaps from 00:00 to 01:00, and evenings that come twice.
		{"Africa/Cairo", "0 0 * * *", "2025-04-23T12:00:00Z", "04-23T22:00 04-24T22:00 04-25T21:00"},
		{"Africa/Cairo", "30 0 * * *", "2025-04-23T12:00:00Z", "04-23T22:30 04-24T22:00 04-25T21:30"},
		{"Africa/Cairo", "0 */24 * * *", "2025-04-23T12:00:00Z", "04-23T22:00 04-24T22:00 04-25T21:00"},
		{"Africa/Cairo", "30 23 * * *", "2025-10-29T12:00:00Z", "10-29T20:30 10-30T20:30 10-31T21:30"},
		{"Africa/Cairo", "0 0 * * *", "2025-10-29T12:00:00Z", "10-29T21:00 10-30T22:00 10-31T22:00"},
		{"Africa/Cairo", "30 * * * *", "2025-10-30T20:00:00Z", "10-30T20:30 10-30T21:30 10-30T22:30"},
		{"America/Santiago", "30 0 * * *", "2025-09-05T12:00:00Z", "09-06T04:30 09-07T04:00 09-08T03:30"},
		{"America/Santiago", "0 0 * * SUN", "2025-09-01T12:00:00Z", "09-07T04:00 09-14T03:00"},
		{"Asia/Beirut", "30 0 * * *", "2025-03-28T12:00:00Z", "03-28T22:30 03-29T22:00 03-30T21:30"},
		{"America/Asuncion", "0 0 * * *", "2023-09-29T12:00:00Z", "09-30T04:00 10-01T04:00 10-02T03:00"},
		{"America/Asuncion", "0 0 1 10 *", "2022-12-01T00:00:00Z", "2023-10-01T04:00 2024-10-01T04:00"},
		// From 29 December 24:00 to 31 December 00:00, at 10:00Z of the 30th.
		{"Pacific/Apia", "0 12 * * *", "2011-12-29T00:00:00Z", "12-29T22:00 12-30T10:00 12-30T22:00 12-31T22:00"},
		{"Pacific/Apia", "0 0 * * *", "2011-12-28T12:00:00Z", "12-29T10:00 12-30T10:00 12-31T10:00"},
		{"Pacific/Apia", "0 12 * * FRI", "2011-12-24T00:00:00Z", "2011-12-30T10:00 2012-01-05T22:00"},
		{"Pacific/Apia", "0 */6 * * *", "2011-12-30T00:00:00Z", "12-30T04:00 12-30T10:00 12-30T16:00"},
		// Ramadan 2025: 03:00 → 02:00 on 23 February, back on 6 April, at 02:00Z.
		{"Africa/Casablanca", "30 2 * * *", "2025-02-22T00:00:00Z", "02-22T01:30 02-23T01:30 02-24T02:30"},
		{"Africa/Casablanca", "30 2 * * *", "2025-04-05T00:00:00Z", "04-05T02:30 04-06T02:00 04-07T01:30"},
		// Winter time is the one that is said to be saving.
		{"Europe/Dublin", "30 1 * * *", "2025-03-29T00:00:00Z", "03-29T01:30 03-30T01:00 03-31T00:30"},
		{"Europe/Dublin", "30 1 * * *", "2025-10-24T12:00:00Z", "10-25T00:30 10-26T00:30 10-27T01:30"},
		// Two hours at once, 01:00 → 03:00 at 01:00Z.
		{"Antarctica/Troll", "30 1,2 * * *", "2025-03-29T00:00:00Z", "03-29T01:30 03-29T02:30 03-30T01:00 03-30T23:30"},
		// No change.
		{"Asia/Kathmandu", "0 0 * * *", "2026-01-01T00:00:00Z", "01-01T18:15 01-02T18:15"},
		{"UTC", "0 3 * * *", "2026-03-29T00:00:00Z", "03-29T03:00 03-30T03:00"},
		// The rule of the last year of the table goes on, also on the last
		// day of a leap year.
		{"Europe/Berlin", "30 2 * * *", "2056-12-30T12:00:00Z", "2056-12-31T01:30 2057-01-01T01:30"},
		{"Europe/Berlin", "0 * * * *", "2056-12-31T22:30:00Z", "2056-12-31T23:00 2057-01-01T00:00"},
		{"Europe/Berlin", "30 * 1 7 *", "2056-12-31T12:00:00Z", "2057-06-30T22:30 2057-06-30T23:30"},
		{"America/New_York", "30 22 * * *", "2048-12-31T00:00:00Z", "2048-12-31T03:30 2049-01-01T03:30"},
		{"America/New_York", "30 2 * * *", "2400-03-11T12:00:00Z", "2400-03-12T07:00 2400-03-13T06:30"},
		// Offsets with seconds: −4:56:02, 0:09:21 until 1911, −0:44:30 until 1972.
		{"America/New_York", "0 12 * * *", "1850-01-01T00:00:00Z", "1850-01-01T16:56:02 1850-01-02T16:56:02"},
		{"Europe/Paris", "55 23 * * *", "1911-03-10T12:00:00Z", "1911-03-10T23:45:39 1911-03-11T23:55:00"},
		{"Europe/Paris", "55 * * * *", "1911-03-10T23:00:00Z", "1911-03-10T23:45:39 1911-03-10T23:55:00"},
		{"Africa/Monrovia", "30 0 * * *", "1972-01-06T12:00:00Z", "1972-01-07T00:44:30 1972-01-08T00:30:00"},
	} {
		s := mustSpec(t, c.text, c.zone)
		previous := at(t, c.after)
		for _, run := range strings.Fields(c.runs) {
			if len(run) == len("01-02T03:04") {
				run = c.after[:5] + run
			}
			if len(run) == len("2006-01-02T03:04") {
				run += ":00"
			}
			next := s.next(previous, time.Time{})
			require.Equal(t, run+"Z", next.UTC().Format(time.RFC3339), "%s: %s after %s", c.zone, c.text, previous)
			require.Equal(t, c.zone, next.Location().String())
			require.Equal(t, next, s.last(previous, next, time.Time{}))
			require.Equal(t, 1, s.count(previous, next, time.Time{}, 9))
			previous = next
		}
	}
}

// variedZones have each sort of law that there is or was since 2000.
var variedZones = strings.Fields(`
	UTC Etc/GMT+12 Etc/GMT-14 EST5EDT
	Africa/Cairo Africa/Casablanca Africa/El_Aaiun Africa/Juba Africa/Khartoum Africa/Lagos Africa/Nairobi
	Africa/Sao_Tome Africa/Tripoli Africa/Tunis Africa/Windhoek
	America/Adak America/Anchorage America/Araguaina America/Asuncion America/Bahia_Banderas America/Bogota
	America/Caracas America/Chihuahua America/Danmarkshavn America/Goose_Bay America/Grand_Turk
	America/Havana America/Indiana/Knox America/Los_Angeles America/Mexico_City America/Miquelon
	America/Montevideo America/New_York America/Nuuk America/Port-au-Prince America/Santiago
	America/Sao_Paulo America/Scoresbysund America/St_Johns America/Whitehorse
	Antarctica/Casey Antarctica/Macquarie Antarctica/Troll Antarctica/Vostok
	Asia/Amman Asia/Baku Asia/Beirut Asia/Chita Asia/Damascus Asia/Dhaka Asia/Gaza Asia/Jerusalem
	Asia/Kabul Asia/Kathmandu Asia/Kolkata Asia/Pyongyang Asia/Shanghai Asia/Tehran Asia/Tokyo Asia/Ulaanbaatar
	Atlantic/Azores Atlantic/Stanley Australia/Adelaide Australia/Eucla Australia/Lord_Howe Australia/Sydney
	Europe/Berlin Europe/Chisinau Europe/Dublin Europe/Istanbul Europe/Lisbon Europe/London Europe/Moscow Europe/Volgograd
	Pacific/Apia Pacific/Auckland Pacific/Bougainville Pacific/Chatham Pacific/Easter Pacific/Fakaofo Pacific/Fiji
	Pacific/Kiritimati Pacific/Norfolk Pacific/Tongatapu`)

// changes are the instants from 2000 to 2040 at which a zone's offset changes.
func changes(t testing.TB, zone string) []time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	require.NoError(t, err)
	var list []time.Time
	for moment := time.Date(2000, 1, 1, 0, 0, 0, 0, loc); moment.Year() < 2040; {
		_, end := moment.ZoneBounds()
		if end.IsZero() {
			break
		}
		if end.Sub(moment) <= 0 { // the last day of a leap year, see segment
			end = moment.Add(24 * time.Hour)
		}
		_, before := end.Add(-1).Zone()
		if _, after := end.Zone(); before != after {
			list = append(list, end)
		}
		moment = end
	}
	return list
}

// oracle reads a real clock minute by minute, and shares nothing with spec but
// the sets of its fields.
type oracle struct {
	start time.Time
	walls []int64 // what the clock shows at start, a minute later …, in minutes
	low   int64   // the least of them
	first []int   // the first place in walls of low, low + 1 …; or -1
}

func newOracle(change time.Time, around time.Duration) *oracle {
	o := &oracle{start: change.Add(-around)}
	for i := range int(2 * around / time.Minute) {
		moment := o.start.Add(time.Duration(i) * time.Minute)
		_, offset := moment.Zone()
		o.walls = append(o.walls, (moment.Unix()+int64(offset))/60)
	}
	o.low = slices.Min(o.walls)
	o.first = slices.Repeat([]int{-1}, int(slices.Max(o.walls)-o.low)+1)
	for i, wall := range o.walls {
		if o.first[wall-o.low] < 0 {
			o.first[wall-o.low] = i
		}
	}
	return o
}

// occurrences are those after the first minute.
func (o *oracle) occurrences(s *spec) []time.Time {
	runs := make([]bool, len(o.walls))
	if s.wild() {
		for i, wall := range o.walls {
			runs[i] = fits(s, wall)
		}
	} else {
		for wall := o.walls[0]; wall < o.low+int64(len(o.first)); wall++ {
			if fits(s, wall) {
				runs[o.place(wall)] = true
			}
		}
	}
	var list []time.Time
	for i := 1; i < len(runs); i++ {
		if runs[i] {
			list = append(list, o.start.Add(time.Duration(i)*time.Minute))
		}
	}
	return list
}

// place is where a wall time is shown first, or the end of the gap it is in.
func (o *oracle) place(wall int64) int {
	if i := o.first[wall-o.low]; i >= 0 {
		return i
	}
	i := 1
	for o.walls[i-1] > wall || o.walls[i] < wall {
		i++
	}
	return i
}

func fits(s *spec, wall int64) bool {
	moment := time.Unix(wall*60, 0).UTC()
	has := func(i, value int) bool { return s.sets[i]&(1<<value) != 0 }
	if !has(atMinute, moment.Minute()) || !has(atHour, moment.Hour()) || !has(atMonth, int(moment.Month())) {
		return false
	}
	onDay, onWeekday := has(atDay, moment.Day()), has(atWeekday, int(moment.Weekday()))
	if s.sets[atDay] != fields[atDay].all() && s.sets[atWeekday] != fields[atWeekday].all() {
		return onDay || onWeekday
	}
	return onDay && onWeekday
}

// Around each change of many zones, random specs run when the oracle says.
func TestSpecsAgreeWithAnOracle(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, *specSeed))
	total := 0
	for _, zone := range variedZones {
		all := changes(t, zone)
		seen := map[string]int{}
		for _, change := range all {
			_, before := change.Add(-1).Zone()
			_, after := change.Zone()
			// A law makes the same change year by year; two of each will do.
			law := fmt.Sprint(change.In(time.FixedZone("", before)).Format("15:04"), before, after)
			if seen[law]++; seen[law] > 2 {
				continue
			}
			total++
			o := newOracle(change, 15*time.Hour)
			for range 3 {
				o.compare(t, r, zone, specFor(r, change))
			}
		}
	}
	require.Greater(t, total, 300)
}

// specFor is often one that runs near the change.
func specFor(r *rand.Rand, change time.Time) string {
	_, before := change.Add(-1).Zone()
	near := change.In(time.FixedZone("", before)).Add(time.Duration(r.IntN(240)-120) * time.Minute)
	switch r.IntN(4) {
	case 0:
		return fmt.Sprintf("%d %d * * *", near.Minute(), near.Hour())
	case 1:
		return fmt.Sprintf("*/%d %d,%d * * %d", 1+r.IntN(30), near.Hour(), r.IntN(24), near.Weekday())
	case 2:
		return fmt.Sprintf("%d %s %d %d *", near.Minute(), anyField(r, &fields[atHour]), near.Day(), near.Month())
	default:
		return anySpec(r, false)
	}
}

func (o *oracle) compare(t *testing.T, r *rand.Rand, zone, text string) {
	t.Helper()
	s := mustSpec(t, text, zone)
	want := o.occurrences(s)
	after, end := o.start, o.start.Add(time.Duration(len(o.walls)-1)*time.Minute)
	require.Equal(t, len(want), s.count(after, end, time.Time{}, 1e6), "%s: %s from %s", zone, text, after)
	for i, moment := range want {
		next := s.next(after, time.Time{})
		require.True(t, moment.Equal(next), "%s: %s after %s: %s, not %s", zone, text, after, next, moment)
		if i < 4 {
			between := after.Add(time.Duration(r.Int64N(int64(next.Sub(after)))))
			require.True(t, next.Equal(s.next(between, time.Time{})), "%s: %s after %s", zone, text, between)
			require.True(t, next.Equal(s.last(between, next.Add(30*time.Second), time.Time{})), "%s: %s up to %s", zone, text, next)
		}
		after = next
	}
	require.True(t, s.next(after, time.Time{}).After(end), "%s: %s after %s", zone, text, after)
}

// A time of the day comes once on each day of the calendar, also on those that
// the clock skips in part.
func TestADailyTimeComesOnceADay(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, *specSeed))
	for _, zone := range variedZones {
		for i, change := range changes(t, zone) {
			if i%4 != int(*specSeed%4) {
				continue
			}
			loc := change.Location()
			noon := func(days int) time.Time {
				return time.Date(change.Year(), change.Month(), change.Day()+days, 12, 0, 0, 0, loc)
			}
			_, before := change.Add(-1).Zone()
			_, after := change.Zone()
			if after-before >= day {
				continue // see the table for Apia
			}
			moment := change.Add(time.Duration(r.IntN(7200)-3600) * time.Second)
			s := mustSpec(t, fmt.Sprintf("%d %d %d * * *", moment.Second(), moment.Minute(), moment.Hour()), zone)
			require.Equal(t, 6, s.count(noon(-3), noon(3), time.Time{}, 100), "%s: %s around %s", zone, s.text(), change)
			onDay := map[int]bool{}
			for next := s.next(noon(-3), time.Time{}); next.Before(noon(3)); next = s.next(next, time.Time{}) {
				onDay[next.YearDay()] = true
			}
			require.GreaterOrEqual(t, len(onDay), 5, "%s: %s around %s", zone, s.text(), change)
		}
	}
}

// Far from the oracle's minutes: any instant of three centuries, seconds, and
// old offsets with odd seconds.
func TestSpecsAreStableAnywhere(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, *specSeed))
	for i := range 1000 {
		s := mustSpec(t, anySpec(r, i%2 == 0), variedZones[r.IntN(len(variedZones))])
		after := time.Unix(-4_000_000_000+r.Int64N(10_000_000_000), r.Int64N(1e9)) // 1843 to 2160
		next := s.next(after, time.Time{})
		require.True(t, next.After(after), "%s %s after %s", s.zoneName(), s.text(), after)
		require.Zero(t, next.Nanosecond())
		between := after.Add(time.Duration(r.Int64N(int64(next.Sub(after)))))
		require.Equal(t, next, s.next(between, time.Time{}), "%s %s after %s", s.zoneName(), s.text(), between)
		require.Equal(t, next, s.last(after, next, time.Time{}), "%s %s up to %s", s.zoneName(), s.text(), next)
		if s.wild() {
			second, minute, hour := next.Second(), next.Minute(), next.Hour()
			require.True(t, s.sets[atSecond]>>second&1 == 1 && s.sets[atMinute]>>minute&1 == 1 && s.sets[atHour]>>hour&1 == 1,
				"%s %s runs when the clock shows it, not at %s", s.zoneName(), s.text(), next)
		}
	}
}
