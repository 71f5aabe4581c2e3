package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), strings.Fields("-donations 200 -fundraisers 3"), &out, io.Discard), out.String())
	assert.Contains(t, out.String(), "each of the 200 donations was counted once")
	assert.Regexp(t, `for 200 requests: 1\d\d runs were saved`, out.String())

	file := filepath.Join(t.TempDir(), "donations.queue")
	for _, n := range []string{"20", "30"} { // the second time goes on
		out.Reset()
		require.NoError(t, run(t.Context(), strings.Fields("-db "+file+" -donations "+n), &out, io.Discard), out.String())
		assert.Contains(t, out.String(), "each of the "+n+" donations was counted once")
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"extra", "-donations 0", "-fundraisers -1", "-donors 0", "-nonsense"} {
		assert.ErrorIs(t, run(t.Context(), strings.Fields(args), io.Discard, io.Discard), errUsage, args)
	}
}

func TestDonate(t *testing.T) {
	s := startSite(t)
	post := func(form string) int {
		values, err := url.ParseQuery(form)
		require.NoError(t, err)
		response, err := http.PostForm(s.url+"/donate", values)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	for _, form := range []string{
		"", "reference=1&fundraiser=roof", "reference=1&fundraiser=roof&cents=0", "reference=1&fundraiser=roof&cents=-5",
		"reference=1&fundraiser=roof&cents=x", "fundraiser=roof&cents=500", "reference=1&cents=500",
		"reference=a/b&fundraiser=roof&cents=500", "reference=1&fundraiser=roof&cents=500&donor=" + strings.Repeat("x", 256),
	} {
		assert.Equal(t, http.StatusBadRequest, post(form), form)
	}
	for range 3 { // of which two repeat the first
		assert.Equal(t, http.StatusNoContent, post("reference=1&fundraiser=roof&cents=500&donor=a%40example.edu"))
	}
	assert.Equal(t, http.StatusNoContent, post("reference=2&fundraiser=roof&cents=700&email_id=unknown"))
	require.NoError(t, s.settled(t.Context()))
	require.NoError(t, s.queue.View(func(tx *bolt.Tx) error {
		got, err := totals(tx, "roof")
		assert.Equal(t, Totals{Donations: 2, Cents: 1200, Recounts: got.Recounts, Requests: 2}, got)
		return err
	}))

	require.NoError(t, s.queue.Close())
	answer := httptest.NewRecorder()
	s.donate(answer, httptest.NewRequest(http.MethodPost, "/donate?reference=3&fundraiser=roof&cents=500", nil))
	assert.Equal(t, http.StatusBadRequest, answer.Code, "the form is the body, not the link")
	request := httptest.NewRequest(http.MethodPost, "/donate", strings.NewReader("reference=3&fundraiser=roof&cents=500"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer = httptest.NewRecorder()
	s.donate(answer, request)
	assert.Equal(t, http.StatusServiceUnavailable, answer.Code)
}

func TestEmailsAreFound(t *testing.T) {
	s := startSite(t)
	require.NoError(t, s.queue.Update(func(tx *bolt.Tx) error {
		for id, to := range map[string]string{"1": "a", "2": "b", "3": "c"} {
			require.NoError(t, addEmail(tx, id, Email{Fundraiser: "roof", To: to}))
		}
		for d, want := range map[Donation]string{
			{Email: "1", Donor: "b", Fundraiser: "roof"}:        "1", // by its link
			{Email: "forged", Donor: "b", Fundraiser: "roof"}:   "2", // by the address
			{Email: "", Donor: "b", Fundraiser: "roof"}:         "2",
			{Email: "", Donor: "b", Fundraiser: "pool"}:         "", // which was asked about the roof
			{Email: "", Donor: "nobody", Fundraiser: "roof"}:    "",
			{Email: "", Donor: "", Fundraiser: ""}:              "",
			{Email: "forged", Donor: "x/y", Fundraiser: "roof"}: "",
		} {
			id, _, err := emailOf(tx, d)
			assert.Equal(t, want, string(id), "%+v", d)
			assert.Equal(t, want == "", err != nil)
		}
		return nil
	}))
}

// The demonstration must be able to fail.
func TestAudit(t *testing.T) {
	s := startSite(t)
	c := campaign{donations: 40, fundraisers: 2, donors: 4}
	require.NoError(t, c.run(t.Context(), s, io.Discard))
	d, byLink := c.donation(0), c.donation(0)
	for n := 0; byLink.Email == ""; n++ {
		byLink = c.donation(n)
	}
	for reason, spoil := range map[string]func(tx *bolt.Tx) error{
		"its totals say": func(tx *bolt.Tx) error {
			return putTotals(tx, d.Fundraiser, Totals{Donations: 1})
		},
		"were asked for 0 times": func(tx *bolt.Tx) error {
			counted, err := countDonations(tx, d.Fundraiser)
			require.NoError(t, err)
			return putTotals(tx, d.Fundraiser, counted)
		},
		"is stored as": func(tx *bolt.Tx) error { return tx.Bucket(donationsBucket).Delete(d.key()) },
		"led to a donation: false": func(tx *bolt.Tx) error {
			return addEmail(tx, "new", Email{Fundraiser: "roof", To: "nobody", Donated: true})
		},
		"led to a donation: true": func(tx *bolt.Tx) error {
			id, e, err := emailOf(tx, byLink)
			require.NoError(t, err)
			e.Donated = false
			return put(tx.Bucket(emailsBucket), id, e)
		},
	} {
		t.Run(reason, func(t *testing.T) {
			tx, err := s.queue.DB().Begin(true)
			require.NoError(t, err)
			defer func() { require.NoError(t, tx.Rollback()) }()
			_, err = c.audit(tx)
			require.NoError(t, err)
			require.NoError(t, spoil(tx))
			_, err = c.audit(tx)
			require.ErrorContains(t, err, reason)
		})
	}
}

func startSite(t *testing.T) *site {
	t.Helper()
	s, err := openSite(filepath.Join(t.TempDir(), "donations.queue"))
	require.NoError(t, err)
	hurry(t, s)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		assert.NoError(t, s.close())
	})
	return s
}

// hurry spares the syncs: the disk's speed is not what these tests are about.
func hurry(t *testing.T, s *site) {
	t.Helper()
	require.NoError(t, s.queue.Update(func(*bolt.Tx) error { // or a commit could be under way
		s.queue.DB().NoSync = true
		return nil
	}))
}
