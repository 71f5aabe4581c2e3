package dashboard

import (
	"cmp"
	"fmt"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// runningSheet lists the jobs at work.
func runningSheet(list []wire.Job) *sheet {
	s := &sheet{Caption: "Running jobs, oldest first", Hidden: true, Head: columns("Job", "Queue", "Since")}
	for _, job := range list {
		s.add(runningJob(&job), words(job.Queue), timeCell(job.StartedAt))
	}
	return s
}

func taskSheet(list []wire.Task) *sheet {
	s := &sheet{Caption: "Tasks, newest first", Hidden: true, Head: columns("Task", "By", "Begun", "State")}
	for _, task := range list {
		s.add(link("tasks/"+task.ID, capital(task.Verb)+" "+task.Target), words(task.By), timeCell(task.StartedAt), taskState(&task))
	}
	return s
}

func taskState(task *wire.Task) cell {
	switch {
	case task.EndedAt.IsZero():
		return cell{{Meter: &meter{Part: task.Done, Whole: task.Total, Text: "progress", Progress: true}}}
	case task.Error != "":
		return cell{}.badge("bad", "failed").and(part{Text: task.Error})
	}
	return words(task.Note)
}

// startSheet lists the processes that worked the file.
func startSheet(list []stint.Start) *sheet {
	s := &sheet{Caption: "Processes that worked the file, newest first", Hidden: true, Head: columns("Started", "Ended", "Recovered", "Version", "Process")}
	for _, start := range list {
		ended := timeCell(start.Ended)
		switch {
		case start.Crashed:
			ended = cell{}.badge("bad", "crashed")
		case start.Ended.IsZero():
			ended = cell{}.badge("good", "running")
		}
		recovered := plural(start.Recovered, "job", "jobs") + " after an unclean stop"
		s.add(timeCell(start.At), ended, orNone(start.Recovered > 0, recovered), cell{{Text: cmp.Or(start.Version, "–"), Class: "mono"}}, words(fmt.Sprintf("%d on %s", start.PID, start.Host)))
	}
	return s
}

func quarantineSheet(list []stint.Quarantined) *sheet {
	s := &sheet{Caption: "Records in quarantine", Hidden: true, Head: columns("Job", "Set aside", "Why", "")}
	for _, one := range list {
		id := one.ID.String()
		remove := &form{Role: "admin", Action: "jobs/" + id + "/delete", Buttons: []button{
			{Text: "Delete", Label: "Delete " + id, Class: "danger", Ask: "Delete the record of job " + id + " for good?"},
		}}
		s.add(words(id), timeCell(one.At), words(one.Reason), remove.in())
	}
	return s
}

// actionSheet says who did what.
func actionSheet(list []stint.Action) *sheet {
	s := &sheet{Caption: "Actions, newest first", Hidden: true, Head: columns("When", "Who", "What", "Note")}
	for _, a := range list {
		s.add(timeCell(a.At), words(a.By), words(a.Verb+" "+a.Target), words(a.Note))
	}
	return s
}
