package dashboard

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestParseQuery(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]term{
		"":                            nil,
		"  \t ":                       nil,
		"kind:mail":                   {{field: "kind", value: "mail"}},
		"-queue:low  tag:a*":          {{field: "queue", not: true, value: "low"}, {field: "tag", value: "a*"}},
		"timeout":                     {{value: "timeout"}},
		`"two words"`:                 {{value: "two words"}},
		`-"http://x"`:                 {{not: true, value: "http://x"}},
		`error:"a \"b\" \\ c"`:        {{field: "error", value: `a "b" \ c`, quoted: true}},
		"id:42":                       {{field: "id", value: "42", ids: []stint.ID{42}}},
		"id:#3,4,3":                   {{field: "id", value: "#3,4,3", ids: []stint.ID{3, 4}}},
		"id:>9":                       {{field: "id", op: ">", value: "9", number: 9}},
		"args.user.id:42":             {{field: "args", path: "user.id", value: "42"}},
		"args.n:>=1.5":                {{field: "args", path: "n", op: ">=", value: "1.5"}},
		`args.n:">1"`:                 {{field: "args", path: "n", value: ">1", quoted: true}},
		"priority:1 attempt:>3":       {{field: "priority", value: "1", number: 1}, {field: "attempt", op: ">", value: "3", number: 3}},
		"age:>1h":                     {{field: "age", op: ">", value: "1h", age: time.Hour}},
		"age:<=2w1d12h":               {{field: "age", op: "<=", value: "2w1d12h", age: 15*24*time.Hour + 12*time.Hour}},
		"schedule:nightly/* batch:#7": {{field: "schedule", value: "nightly/*"}, {field: "batch", value: "#7", number: 7}},
		"state:dead":                  {{field: "state", value: "dead"}},
		`ab"c "d":e`:                  {{value: `ab"c`}, {value: "d"}, {value: ":e"}},
	} {
		qy, err := parseQuery(text)
		require.NoError(t, err, text)
		require.Equal(t, want, qy.terms, text)
	}
}

func TestParseQueryRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"foo:bar":                 `no filter "foo"`,
		"http://x":                "into quotes",
		"args:1":                  "args.user.id:42",
		"args.:1":                 "args.user.id:42",
		"kind:":                   `nothing behind "kind:"`,
		"-":                       `nothing behind "-"`,
		"attempt:>":               `nothing behind "attempt:>"`,
		"attempt:=3":              "attempt: needs a number",
		"attempt:many":            "attempt: needs a number",
		"priority:-1":             "priority: needs a number",
		"id:x":                    "id: needs numbers",
		"id:0":                    "id: needs numbers",
		"age:1h":                  "age:>1h",
		"age:>soon":               "age:>1h",
		"age:>-1h":                "age:>1h",
		"state:gone":              "no state",
		"args.n:>x":               "compares numbers",
		`error:"open`:             "not closed",
		`""`:                      "nothing between",
		string(make([]byte, 2e4)): "longer than",
	} {
		_, err := parseQuery(text)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "An example:", text)
		require.Equal(t, 400, asFailure(err).status)
	}
}

func TestQueryWithout(t *testing.T) {
	t.Parallel()
	qy, err := parseQuery(`kind:a -"b c" error:"d" id:>3`)
	require.NoError(t, err)
	require.Equal(t, `kind:a -"b c" error:"d" id:>3`, qy.String())
	require.Equal(t, `kind:a error:"d" id:>3`, qy.without(1))
}

func TestFilterTermMeansItself(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"a", "two words", "a*", `q"uo\te`, "-x", ">3", "a:b", "#1", "ü\n"} {
		qy, err := parseQuery(filterTerm("tag", value))
		require.NoError(t, err, value)
		require.Len(t, qy.terms, 1)
		require.Equal(t, value, qy.terms[0].value)
		require.True(t, qy.terms[0].named(value))
		require.False(t, qy.terms[0].named(value+"x"))
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		`kind:mail queue:low -tag:"x y" id:1,2 error:"a\"b\\" args.user.id:42 priority:<3 attempt:>=2 age:>1d2h schedule:s* batch:9 state:dead free "two words"`,
		"a:b", `"`, `\`, `-"`, "::", `k"x`, "-:", "age:>1e9w", "id:99999999999999999999", "args.a..b:1", "=:", "kind:=x", `args.x:>"3"`, "\xff", "a\u00a0b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		qy, err := parseQuery(text)
		if err != nil {
			require.Equal(t, 400, asFailure(err).status)
			return
		}
		if len(qy.String()) > maxQuery {
			return // quoting made it longer
		}
		again, err := parseQuery(qy.String())
		require.NoError(t, err, "%q", qy.String())
		require.Equal(t, qy, again, "%q", qy.String())
	})
}
