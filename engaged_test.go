package stint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEngaged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		rec  record
		want bool
	}{
		{"a fresh job", record{}, false},
		{"one that only said how far it has got", record{stash: &stash{cursor: []byte{}, log: "x", result: []byte("1"), progress: Progress{Done: 1}}}, false},
		{"one with a step", record{stash: &stash{steps: []step{{name: "charge"}}}}, true},
		{"one with a checkpoint", record{stash: &stash{cursor: []byte("7")}}, true},
		{"an item of a batch", record{role: batchItem}, true},
	} {
		require.Equal(t, c.want, c.rec.engaged(), c.name)
	}
}
