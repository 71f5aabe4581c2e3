package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/stintq/stint/internal/wire"
)

// client speaks the API of the dashboard.
type client struct {
	base        string // ends in /api/v1/
	http        http.Client
	token, user string
	offline     bool // the file is open in this process, and locked
	close       func() error
}

// fields are the parameters of an action.
type fields map[string]any

// local is the address of what has none: this process, or a control socket.
const local = "http://stint/"

// maxAnswer bounds an answer that is read as a whole.
const maxAnswer = 256 << 20

// get reads what the API tells at a path.
func (c *client) get(ctx context.Context, path string, query url.Values) (json.RawMessage, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.whole(c.request(ctx, http.MethodGet, path, "", nil))
}

// post does an action.
func (c *client) post(ctx context.Context, path string, f fields) (json.RawMessage, error) {
	body, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	return c.whole(c.request(ctx, http.MethodPost, path, "application/json", bytes.NewReader(body)))
}

func (c *client) whole(answer *http.Response, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); kind != "application/json" {
		return nil, fmt.Errorf("%s answers with %s and no JSON; is a dashboard there?", answer.Request.URL.Redacted(), cmp.Or(kind, "nothing"))
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err == nil && !json.Valid(raw) {
		err = errors.New("the answer is cut short or no JSON")
	}
	return raw, err
}

// request sends one and looks at the status. The body of the answer is to be
// closed.
func (c *client) request(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.user != "" {
		r.Header.Set("Stint-User", c.user) // counts on a control socket only
	}
	answer, err := c.http.Do(r)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, syscall.EPIPE):
		return nil, unreachable("%s was broken off", method) // not the EPIPE of our own output
	case isSilent(err):
		return nil, unreachable("there was no answer for %s; is the program stopped, or its machine overloaded?", seconds(answerTimeout.Seconds()))
	case err != nil && !c.offline:
		return nil, &failure{exitUnreachable, cause(err)}
	case err != nil:
		return nil, cause(err)
	case answer.StatusCode == http.StatusOK:
		return answer, nil
	}
	defer answer.Body.Close()
	if err = refusal(answer); c.anonymous() && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden) {
		err = fmt.Errorf("%w (no token was sent; it is given with --token or in STINT_TOKEN)", err)
	}
	return nil, err
}

// anonymous says whether a dashboard elsewhere is not told who asks.
func (c *client) anonymous() bool {
	return c.token == "" && !strings.Contains(c.base, "@") && !strings.HasPrefix(c.base, local)
}

// isSilent says whether there was a connection, and no answer in time.
func isSilent(err error) bool {
	var u *url.Error
	var network *net.OpError
	return errors.As(err, &u) && u.Timeout() && !errors.As(err, &network)
}

// cause is an error without the address that net/http puts before it: of a
// socket it is made up.
func cause(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) && strings.HasPrefix(u.URL, local) {
		return u.Err
	}
	return err
}

// refusal is what an answer other than 200 says, with the exit code for it.
func refusal(answer *http.Response) error {
	var told wire.Error
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil || json.Unmarshal(raw, &told) != nil || told.Error == "" {
		told.Error = "the answer is " + answer.Status
		if place := answer.Header.Get("Location"); place != "" {
			told.Error += ", which leads to " + place
		}
	}
	code := exitError
	switch answer.StatusCode {
	case http.StatusBadRequest:
		code = exitUsage
	case http.StatusNotFound:
		code = exitNotFound
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		code = exitUnreachable
	}
	return &failure{code, errors.New(strings.TrimPrefix(told.Error, "stint: "))}
}
