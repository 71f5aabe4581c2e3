package stint

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"
)

// Histogram counts values by size. A nil Counts is one without values.
type Histogram struct {
	// Bounds are the upper bounds of the classes, ascending; a value that is
	// equal to a bound is in the class below it. The last class, which has
	// none, is Counts[len(Bounds)]. Durations are in seconds, from 100 µs on,
	// each bound twice the one before. The slice is shared: do not change it.
	Bounds []float64
	Counts []uint64
	Sum    float64 // of all values
}

// Count is the number of values.
func (h Histogram) Count() (n uint64) {
	for _, in := range h.Counts {
		n += in
	}
	return n
}

// Quantile estimates the value below which the share p of them lies, by
// interpolation within a class: with p 0.5 the median. 0 without values, and
// the highest bound where the value lies above it.
func (h Histogram) Quantile(p float64) float64 {
	n := h.Count()
	if n == 0 || len(h.Bounds) == 0 {
		return 0
	}
	rank := min(max(p, 0), 1) * float64(n)
	below, at := 0.0, 0.0
	for i, in := range h.Counts {
		if in == 0 {
			continue
		}
		if i >= len(h.Bounds) {
			return h.Bounds[len(h.Bounds)-1]
		}
		low := 0.0
		if i > 0 {
			low = h.Bounds[i-1]
		}
		at = h.Bounds[i]
		if below+float64(in) >= rank {
			return low + (at-low)*(rank-below)/float64(in)
		}
		below += float64(in)
	}
	return at
}

const (
	durationClasses = 26 // with a bound
	sizeClasses     = 13
	shortest        = 100 * time.Microsecond
)

var (
	durationBounds = doubling(shortest.Seconds(), durationClasses)
	sizeBounds     = doubling(1, sizeClasses)
)

func doubling(first float64, n int) []float64 {
	bounds := make([]float64, n)
	for i := range bounds {
		bounds[i] = math.Ldexp(first, i)
	}
	return bounds
}

// durations counts durations without allocating.
type durations struct {
	n   [durationClasses + 1]uint64
	sum float64 // in seconds; years of many workers do not overflow it
}

// classOf is the class of a duration.
func classOf(d time.Duration) int {
	return min(bits.Len64(uint64(max(d-1, 0)/shortest)), durationClasses)
}

func (d *durations) add(class int, seconds float64) {
	d.n[class]++
	d.sum += seconds
}

func (d *durations) merge(other *durations) {
	for i, n := range other.n {
		d.n[i] += n
	}
	d.sum += other.sum
}

func (d *durations) histogram() Histogram { return histogramOf(durationBounds, d.n[:], d.sum) }

// sizes counts numbers.
type sizes struct {
	n   [sizeClasses + 1]uint64
	sum float64
}

func (s *sizes) add(n int) {
	s.n[min(bits.Len(uint(max(n-1, 0))), sizeClasses)]++
	s.sum += float64(n)
}

func (s *sizes) histogram() Histogram { return histogramOf(sizeBounds, s.n[:], s.sum) }

func histogramOf(bounds []float64, counts []uint64, sum float64) Histogram {
	h := Histogram{Bounds: bounds, Sum: sum}
	for i, n := range counts {
		if n == 0 {
			continue
		}
		if h.Counts == nil {
			h.Counts = make([]uint64, len(counts))
		}
		h.Counts[i] = n
	}
	return h
}

// appendTo is a bit for each class that is not empty, their counts, and the
// sum if there are any.
func (d *durations) appendTo(b []byte) []byte {
	used := uint64(0)
	for i, n := range d.n {
		if n != 0 {
			used |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, used)
	if used == 0 {
		return b
	}
	for _, n := range d.n {
		if n != 0 {
			b = binary.AppendUvarint(b, n)
		}
	}
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(d.sum))
}

// durations is the inverse.
func (d *decoder) durations(into *durations) {
	used := d.uvarint()
	if used == 0 {
		return
	}
	for i := range into.n {
		if used&(1<<i) == 0 {
			continue
		}
		if into.n[i] = d.uvarint(); into.n[i] == 0 {
			d.take(-1)
		}
	}
	if sum := d.take(8); sum != nil {
		into.sum = math.Float64frombits(binary.LittleEndian.Uint64(sum))
	}
	if used>>len(into.n) != 0 || !(into.sum >= 0 && into.sum <= math.MaxFloat64) {
		d.take(-1)
	}
}
