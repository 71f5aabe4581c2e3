package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stintq/stint"
)

// params are what an action gets: the fields of a form, or of a JSON object.
type params url.Values

func (p params) get(name string) string { return url.Values(p).Get(name) }
func (p params) all(name string) []string {
	return slices.DeleteFunc(slices.Clone(p[name]), func(s string) bool { return s == "" })
}

// number is a whole number, or what to say.
func (p params) number(name string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(p.get(name)))
	if err != nil {
		return 0, bad("%s must be a whole number, not %q", name, p.get(name))
	}
	return n, nil
}

// readParams reads a form or a JSON object. Values of the object that are no
// texts are kept as they are written; those of a list are many values.
func readParams(r *http.Request) (params, error) {
	switch contentType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); contentType {
	case "", "application/x-www-form-urlencoded":
		if err := r.ParseForm(); err != nil {
			return nil, bodyError(err)
		}
		return params(r.Form), nil
	case "application/json":
		return readObject(r)
	default:
		return nil, &failure{http.StatusUnsupportedMediaType, fmt.Sprintf("the body is %.100q; send a JSON object as application/json, or a form as application/x-www-form-urlencoded", contentType), nil}
	}
}

func readObject(r *http.Request) (params, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyError(err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil && len(body) > 0 {
		return nil, bodyError(err)
	}
	p := params(r.URL.Query())
	for name, raw := range object {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || name == "args" {
			list = []json.RawMessage{raw}
		}
		for _, value := range list {
			p[name] = append(p[name], plain(name, value))
		}
	}
	return p, nil
}

// plain is the text of a JSON text, and anything else as it is. args are JSON
// whatever they are.
func plain(name string, value json.RawMessage) string {
	var text string
	if name != "args" && json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

func bodyError(err error) error {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return &failure{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), err}
	}
	return bad("the body cannot be read: %v", err)
}

// id is the job or batch that the path names.
func (r *request) id() (stint.ID, error) { return parseID(r.PathValue("id")) }

func parseID(text string) (stint.ID, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(text), "#"), 10, 64)
	if err != nil || n == 0 {
		return 0, bad("%q is no id; ids are numbers", text)
	}
	return stint.ID(n), nil
}
