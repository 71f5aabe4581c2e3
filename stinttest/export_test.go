package stinttest

// DrainAtMost is Drain with another bound.
var DrainAtMost = drain
