package dashboard

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stintq/stint"
)

// exposition is the text that Prometheus reads: for each metric its help, its
// type, and then all its samples.
type exposition struct{ text bytes.Buffer }

// family is a metric. One without samples leaves nothing behind.
type family struct {
	to               *exposition
	name, kind, help string
	begun            bool
}

func (e *exposition) family(name, kind, help string) *family {
	return &family{to: e, name: name, kind: kind, help: help}
}

func (e *exposition) gauge(name, help string, value float64) {
	e.family(name, "gauge", help).add(value)
}

// add adds a sample with pairs of labels and values.
func (f *family) add(value float64, labels ...string) { f.sample("", formatFloat(value), labels) }

// histogram adds the samples of a distribution.
func (f *family) histogram(h stint.Histogram, labels ...string) {
	below := uint64(0)
	for i, bound := range h.Bounds {
		if i < len(h.Counts) {
			below += h.Counts[i]
		}
		f.sample("_bucket", strconv.FormatUint(below, 10), append(slices.Clone(labels), "le", formatFloat(bound)))
	}
	count := strconv.FormatUint(h.Count(), 10)
	f.sample("_bucket", count, append(slices.Clone(labels), "le", "+Inf"))
	f.sample("_sum", formatFloat(h.Sum), labels)
	f.sample("_count", count, labels)
}

func (f *family) sample(suffix, value string, labels []string) {
	b := &f.to.text
	if !f.begun {
		f.begun = true
		b.WriteString("# HELP " + f.name + " " + helpEscaper.Replace(f.help) + "\n# TYPE " + f.name + " " + f.kind + "\n")
	}
	b.WriteString(f.name + suffix)
	for i := 0; i+1 < len(labels); i += 2 {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(labels[i] + `="` + labelEscaper.Replace(strings.ToValidUTF8(labels[i+1], "\ufffd")) + `"`)
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
	b.WriteString(" " + value + "\n")
}

var (
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func formatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// together is the sum of two histograms with the same bounds.
func together(a, b stint.Histogram) stint.Histogram {
	if a.Bounds == nil {
		a.Bounds = b.Bounds
	}
	sum := stint.Histogram{Bounds: a.Bounds, Counts: make([]uint64, max(len(a.Counts), len(b.Counts))), Sum: a.Sum + b.Sum}
	for _, h := range []stint.Histogram{a, b} {
		for i, n := range h.Counts {
			sum.Counts[i] += n
		}
	}
	return sum
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
