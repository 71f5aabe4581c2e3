package stint

import (
	"time"

	"github.com/robfig/cron/v3"
)

// robfig/cron is the parser and the calendar that most Go programs know, and
// it is used for these two alone, through the one function below. Its v3.0.1
// cannot be handed what a user wrote:
//
//   - TZ= without a space after the zone's name panics, and without a name it
//     is UTC;
//   - @every 0s, @every -1h and @every 1ns all run every second;
//   - steps that do nothing (*/70), halves of ranges (*-5) and empty lists (a
//     lone comma) are taken in silence, and 7 for Sunday is refused;
//   - Next loses the day whose 02:30 a clock change skips, runs a time that
//     comes twice twice, and gives up after five years, so before a 29
//     February around 2100;
//   - its runner keeps schedules in memory, knows no missed run and follows
//     jumps of the wall clock.
//
// So spec_parse.go reads the user's text and writes a plain one, of lists and
// stars; robfig runs it in UTC, where no clock changes; spec.go puts the result
// on a zone's clock. The queue's committer takes the place of the runner.

var cronParser = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// cronSchedule reads six fields, the seconds first. Next takes and gives times
// in UTC, and the zero time when the next five calendar years have none.
func cronSchedule(canonical string) (interface{ Next(time.Time) time.Time }, error) {
	return cronParser.Parse("CRON_TZ=UTC " + canonical)
}
