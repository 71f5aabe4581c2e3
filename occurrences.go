package stint

import "time"

// Occurrences lists the first n times after a moment at which a schedule runs,
// at most 1000, in its zone: what Upcoming tells of one that is registered.
// @every counts from the moment. There are fewer where the spec ends, as with a
// last day before the year 9999. What Periodic would refuse is an error here,
// ErrBadSpec with the same text.
func Occurrences(spec string, after time.Time, n int) ([]time.Time, error) {
	s, err := parseSpec(spec, "")
	if err != nil {
		return nil, err
	}
	var times []time.Time
	for at := after; len(times) < min(n, maxWaiting); {
		if at = s.next(at, after); at.IsZero() {
			break
		}
		times = append(times, at.In(s.zone))
	}
	return times, nil
}
