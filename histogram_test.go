package stint_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	require.Zero(t, stint.Histogram{}.Quantile(0.5))
	h := stint.Histogram{Bounds: []float64{1, 2, 4}, Counts: []uint64{0, 4, 0, 0}}
	require.EqualValues(t, 1.5, h.Quantile(0.5))
	require.EqualValues(t, 1, h.Quantile(0))
	require.EqualValues(t, 2, h.Quantile(1))
	h.Counts[3] = 1
	require.EqualValues(t, 4, h.Quantile(1), "the last bound that there is")

	rnd := seeded(t)
	for range 200 {
		h := stint.Histogram{Bounds: []float64{1, 2, 4, 8, 16}, Counts: make([]uint64, 6)}
		for range rnd.IntN(6) {
			h.Counts[rnd.IntN(6)] += uint64(rnd.IntN(100))
		}
		last := 0.0
		for p := -0.1; p < 1.2; p += 0.01 {
			at := h.Quantile(p)
			require.GreaterOrEqual(t, at, last)
			require.LessOrEqual(t, at, 16.0)
			if h.Count() == 0 || p <= 0 || p > 1 {
				continue
			}
			last = at
			below, i := uint64(0), 0
			for ; i < 5 && h.Bounds[i] < at; i++ {
				below += h.Counts[i]
			}
			require.LessOrEqual(t, float64(below), p*float64(h.Count())+1e-9)
			require.GreaterOrEqual(t, float64(below+h.Counts[i])+float64(h.Counts[5]), p*float64(h.Count())-1e-9)
		}
	}
}
