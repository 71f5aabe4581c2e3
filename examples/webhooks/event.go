package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stintq/stint"
)

// Event is one thing that happened to one mail, and the args of the job that
// counts it.
type Event struct {
	ID        string `json:"sg_event_id"`
	MessageID string `json:"sg_message_id,omitempty"`
	Name      string `json:"event"`
	Email     string `json:"email,omitempty"`
	Timestamp int64  `json:"timestamp,omitempty"` // Unix seconds
	Mailing   string `json:"mailing_id"`
}

// Kind makes Event the args of a job.
func (Event) Kind() string { return "sendgrid_event" }

// maxKeySize bounds what becomes a key in the file. SendGrid's own ids have
// up to 100 bytes.
const maxKeySize = 255

// parseEvents reads the body of a webhook request. It decodes one element
// after the other, so a hostile body costs no more memory than its first
// mistake.
func parseEvents(body []byte) ([]stint.Args, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if token, err := decoder.Token(); err != nil || token != json.Delim('[') {
		return nil, errors.New("the body is not a JSON array of events")
	}
	var events []stint.Args
	for decoder.More() {
		event, err := parseEvent(decoder)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", len(events)+1, err)
		}
		events = append(events, event)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, errors.New("the JSON array of events does not end: the body is cut short or damaged")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON array of events")
	}
	return events, nil
}

// parseEvent reads the next element of the array.
func parseEvent(decoder *json.Decoder) (Event, error) {
	var received struct {
		Event
		Mailing  label `json:"mailing_id"`
		Category label `json:"category"`
	}
	err := decoder.Decode(&received)
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch) && mismatch.Field == "":
		return Event{}, fmt.Errorf("is a JSON %s, not an object", mismatch.Value)
	case errors.As(err, &mismatch):
		field := mismatch.Field[strings.LastIndexByte(mismatch.Field, '.')+1:]
		return Event{}, fmt.Errorf("%s cannot be a JSON %s", field, mismatch.Value)
	case err != nil:
		return Event{}, err
	}

	event := received.Event
	event.Mailing = string(received.Mailing)
	if event.Mailing == "" {
		event.Mailing = string(received.Category)
	}
	if event.Mailing == "" {
		event.Mailing = "unknown"
	}
	switch {
	case event.ID == "":
		return Event{}, errors.New("no sg_event_id; without it the event could not be told from its repetition")
	case len(event.ID) > maxKeySize || len(event.Mailing) > maxKeySize:
		return Event{}, fmt.Errorf("sg_event_id and mailing_id may have %d bytes each", maxKeySize)
	}
	return event, nil
}

// label is a text that may come as a number, as custom args do when the
// application set them so, or as a list, as several categories do: then the
// first one counts.
type label string

func (l *label) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '[':
		var list []label
		if err := json.Unmarshal(data, &list); err != nil || len(list) == 0 {
			return err
		}
		*l = list[0]
	case '{':
		return errors.New("mailing_id and category must be texts")
	case '"':
		return json.Unmarshal(data, (*string)(l))
	case 'n': // null: none given
	default:
		*l = label(data)
	}
	return nil
}
