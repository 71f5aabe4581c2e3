package stint

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	for text, words := range map[string]string{
		"* * * * *":                    "every minute",
		"*/10 * * * *":                 "every 10 minutes",
		"0,30 * * * *":                 "every 30 minutes",
		"*/7 * * * *":                  "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour",
		"5,20,35,50 * * * *":           "at minutes 5, 20, 35 and 50 of every hour",
		"5 * * * *":                    "at minute 5 of every hour",
		"0-9,30 * * * *":               "at minutes 0 to 9 and 30 of every hour",
		"@hourly":                      "every hour",
		"*/60 * * * *":                 "every hour",
		"0 */2 * * *":                  "every 2 hours from 00:00",
		"15 1-23/2 * * *":              "every 2 hours from 01:15",
		"0 */6 * * *":                  "every 6 hours from 00:00",
		"0 */5 * * *":                  "every day at 00:00, 05:00, 10:00, 15:00 and 20:00",
		"0 0,6,12,18 * * *":            "every day at 00:00, 06:00, 12:00 and 18:00",
		"0 3 * * *":                    "every day at 03:00",
		"@midnight":                    "every day at 00:00",
		"30 0 3 * * *":                 "every day at 03:00:30",
		"0,30 9 * * *":                 "every day at 09:00 and 09:30",
		"0 9 * * MON-FRI":              "Monday to Friday at 09:00",
		"0 9 * * 0-4":                  "Sunday to Thursday at 09:00",
		"0 9 * * 6,7":                  "on Saturday and Sunday at 09:00",
		"0 9 * * FRI-SUN":              "Friday to Sunday at 09:00",
		"0 9 * * MON-WED,SAT":          "on Monday, Tuesday, Wednesday and Saturday at 09:00",
		"@weekly":                      "on Sunday at 00:00",
		"@monthly":                     "on day 1 of the month at 00:00",
		"0 0 1,15 * *":                 "on days 1 and 15 of the month at 00:00",
		"0 0 1-7 * *":                  "on days 1 to 7 of the month at 00:00",
		"@yearly":                      "on day 1 of January at 00:00",
		"0 0 1 */3 *":                  "on day 1 of January, April, July and October at 00:00",
		"0 0 1 JAN-MAR *":              "on day 1 of January to March at 00:00",
		"0 12 * JUN FRI":               "on Friday in June at 12:00",
		"0 12 * JUN *":                 "every day in June at 12:00",
		"0 0 13 * FRI":                 "on day 13 of the month or on Friday, at 00:00",
		"0 0 13 JUN,JUL FRI":           "in June and July, on day 13 of the month or on Friday, at 00:00",
		"*/15 * 13 * 1-5":              "every 15 minutes, on day 13 of the month or on Monday to Friday",
		"*/15 9-16 * * MON-FRI":        "every 15 minutes from 09:00 to 16:59, Monday to Friday",
		"*/15 9 * * *":                 "every 15 minutes from 09:00 to 09:59",
		"*/5 8,12,20 * * *":            "every 5 minutes in the hours 8, 12 and 20",
		"0 9-23/2 * * *":               "at minute 0 of the hours 9, 11, 13, 15, 17, 19, 21 and 23",
		"0 9-17 * * *":                 "every hour from 09:00 to 17:00",
		"5 9-17 * * *":                 "at minute 5 of every hour from 09:00 to 17:59",
		"1,2,4,7,9,11,20 9 * * *":      "at minutes 1, 2, 4, 7, 9, 11 and 20 of hour 9",
		"0,7,20 1,7,20 * * *":          "at minutes 0, 7 and 20 of the hours 1, 7 and 20",
		"* * * 6 *":                    "every minute, in June",
		"* * * * * *":                  "every second",
		"*/10 * * * * *":               "every 10 seconds",
		"30 * * * * *":                 "at second 30 of every minute",
		"0,20 5 * * * *":               "at seconds 0 and 20 of minute 5 of every hour",
		"*/10 0,5 * * * *":             "every 10 seconds in minutes 0 and 5 of every hour",
		"*/10 * 9-16 * * *":            "every 10 seconds from 09:00:00 to 16:59:59",
		"CRON_TZ=Europe/Berlin @daily": "every day at 00:00 (Europe/Berlin)",
		"TZ=UTC * * * * *":             "every minute (UTC)",
		"TZ=Local 0 3 * * *":           "every day at 03:00",
		"@every 10m":                   "every 10 minutes",
		"@every 1h":                    "every hour",
		"@every 1s":                    "every second",
		"@every 1h30m5s":               "every 1 hour 30 minutes 5 seconds",
		"TZ=Asia/Tokyo @every 24h":     "every 24 hours",
	} {
		got, err := Describe(text)
		require.NoError(t, err, text)
		require.Equal(t, words, got, text)
	}
	for _, text := range []string{"", "@reboot", "0 0 31 2 *", "0 22-2 * * *"} {
		_, want := parseSpec(text, "")
		words, err := Describe(text)
		require.ErrorIs(t, err, ErrBadSpec)
		require.Equal(t, want, err)
		require.Empty(t, words)
	}
}

// Whatever the words, who reads them gets the schedule back.
func TestDescribeNeverSaysSomethingElse(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, *specSeed))
	for i := range 1000 {
		text := anySpec(r, i%3 == 0)
		s := mustSpec(t, text, "UTC")
		words, ok := strings.CutSuffix(s.words(), " (UTC)")
		require.True(t, ok)
		require.Equal(t, s.sets, readWords(t, words), "%s: %s", text, words)
		if !s.unrestricted(atDay) || !s.unrestricted(atWeekday) {
			require.NotContains(t, words, "every day", text)
		}
		if !s.unrestricted(atHour) && !strings.Contains(words, " hours ") {
			require.Regexp(t, clockOrHour, words, text)
		}
	}
}

var (
	matchers    = map[string]*regexp.Regexp{}
	clockOrHour = regexp.MustCompile(`\d\d:\d\d|hour \d`)
	dayPart     = regexp.MustCompile(`, (on|in|[A-Z]\w+day) `)
)

func matcher(pattern string) *regexp.Regexp {
	if matchers[pattern] == nil {
		matchers[pattern] = regexp.MustCompile("^" + pattern + "$")
	}
	return matchers[pattern]
}

// readWords is a reader of Describe's English.
func readWords(t *testing.T, words string) (sets [fieldCount]uint64) {
	t.Helper()
	for i := range fields {
		sets[i] = fields[i].all()
	}
	clocks := matcher(`(.*?),? at ((?:\d\d:\d\d(?::\d\d)?(?:, | and |$))+)`).FindStringSubmatch(words)
	if clocks != nil {
		readDays(t, strings.TrimSpace(strings.TrimPrefix(clocks[1], "every day")), &sets)
		sets[atHour], sets[atMinute], sets[atSecond] = 0, 0, 0
		for _, clock := range split(clocks[2]) {
			addClock(t, clock, &sets)
		}
		return sets
	}
	pattern, days := words, ""
	if cut := dayPart.FindStringIndex(words); cut != nil {
		pattern, days = words[:cut[0]], words[cut[0]+2:]
	}
	readDays(t, days, &sets)
	readPattern(t, pattern, &sets)
	return sets
}

func addClock(t *testing.T, clock string, sets *[fieldCount]uint64) {
	t.Helper()
	moment, err := time.Parse("15:04:05", (clock + ":00")[:8])
	require.NoError(t, err)
	sets[atHour] |= 1 << moment.Hour()
	sets[atMinute] |= 1 << moment.Minute()
	sets[atSecond] |= 1 << moment.Second()
}

func split(list string) []string {
	return strings.Split(strings.ReplaceAll(list, " and ", ", "), ", ")
}

// readList takes "1, 4 to 6 and 9", or the like with names. From Saturday it
// goes on to Sunday.
func readList(list string, number func(string) int) (set uint64) {
	for _, item := range split(list) {
		first, last, ranged := strings.Cut(item, " to ")
		v := number(first)
		set |= 1 << v
		for ranged && v != number(last) {
			if v++; v == 7 && strings.HasSuffix(last, "day") {
				v = 0
			}
			set |= 1 << v
		}
	}
	return set
}

func readDays(t *testing.T, words string, sets *[fieldCount]uint64) {
	t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	month := func(s string) int {
		at, err := time.Parse("January", s)
		require.NoError(t, err)
		return int(at.Month())
	}
	weekday := func(s string) int {
		i := slices.Index(strings.Fields("Sunday Monday Tuesday Wednesday Thursday Friday Saturday"), s)
		require.GreaterOrEqual(t, i, 0, s)
		return i
	}
	match := func(pattern string) []string {
		return matcher(pattern).FindStringSubmatch(words)
	}
	const weekdays = `((?:[A-Z]\w+day|, | and | to )+)`
	const months = `((?:January|February|March|April|May|June|July|August|September|October|November|December|, | and | to )+)`
	if m := match(`(?:in ` + months + `, )?on days? ([0-9a-z, ]+) of the month or on ` + weekdays); m != nil {
		if m[1] != "" {
			sets[atMonth] = readList(m[1], month)
		}
		sets[atDay], sets[atWeekday] = readList(m[2], number), readList(m[3], weekday)
	} else if m := match(`on days? ([0-9a-z, ]+) of (?:the month|` + months + `)`); m != nil {
		sets[atDay] = readList(m[1], number)
		if m[2] != "" {
			sets[atMonth] = readList(m[2], month)
		}
	} else if m := match(`in ` + months); m != nil {
		sets[atMonth] = readList(m[1], month)
	} else if m := match(`(?:on )?` + weekdays + `(?: in ` + months + `)?`); m != nil {
		sets[atWeekday] = readList(m[1], weekday)
		if m[2] != "" {
			sets[atMonth] = readList(m[2], month)
		}
	} else {
		require.Empty(t, words)
	}
}

func readPattern(t *testing.T, words string, sets *[fieldCount]uint64) {
	t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		require.NoError(t, err, words)
		return n
	}
	match := func(pattern string) []string {
		return matcher(pattern).FindStringSubmatch(words)
	}
	hours := func(m []string) uint64 { return span(number(m[0]), number(m[1]), 1) }
	if m := match(`every (\d+) hours from (\S+)`); m != nil {
		sets[atHour], sets[atMinute], sets[atSecond] = 0, 0, 0
		addClock(t, m[2], sets)
		for i := range 24 / number(m[1]) {
			sets[atHour] |= 1 << ((number(m[2][:2]) + i*number(m[1])) % 24)
		}
		return
	}
	if m := match(`every hour(?: from (\d\d):00 to (\d\d):00)?`); m != nil {
		sets[atMinute], sets[atSecond] = 1, 1
		if m[1] != "" {
			sets[atHour] = hours(m[1:])
		}
		return
	}

	if m := match(`(.*?)(?: of every hour)? from (\d\d):00(?::00)? to (\d\d):59(?::59)?`); m != nil {
		sets[atHour], words = hours(m[2:]), m[1]
	} else if m := match(`(.*) (?:of hour|of the hours|in the hours) (.*)`); m != nil {
		sets[atHour], words = readList(m[2], number), m[1]
	} else {
		words = strings.TrimSuffix(words, " of every hour")
	}

	if m := match(`(.*) (?:in|of) minutes? (.*)`); m != nil {
		sets[atMinute], words = readList(m[2], number), m[1]
	}
	words = strings.TrimSuffix(words, " of every minute")
	if m := match(`at (second|minute)s? (.*)`); m != nil {
		set := readList(m[2], number)
		if m[1] == "second" {
			sets[atSecond] = set
		} else {
			sets[atSecond], sets[atMinute] = 1, set
		}
		return
	}
	m := match(`every (?:(\d+) )?(second|minute)s?`)
	require.NotNil(t, m, words)
	set := span(0, 59, 1)
	if m[1] != "" {
		set = span(0, 59, number(m[1]))
	}
	if m[2] == "second" {
		sets[atSecond] = set
	} else {
		sets[atSecond], sets[atMinute] = 1, set
	}
}
