package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// traffic invents events, and knows what they have to add up to.
type traffic struct {
	random   *rand.Rand
	mailing  *rand.Zipf
	made     int
	expected map[string]Counters
}

// newTraffic spreads the events over the mailings as unevenly as readers do:
// a few mailings get most of them.
func newTraffic(seed uint64, mailings int) *traffic {
	random := rand.New(rand.NewPCG(seed, 0))
	return &traffic{
		random:   random,
		mailing:  rand.NewZipf(random, 1.3, 2, uint64(mailings-1)),
		expected: map[string]Counters{},
	}
}

// batch is n events that were not there before.
func (t *traffic) batch(n int) []Event {
	events := make([]Event, n)
	for i := range events {
		t.made++
		events[i] = Event{
			ID:        fmt.Sprintf("event-%08x-%d", t.random.Uint32(), t.made),
			MessageID: fmt.Sprintf("message-%d", t.made),
			Name:      t.name(),
			Email:     fmt.Sprintf("reader%d@example.com", t.made),
			Timestamp: time.Now().Unix(),
			Mailing:   fmt.Sprintf("mailing-%02d", t.mailing.Uint64()+1),
		}
		t.expect(events[i])
	}
	return events
}

// name is mostly an open, and sometimes a click.
func (t *traffic) name() string {
	switch dice := t.random.IntN(100); {
	case dice < 55:
		return "open"
	case dice < 75:
		return "click"
	case dice < 97:
		return "delivered"
	}
	return "bounce"
}

func (t *traffic) expect(event Event) {
	counters := t.expected[event.Mailing]
	counters.add(event.Name)
	t.expected[event.Mailing] = counters
}

// check compares the counters with what was sent.
func (t *traffic) check(counted []Mailing) error {
	var wrong []string
	missing := len(t.expected)
	for _, got := range counted {
		want, sent := t.expected[got.ID]
		if sent {
			missing--
		}
		if got.Counters != want {
			wrong = append(wrong, fmt.Sprintf("%s: counted %d opens, %d clicks, %d other; sent %d, %d, %d",
				got.ID, got.Opens, got.Clicks, got.Other, want.Opens, want.Clicks, want.Other))
		}
	}
	if missing > 0 {
		wrong = append(wrong, fmt.Sprintf("%d mailings were not counted at all", missing))
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("the counters are wrong:\n  %s", strings.Join(wrong, "\n  "))
}
