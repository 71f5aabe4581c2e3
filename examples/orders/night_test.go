package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

func TestDemo(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-orders", "1200"}, &out, io.Discard))
	require.Contains(t, out.String(), "Subject: 1069 orders confirmed, 12 refused")
	require.Contains(t, out.String(), "no such mailbox")
	require.Contains(t, out.String(), "OK: exactly one mail was accepted for each of 1069 orders, none for the 131 others.")
}

// night runs one night of a shop.
func (s *shop) night(t *testing.T) {
	t.Helper()
	require.NoError(t, s.runNight(t.Context(), len(s.waitingNumbers(t)), io.Discard))
}

func TestNights(t *testing.T) {
	office := testOffice(t, 3)
	s := testShop(t, office)
	s.put(t,
		Order{Number: 1, Email: "ana@mail.example", Status: "confirmed"},
		Order{Number: 2, Email: "bo@" + movedAway, Status: "confirmed"},
		Order{Number: 3, Email: "chloe@mail.example", Status: "open"},
		Order{Number: 4, Email: "dmitri@mail.example", Status: "confirmed"})
	s.night(t)
	require.Equal(t, []uint64{2}, s.waitingNumbers(t))

	s.put(t,
		Order{Number: 2, Email: "bo@mail.example", Status: "confirmed"},
		Order{Number: 3, Email: "chloe@mail.example", Status: "confirmed"})
	s.night(t)
	s.night(t) // has nothing to do
	require.Empty(t, s.waitingNumbers(t))
	mails, err := s.audit(office)
	require.NoError(t, err)
	require.Equal(t, audited{sent: 4}, mails)

	var subjects []string
	for _, digest := range office.lettersTo("shop@shop.example") {
		subjects = append(subjects, digest.subject)
	}
	require.ElementsMatch(t, []string{"2 orders confirmed, 1 refused", "2 orders confirmed, 0 refused", "0 orders confirmed, 0 refused"}, subjects)
}

func TestOrdersThatNeedNoMailAnyMore(t *testing.T) {
	office := testOffice(t, 0)
	s := testShop(t, office)
	s.put(t, Order{Number: 1, Email: "ana@mail.example", Status: "cancelled"})
	require.NoError(t, s.queue.Perform(t.Context(), Confirmation{1}))
	require.ErrorIs(t, s.queue.Perform(t.Context(), Confirmation{2}), errNoOrder)
	require.Empty(t, office.letters())
}

func TestPlannerGoesOn(t *testing.T) {
	s := testShop(t, testOffice(t, 0))
	for n := range 3 {
		s.put(t, Order{Number: uint64(n + 1), Email: "ana@mail.example", Status: "confirmed"})
	}
	planned := func(after *Confirmation) (found []uint64) {
		for item, err := range s.planNight(context.Background(), &stint.Planning[Confirmation]{After: after}) {
			require.NoError(t, err)
			found = append(found, item.Order)
		}
		return found
	}
	require.Equal(t, []uint64{1, 2, 3}, planned(nil))
	require.Equal(t, []uint64{3}, planned(&Confirmation{2}))
	require.Empty(t, planned(&Confirmation{3}))
}

func TestAuditFindsWhatIsWrong(t *testing.T) {
	for want, spoil := range map[string]func(office *postOffice, order *Order){
		"is not marked":         func(_ *postOffice, order *Order) { order.NotifiedAt = time.Time{} },
		"was not accepted":      func(office *postOffice, order *Order) { delete(office.accepted, order.MessageID) },
		"no mail can have been": func(_ *postOffice, order *Order) { order.Status = "open" },
		"belongs to no order":   func(office *postOffice, _ *Order) { office.accepted["<1@x>"] = []received{{to: "x@x"}} },
	} {
		t.Run(want, func(t *testing.T) {
			office := testOffice(t, 0)
			s := testShop(t, office)
			s.put(t, Order{Number: 1, Email: "ana@mail.example", Status: "confirmed"})
			s.night(t)
			mails, err := s.audit(office)
			require.NoError(t, err)
			require.Equal(t, audited{sent: 1}, mails)

			order, err := s.orders.get(1)
			require.NoError(t, err)
			spoil(office, &order)
			require.NoError(t, s.queue.Update(func(tx *bolt.Tx) error { return save(tx, &order) }))
			_, err = s.audit(office)
			require.ErrorContains(t, err, want)
		})
	}
}
