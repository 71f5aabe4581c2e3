package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/mail"
	"strconv"
	"strings"
)

// The CSV files of orders begin with a line of these names.
var columns = []string{"number", "name", "email", "total", "status"}

// errBadLine: one line makes no sense. The text begins with its number.
var errBadLine = errors.New("passed over")

// readCSV yields the orders of a file and, as errBadLine, the lines that are
// none. Any other error is the last. Each line is read by itself, so a quote
// that is never closed costs its own line and not the rest of the file.
func readCSV(r io.Reader) iter.Seq2[Order, error] {
	return func(yield func(Order, error) bool) {
		lines := bufio.NewScanner(r)
		for number := 1; lines.Scan(); number++ {
			line := lines.Text()
			if number == 1 {
				if err := checkHeader(line); err != nil {
					yield(Order{}, err)
					return
				}
				continue
			}
			if line == "" {
				continue
			}
			order, err := parseLine(line)
			if err != nil {
				err = fmt.Errorf("%d: %w: %w", number, errBadLine, err)
			}
			if !yield(order, err) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Order{}, err)
		}
	}
}

func checkHeader(line string) error {
	line = strings.TrimPrefix(line, "\ufeff") // as spreadsheets write it
	if want := strings.Join(columns, ","); line != want {
		return fmt.Errorf("the first line of a file of orders is %s", want)
	}
	return nil
}

func parseLine(line string) (Order, error) {
	fields, err := csv.NewReader(strings.NewReader(line)).Read()
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		err = syntax.Err // its line number is always 1
	}
	if err != nil {
		return Order{}, err
	}
	return parseOrder(fields)
}

func parseOrder(fields []string) (order Order, err error) {
	if len(fields) != len(columns) {
		return Order{}, fmt.Errorf("%d fields instead of %d", len(fields), len(columns))
	}
	order.Name, order.Email, order.Status = fields[1], fields[2], fields[4]
	if order.Number, err = strconv.ParseUint(fields[0], 10, 63); err != nil || order.Number == 0 {
		return Order{}, fmt.Errorf("number %q is not a positive whole number", fields[0])
	}
	if address, err := mail.ParseAddress(order.Email); err != nil || address.Address != order.Email {
		return Order{}, fmt.Errorf("email %q is not an address", order.Email)
	}
	if order.Cents, err = parseCents(fields[3]); err != nil {
		return Order{}, err
	}
	switch order.Status {
	case "open", "confirmed", "cancelled":
		return order, nil
	}
	return Order{}, fmt.Errorf("status %q is none of open, confirmed and cancelled", order.Status)
}

// parseCents reads 49.90 without the detour of a float.
func parseCents(text string) (int64, error) {
	whole, cents, ok := strings.Cut(text, ".")
	n, err := strconv.ParseUint(whole+cents, 10, 63)
	if !ok || len(cents) != 2 || err != nil {
		return 0, fmt.Errorf("total %q is not an amount like 49.90", text)
	}
	return int64(n), nil
}

func formatCents(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// writeCSV writes a file that readCSV reads.
func writeCSV(w io.Writer, all iter.Seq[Order]) error {
	lines := csv.NewWriter(w)
	if err := lines.Write(columns); err != nil {
		return err
	}
	for order := range all {
		err := lines.Write([]string{strconv.FormatUint(order.Number, 10), order.Name, order.Email, formatCents(order.Cents), order.Status})
		if err != nil {
			return err
		}
	}
	lines.Flush()
	return lines.Error()
}
