package stint

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// ChangeContent lets change do something to the encrypted parts of two
// records, under checksums that are right.
func ChangeContent(db *bolt.DB, a, b ID, change func(a, b []byte) (newA, newB []byte)) error {
	return db.Update(func(tx *bolt.Tx) error {
		jobs := tx.Bucket(rootBucket).Bucket(bucketNames[bucketJobs])
		var recs [2]record
		for i, id := range [...]ID{a, b} {
			if err := recs[i].decode(uint64(id), bytes.Clone(jobs.Get(appendID(nil, uint64(id)))), laneKey{}); err != nil {
				return err
			}
		}
		recs[0].encrypted, recs[1].encrypted = change(recs[0].encrypted, recs[1].encrypted)
		for i, id := range [...]ID{a, b} {
			if err := jobs.Put(appendID(nil, uint64(id)), recs[i].encode(uint64(id), nil)); err != nil {
				return err
			}
		}
		return nil
	})
}

// SpoilMeta flips a bit of a value of the meta bucket.
func SpoilMeta(db *bolt.DB, key string) error {
	return db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(rootBucket).Bucket(bucketNames[bucketMeta])
		value := bytes.Clone(meta.Get([]byte(key)))
		value[0] ^= 1
		return meta.Put([]byte(key), value)
	})
}

// KeyName is what messages call a key.
func KeyName(key []byte) string { return nameOfKey(key).String() }

func testVault() *vault {
	return newVault(bytes.Repeat([]byte{1}, identitySize), [][]byte{bytes.Repeat([]byte{2}, cryptSize), bytes.Repeat([]byte{3}, cryptSize)}, bytes.Repeat([]byte{4}, cryptSize))
}

func TestEncryptedRecord(t *testing.T) {
	t.Parallel()
	v := testVault()
	older := newVault(v.file, [][]byte{v.ring[1]}, v.secret)
	stranger := newVault(v.file, [][]byte{bytes.Repeat([]byte{9}, cryptSize)}, v.secret)
	for name, want := range records() {
		t.Run(name+": comes back as it was, with any key of the ring", func(t *testing.T) {
			for _, with := range []*vault{v, older} {
				b := want.encode(7, with)
				var got record
				require.NoError(t, v.decode(&got, 7, b, want.key()))
				require.True(t, got.locked())
				require.NoError(t, v.open(7, &got))
				require.Equal(t, want, got)
				require.NotEqual(t, b, want.encode(7, with), "nonces are random")
			}
		})
		t.Run(name+": without its key it stays as it is", func(t *testing.T) {
			b := want.encode(7, v)
			var got record
			require.NoError(t, stranger.decode(&got, 7, b, laneKey{}))
			require.ErrorIs(t, stranger.open(7, &got), ErrWrongKey)
			require.Equal(t, b, got.encode(7, stranger))
			require.Equal(t, b, got.encode(7, nil))
			require.ErrorIs(t, (*vault)(nil).open(7, &got), ErrWrongKey)
		})
		t.Run(name+": is refused elsewhere", func(t *testing.T) {
			for what, move := range map[string]func(r *record){
				"in another kind":       func(r *record) { r.kind += "x" },
				"at another time":       func(r *record) { r.created-- },
				"with a bit flipped":    func(r *record) { r.encrypted[len(r.encrypted)/2+4] ^= 1 },
				"cut short":             func(r *record) { r.encrypted = r.encrypted[:len(r.encrypted)-1] },
				"cut to its key's name": func(r *record) { r.encrypted = r.encrypted[:8] },
			} {
				var got record
				require.NoError(t, got.decode(7, want.encode(7, v), laneKey{}))
				move(&got)
				require.ErrorIs(t, v.open(7, &got), errBadRecord, what)
			}
			other := testVault()
			other.file = bytes.Repeat([]byte{8}, identitySize)
			other = newVault(other.file, other.ring, other.secret)
			var got record
			require.NoError(t, got.decode(7, want.encode(7, v), laneKey{}))
			require.ErrorIs(t, other.open(7, &got), errBadRecord, "in another file")
		})
		t.Run(name+": a plain one has no business in an encrypted file", func(t *testing.T) {
			require.ErrorIs(t, v.decode(new(record), 7, want.encode(7, nil), laneKey{}), errBadRecord)
		})
	}
}

func TestHiddenKeys(t *testing.T) {
	t.Parallel()
	v := testVault()
	plain := []byte("0123456789abcdef")
	hidden := v.hidePlace(bytes.Clone(plain))
	require.NotEqual(t, plain, hidden)
	require.Equal(t, plain, v.showPlace(bytes.Clone(hidden)))
	for _, args := range []string{"", "{}", string(bytes.Repeat([]byte("x"), 500))} {
		key := v.appendItem(appendBatchOfItem(nil, 5), "kind", []byte(args))
		require.Equal(t, key[itemPart:], v.appendItem(nil, "kind", []byte(args)))
		tail := appendItem(nil, "kind", []byte(args))[len("kind")+1:]
		require.Equal(t, tail, append([]byte{}, v.markedItem(key, v.markItem(key, tail))...))
		require.Len(t, key, itemPart+len("kind")+1+placeSize)
	}
}

// FuzzOpenSealed decrypts records whose content was written by somebody who
// has the key and wants no good.
func FuzzOpenSealed(f *testing.F) {
	v := testVault()
	for _, r := range records() {
		if len(r.args) < 1000 && len(r.attempts) < 2 {
			f.Add(r.appendContent(nil), uint8(len(r.attempts)), r.stash != nil)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte, attempts uint8, stashed bool) {
		r := plainRecord
		r.attempts = make([]Attempt, attempts%(maxAttemptsKept+1))
		if stashed {
			r.stash = &stash{}
		}
		r.cancelled, r.reason = hidden, hidden
		r.encrypted = v.records[v.first].Seal(v.first[:], nil, content, v.binding(&r))
		var got record
		if err := v.read(&got, 7, r.encode(7, nil)); err != nil {
			require.ErrorIs(t, err, errBadRecord)
			return
		}
		var again record
		require.NoError(t, v.read(&again, 7, got.encode(7, v)))
		if got.cancelled != "" && got.reason != "" { // an empty text is not told from none
			require.Equal(t, got, again)
		}
		var moved record
		require.NoError(t, moved.decode(7, got.encode(7, v), laneKey{}))
		moved.kind = "other"
		require.ErrorIs(t, v.open(7, &moved), errBadRecord)
	})
}
