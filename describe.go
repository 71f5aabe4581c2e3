package stint

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Describe says in plain English when a schedule runs, so that a person who
// wrote "0 0 13 * FRI" reads "on day 13 of the month or on Friday, at 00:00"
// before it does. It is for people: on a page, in a log, in a question before
// something is saved. Programs should compare the schedules themselves.
//
//	Describe("*/10 * * * *")                         // every 10 minutes
//	Describe("CRON_TZ=Europe/Berlin 0 9 * * MON-FRI") // Monday to Friday at 09:00 (Europe/Berlin)
//
// The zone stands at the end if the schedule names one. The times are those of
// that zone's clock, and mean, when it changes: if hours are named, each time
// comes once, at the end of the gap if the clock leaves it out, and the first
// time if the clock shows it twice. If none is named ("every 10 minutes",
// "every 2 hours"), it runs whenever the clock shows the time.
//
// What Periodic would refuse is an error here, ErrBadSpec with the same text.
func Describe(spec string) (string, error) {
	s, err := parseSpec(spec, "")
	if err != nil {
		return "", err
	}
	return s.words(), nil
}

func (s *spec) words() string {
	if s.every != 0 {
		return "every " + period(s.every)
	}
	words, days := "", s.dayWords()
	if clock := s.clockWords(); clock != "" {
		if days == "" {
			days = "every day" + s.monthsAfter(" in ")
		}
		comma := ""
		if s.eitherDay() {
			comma = ","
		}
		words = days + comma + " at " + clock
	} else {
		words = s.patternWords()
		if days == "" {
			days = s.monthsAfter("in ")
		}
		if days != "" {
			words += ", " + days
		}
	}
	if s.zoneText != localZone {
		words += " (" + s.zoneName() + ")"
	}
	return words
}

// period is "10 minutes", "minute" or "1 hour 30 minutes".
func period(seconds int64) string {
	units := []struct {
		size int64
		name string
	}{{60 * 60, "hour"}, {60, "minute"}, {1, "second"}}
	var parts []string
	for _, unit := range units {
		if n := seconds / unit.size; n > 0 {
			parts = append(parts, strconv.FormatInt(n, 10)+" "+plural(unit.name, int(n)))
		}
		seconds %= unit.size
	}
	if len(parts) == 1 {
		return strings.TrimPrefix(parts[0], "1 ")
	}
	return strings.Join(parts, " ")
}

func plural(word string, n int) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func (s *spec) eitherDay() bool { return !s.unrestricted(atDay) && !s.unrestricted(atWeekday) }

// dayWords are empty if neither the day of month nor that of the week matter.
func (s *spec) dayWords() string {
	ofMonth := "on " + counted("day", s.sets[atDay])
	switch {
	case s.eitherDay():
		_, weekdays := weekdayWords(s.sets[atWeekday])
		words := ofMonth + " of the month or on " + weekdays
		if months := s.monthsAfter("in "); months != "" {
			words = months + ", " + words
		}
		return words
	case !s.unrestricted(atDay):
		if months := s.monthsAfter(" of "); months != "" {
			return ofMonth + months
		}
		return ofMonth + " of the month"
	case !s.unrestricted(atWeekday):
		run, words := weekdayWords(s.sets[atWeekday])
		if !run {
			words = "on " + words
		}
		return words + s.monthsAfter(" in ")
	}
	return ""
}

// counted is "day 1", "days 1 and 15" or "days 1 to 7 and 20".
func counted(word string, set uint64) string {
	return plural(word, bits.OnesCount64(set)) + " " + numbers(set)
}

func numbers(set uint64) string {
	var parts []string
	list := values(set)
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if j < i+2 {
			j = i
			parts = append(parts, strconv.Itoa(list[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d to %d", list[i], list[j]))
		}
		i = j + 1
	}
	return and(parts)
}

func and(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// weekdayWords begin the week on Monday, or on Sunday if that makes a run.
func weekdayWords(set uint64) (run bool, words string) {
	sundayLast := set>>1 | set&1<<6
	if first, end, ok := isRun(sundayLast); ok && end > first+1 {
		return true, weekdayName(first+1) + " to " + weekdayName(end+1)
	}
	if first, end, ok := isRun(set); ok && end > first+1 {
		return true, weekdayName(first) + " to " + weekdayName(end)
	}
	var names []string
	for _, i := range values(sundayLast) {
		names = append(names, weekdayName(i+1))
	}
	return false, and(names)
}

func weekdayName(i int) string { return time.Weekday(i % 7).String() }

// isRun says that a set has no holes.
func isRun(set uint64) (first, last int, ok bool) {
	first, last = bits.TrailingZeros64(set), bits.Len64(set)-1
	return first, last, set == span(first, last, 1)
}

// monthsAfter is empty if every month will do.
func (s *spec) monthsAfter(word string) string {
	set := s.sets[atMonth]
	if s.unrestricted(atMonth) {
		return ""
	}
	if first, end, ok := isRun(set); ok && end > first+1 {
		return fmt.Sprintf("%s%s to %s", word, time.Month(first), time.Month(end))
	}
	var names []string
	for _, i := range values(set) {
		names = append(names, time.Month(i).String())
	}
	return word + and(names)
}

// clockWords lists the times of a day if they are few and no pattern says it
// better.
func (s *spec) clockWords() string {
	secs, mins, hours := values(s.sets[atSecond]), values(s.sets[atMinute]), values(s.sets[atHour])
	if len(secs)*len(mins)*len(hours) > 6 {
		return ""
	}
	_, _, hourRun := isRun(s.sets[atHour])
	if sixtieths(s.sets[atMinute]) != 0 && len(mins) > 3 || hourRun && len(hours) > 3 || s.realTime && s.hourStep() != 0 {
		return ""
	}
	var times []string
	for _, h := range hours {
		for _, m := range mins {
			for _, sec := range secs {
				times = append(times, s.clock(h, m, sec))
			}
		}
	}
	return and(times)
}

// stepOf is n if the set is first, first + n, … and so on over the end, with
// first below n; else 0. What has a single value has no step.
func stepOf(set uint64, size int) int {
	first := bits.TrailingZeros64(set)
	n := bits.TrailingZeros64(set&(set-1)) - first
	if set&(set-1) == 0 || first >= n || size%n != 0 || set != span(first, size-1, n) {
		return 0
	}
	return n
}

// sixtieths is n if the set is 0, n, 2·n … of minutes or seconds; else 0.
func sixtieths(set uint64) int {
	if set&1 == 0 {
		return 0
	}
	return stepOf(set, 60)
}

// hourStep is n if it runs once in each nth hour.
func (s *spec) hourStep() int {
	if bits.OnesCount64(s.sets[atSecond]) > 1 || bits.OnesCount64(s.sets[atMinute]) > 1 {
		return 0
	}
	return stepOf(s.sets[atHour], 24)
}

// clock shows the seconds if the spec's are not 0.
func (s *spec) clock(hour, minute, second int) string {
	if s.sets[atSecond] == 1 {
		return fmt.Sprintf("%02d:%02d", hour, minute)
	}
	return fmt.Sprintf("%02d:%02d:%02d", hour, minute, second)
}

// patternWords are those of "every 10 minutes from 09:00 to 16:59" and "at
// minute 5 of every hour".
func (s *spec) patternWords() string {
	first := func(i int) int { return bits.TrailingZeros64(s.sets[i]) }
	onTheHour := s.sets[atMinute] == 1 && s.sets[atSecond] == 1
	from, to, run := isRun(s.sets[atHour])
	if step := s.hourStep(); step > 1 {
		return fmt.Sprintf("every %d hours from %s", step, s.clock(first(atHour), first(atMinute), first(atSecond)))
	}
	words, inHour := s.withinHour()
	switch {
	case onTheHour && s.unrestricted(atHour):
		return "every hour"
	case onTheHour && run:
		return fmt.Sprintf("every hour from %s to %s", s.clock(from, 0, 0), s.clock(to, 0, 0))
	case s.unrestricted(atHour) && inHour:
		return words + " of every hour"
	case s.unrestricted(atHour):
		return words
	case inHour && from == to:
		return fmt.Sprintf("%s of hour %d", words, from)
	case inHour && run:
		words += " of every hour"
		fallthrough
	case run:
		return fmt.Sprintf("%s from %s to %s", words, s.clock(from, 0, 0), s.clock(to, 59, 59))
	case inHour:
		return words + " of the hours " + numbers(s.sets[atHour])
	default:
		return words + " in the hours " + numbers(s.sets[atHour])
	}
}

// withinHour is what happens inside each hour. inHour says that the words want
// an "of" and hours.
func (s *spec) withinHour() (words string, inHour bool) {
	secs, mins := s.sets[atSecond], s.sets[atMinute]
	if secs == 1 {
		if step := sixtieths(mins); step != 0 {
			return "every " + period(int64(step)*60), false
		}
		return "at " + counted("minute", mins), true
	}
	words, joint := "at "+counted("second", secs), " of "
	if step := sixtieths(secs); step != 0 {
		words, joint = "every "+period(int64(step)), " in "
	}
	switch {
	case !s.unrestricted(atMinute):
		return words + joint + counted("minute", mins), true
	case joint == " of ":
		words += " of every minute"
	}
	return words, false
}
