package stint

import (
	"math"
	"time"
)

// Cron specs and clocks that change
//
// A cron spec names times on a wall clock, and a wall clock is no measure of
// time: in spring it leaves hours out, in autumn it shows hours twice. A
// schedule that takes the clock at its word loses the run of a day in spring
// and doubles one in autumn. So stint does what ISC cron does, and divides
// specs into two sorts.
//
// Specs that follow real time. Who leaves the hour open (*), steps over all
// hours (*/2) or writes @every or @hourly wants something every so often. It
// runs whenever the clock shows a time of the spec: in both hours that autumn
// shows twice, and not in the hour that spring leaves out, for no time has
// passed there.
//
// Specs that name an hour. "30 2 * * *" is meant once a day, whatever clocks
// do. Each wall time runs once: at the earliest instant that shows it, and if
// the clock leaves it out, at the end of the gap. Several times inside one gap
// are one run. A step that leaves a single hour (*/24) names that hour.
//
//	Europe/Berlin, 29 March 2026         30 2 * * *    */30 * * * *
//	 01:30 CET                                          runs
//	 02:00 does not exist: 03:00 CEST    runs           runs
//	 03:30 CEST                                         runs
//	Europe/Berlin, 25 October 2026
//	 02:30 CEST                          runs           runs
//	 03:00 does not come: 02:00 CET                     runs
//	 02:30 CET                                          runs
//
// How it is computed. The calendar runs in UTC, on wall times: seconds since
// 1970 as if the wall were in Greenwich. A zone is a row of segments of a
// constant offset, and within one, wall = instant + offset.
//
//   - Real time: look for the next wall time in the segment; if its instant
//     lies beyond the segment's end, look again in the next one.
//   - Named hours: call "reached" the latest wall time the clock has shown by
//     some instant. It only grows, and a wall time has had its run if and only
//     if it is not after it: shown, it ran; jumped over, it ran at the end of
//     the gap; shown again, it is not after. So the next run is that of the next
//     wall time after what is reached, at the first instant by which the clock
//     has reached it.
//
// Nothing here knows of hours, of half hours or of midnights: gaps may be of
// 30 minutes (Lord Howe), begin at midnight (Cairo) or take a whole day (Apia,
// 30 December 2011), and offsets may have seconds, as before railways.

// spec is a schedule that was read and found to make sense. It is immutable.
type spec struct {
	source   string // as it was written, without its zone
	zoneText string
	zone     *time.Location
	every    int64 // seconds from one occurrence to the next; 0: a calendar spec
	sets     [fieldCount]uint64
	realTime bool
	calendar interface{ Next(time.Time) time.Time } // on a wall clock
}

// Instants and wall times are whole seconds since 1970.
const (
	earliest = -62_104_060_800 // the year 2: robfig's zero time is in the year 1
	latest   = 253_370_764_800 // the year 9999
	never    = math.MaxInt64

	day = 24 * 60 * 60
)

// text is the schedule without its zone; parseSpec takes both back.
func (s *spec) text() string { return s.source }

// zoneName is "Local" if neither the text nor the option named a zone.
func (s *spec) zoneName() string { return s.zoneText }

// wild says that the spec follows real time.
func (s *spec) wild() bool { return s.realTime }

// next is the first occurrence after after; the zero time if there is none
// before the year 9999. The occurrences of @every are anchor + k·d with k ≥ 1.
func (s *spec) next(after, anchor time.Time) time.Time {
	return s.instant(s.nextAfter(seconds(after), anchor.Unix()))
}

// last is the latest occurrence after notBefore and not after upTo, or the
// zero time.
func (s *spec) last(notBefore, upTo, anchor time.Time) time.Time {
	low, high, origin := seconds(notBefore), min(seconds(upTo), latest-1), anchor.Unix()
	if s.every != 0 {
		k := max((high-origin)/s.every, 0)
		if at := origin + k*s.every; k > 0 && low < at {
			return s.instant(at)
		}
		return time.Time{}
	}
	// A February 29 is up to eight years from the one before.
	for _, window := range [...]int64{60, 60 * 60, day, 32 * day, 366 * day, 9 * 366 * day} {
		from := max(low, high-window)
		if at := s.nextAfter(from, origin); at <= high {
			return s.instant(s.lastFrom(at, high))
		}
		if from == low {
			break
		}
	}
	return time.Time{}
}

// count is the number of occurrences after after and not after upTo; it stops
// at limit.
func (s *spec) count(after, upTo, anchor time.Time, limit int) int {
	low, high, origin := seconds(after), min(seconds(upTo), latest-1), anchor.Unix()
	if s.every != 0 {
		passed := max((high-origin)/s.every, 0) - max((low-origin)/s.every, 0)
		return int(min(max(passed, 0), int64(max(limit, 0))))
	}
	n := 0
	for n < limit {
		if low = s.nextAfter(low, origin); low > high {
			break
		}
		n++
	}
	return n
}

// seconds leaves out what the calendar cannot reach.
func seconds(t time.Time) int64 { return min(max(t.Unix(), earliest), latest) }

func (s *spec) instant(at int64) time.Time {
	if at >= latest {
		return time.Time{}
	}
	return time.Unix(at, 0).In(s.zone)
}

// lastFrom halves the time between an occurrence and high until nothing comes
// between them.
func (s *spec) lastFrom(at, high int64) int64 {
	for none := high; at < none; {
		middle := at + (none-at)/2
		if next := s.nextAfter(middle, 0); next <= high {
			at = next
		} else {
			none = middle
		}
	}
	return at
}

// nextAfter may give an instant that is later than latest, for there is none
// before.
func (s *spec) nextAfter(after, origin int64) int64 {
	switch {
	case s.every != 0:
		if after < origin {
			return origin + s.every
		}
		return origin + ((after-origin)/s.every+1)*s.every
	case s.realTime:
		return s.nextInRealTime(after)
	default:
		return s.firstBy(s.nextWall(s.reached(after)), after)
	}
}

func (s *spec) nextInRealTime(after int64) int64 {
	for from := after + 1; from < latest; {
		offset, end := s.segment(from)
		if at := s.nextWall(from+offset-1) - offset; at < end {
			return at
		}
		from = end
	}
	return never
}

// reached is the latest wall time shown at or before an instant. Only the last
// two days matter, as no clock is a day from Greenwich's.
func (s *spec) reached(at int64) int64 {
	wall := int64(math.MinInt64)
	for from := at - 2*day; ; {
		offset, end := s.segment(from)
		if end > at {
			return max(wall, at+offset)
		}
		wall = max(wall, end-1+offset)
		from = end
	}
}

// firstBy is the first instant by which the clock has reached a wall time that
// it had not reached by after.
func (s *spec) firstBy(wall, after int64) int64 {
	for from := max(after, wall-2*day); from < latest; {
		offset, end := s.segment(from)
		if at := wall - offset; at < end {
			return max(at, from) // from, if the clock jumped over it
		}
		from = end
	}
	return never
}

// nextWall looks twice: robfig gives up after five years, and 29 February can
// be eight years off.
func (s *spec) nextWall(after int64) int64 {
	t := time.Unix(after, 0).UTC()
	for range 2 {
		if next := s.calendar.Next(t); !next.IsZero() {
			return next.Unix()
		}
		t = time.Date(t.Year()+5, time.December, 31, 23, 59, 59, 0, time.UTC)
	}
	return latest + day
}

// segment is the offset at an instant, and until when it stays for certain.
func (s *spec) segment(at int64) (offset, end int64) {
	t := time.Unix(at, 0).In(s.zone)
	_, seconds := t.Zone()
	_, to := t.ZoneBounds()
	switch end = to.Unix(); {
	case to.IsZero():
		end = never
	case end <= at:
		// Beyond a zone's table package time ends each year after 365 days,
		// and so gives 31 December of a leap year an end that is past.
		end = at - at%day + day
	}
	return int64(seconds), end
}
