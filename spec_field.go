package stint

import (
	"fmt"
	"strconv"
	"strings"
)

// The places of the fields in a spec.
const (
	atSecond = iota
	atMinute
	atHour
	atDay
	atMonth
	atWeekday
	fieldCount
)

// fieldKind is what may stand in one place of a spec.
type fieldKind struct {
	name     string
	min, max int
	names    []string // of min, min+1 …
	allowed  string
	days     bool // ? may stand for *
}

var fields = [fieldCount]fieldKind{
	{"second", 0, 59, nil, `0 to 59, as in "0", "*/10" or "0,30"`, false},
	{"minute", 0, 59, nil, `0 to 59, as in "0", "*/15" or "5,35"`, false},
	{"hour", 0, 23, nil, `0 to 23, as in "3", "9-17" or "*/2"`, false},
	{"day-of-month", 1, 31, nil, `1 to 31, as in "1", "1-7" or "1,15"`, true},
	{"month", 1, 12, strings.Fields("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"), `1 to 12 and JAN to DEC, as in "1", "JAN-MAR" or "*/3"`, false},
	{"day-of-week", 0, 6, strings.Fields("SUN MON TUE WED THU FRI SAT"), `0 to 7, both Sunday, and SUN to SAT, as in "1", "MON-FRI" or "SAT,SUN"`, true},
}

// field is what a user wrote in one place.
type field struct {
	set       uint64
	open      bool // * and nothing else
	starred   bool // has a * or */n
	stepsOnly bool // has nothing else
}

// read takes a list of values, ranges and steps.
func (k *fieldKind) read(text string) (field, error) {
	if text == "?" && k.days {
		text = "*"
	}
	parts := strings.Split(text, ",")
	f := field{stepsOnly: true}
	for _, part := range parts {
		set, err := k.readPart(text, part)
		if err != nil {
			return field{}, err
		}
		f.set |= set
		star := strings.HasPrefix(part, "*")
		f.starred = f.starred || star
		f.stepsOnly = f.stepsOnly && star
		f.open = star && set == k.all()
		if f.open && len(parts) > 1 {
			return field{}, k.refuse(text, "beside %q the rest of the list has no effect", part)
		}
	}
	return f, nil
}

// all has every value; Sunday is 0.
func (k *fieldKind) all() uint64 { return span(k.min, k.max, 1) }

func span(low, high, step int) (set uint64) {
	for v := low; v <= high; v += step {
		set |= 1 << v
	}
	return set
}

func (k *fieldKind) refuse(text, problem string, args ...any) error {
	return badSpec("the %s field is %s: %s; allowed are %s", k.name, quote(text), fmt.Sprintf(problem, args...), k.allowed)
}

func (k *fieldKind) readPart(text, part string) (uint64, error) {
	base, stepText, stepped := strings.Cut(part, "/")
	low, high, err := k.readRange(text, base, stepped)
	if err != nil {
		return 0, err
	}
	step := 1
	if stepped {
		if step, err = number(stepText); err != nil {
			return 0, k.refuse(text, "the step %s %v", quote(stepText), err)
		}
		if width := high - low + 1; step < 1 || step > width {
			return 0, k.refuse(text, "the step is %s, and here it must be from 1 to %d", stepText, width)
		}
	}
	set := span(low, high, step)
	if k.isWeekday() && set&(1<<7) != 0 {
		set = set&^(1<<7) | 1
	}
	return set, nil
}

// readRange reads what may stand before a step. One value with a step is the
// range from it on.
func (k *fieldKind) readRange(text, base string, stepped bool) (low, high int, err error) {
	if base == "*" {
		return k.min, k.max, nil
	}
	first, second, ranged := strings.Cut(base, "-")
	if low, err = k.readValue(text, first); err != nil {
		return 0, 0, err
	}
	switch {
	case !ranged && stepped:
		return low, max(low, k.max), nil
	case !ranged:
		return low, low, nil
	}
	if high, err = k.readValue(text, second); err != nil {
		return 0, 0, err
	}
	if k.isWeekday() && low > 0 && strings.EqualFold(second, "SUN") {
		high = 7
	}
	if low > high {
		if k.isWeekday() && high == 0 {
			return 0, 0, k.refuse(text, `the range %s runs backwards, write "%d-7"`, base, low)
		}
		return 0, 0, k.refuse(text, `the range %s runs backwards, write "%s,%s"`, base, dashed(low, k.max), dashed(k.min, high))
	}
	return low, high, nil
}

func (k *fieldKind) readValue(text, value string) (int, error) {
	for i, name := range k.names {
		if strings.EqualFold(value, name) {
			return k.min + i, nil
		}
	}
	n, err := number(value)
	if err != nil {
		return 0, k.refuse(text, "%s %v", quote(value), err)
	}
	if limit := k.max; n < k.min || n > limit && !(k.isWeekday() && n == 7) {
		return 0, k.refuse(text, "%s is out of range", quote(value))
	}
	return n, nil
}

func (k *fieldKind) isWeekday() bool { return k == &fields[atWeekday] }

func dashed(low, high int) string {
	if low == high {
		return strconv.Itoa(low)
	}
	return fmt.Sprintf("%d-%d", low, high)
}

// number takes digits alone, no sign.
func number(text string) (int, error) {
	if text == "" {
		return 0, fmt.Errorf("is no number")
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			if strings.ContainsAny(text, "LlWw#") {
				return 0, fmt.Errorf("is no number, and the L, W and # of other crons are not known")
			}
			return 0, fmt.Errorf("is no number")
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("is too large")
	}
	return n, nil
}
