package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What users supplied may hold characters that a terminal obeys: it could
// rewrite the screen, or what is pasted next. They are shown as escapes of Go
// and JSON, in tables and in JSON alike.

// cleanLine is text for one line of a table.
func cleanLine(s string) string { return clean(s, "") }

// cleanText is text of several lines.
func cleanText(s string) string { return clean(s, "\n") }

func clean(s, keep string) string {
	if !strings.ContainsFunc(s, isControl) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case isControl(r):
			writeEscape(&b, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isControl tells characters that control a terminal or turn the direction of
// what follows, so that it reads as something else.
func isControl(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

func writeEscape(b *strings.Builder, r rune) { fmt.Fprintf(b, `\u%04x`, r) }

// cleanJSON is a JSON text with such characters as escapes. They can only be
// in its strings, but for the blanks between, which stay.
func cleanJSON(raw []byte) []byte {
	s := string(raw)
	strange := func(r rune) bool { return isControl(r) && r >= 0x7f }
	if !strings.ContainsFunc(s, strange) {
		return raw
	}
	var b strings.Builder
	for _, r := range s {
		if strange(r) {
			writeEscape(&b, r)
		} else {
			b.WriteRune(r)
		}
	}
	return []byte(b.String())
}

// cleanLines cleans the JSON lines that pass through it. A character must not
// be split between two writes: it keeps what comes behind the last line feed.
type cleanLines struct {
	w    io.Writer
	rest []byte
}

func (c *cleanLines) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	end := strings.LastIndexByte(string(c.rest), '\n') + 1
	_, err := c.w.Write(cleanJSON(c.rest[:end]))
	c.rest = append(c.rest[:0], c.rest[end:]...)
	return len(p), err
}

func (c *cleanLines) flush() error {
	_, err := c.w.Write(cleanJSON(c.rest))
	c.rest = nil
	return err
}
