package dashboard

import (
	"fmt"
	"html/template"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

// helpers are the functions of templates.
var helpers = template.FuncMap{
	"count":    count,
	"bytes":    byteSize,
	"duration": duration,
	"exact":    exactTime,
	"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"when":     when,
	"ago":      func(now, t time.Time) string { return relative(now, t) },
	"plural":   plural,
	"percent":  percent,
	"dict":     dict,
	"filter":   filterTerm,
	"capital":  capital,
	"asset":    assetTag,
	"outcome":  runText,
}

// when shows a time in relation to now; the script adds the reader's zone.
func when(t time.Time) template.HTML {
	w := &markup{}
	if t.IsZero() {
		w.put(`<span class="faint">–</span>`)
	} else {
		w.put(`<time datetime="%s" title="%s" data-ago>%s</time>`, t.UTC().Format(time.RFC3339Nano), exactTime(t), relative(time.Now(), t))
	}
	return w.html()
}

// count writes a number with spaces between the thousands.
func count(n any) string {
	digits := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteRune('\u202f') // narrow, and does not break
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// byteSize writes a number of bytes with three digits.
func byteSize(n any) string {
	size, _ := strconv.ParseFloat(fmt.Sprint(n), 64)
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; size >= 1000 && i < len(units)-1; i++ {
		size /= 1024
	}
	if i == 0 {
		return fmt.Sprint(n) + " bytes"
	}
	return strconv.FormatFloat(size, 'f', max(0, 2-len(strconv.Itoa(int(size)))+1), 64) + " " + units[i]
}

// duration writes a time span as people say it: 12 µs, 3.4 ms, 2.1 s, 4 min
// 10 s, 3 h 5 min, 2 d 4 h.
func duration(d time.Duration) string {
	if d < 0 {
		return "-" + duration(-d)
	}
	decimal := func(unit time.Duration, name string) string {
		n := float64(d) / float64(unit)
		digits := 1
		if n >= 10 || n == float64(int(n)) {
			digits = 0
		}
		return strconv.FormatFloat(n, 'f', digits, 64) + " " + name
	}
	two := func(unit time.Duration, name string, small time.Duration, smallName string) string {
		text := fmt.Sprintf("%d %s", d/unit, name)
		if rest := d % unit / small; rest > 0 {
			text += fmt.Sprintf(" %d %s", rest, smallName)
		}
		return text
	}
	switch {
	case d == 0:
		return "0 s"
	case d < time.Millisecond:
		return decimal(time.Microsecond, "µs")
	case d < time.Second:
		return decimal(time.Millisecond, "ms")
	case d < time.Minute:
		return decimal(time.Second, "s")
	case d < time.Hour:
		return two(time.Minute, "min", time.Second, "s")
	case d < 24*time.Hour:
		return two(time.Hour, "h", time.Minute, "min")
	}
	return two(24*time.Hour, "d", time.Hour, "h")
}

// relative writes a time as seen from now.
func relative(now, t time.Time) string {
	d := t.Sub(now)
	switch {
	case t.IsZero():
		return "never"
	case d > -time.Second && d < time.Second:
		return "now"
	case d < 0:
		return duration(-d.Truncate(time.Second)) + " ago"
	}
	return "in " + duration(d.Truncate(time.Second))
}

// plural is "1 job" or "2 jobs".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

func percent(part, whole any) string {
	p, _ := strconv.ParseFloat(fmt.Sprint(part), 64)
	w, _ := strconv.ParseFloat(fmt.Sprint(whole), 64)
	if w == 0 {
		return "–"
	}
	share := 100 * p / w
	if share > 0 && share < 10 {
		return strconv.FormatFloat(share, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(share, 'f', 0, 64) + " %"
}

// dict passes several values to a template that another one calls.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dashboard: dict: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// version is that of this module in the program.
var version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	const path = "github.com/stintq/stint"
	if info.Main.Path == path {
		return info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return ""
})
