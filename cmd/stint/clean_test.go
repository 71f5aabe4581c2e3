package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestControlCharactersAreNeverWrittenRaw(t *testing.T) {
	t.Parallel()
	require.Equal(t, `\u001b[31mred\u0007`, cleanLine("\x1b[31mred\x07"))
	require.Equal(t, `two\nlines\tand\ra tab`, cleanLine("two\nlines\tand\ra tab"))
	require.Equal(t, "two\nlines", cleanText("two\nlines"))
	require.Equal(t, `\u009b1m \u202eabc \u2028`, cleanText("\u009b1m \u202eabc \u2028"))
	require.Equal(t, `a\xffb`, cleanText("a\xffb"))
	require.Equal(t, "a\ufffdb ü 日本 🎉", cleanText("a\ufffdb ü 日本 🎉"), "what is harmless stays")
}

func TestCleanLinesJoinsWhatWasSplit(t *testing.T) {
	t.Parallel()
	text := "{\"a\":\"\u009b1\"}\n{\"b\":\"ü\u202e\"}\nrest\u009b"
	for split := range len(text) {
		var b strings.Builder
		c := &cleanLines{w: &b}
		for _, part := range []string{text[:split], text[split:]} {
			n, err := c.Write([]byte(part))
			require.NoError(t, err)
			require.Equal(t, len(part), n)
		}
		require.NoError(t, c.flush())
		require.Equal(t, "{\"a\":\"\\u009b1\"}\n{\"b\":\"ü\\u202e\"}\nrest\\u009b", b.String())
	}
}

func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add(evil)
	f.Add("\xff\xfe\u2066")
	f.Fuzz(func(t *testing.T, s string) {
		harmless := func(text string) {
			for _, r := range strings.ReplaceAll(text, "\n", "") {
				if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
					t.Fatalf("%q of %q has %q", text, s, r)
				}
			}
		}
		harmless(cleanText(s))
		if strings.Contains(cleanLine(s), "\n") {
			t.Fatalf("%q is more than a line", cleanLine(s))
		}
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		cleaned := cleanJSON(raw)
		harmless(string(cleaned))
		var before, after string
		if json.Unmarshal(raw, &before) != nil || json.Unmarshal(cleaned, &after) != nil || before != after {
			t.Fatalf("%q became %q", before, after)
		}
	})
}
