package dashboard

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Errors that differ only in what is particular to one job are shown as one.
//
//  1. What is in quotes becomes “…”.
//  2. Runs of letters, digits and what holds addresses together are looked at
//     as a whole: ‹url›, ‹mail›, ‹address›, ‹id›.
//  3. In what is left, words of hex digits become ‹hex›, long ones with
//     several digits ‹id›, and numbers ‹n›.
//  4. But a number from 100 to 599 that stands alone is kept: it may be a
//     status, and a 404 is not a 503.
//
// But for quotes, URLs and mail addresses all these have a digit and become
// something without one, so that doing it again changes nothing.

const (
	maxFailure     = 300  // bytes of a normalised error
	maxFailureRead = 2000 // bytes of it that are looked at
)

// normalise puts a sign in place of each part of an error that is particular
// to one job.
func normalise(text string) string {
	text = strings.ToValidUTF8(cutText(text, maxFailureRead), "")
	text = strings.Join(strings.Fields(text), " ")
	var b strings.Builder
	word := false // the last byte of b is of a word, or a sign
	for i := 0; i < len(text); {
		rest := text[i:]
		if n := quoted(rest, word); n > 0 {
			b.WriteString("“…”")
			i, word = i+n, true
			continue
		}
		if n := bracketed(rest); n > 0 {
			b.WriteString("‹address›")
			i, word = i+n, true
			continue
		}
		if n := runLength(rest); n > 0 {
			writeRun(&b, rest[:n])
			i, word = i+n, true
			continue
		}
		b.WriteByte(rest[0])
		i, word = i+1, rest[0] >= utf8.RuneSelf
	}
	short := cutText(b.String(), maxFailure)
	if short != b.String() {
		short = strings.TrimRight(short, digits) // half a status is none
	}
	return strings.TrimRight(short, " ")
}

// cutText cuts between runes.
func cutText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// quoted is the length of the quotation that a text begins with, or 0. behind
// a word, ' is an apostrophe.
func quoted(text string, word bool) int {
	switch text[0] {
	case '"':
		for i := 1; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
	case '\'', '`':
		if text[0] == '\'' && word {
			return 0
		}
		if i := strings.IndexByte(text[1:], text[0]); i >= 0 {
			return i + 2
		}
	}
	for _, pair := range [][2]string{{"“", "”"}, {"«", "»"}} {
		inside, ok := strings.CutPrefix(text, pair[0])
		if !ok {
			continue
		}
		if i := strings.Index(inside, pair[1]); i >= 0 && !strings.Contains(inside[:i], pair[0]) {
			return len(pair[0]) + i + len(pair[1])
		}
	}
	return 0
}

// bracketed is the length of an address such as [::1]:80 that a text begins
// with, or 0.
func bracketed(text string) int {
	if text[0] != '[' {
		return 0
	}
	end := strings.IndexByte(text, ']') + 1
	if end == 0 || !strings.ContainsAny(text[:end], digits) {
		return 0
	}
	if _, err := netip.ParseAddr(text[1 : end-1]); err != nil {
		return 0
	}
	if strings.HasPrefix(text[end:], ":") {
		if n := leading(text[end+1:], isDigit); n > 0 {
			end += 1 + n
		}
	}
	return end
}

const digits = "0123456789"

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
func isWord(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
}

// leading counts the bytes of a kind that a text begins with.
func leading(text string, is func(byte) bool) (n int) {
	for n < len(text) && is(text[n]) {
		n++
	}
	return n
}

// runLength is the length of what may be an address or an id, without the
// punctuation behind it.
func runLength(text string) int {
	n := leading(text, func(c byte) bool { return isWord(c) || strings.IndexByte(".,:@+/%?=&#~-", c) >= 0 })
	return len(strings.TrimRight(text[:n], ".,:?/-"))
}

// writeRun writes a run, or the sign for it.
func writeRun(b *strings.Builder, run string) {
	if isStatus(run) {
		b.WriteString(run)
		return
	}
	if i := strings.Index(run, "://"); i > 0 {
		b.WriteString("‹url›")
		return
	}
	if i := strings.IndexByte(run, '@'); i > 0 && strings.IndexByte(run[i:], '.') > 0 {
		b.WriteString("‹mail›")
		return
	}
	if strings.ContainsAny(run, digits) {
		if isAddress(run) {
			b.WriteString("‹address›")
			return
		}
		if isUUID(run) {
			b.WriteString("‹id›")
			return
		}
	}
	for len(run) > 0 {
		if n := leading(run, isWord); n > 0 {
			run = run[writeWord(b, run, n):]
			continue
		}
		b.WriteByte(run[0])
		run = run[1:]
	}
}

// isStatus says whether a run may be a status of HTTP or SMTP.
func isStatus(run string) bool {
	return len(run) == 3 && '1' <= run[0] && run[0] <= '5' && isDigit(run[1]) && isDigit(run[2])
}

func isAddress(run string) bool {
	if strings.Count(run, ".") < 3 && strings.Count(run, ":") < 2 {
		return false
	}
	if _, err := netip.ParseAddr(run); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(run)
	return err == nil
}

func isUUID(run string) bool {
	if len(run) != 36 {
		return false
	}
	for i := range len(run) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash && run[i] != '-' || !dash && !isHex(run[i]) {
			return false
		}
	}
	return true
}

// writeWord writes the word of n bytes that a run begins with, or a sign, and
// says how much of the run that was: numbers may go on behind the word.
func writeWord(b *strings.Builder, run string, n int) int {
	word := run[:n]
	numbers := strings.Count(strings.Map(digitOnly, word), "0")
	letters := leading(word, isHex) == n && numbers < n
	switch {
	case numbers == 0:
		b.WriteString(word)
	case len(word) > 2 && (word[:2] == "0x" || word[:2] == "0X") && leading(word[2:], isHex) == n-2, n >= 8 && letters:
		b.WriteString("‹hex›")
	case n >= 16 && numbers >= 2 && numbers < n:
		b.WriteString("‹id›")
	default:
		return writeNumbers(b, run, n)
	}
	return n
}

func digitOnly(r rune) rune {
	if '0' <= r && r <= '9' {
		return '0'
	}
	return -1
}

// writeNumbers writes a word with its numbers as signs. The last one may go on
// behind the word, as 1,000.5 and 2026-11-22 do.
func writeNumbers(b *strings.Builder, run string, n int) int {
	i := 0
	for i < n {
		if !isDigit(run[i]) {
			b.WriteByte(run[i])
			i++
			continue
		}
		i += leading(run[i:], isDigit)
		for i+1 < len(run) && strings.IndexByte(".,:/-", run[i]) >= 0 && isDigit(run[i+1]) {
			i += 1 + leading(run[i+1:], isDigit)
		}
		b.WriteString("‹n›")
	}
	return i
}
