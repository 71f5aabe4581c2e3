package dashboard

import (
	"slices"
	"strings"
)

// secretParts make a secret of a key that contains one of them, whatever its
// case and its _ and - are.
var secretParts = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "accesskey", "privatekey", "authorization", "bearer",
	"cookie", "credential", "creditcard", "cardnumber", "sessionid", "signature",
}

// secretWords do so as a whole word of it only: a business name has an ssn in
// it as well.
var secretWords = []string{"pass", "ssn", "otp", "totp", "pin", "cvv", "cvc", "jwt"}

const maxKey = 100 // bytes of a key that are looked at

// isSecret says whether a key looks like that of a secret.
func isSecret(key string) bool {
	var joined [maxKey]byte
	n, from := 0, 0
	if len(key) > maxKey {
		key = key[len(key)-maxKey:] // what it is stands at the end
	}
	word := func(to int) bool { return to > from && slices.Contains(secretWords, string(joined[from:to])) }
	for i := 0; i < len(key); i++ {
		c := key[i]
		upper := c >= 'A' && c <= 'Z'
		switch {
		case c == '_' || c == '-' || c == '.' || c == ' ':
			if word(n) {
				return true
			}
			from = n
			continue
		case upper && i > 0 && key[i-1] >= 'a' && key[i-1] <= 'z':
			if word(n) {
				return true
			}
			from = n
		}
		if upper {
			c += 'a' - 'A'
		}
		joined[n] = c
		n++
	}
	whole := string(joined[:n])
	return word(n) || slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(whole, part) })
}

// maskText masks what looks like a secret in a text that people or programs
// have written: key=value, "key": "value" and key: value with a key that is
// secret, Bearer tokens, and names and passwords in addresses.
func maskText(s string) string {
	var b strings.Builder
	done := 0
	at := nextAt(s, 0) // of the next @, so that texts of colons cost little
	for i := 0; i < len(s); i++ {
		from, to := 0, 0
		switch c := s[i]; {
		case c == ':' || c == '=':
			if from, to = secretAfter(s, i); to > from {
				break
			}
			if at < i {
				at = nextAt(s, i)
			}
			if at-i <= maxUserInfo {
				from, to = userInfo(s, i)
			}
		case c == 'B' || c == 'b':
			from, to = bearer(s, i)
		}
		if to > from {
			b.WriteString(s[done:from])
			b.WriteString(redacted)
			done, i = to, to-1
		}
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// nextAt is where the next @ from i on is; if there is none, out of reach.
func nextAt(s string, i int) int {
	if n := strings.IndexByte(s[i:], '@'); n >= 0 {
		return i + n
	}
	return len(s) + 2*maxUserInfo
}

// secretAfter is where the value is that belongs to the secret key before the
// sign at i.
func secretAfter(s string, i int) (from, to int) {
	if i == 0 || s[i-1] == ':' || s[i-1] == '=' {
		return 0, 0
	}
	key := strings.TrimRight(s[max(0, i-maxKey-8):i], " \t")
	key = strings.TrimRight(key, "\"'`\\]")
	begin := strings.LastIndexFunc(key, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
	})
	if key = key[begin+1:]; begin >= 0 && key != "" && key[0] >= 0x80 {
		key = strings.TrimLeftFunc(key, func(r rune) bool { return r >= 0x80 })
	}
	if key == "" || !isSecret(key) {
		return 0, 0
	}
	from = i
	for from < len(s) && strings.IndexByte(":=> \t", s[from]) >= 0 {
		from++
	}
	lower := strings.ToLower(key)
	if s[i] == ':' && from < len(s) && !isQuote(s[from]) && (strings.Contains(lower, "cookie") || strings.Contains(lower, "passphrase")) {
		return from, from + lineEnd(s[from:]) // these have spaces in them
	}
	return from, valueEnd(s, from)
}

func isQuote(c byte) bool { return c == '"' || c == '\'' || c == '`' }

func lineEnd(s string) int {
	if end := strings.IndexAny(s, "\"\r\n"); end >= 0 {
		return end
	}
	return len(s)
}

// valueEnd is behind the value that begins at from.
func valueEnd(s string, from int) int {
	slashes := from
	for slashes < len(s) && s[slashes] == '\\' {
		slashes++
	}
	if slashes < len(s) && isQuote(s[slashes]) {
		return quoteEnd(s, from, slashes)
	}
	end := wordEnd(s, from)
	switch strings.ToLower(s[from:end]) {
	case "bearer", "basic", "digest", "negotiate", "token", "apikey":
		if next := end + len(s[end:]) - len(strings.TrimLeft(s[end:], " \t")); next > end {
			return wordEnd(s, next)
		}
	}
	return end
}

// quoteEnd is behind the quote that closes the one at quote, which has as many
// backslashes before it.
func quoteEnd(s string, from, quote int) int {
	closing := s[from : quote+1]
	if quote == from && s[quote] == '"' {
		for i := quote + 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return len(s)
	}
	if n := strings.Index(s[quote+1:], closing); n >= 0 {
		return quote + 1 + n + len(closing)
	}
	return len(s)
}

// wordEnd is behind a value without quotes, with what brackets hold.
func wordEnd(s string, from int) int {
	depth := 0
	for i := from; i < len(s); i++ {
		switch c := s[i]; c {
		case '[', '{', '(':
			depth++
		case ']', '}', ')':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ' ', '\t', '\r', '\n', ',', ';', '&', '"', '\'', '<', '>', '\\':
			if depth == 0 {
				return i
			}
		}
	}
	return len(s)
}

// These bound how far is looked behind each colon: a text may consist of them.
const (
	maxUserInfo = 2048
	maxPassword = 300
)

// userInfo is where name and password stand in scheme://name:password@host,
// or the password in name:password@tcp(host), for the colon at i.
func userInfo(s string, i int) (from, to int) {
	if s[i] != ':' {
		return 0, 0
	}
	run := s[i+1:]
	address, isURL := strings.CutPrefix(run, "//")
	limit := maxPassword
	if isURL {
		limit = maxUserInfo
	}
	run = run[:min(len(run), limit)]
	if end := strings.IndexAny(run, " \t\r\n\"'`<>\\"); end >= 0 {
		run = run[:end]
	}
	at := strings.LastIndexByte(run, '@')
	if at < 0 {
		return 0, 0
	}
	if !isURL {
		rest := strings.TrimLeft(run[at+1:], "abcdefghijklmnopqrstuvwxyz")
		if strings.HasPrefix(rest, "(") && at+1 < len(run)-len(rest) {
			return i + 1, i + 1 + at
		}
		return 0, 0
	}
	start := i + 1 + len("//")
	host := address[:len(run)-len("//")]
	if end := strings.IndexAny(host, "/?#"); end >= 0 {
		host = host[:end]
	}
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		return start, start + at
	}
	// A password may have a / or # in it, which makes no good address.
	_, port, found := strings.Cut(host, ":")
	if found && strings.Trim(port, "0123456789") != "" {
		return start, i + 1 + at
	}
	return 0, 0
}

// bearer is where the token behind the word at i is.
func bearer(s string, i int) (from, to int) {
	const word = "bearer"
	if len(s) < i+len(word)+2 || !strings.EqualFold(s[i:i+len(word)], word) || strings.IndexByte(" \t", s[i+len(word)]) < 0 {
		return 0, 0
	}
	from = i + len(word)
	for from < len(s) && (s[from] == ' ' || s[from] == '\t') {
		from++
	}
	if strings.HasPrefix(s[from:], "token") || strings.HasPrefix(s[from:], "auth") {
		return 0, 0 // somebody writes about one
	}
	return from, wordEnd(s, from)
}
