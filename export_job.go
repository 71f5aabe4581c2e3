package stint

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// jobs writes a line for each job. What cannot be read goes behind the others,
// as if it had been set aside.
func (e *exporter) jobs() error {
	var unreadable []quarantinedLine
	lines := &jobLines{exporter: e, due: e.bucket(bucketDue).Cursor(), places: e.bucket(bucketPlaces).Cursor()}
	err := e.bucket(bucketJobs).ForEach(func(k, raw []byte) error {
		id := keyID(k)
		rec := &record{}
		err := e.vault.decode(rec, id, raw, lines.last)
		if err == nil {
			err = e.vault.open(id, rec)
		}
		if errors.Is(err, ErrWrongKey) {
			return err // it would be lost
		}
		if err != nil {
			unreadable = append(unreadable, quarantinedLine{Line: lineQuarantined, ID: id, At: e.at, Reason: err.Error(), Record: raw})
			return nil
		}
		lines.last = rec.key()
		if err := e.line(lines.of(id, rec)); err != nil {
			return err
		}
		if e.done++; e.done%1000 == 0 {
			e.progress(Progress{Done: e.done, Total: max(e.total, e.done), Text: "writing jobs"})
		}
		return nil
	})
	for _, line := range unreadable {
		if err == nil {
			err = e.line(line)
		}
	}
	return err
}

// jobLines makes the lines of jobs.
type jobLines struct {
	*exporter
	due    *bolt.Cursor
	places *bolt.Cursor
	last   laneKey
}

func (e *jobLines) of(id uint64, r *record) *jobLine {
	line := &jobLine{
		Line: lineJob, ID: id, State: e.state(id, r).String(),
		Queue: r.queue, Kind: r.kind, Priority: r.priority, Args: value(r.args), Tags: r.tags,
		Enqueued: stamp(r.created), RunAt: stamp(r.runAt), Expires: stamp(r.expires), Finished: stamp(r.finished),
		MaxAttempts: r.maxAttempts, Failures: r.failures, Snoozes: r.snoozes, Crashes: r.crashes,
		Cancelled: r.cancelled, Reason: r.reason,
		Role: word(roleWords, int(r.role)), Batch: r.batch,
	}
	_, line.Suspect = e.suspects[id]
	if r.place != nil {
		line.Unique = &uniqueLine{Place: e.vault.showPlace(bytes.Clone(r.place)), Mode: word(placeModeWords, int(r.placeMode)), Until: stamp(r.placeUntil), Held: e.holds(id, r.place)}
	}
	if o := r.origin; o != nil {
		line.Origin = &occurrenceLine{Schedule: o.schedule, At: stamp(o.at), Missed: o.missed, Since: stamp(o.since)}
	}
	for _, a := range r.attempts {
		line.Attempts = append(line.Attempts, attemptLine{
			Number: a.Number, Started: stamp(micros(a.StartedAt)), Duration: lasting(a.Duration),
			Error: a.Error, Stack: a.Stack, Log: a.Log,
		})
	}
	if s := r.stash; s != nil {
		for _, step := range s.steps {
			line.Steps = append(line.Steps, stepLine{Name: step.name, Result: present(step.result)})
		}
		line.Checkpoint, line.Result = present(s.cursor), present(s.result)
		line.Done, line.Total, line.Text = s.progress.Done, s.progress.Total, s.progress.Text
		line.Forgiven, line.Log = s.forgiven, s.log
	}
	return line
}

// present is nil for nothing.
func present(b []byte) value {
	if len(b) == 0 {
		return nil
	}
	return b
}

// state is where the job is, which the indexes know better than the record.
func (e *jobLines) state(id uint64, r *record) State {
	if _, running := e.running[id]; running && unfinished(r.state) {
		return Running
	}
	if r.state == Scheduled || r.state == Retrying {
		key := appendDue(nil, r.runAt, id, dueDelay)
		if k, _ := e.due.Seek(key); !bytes.Equal(k, key) {
			return Ready
		}
	}
	return r.state
}

// holds says whether a job has the place, and not one that came after it.
func (e *jobLines) holds(id uint64, place []byte) bool {
	k, sealed := e.places.Seek(place)
	v, _ := openValue(k, sealed)
	return bytes.Equal(k, place) && len(v) == 17 && keyID(v[1:]) == id
}

// record is the job of a line, and the state it is in.
func (line *jobLine) record() (r *record, state State, err error) {
	r = &record{
		priority: line.Priority, created: int64(line.Enqueued), queue: line.Queue, kind: line.Kind, args: line.Args, tags: line.Tags,
		runAt: int64(line.RunAt), expires: int64(line.Expires), finished: int64(line.Finished),
		maxAttempts: line.MaxAttempts, failures: line.Failures, snoozes: line.Snoozes, crashes: line.Crashes,
		cancelled: line.Cancelled, reason: line.Reason, batch: line.Batch,
	}
	if err = line.check(); err != nil {
		return nil, 0, err
	}
	if state, err = stateNumber("state", line.State); err != nil {
		return nil, 0, err
	}
	if state == Running {
		state = Ready // nobody has it in the new file
	}
	r.state = state
	n, err := wordNumber("role", roleWords, line.Role)
	if err != nil {
		return nil, 0, err
	}
	if r.role = role(n); r.role == batchPlanner && r.batch != line.ID || (r.role == 0) != (r.batch == 0) {
		return nil, 0, fmt.Errorf("field %q: a job is in a batch and has a role there, or neither; the id of a planner is that of its batch", "batch")
	}
	if u := line.Unique; u != nil {
		mode, err := wordNumber("unique.mode", placeModeWords, u.Mode)
		if err != nil {
			return nil, 0, err
		}
		r.place, r.placeMode, r.placeUntil = u.Place, placeMode(mode), int64(u.Until)
	}
	if o := line.Origin; o != nil {
		r.origin = &origin{schedule: o.Schedule, at: int64(o.At), missed: o.Missed, since: int64(o.Since)}
	}
	for _, a := range line.Attempts {
		r.addAttempt(Attempt{
			Number: a.Number, StartedAt: fromMicros(int64(a.Started)), Duration: time.Duration(a.Duration),
			Error: a.Error, Stack: a.Stack, Log: a.Log,
		})
	}
	r.stash = line.stash()
	return r, state, nil
}

func (line *jobLine) stash() *stash {
	s := &stash{
		cursor: line.Checkpoint, result: line.Result, forgiven: line.Forgiven, log: line.Log,
		progress: Progress{Done: line.Done, Total: line.Total, Text: line.Text},
	}
	for _, at := range line.Steps {
		s.steps = append(s.steps, step{name: at.Name, result: at.Result})
	}
	if s.empty() && s.forgiven == 0 {
		return nil
	}
	return s
}

// check looks at what the queue relies on.
func (line *jobLine) check() error {
	job := NewJob{Queue: line.Queue, Priority: int(line.Priority), Tags: line.Tags}
	if err := checkName("kind", line.Kind); err != nil {
		return fmt.Errorf("field %q: %w", "kind", err)
	}
	if err := job.check(); err != nil {
		return fmt.Errorf("fields of the job: %w", err)
	}
	delayed := line.State == Scheduled.String() || line.State == Retrying.String()
	ended := line.State == Completed.String() || line.State == Dead.String()
	switch u := line.Unique; {
	case line.Args == nil:
		return fmt.Errorf("field %q is missing", "args")
	case len(line.Args) > hardMaxArgsSize:
		return fmt.Errorf("field %q: %d bytes, at most %d are possible", "args", len(line.Args), hardMaxArgsSize)
	case line.Enqueued < 0 || line.RunAt < 0 || line.Expires < 0 || line.Finished < 0:
		return fmt.Errorf("fields of times: none may be before 1970")
	case delayed && line.RunAt == 0:
		return fmt.Errorf("field %q is missing, the job is %s", "run_at", line.State)
	case ended && line.Finished == 0:
		return fmt.Errorf("field %q is missing, the job is %s", "finished", line.State)
	case u != nil && len(u.Place) != placeSize:
		return fmt.Errorf("field %q: it must have %d bytes", "unique.place", placeSize)
	case u != nil && u.Until < 0:
		return fmt.Errorf("field %q: it must not be before 1970", "unique.until")
	case u != nil && u.Held && ended && u.Mode != placeModeWords[forPeriod]:
		return fmt.Errorf("field %q: the job is %s and cannot hold its place", "unique.held", line.State)
	}
	return nil
}
