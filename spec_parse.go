package stint

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// What a user wrote becomes a spec:
//
//  1. the text is checked for size and characters, and cut into words;
//  2. TZ= or CRON_TZ= is taken off, and the zone is loaded;
//  3. @words become fields or a period;
//  4. each field becomes a set of numbers, or an error that names it;
//  5. the sets are written as a plain spec, which robfig/cron reads.
//
// Whatever different crons understand differently is refused, not guessed.

const (
	maxSpecSize = 1000
	maxEvery    = 10 * 365 * 24 * time.Hour
	localZone   = "Local"
)

// parseSpec reads a schedule: five fields, six with the seconds first, or an
// @word; TZ=Zone or CRON_TZ=Zone may stand before it. zone is what an option
// says, "" for nothing. Without any zone it is the machine's. The error wraps
// ErrBadSpec.
func parseSpec(text, zone string) (*spec, error) {
	if err := checkCharacters(text, zone); err != nil {
		return nil, err
	}
	s := &spec{}
	words, err := s.takeZone(strings.Fields(text), zone)
	if err != nil {
		return nil, err
	}
	s.source = strings.Join(words, " ")
	if strings.EqualFold(words[0], "@every") {
		err = s.readEvery(words[1:])
	} else {
		err = s.readCalendar(words)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func checkCharacters(texts ...string) error {
	for _, text := range texts {
		if len(text) > maxSpecSize {
			return badSpec("%s is %d bytes long; allowed are %d", quote(text), len(text), maxSpecSize)
		}
		for _, r := range text {
			if r != '\t' && (r < ' ' || r > '~') {
				return badSpec(`%s has the character %+q; allowed are letters, digits, spaces, and signs as in "*/15 9-17 * * MON-FRI"`, quote(text), r)
			}
		}
	}
	return nil
}

func badSpec(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadSpec}, args...)...)
}

// quote keeps errors short.
func quote(text string) string {
	if len(text) > 100 {
		return strconv.QuoteToASCII(text[:100]) + "…"
	}
	return strconv.QuoteToASCII(text)
}

// takeZone takes the zone off the words and loads it.
func (s *spec) takeZone(words []string, option string) ([]string, error) {
	name := option
	if len(words) > 0 {
		if prefix, ok := zonePrefix(words[0]); ok {
			switch {
			case prefix == "":
				return nil, badSpec(`%s names no zone; write it without a space, as in "CRON_TZ=Europe/Berlin 0 3 * * *"`, quote(words[0]))
			case option != "" && option != prefix:
				return nil, badSpec("%s contradicts the zone option, which says %s; name the zone once", quote(words[0]), quote(option))
			}
			name, words = prefix, words[1:]
		}
	}
	if len(words) == 0 {
		return nil, badSpec(`it is empty; write five fields, minute to day of week, as in "0 3 * * *", or an @word, as in "@daily"`)
	}
	if _, again := zonePrefix(words[0]); again {
		return nil, badSpec(`a second zone, %s; write one, as in "CRON_TZ=Europe/Berlin 0 3 * * *"`, quote(words[0]))
	}
	if name == "" {
		name = localZone
	}
	var err error
	if s.zone, err = time.LoadLocation(name); err != nil {
		return nil, badSpec(`the zone %s is unknown; allowed are names of the IANA database as in "Europe/Berlin", "UTC" and "Local"; where the machine has no such database, import _ "time/tzdata" (%.100v)`, quote(name), err)
	}
	s.zoneText = name
	return words, nil
}

func zonePrefix(word string) (name string, ok bool) {
	if name, ok = strings.CutPrefix(word, "CRON_TZ="); ok {
		return name, true
	}
	return strings.CutPrefix(word, "TZ=")
}

func (s *spec) readEvery(words []string) error {
	const right = `allowed are whole seconds, from 1s to 87600h (10 years), as in "@every 10m" or "@every 1h30m"`
	if len(words) != 1 {
		return badSpec("%s: one duration must follow; %s", quote(s.source), right)
	}
	d, err := time.ParseDuration(words[0])
	switch {
	case err != nil:
		return badSpec("%s: %s is no duration; %s", quote(s.source), quote(words[0]), right)
	case d < time.Second || d > maxEvery || d%time.Second != 0:
		return badSpec("%s: %v is no possible period; %s", quote(s.source), d, right)
	}
	s.every, s.realTime = int64(d/time.Second), true
	return nil
}

var shorthands = map[string]string{
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
	"@monthly":  "0 0 1 * *",
	"@weekly":   "0 0 * * 0",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@hourly":   "0 * * * *",
}

// readCalendar takes fields, or a word that stands for some.
func (s *spec) readCalendar(words []string) error {
	if !strings.HasPrefix(s.source, "@") {
		return s.readFields(words)
	}
	if fields, known := shorthands[strings.ToLower(s.source)]; known {
		return s.readFields(strings.Fields(fields))
	}
	hint := ""
	if strings.EqualFold(s.source, "@reboot") {
		hint = ", and what is to run at each start belongs before Run"
	}
	return badSpec(`%s is unknown%s; allowed are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly and the like of "@every 10m"`, quote(s.source), hint)
}

// readFields makes sets of the fields, and a calendar of the sets.
func (s *spec) readFields(words []string) error {
	switch len(words) {
	case fieldCount - 1:
		words = append([]string{"0"}, words...)
	case fieldCount:
	default:
		return badSpec(`%s has %d %s; allowed are five, minute, hour, day of month, month and day of week, as in "0 3 * * *", or six with the second first, as in "30 0 3 * * *"`, quote(s.source), len(words), plural("field", len(words)))
	}
	var read [fieldCount]field
	for i, word := range words {
		var err error
		if read[i], err = fields[i].read(word); err != nil {
			return err
		}
		s.sets[i] = read[i].set
	}
	if err := checkDays(words[atDay], words[atWeekday], read[atDay], read[atWeekday]); err != nil {
		return err
	}
	s.realTime = s.unrestricted(atHour) || read[atHour].stepsOnly && bits.OnesCount64(s.sets[atHour]) > 1
	var err error
	if s.calendar, err = cronSchedule(s.canonical()); err != nil {
		return badSpec("%s: %w", quote(s.source), err)
	}
	if s.nextWall(0) >= latest {
		return badSpec(`%s never runs, as its months do not have that day; allowed are days that come, as in "0 0 28 2 *"`, quote(s.source))
	}
	return nil
}

// checkDays refuses pairs of day fields about which crons disagree, or of
// which one has no effect. If both are restricted, a day that fits either of
// them is one.
func checkDays(day, weekday string, days, weekdays field) error {
	if days.open || weekdays.open {
		return nil
	}
	const both = `the day-of-month field is %s and the day-of-week field %s: `
	switch {
	case days.starred || weekdays.starred:
		// ISC cron takes any star for "both must fit", robfig only a bare one.
		return badSpec(both+`some crons run this on days that fit both, others on days that fit either; allowed beside another is a list or range, and either is enough then, as in "0 3 1-31/2 * MON"`, quote(day), quote(weekday))
	case days.set == fields[atDay].all() || weekdays.set == fields[atWeekday].all():
		return badSpec(both+`one allows every day, and as either is enough, the other has no effect; write * for the one that should not count, as in "0 3 13 * *"`, quote(day), quote(weekday))
	}
	return nil
}

func (s *spec) unrestricted(i int) bool { return s.sets[i] == fields[i].all() }

// canonical is the spec in six fields, each a star or a list.
func (s *spec) canonical() string {
	var b strings.Builder
	for i, set := range s.sets {
		if i > 0 {
			b.WriteByte(' ')
		}
		if s.unrestricted(i) {
			b.WriteByte('*')
			continue
		}
		for j, value := range values(set) {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Itoa(value))
		}
	}
	return b.String()
}

// values lists a set in order.
func values(set uint64) []int {
	var list []int
	for ; set != 0; set &= set - 1 {
		list = append(list, bits.TrailingZeros64(set))
	}
	return list
}
