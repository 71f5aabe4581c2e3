package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

var errNoJSON = errors.New("dashboard: this is no JSON")

// maskJSON copies JSON, in its order and with the digits of its numbers, but
// for the values of secret keys. A search does this to each job it looks at,
// so it goes over the bytes once and makes nothing of them.
func maskJSON(raw []byte) ([]byte, error) {
	if !json.Valid(raw) {
		return nil, errNoJSON
	}
	out := make([]byte, 0, len(raw)+len(redacted))
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case isSpace(c):
			i++
		case c != '"':
			out = append(out, c)
			i++
		default:
			end := stringEnd(raw, i)
			next := skipSpace(raw, end)
			if next == len(raw) || raw[next] != ':' {
				out = appendMasked(out, raw[i:end])
				i = end
				break
			}
			name := unquoted(raw[i:end])
			out = append(appendText(out, name), ':')
			if i = skipSpace(raw, next+1); isSecret(name) {
				out = append(out, `"`+redacted+`"`...)
				i = jsonEnd(raw, i)
			}
		}
	}
	return out, nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func skipSpace(raw []byte, i int) int {
	for i < len(raw) && isSpace(raw[i]) {
		i++
	}
	return i
}

// stringEnd is behind the string that begins at i.
func stringEnd(raw []byte, i int) int {
	for i++; raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// jsonEnd is behind the value that begins at i.
func jsonEnd(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch c := raw[i]; c {
		case '"':
			i = stringEnd(raw, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth < 0 {
				return i // of what is around a number
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
		if depth == 0 && bytes.IndexByte([]byte(`"}]`), raw[i-1]) >= 0 {
			return i
		}
	}
	return i
}

// unquoted is the text of a JSON string.
func unquoted(quoted []byte) (text string) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	_ = json.Unmarshal(quoted, &text) // it is valid
	return text
}

// appendMasked appends a JSON string with what is secret in it masked.
func appendMasked(out, quoted []byte) []byte {
	if !bytes.ContainsAny(quoted, `\:=bB`) {
		return append(out, quoted...) // nothing that maskText looks for
	}
	return appendText(out, maskText(unquoted(quoted)))
}

// appendText appends a text as JSON, with <, > and & as they are.
func appendText(out []byte, text string) []byte {
	if plainText(text) {
		return append(append(append(out, '"'), text...), '"')
	}
	b := bytes.NewBuffer(out)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(strings.ToValidUTF8(text, "\ufffd")) // a text can always be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// plainText says that a text is JSON once it has quotes around it.
func plainText(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
