package stint

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Keys: what Config.Keys comes to in a file.
//
//  1. A file that is made with keys gets a secret of 32 random bytes. It lies
//     in the meta bucket, encrypted with the first key of the ring.
//  2. Open decrypts it with the key whose id stands before it, which proves
//     that key. If it is not the first of the ring any more, the secret is
//     encrypted anew with the first.
//  3. Nothing is encrypted with a key itself: HKDF derives others from it, and
//     from the secret, with the identity of the file as salt. So each file has
//     its own, also where a program has one key for many.
//  4. Keys of the ring are for the records of jobs (vault.go), those from the
//     secret for all else, which so need not be rewritten when the ring turns.
//     A key that got into wrong hands therefore asks for Rekey, which makes a
//     new secret.

const (
	cryptSize    = 32 // of a key and of a secret: AES-256
	identitySize = 16 // of a file
)

// keyName names a key in the file and in messages.
type keyName [8]byte

func (id keyName) String() string { return hex.EncodeToString(id[:]) }

func nameOfKey(key []byte) keyName {
	sum := sha256.Sum256(append([]byte("stint key\x00"), key...))
	return keyName(sum[:len(keyName{})])
}

// checkKeys is a copy of a key ring that makes sense.
func checkKeys(keys [][]byte) ([][]byte, error) {
	var ring [][]byte
	for i, key := range keys {
		if len(key) != cryptSize {
			return nil, fmt.Errorf("%w: key %d of %d has %d bytes; a key is %d random bytes, as rand.Read of crypto/rand makes them, and never a password", ErrConfig, i+1, len(keys), len(key), cryptSize)
		}
		if string(key) == string(make([]byte, cryptSize)) {
			return nil, fmt.Errorf("%w: key %d of %d has nothing but zeros in it; fill it with rand.Read of crypto/rand, once, and keep it", ErrConfig, i+1, len(keys))
		}
		same := slices.IndexFunc(ring, func(other []byte) bool { return string(other) == string(key) })
		if same >= 0 {
			return nil, fmt.Errorf("%w: keys %d and %d are equal; name each key once, the one to encrypt with first", ErrConfig, same+1, i+1)
		}
		ring = append(ring, slices.Clone(key))
	}
	return ring, nil
}

// namesOf lists the ids of a ring.
func namesOf(keys [][]byte) string {
	var names []string
	for _, key := range keys {
		names = append(names, nameOfKey(key).String())
	}
	return strings.Join(names, ", ")
}

// plantSecret gives a new file its secret, if it is to be encrypted. It
// belongs into the transaction that makes the buckets: a file that has none is
// a plain one.
func plantSecret(root *bolt.Bucket, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	meta := root.Bucket(bucketNames[bucketMeta])
	v := newVault(sealedIn(meta, keyFile), keys, newSecret())
	return v.putSecret(meta)
}

func newSecret() []byte {
	secret := make([]byte, cryptSize)
	rand.Read(secret)
	return secret
}

// unlock finds out whether the keys are those of the file.
func (q *Queue) unlock() error {
	stale := false
	err := q.store.view(func(tx *bolt.Tx) (err error) {
		q.vault, stale, err = openVault(tx.Bucket(rootBucket), q.cfg.Keys, tx.DB().Path())
		return err
	})
	if err != nil || !stale {
		return err
	}
	return storeError(q.store.update(func(tx *bolt.Tx) error {
		return q.vault.putSecret(tx.Bucket(rootBucket).Bucket(bucketNames[bucketMeta]))
	}))
}

// openVault is the vault of a file, nil for a plain one. stale says that the
// secret is encrypted with another key than the first.
func openVault(root *bolt.Bucket, keys [][]byte, path string) (v *vault, stale bool, err error) {
	meta := root.Bucket(bucketNames[bucketMeta])
	if meta.Get(keySecret) == nil {
		if len(keys) == 0 {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("%w: %s is not encrypted, and there are keys; encrypt it by calling Rekey once, or leave the keys out", ErrWrongKey, path)
	}
	file, value := sealedIn(meta, keyFile), sealedIn(meta, keySecret)
	id, sealed, ok := cutKeyName(value)
	if len(file) != identitySize || !ok {
		return nil, false, fmt.Errorf("%w: the secret of %s makes no sense; restore a backup", ErrCorrupt, path)
	}
	if len(keys) == 0 {
		return nil, false, fmt.Errorf("%w: %s is encrypted with the key %v, and there are no keys; set Config.Keys", ErrWrongKey, path, id)
	}
	at := slices.IndexFunc(keys, func(key []byte) bool { return nameOfKey(key) == id })
	if at < 0 {
		return nil, false, fmt.Errorf("%w: %s is encrypted with the key %v, the keys given are %s; add that key to them", ErrWrongKey, path, id, namesOf(keys))
	}
	secret, err := secretCipher(keys[at], file).Open(nil, nil, sealed, keySecret)
	if err != nil || len(secret) != cryptSize {
		return nil, false, fmt.Errorf("%w: the secret of %s is damaged, or was moved there from another file; restore a backup", ErrCorrupt, path)
	}
	return newVault(file, keys, secret), at != 0, nil
}

func (v *vault) putSecret(meta *bolt.Bucket) error { return meta.Put(keySecret, v.sealedSecret()) }

// sealedSecret is the secret, encrypted with the first key.
func (v *vault) sealedSecret() []byte {
	id := nameOfKey(v.ring[0])
	return sealValue(keySecret, secretCipher(v.ring[0], v.file).Seal(id[:], nil, v.secret, keySecret))
}

func secretCipher(key, file []byte) cipher.AEAD {
	return gcmWith(deriveKey(key, file, "stint file secret"))
}

// cutKeyName takes the id of the key off what was encrypted with it.
func cutKeyName(b []byte) (id keyName, sealed []byte, ok bool) {
	if len(b) < len(id) {
		return id, nil, false
	}
	return keyName(b[:len(id)]), b[len(id):], true
}

// deriveKey makes a key for one use in one file.
func deriveKey(from, file []byte, use string) []byte {
	key, err := hkdf.Key(sha256.New, from, file, use, cryptSize)
	if err != nil {
		panic("stint: no key can be derived: " + err.Error()) // its sizes are fixed
	}
	return key
}

// gcmWith encrypts with AES-256-GCM and a random nonce, which leads what comes
// out.
func gcmWith(key []byte) cipher.AEAD {
	aead, err := cipher.NewGCMWithRandomNonce(aesWith(key))
	if err != nil {
		panic("stint: no AES-GCM: " + err.Error())
	}
	return aead
}

func aesWith(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("stint: no AES: " + err.Error()) // the key has its size
	}
	return block
}
