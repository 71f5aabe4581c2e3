package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

// SendGrid signs timestamp and body together, so neither can be exchanged.
const (
	signatureHeader = "X-Twilio-Email-Event-Webhook-Signature"
	timestampHeader = "X-Twilio-Email-Event-Webhook-Timestamp"
)

// parseKey reads a verification key: the base64 text that SendGrid shows, or
// the name of a PEM file.
func parseKey(text string) (*ecdsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		file, err := os.ReadFile(text)
		if err != nil {
			return nil, fmt.Errorf("-key is neither base64 nor a readable PEM file: %w", err)
		}
		block, _ := pem.Decode(file)
		if block == nil {
			return nil, fmt.Errorf("-key: no PEM block in %s; it starts with -----BEGIN PUBLIC KEY-----", text)
		}
		der = block.Bytes
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("-key: copy SendGrid's verification key without changes: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("-key: SendGrid's keys are ECDSA keys on the curve P-256, this is another kind")
	}
	return key, nil
}

// verify says why a request cannot be from SendGrid, or nil.
func verify(key *ecdsa.PublicKey, header http.Header, body []byte, now time.Time) error {
	timestamp, text := header.Get(timestampHeader), header.Get(signatureHeader)
	if text == "" {
		return errors.New("header " + signatureHeader + " is missing")
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("header " + timestampHeader + " must be a number of seconds")
	}
	signature, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return errors.New("header " + signatureHeader + " is not base64")
	}
	if !ecdsa.VerifyASN1(key, digest(timestamp, body), signature) {
		return errors.New("the signature does not fit body, timestamp and key")
	}
	// The signature of an old request stays good for ever. Sent again after
	// its events were forgotten, it would count them a second time.
	if now.Sub(time.Unix(seconds, 0)) > keepSeen {
		return fmt.Errorf("the request was signed more than %d days ago", keepSeen/(24*time.Hour))
	}
	return nil
}

// sign makes a request one of SendGrid's, for the demonstration and the tests.
func sign(key *ecdsa.PrivateKey, header http.Header, body []byte, now time.Time) error {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest(timestamp, body))
	if err != nil {
		return err
	}
	header.Set(timestampHeader, timestamp)
	header.Set(signatureHeader, base64.StdEncoding.EncodeToString(signature))
	return nil
}

func digest(timestamp string, body []byte) []byte {
	hash := sha256.New()
	hash.Write([]byte(timestamp))
	hash.Write(body)
	return hash.Sum(nil)
}
