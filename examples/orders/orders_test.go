package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// leapDay keeps the schedule from firing into a test.
const leapDay = "15 3 29 2 *"

// testShop is a shop in a fresh file that sends its mail to office.
func testShop(t *testing.T, office *postOffice) *shop {
	t.Helper()
	s, err := openShop(options{
		file: filepath.Join(t.TempDir(), "orders.db"), smtp: office.address, from: "Shop <shop@shop.example>",
		spec: leapDay, zone: "Europe/Berlin",
		backoff: stint.Constant(0), logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.close()) })
	return s
}

func testOffice(t *testing.T, busyEach int) *postOffice {
	t.Helper()
	office, err := openPostOffice(busyEach)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, office.close()) })
	return office
}

// put stores orders without a file.
func (s *shop) put(t *testing.T, list ...Order) {
	t.Helper()
	_, bad, err := s.orders.takeOver(func(yield func(Order, error) bool) {
		for _, order := range list {
			if !yield(order, nil) {
				return
			}
		}
	})
	require.NoError(t, err)
	require.Empty(t, bad)
}

func (s *shop) waitingNumbers(t *testing.T) (numbers []uint64) {
	t.Helper()
	for number, err := range s.orders.waiting(0) {
		require.NoError(t, err)
		numbers = append(numbers, number)
	}
	return numbers
}

func TestImport(t *testing.T) {
	const table = "\ufeffnumber,name,email,total,status\r\n" +
		"7,Ana Adler,ana@mail.example,49.90,confirmed\n" +
		"8,\"Bo\" Bauer,bo@mail.example,1.00,confirmed\n" +
		"9,Chloé,chloe@mail.example,1.00\n" +
		"\n" +
		"10,\"Dmitri, Ito,dmitri@mail.example,1.00,confirmed\n" +
		"11,\"Elif, née Ito\",elif@mail.example,0.05,open\n" +
		"twelve,Götz,goetz@mail.example,1.00,confirmed\n" +
		"0,Götz,goetz@mail.example,1.00,confirmed\n" +
		"13,Hana,hana.mail.example,1.00,confirmed\n" +
		"14,Ivo,\"ivo@mail.example\r\nBcc: all@mail.example\",1.00,confirmed\n" +
		"15,Kofi,kofi@mail.example,1.5,confirmed\n" +
		"16,Léa,lea@mail.example,-1.50,confirmed\n" +
		"17,Ana,ana@mail.example,1.50,CONFIRMED\n" +
		"18,Zoë,zoe@mail.example,2.50,confirmed"
	name := filepath.Join(t.TempDir(), "orders.csv")
	require.NoError(t, os.WriteFile(name, []byte(table), 0o600))
	s := testShop(t, testOffice(t, 0))
	var told strings.Builder
	require.NoError(t, importFile(s.orders, name, &told))

	var lines []string
	for line := range strings.Lines(told.String()) {
		lines = append(lines, strings.TrimSpace(strings.TrimPrefix(line, name+":")))
	}
	require.Equal(t, []string{
		`3: passed over: extraneous or missing " in quoted-field`,
		`4: passed over: 4 fields instead of 5`,
		`6: passed over: extraneous or missing " in quoted-field`,
		`8: passed over: number "twelve" is not a positive whole number`,
		`9: passed over: number "0" is not a positive whole number`,
		`10: passed over: email "hana.mail.example" is not an address`,
		`11: passed over: extraneous or missing " in quoted-field`,
		`12: passed over: bare " in non-quoted-field`,
		`13: passed over: total "1.5" is not an amount like 49.90`,
		`14: passed over: total "-1.50" is not an amount like 49.90`,
		`15: passed over: status "CONFIRMED" is none of open, confirmed and cancelled`,
		`3 orders taken over, 11 lines passed over`,
	}, lines)
	require.Equal(t, []uint64{7, 18}, s.waitingNumbers(t))
	order, err := s.orders.get(11)
	require.NoError(t, err)
	require.Equal(t, Order{Number: 11, Name: "Elif, née Ito", Email: "elif@mail.example", Cents: 5, Status: "open"}, order)
}

func TestImportOfSomethingElse(t *testing.T) {
	for name, table := range map[string]string{
		"another table": "id,email\n1,ana@mail.example\n",
		"a binary file": strings.Repeat("\x00", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			s := testShop(t, testOffice(t, 0))
			taken, bad, err := s.orders.takeOver(readCSV(strings.NewReader(table)))
			require.Error(t, err)
			require.Empty(t, bad)
			require.Zero(t, taken)
		})
	}
}

func TestGenerateAndImport(t *testing.T) {
	var table bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-generate", "2500"}, &table, os.Stderr))
	s := testShop(t, testOffice(t, 0))
	taken, bad, err := s.orders.takeOver(readCSV(&table))
	require.NoError(t, err)
	require.Empty(t, bad)
	require.Equal(t, 2500, taken)

	var confirmed []uint64
	for want := range inventOrders(2500) {
		got, err := s.orders.get(want.Number)
		require.NoError(t, err)
		require.Equal(t, want, got)
		if want.Status == "confirmed" {
			confirmed = append(confirmed, want.Number)
		}
	}
	require.Equal(t, confirmed, s.waitingNumbers(t), "more than one page of them")
}

func TestOrdersThatAreTakenOverAgain(t *testing.T) {
	s := testShop(t, testOffice(t, 0))
	order := Order{Number: 7, Name: "Ana", Email: "ana@mail.example", Status: "open"}
	s.put(t, order)
	require.Empty(t, s.waitingNumbers(t))
	order.Status = "confirmed"
	s.put(t, order)
	require.Equal(t, []uint64{7}, s.waitingNumbers(t))
	order.Status = "cancelled"
	s.put(t, order)
	require.Empty(t, s.waitingNumbers(t))

	order.Status = "confirmed"
	s.put(t, order)
	at := order.NotifiedAt.AddDate(2026, 0, 0)
	require.NoError(t, s.queue.Update(func(tx *bolt.Tx) error { return markNotified(tx, 7, "<1@x>", at) }))
	s.put(t, order)
	require.Empty(t, s.waitingNumbers(t))
	order, err := s.orders.get(7)
	require.NoError(t, err)
	require.Equal(t, "<1@x>", order.MessageID)
	require.True(t, order.NotifiedAt.Equal(at))
}

func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orders.db")
	for want, args := range map[string][]string{
		"unexpected argument":  {"-daemon", "orders.csv"},
		"-now needs -daemon":   {"-now"},
		"-http needs -daemon":  {"-http", "localhost:0"},
		"lists the flags":      {"-nonsense"},
		"must be at least 1":   {"-orders", "0"},
		"host:port":            {"-daemon", "-db", file, "-smtp", "localhost"},
		"the sender's address": {"-daemon", "-db", file, "-from", "shop"},
		"bad schedule":         {"-daemon", "-db", file, "-at", "at night"},
		"unknown time zone":    {"-daemon", "-db", file, "-zone", "Europe/Berlina"},
		"no such file":         {"-db", file, "-import", file + ".csv"},
	} {
		require.ErrorContains(t, run(t.Context(), args, io.Discard, io.Discard), want)
	}
}
