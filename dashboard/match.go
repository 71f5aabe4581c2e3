package dashboard

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/stintq/stint"
)

// matcher compares jobs with a query. It sees args and errors as people do,
// redacted, so that nobody can find out what he may not see by searching.
type matcher struct {
	d   *dashboard
	now time.Time

	// Of the job at hand, made when a term needs them.
	info   *stint.Info
	args   json.RawMessage
	values any
	err    *string
}

func (m *matcher) matches(info *stint.Info, qy query) bool {
	m.info, m.args, m.values, m.err = info, nil, nil, nil
	for i := range qy.terms {
		if t := &qy.terms[i]; m.match(t) == t.not {
			return false
		}
	}
	return true
}

func (m *matcher) match(t *term) bool {
	info := m.info
	switch t.field {
	case "kind":
		return t.named(info.Kind)
	case "queue":
		return t.named(info.Queue)
	case "schedule":
		return t.named(info.Schedule)
	case "state":
		return info.State.String() == t.value
	case "tag":
		for _, tag := range info.Tags {
			if t.named(tag) {
				return true
			}
		}
		return false
	case "id":
		return t.hasID(info.ID)
	case "batch":
		return int64(info.BatchID) == t.number
	case "priority":
		return t.compare(cmp.Compare(int64(info.Priority), t.number))
	case "attempt":
		return t.compare(cmp.Compare(int64(tries(info)), t.number))
	case "age":
		return t.compare(cmp.Compare(m.now.Sub(info.EnqueuedAt), t.age))
	case "error":
		return containsFold(m.errorText(), t.value)
	case "args":
		return t.inArgs(m.argValues(), strings.Split(t.path, "."))
	}
	return m.free(t)
}

// named compares a name, in which * of the filter stands for anything.
func (t *term) named(name string) bool {
	if t.isExact() {
		return name == t.value
	}
	parts := strings.Split(t.value, "*")
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

func (t *term) hasID(id stint.ID) bool {
	if t.op != "" {
		return t.compare(cmp.Compare(int64(id), t.number))
	}
	for _, one := range t.ids {
		if one == id {
			return true
		}
	}
	return false
}

// compare says whether an order is the one that the term wants.
func (t *term) compare(order int) bool {
	switch t.op {
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	}
	return order == 0
}

// free looks for a text in all that a list shows of a job.
func (m *matcher) free(t *term) bool {
	info := m.info
	if strings.TrimPrefix(t.value, "#") == info.ID.String() || containsFold(info.Kind, t.value) || containsFold(info.Queue, t.value) || containsFold(info.Schedule, t.value) {
		return true
	}
	for _, tag := range info.Tags {
		if containsFold(tag, t.value) {
			return true
		}
	}
	return containsFold(m.errorText(), t.value) || inValues(m.argValues(), t.value)
}

func containsFold(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

func (m *matcher) errorText() string {
	if m.err == nil {
		text := m.d.text(m.info.Kind, lastError(m.info))
		m.err = &text
	}
	return *m.err
}

// argValues are the redacted args, nil if they are hidden.
func (m *matcher) argValues() any {
	if m.args == nil {
		m.args = m.d.json(m.info.Kind, m.info.Args)
		if m.args == nil {
			m.args = json.RawMessage("null")
		}
		dec := json.NewDecoder(bytes.NewReader(m.args))
		dec.UseNumber()
		_ = dec.Decode(&m.values) // valid, as json says
	}
	return m.values
}

// inValues looks for a text in keys and values.
func inValues(value any, part string) bool {
	switch v := value.(type) {
	case map[string]any:
		for key, one := range v {
			if containsFold(key, part) || inValues(one, part) {
				return true
			}
		}
	case []any:
		for _, one := range v {
			if inValues(one, part) {
				return true
			}
		}
	case nil:
		return false
	default:
		return containsFold(scalarText(v), part)
	}
	return false
}

func scalarText(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// inArgs follows a path to a value. Keys may have dots in them, and of a list
// any element will do, or the one with a number.
func (t *term) inArgs(value any, path []string) bool {
	switch v := value.(type) {
	case map[string]any:
		for n := 1; n <= len(path); n++ {
			if one, ok := v[strings.Join(path[:n], ".")]; ok && t.inArgs(one, path[n:]) {
				return true
			}
		}
		return false
	case []any:
		if len(path) > 0 {
			if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i < len(v) && t.inArgs(v[i], path[1:]) {
				return true
			}
		}
		for _, one := range v {
			if t.inArgs(one, path) {
				return true
			}
		}
		return false
	}
	return len(path) == 0 && t.isValue(value)
}

// isValue compares a scalar. Digits are compared as they are written first:
// large numbers are exact then.
func (t *term) isValue(value any) bool {
	text := scalarText(value)
	number, isNumber := value.(json.Number)
	if t.op == "" && (!isNumber || t.quoted || text == t.value) {
		return t.named(text)
	}
	have, err := number.Float64()
	want, wantErr := strconv.ParseFloat(t.value, 64)
	return isNumber && err == nil && wantErr == nil && t.compare(cmp.Compare(have, want)) && (t.op != "" || isSmall(have))
}

// isSmall says that a number is one that a float can be sure of.
func isSmall(n float64) bool { return n < 1<<53 && n > -1<<53 }
