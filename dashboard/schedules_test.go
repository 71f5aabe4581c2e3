package dashboard

import (
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// A schedule that cannot be read does not hide the others, nor keep anybody
// from operating them.
func TestADamagedScheduleAmongOthers(t *testing.T) {
	t.Parallel()
	q, _ := brokenQueue(t)
	require.NoError(t, q.Periodic("torn", "@hourly", testArgs{}))
	require.NoError(t, q.DB().Update(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, root *bolt.Bucket) error {
			return root.ForEachBucket(func(name []byte) error {
				if b := root.Bucket(name); b.Get([]byte("torn")) != nil {
					return b.Put([]byte("torn"), []byte("nothing of sense"))
				}
				return nil
			})
		})
	}))
	h := testHandler(q, Operate)
	response, text := get(t, h, "/schedules")
	require.Equal(t, 200, response.StatusCode, text)
	require.Contains(t, text, "nightly")
	require.Contains(t, text, `class="problem"`)
	for path, want := range map[string]int{"/schedule?name=nightly": 200, "/schedule?name=torn": 500, "/api/v1/schedules/one?schedule=nightly": 200, "/": 200, "/metrics": 200} {
		response, text := get(t, h, path)
		require.Equal(t, want, response.StatusCode, "%s: %s", path, text)
	}
	response, text = post(t, h, "/schedules/pause", map[string][]string{"schedule": {"nightly"}})
	require.Equal(t, 303, response.StatusCode, text)
}
