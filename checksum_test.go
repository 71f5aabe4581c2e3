package stint

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSealedValue(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		key, value := make([]byte, 1+rnd.IntN(40)), make([]byte, rnd.IntN(60))
		for i := range key {
			key[i] = byte(rnd.Uint32())
		}
		sealed := sealValue(key, slices.Clone(value))
		got, ok := openValue(key, sealed)
		require.True(t, ok)
		require.Equal(t, value, got)
		for _, b := range [][]byte{sealed, key} {
			for bit := range 8 * len(b) {
				b[bit/8] ^= 1 << (bit % 8)
				_, ok := openValue(key, sealed)
				require.False(t, ok, "bit %d", bit)
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
		for n := range sealed {
			_, ok := openValue(key, sealed[:n])
			require.False(t, ok, "cut to %d", n)
		}
	}
}

func TestSealedID(t *testing.T) {
	t.Parallel()
	right := func(s uint64) bool { return s == sealID(s&(1<<sequenceBits-1)) }
	require.Zero(t, sealID(0), "a bucket without ids has it")
	for _, id := range []uint64{0, 1, 2, 63, 1000, 1 << 20, 1<<32 - 1, 1<<47 + 12345, 1<<sequenceBits - 1} {
		s := sealID(id)
		require.True(t, right(s))
		require.Equal(t, id, s&(1<<sequenceBits-1))
		for a := range 64 {
			require.False(t, right(s^1<<a), "id %d, bit %d", id, a)
			for b := range a {
				require.False(t, right(s^1<<a^1<<b), "id %d, bits %d and %d", id, a, b)
			}
		}
	}
}
