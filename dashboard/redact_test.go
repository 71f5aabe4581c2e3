package dashboard

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

func TestIsSecret(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"password", "Password", "userPassword", "db_passwd", "client-secret", "accessToken", "api_key", "apiKey", "API-KEY", "X-Api-Key", "Authorization",
		"Set-Cookie", "credentials", "private_key", "PrivateKey", "ssn", "userSsn", "SSN", "credit_card", "cardNumber", "otp", "otp_code", "signature", "pwd", "db.pass",
	} {
		require.True(t, isSecret(key), key)
	}
	for _, key := range []string{"", "user", "id", "business_name", "className", "laptop", "hotpot", "author", "card", "number", "passenger", "compass", "key", "spinner", "public"} {
		require.False(t, isSecret(key), key)
	}
}

func TestMaskJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":1,"password":"x","b":[{"Token":{"deep":[1,2]}}]}`:    `{"a":1,"password":"[redacted]","b":[{"Token":"[redacted]"}]}`,
		`{"secret":null,"otp":123456,"n":12345678901234567890.10}`: `{"secret":"[redacted]","otp":"[redacted]","n":12345678901234567890.10}`,
		`{"z":1,"a":2,"z":3}`:                    `{"z":1,"a":2,"z":3}`,
		`["<b>&",true,false,null,1e400]`:         `["<b>&",true,false,null,1e400]`,
		`"Authorization: Bearer abc.def"`:        `"Authorization: [redacted]"`,
		`{"url":"redis://u:p@h/0"}`:              `{"url":"redis://[redacted]@h/0"}`,
		`{"nested":"{\"password\":\"hidden\"}"}`: `{"nested":"{\"password\":[redacted]}"}`,
		`{}`:                                     `{}`, `[]`: `[]`, `3`: `3`, ` null `: `null`,
	} {
		out, err := maskJSON([]byte(in))
		require.NoError(t, err, in)
		require.Equal(t, want, string(out), in)
	}
	for _, in := range []string{"", "{", "x", `{"a":}`, strings.Repeat("[", 20000) + strings.Repeat("]", 20000)} {
		_, err := maskJSON([]byte(in))
		require.Error(t, err)
	}
}

func TestMaskText(t *testing.T) {
	t.Parallel()
	const s = "hunter2SECRETval" // must never be left
	for in, want := range map[string]string{
		"password=" + s + " user=bob":                "password=[redacted] user=bob",
		"login: password = " + s:                     "login: password = [redacted]",
		`{"password":"` + s + `","user":"bob"}`:      `{"password":[redacted],"user":"bob"}`,
		`{"api_key": "a\"` + s + `"}`:                `{"api_key": [redacted]}`,
		`msg="{\"token\":\"` + s + `\"}" n=1`:        `msg="{\"token\":[redacted]}" n=1`,
		`'secret': '` + s + ` x'`:                    `'secret': [redacted]`,
		"Authorization: Bearer " + s:                 "Authorization: [redacted]",
		"Authorization: Basic " + s + "\nnext":       "Authorization: [redacted]\nnext",
		"sent bearer " + s + " to it":                "sent bearer [redacted] to it",
		"{User:bob Password:" + s + " Age:3}":        "{User:bob Password:[redacted] Age:3}",
		"map[tokens:[a " + s + "] x:1]":              "map[tokens:[redacted] x:1]",
		"Cookie: a=" + s + "; b=" + s + "\nHost":     "Cookie: [redacted]\nHost",
		"GET https://x.org/?q=1&token=" + s + "&r=2": "GET https://x.org/?q=1&token=[redacted]&r=2",
		"postgres://app:" + s + "@db:5432/x":         "postgres://[redacted]@db:5432/x",
		`parse "https://u:` + s + `#/@h/": bad`:      `parse "https://[redacted]@h/": bad`,
		"https://" + s + "@github.com/a":             "https://[redacted]@github.com/a",
		"app:" + s + "@tcp(db:3306)/shop":            "app:[redacted]@tcp(db:3306)/shop",
		":password=>\"" + s + "\"":                   ":password=>[redacted]",
		"passphrase: correct " + s + "\nnext":        "passphrase: [redacted]\nnext",
		"password='" + s:                             "password=[redacted]",
		"DB_PASSWORD=" + s:                           "DB_PASSWORD=[redacted]",
		"the bearer token is missing":                "the bearer token is missing",
		"dial tcp 10.0.0.1:5432: refused":            "dial tcp 10.0.0.1:5432: refused",
		"see https://x.org:8080/users/@bob":          "see https://x.org:8080/users/@bob",
		"mail to:bob@x.org failed":                   "mail to:bob@x.org failed",
		"kind=mail error: a=b":                       "kind=mail error: a=b",
		"password=":                                  "password=",
		"":                                           "",
	} {
		require.Equal(t, want, maskText(in), in)
		require.NotContains(t, maskText(in), s)
		require.Equal(t, want, maskText(want), "what is masked stays so: %s", want)
	}
}

func FuzzMask(f *testing.F) {
	for _, seed := range []string{`{"password":"x"}`, "token=[a{b", `secret="\`, "://@", "bearer  ", `\"pwd\":\"`, "a:b@tcp(", "[[[", `{"a":[1,{"b":null}]}`, "cookie:\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_ = maskText(text)
		require.NotContains(t, maskText("\npassword="+`"7h3-v4lu3" `+text), "7h3-v4lu3")
		require.NotContains(t, maskText(text+"\npassword: 7h3-v4lu3"), "7h3-v4lu3")
		out, err := maskJSON([]byte(text))
		if err != nil {
			return
		}
		require.True(t, json.Valid(out), "%s", out)
		again, err := maskJSON(out)
		require.NoError(t, err)
		require.Equal(t, string(out), string(again))
	})
}

// redacting is a dashboard of no queue, for what does not need one.
func redacting(cfg Config) *dashboard {
	return &dashboard{cfg: cfg, log: slog.New(slog.DiscardHandler)}
}

func TestConfigRedact(t *testing.T) {
	t.Parallel()
	hide := func(kind string, data []byte) []byte {
		return []byte(strings.ReplaceAll(string(data), "bob", kind))
	}
	for name, one := range map[string]struct {
		redact     func(string, []byte) []byte
		json, text string
	}{
		"none":         {nil, `{"u":"bob","token":"[redacted]"}`, "bob token=[redacted]"},
		"replaces":     {hide, `{"u":"k","token":"[redacted]"}`, "k token=[redacted]"},
		"panics":       {func(string, []byte) []byte { panic("no") }, `"[redacted]"`, redacted},
		"no JSON":      {func(string, []byte) []byte { return []byte("bob") }, `"[redacted]"`, redacted},
		"nil":          {func(string, []byte) []byte { return nil }, `"[redacted]"`, redacted},
		"other JSON":   {func(string, []byte) []byte { return []byte(`{"x":1}`) }, `{"x":1}`, redacted},
		"nothing left": {func(string, []byte) []byte { return []byte(`null`) }, `null`, ""},
	} {
		d := redacting(Config{Redact: one.redact})
		require.Equal(t, one.json, string(d.json("k", []byte(`{"u":"bob","token":"bob"}`))), name)
		require.Equal(t, one.text, d.text("k", "bob token=bob"), name)
	}
	require.Nil(t, redacting(Config{HideArgs: true}).json("k", []byte(`{"u":1}`)))
}

func TestJobIsRedacted(t *testing.T) {
	t.Parallel()
	const s = "hunter2SECRETval"
	text := errors.New("at password=" + s).Error()
	info := stint.Info{
		ID: 1, Kind: "k", Queue: "q", State: stint.Dead,
		Args: []byte(`{"password":"` + s + `"}`), Result: []byte(`{"a":{"token":"` + s + `"}}`), Checkpoint: []byte(`["secret=` + s + `"]`),
		Steps: []string{text}, Progress: stint.Progress{Text: text}, Log: text, Reason: text,
		Attempts: []stint.Attempt{{Number: 1, Error: text + "\nmore", Stack: text, Log: text}},
	}
	d := newDashboard(testQueue(t, nil), &Config{NoControlSocket: true})
	for _, whole := range []bool{false, true} {
		out, err := json.Marshal(d.job(info, whole))
		require.NoError(t, err)
		require.NotContains(t, string(out), s)
		require.Contains(t, string(out), "[redacted]")
	}
	require.Equal(t, `{"password":"`+s+`"}`, string(info.Args), "the info itself is as it was")
	hidden := newDashboard(testQueue(t, nil), &Config{HideArgs: true}).job(info, true)
	require.Empty(t, hidden.Args)
	require.Empty(t, hidden.Result)
	require.Empty(t, hidden.Checkpoint)
}
