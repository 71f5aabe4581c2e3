package dashboard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stintq/stint"
)

// query is a parsed filter line. A job has to match each term.
type query struct{ terms []term }

// term is one condition.
type term struct {
	not    bool
	field  string // a name of fields, "args", or "" for free text
	path   string // in the args
	op     string // "", ">", ">=", "<" or "<="
	value  string
	quoted bool // the value means itself, whatever it looks like

	number int64         // of id, batch, priority and attempt
	ids    []stint.ID    // of id without op
	age    time.Duration // of age
}

const (
	maxQuery = 2000 // bytes
	maxTerms = 30

	spaces = " \t\r\n" // what is between terms
)

// queryExample is shown with each complaint.
const queryExample = `kind:mail queue:low -tag:test error:"timed out" args.user.id:42 attempt:>3 age:>1h`

// fields are what a term may name, and how its value is read.
var fields = map[string]func(*term) error{
	"kind": nil, "queue": nil, "tag": nil, "schedule": nil, "error": nil, "args": nil,
	"state": (*term).readState, "id": (*term).readIDs, "batch": (*term).readNumber,
	"priority": (*term).readNumber, "attempt": (*term).readNumber, "age": (*term).readAge,
}

// parseQuery reads a filter line such as
//
//	kind:mail queue:low tag:vip id:42 error:timeout args.user.id:42 attempt:>3 age:>1h free text
//
// A - before a term turns it round, quotes keep words together, and * stands
// for anything in a name. An error says what to change.
func parseQuery(text string) (query, error) {
	if len(text) > maxQuery {
		return query{}, badQuery("the filter is longer than %d bytes", maxQuery)
	}
	var qy query
	for rest := strings.Trim(text, spaces); rest != ""; rest = strings.Trim(rest, spaces) {
		t, left, err := cutTerm(rest)
		if err == nil {
			err = t.read()
		}
		if err != nil {
			return query{}, err
		}
		if qy.terms = append(qy.terms, t); len(qy.terms) > maxTerms {
			return query{}, badQuery("the filter has more than %d terms", maxTerms)
		}
		rest = left
	}
	return qy, nil
}

func badQuery(format string, args ...any) error {
	return bad("%s. An example: %s", fmt.Sprintf(format, args...), queryExample)
}

// cutTerm takes the first term from a line.
func cutTerm(line string) (t term, rest string, err error) {
	line, t.not = strings.CutPrefix(line, "-")
	end := strings.IndexAny(line, ":\""+spaces)
	if end > 0 && line[end] == ':' {
		t.field, line = line[:end], line[end+1:]
		if name, path, ok := strings.Cut(t.field, "."); ok && name == "args" {
			t.field, t.path = name, path
		}
		if read, ok := fields[t.field]; !ok || (t.field == "args") != (t.path != "") {
			return t, "", unknownField(t.field, read == nil && t.field == "args")
		}
	}
	if strings.HasPrefix(line, `"`) {
		t.quoted = true
		t.value, rest, err = cutQuoted(line)
		return t, rest, err
	}
	end = strings.IndexAny(line, spaces)
	if end < 0 {
		end = len(line)
	}
	t.value = line[:end]
	if t.value == "" {
		return t, "", badQuery("there is nothing behind %q", prefix(t.not)+t.label())
	}
	return t, line[end:], nil
}

func unknownField(name string, bare bool) error {
	if bare {
		return badQuery("args: needs the name of a field, as in args.user.id:42")
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return badQuery("there is no filter %q; there are %s. Put a text with a colon into quotes to search for it", short(name, 60), strings.Join(names, ", "))
}

// cutQuoted reads a value in quotes, in which \" is a quote and \\ a
// backslash.
func cutQuoted(line string) (value, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && (line[i+1] == '"' || line[i+1] == '\\'):
			i++
			b.WriteByte(line[i])
		case c == '"' && b.Len() == 0:
			return "", "", badQuery("there is nothing between two quotes")
		case c == '"':
			return b.String(), line[i+1:], nil
		default:
			b.WriteByte(c)
		}
	}
	return "", "", badQuery("a quote is not closed")
}

// read gives the value its meaning.
func (t *term) read() error {
	if t.field == "" {
		t.quoted = false // it has nothing to be kept from
		return nil
	}
	compares := slices.Contains([]string{"id", "priority", "attempt", "age", "args"}, t.field)
	if !t.quoted && compares {
		for _, op := range []string{">=", "<=", ">", "<"} {
			if value, ok := strings.CutPrefix(t.value, op); ok {
				t.op, t.value = op, value
				break
			}
		}
	}
	if t.field == "args" && t.op != "" {
		if _, err := strconv.ParseFloat(t.value, 64); err != nil {
			return badQuery("%s%s compares numbers, and %q is none", t.label(), t.op, t.value)
		}
	}
	if t.value == "" {
		return badQuery("there is nothing behind %q", t.label()+t.op)
	}
	if read := fields[t.field]; read != nil {
		return read(t)
	}
	return nil
}

func (t *term) readNumber() (err error) {
	if t.number, err = strconv.ParseInt(strings.TrimPrefix(t.value, "#"), 10, 64); err != nil || t.number < 0 {
		return badQuery("%s needs a number, not %q, as in %s3", t.label(), t.value, t.label())
	}
	return nil
}

func (t *term) readIDs() error {
	if t.op != "" {
		return t.readNumber()
	}
	for one := range strings.SplitSeq(t.value, ",") {
		id, err := parseID(one)
		if err != nil {
			return badQuery("id: needs numbers, not %q, as in id:42 or id:42,43", one)
		}
		if !slices.Contains(t.ids, id) {
			t.ids = append(t.ids, id)
		}
	}
	return nil
}

func (t *term) readState() error {
	if stateNamed(t.value) == 0 {
		return badQuery("there is no state %q; there are %s", t.value, strings.Join(stateNames(), ", "))
	}
	return nil
}

func (t *term) readAge() error {
	age, err := readSpan(t.value)
	if err != nil || t.op == "" {
		return badQuery("age: needs < or > and a time span in s, m, h, d or w, not %q, as in age:>1h", t.op+t.value)
	}
	t.age = age
	return nil
}

// readSpan reads 90s, 1.5h, 2d or 1d12h.
func readSpan(text string) (time.Duration, error) {
	var sum time.Duration
	rest := text
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, left, ok := strings.Cut(rest, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n >= 0 && n < 10_000) {
			return 0, fmt.Errorf("dashboard: %q is no time span", text)
		}
		sum += time.Duration(n * float64(unit.size))
		rest = left
	}
	if rest != "" {
		span, err := time.ParseDuration(rest)
		if err != nil || span < 0 {
			return 0, fmt.Errorf("dashboard: %q is no time span", text)
		}
		sum += span
	}
	if sum < 0 || text == "" {
		return 0, fmt.Errorf("dashboard: %q is no time span", text)
	}
	return sum, nil
}

// String is a line that parses to the same query.
func (qy query) String() string { return qy.without(-1) }

// without is the query without its i-th term.
func (qy query) without(i int) string {
	var parts []string
	for n, t := range qy.terms {
		if n != i {
			parts = append(parts, t.String())
		}
	}
	return strings.Join(parts, " ")
}

// String is the term as it could have been typed.
func (t term) String() string {
	value := t.value
	if t.quoted || t.field == "" && (strings.ContainsAny(value, `:"`+spaces) || strings.HasPrefix(value, "-")) {
		value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
	}
	return prefix(t.not) + t.label() + t.op + value
}

// filterTerm is the term that stands for a value as it is.
func filterTerm(field, value string) string {
	return term{field: field, value: value, quoted: strings.ContainsAny(value, "\"*"+spaces) || value == ""}.String()
}

// label is the term without its value.
func (t term) label() string {
	switch {
	case t.field == "":
		return ""
	case t.path != "":
		return t.field + "." + t.path + ":"
	}
	return t.field + ":"
}

func prefix(not bool) string {
	if not {
		return "-"
	}
	return ""
}

// exact is the value of the only name a field may have, or "".
func (qy query) exact(field string) string {
	for _, t := range qy.terms {
		if t.field == field && !t.not && t.isExact() {
			return t.value
		}
	}
	return ""
}

func (t *term) isExact() bool { return t.quoted || !strings.Contains(t.value, "*") }

// batch is the batch that jobs have to be of, or 0.
func (qy query) batch() stint.ID {
	for _, t := range qy.terms {
		if t.field == "batch" && !t.not {
			return stint.ID(t.number)
		}
	}
	return 0
}

// ids are the only jobs that can match, or nil.
func (qy query) ids() []stint.ID {
	for _, t := range qy.terms {
		if t.ids != nil && !t.not {
			return t.ids
		}
	}
	return nil
}

// allStates are the states in the order of the tabs.
var allStates = []stint.State{stint.Ready, stint.Running, stint.Scheduled, stint.Retrying, stint.Completed, stint.Dead}

func stateNames() (names []string) {
	for _, s := range allStates {
		names = append(names, s.String())
	}
	return names
}

// stateNamed is 0 for a name that is none.
func stateNamed(name string) stint.State {
	for _, s := range allStates {
		if s.String() == name {
			return s
		}
	}
	return 0
}

// readStateParam reads a parameter that narrows to a state; none is all.
func readStateParam(name string) (stint.State, error) {
	state := stateNamed(name)
	if name != "" && state == 0 {
		return 0, bad("there is no state %q; there are %s", name, strings.Join(stateNames(), ", "))
	}
	return state, nil
}
