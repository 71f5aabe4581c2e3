//go:build !race

package stint_test

const manyGoroutines = 100_000
