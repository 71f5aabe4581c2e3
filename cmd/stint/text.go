package main

import (
	"fmt"
	"strconv"
	"time"
)

// when writes a time to the second, in the zone that was asked for.
func (a *app) when(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case a.utc:
		return t.UTC().Format("2006-01-02 15:04:05Z")
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// whenThere writes a time in the zone that it came with, and says which.
func (a *app) whenThere(t time.Time) string {
	if a.utc {
		return a.when(t)
	}
	return t.Format("2006-01-02 15:04:05 -07:00")
}

// seconds writes a time span with three digits, as 3.42ms, or to the second, as
// 2m5s.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(max(1, tenTo(d)/100)).String()
}

// tenTo is the power of ten that a time span begins with.
func tenTo(d time.Duration) time.Duration {
	p := time.Duration(1)
	for p <= d/10 {
		p *= 10
	}
	return p
}

// number writes a whole number with commas between the thousands.
func number[N int | int64 | uint64](n N) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// size writes a number of bytes.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 1000 && unit < 4 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, " KMGT"[unit])
}

// plural is "1 job" or "2,000 jobs".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + one + "s"
}

// id writes one that may be missing.
func id(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func yes(on bool) string {
	if on {
		return "yes"
	}
	return ""
}
