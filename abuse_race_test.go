//go:build race

package stint_test

// manyGoroutines is below what the race detector can follow.
const manyGoroutines = 5000
