package dashboard

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stintq/stint"
)

var scheduleRoutes = []route{
	{method: "GET", path: "/schedules", role: View, show: (*dashboard).schedules},
	{method: "GET", path: "/schedule", role: View, show: (*dashboard).schedule},
	{method: "POST", path: "/schedules/run", role: Operate, act: (*dashboard).runSchedule},
	{method: "POST", path: "/schedules/pause", role: Operate, act: (*dashboard).pauseSchedule},
	{method: "POST", path: "/schedules/resume", role: Operate, act: (*dashboard).resumeSchedule},
	{method: "POST", path: "/schedules/backfill", role: Operate, act: (*dashboard).backfill},
	{method: "POST", path: "/schedules/delete", role: Admin, act: (*dashboard).deleteSchedule},
}

func (d *dashboard) schedules(w http.ResponseWriter, r *request) error {
	list, err := d.allSchedules()
	problem := ""
	switch {
	case err != nil && len(list) == 0:
		return err
	case err != nil: // one is damaged, which must not hide the others
		problem = sentence(err)
	}
	rows, turns := turn(r, list)
	s := &sheet{Caption: "Schedules", Hidden: true, Head: columns("Name", "When", "Next", "Last run", "History", ""), Turns: turns}
	for _, one := range rows {
		s.add(
			link(pageOf("schedule", one.Name), one.Name).and(under(one.Kind)),
			words(one.Words).and(part{Text: one.Spec, Code: true, Class: "faint", Line: true}, remark(one.Zone)),
			nextCell(&one), timeCell(one.Last), runsCell(one.Runs), runForm(&one).in().and(part{Form: pauseForm(&one)}),
		)
	}
	return d.render(w, r, "schedules", page{Title: "Schedules", Section: "Schedules", Refresh: true}, schedulesPage{s, problem})
}

// schedulesPage is the list of schedules.
type schedulesPage struct {
	Table   *sheet
	Problem string // of those that could not be read
}

// nextCell is when a schedule runs, or why it does not.
func nextCell(s *stint.ScheduleInfo) cell {
	var c cell
	switch {
	case s.Orphaned:
		c = c.badge("", "not registered")
	case !s.PausedSince.IsZero():
		c = c.badge("", "paused").and(remark("by "+s.PausedBy), part{At: s.PausedSince, Class: "small faint"})
	case s.Next.IsZero():
		c = c.badge("", "never")
	default:
		c = timeCell(s.Next)
		if by := late(s); by > 0 {
			c = c.badge("bad", duration(by)+" late")
		}
	}
	if s.Waiting > 0 {
		c = c.badge("", plural(s.Waiting, "run waits", "runs wait"))
	}
	return c
}

// runsCell has the last runs of a schedule, the oldest first.
func runsCell(runs []stint.ScheduleRun) cell {
	if len(runs) == 0 {
		return cell{remark("has not run yet")}
	}
	return cell{{Runs: runs}}
}

// runForm runs a schedule now; nil if this program has not registered it.
func runForm(s *stint.ScheduleInfo) *form {
	if s.Orphaned {
		return nil
	}
	return scheduleForm(s, "schedules/run", button{Text: "Run now", Label: "Run now " + s.Name})
}

// pauseForm pauses a schedule, or lets it go on.
func pauseForm(s *stint.ScheduleInfo) *form {
	if s.PausedSince.IsZero() {
		return scheduleForm(s, "schedules/pause", button{Text: "Pause", Label: "Pause " + s.Name})
	}
	return scheduleForm(s, "schedules/resume", button{Text: "Resume", Label: "Resume " + s.Name, Class: "primary"})
}

func scheduleForm(s *stint.ScheduleInfo, action string, b button) *form {
	return &form{Role: "operate", Action: action, Hidden: []hidden{{"schedule", s.Name}}, Buttons: []button{b}}
}

// schedulePage is what the page of one schedule shows.
type schedulePage struct {
	stint.ScheduleInfo
	Warnings []string
	Upcoming []occurrence
	History  *sheet // newest first
	Now      cell   // when it runs next
	Forms    []*form
}

// occurrence is a time to come, in the zone of its schedule.
type occurrence struct {
	At   time.Time
	Note string // what the zone's clock does before it
}

const upcomingShown = 10

func (d *dashboard) schedule(w http.ResponseWriter, r *request) error {
	s, err := d.scheduleNamed(r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	times, err := d.q.Upcoming(s.Name, upcomingShown)
	if err != nil {
		return err
	}
	history := &sheet{Caption: "The last runs, newest first", Hidden: true, Head: columns("Occurrence", "Outcome", "Job", "Ended")}
	for _, run := range slices.Backward(s.Runs) {
		job := words("–")
		if run.Job != 0 {
			job = jobLink(uint64(run.Job), fmt.Sprint(run.Job))
		}
		history.add(words(exactTime(run.At)), words(runText(run)), job, timeCell(run.EndedAt))
	}
	forget := scheduleForm(&s, "schedules/delete", button{Text: "Delete", Class: "danger", Ask: "Forget the schedule " + s.Name + " and its history? Its jobs stay."})
	forget.Role = "admin"
	data := schedulePage{
		ScheduleInfo: s, Warnings: scheduleWarnings(s), Upcoming: occurrences(s.Zone, times), History: history,
		Now: nextCell(&s), Forms: []*form{runForm(&s), pauseForm(&s), forget},
	}
	return d.render(w, r, "schedule", page{Title: s.Name, Section: "Schedules", Refresh: true}, data)
}

// allSchedules are the schedules as they may be seen: the reason of a run may be
// the error of its job.
func (d *dashboard) allSchedules() ([]stint.ScheduleInfo, error) {
	list, err := d.q.Schedules()
	for i := range list {
		for k := range list[i].Runs {
			run := &list[i].Runs[k]
			run.Reason = d.text(list[i].Kind, run.Reason)
		}
	}
	return list, err
}

func (d *dashboard) scheduleNamed(name string) (stint.ScheduleInfo, error) {
	list, err := d.allSchedules()
	for _, s := range list {
		if s.Name == name {
			return s, nil
		}
	}
	if err != nil {
		return stint.ScheduleInfo{}, err // it may be the one that cannot be read
	}
	return stint.ScheduleInfo{}, missing("there is no schedule %q", name)
}

// occurrences notes where the zone's clock changes between two of them.
func occurrences(zone string, times []time.Time) []occurrence {
	location, err := time.LoadLocation(zone)
	if err != nil {
		location = time.UTC // the program that knows the zone is another
	}
	list := make([]occurrence, len(times))
	previous := time.Now().In(location)
	for i, at := range times {
		at = at.In(location)
		_, before := previous.Zone()
		_, after := at.Zone()
		list[i] = occurrence{At: at, Note: clockChange(after - before)}
		previous = at
	}
	return list
}

func clockChange(seconds int) string {
	switch change := time.Duration(seconds) * time.Second; {
	case change > 0:
		return "the clock is put forward by " + duration(change) + " before it"
	case change < 0:
		return "the clock is put back by " + duration(-change) + " before it"
	}
	return ""
}

// scheduleWarnings are what surprises people about schedules.
func scheduleWarnings(s stint.ScheduleInfo) (list []string) {
	if s.Orphaned {
		list = append(list, "This program has not registered it, so it does not run. If it is not needed any more, delete it.")
	} else if s.Next.IsZero() {
		list = append(list, "It will not run any more.")
	}
	if fields := strings.Fields(s.Spec); len(fields) == 5 && !strings.HasPrefix(fields[2], "*") && !strings.HasPrefix(fields[4], "*") && fields[2] != "?" && fields[4] != "?" {
		list = append(list, "Its spec names days of the month and days of the week. As with every cron, one of them is enough: "+s.Words+".")
	}
	if s.Waiting > 0 {
		list = append(list, plural(s.Waiting, "run waits", "runs wait")+" for the end of the one before.")
	}
	return list
}

// runText is what became of an occurrence.
func runText(run stint.ScheduleRun) string {
	text := "no run"
	switch {
	case run.State == stint.Ready:
		text = "under way"
	case run.State != 0:
		text = run.State.String()
	case run.Skipped > 0:
		text = plural(run.Skipped, "run", "runs") + " skipped"
	}
	if run.Reason != "" {
		text += " – " + run.Reason
	}
	if run.Missed > 0 {
		text += ", and " + plural(run.Missed, "missed one", "missed ones")
	}
	return text
}

// late is how long an occurrence is overdue.
func late(s *stint.ScheduleInfo) time.Duration {
	if s.Next.IsZero() || s.Orphaned || !s.PausedSince.IsZero() {
		return 0
	}
	return max(time.Since(s.Next.Add(s.Jitter)), 0)
}

func (d *dashboard) runSchedule(r *request) (outcome, error) {
	out := outcome{verb: "run", target: "schedule " + r.params.get("schedule")}
	id, err := d.q.RunSchedule(r.Context(), r.params.get("schedule"))
	out.note = fmt.Sprintf("job %d", id)
	out.data = map[string]uint64{"id": uint64(id)}
	return out, err
}

func (d *dashboard) pauseSchedule(r *request) (outcome, error) {
	out := outcome{verb: "pause", target: "schedule " + r.params.get("schedule"), note: r.params.get("reason")}
	return out, d.q.PauseSchedule(r.Context(), r.params.get("schedule"), r.who())
}

func (d *dashboard) resumeSchedule(r *request) (outcome, error) {
	out := outcome{verb: "resume", target: "schedule " + r.params.get("schedule")}
	return out, d.q.ResumeSchedule(r.Context(), r.params.get("schedule"))
}

func (d *dashboard) deleteSchedule(r *request) (outcome, error) {
	out := outcome{verb: "delete", target: "schedule " + r.params.get("schedule"), goTo: "schedules"}
	return out, d.q.DeleteSchedule(r.Context(), r.params.get("schedule"))
}

// backfill runs the occurrences of a stretch of time as if they had been
// missed.
func (d *dashboard) backfill(r *request) (outcome, error) {
	name := r.params.get("schedule")
	out := outcome{verb: "back-fill", target: "schedule " + name}
	s, err := d.scheduleNamed(name)
	if err != nil {
		return out, err
	}
	from, err := readTime("from", r.params.get("from"), s.Zone)
	if err != nil {
		return out, err
	}
	to, err := readTime("to", r.params.get("to"), s.Zone)
	if err != nil {
		return out, err
	}
	n, err := d.q.Backfill(r.Context(), name, from, to)
	out.note = plural(n, "run", "runs") + " from " + from.Format(time.RFC3339) + " to " + to.Format(time.RFC3339)
	out.data = map[string]int{"runs": n}
	return out, err
}

// readTime reads RFC 3339, or what a form has: the time of a zone's clock.
func readTime(name, text, zone string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		location = time.Local
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, location); err == nil {
			return at, nil
		}
	}
	return time.Time{}, bad("%s: %q is no time; write it like 2026-01-31 14:30, or with a zone like 2026-01-31T14:30:00Z", name, text)
}

// who is who does it, with why if that was said.
func (r *request) who() string {
	if reason := strings.TrimSpace(r.params.get("reason")); reason != "" {
		return r.access.User + " (" + reason + ")"
	}
	return r.access.User
}
