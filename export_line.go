package stint

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"
)

// The lines of an export. Each is a JSON object that begins with "line", the
// kind of the line. What is zero or empty is left out. The names of fields
// never change their meaning; new ones come with a new exportVersion.

const (
	exportVersion = 1

	// maxExportLine bounds a line in bytes. Args have 16 MiB at most, base64
	// makes a third more of them, and a job may have put by as much again.
	maxExportLine = 256 << 20

	// maxExportID is the last id that Check takes for one. There is room behind
	// it, and every JSON tool keeps it as it is.
	maxExportID = saneID - 1
)

// The kinds of lines, in the order in which they come.
var lineKinds = [...]string{lineHeader, lineQueue, lineSchedule, lineBatch, lineItem, lineLane, lineJob, lineQuarantined, linePlace, lineAction, lineEnd}

const (
	lineHeader      = "export"
	lineQueue       = "queue"
	lineSchedule    = "schedule"
	lineBatch       = "batch"
	lineItem        = "item"
	lineLane        = "lane"
	lineJob         = "job"
	lineQuarantined = "quarantined"
	linePlace       = "place"
	lineAction      = "action"
	lineEnd         = "end"
)

// headerLine is the first line.
type headerLine struct {
	Line      string `json:"line"`
	Version   int    `json:"version"`
	Format    int    `json:"format"` // of the file
	File      string `json:"file"`   // its identity, in hex
	At        stamp  `json:"at"`
	LastID    uint64 `json:"last_id"` // the highest id that was ever given
	Jobs      int    `json:"jobs"`
	Schedules int    `json:"schedules"`
	Batches   int    `json:"batches"`
}

// endLine is the last line. One without a sum ends an export that was edited.
type endLine struct {
	Line  string `json:"line"`
	Lines int    `json:"lines,omitzero"` // with this one
	Sum   string `json:"sum,omitzero"`   // CRC-32C of all bytes before this line, in hex
}

// queueLine is a paused queue.
type queueLine struct {
	Line   string `json:"line"`
	Name   string `json:"name"`
	Paused stamp  `json:"paused"`
	By     string `json:"by,omitzero"`
}

type scheduleLine struct {
	Line      string           `json:"line"`
	Name      string           `json:"name"`
	Spec      string           `json:"spec"`
	Zone      string           `json:"zone"`
	Kind      string           `json:"kind"`
	MissedMax int              `json:"missed_max,omitzero"` // 0: Once, -1: Skip
	MissedAge lasting          `json:"missed_age,omitzero"`
	Overlap   string           `json:"overlap"`
	Jitter    lasting          `json:"jitter,omitzero"`
	Starting  stamp            `json:"starting,omitzero"`
	Until     stamp            `json:"until,omitzero"`
	Anchor    stamp            `json:"anchor,omitzero"` // what @every counts from
	Next      stamp            `json:"next,omitzero"`
	Last      stamp            `json:"last,omitzero"` // the latest occurrence that was run or skipped
	Ran       stamp            `json:"ran,omitzero"`  // that of the last run
	Job       uint64           `json:"job,omitzero"`  // of the last run
	Paused    stamp            `json:"paused,omitzero"`
	PausedBy  string           `json:"paused_by,omitzero"`
	Waiting   []occurrenceLine `json:"waiting,omitzero"`
	Runs      []runLine        `json:"runs,omitzero"`
}

// occurrenceLine is a time a schedule runs for, and what it stands for.
type occurrenceLine struct {
	Schedule string `json:"schedule,omitzero"` // in jobs and batches
	At       stamp  `json:"at"`
	Missed   uint32 `json:"missed,omitzero"`
	Since    stamp  `json:"since,omitzero"`
}

type runLine struct {
	At      stamp  `json:"at"`
	Job     uint64 `json:"job,omitzero"`
	State   string `json:"state,omitzero"`
	Missed  int    `json:"missed,omitzero"`
	Skipped int    `json:"skipped,omitzero"`
	Ended   stamp  `json:"ended,omitzero"`
	Reason  string `json:"reason,omitzero"`
}

type batchLine struct {
	Line        string          `json:"line"`
	ID          uint64          `json:"id"`
	Name        string          `json:"name,omitzero"`
	Flags       []string        `json:"flags,omitzero"`
	Items       int64           `json:"items,omitzero"`
	Done        int64           `json:"done,omitzero"`
	Dead        int64           `json:"dead,omitzero"`
	Removed     int64           `json:"removed,omitzero"`
	Failed      int64           `json:"failed,omitzero"` // attempts
	Skipped     int64           `json:"skipped,omitzero"`
	Bad         int64           `json:"bad,omitzero"`
	Started     stamp           `json:"started"`
	Planned     stamp           `json:"planned,omitzero"`
	Ended       stamp           `json:"ended,omitzero"`
	End         uint64          `json:"end,omitzero"` // the OnDone job
	Origin      *occurrenceLine `json:"origin,omitzero"`
	OnDone      *onDoneLine     `json:"on_done,omitzero"`
	CancelledBy string          `json:"cancelled_by,omitzero"`
	PlanError   string          `json:"plan_error,omitzero"`
	Errors      []string        `json:"errors,omitzero"`
	Reached     value           `json:"reached,omitzero"` // args of the last planned item
	Ranges      [][2]uint64     `json:"ranges,omitzero"`  // first id and number of items
}

type onDoneLine struct {
	Queue    string `json:"queue"`
	Kind     string `json:"kind"`
	Priority uint8  `json:"priority"`
	Args     value  `json:"args"`
}

// itemLine is a finished item that its batch, which is still planned, has to
// remember. Key is what the file knows it by: args, or of long ones the
// beginning and a hash.
type itemLine struct {
	Line  string `json:"line"`
	Batch uint64 `json:"batch"`
	Kind  string `json:"kind"`
	Key   []byte `json:"key"` // base64
}

// laneLine has the totals of a queue, priority and kind.
type laneLine struct {
	Line      string `json:"line"`
	Queue     string `json:"queue"`
	Kind      string `json:"kind"`
	Priority  uint8  `json:"priority"`
	Processed int64  `json:"processed,omitzero"`
	Failed    int64  `json:"failed,omitzero"`
	Died      int64  `json:"died,omitzero"`
}

type jobLine struct {
	Line        string          `json:"line"`
	ID          uint64          `json:"id"`
	State       string          `json:"state"`
	Queue       string          `json:"queue"`
	Kind        string          `json:"kind"`
	Priority    uint8           `json:"priority"`
	Args        value           `json:"args"`
	Tags        []string        `json:"tags,omitzero"`
	Enqueued    stamp           `json:"enqueued"`
	RunAt       stamp           `json:"run_at,omitzero"`
	Expires     stamp           `json:"expires,omitzero"`
	Finished    stamp           `json:"finished,omitzero"`
	MaxAttempts uint32          `json:"max_attempts,omitzero"`
	Failures    uint32          `json:"failures,omitzero"`
	Snoozes     uint32          `json:"snoozes,omitzero"`
	Crashes     uint32          `json:"crashes,omitzero"`
	Suspect     bool            `json:"suspect,omitzero"` // runs alone, after crashes
	Cancelled   string          `json:"cancelled,omitzero"`
	Reason      string          `json:"reason,omitzero"`
	Unique      *uniqueLine     `json:"unique,omitzero"`
	Origin      *occurrenceLine `json:"origin,omitzero"`
	Batch       uint64          `json:"batch,omitzero"`
	Role        string          `json:"role,omitzero"` // in the batch
	Attempts    []attemptLine   `json:"attempts,omitzero"`
	Steps       []stepLine      `json:"steps,omitzero"`
	Checkpoint  value           `json:"checkpoint,omitzero"`
	Done        int             `json:"progress_done,omitzero"`
	Total       int             `json:"progress_total,omitzero"`
	Text        string          `json:"progress_text,omitzero"`
	Result      value           `json:"result,omitzero"`
	Forgiven    uint32          `json:"forgiven,omitzero"`
	Log         string          `json:"log,omitzero"`
}

// uniqueLine is the place of a job, which it holds or has held.
type uniqueLine struct {
	Place hexBytes `json:"place"`
	Mode  string   `json:"mode"`
	Until stamp    `json:"until,omitzero"`
	Held  bool     `json:"held,omitzero"`
}

type attemptLine struct {
	Number   int     `json:"number"`
	Started  stamp   `json:"started,omitzero"`
	Duration lasting `json:"duration,omitzero"`
	Error    string  `json:"error,omitzero"`
	Stack    string  `json:"stack,omitzero"`
	Log      string  `json:"log,omitzero"`
}

type stepLine struct {
	Name   string `json:"name"`
	Result value  `json:"result,omitzero"`
}

type quarantinedLine struct {
	Line   string `json:"line"`
	ID     uint64 `json:"id"`
	At     stamp  `json:"at,omitzero"`
	Reason string `json:"reason,omitzero"`
	Record []byte `json:"record"` // base64
}

// placeLine is a place whose period outlives its job.
type placeLine struct {
	Line  string   `json:"line"`
	Place hexBytes `json:"place"`
	Job   uint64   `json:"job"`
	Until stamp    `json:"until"`
}

// actionLine is an entry of the action log.
type actionLine struct {
	Line   string `json:"line"`
	At     stamp  `json:"at"`
	By     string `json:"by,omitzero"`
	Verb   string `json:"verb,omitzero"`
	Target string `json:"target,omitzero"`
	Note   string `json:"note,omitzero"`
}

// Words for what the file has numbers for. The first is that of 0.
var (
	placeModeWords = []string{untilDone: "until done", whileWaiting: "while waiting", forPeriod: "for a period"}
	overlapWords   = []string{SkipIfRunning: "skip if running", Allow: "allow", QueueOne: "queue one"}
	roleWords      = []string{0: "", batchItem: "item", batchPlanner: "planner", batchEnd: "end"}
	flagWords      = []string{"by hand", "repeats", "plan failed", "cancelled", "taken back"} // bit by bit
)

// wordNumber finds a word; the error is about a field.
func wordNumber(field string, words []string, word string) (int, error) {
	if i := slices.Index(words, word); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("field %q: %.40q is none of %q", field, word, words)
}

func word(words []string, number int) string {
	if number < len(words) {
		return words[number]
	}
	return fmt.Sprint(number)
}

func stateNumber(field, word string) (State, error) {
	n, err := wordNumber(field, stateNames[1:], word) // none is no state to be in
	return State(n + 1), err
}

// stamp is a time of the file, in microseconds, as RFC 3339 in UTC.
type stamp int64

func (s stamp) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.UnixMicro(int64(s)).UTC())
}

func (s *stamp) UnmarshalJSON(b []byte) error {
	var t time.Time
	if err := json.Unmarshal(b, &t); err != nil || bytes.Equal(b, []byte("null")) {
		return notA[time.Time](b)
	}
	*s = stamp(t.UnixMicro())
	return nil
}

// lasting is a duration as "1m30s".
type lasting time.Duration

func (s lasting) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).String()) }

func (s *lasting) UnmarshalJSON(b []byte) error {
	var text string
	err := json.Unmarshal(b, &text)
	d, bad := time.ParseDuration(text)
	if err != nil || bad != nil {
		return notA[time.Duration](b)
	}
	*s = lasting(d)
	return nil
}

// hexBytes are written in hex.
type hexBytes []byte

func (h hexBytes) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(h)) }

func (h *hexBytes) UnmarshalJSON(b []byte) (err error) {
	var text string
	if err = json.Unmarshal(b, &text); err == nil {
		*h, err = hex.DecodeString(text)
	}
	if err != nil {
		return notA[hexBytes](b)
	}
	return nil
}

// value is JSON that a program has stored. What is none, or would not come
// back as it is, is an object with base64.
type value []byte

// wrappedValue is that object.
type wrappedValue struct {
	Base64 []byte `json:"base64"`
}

var wrapped = []byte(`{"base64":`)

// maxNesting is well within what package json reads back.
const maxNesting = 5000

func (v value) MarshalJSON() ([]byte, error) {
	if !bytes.HasPrefix(v, wrapped) && utf8.Valid(v) && bytes.Count(v, []byte("["))+bytes.Count(v, []byte("{")) < maxNesting {
		var compact bytes.Buffer
		if json.Compact(&compact, v) == nil && bytes.Equal(compact.Bytes(), v) {
			return v, nil
		}
	}
	return json.Marshal(wrappedValue{v})
}

func (v *value) UnmarshalJSON(b []byte) error {
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return err
	}
	*v = compact.Bytes()
	if !bytes.HasPrefix(*v, wrapped) {
		return nil
	}
	var w wrappedValue
	if err := json.Unmarshal(b, &w); err != nil {
		return notA[wrappedValue](b)
	}
	*v = w.Base64
	return nil
}

// notA is the error for which package json adds the name of the field.
func notA[T any](b []byte) error {
	return &json.UnmarshalTypeError{Value: fmt.Sprintf("%.60s", b), Type: reflect.TypeFor[T]()}
}

// decodeLine reads a line of its kind strictly. Errors name the field.
func decodeLine(b []byte, line any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(line)
	if rest := bytes.TrimSpace(b[d.InputOffset():]); err == nil && len(rest) > 0 {
		return fmt.Errorf("more follows behind its object: %.40q", rest)
	}
	if bad, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("field %q: %s is no %v", bad.Field, bad.Value, typeWords(bad.Type))
	}
	return err
}

func typeWords(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Time]():
		return `time as "2006-01-02T15:04:05Z"`
	case reflect.TypeFor[time.Duration]():
		return `duration as "1m30s"`
	case reflect.TypeFor[hexBytes]():
		return "text in hex"
	case reflect.TypeFor[wrappedValue]():
		return "object with base64"
	}
	return t.Kind().String()
}
