package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// sender plays SendGrid for the demonstration and the tests.
type sender struct {
	client *http.Client
	key    *ecdsa.PrivateKey
}

func newSender(key *ecdsa.PrivateKey, connections int) *sender {
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	return &sender{client: &http.Client{Transport: transport, Timeout: 30 * time.Second}, key: key}
}

// post sends a batch once. An error means that the batch may or may not have
// been stored, as it does for SendGrid.
func (s *sender) post(ctx context.Context, url string, events []Event) error {
	body, err := json.Marshal(events)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/webhook", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if err := sign(s.key, request.Header, body, time.Now()); err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	reason, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("POST /webhook answered %s: %s", response.Status, bytes.TrimSpace(reason))
	}
	return err
}

// report reads /mailings.
func (s *sender) report(ctx context.Context, url string) (report, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/mailings", nil)
	if err != nil {
		return report{}, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return report{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return report{}, fmt.Errorf("GET /mailings answered %s", response.Status)
	}
	var r report
	err = json.NewDecoder(response.Body).Decode(&r)
	return r, err
}

func (s *sender) close() { s.client.CloseIdleConnections() }
