package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
)

// read gets one answer of the API; the file is let go of before it returns.
func (a *app) read(ctx context.Context, path string, query url.Values) (raw json.RawMessage, err error) {
	err = a.with(ctx, func(c *client) error {
		raw, err = c.get(ctx, path, query)
		return err
	})
	return raw, err
}

// readList gets a list of the API.
func (a *app) readList(ctx context.Context, path string, query url.Values) (list []json.RawMessage, err error) {
	raw, err := a.read(ctx, path, query)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(raw, &list)
	return list, err
}

// show prints one thing: as JSON, or as facts.
func show[T any](a *app, raw json.RawMessage, facts func(T) []fact, id func(T) string) error {
	var thing T
	if err := json.Unmarshal(raw, &thing); err != nil {
		return err
	}
	var b bytes.Buffer
	switch {
	case a.ids:
		b.WriteString(cleanLine(id(thing)) + "\n")
	case a.output == "json" || a.output == "jsonl":
		_, err := a.printedJSON(raw)
		return err
	default:
		a.facts(&b, facts(thing))
	}
	_, err := a.out.Write(b.Bytes())
	return err
}
