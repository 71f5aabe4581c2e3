package stint

import (
	"bytes"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// SpoilActions damages an action log of five entries behind the queue's back:
// a bit of the second one is flipped, and two are added that were never
// written so.
func SpoilActions(db *bolt.DB) error {
	return Raw(db, func(r *RawFile) {
		r.spoil(bucketActions, appendID(nil, 2))
		r.putSealed(bucketActions, appendID(nil, 0), []byte("what is this"))
		r.put(bucketActions, []byte("a key of another length"), []byte("what is this"))
	})
}

func FuzzDecodeAction(f *testing.F) {
	f.Add((&Action{At: fromMicros(1), By: "Eve", Verb: "retry", Target: "job 42"}).encode())
	f.Add((&Action{At: fromMicros(1 << 50), Note: "ü"}).encode())
	f.Add([]byte{2, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := decodeAction(b)
		if !ok {
			return
		}
		if again, ok := decodeAction(a.encode()); !ok || again != a {
			t.Fatalf("%+v became %+v", a, again)
		}
		if len(a.encode()) > len(b) && bytes.Equal(a.encode()[:len(b)], b) {
			t.Fatal("it reads beyond its end")
		}
	})
}
