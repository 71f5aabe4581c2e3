package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTextOfNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1: "-1", -100: "-100", -1000: "-1,000", -123456: "-123,456"} {
		require.Equal(t, want, number(n))
	}
	for n, want := range map[float64]string{0: "0s", 0.0000125: "12.5µs", 0.00342: "3.42ms", 0.0034259: "3.43ms", 1.5: "1.5s", 12.3456: "12.3s", 125.4: "2m5s", 3725: "1h2m5s"} {
		require.Equal(t, want, seconds(n))
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB"} {
		require.Equal(t, want, size(n))
	}
	require.Equal(t, "1 job", plural(1, "job"))
	require.Equal(t, "2,000 jobs", plural(2000, "job"))
}

func TestTimesAreLocalOrInUTC(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 7, 1, 12, 30, 15, 999, time.UTC)
	require.Equal(t, "2026-07-01 12:30:15Z", (&app{utc: true}).when(at))
	require.Equal(t, at.Local().Format("2006-01-02 15:04:05"), (&app{}).when(at))
	require.Empty(t, (&app{}).when(time.Time{}))
	for _, text := range []string{"2026-07-01T12:30:00Z", "2026-07-01 12:30", "2026-07-01 12:30:00"} {
		got, err := (&app{utc: true}).parseTime(text)
		require.NoError(t, err)
		require.True(t, got.Equal(time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC)), got)
	}
	_, err := (&app{}).parseTime("tomorrow")
	require.Equal(t, exitUsage, codeOf(err))
}

func TestTableIsCutOnATerminalOnly(t *testing.T) {
	t.Parallel()
	columns := []column{{name: "ID", right: true}, {name: "KIND", cut: true}, {name: "HIDDEN", wide: true}, {name: "ARGS", cut: true}}
	rows := [][]string{{"7", "mail", "x", strings.Repeat("a", 60)}, {"12345", "a kind\nof\x1b[2J two", "x", "ü"}}
	table := func(a *app) []string {
		var b strings.Builder
		a.table(&b, columns, rows)
		return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	}
	require.Equal(t, []string{
		"   ID  KIND                     ARGS",
		"    7  mail                     " + strings.Repeat("a", 60),
		`12345  a kind\nof\u001b[2J two  ü`,
	}, table(&app{output: "table"}))
	for _, line := range table(&app{output: "table", streams: streams{width: 50}}) {
		require.LessOrEqual(t, len([]rune(line)), 50)
	}
	require.Contains(t, table(&app{output: "table", streams: streams{width: 50}})[1], "…")
	require.Contains(t, table(&app{output: "wide"})[0], "HIDDEN")
	require.Equal(t, "\x1b[1m   ID  KIND                     ARGS\x1b[0m", table(&app{output: "table", streams: streams{color: true}})[0])
}

func TestKeysAreHexOrBase64(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef0123456789abcdef")
	for _, text := range []string{
		"3031323334353637383961626364656630313233343536373839616263646566",
		"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
	} {
		keys, err := parseKeys([]string{text, text})
		require.NoError(t, err)
		require.Equal(t, [][]byte{key, key}, keys)
	}
	for _, text := range []string{"secret", "30313233", "MDEy"} {
		_, err := parseKeys([]string{text})
		require.Error(t, err)
		require.NotContains(t, err.Error(), text)
	}
}

func TestFilterOfFlags(t *testing.T) {
	t.Parallel()
	f := &filter{kinds: []string{"mail", "say \"hi\""}, queues: []string{"a/b:c"}, tags: []string{">3"}, batch: 17, line: " error:timeout "}
	require.Equal(t, `kind:mail kind:"say \"hi\"" queue:a/b:c tag:">3" batch:17 error:timeout`, f.query())
	require.False(t, (&filter{}).narrows())
	require.True(t, (&filter{state: "dead"}).narrows())
}
