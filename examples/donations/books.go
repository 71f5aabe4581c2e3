package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// Donation is one payment.
type Donation struct {
	Reference  string `json:"reference"`
	Fundraiser string `json:"fundraiser"`
	Cents      int64  `json:"cents"`
	Donor      string `json:"donor"`           // an address
	Email      string `json:"email,omitempty"` // the email whose link brought the donor
}

func (d Donation) valid() bool {
	named := func(s string) bool { return s != "" && len(s) <= 255 && !strings.Contains(s, "/") }
	return named(d.Reference) && named(d.Fundraiser) && len(d.Donor) <= 255 && len(d.Email) <= 255 && d.Cents > 0
}

func (d Donation) key() []byte { return []byte(d.Fundraiser + "/" + d.Reference) }

// Email is one that asked somebody for a donation.
type Email struct {
	Fundraiser string `json:"fundraiser"`
	To         string `json:"to"`
	Donated    bool   `json:"donated"`
}

// Totals are what the donations of a fundraiser add up to.
type Totals struct {
	Donations int   `json:"donations"`
	Cents     int64 `json:"cents"`

	Recounts int `json:"recounts"` // that made them
	Requests int `json:"requests"` // that these recounts stood for
}

// The application's own buckets, beside that of the queue in the same file.
var (
	donationsBucket = []byte("donations.donations") // fundraiser/reference → Donation
	emailsBucket    = []byte("donations.emails")    // id → Email
	sentBucket      = []byte("donations.sent")      // fundraiser/address → id of the email
	totalsBucket    = []byte("donations.totals")    // fundraiser → Totals
)

func createBuckets(queue *stint.Queue) error {
	return queue.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{donationsBucket, emailsBucket, sentBucket, totalsBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// addDonation answers errIsThere for one that is.
func addDonation(tx *bolt.Tx, d Donation) error {
	bucket := tx.Bucket(donationsBucket)
	if bucket.Get(d.key()) != nil {
		return errIsThere
	}
	return put(bucket, d.key(), d)
}

func donation(tx *bolt.Tx, fundraiser, reference string) (d Donation, err error) {
	d.Fundraiser, d.Reference = fundraiser, reference
	err = get(tx.Bucket(donationsBucket), d.key(), &d)
	return d, err
}

// countDonations reads them all.
func countDonations(tx *bolt.Tx, fundraiser string) (t Totals, err error) {
	prefix := []byte(fundraiser + "/")
	cursor := tx.Bucket(donationsBucket).Cursor()
	for key, value := cursor.Seek(prefix); bytes.HasPrefix(key, prefix); key, value = cursor.Next() {
		var d Donation
		if err := json.Unmarshal(value, &d); err != nil {
			return t, err
		}
		t.Donations++
		t.Cents += d.Cents
	}
	return t, nil
}

func totals(tx *bolt.Tx, fundraiser string) (t Totals, err error) {
	if err = get(tx.Bucket(totalsBucket), []byte(fundraiser), &t); errors.Is(err, errNotThere) {
		err = nil // nothing was counted yet
	}
	return t, err
}

func putTotals(tx *bolt.Tx, fundraiser string, t Totals) error {
	return put(tx.Bucket(totalsBucket), []byte(fundraiser), t)
}

// addEmail notes an email that was sent.
func addEmail(tx *bolt.Tx, id string, e Email) error {
	if err := tx.Bucket(sentBucket).Put([]byte(e.Fundraiser+"/"+e.To), []byte(id)); err != nil {
		return err
	}
	return put(tx.Bucket(emailsBucket), []byte(id), e)
}

// emailOf is the email that led to a donation: the one whose link was
// followed, or else one to the donor's address about the same fundraiser.
func emailOf(tx *bolt.Tx, d Donation) (id []byte, e Email, err error) {
	for _, id := range [][]byte{[]byte(d.Email), tx.Bucket(sentBucket).Get([]byte(d.Fundraiser + "/" + d.Donor))} {
		err = get(tx.Bucket(emailsBucket), id, &e)
		if err == nil || !errors.Is(err, errNotThere) {
			return id, e, err
		}
	}
	return nil, e, errNotThere
}

// markEmail lets the email of a donation know, if there is one.
func markEmail(tx *bolt.Tx, d Donation) error {
	id, e, err := emailOf(tx, d)
	switch {
	case errors.Is(err, errNotThere) || err == nil && e.Donated:
		return nil
	case err != nil:
		return err
	}
	e.Donated = true
	return put(tx.Bucket(emailsBucket), id, e)
}

var (
	errIsThere  = errors.New("it is in the file already")
	errNotThere = errors.New("it is not in the file")
)

func get(bucket *bolt.Bucket, key []byte, value any) error {
	data := bucket.Get(key)
	if data == nil {
		return fmt.Errorf("%q: %w", key, errNotThere)
	}
	return json.Unmarshal(data, value)
}

func put(bucket *bolt.Bucket, key []byte, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return bucket.Put(key, data)
}
