package stint

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSpecsThatMakeSense(t *testing.T) {
	t.Parallel()
	for text, canonical := range map[string]string{
		"* * * * *":                    "0 * * * * *",
		"*/1 0-23 1-31 1-12 *":         "0 * * * * *",
		" 0\t3  * * * ":                "0 0 3 * * *",
		"30 0 3 * * *":                 "30 0 3 * * *",
		"*/20 * * * * *":               "0,20,40 * * * * *",
		"*/60 */24 * * *":              "0 0 0 * * *",
		"*/15 9-17/4 * * *":            "0 0,15,30,45 9,13,17 * * *",
		"50/4 20/3 28/2 11/1 5/1":      "0 50,54,58 20,23 28,30 11,12 5,6",
		"5,10-12,*/30 * * * *":         "0 0,5,10,11,12,30 * * * *",
		"05 08 09 * *":                 "0 5 8 9 * *",
		"0 0 ? * ?":                    "0 0 0 * * *",
		"0 0 13 * ?":                   "0 0 0 13 * *",
		"0 0 ? * 5":                    "0 0 0 * * 5",
		"0 0 13 * FRI":                 "0 0 0 13 * 5",
		"0 0 1-31/2 * MON":             "0 0 0 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 * 1",
		"0 0 */10 * *":                 "0 0 0 1,11,21,31 * *",
		"0 0 1 jan,Apr,JUL-aug *":      "0 0 0 1 1,4,7,8 *",
		"0 0 1 JAN-DEC/3 *":            "0 0 0 1 1,4,7,10 *",
		"0 0 * * sun,Tue-THU":          "0 0 0 * * 0,2,3,4",
		"0 0 * * 7":                    "0 0 0 * * 0",
		"0 0 * * 5-7":                  "0 0 0 * * 0,5,6",
		"0 0 * * 1,7":                  "0 0 0 * * 0,1",
		"0 0 * * 7,0":                  "0 0 0 * * 0",
		"0 0 * * 1-7":                  "0 0 0 * * *",
		"0 0 * * 1-7/2":                "0 0 0 * * 0,1,3,5",
		"0 0 * * 7-7":                  "0 0 0 * * 0",
		"0 0 * * FRI-SUN":              "0 0 0 * * 0,5,6",
		"0 0 * * SUN-SUN":              "0 0 0 * * 0",
		"0 0 * * SUN-TUE":              "0 0 0 * * 0,1,2",
		"0 0 29 2 *":                   "0 0 0 29 2 *",
		"0 0 30,31 2,4 *":              "0 0 0 30,31 2,4 *",
		"0 0 31 2 FRI":                 "0 0 0 31 2 5", // on Fridays in February
		"@yearly":                      "0 0 0 1 1 *",
		"@annually":                    "0 0 0 1 1 *",
		"@monthly":                     "0 0 0 1 * *",
		"@weekly":                      "0 0 0 * * 0",
		"@daily":                       "0 0 0 * * *",
		"@Midnight":                    "0 0 0 * * *",
		"@hourly":                      "0 0 * * * *",
		"TZ=UTC 0 3 * * *":             "0 0 3 * * *",
		"CRON_TZ=Europe/Berlin @daily": "0 0 0 * * *",
		"  TZ=Local \t 0 3 * * * ":     "0 0 3 * * *",
		"TZ=Etc/GMT+5    0 3 * * *":    "0 0 3 * * *",
	} {
		s := mustSpec(t, text, "")
		require.Equal(t, canonical, s.canonical(), text)
		require.Zero(t, s.every, text)
		again := mustSpec(t, s.text(), s.zoneName())
		require.Equal(t, s.canonical(), again.canonical(), text)
		require.Equal(t, s.text(), again.text(), text)
		require.Equal(t, s.wild(), again.wild(), text)
	}
	for text, period := range map[string]int64{
		"@every 1s": 1, "@every 10m": 600, "@every  1h30m ": 5400, "@every 0.5h": 1800, "@EVERY 87600h": 315_360_000,
		"TZ=Asia/Tokyo @every 24h": 86_400, "@every 60000ms": 60,
	} {
		s := mustSpec(t, text, "")
		require.Equal(t, period, s.every, text)
		require.True(t, s.wild())
		require.Equal(t, period, mustSpec(t, s.text(), s.zoneName()).every, text)
	}
}

func TestSpecsThatMakeNone(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("1,", 500) + "1 * * * *"
	cases := map[string]string{ // what the error must say
		"":                             "empty",
		" \t ":                         "empty",
		"* * * *":                      "4 fields",
		"* * * * * * *":                "7 fields",
		"0 3 * * * 2026 x y":           "8 fields",
		"*/70 * * * *":                 "the step is 70, and here it must be from 1 to 60",
		"* */25 * * *":                 "from 1 to 24",
		"* * */32 * *":                 "from 1 to 31",
		"* * * */13 *":                 "from 1 to 12",
		"* * * * */8":                  "from 1 to 7",
		"10-20/12 * * * *":             "from 1 to 11",
		"50/15 * * * *":                "from 1 to 10",
		"*/0 * * * *":                  "the step is 0",
		"*/ * * * *":                   "the step",
		"*/-5 * * * *":                 "the step",
		"*/2/3 * * * *":                "the step",
		"*/x * * * *":                  "the step",
		"?/2 * * * *":                  "minute",
		"* * ?/2 * *":                  "day-of-month",
		"* * ?,3 * *":                  "day-of-month",
		"*-5 * * * *":                  "minute",
		"* *-5 * * *":                  "hour",
		"5-* * * * *":                  "minute",
		"5- * * * *":                   "minute",
		"-5 * * * *":                   "minute",
		"+5 * * * *":                   "minute",
		"1-2-3 * * * *":                "minute",
		"1.5 * * * *":                  "minute",
		"0x5 * * * *":                  "minute",
		"** * * * *":                   "minute",
		", * * * *":                    "minute",
		"1,,2 * * * *":                 "minute",
		"1, * * * *":                   "minute",
		"*,5 * * * *":                  "no effect",
		"5,*/1 * * * *":                "no effect",
		"60 * * * *":                   `the minute field is "60"`,
		"60 * * * * *":                 `the second field is "60"`,
		"* 24 * * *":                   "0 to 23",
		"* * 0 * *":                    "1 to 31",
		"* * 32 * *":                   "1 to 31",
		"* * * 0 *":                    "1 to 12",
		"* * * 13 *":                   "1 to 12",
		"* * * * 8":                    "0 to 7",
		"99999999999999999999 * * * *": "too large",
		"0 22-2 * * *":                 `write "22-23,0-2"`,
		"50-10 * * * *":                `write "50-59,0-10"`,
		"0 23-0 * * *":                 `write "23,0"`,
		"0 0 * NOV-FEB *":              `write "11-12,1-2"`,
		"0 0 * * 5-1":                  `write "5-6,0-1"`,
		"0 0 * * 5-0":                  `write "5-7"`,
		"0 0 * * SAT-MON":              `write "6,0-1"`,
		"0 0 * * 7/2":                  "the step is 2",
		"0 0 * * 8-9":                  "out of range",
		"0 0 * * MONDAY":               "MON-FRI",
		"MON * * * *":                  "minute",
		"0 0 * MON *":                  "month",
		"0 0 L * *":                    "L, W and #",
		"0 0 15W * *":                  "L, W and #",
		"0 0 * * 5#2":                  "L, W and #",
		"0 0 * * 5L":                   "L, W and #",
		"H * * * *":                    "minute",
		"? * * * *":                    `the minute field is "?"`,
		"* ? * * *":                    `the hour field is "?"`,
		"* * * ? *":                    `the month field is "?"`,
		"? * * * * *":                  `the second field is "?"`,
		"@reboot":                      "before Run",
		"@":                            "@daily",
		"@dayly":                       "@daily",
		"@daily 3":                     "@daily",
		"5x":                           "has 1 field; allowed",
		"@daily @hourly":               "@daily",
		"@every":                       "@every 10m",
		"@every10m":                    "@every 10m",
		"@every 10":                    "@every 10m",
		"@every 1h 30m":                "@every 1h30m",
		"@every 0s":                    "from 1s",
		"@every -1h":                   "from 1s",
		"@every 1ns":                   "from 1s",
		"@every 999ms":                 "from 1s",
		"@every 1.5s":                  "whole seconds",
		"@every 1h0.1s":                "whole seconds",
		"@every 87601h":                "87600h",
		"@every 9999999h":              "87600h",
		"@every 1d":                    "no duration",
		"0 0 31 2 *":                   "never",
		"0 0 30 2 ?":                   "never",
		"0 0 31 2,4,6,9,11 *":          "never",
		"0 0 */2 * MON":                "both",
		"0 0 13 * */2":                 "both",
		"0 0 1-7 * */7":                "both",
		"0 0 */2 * */2":                "both",
		"0 0 13 * 0-6":                 "no effect",
		"0 0 13 * MON-SUN":             "no effect",
		"0 0 1-31 * FRI":               "no effect",
		"TZ=0":                         "empty",
		"TZ=":                          "names no zone",
		"CRON_TZ=UTC":                  "empty",
		"TZ=TZ=TZ=":                    "empty",
		"CRON_TZ= * * * * *":           "names no zone",
		"TZ= UTC * * * * *":            "names no zone",
		"TZ=UTC TZ=UTC * * * * *":      "second zone",
		"TZ=UTC CRON_TZ=UTC @daily":    "second zone",
		"TZ=Europe/Berln 0 3 * * *":    `"time/tzdata"`,
		"TZ=../../etc/passwd @daily":   `"time/tzdata"`,
		"TZ=/etc/localtime @daily":     `"time/tzdata"`,
		"TZ=Europe @daily":             `"time/tzdata"`,
		"tz=UTC 0 3 * * *":             `the second field is "tz=UTC"`,
		"0 3 * * * TZ=UTC":             "day-of-week",
		"0 3 * *\n*":                   `'\n'`,
		"0 3 * * *\x00":                `'\x00'`,
		"0 3 * * *\x7f":                `'\x7f'`,
		"0 3 * * \xff":                 `'\ufffd'`,
		"0\u00a03 * * *":               `'\u00a0'`,
		"٣ * * * *":                    `'\u0663'`,
		"0 3 * * *\r\n":                `'\r'`,
		long:                           "1009 bytes",
	}
	for text, says := range cases {
		_, err := parseSpec(text, "")
		require.ErrorIs(t, err, ErrBadSpec, "%q", text)
		require.ErrorContains(t, err, says, "%q", text)
		require.True(t, strings.HasPrefix(err.Error(), "stint: bad schedule: "), err.Error())
		require.Less(t, len(err.Error()), 500, "%q", text)
		require.Regexp(t, "allowed|write", err.Error(), "%q", text)
	}
}

func TestZonesOfSpecs(t *testing.T) {
	for _, c := range []struct{ text, zone, name string }{
		{"0 3 * * *", "", "Local"},
		{"0 3 * * *", "Local", "Local"},
		{"TZ=Local 0 3 * * *", "", "Local"},
		{"0 3 * * *", "UTC", "UTC"},
		{"0 3 * * *", "Europe/Berlin", "Europe/Berlin"},
		{"TZ=Asia/Tokyo 0 3 * * *", "", "Asia/Tokyo"},
		{"CRON_TZ=Asia/Tokyo 0 3 * * *", "Asia/Tokyo", "Asia/Tokyo"},
	} {
		s := mustSpec(t, c.text, c.zone)
		require.Equal(t, c.name, s.zoneName())
		require.Equal(t, "0 3 * * *", s.text())
		next := s.next(at(t, "2026-01-01T00:00:00Z"), time.Time{})
		require.Equal(t, c.name, next.Location().String())
		require.Equal(t, 3, next.Hour())
	}
	checkLocalZone(t)
	for _, c := range []struct{ text, zone, says string }{
		{"TZ=Asia/Tokyo 0 3 * * *", "Europe/Berlin", "contradicts"},
		{"TZ=Local 0 3 * * *", "UTC", "contradicts"},
		{"0 3 * * *", "Nowhere/Else", "time/tzdata"},
		{"0 3 * * *", " ", "time/tzdata"},
		{"0 3 * * *", "Europe/Berlin\n", `'\n'`},
		{"0 3 * * *", strings.Repeat("x", 2000), "2000 bytes"},
		{"", "UTC", "empty"},
	} {
		_, err := parseSpec(c.text, c.zone)
		require.ErrorIs(t, err, ErrBadSpec)
		require.ErrorContains(t, err, c.says)
		require.Less(t, len(err.Error()), 500)
	}
}

// checkLocalZone: programs set time.Local, and a zone that was not named stays
// one that was not.
func checkLocalZone(t *testing.T) {
	t.Helper()
	defer func(was *time.Location) { time.Local = was }(time.Local)
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for _, local := range []*time.Location{berlin, time.UTC} {
		time.Local = local
		s := mustSpec(t, "0 3 * * *", "")
		require.Equal(t, "Local", s.zoneName())
		require.Equal(t, "every day at 03:00", s.words())
		require.Equal(t, local, s.next(time.Time{}, time.Time{}).Location())
		require.Equal(t, "UTC", mustSpec(t, "0 3 * * *", "UTC").zoneName())
	}
}

func TestWhichSpecsFollowRealTime(t *testing.T) {
	t.Parallel()
	for text, wild := range map[string]bool{
		"* * * * *": true, "5 * * * *": true, "0 */2 * * *": true, "0 */5 * * *": true, "0 0-23 * * *": true,
		"0 */6,*/4 * * *": true, "@hourly": true, "@every 24h": true, "0 * 13 * FRI": true, "0 */12 * * *": true,
		"0 3 * * *": false, "0 0-22 * * *": false, "0 */6,9 * * *": false, "0 9,*/6 * * *": false, "0 0-23/2 * * *": false,
		"*/5 9-17 * * *": false, "@daily": false, "0 */24 * * *": false,
	} {
		require.Equal(t, wild, mustSpec(t, text, "").wild(), text)
	}
}
