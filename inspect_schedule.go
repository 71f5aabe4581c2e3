package stint

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ScheduleInfo describes a schedule as the file knows it.
type ScheduleInfo struct {
	Name  string
	Spec  string // without the zone
	Zone  string // "Local" is that of the machine
	Words string // the spec in plain words; see Describe
	Kind  string // of the jobs

	Next    time.Time // the occurrence to come; zero if there is none, or none for this program
	Last    time.Time // the occurrence of the last run, zero before the first
	LastJob ID

	PausedBy    string
	PausedSince time.Time // zero unless it is paused
	Orphaned    bool      // this program has not registered it, so it does not fire
	Waiting     int       // runs that wait for the end of the one before

	Missed  MissedPolicy
	Overlap OverlapPolicy
	Jitter  time.Duration
	Starts  time.Time // zero without Starting
	Until   time.Time // zero without Until

	Runs []ScheduleRun // the last 20 entries of its history, oldest first
}

// ScheduleRun is one entry in the history of a schedule: a run, or why there
// was none.
type ScheduleRun struct {
	At      time.Time // the occurrence; for several that were skipped the first
	Job     ID        // 0 for an entry without a run
	State   State     // Ready while the run is unfinished, then Completed or Dead; 0 without a run, or when its job was deleted
	Missed  int       // earlier occurrences that the run stands for, counted up to 10,000
	Skipped int       // occurrences that were not run, counted up to 10,000
	Reason  string    // why it was skipped, is dead, or what happened to the schedule
	EndedAt time.Time // zero while the run is unfinished
}

// Schedules describes all schedules of the file, by name. With those that can
// be read it may return ErrCorrupt, which names the others.
func (q *Queue) Schedules() ([]ScheduleInfo, error) {
	var list []ScheduleInfo
	var damage []error
	err := q.store.view(func(tx *bolt.Tx) error {
		return newReader(q, tx).bucket(bucketSchedules).ForEach(func(k, v []byte) error {
			l, err := q.vault.readLedger(string(k), v)
			if err != nil {
				damage = append(damage, err)
				return nil
			}
			list = append(list, q.scheduleInfo(string(k), l))
			return nil
		})
	})
	return list, q.readError(errors.Join(append(damage, err)...))
}

// Upcoming lists the next n occurrences of a schedule, at most 1000, as if it
// were not paused. ErrNoSchedule if the file knows none of that name.
func (q *Queue) Upcoming(name string, n int) ([]time.Time, error) {
	var l *ledger
	err := q.store.view(func(tx *bolt.Tx) (err error) {
		v := newReader(q, tx).bucket(bucketSchedules).Get([]byte(name))
		if v == nil {
			return fmt.Errorf("%w: %q", ErrNoSchedule, name)
		}
		l, err = q.vault.readLedger(name, v)
		return err
	})
	if err != nil {
		return nil, q.readError(err)
	}
	spec, err := parseSpec(l.spec, l.zone)
	if err != nil {
		return nil, err
	}
	s := &schedule{spec: spec, starts: l.starts, until: l.until}
	var times []time.Time
	for now := max(micros(time.Now()), l.next-1); len(times) < min(n, maxWaiting); {
		if now = s.first(now, l.anchor); now == 0 {
			break
		}
		times = append(times, fromMicros(now).In(spec.zone))
	}
	return times, nil
}

func (q *Queue) scheduleInfo(name string, l *ledger) ScheduleInfo {
	info := ScheduleInfo{
		Name: name, Spec: l.spec, Zone: l.zone, Kind: l.kind,
		Last: fromMicros(l.ran), LastJob: ID(l.job),
		PausedBy: l.pausedBy, PausedSince: fromMicros(l.pausedAt),
		Orphaned: q.scheduleOf(name) == nil, Waiting: len(l.waiting),
		Missed: l.missed, Overlap: l.overlap, Jitter: l.jitter,
		Starts: fromMicros(l.starts), Until: fromMicros(l.until), Runs: l.runs,
	}
	if !info.Orphaned && l.pausedAt == 0 {
		info.Next = fromMicros(l.next)
	}
	spec, err := parseSpec(l.spec, l.zone)
	if err != nil {
		info.Words = err.Error() // a zone that this machine does not know
		return info
	}
	info.Words = spec.words()
	for _, at := range []*time.Time{&info.Next, &info.Last} {
		if !at.IsZero() {
			*at = at.In(spec.zone)
		}
	}
	return info
}
