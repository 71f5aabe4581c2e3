package dashboard

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNormalise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"boom", "boom"},
		{"  two\n\twords ", "two words"},
		{"order 42 not found", "order ‹n› not found"},
		{"took 1.5s, more than 1,000 ms at 14:05:33", "took ‹n›s, more than ‹n› ms at ‹n›"},
		{"since 2026-11-22T14:05:00Z", "since ‹n›T‹n›Z"},
		{"worker7: exit status 3", "worker‹n›: exit status ‹n›"},
		{`user "ana \"a\" b" is unknown`, "user “…” is unknown"},
		{"column 'name' of `t` in “x” and «y»", "column “…” of “…” in “…” and “…”"},
		{"can't open the user's file", "can't open the user's file"},
		{"dial tcp 10.0.0.7:5432: connect: connection refused", "dial tcp ‹address›: connect: connection refused"},
		{"dial tcp [fe80::1]:443: timeout, [::1] too", "dial tcp ‹address›: timeout, ‹address› too"},
		{"lookup db.internal on 127.0.0.53:53: no such host.", "lookup db.internal on ‹address›: no such host."},
		{"Get https://example.org/a?b=1: EOF", "Get ‹url›: EOF"},
		{"550 no mailbox ana.b+c@example.org here", "550 no mailbox ‹mail› here"},
		{"HTTP 503 Service Unavailable", "HTTP 503 Service Unavailable"},
		{"GET: 404, then (429): 99 and 600, 1503", "GET: 404, then (429): ‹n› and ‹n›, ‹n›"},
		{"503ms, x404, 1,200, 404-7, 200/300", "‹n›ms, x‹n›, ‹n›, ‹n›, ‹n›"},
		{"job 6ba7b810-9dad-11d1-80b4-00c04fd430c8 gone", "job ‹id› gone"},
		{"at 0xc000012345, sha deadbeef01", "at ‹hex›, sha ‹hex›"},
		{"charge ch_3MmlLrLkdIwHu7ix0 declined", "charge ‹id› declined"},
		{"facade decade", "facade decade"}, // hex digits, but words
		{"an unclosed \"quote 5", "an unclosed \"quote ‹n›"},
		{"a [list] of 3", "a [list] of ‹n›"},
		{"\xff\xfe5", "‹n›"},
	} {
		require.Equal(t, c.want, normalise(c.text), c.text)
	}
	require.LessOrEqual(t, len(normalise(string(make([]byte, 100_000)))), maxFailure)
}

// Never a panic; doing it again changes nothing; and no digit is left but those
// of a status.
func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{"order 42", `"a\"`, "“ \"a\"", "5'a b'", "'a''b'", "[1::]:", "[::1]:5x", "1://x@2.", "a@1.b", "0x", "1.2.3.4:5:6", "é9", "‹n›", "503 5034", strings.Repeat("x", 297) + " 503", "'503'", "é503", "503é", "503-", "[503]", "503:503", "«“»”"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := normalise(text)
		require.Equal(t, once, normalise(once), "%q", text)
		for _, number := range regexp.MustCompile(`[0-9]+`).FindAllString(once, -1) {
			require.True(t, isStatus(number), "%q", once)
		}
		require.LessOrEqual(t, len(once), maxFailure)
	})
}
