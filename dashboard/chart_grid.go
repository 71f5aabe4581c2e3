package dashboard

import "math"

// axis is the scale of a chart.
type axis struct {
	low, high float64
	log       bool
	labels    []string // of its lines, from the top
}

// farApart is the share of the lowest in the highest time below which a chart
// would show nothing but the highest.
const farApart = 1.0 / 50

// axisOf is the scale for what lies between two numbers. lowest matters for
// times only: jobs are compared with none.
func axisOf(lowest, highest float64, u unit) axis {
	if u == inSeconds && lowest < highest*farApart {
		return logAxis(lowest, highest)
	}
	step, lines := gridOf(highest, u)
	a := axis{high: step * float64(lines)}
	for i := lines; i >= 0; i-- {
		a.labels = append(a.labels, u.text(step*float64(i)))
	}
	return a
}

// negligible is a time that is as good as none beside those of a hundred
// times that.
const negligible = 0.001

// logAxis has a line at each power of 10, or at each second one. What is
// negligible lies on the lowest.
func logAxis(lowest, highest float64) axis {
	least := min(negligible, highest/100)
	cut := lowest < least
	lowest = max(lowest, least)
	low, high := int(math.Floor(math.Log10(lowest)+1e-9)), int(math.Ceil(math.Log10(highest)-1e-9))
	every := 1
	if high-low > 5 {
		every = 2
		low -= (high - low) % 2
	}
	a := axis{low: math.Pow10(low), high: math.Pow10(high), log: true}
	for i := high; i >= low; i -= every {
		a.labels = append(a.labels, span(math.Pow10(i)))
	}
	if cut {
		a.labels[len(a.labels)-1] = "≤ " + a.labels[len(a.labels)-1]
	}
	return a
}

// height is how far above the lowest line a number is, in pixels.
func (a *axis) height(v float64) float64 {
	if !a.log {
		return v / a.high * plotHeight
	}
	return max(math.Log10(v/a.low)/math.Log10(a.high/a.low), 0) * plotHeight
}

// gridOf is the distance of the lines of a chart and their number above 0: up
// to four, at round numbers, the last at or above the highest.
func gridOf(highest float64, u unit) (step float64, lines int) {
	step = roundStep(highest / 4)
	if u == inSeconds {
		step = roundSeconds(highest / 4)
	} else {
		step = max(step, 1) // there are no halves of jobs
	}
	return step, max(int(math.Ceil(highest/step-1e-9)), 1)
}

// roundStep is the next of …, 1, 2, 5, 10, 20, 50, …
func roundStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*unit >= v*(1-1e-9) {
			return n * unit
		}
	}
	return 10 * unit
}

// roundSeconds is roundStep as clocks count.
func roundSeconds(v float64) float64 {
	const minute, hour, day = 60, 3600, 86400
	switch {
	case v <= 20:
		return min(roundStep(v), 20)
	case v > 12*hour:
		return roundStep(v/day) * day
	}
	for _, n := range []float64{30, minute, 2 * minute, 5 * minute, 10 * minute, 20 * minute, 30 * minute, hour, 2 * hour, 6 * hour} {
		if n >= v {
			return n
		}
	}
	return 12 * hour
}
